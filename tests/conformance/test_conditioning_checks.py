"""The kit's checks of conditionings: each catches what is wrong, and none what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checking import checks, failures, outcome, outcomes, shipped, some_slow, subject
from ldm_core import LdmError
from ldm_core.contracts import Conditioning, Input, RunHooks
from ldm_core.plugins.registry import installed

PROMPT = Input(str, ..., help="what is drawn")
NEGATIVE = Input(str | None, None, help="what is not")


class Right(Conditioning):
    """Prompts, as the model's own conditioning has them."""

    @property
    def ability(self) -> str | None:
        return "text"

    @property
    def inputs(self) -> Any:
        return {"prompt": PROMPT, "negative_prompt": NEGATIVE}

    def encode(self, run: Any, branches: Any) -> Any:
        text, inputs = run.model.abilities["text"], run.request.inputs
        return {
            branch: text.encode(inputs["negative_prompt" if branch == "negative" else "prompt"])
            for branch in branches
        }


def encoding(change: Callable[[dict[str, Any], Any], Any]) -> Any:
    """One that changes the conditions."""

    class Other(Right):
        def encode(self, run: Any, branches: Any) -> Any:
            return change(super().encode(run, branches), run)

    return Other


def map_text(change: Callable[[Any], Any]) -> Any:
    def changed(conditions: Any, run: Any) -> Any:
        return {b: {key: change(v) for key, v in c.items()} for b, c in conditions.items()}

    return encoding(changed)


def only_positive(conditions: Any, run: Any) -> Any:
    return {"positive": conditions["positive"]} if "positive" in conditions else {}


def other_when_alone(conditions: Any, run: Any) -> Any:
    if len(conditions) > 1:
        return conditions
    return {b: {key: 2 * v for key, v in c.items()} for b, c in conditions.items()}


def padded_to_the_longest(conditions: Any, run: Any) -> Any:
    longest = max(len(text.split()) for text in run.request.inputs["prompt"])
    return {b: {key: v[:, :longest] for key, v in c.items()} for b, c in conditions.items()}


class Without(Right):
    """Needs an ability and does not say so."""

    @property
    def ability(self) -> None:
        return None


class InputsOf(Conditioning):
    """Reads inputs."""

    def __init__(self, **inputs: Any) -> None:
        self._inputs = inputs

    @property
    def inputs(self) -> Any:
        return self._inputs


class Checks(InputsOf):
    """Fails where it should refuse, before the declared type can be seen to be wrong."""

    def check(self, request: Any) -> None:
        _ = [table.mine for table in request.inputs["mine"]]


class Adapts(Conditioning):
    def adapt(self, model: Any) -> Any:
        network = model.parts["network"].module
        with torch.no_grad():
            network.mix.weight.mul_(1.01)
        return model


class Hooks(Conditioning):
    def adapt(self, model: Any) -> Any:
        network = model.parts["network"].module
        network.register_forward_hook(lambda module, args, out: out * 0.9)
        return model


class Denoises(Conditioning):
    """Changes the denoiser of a run."""

    def __init__(self, change: Any) -> None:
        self.change, self.calls = change, 0

    def bind(self, run: Any) -> RunHooks:
        part = self

        class Own(RunHooks):
            def denoise(self, denoise: Any) -> Any:
                return lambda x, point: part.change(part, denoise(x, point))

        return Own()


class Amount(Conditioning):
    """Off where nothing is said.

    Args:
        change: ``change(x0, amounts)``, of each image's amount.
    """

    def __init__(self, change: Any) -> None:
        self.change = change

    @property
    def inputs(self) -> Any:
        return {"amount": Input(float, 0.0, help="how much, 0 to 1")}

    def bind(self, run: Any) -> RunHooks:
        change, amounts = self.change, run.request.inputs["amount"]

        class Own(RunHooks):
            def denoise(self, denoise: Any) -> Any:
                return lambda x, point: change(denoise(x, point), amounts)

        return Own()


def counting(part: Any, x0: Any) -> Any:
    part.calls += 1
    return x0 * (1 + 0.01 * part.calls)


