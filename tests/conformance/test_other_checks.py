"""Each check of spacings, kernels, observers, writers, commands and models sees what is wrong in
its way, and says nothing of the others."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ldm_core.conformance.kinds import checks_of_kind
from ldm_core.conformance.project_folder import read_project
from ldm_core.contracts import measures, runs_on, writes
from ldm_core.media.png import write_png
from ldm_core.numerics.point import CLEAN, Point
from ldm_core.plugins.registry import ShippedModel, installed
from tiny.covering import some_of
from written_packages import write_package
from wrong_plugins import failed

SEEN: dict[str, set[str]] = {}


def sees(kind: str, target: Any, expected: set[str], **more: Any) -> dict[str, str]:
    """The reasons of the checks that fail, which are these."""
    reasons = failed(kind, target, **more)
    assert set(reasons) == expected, reasons
    return reasons


def even(schedule: Any, steps: int) -> list[Point]:
    """Evenly in the timestep."""
    times = [schedule.last * (1 - i / steps) for i in range(steps)]
    return [*map(schedule.at, [max(t, schedule.first) for t in times]), CLEAN]


def seeding(schedule: Any, steps: int) -> list[Point]:
    torch.manual_seed(0)
    return even(schedule, steps)


COUNT = itertools.count()
SPACINGS: dict[str, tuple[Any, set[str]]] = {
    "right": (even, set()),
    "one too few": (lambda schedule, steps: even(schedule, steps)[1:], {"well_formed"}),
    "by chance": (
        lambda schedule, steps: [
            *(schedule.at(p.t * (1 - 1e-6 * random.random())) for p in even(schedule, steps)[:-1]),
            CLEAN,
        ],
        {"repeats", "shared_state"},
    ),
    "numbers of numpy": (
        lambda schedule, steps: [
            Point(np.float64(p.alpha), np.float64(p.sigma), p.t) for p in even(schedule, steps)
        ],
        {"plain_numbers"},
    ),
    "beyond the path": (
        lambda schedule, steps: [
            replace(even(schedule, steps)[0], t=schedule.last * 1.2),
            *even(schedule, steps)[1:],
        ],
        {"on_the_path"},
    ),
    "no clean end": (
        lambda schedule, steps: [*even(schedule, steps)[:-1], schedule.at(schedule.first / 2)],
        {"whole_range"},
    ),
    "a part of the range": (
        lambda schedule, steps: [
            *(schedule.at(0.7 * schedule.first + 0.3 * p.t) for p in even(schedule, steps)[:-1]),
            CLEAN,
        ],
        {"whole_range"},
    ),
    "by the global seed": (seeding, {"shared_state"}),
    "off the path": (
        lambda schedule, steps: (
            [Point(p.alpha * 0.9, p.sigma * 0.9, p.t) for p in even(schedule, steps)[:-1]] + [CLEAN]
        ),
        {"on_the_path"},
    ),
}


@pytest.mark.parametrize("name", SPACINGS)
def test_a_wrong_spacing_fails_its_check_and_no_other(name: str) -> None:
    target, expected = SPACINGS[name]
    sees("spacing", target, expected)


def attend(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    """By the formula."""
    scores = q @ k.transpose(-1, -2) * scale
    if mask is not None:
        hides = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, float("-inf")) if hides else scores + mask
    return scores.float().softmax(-1).to(q.dtype) @ v


def scaled_in_place(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    q *= scale
    return attend(q, k, v, mask, 1.0)


def into_the_mask(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    out = attend(q, k, v, mask, scale)
    if mask is not None:
        mask.zero_()
    return out


def causal_where_long(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    length = q.shape[2]
    if mask is None and k.shape[2] == length > 64:
        mask = torch.ones(length, length, dtype=torch.bool).tril()
    return attend(q, k, v, mask, scale)


def without_the_largest(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    if mask is not None or q.dtype != torch.float32:
        return attend(q, k, v, mask, scale)
    weights = (q @ k.transpose(-1, -2) * scale).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


def sizes_unsaid(q: Any, k: Any, v: Any, mask: Any, scale: Any) -> Any:
    assert q.shape[-1] in (8, 16), "heads of 8 or 16"
    return attend(q, k, v, mask, scale)


KERNELS: dict[str, tuple[Any, set[str]]] = {
    "right": (attend, set()),
    "its own scale": (
        lambda q, k, v, mask, scale: attend(q, k, v, mask, q.shape[-1] ** -0.5),
        {"tolerance"},
    ),
    "no masks": (lambda q, k, v, mask, scale: attend(q, k, v, None, scale), {"masks"}),
    "no masks, as it says": (
        runs_on(masks=())(lambda q, k, v, mask, scale: attend(q, k, v, None, scale)),
        set(),
    ),
    "masks spread wrongly": (
        lambda q, k, v, mask, scale: attend(
            q, k, v, mask if mask is None else mask[:, :, :1], scale
        ),
        {"masks"},
    ),
    "in place": (scaled_in_place, {"writes_nothing"}),
    "into the mask": (into_the_mask, {"writes_nothing"}),
    "causal where long": (causal_where_long, {"tolerance"}),
    "long queries": (
        lambda q, k, v, mask, scale: attend(q, k, v, mask, scale) * (1 + (q.shape[2] > 1024) / 9),
        {"tolerance"},
    ),
    "one head": (
        lambda q, k, v, mask, scale: attend(q, k, v, mask, scale) * (1 + (q.shape[1] == 1) / 99),
        {"large_scores"},
    ),
    "no largest score": (without_the_largest, {"large_scores"}),
    "heads in a row": (
        lambda q, k, v, mask, scale: attend(
            q.view(-1, *q.shape[1:]) if q.is_contiguous() else q.view(-1, q.shape[-1]),
            k,
            v,
            mask,
            scale,
        ),
        {"not_contiguous"},
    ),
    "half inside": (
        lambda q, k, v, mask, scale: attend(
            q.half(), k.half(), v.half(), mask if mask is None else _half(mask), scale
        ).to(q.dtype),
        {"tolerance", "not_contiguous", "masks", "large_scores"},
    ),
    "half inside, as it says": (
        runs_on(lossless=False)(
            lambda q, k, v, mask, scale: attend(
                q.half(), k.half(), v.half(), mask if mask is None else _half(mask), scale
            ).to(q.dtype)
        ),
        set(),
    ),
    "sizes unsaid": (sizes_unsaid, {"tolerance", "not_contiguous", "writes_nothing"}),
    "sizes said": (runs_on(head_sizes=(8, 16))(sizes_unsaid), set()),
    "another type": (
        lambda q, k, v, mask, scale: attend(q, k, v, mask, scale).double(),
        {"tolerance", "not_contiguous", "masks", "large_scores", "writes_nothing"},
    ),
}


def _half(mask: Any) -> Any:
    return mask if mask.dtype == torch.bool else mask.half()


@pytest.mark.parametrize("name", some_of(KERNELS, 0, 2))
def test_a_wrong_kernel_fails_its_check_and_no_other(name: str) -> None:
    target, expected = KERNELS[name]
    sees("attention", target, expected)


def test_a_kernel_for_another_device_is_not_checked_here() -> None:
    from wrong_plugins import results_of

    results = results_of("attention", runs_on("mps")(attend))
    outcomes = {result.outcome for name, result in results.items() if name != "made"}
    assert outcomes == {"skipped"}


@contextmanager
def watching(grid: Any) -> Iterator[Any]:
    """Right."""
    yield lambda step: None


@contextmanager
def touching(grid: Any) -> Iterator[Any]:
    yield lambda step: step.x0.mul_(0.9)


@contextmanager
def swallowing(grid: Any) -> Iterator[Any]:
    with suppress(BaseException):
        yield lambda step: None


class OnceOnly:
    """A file that is open once, so to say."""

    def __init__(self) -> None:
        self.open = False

    @contextmanager
    def __call__(self, grid: Any) -> Iterator[Any]:
        assert not self.open, "still open"
        self.open = True
        yield lambda step: None
        self.open = False


@contextmanager
def by_step(grid: Any) -> Iterator[Any]:
    left = [*range(len(grid) - 1)]
    yield lambda step: left.remove(step.index)


@contextmanager
def seeding_runs(grid: Any) -> Iterator[Any]:
    torch.manual_seed(0)
    yield lambda step: None


OBSERVERS: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "right": (lambda: watching, set()),
    "touching": (lambda: touching, {"changes_nothing"}),
    "seeding": (lambda: seeding_runs, {"changes_nothing"}),
    "swallowing": (lambda: swallowing, {"errors_pass"}),
    "no context manager": (
        lambda: lambda grid: print,
        {"changes_nothing", "opens_and_closes", "errors_pass", "evaluations_anywhere"},
    ),
    "once only": (OnceOnly, {"opens_and_closes", "errors_pass", "evaluations_anywhere"}),
    "once a step": (lambda: by_step, {"evaluations_anywhere"}),
}


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_wrong_observer_fails_its_check_and_no_other(name: str) -> None:
    make, expected = OBSERVERS[name]
    sees("observer", make(), expected)


def png(shown: Any, manifest: Any, path: Path) -> None:
    """Right."""
    write_png(shown.data, manifest, path)


def by_suffix(shown: Any, manifest: Any, path: Path) -> None:
    shown.data.save(path)


def beside_it(shown: Any, manifest: Any, path: Path) -> None:
    png(shown, manifest, path)
    path.with_suffix(".txt").write_text("also")


def darker(shown: Any, manifest: Any, path: Path) -> None:
    write_png(Image.fromarray(np.asarray(shown.data) // 2), manifest, path)


def without(shown: Any, manifest: Any, path: Path) -> None:
    shown.data.save(path, "PNG")


def numbered(shown: Any, manifest: Any, path: Path) -> None:
    png(shown, manifest, path)
    with path.open("ab") as file:
        file.write(str(next(COUNT)).encode())


def telling(shown: Any, manifest: Any, path: Path) -> None:
    shown.data.putpixel((0, 0), 0)
    png(shown, manifest, path)


def slower(shown: Any, manifest: Any, path: Path) -> None:
    soundfile.write(path, shown.data.T, int(shown.rate) // 2, "PCM_24", format="WAV")


WRITERS: dict[str, tuple[Any, set[str]]] = {
    "right": (writes("image", ".png", holds_manifest=True)(png), set()),
    "no writer": (
        lambda: png,
        {"is_a_writer", "writes_that_file", "repeats", "readable", "holds_manifest"},
    ),
    "by suffix": (
        writes("image", ".png", holds_manifest=False)(by_suffix),
        {"writes_that_file", "repeats"},
    ),
    "a file more": (writes("image", ".png", holds_manifest=True)(beside_it), {"writes_that_file"}),
    "darker": (writes("image", ".png", holds_manifest=True)(darker), {"readable"}),
    "darker, as it says": (
        writes("image", ".png", holds_manifest=True, lossless=False)(darker),
        set(),
    ),
    "no manifest": (writes("image", ".png", holds_manifest=True)(without), {"holds_manifest"}),
    "a manifest unsaid": (writes("image", ".png")(png), {"holds_manifest"}),
    "slower": (writes("audio", ".wav")(slower), {"readable"}),
    "numbered": (writes("image", ".png", holds_manifest=True)(numbered), {"repeats"}),
    "into the picture": (
        writes("image", ".png", holds_manifest=True)(telling),
        {"repeats"},
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_wrong_writer_fails_its_check_and_no_other(name: str) -> None:
    target, expected = WRITERS[name]
    sees("writer", target, expected)


def error(pictures: Any, references: Any) -> Any:
    """Right."""
    return (pictures - references).square().mean((1, 2, 3))


def of_batch(pictures: Any, references: Any) -> Any:
    return error(pictures, references) / error(pictures, references).max().clamp(min=1e-3)


def by_place(pictures: Any, references: Any) -> Any:
    return error(pictures, references) * (1 + torch.arange(len(pictures)))


def painting(pictures: Any, references: Any) -> Any:
    rows = error(pictures, references)
    pictures.mul_(0.99)
    return rows


def drawing(pictures: Any, references: Any) -> Any:
    torch.manual_seed(0)
    return error(pictures, references)


def by_size(pictures: Any) -> Any:
    return pictures.mean((1, 2))


def apart(rows: Any, reference_rows: Any) -> float:
    return float((rows.mean(0) - reference_rows.mean(0)).norm())


def first_apart(rows: Any, reference_rows: Any) -> float:
    return float((rows[0] - reference_rows[0]).norm())


LOWER: dict[str, Any] = {"higher_is_better": False, "best": 0.0}
METRICS: dict[str, tuple[Any, set[str]]] = {
    "right": (measures("pairs", **LOWER)(error), set()),
    "unmarked": (
        error,
        {"made", "is_a_metric", "rows", "each_picture_alone", "order_of_pictures"}
        | {"changes_nothing", "equals_are_best", "noise_is_worse"},
    ),
    "upside down": (measures("pairs", best=0.0)(error), {"noise_is_worse"}),
    "another best": (
        measures("pairs", higher_is_better=False, best=1.0)(error),
        {"equals_are_best"},
    ),
    "above its end": (
        measures("pairs", **LOWER, highest=0.001)(error),
        {"rows", "order_of_pictures", "changes_nothing", "noise_is_worse"},
    ),
    "of the batch": (measures("pairs", **LOWER)(of_batch), {"each_picture_alone"}),
    "by place": (measures("pairs", **LOWER)(by_place), {"each_picture_alone"}),
    "painting": (
        measures("pairs", **LOWER)(painting),
        {"rows", "each_picture_alone", "order_of_pictures", "changes_nothing", "noise_is_worse"}
        | {"equals_are_best"},
    ),
    "drawing": (measures("pairs", **LOWER)(drawing), {"changes_nothing"}),
    "by size": (
        measures("sets", higher_is_better=False, figure=lambda a, b: apart(a, b))(by_size),
        {"rows"},
    ),
    "by the first": (
        measures("sets", **LOWER, figure=first_apart)(lambda p: p.std((2, 3))),
        {"order_of_pictures"},
    ),
    "right sets": (
        measures("sets", **LOWER, figure=apart)(lambda p: p.std((2, 3))),
        set(),
    ),
}


@pytest.mark.parametrize("name", some_of(METRICS, 0, 2))
def test_a_wrong_metric_fails_its_check_and_no_other(name: str) -> None:
    target, expected = METRICS[name]
    sees("metric", target, expected)


COMMANDS_PLUGIN = """
from ldm_core import hookimpl

