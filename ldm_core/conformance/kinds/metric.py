"""What a metric must do: give each picture a row of its own, and a figure that ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.contracts import Metric
from ldm_core.errors import LdmError, PartError

SIZES = ((64, 64), (176, 192))
"""Heights and widths; a metric may refuse pictures that are too small, and not all of these."""
COUNT = 6
TEXTS = ("a red star", "a blue circle", "two dogs", "", "fog", "a very small house by the sea")
NOISE = (0.02, 0.3)
"""Deviations of what is added to pictures, the second of which is worse."""
TOLERANCE = 1e-4
"""Of rows, in parts of their size: of sums in float32 in another order."""


@check("metric")
def is_a_metric(subject: Subject) -> str:
    """Its function is marked by `measures`, or its factory gives a Metric."""
    metric = _metric(subject)
    better = "higher" if metric.higher_is_better else "lower"
    return f"against {metric.against}, {better} is better"


@check("metric")
def rows(subject: Subject) -> str:
    """Each picture has a row, of as many numbers whatever the size of the pictures, none of them
    NaN, and the figure is a number between the ends that it declares."""
    metric, widths, figures = _metric(subject), set(), []
    for pictures, references in _pictures(metric):
        own = _rows(metric, pictures, references)
        widths.add(own.shape[1])
        assert not own.isnan().any(), "it gives NaN"
        figures.append(_figure(metric, own, references))
    assert len(widths) == 1, f"pictures of several sizes have rows of {sorted(widths)} numbers"
    for figure in figures:
        assert not math.isnan(figure), "its figure is NaN"
        low, high = metric.lowest, metric.highest
        assert low is None or figure >= low, f"its figure is {figure:.4g}, beneath {low}"
        assert high is None or figure <= high, f"its figure is {figure:.4g}, above {high}"
    return f"{widths.pop()} numbers a picture"


@check("metric")
def each_picture_alone(subject: Subject) -> str:
    """A picture's row does not depend on which others are in the batch, nor on their order."""
    metric, worst = _metric(subject), 0.0
    for pictures, references in _pictures(metric):
        together = _rows(metric, pictures, references)
        order = torch.arange(COUNT - 1, -1, -1)
        turned = _rows(metric, pictures[order], references[order], [*reversed(TEXTS)])[order]
        alone = torch.cat(
            [
                _rows(metric, pictures[i : i + 1], references[i : i + 1], [TEXTS[i]])
                for i in range(COUNT)
            ]
        )
        size = together.abs().max().clamp(min=1e-8)
        for other, what in ((turned, "in another order"), (alone, "alone")):
            away = float((other - together).abs().max() / size)
            assert away <= TOLERANCE, f"{what}, a picture has another row, {away:.1e} of its size"
            worst = max(worst, away)
    return f"to {worst:.0e}"


@check("metric")
def order_of_pictures(subject: Subject) -> str:
    """The figure does not depend on the order of the pictures."""
    metric = _metric(subject)
    pictures, references = next(_pictures(metric))
    own = _rows(metric, pictures, references)
    first = _figure(metric, own, references)
    turned = _figure(metric, own.flip(0), references)
    assert math.isclose(first, turned, rel_tol=1e-3, abs_tol=1e-6), (
        f"in another order the figure is {turned:.6g}, and was {first:.6g}"
    )
    return f"{first:.4g}"


@check("metric")
def changes_nothing(subject: Subject) -> str:
    """The same pictures have the same rows; they are left as they are, and so is torch's own
    noise."""
    metric = _metric(subject)
    pictures, references = next(_pictures(metric))
    _rows(metric, pictures, references)  # what is loaded first may draw
    before = pictures.clone(), references.clone()
    second: tuple[Any, ...] = {"pairs": (references,), "texts": ([*TEXTS],)}.get(metric.against, ())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4711)
        state = torch.get_rng_state()
        both = [metric.rows(pictures, *second) for _ in range(2)]
        figures = [_figure(metric, own, references) for own in both]
        drawn = not torch.get_rng_state().equal(state)
    assert not drawn, "it draws from torch's own noise, or seeds it"
    assert pictures.equal(before[0]), "it changes the pictures"
    assert references.equal(before[1]), "it changes the references"
    assert both[0].equal(both[1]), "measured again, a picture has another row"
    assert figures[0] == figures[1], "come to again, the figure is another"
    return "bit for bit"


