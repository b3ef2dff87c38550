"""What this package offers, by name."""

from __future__ import annotations

from ldm_core.plugins.hookspecs import Register, hookimpl

ldm_api = ">=2,<3"
expected_failures = {
    "scheduler tcd: moments": "it is for networks that answer for the point that a step leaps to, "
    "which an x0 at the point where it is does not stand for",
    **{
        f"scheduler torchdiffeq:{method}: each_image_alone": "its steps are those that the worst "
        "image of a batch needs, within the tolerance"
        for method in ("adaptive_heun", "bosh3", "dopri5", "dopri8", "fehlberg2")
    },
}
check_options = {
    "converter cfg_parallel": {"devices": ["cpu:0", "cpu:1"]},
    "converter compile": {"backend": "eager"},
    "converter device_map": {"devices": ["cpu:0", "cpu:1"]},
    "converter whole_loop": {"backend": "eager"},
    "guidance composable": {"prompts": ["a blue square", "fog:-0.5"]},
    "attention first_of": {"kernels": ["native", "sliced"]},
    "scheduler switch": {"first": "euler", "then": "dpmpp_2m"},
    "spacing explicit": {"sigmas": [8.0, 4.0, 2.0, 1.0, 0.5]},
}

SCHEDULERS = (
    "consistency",
    "ddim",
    "ddpm",
    "deis",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "dpmpp_single",
    "er_sde",
    "euler",
    "euler_ancestral",
    "heun",
    "ipndm",
    "lcm",
    "lms",
    "pndm",
    "res_multistep",
    "restart",
    "sa_solver",
    "switch",
    "tcd",
    "unipc",
)
SPACINGS = (
    "align_your_steps",
    "beta",
    "cosine",
    "explicit",
    "exponential",
    "flow_shift",
    "flow_times",
    "karras",
    "lcm",
    "leading",
    "linspace",
    "log_snr",
    "quadratic",
    "trailing",
)
GUIDANCE = (
    "adaptive",
    "adaptive_projected",
    "autoguidance",
    "cfg_pp",
    "cfg_zero_star",
    "classifier",
    "classifier_free",
    "composable",
    "dynamic_threshold",
    "embedded",
    "none",
    "perturbed_attention",
    "skip_layer",
    "smoothed_energy",
)
ATTENTION = (
    "chunked",
    "first_of",
    "flash_attention",
    "flex",
    "native",
    "sage",
    "sliced",
    "xformers",
)
CONVERTERS = (
    "cfg_parallel",
    "channels_last",
    "compile",
    "context_parallel",
    "cuda_graph",
    "device_map",
    "feature_cache",
    "fused_qkv",
    "group_offload",
    "lora",
    "model_offload",
    "openvino",
    "prompt_cache",
    "quantize",
    "sequential_offload",
    "stored_weights",
    "text_cache",
    "tiny_decoder",
    "token_merging",
    "vae_slicing",
    "vae_tiling",
    "whole",
    "whole_loop",
)


@hookimpl
def ldm_schedulers(register: Register) -> None:
    for name in SCHEDULERS:
        register(name, f"ldm_plugins.schedulers.{name}:{name}")
    register("diffusers:", "ldm_plugins.schedulers.diffusers:from_diffusers")
    register("torchdiffeq:", "ldm_plugins.schedulers.torchdiffeq:torchdiffeq")


@hookimpl
def ldm_spacings(register: Register) -> None:
    for name in SPACINGS:
        register(name, f"ldm_plugins.spacings.{name}:{name}")


@hookimpl
def ldm_guidance(register: Register) -> None:
    for name in GUIDANCE:
        register(name, f"ldm_plugins.guidance.{name}:{name}")


@hookimpl
def ldm_conditioning(register: Register) -> None:
    register("control", "ldm_plugins.conditioning.control:control")
    register("image", "ldm_plugins.conditioning.image:image")
    register("image_prompt", "ldm_plugins.conditioning.image_prompt:image_prompt")
    register("mask", "ldm_plugins.conditioning.mask:mask")
    register("regions", "ldm_plugins.conditioning.regions:regions")
    register("size", "ldm_plugins.conditioning.size:size")
    register("class_label", "ldm_plugins.conditioning.class_label:class_label")
    register("target_class", "ldm_plugins.conditioning.target_class:target_class")
    register("text", "ldm_plugins.conditioning.text:text")


@hookimpl
def ldm_attention(register: Register) -> None:
    for name in ATTENTION:
        register(name, f"ldm_plugins.attention.{name}:{name}")


@hookimpl
def ldm_denoisers(register: Register) -> None:
    register("clip_x0", "ldm_plugins.denoisers.clip_x0:clip_x0")


@hookimpl
def ldm_encoders(register: Register) -> None:
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:encode")
    register("pixels", "ldm_plugins.autoencoders.pixels:encode")
    register("vq", "ldm_plugins.autoencoders.vq:encode")


@hookimpl
def ldm_decoders(register: Register) -> None:
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:decode")
    register("pixels", "ldm_plugins.autoencoders.pixels:decode")
    register("vq", "ldm_plugins.autoencoders.vq:decode")


@hookimpl
def ldm_families(register: Register) -> None:
    register("flux", "ldm_plugins.families.flux:Flux")
    register("pixart", "ldm_plugins.families.pixart:PixArt")
    register("ddpm", "ldm_plugins.families.ddpm:DDPM")
    register("dit", "ldm_plugins.families.dit:DiT")
    register("latent_diffusion", "ldm_plugins.families.latent_diffusion:LatentDiffusion")
    register(
        "latent_diffusion_text", "ldm_plugins.families.latent_diffusion_text:LatentDiffusionText"
    )
    register("stable_diffusion", "ldm_plugins.families.stable_diffusion:StableDiffusion")
    register("stable_diffusion_3", "ldm_plugins.families.stable_diffusion_3:StableDiffusion3")
    register("stable_diffusion_xl", "ldm_plugins.families.stable_diffusion_xl:StableDiffusionXL")


@hookimpl
def ldm_converters(register: Register) -> None:
    for name in CONVERTERS:
        register(name, f"ldm_plugins.converters.{name}:{name}")


@hookimpl
def ldm_writers(register: Register) -> None:
    for name in ("jpg", "png", "webp"):
        register(name, f"ldm_plugins.writers.{name}:{name}")


@hookimpl
def ldm_observers(register: Register) -> None:
    register("progress_bar", "ldm_plugins.observers.progress_bar:progress_bar")
