"""The kit's checks of guidance: each catches what is wrong, and none what is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from checking import checks, failures, outcome, outcomes, shipped, some_slow, subject
from ldm_core import LdmError
from ldm_core.contracts import MODELS_OWN, Bound, Guidance
from ldm_core.plugins.registry import installed


class Right(Guidance):
    """Classifier-free guidance, within a part of the noise."""

    def __init__(self, scale: float, low: float = 0.0, high: float = float("inf")) -> None:
        self.scale, self.low, self.high = scale, low, high

    def branches(self, point: Any) -> tuple[str, ...]:
        acts = self.low < point.ratio <= self.high
        return ("negative", "positive") if acts else ("positive",)

    def combine(self, outputs: Any, at: Any) -> Any:
        positive = outputs["positive"]
        negative = outputs.get("negative", positive)
        return self.weigh(positive, negative, at)

    def weigh(self, positive: Any, negative: Any, at: Any) -> Any:
        return negative + self.scale * (positive - negative)


def right(*, scale: float = 4.0, low: float = 0.0, high: float = 1e9) -> Any:
    """Guidance as it should be."""
    return Right(scale, low, high)


def by(weigh: Any) -> Any:
    """A guidance that weighs otherwise, with a scale."""

    class Other(Right):
        def weigh(self, positive: Any, negative: Any, at: Any) -> Any:
            return weigh(self, positive, negative, at)

    def wrong(*, scale: float = 4.0) -> Any:
        return Other(scale)

    return wrong


def plain(self: Any, positive: Any, negative: Any) -> Any:
    return negative + self.scale * (positive - negative)


def never_neutral(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return negative + (self.scale + 0.5) * (positive - negative)


def over_the_batch(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    guided = plain(self, positive, negative)
    return guided * positive.std() / guided.std()


def mean_of_the_batch(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return positive + (self.scale - 1) * (positive - negative).mean(0, keepdim=True)


def random(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return plain(self, positive, negative) + 0.01 * torch.randn_like(positive)


def in_place(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return negative.add_(self.scale * (positive - negative))


def into_x(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    at.x.clamp_(-1, 1)
    return plain(self, positive, negative)


def counting(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    self.calls = getattr(self, "calls", 0) + 1
    return plain(self, positive, negative) * (1 + 0.01 * self.calls)


def not_to_one(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return self.scale * positive - negative


def x0_for_output(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return at.x0(plain(self, positive, negative))


def away(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return positive + self.scale * (negative - positive)


def seeding(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    torch.manual_seed(0)
    return plain(self, positive, negative)


class Files(Right):
    def files(self) -> Any:
        return [3]


def not_finite(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return plain(self, positive, negative) / 0


def half(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return plain(self, positive, negative).half()


def one_row(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return plain(self, positive, negative)[:1]


def nothing(self: Any, positive: Any, negative: Any, at: Any) -> Any:
    return None


class Asks(Guidance):
    """Asks for branches."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def branches(self, point: Any) -> tuple[str, ...]:
        return self.names


def unknown_branch() -> Any:
    return Asks(("positive", "sky"))


def unread_branch() -> Any:
    return Asks(("negative", "positive"))


def no_branch() -> Any:
    return Asks(())


def never_rests(*, scale: float = 4.0, low: float = 0.0, high: float = 1e9) -> Any:
    return Right(scale)


class Refuses(Guidance):
    def fit(self, info: Any) -> Any:
        raise LdmError("it fits no model at all.")


class Crashes(Guidance):
    def fit(self, info: Any) -> Any:
        raise KeyError("unet")


class Unbound(Guidance):
    def bind(self, run: Any) -> Any:
        return None