WRONG: dict[str, tuple[Any, str]] = {
    "an input without help": (lambda: InputsOf(mine=Input(str | None, None)), "inputs"),
    "a default of another type": (lambda: InputsOf(mine=Input(int, "1", help="a")), "inputs"),
    "no input at all": (lambda: InputsOf(mine="text"), "inputs"),
    "no refusal of another kind": (
        lambda: Checks(mine=Input(dict[str, Any] | None, None, help="a")),
        "refuses_wrong_inputs",
    ),
    "only the positive branch": (encoding(only_positive), "branches"),
    "another when asked for alone": (encoding(other_when_alone), "branches"),
    "one row for all": (map_text(lambda value: value[:1]), "branches"),
    "a list in place of a tensor": (map_text(lambda value: value.tolist()), "branches"),
    "NaN": (map_text(lambda value: value / 0), "branches"),
    "padding by the batch": (encoding(padded_to_the_longest), "rows_alone"),
    "norms of the batch": (map_text(lambda value: value / value.std()), "rows_alone"),
    "an ability that it does not name": (Without, "refuses_other_families"),
    "writes into weights": (Adapts, "leaves_the_model"),
    "leaves a hook": (Hooks, "leaves_the_model"),
    "a mean of the batch": (
        lambda: Denoises(lambda part, x0: x0 + x0.mean(0, keepdim=True)),
        "each_alone",
    ),
    "the first image's input for all": (
        lambda: Amount(lambda x0, amounts: x0 * (1 - amounts[0])),
        "each_alone",
    ),
    "noise of its own, once it is on": (
        lambda: Amount(lambda x0, amounts: x0 + max(amounts) * torch.randn_like(x0)),
        "no_other_randomness",
    ),
    "noise of its own": (
        lambda: Denoises(lambda part, x0: x0 + 0.1 * torch.randn_like(x0)),
        "no_other_randomness",
    ),
    "keeps a count": (lambda: Denoises(counting), "runs_apart"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_caught(name: str) -> None:
    target, check = WRONG[name]
    assert outcome(subject("conditioning", target), check).startswith("failed")


def test_every_check_catches_something() -> None:
    assert {check for _, check in WRONG.values()} == checks("conditioning").keys()


def test_what_is_right_passes_all() -> None:
    said = outcomes(subject("conditioning", Right))
    assert all(word.startswith("passed") for word in said.values()), said


class Symmetry(Conditioning):
    """Reads a number, which it compares without a look at what it is, and one of two words."""

    @property
    def inputs(self) -> Any:
        return {
            "mirror": Input(float, 1.0, help="how symmetrical the picture is to be, 0 to 1"),
            "side": Input(str, "left", help="which side is mirrored, left or right"),
        }

    def check(self, request: Any) -> None:
        if not {*request.inputs["side"]} <= {"left", "right"}:
            raise LdmError("side should be left or right.")
        for share in request.inputs["mirror"]:
            if not 0 <= share <= 1:
                raise LdmError("mirror should be a number from 0 to 1.")

    def bind(self, run: Any) -> RunHooks:
        shares = run.request.inputs["mirror"]

        class Own(RunHooks):
            def denoise(self, denoise: Any) -> Any:
                def symmetrical(x: Any, point: Any) -> Any:
                    x0 = denoise(x, point)
                    return x0 + x0.new_tensor(shares).reshape(-1, 1, 1, 1) / 2 * (x0.flip(-1) - x0)

                return symmetrical

        return Own()


def test_another_that_is_right_raises_no_alarm() -> None:
    said = outcomes(subject("conditioning", Symmetry))
    assert {name for name, word in said.items() if word.startswith("failed")} == set(), said
    assert said["each_alone"].startswith("passed"), said
    assert said["refuses_wrong_inputs"] == "passed of mirror, side"


NAMES = [
    plugin.name
    for plugin in installed().of_kind("conditioning")
    if plugin.name
    not in ("control", "image_prompt", "redux", "upsampled_latents")  # which need files
]


@pytest.mark.parametrize("name", some_slow(NAMES, ("text", "mask")))
def test_no_shipped_conditioning_raises_an_alarm(name: str) -> None:
    assert failures(shipped("conditioning", name)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text", "size", "regions"])
def test_nor_does_one_on_a_model_of_the_real_classes(name: str, xl: Path) -> None:
    said = outcomes(shipped("conditioning", name, xl))
    assert {key for key, word in said.items() if word.startswith("failed")} == set(), said


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_diffusion_xl(tmp_path_factory.mktemp("xl") / "model")
