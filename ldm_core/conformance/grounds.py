"""Where plugins are tried: pipelines on toy models and on a model folder, and what they draw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject
from ldm_core.conformance.examples import example_inputs
from ldm_core.conformance.toy import TOYS
from ldm_core.conformance.traces import global_seed, untouched
from ldm_core.contracts import Plan
from ldm_core.errors import LdmError, LdmWarning, PartError, PluginError, PutBackWarning
from ldm_core.plugins.registry import Registry
from ldm_core.run.pipeline import Pipeline
from ldm_core.run.sampling import Sampling

SEEDS = (3, 5, 7)
CLOSE = 1e-3
"""How far two float32 runs may lie apart, over the largest number in them, that differ in the order
of rounding alone: where a network predicts noise and there is little signal, rounding grows a
hundredfold."""
PLACES = 4096
"""About how many places the latents of a model folder's runs have at the most: as many as those of
a picture of 512 pixels. A video of a family's own length and size has a hundred times as many."""


@dataclass(frozen=True)
class Ground:
    """A pipeline on which a plugin is tried.

    Attributes:
        name: for messages.
        inputs: of three images, by name.
        steps: of each run.
    """

    name: str
    pipe: Pipeline
    inputs: Mapping[str, Sequence[Any]]
    steps: int = 4

    def plain(self) -> Ground:
        """The ground where nothing is said beside what must be."""
        declared = self.pipe.composition.inputs
        defaults = {n: [one.default] * 3 for n, one in declared.items() if not one.required}
        return replace(self, inputs={**self.inputs, **defaults})

    def plan(self, images: Sequence[int] = (0, 1, 2)) -> Plan:
        """What is asked of some of the images."""
        inputs = {name: [values[i] for i in images] for name, values in self.inputs.items()}
        seeds = [SEEDS[i] for i in images]
        return self.pipe.composition.plan(inputs, seeds, None, self.steps)

    def start(self, images: Sequence[int] = (0, 1, 2)) -> Sampling:
        """A run of some of the images, at its first x."""
        return self.pipe.start(self.plan(images))

    def draw(self, images: Sequence[int] = (0, 1, 2)) -> Tensor:
        """The final latents of some of the images."""
        with quietly():
            return self.pipe.sample(self.plan(images))

    def replaced(self, **choices: Any) -> Ground:
        """The ground with other choices, and what those read.

        Raises:
            LdmError: they do not fit.
        """
        with quietly():
            pipe = self.pipe.replace(**choices)
        return replace(self, pipe=pipe, inputs=example_inputs(pipe.composition))


def toys(subject: Subject) -> list[Ground]:
    """The toy models."""
    pipes = [(str(toy), toy.pipeline(subject.registry)) for toy in TOYS]
    return [Ground(name, pipe, example_inputs(pipe.composition)) for name, pipe in pipes]


def folder_of(subject: Subject) -> Path:
    """The model folder to check on: that which is named, or else the first that the plugin's own
    package ships.

    Raises:
        NotApplicable: there is none.
    """
    for folder in folders_of(subject):
        return folder
    raise NotApplicable("needs --model FOLDER")


def folders_of(subject: Subject) -> list[Path]:
    """The model folder that is named, and those that the plugin's own package ships."""
    models = subject.registry.models
    own = [one.folder for one in models if one.distribution == subject.plugin.distribution]
    return [*([] if subject.model is None else [subject.model]), *own]


_read: WeakKeyDictionary[Registry, dict[Path, Pipeline]] = WeakKeyDictionary()


def on_folder(subject: Subject, fresh: bool = False, **choices: Any) -> Ground:
    """The model folder as it is drawn from by itself, on the CPU in float32; what is larger than
    `PLACES` is drawn smaller.

    Args:
        fresh: its weights are read anew, for a plugin that could change them; else they are those
            of a check before.
    Raises:
        NotApplicable: there is no folder.
    """
    folder, kept = folder_of(subject), not fresh and not choices
    pipes = _read.setdefault(subject.registry, {})
    pipe = pipes.get(folder) if kept else None
    if pipe is None:
        chosen = {"device": "cpu", "dtype": "float32", **choices}
        with quietly():
            pipe = _small(Pipeline.from_pretrained(folder, registry=subject.registry, **chosen))
        if kept:
            pipes[folder] = pipe
    return Ground(str(folder), pipe, example_inputs(pipe.composition), steps=2)


def _small(pipe: Pipeline) -> Pipeline:
    """A pipeline whose latents have about `PLACES` places at the most, all axes shortened alike."""
    latents, extent = pipe.composition.info.latents, pipe.composition.extent()
    share = PLACES / math.prod(latents.shape(extent)[1:])
    if share >= 1:
        return pipe
    factor = share ** (1 / len(latents.axes))
    lengths = {axis.name: axis.nearest(extent[axis.name] * factor) for axis in latents.axes}
    return pipe.replace(extent={**extent, **lengths})


def grounds(subject: Subject, fresh: bool = False) -> list[Ground]:
    """All that a plugin may be tried on.

    Args:
        fresh: as of `on_folder`; the weights of toys always are.
    """
    return toys(subject) + ([] if subject.model is None else [on_folder(subject, fresh)])


def choice(subject: Subject, **options: Any) -> dict[str, Any]:
    """The plugin as a recipe names it, with the options that it is checked with and others."""
    return {"name": subject.plugin.id, **subject.options, **options}


