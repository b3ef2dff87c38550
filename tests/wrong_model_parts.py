"""Parts of another package that break a model, or give what a part may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ldm_core import Pipeline, hookimpl
from ldm_core.contracts import (
    Conditioning,
    Converter,
    Medium,
    Model,
    Part,
    Phase,
    Run,
    RunHooks,
)

ldm_api = ">=2,<3"


class Odd(Converter):
    """Makes the unet one that cannot be computed."""

    phase, lossless = Phase.LAYOUT, True

    def __init__(self, *, how: str = "") -> None:
        self._how = how

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        if self._how == "said":
            return replace(part, dtype=torch.float64)
        if self._how == "other":
            return replace(part, module=nn.Module())
        other = type(part.module).from_config(part.module.config)
        moved: Any = {"wide": torch.float64, "meta": "meta", "half": torch.float16}[self._how]
        return replace(part, module=other.to(moved))


class Programmed(RunHooks):
    """Hooks whose program is a number."""

    def program(self, advance: Any) -> Any:
        return 7


class Setting(Conditioning):
    """Sets what it is given, or binds to a program that is none."""

    def __init__(self, *, how: str = "") -> None:
        self._how = how

    def adapt(self, model: Model) -> Model:
        if self._how == "given":
            object.__setattr__(model, "parts", None)
        return replace(model, normalisation=None) if self._how == "made" else model  # type: ignore[arg-type]

    def bind(self, run: Run) -> RunHooks:
        return Programmed() if self._how == "program" else RunHooks()


def beside(model: Model, x0: Tensor, *, how: str = "") -> Medium:
    """Pictures with a sound beside them."""
    rows = 1 if how == "fewer" else len(x0)
    sound = torch.zeros(rows, 1, 16, dtype=torch.int64 if how == "whole" else torch.float32)
    return Medium(
        "image", torch.zeros(len(x0), 3, 16, 16), beside=(Medium("audio", sound, rate=8),)
    )


def asks_anew(x: Tensor, grid: Any, denoise: Any, noise: Any) -> Tensor:
    """Loads a model that is not there."""
    Pipeline.from_pretrained("/nonexistent/model")
    return x


@hookimpl
def ldm_converters(register: Any) -> None:
    register("odd", "wrong_model_parts:Odd")


@hookimpl
def ldm_conditioning(register: Any) -> None:
    register("setting", "wrong_model_parts:Setting")


@hookimpl
def ldm_decoders(register: Any) -> None:
    register("beside", "wrong_model_parts:beside")


@hookimpl
def ldm_schedulers(register: Any) -> None:
    register("anew", "wrong_model_parts:asks_anew")
