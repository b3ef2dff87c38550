"""Guidance by the gradient of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import MODELS_OWN, Bound, Evaluation, Guidance, Run
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_plugins.guidance.classifier_free import NotNegative
from ldm_plugins.guidance.shared.around import Around

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
    beside: Guidance = MODELS_OWN,
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
    return Classifier(beside, classifier, scale, label)


@dataclass(frozen=True)
class Classifier(Around):
    """See `classifier`."""

    classify: Classify
    scale: float
    label: int | None

    @property
    def neutral(self) -> Mapping[str, Any] | None:
        return {"scale": 0.0, "beside": "ldm-core:none"}

    def around(self, inner: Bound, run: Run) -> Bound:
        if self.scale == 0:
            return inner
        labels = _labels(run, self.label)

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            output, point = inner.output(outputs, at), at.point
            # x without any signal looks like no class at all.
            if point.alpha == 0:
                return output
            push = self.scale * self.gradient(at.x, point, labels)
            return at.output(at.x0(output) + point.sigma**2 / point.alpha * push)

        return replace(inner, combine=combine, gives_x0=False)

    def gradient(self, x: Tensor, point: Point, classes: Sequence[int]) -> Tensor:
        """Of the log-probability of each image's class, like x.

        Raises:
            LdmError: what the classifier gave is no log-probability in x.
        """
        import torch

        labels = torch.tensor(classes, device=x.device)
        t = torch.full((len(x),), point.t, device=x.device)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            log_p = self.classify(leaf, t, labels)
            if log_p.ndim not in (1, 2) or len(log_p) != len(x):
                raise LdmError(
                    f"the classifier gave a tensor of shape {tuple(log_p.shape)} for {len(x)} "
                    "images; it should be (images, classes), or (images,)."
                )
            if log_p.ndim == 2:
                if log_p.shape[1] <= max(classes):
                    raise LdmError(
                        f"the classifier knows {log_p.shape[1]} classes, numbered from 0, and is "
                        f"asked for {max(classes)}."
                    )
                log_p = log_p.log_softmax(dim=1)[torch.arange(len(x), device=x.device), labels]
            if not log_p.requires_grad:
                raise LdmError("what the classifier gave has no gradient in x.")
            return torch.autograd.grad(log_p.sum(), leaf)[0]


def _labels(run: Run, label: int | None) -> list[int]:
    """The class of each image, by its number."""
    inputs = run.request.inputs
    own = next((inputs[name] for name in INPUTS if name in inputs), ())
    labels: list[Any] = list(own) or [label] * len(run.request.seeds)
    wrong = [entry for entry in labels if isinstance(entry, bool) or not isinstance(entry, int)]
    if wrong:
        raise LdmError(
            f"the guidance 'classifier' needs the number of a class for each image, not {wrong[0]};"
            " give its option 'label', or the input 'target_class' of the conditioning of that "
            "name."
        )
    return labels
