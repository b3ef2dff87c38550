"""What this package offers, by name; each is imported when it is used."""

from __future__ import annotations

from pathlib import Path

from ldm_core import hookimpl
from ldm_core.plugins.hookspecs import Register, RegisterModel

ldm_api = ">=2.1,<3"


@hookimpl
def ldm_schedulers(register: Register) -> None:
    register("res_2m", "ldm_res.res_2m:res_2m")


@hookimpl
def ldm_spacings(register: Register) -> None:
    register("laplace", "ldm_res.laplace:laplace")


@hookimpl
def ldm_guidance(register: Register) -> None:
    register("rising", "ldm_res.rising:rising")


@hookimpl
def ldm_conditioning(register: Register) -> None:
    register("kaleidoscope", "ldm_res.kaleidoscope:kaleidoscope")


@hookimpl
def ldm_attention(register: Register) -> None:
    register("exact", "ldm_res.exact:exact")


@hookimpl
def ldm_denoisers(register: Register) -> None:
    register("held", "ldm_res.held:held")


@hookimpl
def ldm_encoders(register: Register) -> None:
    register("mirrored", "ldm_res.mirrored:encode")


@hookimpl
def ldm_decoders(register: Register) -> None:
    register("mirrored", "ldm_res.mirrored:decode")


@hookimpl
def ldm_families(register: Register) -> None:
    register("gauss", "ldm_res.gauss:Gauss")


@hookimpl
def ldm_converters(register: Register) -> None:
    register("pruned", "ldm_res.pruned:pruned")


@hookimpl
def ldm_writers(register: Register) -> None:
    register("ppm", "ldm_res.ppm:ppm")


@hookimpl
def ldm_observers(register: Register) -> None:
    register("changes", "ldm_res.changes:changes")


@hookimpl
def ldm_metrics(register: Register) -> None:
    register("sharpness", "ldm_res.sharpness:sharpness")


@hookimpl
def ldm_commands(register: Register) -> None:
    register("ladder", "ldm_res.ladder:ladder")


@hookimpl
def ldm_models(register: RegisterModel) -> None:
    folder = Path(__file__).parent / "models" / "gauss"
    register("gauss", folder, "grey noise that is known exactly, 16x16")
