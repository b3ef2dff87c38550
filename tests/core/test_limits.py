"""Numbers that nothing at hand could hold are refused before anything is made or read."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import psutil
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition import limits
from ldm_core.composition.compose import compose, recompose
from ldm_core.contracts import Axis, LatentSpace
from ldm_core.errors import LdmError
from ldm_core.plugins.options import read_options
from ldm_core.plugins.registry import installed
from ldm_core.run.memory import foreseen
from ldm_pipelines.invert import invert
from ldm_pipelines.outpaint import outpaint
from ldm_pipelines.restore import restore
from ldm_pipelines.upscale import upscale

NUMBERS = (math.nan, math.inf, -1, 0, 10**9, 10**30, 1e308)
SECONDS, MEBIBYTES = 2.0, 200
KINDS = {
    "scheduler": "scheduler",
    "spacing": "spacing",
    "guidance": "guidance",
    "attention": "attention",
    "encoder": "encoder",
    "decoder": "decoder",
    "conditioning": "conditioning",
    "denoiser": "denoisers",
    "observer": "observers",
    "converter": "converters",
}
LISTS = ("conditioning", "denoisers", "observers", "converters")


def _is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_is_number, get_args(annotation)))


def options() -> Iterator[tuple[str, str, str]]:
    """Kind, plugin and name of every option of the installed plugins that may be a number."""
    for kind in KINDS:
        for plugin in installed().of_kind(kind):
            for option in read_options(plugin.loaded).values():
                if _is_number(option.annotation):
                    yield kind, plugin.id, option.name


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tiny.write_stable_diffusion_3(tmp_path_factory.mktemp("limits") / "flow")
    return Pipeline.from_pretrained(folder, num_inference_steps=3)


def quickly(work: Callable[[], Any], what: str) -> str:
    """Do something that may raise `LdmError`, and see that it takes little; what it raised."""
    memory, since, said = psutil.Process().memory_info().rss, time.perf_counter(), ""
    try:
        work()
    except LdmError as error:
        said = str(error)
    assert time.perf_counter() - since < SECONDS, what
    assert psutil.Process().memory_info().rss - memory < MEBIBYTES * 2**20, what
    return said


def changes() -> Iterator[tuple[dict[str, Any], float]]:
    """Each number as each option, as a change of a pipeline."""
    beside = {
        "ldm-core:switch": {"first": "euler", "then": "ddim"},
        "ldm-core:torchdiffeq:": {"name": "torchdiffeq:dopri5"},
    }
    for (kind, plugin, name), number in itertools.product(options(), NUMBERS):
        key, choice = KINDS[kind], {"name": plugin, **beside.get(plugin, {}), name: number}
        yield {key: [choice] if key in LISTS else choice}, number


@pytest.mark.slow
def test_what_is_taken_runs(pipe: Pipeline, flow: Pipeline) -> None:
    """To a picture, or to an error of ours: nothing else leaves a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for (change, _), model in itertools.product(changes(), (pipe, flow)):
            with contextlib.suppress(LdmError):
                model.replace(**change)("a", seed=1)


def test_every_number_of_every_option_is_taken_or_refused(pipe: Pipeline, flow: Pipeline) -> None:
    runs = 0
    for change, number in changes():
        for model in (pipe, flow) if "spacing" in change else (pipe,):

            def composed(model: Pipeline = model, change: dict[str, Any] = change) -> None:
                recompose(model.composition, change).grid(3)

            said = quickly(composed, str(change))
            if not math.isfinite(number):
                assert re.search(
                    "finite|number|needs|whole|integer|should be (a list|Literal)", said
                ), str(change)
            runs += 1
    assert runs > 600


@pytest.mark.parametrize(
    ("plugin", "number"),
    [
        ({"scheduler": {"name": "ddim", "eta": -1}}, "at least 0"),
        ({"scheduler": {"name": "restart", "restarts": 10**9}}, "at most 100"),
        ({"spacing": {"name": "karras", "sigma_max": 1e308}}, "ends at 3.4e"),
        (
            {"spacing": {"name": "explicit", "timesteps": [10**400]}},
            "a number that is not so large",
        ),
        ({"guidance": {"scale": 10**30000}}, "over 300 digits"),
    ],
)
def test_numbers_that_would_go_wrong_in_a_run(
    pipe: Pipeline, plugin: dict[str, Any], number: str
) -> None:
    with pytest.raises(LdmError, match=number):
        pipe.replace(**plugin)


