"""The loops of Diffusers' own scheduler tests, with the numbers that they expect.

Each walks its whole way with the network x·t/(t + 1), from a ramp or from a ramp with noise
part-way, and states the sum, or the mean, of the absolute values at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor

import tiny
from diffusers_runs import SHAPE, Folder, Run, plain, ramp, walk
from ldm_core.composition.compose import recompose
from ldm_core.errors import LdmError
from ldm_plugins.schedulers.shared.diffusers_classes import REASONS
from pages import DOCS, table_rows

PATH = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
LONGER = {**PATH, "num_train_timesteps": 1100}
LATENT = {**PATH, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CLIPPED = {**PATH, "clip_sample": True}
LEAST = {**PATH, "solver_order": 2, "final_sigmas_type": "sigma_min"}
BASE: dict[str, dict[str, Any]] = {
    "DDIM": CLIPPED,
    "DDIMParallel": CLIPPED,
    "DDPM": CLIPPED,
    "DDPMParallel": CLIPPED,
    "DEISMultistep": PATH,
    "DPMSolverMultistep": {**LEAST, "lower_order_final": False},
    "DPMSolverSinglestep": LEAST,
    "EulerAncestralDiscrete": LONGER,
    "EulerDiscrete": LONGER,
    "HeunDiscrete": LONGER,
    "KDPM2AncestralDiscrete": LONGER,
    "KDPM2Discrete": LONGER,
    "LCM": LATENT,
    "LMSDiscrete": LONGER,
    "PNDM": PATH,
    "SASolver": LONGER,
    "TCD": LATENT,
    "UniPCMultistep": LEAST,
}
"""The settings of each class's tests."""
KEEPS_RATIO = {name: 1 for name in BASE if name.endswith("Discrete")} | {
    "HeunDiscrete": 2,
    "KDPM2AncestralDiscrete": 2,
    "KDPM2Discrete": 2,
}
"""Classes that keep x/alpha, and how many calls a step of theirs makes."""
V: dict[str, Any] = {"prediction_type": "v_prediction"}
KARRAS: dict[str, Any] = {"use_karras_sigmas": True}


@dataclass(frozen=True)
class Loop:
    """A loop of the tests.

    Attributes:
        mean: of the absolute values at the end.
        sum: of the same, where the test states it.
        skipped: how many steps are left out at the beginning.
        noised: the ramp is noised for the first of those that are not.
    """

    cls: str
    mean: float
    sum: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 10
    skipped: int = 0
    noised: bool = False
    shape: tuple[int, ...] = SHAPE

    def __str__(self) -> str:
        parts = (f"{key}-{value}" for key, value in self.config.items())
        noised = "noised" if self.noised else "whole"
        return "-".join([self.cls, *parts, str(self.steps), noised, str(len(self.shape) - 2)])


