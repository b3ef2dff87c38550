"""The hook points: what a plugin package may offer. This page is a plugin author's whole contract.

A plugin is a module named by an entry point of the group ``ldm``. It states the range of hook APIs
it was written for and implements any of the hooks below::

    from ldm_core import hookimpl

    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_schedulers(register):
        register("my_scheduler", "my_package.my_module:my_scheduler")

Every hook is called once, when plugins are listed. ``register(name, target)`` takes a callable or,
better, a lazy ``"package.module:attribute"`` that is imported when the plugin is used; lists read
its docstring from the source. Keep heavy imports (torch, diffusers) inside the functions of that
module.

A target is the thing itself, a function with the positional parameters of its contract in
`ldm_core.contracts`, or a factory without positional parameters that returns the thing. Either
way its keyword-only parameters are its options: name, type and default are the schema by which
recipes are checked, and the docstring is the help text. What a part can say of itself beyond its
function, its traits, is declared by decorators, such as `ldm_core.contracts.starts_with`, which
make a record of the function, or by deriving from a base class. Every part can be fitted to a
model, or refuse it, before any weight is read: a function by `ldm_core.contracts.fits`, an object
by its method ``fit(info)``. An option annotated with a contract, such as ``Scheduler``,
``list[Wrapper]`` or ``Conditioning | None``, takes other plugins, which are made and fitted when
composing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import pluggy

API_VERSION = 2
"""The first number of the hook API, which rises where plugins have to change."""
HOOK_API = f"{API_VERSION}.1"
"""The hook API of this release; the second number rises where something is added."""
UNDERSTOOD = (HOOK_API, f"{API_VERSION}.0", "1")
"""The versions for which plugins may be written, the newest first. Those of an earlier first number
go on with a warning, see `ENDS`."""
PRESENT = f">={API_VERSION},<{API_VERSION + 1}"
"""What a plugin states that works with this release and those that add to it."""

hookspec = pluggy.HookspecMarker("ldm")
hookimpl = pluggy.HookimplMarker("ldm")


class Register(Protocol):
    """``register(name, target)``, once for each thing offered."""

    def __call__(self, name: str, target: Callable[..., Any] | str) -> None: ...


class RegisterModel(Protocol):
    """``register(name, folder, made_for)``, once for each model that the package ships."""

    def __call__(self, name: str, folder: Path, made_for: str) -> None: ...


@hookspec
def ldm_schedulers(register: Register) -> None:
    """Offer schedulers: walk a noisy latent along a grid of points.

    Contract: ``scheduler(x, grid, denoise, noise, *, options) -> x``, see
    `ldm_core.contracts.scheduler`. ``denoise(x, point)`` estimates x0; noise comes from
    ``noise()`` alone, so that an image depends on its seed alone. How x starts, points of its own,
    the order and the like are traits of `ldm_core.contracts.Scheduler`.
    """


@hookspec
def ldm_spacings(register: Register) -> None:
    """Offer spacings: choose the points that a run visits.

    Contract: ``spacing(schedule, steps, *, options) -> points``, see `ldm_core.contracts.spacing`:
    points with strictly falling noise, the end point last. One marked by
    `ldm_core.contracts.sees_latent` gets the latent's shape as well.
    """


@hookspec
def ldm_guidance(register: Register) -> None:
    """Offer guidance: combine the network's answers for several conditions into one.

    Contract: a factory ``guidance(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Guidance`. It names branches of `ldm_core.contracts.BRANCHES`, or others
    with inputs of their own; those that it does not name at a point are not computed there.
    """


@hookspec
def ldm_conditioning(register: Register) -> None:
    """Offer conditionings: turn what a person gives into what the network takes.

    Contract: a factory ``conditioning(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Conditioning`; it declares its inputs, and names the ability that it needs
    of the model's family.
    """


@hookspec
def ldm_attention(register: Register) -> None:
    """Offer attention kernels, in force for the calls of one pipeline.

    Contract: ``attention(q, k, v, mask, scale, *, options) -> out``, see
    `ldm_core.contracts.attention`. One for some devices, types, head sizes or masks alone says so
    by `ldm_core.contracts.runs_on`; a factory whose package is missing gives its kernel with
    `ldm_core.contracts.lacking`.
    """


@hookspec
def ldm_denoisers(register: Register) -> None:
    """Offer denoiser wrappers: change what surrounds the network.

    Contract: ``wrap(denoise, *, options) -> denoise``, where ``denoise(x, point) -> x0``; called
    once for each walk of a run. One marked by `ldm_core.contracts.sees_run` gets the run as well:
    seeds, inputs, grid and model.
    """


@hookspec
def ldm_encoders(register: Register) -> None:
    """Offer encoders: data to latents.

    Contract: ``encode(model, data, noise, *, options) -> x0``, see
    `ldm_core.contracts.autoencoder`.
    """


@hookspec
def ldm_decoders(register: Register) -> None:
    """Offer decoders: latents to data.

    Contract: ``decode(model, x0, *, options) -> data``, pixels of pictures or a
    `ldm_core.contracts.Medium`, see `ldm_core.contracts.autoencoder`. One marked by
    `ldm_core.contracts.sees_request` gets the request as well: seeds, inputs and extent.
    """


@hookspec
def ldm_families(register: Register) -> None:
    """Offer families: know one kind of model folder.

    Contract: a factory ``family()`` that returns an object of a class made from
    `ldm_core.contracts.Family`. All are asked whether a folder is theirs. Of several that claim it,
    that of the package which ships the model has it, or else ldm's own; any others are an error.
    """


@hookspec
def ldm_converters(register: Register) -> None:
    """Offer converters: make another model of a model, such as one with a LoRA.

    Contract: a factory ``converter(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Converter`. A recipe lists them as ``converters``; their phase decides the
    order.
    """


@hookspec
def ldm_writers(register: Register) -> None:
    """Offer writers: file formats of what is drawn.

    Contract: ``write(shown, manifest, path)``, marked by `ldm_core.contracts.writes` with the kind
    of medium and the suffix of its files, see `ldm_core.contracts.medium`.
    """


@hookspec
def ldm_observers(register: Register) -> None:
    """Offer observers: hear of each evaluation of the denoiser.

    Contract: ``observer(grid, *, options)``, a context manager that yields a function of a
    `ldm_core.contracts.Step`, see `ldm_core.contracts.observer`; or, marked by
    `ldm_core.contracts.sees_run`, ``observer(run, *, options)``, which returns an object of a class
    made from `ldm_core.contracts.RunObserver` and hears of the finished pictures too.
    """


@hookspec
def ldm_metrics(register: Register) -> None:
    """Offer metrics: how good pictures are, by themselves or against others.

    Contract: ``measure(pictures, *, options) -> rows``, of pairs ``measure(pictures, references)``,
    of texts ``measure(pictures, texts)``, marked by `ldm_core.contracts.measures` with what
    pictures are measured against and which figures are better; or a factory that returns a
    `ldm_core.contracts.Metric`. See `ldm_core.contracts.metric`.
    """


@hookspec
def ldm_models(register: RegisterModel) -> None:
    """Offer models that the package ships: ``register(name, folder, made_for)``.

    ``folder`` holds a model in Diffusers' folder format with safetensors weights, and may hold an
    ``ldm.toml``, a recipe with the model's own defaults; ``made_for`` says in a few words what
    the model draws.
    """


@hookspec
def ldm_commands(register: Register) -> None:
    """Offer sub-commands: ``register("train denoiser", target)`` adds ``ldm train denoiser``.

    The target is a function whose positional parameters become arguments of the command (``*names``
    any number of them) and whose keyword-only ones become options, helped by the ``Args:`` of its
    docstring. Of a type such as ``Path | Image`` the command line reads the first.

    A function whose first parameter is annotated ``Pipeline`` is given one, made of the choices
    that all runs share (model, scheduler, device, ...), whose weights are read when they are first
    needed. One marked by `ldm_core.run.in_batches.in_batches` also takes ``**call``, to hand to the
    pipeline, gets seed, batch size and the other inputs, and yields one `Output` a batch, which the
    command writes as it comes; any other returns the paths of the files that it wrote. Where a
    manifest has a ``finish``, it also gets the call, so that ``ldm replay`` can repeat it. A replay
    leaves out what is annotated `ldm_core.contracts.OutputPath`, asks before it reads what is
    `ldm_core.contracts.InputPath`, and refuses a plain ``Path``, of which neither is said.

    One without a pipeline returns its results, a text or a list of them, and each is a line of the
    standard output. What it prints goes to the standard error stream, as of any plugin.
    """


class Ends(NamedTuple):
    """What is taken away, and when.

    Attributes:
        warned: the release of ldm-core from which on it is warned of.
        gone: the first that does without it; at least one release lies between.
        instead: what to do, in words.
    """

    warned: str
    gone: str
    instead: str


ENDS: Mapping[str, Ends] = {
    "hook API 1": Ends("0.2", "0.4", f"state ldm_api = '{PRESENT}'"),
    "ldm_api_version": Ends("0.2", "0.4", f"state ldm_api = '{PRESENT}'"),
}
"""What plugins are warned of: versions of the hook API, hooks (``ldm_schedulers``), their arguments
(``ldm_schedulers.register``) and names of `ldm_core.contracts` (``Scheduler.fit``)."""


def ending(hook: str, *arguments: str) -> Mapping[str, Warning]:
    """What a hook's specification is told of arguments that are about to go, so that a plugin which
    takes one is warned of with its file and line:
    ``@hookspec(warn_on_impl_args=ending("ldm_schedulers", "register"))``."""
    return {
        argument: DeprecationWarning(
            f"the argument '{argument}' of {hook} is given until ldm-core "
            f"{ENDS[f'{hook}.{argument}'].gone}: {ENDS[f'{hook}.{argument}'].instead}."
        )
        for argument in arguments
    }


class Since(NamedTuple):
    """Since which hook API something exists.

    Attributes:
        api: the hook.
        arguments: each of its arguments.
    """

    api: str
    arguments: Mapping[str, str]


SINCE: Mapping[str, Since] = {
    "ldm_schedulers": Since("1", {"register": "1"}),
    "ldm_spacings": Since("1", {"register": "1"}),
    "ldm_guidance": Since("1", {"register": "1"}),
    "ldm_conditioning": Since("1", {"register": "1"}),
    "ldm_attention": Since("1", {"register": "1"}),
    "ldm_denoisers": Since("1", {"register": "1"}),
    "ldm_encoders": Since("1", {"register": "1"}),
    "ldm_decoders": Since("1", {"register": "1"}),
    "ldm_families": Since("1", {"register": "1"}),
    "ldm_converters": Since("2.0", {"register": "2.0"}),
    "ldm_writers": Since("2.0", {"register": "2.0"}),
    "ldm_observers": Since("1", {"register": "1"}),
    "ldm_metrics": Since("2.1", {"register": "2.1"}),
    "ldm_models": Since("1", {"register": "1"}),
    "ldm_commands": Since("1", {"register": "1"}),
}
"""Since when each hook and each of its arguments exists."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "scheduler": "ldm_schedulers",
        "spacing": "ldm_spacings",
        "guidance": "ldm_guidance",
        "conditioning": "ldm_conditioning",
        "attention": "ldm_attention",
        "denoiser": "ldm_denoisers",
        "encoder": "ldm_encoders",
        "decoder": "ldm_decoders",
        "family": "ldm_families",
        "converter": "ldm_converters",
        "writer": "ldm_writers",
        "observer": "ldm_observers",
        "metric": "ldm_metrics",
        "command": "ldm_commands",
    }
)
"""Each kind of plugin with the hook that offers it. Models, which are folders, stand apart."""
