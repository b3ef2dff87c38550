"""Names of other programs: each of their lists, as their sources have them, is answered."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest

from ldm_core import LdmError, Pipeline, chain
from ldm_core.composition.compose import compose, recompose
from ldm_core.composition.composition import OF_A_CALL
from ldm_core.composition.recipe import KEYS, as_layer, lay, override
from ldm_core.plugins.elsewhere import looked_up, plain, read_table, tables_of
from ldm_core.plugins.elsewhere_words import flags_of
from ldm_core.plugins.registry import installed
from ldm_pipelines.comparing import compare
from ldm_pipelines.convergence.measuring import converge
from ldm_plugins.conditioning.image_prompt import ImagePrompt
from ldm_plugins.conditioning.mask import mask
from ldm_plugins.conditioning.song import song
from swaps import PUBLISHED, Swap, ours, theirs

A1111 = [
    "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE",
    "Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "LCM",
    "Restart", "DDIM", "DDIM CFG++", "PLMS", "UniPC",
]  # fmt: skip
"""stable-diffusion-webui 1.10 of July 2024, the last one: modules/sd_samplers_kdiffusion.py,
_timesteps.py, _lcm.py and _extra.py, which its fork has had unchanged since."""
FORGE = [*A1111, "HeunPP2", "IPNDM", "IPNDM_V", "DEIS", "DDPM"]
"""stable-diffusion-webui-forge at commit dfdcbab of 26 June 2025: the same files, and
modules_forge/alter_samplers.py."""
A1111_TYPES = [
    "Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform",
    "KL Optimal", "Align Your Steps", "Simple", "Normal", "DDIM", "Beta",
]  # fmt: skip
"""modules/sd_schedulers.py."""
FORGE_TYPES = [
    *A1111_TYPES, "Turbo", "Align Your Steps GITS", "Align Your Steps 11", "Align Your Steps 32",
]  # fmt: skip
"""modules/sd_schedulers.py at the commit above."""
A1111_BEFORE = [
    "LMS Karras", "DPM2 Karras", "DPM2 a Karras", "DPM++ 2S a Karras", "DPM++ 2M Karras",
    "DPM++ SDE Karras", "DPM++ 2M SDE Karras", "DPM++ 2M SDE Exponential",
    "DPM++ 2M SDE Heun Karras", "DPM++ 2M SDE Heun Exponential", "DPM++ 3M SDE Karras",
    "DPM++ 3M SDE Exponential", "k_euler_a", "k_euler_ancestral", "k_lms_ka", "k_dpm_2_a_ka",
    "k_dpmpp_2m_ka", "k_dpmpp_2m_sde_heun_exp", "k_dpm_ad",
]  # fmt: skip
"""Before 1.9, where a sampler's name holds both; and the names of its programs' interface."""
COMFYUI = [
    "euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "heun", "heunpp2",
    "exp_heun_2_x0", "exp_heun_2_x0_sde", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast",
    "dpm_adaptive", "dpmpp_2s_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde",
    "dpmpp_sde_gpu", "dpmpp_2m", "dpmpp_2m_cfg_pp", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "ddpm",
    "lcm", "ipndm", "ipndm_v", "deis", "cfgpp_ud10_ab", "res_multistep", "res_multistep_cfg_pp",
    "res_multistep_ancestral", "res_multistep_ancestral_cfg_pp", "gradient_estimation",
    "gradient_estimation_cfg_pp", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece",
    "ddim", "uni_pc", "uni_pc_bh2",
]  # fmt: skip
"""comfy/samplers.py, KSAMPLER_NAMES and SAMPLER_NAMES, at commit a125cd8 of 12 October 2025; and
three names of later versions: exp_heun_2_x0, exp_heun_2_x0_sde, cfgpp_ud10_ab."""
COMFYUI_SCHEDULERS = [
    "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal",
    "linear_quadratic", "kl_optimal",
]  # fmt: skip
"""comfy/samplers.py, SCHEDULER_HANDLERS, at the same commit."""
COMFYUI_NODES = [
    "KarrasScheduler", "ExponentialScheduler", "PolyexponentialScheduler", "LaplaceScheduler",
    "SDTurboScheduler", "BetaSamplingScheduler", "VPScheduler", "AlignYourStepsScheduler",
    "GITSScheduler", "LTXVScheduler", "OptimalStepsScheduler",
]  # fmt: skip
"""Nodes that give sigmas, of comfy_extras at the same commit: nodes_custom_sampler.py,
nodes_align_your_steps.py, nodes_gits.py, nodes_lt.py, nodes_optimalsteps.py."""
INVOKEAI = [
    "ddim", "ddpm", "deis", "deis_k", "lms", "lms_k", "pndm", "heun", "heun_k", "euler",
    "euler_k", "euler_a", "kdpm_2", "kdpm_2_k", "kdpm_2_a", "kdpm_2_a_k", "dpmpp_2s",
    "dpmpp_2s_k", "dpmpp_2m", "dpmpp_2m_k", "dpmpp_2m_sde", "dpmpp_2m_sde_k", "dpmpp_3m",
    "dpmpp_3m_k", "dpmpp_sde", "dpmpp_sde_k", "er_sde", "unipc", "unipc_k", "lcm", "tcd",
]  # fmt: skip
"""invokeai/backend/stable_diffusion/schedulers/schedulers.py, SCHEDULER_NAME_VALUES, at commit
8e71a8a of 19 August 2026."""
INVOKEAI_FLOW = [
    "Euler", "Heun (2nd order)", "LCM", "DPM++ 2M", "DPM++ 2M SDE", "ER-SDE",
]  # fmt: skip
"""Labels of backend/flux/schedulers.py at the same commit, for FLUX, Z-Image, ERNIE and Anima."""
RES4LYF = [
    "res_2m", "res_3m", "dpmpp_2m", "dpmpp_3m", "abnorsett_2m", "abnorsett_3m", "abnorsett_4m",
    "deis_2m", "deis_3m", "deis_4m", "res_2s_rkmk2e", "res_2s", "res_2s_stable", "res_3s",
    "res_3s_non-monotonic", "res_3s_alt", "res_3s_cox_matthews", "res_3s_lie", "res_3s_sunstar",
    "res_3s_strehmel_weiner", "res_4s_krogstad", "res_4s_krogstad_alt",
    "res_4s_strehmel_weiner", "res_4s_strehmel_weiner_alt", "res_4s_cox_matthews",
    "res_4s_cfree4", "res_4s_friedli", "res_4s_minchev", "res_4s_munthe-kaas", "res_5s",
    "res_5s_hochbruck-ostermann", "res_6s", "res_8s", "res_8s_alt", "res_10s", "res_15s",
    "res_16s", "etdrk2_2s", "etdrk3_a_3s", "etdrk3_b_3s", "etdrk4_4s", "etdrk4_4s_alt",
    "dpmpp_2s", "dpmpp_sde_2s", "dpmpp_3s", "lawson2a_2s", "lawson2b_2s", "lawson4_4s",
    "lawson41-gen_4s", "lawson41-gen-mod_4s", "ddim", "pec423_2h2s", "pec433_2h3s",
    "abnorsett2_1h2s", "abnorsett3_2h2s", "abnorsett4_3h2s", "lawson42-gen-mod_1h4s",
    "lawson43-gen-mod_2h4s", "lawson44-gen-mod_3h4s", "lawson45-gen-mod_4h4s", "ralston_2s",
    "ralston_3s", "ralston_4s", "midpoint_2s", "heun_2s", "heun_3s", "houwen-wray_3s",
    "kutta_3s", "ssprk3_3s", "ssprk4_4s", "rk38_4s", "rk4_4s", "rk5_7s", "rk6_7s",
    "bogacki-shampine_4s", "bogacki-shampine_7s", "dormand-prince_6s", "dormand-prince_13s",
    "tsi_7s", "euler", "irk_exp_diag_2s", "kraaijevanger_spijker_2s", "qin_zhang_2s",
    "pareschi_russo_2s", "pareschi_russo_alt_2s", "crouzeix_2s", "crouzeix_3s",
    "crouzeix_3s_alt", "gauss-legendre_2s", "gauss-legendre_3s", "gauss-legendre_4s",
    "gauss-legendre_4s_alternating_a", "gauss-legendre_4s_ascending_a", "gauss-legendre_4s_alt",
    "gauss-legendre_5s", "gauss-legendre_5s_ascending", "radau_ia_2s", "radau_ia_3s",
    "radau_iia_2s", "radau_iia_3s", "radau_iia_3s_alt", "radau_iia_5s", "radau_iia_7s",
    "radau_iia_9s", "radau_iia_11s", "lobatto_iiia_2s", "lobatto_iiia_3s", "lobatto_iiia_4s",
    "lobatto_iiib_2s", "lobatto_iiib_3s", "lobatto_iiib_4s", "lobatto_iiic_2s",
    "lobatto_iiic_3s", "lobatto_iiic_4s", "lobatto_iiic_star_2s", "lobatto_iiic_star_3s",
    "lobatto_iiid_2s", "lobatto_iiid_3s",
]  # fmt: skip
"""RES4LYF at commit 022c873 of 17 July 2026: beta/rk_coefficients_beta.py, without folders."""
SAID = {"A1111 Automatic"}
"""Names that stand for a choice of the program, and for none here."""
LISTS = {
    **{("A1111", "scheduler"): [*FORGE, *A1111_BEFORE], ("A1111", "spacing"): FORGE_TYPES},
    ("ComfyUI", "scheduler"): COMFYUI,
    ("ComfyUI", "spacing"): [*COMFYUI_SCHEDULERS, *COMFYUI_NODES],
    ("InvokeAI", "scheduler"): [*INVOKEAI, *INVOKEAI_FLOW],
    ("RES4LYF", "scheduler"): RES4LYF,
    ("RES4LYF", "spacing"): ["bong_tangent", "beta57"],
    ("Diffusers", "scheduler"): sorted(
        name for name in dir(diffusers) if name.endswith("Scheduler") and "Flax" not in name
    ),
}


@pytest.fixture(scope="module")
def tables() -> Any:
    found, faults = tables_of(installed())
    assert not faults
    return found


@pytest.fixture(scope="module")
def owns(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The composition of a folder as it is published."""

    @cache
    def composed(name: str) -> Any:
        folder = PUBLISHED[name].written(tmp_path_factory.mktemp("published") / "model")
        return compose({"model": str(folder)}, installed())

    return composed


