"""The settings that Diffusers' own scheduler tests try, over steps and strengths.

Each config leads where Diffusers' class leads, or is listed with the reason on the page of
differences.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from diffusers_runs import SHAPE, Folder, Run, of_diffusers, ramp, scheduler_of
from diffusers_settings import PATH, SWEEPS
from ldm_core.errors import LdmError
from pages import DOCS, table_rows
from tiny.covering import some_of

WALKS = [(10, 1.0), (25, 0.3), (4, 0.5), (10, 0.8)]
"""Steps and strengths, of which each config takes its turn."""
MORE_WALKS = [*product([4, 10, 25], [1.0, 0.3, 0.5, 0.8])]

ONE_MORE = ("DEIS", "DPMSolver", "SASolver", "UniPC")
"""Classes that place one timestep more than steps."""


@dataclass(frozen=True)
class Listed:
    """A row of the page of differences.

    Attributes:
        row: its first cell.
        refused: what our error says; empty where ours runs.
        theirs: "runs", "fails" (it raises an error) or "nearly" (it agrees, less closely).
    """

    row: str
    refused: str = ""
    theirs: str = "runs"


BETAS = Listed("betas beyond 1", r"every beta must lie in \(0, 1\]")
NARROW = Listed("dynamic thresholding to less than 1", "does not lead to what the network")
LONG = Listed("more steps than trained timesteps", "but the model was trained on|nan is left")
ONE = Listed("a path of one timestep", "a list of at least 2 numbers", "fails")
UNKNOWN = Listed("a variance_type that DDPM does not know", "option 'variance'")
THIRD = Listed("sde-dpmsolver of order 3", "cannot make", "fails")
PNDM = Listed("PNDM part-way, Runge-Kutta start", "can only begin at its first timestep")
PLMS = Listed("PNDM part-way")
LMS = Listed("LMS part-way")
SA = Listed("SA-Solver part-way on Karras, exponential or beta sigmas")
SHORT = Listed("a path of 100 timesteps or fewer", theirs="nearly")


def listed(run: Run) -> Listed | None:
    """The reason why a run of Diffusers' class is not ours, if there is one."""
    config, part = run.config, run.strength < 1
    trained = config.get("num_train_timesteps", 1000)
    curves = [name for name in config if re.fullmatch("use_.*_sigmas", name)]
    if config["beta_end"] > 1:
        return BETAS
    if trained == 1:
        return ONE
    if run.steps + run.cls.startswith(ONE_MORE) > trained:
        return LONG
    if config.get("sample_max_value", 1) < 1 and run.cls != "TCD":
        return NARROW
    if config.get("variance_type") == "other":
        return UNKNOWN
    third = config.get("solver_order") == 3 and run.steps > 4  # with fewer no step has order 3
    if third and config.get("algorithm_type") == "sde-dpmsolver":
        return THIRD
    if run.cls == "PNDM" and part:
        return PLMS if config.get("skip_prk_steps") else PNDM
    if run.cls == "LMSDiscrete" and part:
        return LMS
    if run.cls == "SASolver" and part and curves and int(run.steps * run.strength) > 1:
        return SA
    if run.cls.endswith("Discrete") and trained <= 100:
        return SHORT
    return None


def runs(cls: str, walks: list[tuple[int, float]] | None = None) -> Iterator[Run]:
    """The runs of a class: each config by each of the walks, or by its turn's."""
    base, configs = SWEEPS[cls]
    for turn, config in enumerate(configs):
        for steps, strength in walks or [WALKS[turn % len(WALKS)]]:
            yield Run(cls, {**base, **config}, steps, strength)


@pytest.fixture(scope="module")
def folder_of_pixels(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tiny.write_ddpm(tmp_path_factory.mktemp("pixels") / "model"))


def check(folder: Folder, run: Run) -> None:
    """Hold a run to Diffusers' class, or to the reason that is listed."""
    picture, noise, reason = ramp(), 2 * ramp(down=True) - 1, listed(run)
    if reason is not None and reason.refused:
        with pytest.raises(LdmError, match=reason.refused):
            folder.of_ours(run, picture, noise)
        if reason.theirs == "fails" and run.strength == 1:
            with pytest.raises((ValueError, UnboundLocalError, IndexError)):
                of_diffusers(run, picture, noise)
        return
    ours = folder.of_ours(run, picture, noise)
    assert ours.isfinite().all(), run
    try:
        theirs = of_diffusers(run, picture, noise)
    except (IndexError, AssertionError):  # where it is, by a timestep that it visits twice
        theirs = torch.full(SHAPE, math.nan)
    if not theirs.isfinite().all():
        assert any(key in run.config for key in ("use_karras_sigmas", "use_beta_sigmas")), run
        return
    distance = float((ours - theirs).norm() / theirs.norm())
    if reason is None or reason.theirs == "nearly":
        assert distance < (3e-4 if reason is None else 3e-3), (str(run), distance)
    else:
        assert distance > 2e-6, (str(run), distance)  # or else it need not be listed


@pytest.mark.parametrize("cls", some_of(SWEEPS, 0, 2))
def test_each_config_leads_where_diffusers_leads_or_is_listed(
    folder_of_pixels: Folder, cls: str
) -> None:
    for run in runs(cls):
        check(folder_of_pixels, run)


def interpolated_in_log_sigma(run: Run) -> Any:
    """The class, with sigmas between whole timesteps that are interpolated as ours are."""
    scheduler = scheduler_of(run)
    alpha_bar = np.cumprod(1 - scheduler.betas.double().numpy())
    table = 0.5 * np.log((1 - alpha_bar) / alpha_bar)
    places = scheduler.timesteps.double().numpy()
    sigmas = torch.from_numpy(np.exp(np.interp(places, np.arange(len(table)), table)))
    scheduler.sigmas = torch.cat([sigmas.float(), torch.zeros(1)])
    return scheduler


@pytest.mark.parametrize("cls", ["EulerAncestralDiscrete", "EulerDiscrete", "HeunDiscrete"])
def test_between_the_timesteps_of_a_short_path_their_sigmas_are_others(
    folder_of_pixels: Folder, cls: str
) -> None:
    run, x = Run(cls, {**PATH, "num_train_timesteps": 50}, 25), (ramp(), 2 * ramp(down=True) - 1)
    ours = folder_of_pixels.of_ours(run, *x)
    own, other = (
        float((ours - of_diffusers(run, *x, make=make)).norm() / ours.norm())
        for make in (scheduler_of, interpolated_in_log_sigma)
    )
    assert own > 1e-5
    assert other < 2e-6


@pytest.mark.slow
@pytest.mark.parametrize("cls", SWEEPS)
def test_each_config_at_each_number_of_steps_and_strength(
    folder_of_pixels: Folder, cls: str
) -> None:
    for run in runs(cls, MORE_WALKS):
        check(folder_of_pixels, run)


def test_what_is_listed_stands_on_the_page_of_differences() -> None:
    rows = table_rows(DOCS / "explanation" / "diffusers.md", 2)
    every = {listed(run) for cls in SWEEPS for run in runs(cls, MORE_WALKS)} - {None}
    assert {reason.row for reason in every if reason} <= rows.keys()
