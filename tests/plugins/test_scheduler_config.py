"""What a folder's scheduler_config.json says: nothing chosen gives what Diffusers gives."""

from __future__ import annotations

import inspect
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.contracts import Grid
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import vp_schedule
from ldm_core.numerics.point import Point
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights
from ldm_plugins.families.shared.scheduler_config import (
    read_defaults,
    read_schedule,
    read_scheduler,
    with_stated,
)
from ldm_plugins.families.shared.scheduler_settings import SETTINGS
from ldm_plugins.schedulers.diffusers import from_diffusers
from tiny.covering import some_of

PATH = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
PLMS = {"skip_prk_steps": True}
KARRAS, EXPONENTIAL, BETA = (
    {f"use_{curve}_sigmas": True} for curve in ("karras", "exponential", "beta")
)
LEADING, LINSPACE, TRAILING = (
    {"timestep_spacing": spacing} for spacing in ("leading", "linspace", "trailing")
)
SIGMA_MIN = {"final_sigmas_type": "sigma_min"}
SDE = {"algorithm_type": "sde-dpmsolver++"}

COUNTERPARTS: list[tuple[str, str, list[dict[str, Any]]]] = [
    (
        "DDIMScheduler",
        "ddim",
        [
            *({}, {"set_alpha_to_one": False}, {"prediction_type": "v_prediction"}, ZERO_SNR),
            *(TRAILING, {**TRAILING, "set_alpha_to_one": False}, {**ZERO_SNR, **TRAILING}),
        ],
    ),
    ("DDIMParallelScheduler", "ddim", [{}]),
    (
        "DDPMScheduler",
        "ddpm",
        [
            *({}, LINSPACE, TRAILING, {**ZERO_SNR, **TRAILING}),
            {"variance_type": "fixed_small_log"},
            {"variance_type": "fixed_large", **LINSPACE},
            {"prediction_type": "sample"},
        ],
    ),
    ("DDPMParallelScheduler", "ddpm", [{}]),
    ("PNDMScheduler", "pndm", [PLMS, {**PLMS, "set_alpha_to_one": True}]),
    ("LMSDiscreteScheduler", "lms", [{}, LEADING, TRAILING, KARRAS, EXPONENTIAL, BETA]),
    (
        "EulerDiscreteScheduler",
        "euler",
        [{}, LEADING, TRAILING, KARRAS, EXPONENTIAL, BETA],
    ),
    ("EulerAncestralDiscreteScheduler", "euler_ancestral", [{}, LEADING, TRAILING]),
    ("HeunDiscreteScheduler", "heun", [{}, LEADING, TRAILING, KARRAS, EXPONENTIAL, BETA]),
    ("KDPM2DiscreteScheduler", "dpm_2", [{}, LEADING, TRAILING, KARRAS, EXPONENTIAL, BETA]),
    (
        "KDPM2AncestralDiscreteScheduler",
        "dpm_2_ancestral",
        [{}, LEADING, TRAILING, KARRAS, EXPONENTIAL, BETA],
    ),
    (
        "DPMSolverMultistepScheduler",
        "dpmpp_2m",
        [
            *({}, LEADING, TRAILING, SIGMA_MIN, KARRAS, {"use_lu_lambdas": True}),
            {"solver_type": "heun"},
            {"solver_type": "bh2", "algorithm_type": "dpmsolver++"},
            {"lower_order_final": False},
            {"euler_at_final": True},
            {"prediction_type": "v_prediction", **LEADING},
        ],
    ),
    (
        "DPMSolverMultistepScheduler",
        "dpmpp_2m_sde",
        [SDE, {**SDE, **KARRAS}, {**SDE, "solver_type": "heun"}, {**SDE, **SIGMA_MIN}],
    ),
    (
        "DPMSolverMultistepScheduler",
        "dpmpp_3m",
        [{"solver_order": 3}, {"solver_order": 3, **KARRAS}, {"solver_order": 3, **SIGMA_MIN}],
    ),
    (
        "DPMSolverSinglestepScheduler",
        "dpmpp_single",
        [
            *({}, KARRAS, SDE, {"solver_type": "heun"}, {"solver_order": 1}),
            {"solver_order": 3},
            {"solver_order": 3, "solver_type": "heun"},
            {"solver_order": 3, **SDE},
        ],
    ),
    (
        "UniPCMultistepScheduler",
        "unipc",
        [
            *({}, LEADING, TRAILING, SIGMA_MIN, KARRAS, {"solver_order": 1}, {"solver_order": 3}),
            {"solver_type": "bh1", **SIGMA_MIN},
            {"lower_order_final": False, **SIGMA_MIN},
        ],
    ),
    (
        "DEISMultistepScheduler",
        "deis",
        [
            *({}, LEADING, TRAILING, {"solver_order": 1}, {"solver_order": 3}),
            {"lower_order_final": False},
        ],
    ),
    (
        "LCMScheduler",
        "lcm",
        [{}, {"original_inference_steps": 100}, {"timestep_scaling": 3.0}, ZERO_SNR],
    ),
    ("TCDScheduler", "tcd", [{}, {"original_inference_steps": 100}, ZERO_SNR]),
]
ITSELF: list[tuple[str, list[dict[str, Any]]]] = [
    ("DDIMScheduler", [LINSPACE, {**ZERO_SNR, **LINSPACE}, {"thresholding": True}]),
    ("DDPMScheduler", [{"variance_type": "fixed_large"}]),
    ("PNDMScheduler", [{}, {**PLMS, **LINSPACE}, {**PLMS, **TRAILING}]),
    (
        "EulerDiscreteScheduler",
        [
            *({**KARRAS, **LEADING}, {**EXPONENTIAL, **TRAILING}, SIGMA_MIN),
            {"interpolation_type": "log_linear"},
            {"timestep_type": "continuous", "sigma_min": 0.1, "sigma_max": 10.0, **KARRAS},
            {**ZERO_SNR, **TRAILING},
        ],
    ),
    ("HeunDiscreteScheduler", [{**KARRAS, **TRAILING}]),
    (
        "DPMSolverMultistepScheduler",
        [
            *(EXPONENTIAL, BETA, {**KARRAS, **SIGMA_MIN}, {"solver_order": 1}),
            {"algorithm_type": "dpmsolver", **SIGMA_MIN},
            {"algorithm_type": "sde-dpmsolver", **SIGMA_MIN},
            {"solver_order": 3, **SDE},
            {"solver_order": 3, "solver_type": "heun"},
            {"euler_at_final": True, **SIGMA_MIN},
            {"lambda_min_clipped": -5.1},
            {**ZERO_SNR, **TRAILING},
        ],
    ),
    ("DPMSolverSinglestepScheduler", [SIGMA_MIN, EXPONENTIAL, {"lambda_min_clipped": -5.1}]),
    (
        "UniPCMultistepScheduler",
        [
            *(EXPONENTIAL, BETA, {**KARRAS, **SIGMA_MIN}),
            {"predict_x0": False, **SIGMA_MIN},
            {"disable_corrector": [0, 1]},
            {**ZERO_SNR, **TRAILING},
        ],
    ),
    ("DEISMultistepScheduler", [KARRAS, EXPONENTIAL]),
    ("SASolverScheduler", [{}, LEADING, KARRAS, {"predictor_order": 3, "corrector_order": 1}]),
    ("LCMScheduler", [{"thresholding": True}]),
]
CASES = [
    *((cls, ours, config) for cls, ours, configs in COUNTERPARTS for config in configs),
    *((cls, f"diffusers:{cls}", config) for cls, configs in ITSELF for config in configs),
]
PROMPTS = ["a red star", "a blue circle"]