ldm_api = ">=2,<3"


@hookimpl
def ldm_commands(register):
    for name in ("measure", "inpaint", "upscale twice", "collect", "draw", "quiet", "taken"):
        register(name, "{module}.parts:" + name.split()[-1])
    register("early", "{module}.early:early")
    register("late", "{module}.late:late")
"""
COMMANDS = '''
from pathlib import Path

from ldm_core.contracts import InputPath, OutputPath


def measure(*files: InputPath, log: OutputPath | None = None, floor: float = 0.0):
    """Measure files.

    Args:
        files: To measure.
        log: Takes the figures.
        floor: Leave out those with less.
    """


def inpaint(*files: InputPath):
    """Fill holes in another way.

    Args:
        files: With holes.
    """


def twice(*, number: int = 2):
    """Enlarge twice.

    Args:
        number: Of times.
    """


def collect(words: Path):
    """Collect words.

    Args:
        words: A file.
    """


def taken(*, help: str = ""):
    """Take the core's own flag.

    Args:
        help: What is asked.
    """


def draw(words: str, *, amount: float = 1.0):
    """Draw words.

    Args:
        words: To draw.
    """


def quiet():
    pass
'''
EARLY = '''
from ldm_core.run.pipeline import Pipeline


def early(pipe: Pipeline, word: str):
    """Draw a word.

    Args:
        word: To draw.
    """
'''
LATE = '''
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldm_core import Pipeline


def late(pipe: Pipeline, word: str):
    """Draw a word.

    Args:
        word: To draw.
    """
    import torch
'''
WRONG_COMMANDS: dict[str, tuple[str, set[str]]] = {
    "measure": ("parts", set()),
    "inpaint": ("parts", set()),  # ldm-core has one of this name
    "upscale twice": ("parts", set()),  # which is no group
    "late": ("late", set()),
    "early": ("early", {"imports_late"}),
    "collect": ("parts", {"paths"}),
    "draw": ("parts", {"readable_types"}),
    "quiet": ("parts", {"helps"}),
    "taken": ("parts", {"helps"}),
}
"""By name: the module, and the checks that fail."""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A package of commands, as installed here and in every process; its module."""
    installed()  # kept as it is without the package
    home, site, module = *map(tmp_path_factory.mktemp, ("p", "site")), "mine_commands"
    more = {"early.py": EARLY, "late.py": LATE}
    folder = write_package(home / "p", module, COMMANDS_PLUGIN, COMMANDS, more=more)
    with pytest.MonkeyPatch.context() as patch:
        paths = [*map(str, read_project(folder).as_installed(site))]
        patch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
        for path in paths:
            patch.syspath_prepend(path)
        yield module