@pytest.fixture(scope="module")
def own(owns: Callable[[str], Any]) -> Any:
    return owns("SD 1.5")


@pytest.mark.parametrize(("source", "kind"), LISTS)
def test_every_name_is_a_choice_here_or_says_what_is_missing(
    tables: Any, source: str, kind: str
) -> None:
    for name in LISTS[source, kind]:
        if not name.startswith(("Base", "Ones")):
            hits = [h for h in looked_up(name, tables, kind) if h.source == source]
            assert len(hits) == 1, name
            assert hits[0].use or hits[0].missing or f"{source} {name}" in SAID, name


def test_every_choice_is_made_of_plugins_and_options_that_are_there(tables: Any, own: Any) -> None:
    """What is typed for a name is composed as what the table says."""
    tried = 0
    for name in {h.name: h for table in tables for h in table.names}.values():
        for use in [name.use, *name.settings.values()]:
            layer = {
                kind: {
                    "name": name.use.get(kind, {}).get("name"),
                    **{option: 3.0 if value == "*" else value for option, value in c.items()},
                }
                for kind, c in use.items()
            }
            if not layer or any(choice["name"] is None for choice in layer.values()):
                continue
            recompose(own, layer)
            typed: dict[str, Any] = {}
            words = flags_of(layer).split(" --")
            for flag, _, value in (word.strip("-").partition(" ") for word in words):
                one = override(value.strip("'")) if flag == "set" else as_layer({flag: value})
                typed = lay(typed, one)
            assert typed == layer, name
            tried += 1
    assert tried > 100


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("DPM++ 2M Karras", {"--scheduler dpmpp_2m --spacing karras"}),
        ("dpmpp 2m  KARRAS", {"--scheduler dpmpp_2m --spacing karras"}),
        ("Euler a", {"--scheduler euler_ancestral"}),
        ("EulerA", {"--scheduler euler_ancestral"}),
        ("plms", {"--scheduler pndm"}),
        ("DPMSolverMultistep", {"--scheduler dpmpp_2m"}),
        (
            "DPMSolverMultistepScheduler(use_karras_sigmas=True, algorithm_type='sde-dpmsolver++')",
            {"--scheduler dpmpp_2m_sde --spacing karras --set spacing.whole_timesteps=true"},
        ),
        ("DPM++ 2M Automatic", {"--scheduler dpmpp_2m --spacing karras"}),
        ("Euler a Normal", {"--scheduler euler_ancestral --spacing linspace"}),
        ("ays", {"--spacing align_your_steps"}),
        ("dpm-PLUS_plus  2m", set()),
        ("DPM ++ 2M_karras", {"--scheduler dpmpp_2m --spacing karras"}),
        ("IPNDM_V", {"--scheduler ipndm_v"}),
        ("ddim_uniform", {"--spacing ddim_uniform"}),
        (
            "FlowMatchEulerDiscreteScheduler shift=3.0",
            {"--scheduler euler --set spacing.dynamic=false --set spacing.shift=3.0"},
        ),
        (
            "FlowMatchEulerDiscreteScheduler(shift=3, use_karras_sigmas=True)",
            {
                "--scheduler euler --set spacing.curve=karras --set spacing.dynamic=false "
                "--set spacing.shift=3.0"
            },
        ),
        (
            "FlowMatchEulerDiscreteScheduler shift=3 use_dynamic_shifting=True",
            {"--scheduler euler --spacing flow_shift --set spacing.dynamic=true"},
        ),
        ("nobody's", set()),
        ("++", set()),
    ],
)
def test_a_name_is_known_however_it_is_written(tables: Any, name: str, flags: set[str]) -> None:
    assert {flags_of(hit.use) for hit in looked_up(name, tables)} == flags


