"""Guidance by the gradient of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Evaluation, Guidance, Run
from ldm_core.contracts.family import ModelInfo, Network
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.none import none
from ldm_plugins.guidance.shared.weaker import bound, fitted

if TYPE_CHECKING:
    from torch import Tensor

Classify = Callable[..., Any]
INPUTS = ("target_class", "class_label")
"""The inputs that may say what to lead to, the first that is there."""


def classifier(
    *,
    classifier: Classify,
    scale: NotNegative = 1.0,
    label: int | None = None,
    beside: Guidance | None = None,
) -> Guidance:
    """Classifier guidance (Dhariwal & Nichol 2021, arXiv:2105.05233, Algorithm 2).

    The noise estimate becomes noise - sigma·scale·gradient, the gradient being that of the
    classifier's log-probability at x; whatever the network predicts is changed accordingly. The
    classifier must have learnt on latents as noisy as those of the run; a function of Python gives
    it, no recipe's text can. With beside = 'none' one call of the network and one of the
    classifier. The class of each image is the input target_class, of the conditioning of that
    name, or else its class_label, or else the label here.

    Args:
        classifier: ``classifier(x, t, labels)``, with x (batch, channels, ...) as noisy as the
            network sees it, its timesteps t (batch,) and labels (batch,): logits or
            log-probabilities of each class, (batch, classes), or of the labels alone, (batch,).
        scale: strength, which sharpens the classifier's opinion; 0 is none.
        label: the class of all images, where no input says it.
        beside: the guidance whose answer is changed; the model's own where not given.
    """
    if not callable(classifier):
        raise LdmError("the classifier must be a function (x, t, labels) given in Python.")
    return Classifier(classifier, scale, label, beside)


@dataclass(frozen=True)
class Classifier:
    """See `classifier`.

    Attributes:
        networks, inputs, labels: of a run.
    """

    classify: Classify
    scale: float
    label: int | None
    beside: Guidance | None
    networks: Mapping[str, Network] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: Sequence[int] = ()

    @property
    def embedded_scale(self) -> float | None:
        """What the guidance beside it tells the network."""
        return getattr(self.beside, "embedded_scale", None)

    def for_model(self, info: ModelInfo) -> Classifier:
        return replace(self, beside=fitted(self.beside, info))

    def bind(self, run: Run) -> Classifier:
        beside = bound(self.beside or none(), run)
        return replace(
            self,
            beside=beside,
            networks=getattr(beside, "networks", {}),
            inputs=getattr(beside, "inputs", {}),
            labels=_labels(run, self.label) if self.scale else (),
        )

    def branches(self, point: Point) -> tuple[str, ...]:
        return (self.beside or none()).branches(point)

    def combine(self, outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
        output = (self.beside or none()).combine(outputs, at)
        point = at.point
        # x without any signal looks like no class at all.
        if self.scale == 0 or point.alpha == 0:
            return output
        push = self.scale * self.gradient(at.x, point)
        return at.output(at.x0(output) + point.sigma**2 / point.alpha * push)

    def gradient(self, x: Tensor, point: Point) -> Tensor:
        """Of the labels' log-probability, like x."""
        import torch

        labels = torch.tensor(self.labels, device=x.device)
        t = torch.full((len(x),), point.t, device=x.device)
        with torch.enable_grad():
            seen = x.detach().requires_grad_()
            said = self.classify(seen, t, labels)
            if said.ndim not in (1, 2) or len(said) != len(x):
                raise LdmError(
                    f"the classifier gave a tensor of shape {tuple(said.shape)} for {len(x)} "
                    "images; it should be (images, classes), or (images,)."
                )
            if said.ndim == 2:
                if said.shape[1] <= max(self.labels):
                    raise LdmError(
                        f"the classifier knows {said.shape[1]} classes, numbered from 0, and is "
                        f"asked for {max(self.labels)}."
                    )
                said = said.log_softmax(dim=1)[torch.arange(len(x), device=x.device), labels]
            if not said.requires_grad:
                raise LdmError("what the classifier gave has no gradient in x.")
            return torch.autograd.grad(said.sum(), seen)[0]


def _labels(run: Run, label: int | None) -> list[int]:
    """The class of each image, by its number."""
    inputs = run.request.inputs
    given: Sequence[Any] = next((inputs[name] for name in INPUTS if name in inputs), ())
    labels: list[Any] = list(given) if given else [label] * len(run.request.seeds)
    wrong = [entry for entry in labels if isinstance(entry, bool) or not isinstance(entry, int)]
    if wrong:
        raise LdmError(
            f"the guidance 'classifier' needs the number of a class for each image, not {wrong[0]};"
            " give its option 'label', or the input 'target_class' of the conditioning of that "
            "name."
        )
    return labels