LINE = (4, 3, 8)
LOOPS = [
    *(
        loop
        for cls in ("DDIM", "DDIMParallel")
        for loop in (
            Loop(cls, 0.223967, 172.0067),
            Loop(cls, 0.0684, 52.5302, V),
            Loop(cls, 0.1951, 149.8295, {"set_alpha_to_one": True, "beta_start": 0.01}),
            Loop(cls, 0.1941, 149.0784, {"set_alpha_to_one": False, "beta_start": 0.01}),
            Loop(cls, 0.4616, 354.5418, skipped=8, noised=True),
        )
    ),
    *(
        loop
        for cls in ("DDPM", "DDPMParallel")
        for loop in (
            Loop(cls, 0.3372, 258.9606, steps=1000),
            Loop(cls, 0.2631, 202.0296, V, steps=1000),
            Loop(cls, 0.5051, 387.9466, steps=1000, skipped=998, noised=True),
        )
    ),
    Loop("DEISMultistep", 0.23916),
    Loop("DEISMultistep", 0.091, None, V),
    Loop("DEISMultistep", 0.41054, 315.3016, skipped=8, noised=True),
    Loop("DPMSolverMultistep", 0.3301),
    Loop("DPMSolverMultistep", 0.4146, 318.4111, skipped=5, noised=True),
    Loop("DPMSolverMultistep", 0.2251, None, V),
    Loop("DPMSolverMultistep", 0.2096, None, {**V, **KARRAS}),
    Loop("DPMSolverMultistep", 0.1554, None, {**V, "use_lu_lambdas": True}),
    Loop("DPMSolverSinglestep", 0.2574, steps=50, skipped=3),
    Loop("DPMSolverSinglestep", 0.2791),
    Loop("DPMSolverSinglestep", 0.2248, None, KARRAS),
    Loop("DPMSolverSinglestep", 0.1453, None, V),
    Loop("DPMSolverSinglestep", 0.0649, None, {**V, **KARRAS}),
    Loop("DPMSolverSinglestep", 0.3505, 269.2187, skipped=5, noised=True),
    Loop("EulerDiscrete", 0.0131, 10.0807),
    Loop("EulerDiscrete", 2.2676e-06, 0.0002, V),
    Loop("EulerDiscrete", 0.16213932633399963, 124.52299499511719, KARRAS),
    Loop("EulerDiscrete", 74.3007, 57062.9297, skipped=8, noised=True),
    Loop("EulerAncestralDiscrete", 0.1983, 152.3192),
    Loop("EulerAncestralDiscrete", 0.1412, 108.4439, V),
    Loop("EulerAncestralDiscrete", 73.1290, 56163.0508, skipped=8, noised=True),
    Loop("HeunDiscrete", 0.0002, 0.1233),
    Loop("HeunDiscrete", 6.1112e-10, 4.6934e-07, V),
    Loop("HeunDiscrete", 1.9869554535034695e-07, 0.00015, KARRAS),
    Loop("HeunDiscrete", 97.7538, 75074.8906, skipped=8, noised=True),
    Loop("KDPM2Discrete", 0.0266, 20.4125),
    Loop("KDPM2Discrete", 6.1112e-10, 4.6934e-07, V),
    Loop("KDPM2Discrete", 91.6776, 70408.4062, skipped=8, noised=True),
    Loop("KDPM2AncestralDiscrete", 18.2030, 13979.9433),
    Loop("KDPM2AncestralDiscrete", 0.4320, 331.8133, V),
    Loop("KDPM2AncestralDiscrete", 121.2074, 93087.3437, skipped=8, noised=True),
    Loop("LMSDiscrete", 1.31, 1006.388),
    Loop("LMSDiscrete", 2.2676e-06, 0.0017, V),
    Loop("LMSDiscrete", 4.9648, 3812.9927, KARRAS),
    Loop("LCM", 0.0244, 18.7097, steps=1),
    Loop("LCM", 0.2575, 197.7616),
    Loop("TCD", 0.0389, 29.8715, steps=1),
    Loop("TCD", 0.2359, 181.2040),
    Loop("PNDM", 0.2580, 198.1318),
    Loop("PNDM", 0.0878, 67.3986, V),
    Loop("PNDM", 0.2995, 230.0399, {"set_alpha_to_one": True, "beta_start": 0.01}),
    Loop("PNDM", 0.2434, 186.9482, {"set_alpha_to_one": False, "beta_start": 0.01}),
    Loop("SASolver", 0.43931546807289124, 337.394287109375),
    Loop("SASolver", 0.2514931857585907, 193.1467742919922, V),
    Loop("SASolver", 1.0901764631271362, 837.2554931640625, KARRAS),
    Loop("UniPCMultistep", 0.2464),
    Loop("UniPCMultistep", 0.2925, None, KARRAS),
    Loop("UniPCMultistep", 0.1014, None, V),
    Loop("UniPCMultistep", 0.1966, None, {**V, **KARRAS}),
    Loop("UniPCMultistep", 0.4109, 315.5757, skipped=8, noised=True),
    Loop("UniPCMultistep", 0.2441, shape=LINE),
    Loop("UniPCMultistep", 0.2898, None, KARRAS, shape=LINE),
    Loop("UniPCMultistep", 0.1014, None, V, shape=LINE),
    Loop("UniPCMultistep", 0.1944, None, {**V, **KARRAS}, shape=LINE),
    Loop("UniPCMultistep", 0.4072, 39.0870, skipped=8, noised=True, shape=LINE),
]