def test_a_setting_that_means_nothing_here_is_said(tables: Any) -> None:
    (hit,) = looked_up("UniPCMultistepScheduler solver_order=3 solver_p=x", tables)
    assert flags_of(hit.use) == "--scheduler unipc --set scheduler.order=3"
    assert hit.missing == "Not carried over: solver_p=x."
    (hit,) = looked_up("UniPCMultistepScheduler flow_shift=3 use_karras_sigmas=True", tables)
    assert hit.use["spacing"] == {"name": "karras", "whole_timesteps": True}
    assert hit.missing == "Not carried over: flow_shift=3."
    (hit,) = looked_up("FlowMatchEulerDiscreteScheduler shift=much", tables)
    assert (hit.use, hit.missing) == (
        {"scheduler": {"name": "euler"}},
        "Not carried over: shift=much.",
    )


SETTINGS = [
    ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("DPMSolverMultistepScheduler", {"solver_type": "heun", "timestep_spacing": "trailing"}),
    ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
    ("KDPM2DiscreteScheduler", {"use_karras_sigmas": True}),
    ("UniPCMultistepScheduler", {"solver_order": 3, "use_karras_sigmas": True}),
    ("DPMSolverSinglestepScheduler", {"solver_order": 3}),
]
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 5.0}
FLOW_SETTINGS = [
    ("FlowMatchEulerDiscreteScheduler", {"shift": 5.0}),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 1.5, "use_karras_sigmas": True}),
    ("FlowMatchHeunDiscreteScheduler", {"shift": 5.0}),
    ("UniPCMultistepScheduler", FLOW),
    ("DPMSolverMultistepScheduler", FLOW),
    ("DPMSolverSinglestepScheduler", FLOW),
]