def test_share_of_fresh_noise_ends_at_all_of_it(pipe: Pipeline) -> None:
    """With eta above 1 a step draws all of its noise anew, as with the other ancestral ones."""
    for eta in (1.5, 1e9):
        chosen = {"name": "dpm_2_ancestral", "eta": eta}
        assert pipe.replace(scheduler=chosen)("a", seed=1, output_type="latent").images.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            {"width": 10**7 * 8, "height": 10**7 * 8},
            r"80000000x80000000 would take at least .* TiB",
        ),
        ({"width": 8 * 10**30, "height": 16}, "'width' .* is not so large"),
        ({"num_inference_steps": 10**9}, "at most 10,000, not 1000000000"),
        ({"num_inference_steps": 10**30}, "not 1e.30: .* is not so large"),
        ({"num_images_per_prompt": 10**12}, "at most 1,000,000 images, not 1000000000000"),
        ({"seed": range(10**12)}, r"'seed' .* not range\(0, 1000000000000\)"),
        ({"seed": itertools.count()}, r"'seed' .* not count\(0\)"),
        ({"seed": 10**30}, "'seed' .* is not so large"),
        ({"seed": -1}, "'seed' .* from 0 to 2"),
        ({"prompt": ["a"] * 2000, "num_images_per_prompt": 1000}, "at most 1,000,000 images"),
    ],
)
def test_a_call_that_nothing_could_hold_is_refused_at_once(
    pipe: Pipeline, call: dict[str, Any], message: str
) -> None:
    said = quickly(lambda: pipe(**{"prompt": "a", **call}), str(call))
    assert re.search(message, said), said