def fitting(
    subject: Subject, change: Callable[[Ground], Mapping[str, Any]], **more: Any
) -> Iterator[Ground]:
    """The grounds on which the plugin does not refuse to run.

    Args:
        change: ``change(ground)``, the choices that put the plugin there.
        more: choices beside.
    Raises:
        NotApplicable: it refuses them all, for the reason of the last.
    """
    reason = ""
    fits = 0
    for ground in grounds(subject):
        changed, refusal = tried(_begun, ground, change, more)
        if changed is None:
            reason = f"{ground.name}: {refusal}"
            continue
        fits += 1
        yield changed
    if not fits:
        more_models = "" if subject.model else "; another may be named by --model FOLDER"
        raise NotApplicable(f"it refuses every model that it was tried on ({reason}){more_models}")


def _begun(
    ground: Ground, change: Callable[[Ground], Mapping[str, Any]], more: Mapping[str, Any]
) -> Ground:
    changed = ground.replaced(**change(ground), **more)
    with quietly():
        changed.start()
    return changed


def tried(make: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, str]:
    """What a plugin makes, or None and why it refuses; what fails otherwise goes on its way."""
    try:
        return make(*arguments, **options), ""
    except (PartError, PluginError):
        raise
    except LdmError as refusal:
        return None, refusal.message


@contextmanager
def only_refusals(where: str) -> Iterator[None]:
    """See that nothing is raised there but an `LdmError`.

    Args:
        where: for the message, as ``on a toy model``.
    """
    try:
        yield
    except (AssertionError, NotApplicable):
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, PluginError) else error
        if isinstance(cause, LdmError):
            raise
        cause = cause or error
        raise AssertionError(
            f"{where} it raises {type(cause).__name__}: {cause}; what cannot be done is refused by "
            "an LdmError that says why"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without what is said of odd options and the like; what is put back is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LdmWarning)
        warnings.simplefilter("always", PutBackWarning)
        yield


def apart(one: Tensor, other: Tensor) -> float:
    """How far tensors of one shape lie from each other, over the largest number of the second;
    infinite where one is not finite."""
    if not (one.isfinite().all() and other.isfinite().all()):
        return float("inf")
    largest = float(other.abs().max()) or 1.0
    return float((one - other).abs().max()) / largest


def see(condition: object, what: str) -> None:
    """Raise `AssertionError` with what is wrong, unless the condition holds."""
    if not condition:
        raise AssertionError(what)


def see_files(part: Any) -> None:
    """See that a part names the files that it reads by their paths, and that they are there."""
    for path in part.files():
        see(
            isinstance(path, Path) and path.exists(),
            f"its files() gives {path!r}, and should give the paths of files that are there",
        )


def see_latents(latents: Any, ground: Ground, images: int = 3) -> None:
    """See that these can be latents of a ground: type, shape, dtype, finite."""
    shape = (images, *ground.pipe._shape(ground.pipe.composition.extent()))
    see(isinstance(latents, Tensor), f"on {ground.name} it gave a {type(latents).__name__}")
    see_like(latents, shape, ground.name)


def see_like(tensor: Tensor, shape: Sequence[int], where: str) -> None:
    """See that a tensor has a shape, float32, and finite numbers."""
    see(
        tuple(tensor.shape) == tuple(shape),
        f"on {where} the shape is {tuple(tensor.shape)}, and should be {tuple(shape)}",
    )
    see(tensor.dtype is torch.float32, f"on {where} the dtype is {tensor.dtype}, not float32")
    see(tensor.isfinite().all(), f"on {where} not all numbers are finite")


def see_each_alone(ground: Ground) -> float:
    """See that each image of a batch is what it is alone; how far they lie apart at most."""
    together = ground.draw()
    see_latents(together, ground)
    worst = 0.0
    for image in range(len(SEEDS)):
        distance = apart(together[image : image + 1], ground.draw([image]))
        worst = max(worst, distance)
        see(
            distance <= CLOSE,
            f"on {ground.name} image {image + 1} of {len(SEEDS)} differs by {distance:.2g} from "
            "what it is alone: an image depends on its own seed and inputs alone",
        )
    return worst


def see_no_other_randomness(ground: Ground) -> None:
    """See that the latents are the same under another global seed, bit for bit, and that a run
    leaves what all code of a process shares as it was."""
    ground.draw()  # what is imported or compiled once may change such things once
    with untouched(f"on {ground.name}"):
        ground.draw()
    with global_seed(0):
        first = ground.draw()
    with global_seed(1):
        second = ground.draw()
    see_latents(first, ground)
    see(
        first.equal(second),
        f"on {ground.name} the latents differ by {apart(first, second):.2g} under another global "
        "seed: noise is drawn by noise() alone",
    )


def see_runs_apart(ground: Ground) -> None:
    """See that a run leaves nothing behind: the same again, bit for bit, after another one, and
    after one that was under way at the same time."""
    first = ground.draw()
    see_latents(first, ground)
    ground.draw([1])
    see(
        first.equal(ground.draw()),
        f"on {ground.name} a second run gives other latents than the first: what is kept from step "
        "to step belongs to one run",
    )
    with quietly():
        one, other = ground.start(), ground.start([2])
        other.walk(other.x)
        same = first.equal(one.walk(one.x))
    see(
        same,
        f"on {ground.name} a run gives other latents when another one was begun and walked beside "
        "it: what is kept from step to step belongs to one run",
    )