WRONG: dict[str, tuple[Any, str]] = {
    "never neutral": (by(never_neutral), "neutral"),
    "norms of the batch": (by(over_the_batch), "each_alone"),
    "means of the batch": (by(mean_of_the_batch), "each_alone"),
    "noise of its own": (by(random), "no_other_randomness"),
    "writes into an output": (by(in_place), "writes_nothing"),
    "writes into x": (by(into_x), "writes_nothing"),
    "keeps a count": (by(counting), "runs_apart"),
    "weights beside one": (by(not_to_one), "prediction_types"),
    "an x0 for an output": (by(x0_for_output), "prediction_types"),
    "signs swapped": (by(away), "leads"),
    "seeds all": (by(seeding), "no_other_randomness"),
    "no files": (lambda *, scale=4.0: Files(scale), "fits"),
    "not finite": (by(not_finite), "answers"),
    "half": (by(half), "answers"),
    "one row": (by(one_row), "answers"),
    "nothing": (by(nothing), "answers"),
    "an unknown branch": (unknown_branch, "branches"),
    "an unread branch": (unread_branch, "branches"),
    "no branch": (no_branch, "branches"),
    "never rests": (never_rests, "inactive"),
    "fails where it fits": (Crashes, "fits"),
    "no Bound": (Unbound, "fits"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name: str) -> None:
    target, check = WRONG[name]
    assert outcome(subject("guidance", target), check).startswith("failed")


def test_every_check_catches_something() -> None:
    assert {check for _, check in WRONG.values()} == checks("guidance").keys()


def test_what_is_right_passes_all() -> None:
    said = outcomes(subject("guidance", right))
    assert all(word.startswith("passed") for word in said.values()), said


@dataclass(frozen=True)
class Remembering(Guidance):
    """Keeps a mean, in what belongs to one run."""

    scale: float
    memory: float

    def branches(self, point: Any) -> tuple[str, ...]:
        return ("negative", "positive")

    def bind(self, run: Any) -> Bound:
        mean = None

        def combine(outputs: Any, at: Any) -> Any:
            nonlocal mean
            difference = outputs["positive"] - outputs["negative"]
            mean = difference if mean is None else mean.lerp(difference, 1 - self.memory)
            return outputs["negative"] + self.scale * mean

        return Bound(self.branches, combine)


class Declared(Remembering):
    @property
    def neutral(self) -> Any:
        return None


class AtMost(Guidance):
    def __init__(self, inner: Guidance) -> None:
        self.inner = inner

    def fit(self, info: Any) -> Any:
        return AtMost(self.inner.fit(info))

    def bind(self, run: Any) -> Bound:
        inner = self.inner.bind(run)

        def combine(outputs: Any, at: Any) -> Any:
            x0 = inner.x0(outputs, at)
            factor = (0.3 / x0.flatten(1).std(1)).clamp(max=1.0)
            return x0 * factor.reshape(-1, *[1] * (x0.ndim - 1))

        return Bound(inner.branches, combine, inner.networks, inner.inputs, gives_x0=True)


def at_most(*, inner: Guidance = MODELS_OWN) -> Any:
    """Around the model's own."""
    return AtMost(inner)


def steady(*, memory: float = 0.5) -> Any:
    return Remembering(3.0, 0.5)


def mean(*, scale: float = 3.0, memory: float = 0.5) -> Any:
    """None at a scale of 1 without memory."""
    return Remembering(scale, memory)


@pytest.mark.parametrize(
    "target",
    [steady, mean, at_most, lambda: Guidance()],
    ids=["steady", "mean", "at_most", "none"],
)
def test_others_that_are_right_raise_no_alarm(target: Any) -> None:
    assert failures(subject("guidance", target)) == {}


def test_one_that_says_that_nothing_is_neutral_is_taken_at_its_word() -> None:
    def declared(*, scale: float = 3.0) -> Any:
        return Declared(scale, 0.5)

    assert outcome(subject("guidance", declared), "neutral").startswith("skipped")
    undeclared = subject("guidance", lambda *, scale=3.0: Remembering(scale, 0.5))
    assert "may declare what is neutral" in outcome(undeclared, "neutral")


def test_one_that_refuses_every_model_is_passed_over_with_its_reason() -> None:
    assert "it fits no model at all" in outcome(subject("guidance", Refuses), "answers")


NAMES = [plugin.name for plugin in installed().of_kind("guidance")]
OPTIONS: dict[str, dict[str, Any]] = {
    "composable": {"prompts": ["a blue square", "fog:-0.5"]},
    "classifier": {"classifier": lambda x, t, labels: -x.square().flatten(1).sum(1), "label": 1},
}


@pytest.mark.parametrize("name", some_slow(NAMES, ("classifier_free", "cfg_zero_star")))
def test_no_shipped_guidance_raises_an_alarm(name: str) -> None:
    if name == "autoguidance":
        pytest.skip("needs another model")
    assert failures(shipped("guidance", name, **OPTIONS.get(name, {}))) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["perturbed_attention", "skip_layer", "smoothed_energy"])
def test_nor_do_those_that_alter_a_network_of_the_real_classes(name: str, folder: Any) -> None:
    said = outcomes(shipped("guidance", name, folder, layers=["mid_block"]))
    assert not [word for word in said.values() if word.startswith("failed")], said
    assert said["neutral"].startswith("passed")


def test_autoguidance_away_from_the_model_itself_raises_no_alarm(folder: Any) -> None:
    said = outcomes(shipped("guidance", "autoguidance", folder, model=str(folder)))
    assert not [word for word in said.values() if word.startswith("failed")], said
    assert said["neutral"].startswith("passed")
