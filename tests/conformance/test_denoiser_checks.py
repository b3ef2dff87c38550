"""The kit's checks of wrappers around the denoiser: each catches what is wrong, and none what is
right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from checking import checks, failures, outcome, outcomes, shipped, subject
from ldm_core.contracts import neutral_at
from ldm_core.plugins.registry import installed


def right(denoise: Any, *, strength: float = 0.5) -> Any:
    """Draws each picture and its mirror image as one."""

    def symmetrical(x: Any, point: Any) -> Any:
        x0 = denoise(x, point)
        return x0 + strength / 2 * (x0.flip(-1) - x0)

    return symmetrical


def by(change: Callable[[Any, Any], Any]) -> Any:
    """A wrapper that changes x0, and is off at a strength of 0."""

    def wrong(denoise: Any, *, strength: float = 0.5) -> Any:
        def changed(x: Any, point: Any) -> Any:
            x0 = denoise(x, point)
            return change(x0, x) if strength else x0

        return changed

    return wrong


def never_off(denoise: Any, *, strength: float = 0.5) -> Any:
    return lambda x, point: denoise(x, point) * (0.9 + strength / 100)


@neutral_at(limit=5.0)
def badly_declared(denoise: Any, *, limit: float = 0.5) -> Any:
    return lambda x, point: denoise(x, point).clamp(-limit / 10, limit / 10)


def counter() -> Any:
    """A factory, whose wrapper counts through all runs."""
    calls = 0

    def wrap(denoise: Any) -> Any:
        def counted(x: Any, point: Any) -> Any:
            nonlocal calls
            calls += 1
            return denoise(x, point) * (1 + 0.01 * calls)

        return counted

    return wrap


def by_the_last_point(denoise: Any) -> Any:
    """Takes it that each point is asked for once."""
    before = None

    def changed(x: Any, point: Any) -> Any:
        nonlocal before
        x0 = denoise(x, point)
        if before is not None:
            x0 = x0 / (before.sigma - point.sigma) * (before.sigma - point.sigma)
        before = point
        return x0

    return changed


def by_count(denoise: Any) -> Any:
    """Takes each question for a step of the grid."""
    calls = 0

    def counted(x: Any, point: Any) -> Any:
        nonlocal calls
        calls += 1
        return denoise(x, point) * (1 + 0.001 * calls)

    return counted


def of_no_model(denoise: Any) -> Any:
    return lambda x, point: x * 0


def with_hooks(denoise: Any) -> Any:
    def changed(x: Any, point: Any) -> Any:
        torch.nn.modules.module.register_module_forward_hook(lambda *a: None)
        return denoise(x, point)

    return changed


def seeding(denoise: Any) -> Any:
    def changed(x: Any, point: Any) -> Any:
        torch.manual_seed(0)
        return denoise(x, point)

    return changed


WRONG: dict[str, tuple[Any, str]] = {
    "half": (by(lambda x0, x: x0.half()), "answers"),
    "one row": (by(lambda x0, x: x0[:1]), "answers"),
    "nothing": (by(lambda x0, x: None), "answers"),
    "not finite": (by(lambda x0, x: x0 / 0), "answers"),
    "of no model": (of_no_model, "answers"),
    "keeps gradients": (by(lambda x0, x: x0.clone().requires_grad_()), "answers"),
    "leaves hooks": (with_hooks, "no_other_randomness"),
    "seeds all": (seeding, "no_other_randomness"),
    "divides by the way from the last point": (by_the_last_point, "between_points"),
    "counts questions for steps": (by_count, "between_points"),
    "never off": (never_off, "neutral"),
    "off as is not so": (badly_declared, "neutral"),
    "norms of the batch": (by(lambda x0, x: x0 / x0.std()), "each_alone"),
    "noise of its own": (
        by(lambda x0, x: x0 + 0.1 * torch.randn_like(x0)),
        "no_other_randomness",
    ),
    "a count through all runs": (counter, "runs_apart"),
    "writes into x0": (by(lambda x0, x: x0.clamp_(-0.1, 0.1)), "writes_nothing"),
    "writes into x": (by(lambda x0, x: x0 + 0 * x.mul_(0.5)), "writes_nothing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name: str) -> None:
    target, check = WRONG[name]
    assert outcome(subject("denoiser", target), check).startswith("failed")


def test_every_check_catches_something() -> None:
    assert {check for _, check in WRONG.values()} == checks("denoiser").keys()


def test_what_is_right_passes_all() -> None:
    said = outcomes(subject("denoiser", right))
    assert all(word.startswith("passed") for word in said.values()), said


@neutral_at(limit=1e30)
def clipping(denoise: Any, *, limit: float = 0.5) -> Any:
    return lambda x, point: denoise(x, point).clamp(-limit, limit)


def undeclared(denoise: Any, *, limit: float = 0.5) -> Any:
    return lambda x, point: denoise(x, point).clamp(-limit, limit)


def test_a_wrapper_may_declare_what_is_neutral() -> None:
    assert outcome(subject("denoiser", clipping), "neutral").startswith("passed within")
    assert failures(subject("denoiser", undeclared)) == {}
    assert outcome(subject("denoiser", undeclared), "neutral").startswith("skipped")


@pytest.mark.parametrize("plugin", installed().of_kind("denoiser"), ids=lambda p: p.name)
def test_no_shipped_wrapper_raises_an_alarm(plugin: Any) -> None:
    said = outcomes(shipped("denoiser", plugin.id))
    assert all(word.startswith("passed") for word in said.values()), said