@pytest.fixture(scope="module")
def stock(folder: Path) -> Any:
    return diffusers.StableDiffusionPipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def rewritten(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, for a config of its own in each test."""
    return Path(shutil.copytree(folder, tmp_path_factory.mktemp("rewritten") / "model"))


@pytest.mark.parametrize(
    ("cls", "ours", "config"),
    some_of(CASES, 0, 2),
    ids=lambda v: "-".join(map(str, v.values())) or "own" if isinstance(v, dict) else v,
)
def test_nothing_chosen_gives_what_diffusers_gives(
    pipe: Pipeline, stock: Any, rewritten: Path, cls: str, ours: str, config: dict[str, Any]
) -> None:
    said = {"_class_name": cls, **PATH, **config}
    (rewritten / "scheduler" / "scheduler_config.json").write_text(json.dumps(said))
    composition = compose({"model": str(rewritten)}, installed())
    assert composition.recipe["scheduler"]["name"] == ours
    weights = Weights.of(replace(pipe.model, info=composition.info))
    chosen = Pipeline(composition, weights, weights)

    parts = {**stock.components, "scheduler": getattr(diffusers, cls).from_config(said)}
    theirs = type(stock)(**parts, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    # Some classes end runs of fewer than 15 steps otherwise; on trailing timesteps DDIM's class
    # goes its own way where the steps do not divide the trained ones.
    steps = 10 if "trailing" in config.values() else (6, 7, 16)[len(str(config)) % 3]
    call = {"num_inference_steps": steps, "guidance_scale": 2.0}
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    found = chosen(PROMPTS, seed=3, output_type="latent", **call).images
    expected: Tensor = theirs(PROMPTS, generator=generators, output_type="latent", **call).images
    # From zero signal the classes keep x/alpha, up to 4096, and round that in float32.
    limit = 1e-4 if config.get("rescale_betas_zero_snr") else 1e-5
    assert (found - expected).norm() < limit * expected.norm()


def test_the_settings_are_those_of_the_installed_classes() -> None:
    for name, settings in SETTINGS.items():
        parameters = list(inspect.signature(getattr(diffusers, name)).parameters.values())
        assert {p.name: p.default for p in parameters} == settings, name


OTHERWISE: dict[str, Any] = {
    "clip_sample": True,
    "clip_sample_range": 0.5,
    "corrector_order": 3,
    "disable_corrector": [0],
    "dynamic_thresholding_ratio": 0.9,
    "euler_at_final": True,
    "final_sigmas_type": "sigma_min",
    "flow_shift": 3.0,
    "interpolation_type": "log_linear",
    "lambda_min_clipped": -5.1,
    "original_inference_steps": 100,
    "predict_x0": False,
    "predictor_order": 3,
    "sample_max_value": 2.0,
    "shift_terminal": 0.1,
    "sigma_max": 10.0,
    "sigma_min": 0.1,
    "skip_prk_steps": True,
    "solver_order": 3,
    "solver_type": "heun",
    "steps_offset": 1,
    "thresholding": True,
    "time_shift_type": "linear",
    "timestep_scaling": 3.0,
    "timestep_spacing": "trailing",
    "timestep_type": "continuous",
    "use_beta_sigmas": True,
    "use_exponential_sigmas": True,
    "use_flow_sigmas": True,
    "use_karras_sigmas": True,
    "use_lu_lambdas": True,
}
"""A value of each setting that is not the default of any class, or not of most."""


@pytest.mark.parametrize("cls", SETTINGS)
def test_no_setting_is_dropped(cls: str) -> None:
    """A setting that leaves the recipe as it was leaves the class's own results as they were."""
    said = {"_class_name": cls, **PATH}
    for key in OTHERWISE.keys() & SETTINGS[cls].keys():
        changed = {**said, key: OTHERWISE[key]}
        found = read_defaults(changed)
        if found == read_defaults(said):
            assert ends(cls, {key: OTHERWISE[key]}).equal(ends(cls, {})), key
        elif isinstance(found["scheduler"], dict) and "config" in found["scheduler"]:
            assert found["scheduler"]["config"][key] == OTHERWISE[key]


def ends(cls: str, config: dict[str, Any]) -> Tensor:
    """Where the class itself leads on a made-up network, from noise that is always the same."""
    schedule, steps = vp_schedule(), 6
    scheduler = from_diffusers(cls, config=config)
    assert scheduler.points is not None
    grid = Grid(scheduler.points(schedule, steps), schedule)
    draws = torch.Generator().manual_seed(0)

    def noise() -> Tensor:
        return torch.randn(2, 4, 3, 3, generator=draws)

    def denoise(x: Tensor, point: Point) -> Tensor:
        return torch.tanh(x) / 2 + x.roll(1, -1) * point.alpha / 3

    return scheduler(noise(), grid, denoise, noise)


@pytest.mark.parametrize("final", [{}, {"solver_order": 3, "lower_order_final": False}])
def test_where_diffusers_gives_no_number_ours_does(pipe: Pipeline, final: dict[str, Any]) -> None:
    """UniPC's classes with bh1, or with high orders to the end, divide by zero at sigma = 0."""
    config = {"_class_name": "UniPCMultistepScheduler", **PATH, "solver_type": "bh1", **final}
    with pytest.raises(LdmError, match=r"nan|singular"):
        ends("UniPCMultistepScheduler", {"solver_type": "bh1", **final})
    ours = pipe.replace(**read_defaults(config))
    out = ours(PROMPTS, seed=3, num_inference_steps=6, output_type="latent").images
    assert out.isfinite().all()


def test_what_our_schedulers_do_not_know_runs_as_it_is(pipe: Pipeline) -> None:
    """A class of another kind is handed on, to be used or refused where the recipe is read."""
    found = read_defaults({"_class_name": "KarrasVeScheduler", "_diffusers_version": "1", "a": 2})
    assert found["scheduler"] == {"name": "diffusers:KarrasVeScheduler", "config": {"a": 2}}
    with pytest.raises(LdmError, match="cannot be used here"):
        pipe.replace(**found)


def test_another_scheduler_can_be_chosen_in_its_place(rewritten: Path) -> None:
    said = {"_class_name": "SASolverScheduler", **PATH}
    (rewritten / "scheduler" / "scheduler_config.json").write_text(json.dumps(said))
    own = compose({"model": str(rewritten)}, installed())
    assert own.recipe["scheduler"]["name"] == "diffusers:SASolverScheduler"
    chosen = recompose(own, {"scheduler": "euler", "spacing": "karras"})
    assert len(chosen.grid(6)) == 7
    assert [point.t for point in recompose(own, {"scheduler": "euler"}).grid(3)] == [
        *(999, 499.5, 0, 0)
    ]


def test_clipping_becomes_a_wrapper_where_the_class_steps_by_the_clipped_x0() -> None:
    clip = [{"name": "clip_x0", "limit": 2.0}]
    ddpm = {"_class_name": "DDPMScheduler", "clip_sample_range": 2.0}
    assert read_defaults(ddpm)["denoisers"] == clip
    ddim = read_defaults({"_class_name": "DDIMScheduler", "clip_sample_range": 2.0})
    assert ddim["scheduler"]["config"] == {"clip_sample": True, "clip_sample_range": 2.0}


def test_a_config_without_class_is_refused() -> None:
    with pytest.raises(LdmError, match="_class_name"):
        read_defaults({"beta_start": 0.1})


@pytest.mark.parametrize("cls", ["HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "LCMScheduler"])
def test_betas_that_are_not_said_are_the_class_own(cls: str) -> None:
    scheduler = getattr(diffusers, cls)()
    ours = read_schedule({"_class_name": cls})
    assert ours.betas == pytest.approx(scheduler.betas.double().numpy(), abs=1e-7)


def test_a_rescaling_that_the_class_does_not_know_is_not_done() -> None:
    """Diffusers' Heun leaves the betas as they are, whatever the config says."""
    config = {"rescale_betas_zero_snr": True, **PATH}
    assert read_schedule({"_class_name": "HeunDiscreteScheduler", **config}).alphas[-1] > 0
    assert read_schedule({"_class_name": "EulerDiscreteScheduler", **config}).alphas[-1] == 0


def test_zero_terminal_snr_that_a_file_states_holds_under_a_class_that_reads_no_such_setting() -> (
    None
):
    config = {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear"}
    read = read_scheduler(with_stated(config, {"rescale_betas_zero_snr": True}))
    theirs = diffusers.DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True)
    for t in (0, 500, 999):
        expected = float(theirs.alphas_cumprod[t])
        assert read.noise_schedule.at(t).alpha ** 2 == pytest.approx(expected, abs=1e-6)
    folder = read_scheduler({**config, "rescale_betas_zero_snr": True})
    assert folder.noise_schedule.at(999).alpha > 0.01  # where the folder says it, it is not read
