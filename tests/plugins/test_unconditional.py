"""The branch under which nothing is said: the same on every family, whatever a person leads away
from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import POSITIVE, UNCONDITIONAL, Call, Guidance
from ldm_core.run.conditions import Conditions

NEGATIVES = {
    "prompt": {"negative_prompt": "a blue ring"},
    "class_label": {"negative_class_label": 5},
}
"""What a person leads away from, beside what they ask for."""

ALIKE = {"SD v-prediction", "LCM", "SDXL refiner", "PixArt sigma", "Flux schnell"}
"""Kinds of folder whose conditions are those of another."""


class FromNothing(Guidance):
    """Classifier-free guidance away from the network's answer to which nothing is said."""

    def branches(self, point: Any) -> tuple[str, ...]:
        return (UNCONDITIONAL, POSITIVE)

    def combine(self, outputs: Mapping[str, Tensor], at: Any) -> Tensor:
        nothing = outputs[UNCONDITIONAL]
        return nothing + 3.0 * (outputs[POSITIVE] - nothing)


def drawn(pipe: Pipeline, **inputs: Any) -> Tensor:
    images: Tensor = pipe(seed=[1, 2], output_type="latent", num_inference_steps=2, **inputs).images
    return images


@pytest.mark.parametrize(
    "kind",
    [
        *(kind for kind in tiny.FOLDERS if kind not in ALIKE),
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in tiny.MORE_FOLDERS),
    ],
)
def test_it_is_the_answer_to_no_condition_on_every_family(kind: str, pipes: Any) -> None:
    pipe = pipes(kind)
    folders = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
    inputs = folders[kind].inputs_in(pipe.composition.info.folder)
    from_nothing = pipe.replace(guidance=FromNothing())
    away = {"name": "ldm-core:classifier_free", "scale": 3.0, "from_positive": False}
    plain = pipe.replace(guidance=away)
    expected = drawn(plain, **inputs)
    assert expected.isfinite().all()
    said = next((more for name, more in NEGATIVES.items() if name in inputs), {})
    said = {name: more for name, more in said.items() if name in pipe.composition.inputs}
    ours = drawn(from_nothing, **inputs, **said)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-5)
    if said:
        led = drawn(plain, **inputs, **said)
        assert not torch.allclose(led, expected, atol=1e-4)


def test_both_stand_beside_each_other_in_one_call(pipe: Pipeline) -> None:
    """Away from the negative prompt by one scale, and from nothing by another, as in Liu et al.
    2022 (arXiv:2206.01714, Eq. 11): at equal prompts the two are one."""
    calls: list[list[str]] = []

    class Both(Guidance):
        def branches(self, point: Any) -> tuple[str, ...]:
            return (UNCONDITIONAL, "negative", POSITIVE)

        def combine(self, outputs: Mapping[str, Tensor], at: Any) -> Tensor:
            calls.append([*outputs])
            none, negative, positive = (outputs[name] for name in self.branches(None))
            return none + 3.0 * (positive - none) + 0.0 * negative

    both = drawn(pipe.replace(guidance=Both()), prompt="a star", negative_prompt="a ring")
    from_nothing = drawn(pipe.replace(guidance=FromNothing()), prompt="a star")
    torch.testing.assert_close(both, from_nothing, rtol=1e-6, atol=1e-5)
    assert calls == [[UNCONDITIONAL, "negative", POSITIVE]] * 2


def test_where_nothing_is_said_anyway_it_is_encoded_once(pipe: Pipeline) -> None:
    sampling = pipe.replace(guidance=FromNothing()).start(
        pipe.composition.plan({"prompt": "a star"}, [1])
    )
    conditions: Conditions = sampling._conditions
    both = conditions.of(["negative", UNCONDITIONAL])
    assert both["negative"] is both[UNCONDITIONAL]


def test_a_network_that_knows_no_picture_without_a_class_says_so(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path / "model", num_class_embeds=4)
    pipe = Pipeline.from_pretrained(folder, guidance=FromNothing())
    words = "where nothing is said, whatever negative_class_label may say: .*was not trained"
    with pytest.raises(LdmError, match=words):
        drawn(pipe, class_label=2, negative_class_label=3)


def test_an_image_prompt_and_areas_and_side_networks_hold_for_the_positive_branch_alone(
    pipe: Pipeline,
) -> None:
    """Rows of the branch are asked as those of the negative one are."""
    regions = [{"prompt": "a ring", "box": [0, 0, 0.5, 1]}]
    around = pipe.replace(conditioning=["regions"])
    plain = around.replace(guidance={"name": "classifier_free", "scale": 3.0})
    ours = around.replace(guidance=FromNothing())
    call = {"prompt": "a star", "regions": regions}
    torch.testing.assert_close(drawn(ours, **call), drawn(plain, **call), rtol=1e-6, atol=1e-5)


def test_a_branch_that_nobody_knows_is_refused(pipe: Pipeline) -> None:
    class Strange(Guidance):
        def branches(self, point: Any) -> tuple[str, ...]:
            return ("uncond",)

        def combine(self, outputs: Mapping[str, Tensor], at: Any) -> Tensor:
            return outputs["uncond"]

    names = "'positive', 'negative', 'unconditional'"
    with pytest.raises(LdmError, match=f"a branch 'uncond'.*{names}"):
        drawn(pipe.replace(guidance=Strange()), prompt="a star")


def test_rows_say_their_branch(pipe: Pipeline) -> None:
    seen: set[str] = set()
    from dataclasses import replace

    from ldm_core.run.weights import Weights

    def noting(call: Call) -> Tensor:
        seen.update(row.branch for row in call.rows)
        answer: Tensor = network(call)
        return answer

    network = pipe.model.network
    other = replace(pipe, weights=Weights.of(replace(pipe.model, network=noting)))
    drawn(other.replace(guidance=FromNothing()), prompt="a star")
    assert seen == {UNCONDITIONAL, POSITIVE}
