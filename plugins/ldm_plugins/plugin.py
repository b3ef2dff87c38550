"""What this package offers, by name."""

from __future__ import annotations

from ldm_core.hookspecs import Register, hookimpl

ldm_api_version = 1


SCHEDULERS = (
    "ddim",
    "ddpm",
    "dpm_2",
    "dpm_2_ancestral",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "euler",
    "euler_ancestral",
    "heun",
    "lms",
    "unipc",
)
SPACINGS = (
    "explicit",
    "exponential",
    "karras",
    "leading",
    "linspace",
    "trailing",
)


@hookimpl
def ldm_schedulers(register: Register) -> None:
    for name in SCHEDULERS:
        register(name, f"ldm_plugins.schedulers.{name}:{name}")


@hookimpl
def ldm_spacings(register: Register) -> None:
    for name in SPACINGS:
        register(name, f"ldm_plugins.spacings.{name}:{name}")


@hookimpl
def ldm_guidance(register: Register) -> None:
    register("none", "ldm_plugins.guidance.none:none")
    register("classifier_free", "ldm_plugins.guidance.classifier_free:classifier_free")


@hookimpl
def ldm_conditioning(register: Register) -> None:
    register("text", "ldm_plugins.conditioning.text:text")


@hookimpl
def ldm_attention(register: Register) -> None:
    for name in ("native", "chunked", "xformers"):
        register(name, f"ldm_plugins.attention.{name}:{name}")


@hookimpl
def ldm_denoisers(register: Register) -> None:
    register("clip_x0", "ldm_plugins.denoisers.clip_x0:clip_x0")


@hookimpl
def ldm_encoders(register: Register) -> None:
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:encode")


@hookimpl
def ldm_decoders(register: Register) -> None:
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:decode")


@hookimpl
def ldm_families(register: Register) -> None:
    register("stable_diffusion", "ldm_plugins.families.stable_diffusion:StableDiffusion")


@hookimpl
def ldm_observers(register: Register) -> None:
    register("progress_bar", "ldm_plugins.observers.progress_bar:progress_bar")