@pytest.mark.parametrize(
    ("folder", "cls", "settings"),
    [*(("SD 1.5", *one) for one in SETTINGS), *(("SD 3", *one) for one in FLOW_SETTINGS)],
    ids=str,
)
def test_a_class_with_settings_walks_as_what_it_is_here(
    tables: Any, owns: Callable[[str], Any], folder: str, cls: str, settings: dict[str, Any]
) -> None:
    """On a folder as it is published, from the same noise; Diffusers' own class is the oracle."""
    words = " ".join([cls, *(f"{name}={value}" for name, value in settings.items())])
    (hit,) = looked_up(words, tables)
    assert not hit.missing
    own = owns(folder)
    chosen = recompose(own, {kind: dict(choice) for kind, choice in hit.use.items()})
    expected = theirs(folder, Swap(cls, settings), 12, own)
    found = ours(chosen, 12)
    assert float((found - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize(
    ("flag", "name", "words"),
    [
        ("scheduler", "euler_a", "In A1111 and InvokeAI, this is --scheduler euler_ancestral."),
        ("scheduler", "plms", "In A1111, this is --scheduler pndm."),
        ("scheduler", "DDIM", "Did you mean 'ddim'?"),
        ("scheduler", "dpmpp2m", "Did you mean 'dpmpp_2m'?"),
        ("scheduler", "dpm_fast", "DPM-Solver++, on x0 estimates, is. Nearest: --scheduler"),
        ("spacing", "ays", "In A1111 and ComfyUI, this is --spacing align_your_steps."),
        ("spacing", "kaarras", "Did you mean 'karras'?"),
        ("scheduler", "karras", "is a plugin of the kind spacing: --spacing karras."),
        (
            "scheduler",
            "SGM Uniform",
            "'sgm_uniform' is a plugin of the kind spacing: --spacing sgm",
        ),
        ("scheduler", "ays", "In A1111 and ComfyUI, this is --spacing align_your_steps."),
        ("scheduler", "skip_layer", "of the kind guidance: --guidance skip_layer."),
        ("scheduler", "chunked", "'chunked' is a plugin of the kind attention."),
        ("spacing", "euler", "of the kind scheduler: --scheduler euler."),
        ("spacing", "Euler a", "In A1111 and InvokeAI, this is --scheduler euler_ancestral."),
        ("guidance", "DPM++ 2M Karras", "this is --scheduler dpmpp_2m --spacing karras."),
    ],
)
def test_an_error_says_what_a_name_of_elsewhere_is(flag: str, name: str, words: str) -> None:
    with pytest.raises(LdmError) as refused:
        installed().find(flag, name)
    assert words in str(refused.value)


def test_python_is_told_what_an_argument_of_diffusers_is(pipe: Any) -> None:
    for name, words in {
        "generator": "It is an argument of Diffusers. Here, it is seed.",
        "callback_on_step_end": "Here, it is on_step.",
        "latents": "Pipeline.start and resume take an x.",
        "promt": "Did you mean 'prompt'?",
    }.items():
        with pytest.raises(LdmError) as refused:
            pipe("a star", **{name: 1})
        assert words in str(refused.value)


PIPELINES = [
    "StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline",
    "FluxPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionInpaintPipeline", "StableDiffusionControlNetPipeline",
    "WanPipeline", "WanImageToVideoPipeline", "WanVideoToVideoPipeline", "LTXPipeline",
    "LTXImageToVideoPipeline", "LTXConditionPipeline", "LTX2Pipeline", "LTX2ImageToVideoPipeline",
    "CogVideoXPipeline", "CogVideoXImageToVideoPipeline", "CogVideoXVideoToVideoPipeline",
    "HunyuanVideoPipeline", "AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline",
    "StableVideoDiffusionPipeline", "QwenImagePipeline", "QwenImageEditPipeline",
    "QwenImageEditPlusPipeline", "ZImagePipeline", "ZImageImg2ImgPipeline", "Flux2Pipeline",
    "Flux2KleinPipeline", "Krea2Pipeline", "ChromaPipeline", "FluxKontextPipeline",
    "FluxFillPipeline", "FluxControlPipeline", "SanaPipeline", "Lumina2Pipeline",
    "HiDreamImagePipeline", "CogView4Pipeline", "KolorsPipeline", "AuraFlowPipeline",
    "StableAudioPipeline", "AceStepPipeline", "AudioLDM2Pipeline", "StableAudio3Pipeline",
    "StableUnCLIPPipeline", "StableUnCLIPImg2ImgPipeline", "StableDiffusionInstructPix2PixPipeline",
    "FluxControlNetPipeline", "HunyuanVideoImageToVideoPipeline", "DiTPipeline",
    "LatentConsistencyModelPipeline", "StableDiffusionAdapterPipeline",
    "StableDiffusionXLAdapterPipeline", "FluxPriorReduxPipeline",
]  # fmt: skip
"""Diffusers' pipelines whose arguments a person brings along."""


@pytest.mark.parametrize("name", PIPELINES)
def test_python_is_told_what_each_argument_of_a_pipeline_of_diffusers_is(
    pipe: Any, name: str
) -> None:
    """By its signature: one is ours too, or the refusal says what it is here, and guesses none."""
    taken = {"prompt", "output_type", "num_inference_steps", "guidance_scale", "negative_prompt"}
    taken |= {"num_images_per_prompt", "width", "height", "frame_rate"}
    parameters = inspect.signature(getattr(diffusers, name).__call__).parameters
    others = {*parameters} - taken - {"self", "args", "kwargs"}
    assert len(others) > 2
    for argument in sorted(others):
        with pytest.raises(LdmError) as refused:
            pipe.stream("a star", **{argument: 1})
        assert "It is an argument of Diffusers. " in str(refused.value), argument
        assert "Did you mean" not in str(refused.value), argument


def test_what_an_argument_is_here_is_there(tables: Any) -> None:
    """A key of a recipe, an argument of a call or of opening, a function, or an input."""
    inputs = {**ImagePrompt.inputs, **mask().inputs}
    ours = {*OF_A_CALL, *KEYS, *inputs, "dtype", chain.__name__}
    hits = [hit for table in tables for hit in table.names if hit.kind == "argument"]
    assert len(hits) > 50
    assert {hit.instead for hit in hits} - {""} <= ours


def test_what_a_song_takes_as_diffusers_does_is_said_to_be_taken(tables: Any) -> None:
    """Its other inputs, as the prompt, are those of every call."""
    theirs = inspect.signature(diffusers.AceStepPipeline.__call__).parameters
    both = {*song().inputs} & {*theirs} - {"prompt"}
    assert {"src_audio", "repainting_end", "lyrics"} < both
    said = {
        name
        for table in tables
        for hit in table.names
        if hit.kind == "argument" and hit.note.startswith("`song` reads it, under this name")
        for name in (hit.name, *hit.also)
    }
    assert said == both


def test_find_says_it(ldm: Any) -> None:
    code, out, _ = ldm("plugins", "find", "DPM++ 2M Karras")
    assert code == 0
    assert "A1111\tDPM++ 2M Karras\t--scheduler dpmpp_2m --spacing karras" in out.splitlines()[1]
    code, out, _ = ldm("plugins", "find", "sgm_uniform", "--json", "--kind", "spacing")
    rows = json.loads(out)
    assert [row["source"] for row in rows] == ["ldm", "A1111", "ComfyUI"]
    assert {row["recipe"]["spacing"]["name"] for row in rows} == {"sgm_uniform"}
    rows = json.loads(ldm("plugins", "find", "ddim_uniform", "--json")[1])
    assert [(row["source"], row["flags"]) for row in rows] == [
        ("ldm", "--spacing ddim_uniform"),
        ("ComfyUI", "--spacing ddim_uniform"),
    ]
    rows = json.loads(ldm("plugins", "find", "cfg_scale", "--json")[1])
    assert [row["source"] for row in rows] == ["A1111"]
    rows = json.loads(ldm("plugins", "find", "DEIS", "--json", "--kind", "scheduler")[1])
    assert [r["note"][:15] for r in rows if r["source"] == "A1111"] == ["Of Forge. There"]
    code, out, err = ldm("plugins", "find", "euler_b")
    assert (code, out) == (2, "")
    assert "no program that is known here has the name 'euler_b'" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "is no TOML"),
        ("a = 1", "is no table of names"),
        ("[a]\nasks = ''", "'title'"),
        ("[a]\ntitle = 1", "should be text"),
        ("[a]\ntitle = 'A'\nsampler = {}", "which is none of scheduler"),
        ("[a]\ntitle = 'A'\n[a.scheduler]\nx = { sheduler = 'y' }", "which means nothing"),
        ("[a]\ntitle = 'A'\n[a.scheduler]\nx = 1", "is no table of names"),
        ("[a]\ntitle = 'A'\n[a.scheduler]\nx = { scheduler = 1 }", "is no table of names"),
    ],
)
def test_a_table_that_says_nothing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "ldm_names.toml"
    path.write_text(text)
    with pytest.raises(LdmError, match=words):
        read_table(path, "tests")


def test_what_does_not_count_in_a_name() -> None:
    assert plain("DPM++ 2M") == plain("dpmpp_2m") == plain("dpmpp-2m") == "dpmpp2m"
    assert plain("EulerDiscreteScheduler") == plain("euler_discrete")
    assert plain("Scheduler") == "scheduler"


def test_python_is_told_so_wherever_a_call_takes_names(pipe: Pipeline) -> None:
    """None too, which is what a person switches a checker off with."""
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: pipe.stream("a", generator=1), "seed"),
        (lambda: pipe.start("a", generator=1), "seed"),
        (lambda: pipe.replace(torch_dtype="float16"), "dtype"),
        (lambda: pipe.replace(safety_checker=None), "None is loaded"),
        (lambda: pipe.replace(cross_attention_kwargs={}), "loras"),
        (lambda: Pipeline.from_pretrained("shapes", custom_pipeline="x"), "No code comes"),
        (lambda: compare(pipe, "a", over={"steps": [1]}, generator=1), "seed"),
        (lambda: converge(pipe, ["euler"], [1, 2], generator=1), "seed"),
    ]
    for call, words in calls:
        with pytest.raises(LdmError, match="It is an argument of Diffusers") as refused:
            call()
        assert words in str(refused.value)