@pytest.mark.parametrize("name", some_of(WRONG_COMMANDS, 0, 2))
def test_a_wrong_command_fails_its_check_and_no_other(name: str, commands: str) -> None:
    module, expected = WRONG_COMMANDS[name]
    target = f"{commands}.{module}:{name.split()[-1]}"
    reasons = sees("command", target, expected, name=name)
    if name == "early":
        assert "`ldm early --help` waits" in reasons["imports_late"]


def test_every_check_of_commands_catches_something() -> None:
    caught = {check for _, checks in WRONG_COMMANDS.values() for check in checks}
    assert caught == {check.name for check in checks_of_kind("command")}


def test_a_model_that_ships_is_a_folder_of_safetensors_that_a_family_knows(
    folder: Path, tmp_path: Path
) -> None:
    from ldm_core.conformance.checks import Subject
    from ldm_core.conformance.plugin_checks import as_plugin
    from ldm_core.plugins.registry import Registry

    def reasons(place: Path) -> dict[str, str]:
        registry = Registry()
        registry.plugins = installed().plugins
        model = ShippedModel("theirs", place, "tests", "ldm-mine", "0.1")
        registry.models = [model]
        subject = Subject(as_plugin(model), registry)
        said = {}
        for check in checks_of_kind("model"):
            try:
                assert check.function(subject)
            except Exception as error:
                said[check.name] = str(error)
        return said

    assert reasons(folder) == {}
    assert {"folder", "recognised"} <= set(reasons(tmp_path / "gone"))
    for path in folder.rglob("*"):
        copy = tmp_path / "copy" / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            copy.write_bytes(path.read_bytes())
    (tmp_path / "copy" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert set(reasons(tmp_path / "copy")) == {"safetensors_alone"}
    weights = tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors"
    held = load_file(weights)
    save_file({name: held[name] for name in sorted(held)[1:]}, weights)
    assert set(reasons(tmp_path / "copy")) == {"safetensors_alone", "draws"}
    index = tmp_path / "copy" / "model_index.json"
    index.write_text('{"_class_name": "Nobodys"}')
    assert set(reasons(tmp_path / "copy")) == {
        *("safetensors_alone", "recognised", "composes", "draws")
    }