def test_what_fits_is_said_and_fits(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 16x16 takes 2 x 4 x (4x8x8 + 3x16x16) = 8192 bytes; three times as much does
    for three at once and no more."""
    monkeypatch.setattr(limits, "available_bytes", lambda: 3 * 8192)
    monkeypatch.setattr(foreseen, "FACTOR", 1)  # the least alone is looked at
    pipe("a", seed=[1, 2, 3])
    with pytest.raises(LdmError, match=r"4 images at once of 16x16 .* a batch_size of 3 would fit"):
        pipe("a", seed=[1, 2, 3, 4])
    assert len(pipe("a", seed=[1, 2, 3, 4], batch_size=3).images) == 4
    with pytest.raises(LdmError, match=r"32x32 would take at least 32 KiB .* about 27x27 would"):
        pipe("a", seed=1, width=32, height=32)


def test_the_least_is_below_what_is_held(pipe: Pipeline) -> None:
    """The formula is a lower bound of the tensors of a run, which are counted here."""
    counted = sum(
        tensor.numel() * tensor.element_size()
        for tensor in (
            torch.zeros(1, 4, 8, 8),
            torch.zeros(1, 4, 8, 8),
            torch.zeros(1, 3, 16, 16),
            torch.zeros(1, 3, 16, 16),
        )
    )
    info = pipe.composition.info
    assert limits.least_bytes(info.latents, 3, {"height": 16, "width": 16}) == counted
    sound = LatentSpace(2, (Axis("samples", 4),))
    assert limits.least_bytes(sound, 1, {"samples": 40}, "audio") == 2 * 4 * 2 * 10


def test_a_control_group_says_how_much_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("max", "1000"), ("now", "700"), ("stat", "anon 1\ninactive_file 200\n")):
        (tmp_path / name).write_text(text)
    files = [tmp_path / name for name in ("max", "now", "stat")]
    assert limits._left(*files) == 500
    (tmp_path / "max").write_text("max")
    assert limits._left(*files) is None
    assert limits._left(tmp_path / "none", *files[1:]) is None
    monkeypatch.setattr(limits, "_groups", lambda: [123, None])
    assert limits.available_bytes() == 123


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["generate", "a", "--size", "10000000x10000000"], "would take at least"),
        (["generate", "a", "--steps", "1000000000"], "at most 10,000"),
        (["generate", "a", "--num-images", "1000000000"], "at most 1,000,000 images"),
        (["generate", "a", "--set", "guidance.scale=1e400"], "finite"),
        (["generate", "a", "--set", "guidance.scale=nan"], "finite"),
        (["generate", "a", "--set", "guidance.scale=1e308"], "ends at 3.4e"),
        (["explain", "--steps", "1000000000"], "at most 10,000"),
        (["upscale", "p.png", "a", "--factor", "1e9"], "would take at least"),
        (["upscale", "p.png", "a", "--factor", "1e30"], "no size of a picture"),
        (["upscale", "p.png", "a", "--factor", "inf"], "finite"),
        (["outpaint", "p.png", "a", "--left", "1000000000"], "would take at least"),
        (["image-to-image", "p.png", "a", "--size", "80000000x80000000"], "would take at least"),
        (["restore", "p.png", "--noise", "1e30"], "at most 255"),
        (["invert", "p.png", "--iterations", "1000000000"], "at most 100"),
        (["interpolate", "a", "b", "--num-images", "1000000000"], "at most 1,000,000 images"),
        (
            ["interpolate", "a", "b", "--film", "x.gif", "--milliseconds", "655351"],
            "for 1 to 655,350 milliseconds",
        ),
        (
            ["interpolate", "a", "b", "--film", "x.png", "--milliseconds", "65536"],
            "for 1 to 65,535 milliseconds",
        ),
        (["augment", "--table", "t.csv", "--num-images", "1000000", "--out", "o"], "1,000,000 im"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_refuses_at_once(
    ldm: Any, folder: Path, tmp_path: Path, command: list[str], message: str
) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "p.png")
    (tmp_path / "t.csv").write_text("prompt\na\nb\n")
    since, memory = time.perf_counter(), psutil.Process().memory_info().rss
    code, out, err = ldm(*command, "--model", folder)
    assert (code, out) == (2, "")
    assert message in err
    assert time.perf_counter() - since < 2 * SECONDS
    assert psutil.Process().memory_info().rss - memory < MEBIBYTES * 2**20
    assert {p.name for p in tmp_path.iterdir()} == {"p.png", "t.csv"}


def test_functions_refuse_as_their_commands_do(pipe: Pipeline) -> None:
    picture = Image.new("RGB", (16, 16), "red")
    with pytest.raises(LdmError, match=r"'factor' .* not inf"):
        upscale(pipe, picture, "a", factor=math.inf)
    with pytest.raises(LdmError, match=r"'factor' .* not nan"):
        upscale(pipe, picture, "a", factor=math.nan)
    with pytest.raises(LdmError, match="would take at least"):
        outpaint(pipe, picture, "a", right=10**9)
    with pytest.raises(LdmError, match="at most 100"):
        invert(pipe, picture, iterations=10**9)
    with pytest.raises(LdmError, match=r"'noise' .* not nan"):
        restore(pipe, picture, noise=math.nan)


def test_a_table_larger_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldm_pipelines.tables import read_table

    path = tmp_path / "large.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["prompt"], *[["a red star"]] * 1000])
    assert len(read_table(path)) == 1000
    monkeypatch.setattr(limits, "available_bytes", lambda: 20_000)
    with pytest.raises(LdmError, match=r"would take at least 35.2 KiB .* 19.5 KiB are free; split"):
        read_table(path)


def test_a_recipe_says_sizes_and_steps_within_the_limits(folder: Path) -> None:
    for recipe in (
        {"num_inference_steps": 10**9},
        {"width": 8 * 10**9, "height": 8 * 10**9},
        {"extent": {"width": 8 * 10**9, "height": 16}},
    ):
        with pytest.raises(LdmError, match=r"at most|at least"):
            compose({"model": str(folder), **recipe}, installed()).plan({"prompt": ["a"]}, [1])
