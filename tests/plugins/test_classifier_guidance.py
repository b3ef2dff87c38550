"""Classifier guidance, on x0 ~ N(MEAN, SPREAD²) of which y = x0 + N(0, DOUBT²) is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from guided import latents
from ldm_core import Pipeline
from ldm_core.contracts import Call
from ldm_core.errors import LdmError
from ldm_core.numerics.prediction import as_prediction_type, from_x0
from ldm_core.run.weights import Weights
from peers import apart

MEAN, SPREAD, DOUBT = 0.3, 0.8, 0.5
Y = torch.tensor([-1.0, 0.4, 2.0])  # what each class stands for


def gaussian(pipe: Pipeline, prediction: str) -> Pipeline:
    """A pipeline without conditions whose network knows the exact denoiser of that data."""

    def network(call: Call) -> Any:
        x, point = call.x, call.rows[0].point
        assert all(row.point == point for row in call.rows)
        total = point.alpha**2 * SPREAD**2 + point.sigma**2
        x0 = MEAN + point.alpha * SPREAD**2 / total * (x - point.alpha * MEAN)
        return from_x0(prediction, x0, x, point)

    info = dataclasses.replace(
        pipe.model.info,
        prediction_type=as_prediction_type(prediction),
        needs=frozenset(),
        abilities=frozenset(),
    )
    composition = dataclasses.replace(pipe.composition, info=info)
    weights = Weights.of(dataclasses.replace(pipe.model, info=info, network=network))
    bare = dataclasses.replace(pipe, composition=composition, weights=weights, unconverted=weights)
    return bare.replace(conditioning=["target_class"], guidance="none")


def log_likelihood(schedule: Any) -> Any:
    """log p(y | x) of y given x = alpha·x0 + sigma·noise, exactly."""

    def classify(x: Any, t: Any, labels: Any) -> Any:
        point = schedule.at(float(t[0]))
        total = point.alpha**2 * SPREAD**2 + point.sigma**2
        mean = MEAN + point.alpha * SPREAD**2 / total * (x - point.alpha * MEAN)
        variance = SPREAD**2 * point.sigma**2 / total + DOUBT**2
        return -((Y[labels].view(-1, 1, 1, 1) - mean) ** 2 / (2 * variance)).sum((1, 2, 3))

    return classify


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_exact_classifier_gives_the_exact_conditional_mean(pipes: Any, prediction: str) -> None:
    """Bayes' rule: with x and y known, x0 is Gaussian, with this mean."""
    bare = gaussian(pipes("Stable Diffusion"), prediction)
    exact = log_likelihood(bare.model.info.noise_schedule)
    pipe = bare.replace(guidance={"name": "classifier", "classifier": exact})
    sampling = pipe.start(pipe.composition.plan({"target_class": [0, 1, 2]}, [1, 2, 3]))
    denoise = sampling.denoiser()
    for point in sampling.run.grid[:-1]:
        precision = 1 / SPREAD**2 + point.alpha**2 / point.sigma**2 + 1 / DOUBT**2
        weighed = (
            MEAN / SPREAD**2
            + point.alpha * sampling.x / point.sigma**2
            + Y.view(-1, 1, 1, 1) / DOUBT**2
        )
        assert apart(denoise(sampling.x, point), weighed / precision) < 1e-5


@torch.no_grad()
def test_sampling_under_a_classifier_ends_in_its_posterior(pipes: Any) -> None:
    """Deterministic sampling carries unit noise to the posterior N(m, v) of x0 given y."""
    bare = gaussian(pipes("Stable Diffusion"), "epsilon")
    exact = log_likelihood(bare.model.info.noise_schedule)
    pipe = bare.replace(
        guidance={"name": "classifier", "classifier": exact},
        scheduler="dpmpp_2m",
        spacing="trailing",
    )
    made = pipe(target_class=[2] * 32, seed=1, output_type="latent", num_inference_steps=40).images
    variance = 1 / (1 / SPREAD**2 + 1 / DOUBT**2)
    mean = variance * (MEAN / SPREAD**2 + float(Y[2]) / DOUBT**2)
    assert float(made.mean()) == pytest.approx(mean, abs=0.05)
    assert float(made.std()) == pytest.approx(math.sqrt(variance), abs=0.05)


def test_logits_of_all_classes_count_by_their_softmax(pipes: Any) -> None:
    bare = gaussian(pipes("Stable Diffusion"), "epsilon")

    def logits(x: Any, t: Any, labels: Any) -> Any:
        return torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], dim=1) / 100

    def log_softmax(x: Any, t: Any, labels: Any) -> Any:
        sign = 1.0 - 2.0 * labels
        return functional.logsigmoid(sign * x.sum((1, 2, 3)) / 50)

    made = [
        bare.replace(guidance={"name": "classifier", "classifier": c, "scale": 5.0})(
            target_class=[0, 1], seed=1, output_type="latent", num_inference_steps=3
        ).images
        for c in (logits, log_softmax)
    ]
    torch.testing.assert_close(*made)


def test_a_classifier_beside_the_models_own_guidance(pipes: Any) -> None:
    """The label may be an option; a scale of 0 never asks the classifier."""
    pipe = pipes("Stable Diffusion")
    labels = []

    def classify(x: Any, t: Any, given: Any) -> Any:
        labels.append(given.tolist())
        return x.sum((1, 2, 3)) * 0.1

    chosen = {"name": "classifier", "classifier": classify, "label": 7}
    off = latents(pipe.replace(guidance={**chosen, "scale": 0.0}))
    assert off.equal(latents(pipe))
    assert not labels
    assert apart(latents(pipe.replace(guidance=chosen)), off) > 1e-4
    assert labels == [[7, 7]] * 3
    labels.clear()
    latents(pipes("DiT").replace(guidance=chosen), "DiT")
    assert labels == [[3, 7]] * 3  # the class_label of the images


@pytest.mark.parametrize(
    ("classify", "label", "message"),
    [
        ("os:system", 1, "'classifier' .*should be"),
        (lambda x, t, labels: x.mean((1, 2, 3)), None, "needs the number of a class"),
        (lambda x, t, labels: x, 1, r"shape \(2, 4, 8, 8\) for 2 images"),
        (lambda x, t, labels: torch.zeros(2), 1, "no gradient"),
        (lambda x, t, labels: x.mean((2, 3)), 4, "knows 4 classes"),
    ],
)
def test_what_is_no_classifier_is_refused(
    pipes: Any, classify: Any, label: int | None, message: str
) -> None:
    chosen = {"name": "classifier", "classifier": classify, "label": label}
    with pytest.raises(LdmError, match=message):
        latents(pipes("Stable Diffusion").replace(guidance=chosen))


def test_a_target_class_is_a_number(pipes: Any) -> None:
    bare = gaussian(pipes("Stable Diffusion"), "epsilon")
    with pytest.raises(LdmError, match="a target_class is the number of a class, not 'cat'"):
        bare(target_class=["cat"], seed=1)