OTHERWISE: list[tuple[Loop, str]] = [
    (
        Loop(
            "DPMSolverMultistep",
            1.1364,
            config={
                "thresholding": True,
                "dynamic_thresholding_ratio": 0.87,
                "sample_max_value": 0.5,
            },
        ),
        "dynamic thresholding to less than 1",
    ),
    (Loop("LMSDiscrete", 36.0204, 27663.6895, skipped=8, noised=True), "LMS part-way"),
]
"""Loops that end elsewhere here, with the row of the page of differences that says why."""
WITHOUT = [
    "CMStochasticIterative", "DDIMInverse", "DPMSolverMultistepInverse", "DPMSolverSDE",
    "EDMDPMSolverMultistep", "EDMEuler", "IPNDM", "ScoreSdeVe", "UnCLIP",
]  # fmt: skip
"""Classes of the other loops, which walk no model's path to its data."""


@pytest.fixture(scope="module")
def folder_of_pixels(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tiny.write_ddpm(tmp_path_factory.mktemp("pixels") / "model"))


def end_of(folder: Folder, loop: Loop) -> Tensor:
    """The absolute values at the end of a loop."""
    run = Run(loop.cls, {**BASE[loop.cls], **loop.config}, loop.steps)
    composition = folder.composition(run)
    schedule = composition.info.noise_schedule
    whole = composition.grid(loop.steps)
    grid, ratio = whole[loop.skipped :], loop.cls in KEEPS_RATIO
    first, x = grid[0], ramp(shape=loop.shape)
    if ratio:
        x = x * composition.scheduler.start(whole[0], schedule.at(schedule.last)) / whole[0].alpha
    if ratio or loop.noised:
        x = x * first.alpha
    if loop.noised:
        x = x + first.sigma * ramp(down=True, shape=loop.shape)
    return walk(composition, x, grid, plain, rescales=KEEPS_RATIO.get(loop.cls, 0)).abs()


@pytest.mark.parametrize("loop", LOOPS, ids=str)
def test_the_loop_ends_where_diffusers_says(folder_of_pixels: Folder, loop: Loop) -> None:
    end = end_of(folder_of_pixels, loop)
    if loop.sum is not None:
        assert float(end.sum()) == pytest.approx(loop.sum, abs=0.01, rel=1e-4)
    assert float(end.mean()) == pytest.approx(loop.mean, abs=1e-3, rel=1e-4)


@pytest.mark.parametrize(("loop", "row"), OTHERWISE)
def test_a_loop_that_ends_elsewhere_is_listed(
    folder_of_pixels: Folder, loop: Loop, row: str
) -> None:
    assert row in table_rows(DOCS / "explanation" / "diffusers.md", 2)
    if "thresholding" in loop.config:
        with pytest.raises(LdmError, match="does not lead to what the network estimates"):
            end_of(folder_of_pixels, loop)
    else:
        end = end_of(folder_of_pixels, loop)
        assert float(end.mean()) != pytest.approx(loop.mean, rel=0.1)


@pytest.mark.parametrize("name", WITHOUT)
def test_a_class_that_walks_elsewhere_is_refused_with_the_reason(
    folder_of_pixels: Folder, name: str
) -> None:
    cls = f"{name}Scheduler"
    own = folder_of_pixels.composition(Run("DDPM", BASE["DDPM"]))
    with pytest.raises(LdmError, match=re.escape(REASONS[cls])):
        recompose(own, {"scheduler": f"diffusers:{cls}"})