@check("metric")
def equals_are_best(subject: Subject) -> str:
    """Pictures that are their own references have the figure that it declares as the best."""
    metric = _metric(subject)
    if metric.best is None or metric.against not in ("pairs", "sets"):
        raise NotApplicable("it declares no best figure")
    best = math.inf if metric.best == "infinite" else float(metric.best)
    for pictures, _ in _pictures(metric):
        figure = _figure(metric, _rows(metric, pictures, pictures), pictures)
        assert figure == best or math.isclose(figure, best, rel_tol=1e-3, abs_tol=1e-3), (
            f"pictures that are their own references have {figure:.4g}, and should have {best:.4g}"
        )
    return f"{best:g}"


@check("metric")
def noise_is_worse(subject: Subject) -> str:
    """Much noise on pictures has a worse figure than little, by what it says is better."""
    metric = _metric(subject)
    if metric.against not in ("pairs", "sets"):
        raise NotApplicable("it compares pictures with no others")
    pictures, _ = next(_pictures(metric))
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(pictures.shape, generator=generator)
    little, much = (
        _figure(metric, _rows(metric, (pictures + n * noise).clamp(0, 1), pictures), pictures)
        for n in NOISE
    )
    better = "higher" if metric.higher_is_better else "lower"
    assert (little > much) if metric.higher_is_better else (little < much), (
        f"it says that {better} is better, and has {little:.4g} with little noise and {much:.4g} "
        "with much"
    )
    return f"{little:.4g}, then {much:.4g}"


def _metric(subject: Subject) -> Metric:
    metric = subject.made()
    assert isinstance(metric, Metric), "it is no Metric; mark its function by `measures`"
    if missing := metric.missing:
        raise NotApplicable(f"it needs {', '.join(missing)}, which is not installed")
    return metric


def _pictures(metric: Metric) -> Iterator[tuple[Tensor, Tensor]]:
    """Smooth pictures and others like them, of those sizes that it takes.

    Raises:
        NotApplicable: it refuses all.
    """
    refused, taken = "", 0
    for height, width in SIZES:
        generator = torch.Generator().manual_seed(0)
        rough = torch.rand((2 * COUNT, 3, 5, 5), generator=generator)
        smooth = torch.nn.functional.interpolate(
            rough, (height, width), mode="bicubic", align_corners=False
        ).clamp(0, 1)
        pictures, references = smooth[:COUNT], smooth[COUNT:]
        try:
            _rows(metric, pictures, references)
        except PartError:
            pass  # which is no refusal of a size: the check that asks again fails by it
        except LdmError as error:
            refused = error.message
            continue
        taken += 1
        yield pictures, references
    if not taken:
        raise NotApplicable(f"it takes no pictures of these: {refused}")


def _rows(
    metric: Metric, pictures: Tensor, references: Tensor, texts: list[str] | None = None
) -> Tensor:
    """Of copies, as one may change what it is given."""
    if metric.against == "pairs":
        return metric.rows(pictures.clone(), references.clone())
    if metric.against == "texts":
        return metric.rows(pictures.clone(), [*TEXTS[: len(pictures)]] if texts is None else texts)
    return metric.rows(pictures.clone())


def _figure(metric: Metric, own: Tensor, references: Tensor) -> float:
    second: tuple[Any, ...] = ()
    if metric.against == "sets":
        second = (metric.rows(references.clone()),)
    return metric.of_rows(own, *second)
