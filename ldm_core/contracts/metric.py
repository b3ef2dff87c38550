"""Metrics: how good pictures are, by themselves or against others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ldm_core.arguments import checks_arguments
from ldm_core.contracts.installed_modules import check_needs, is_there
from ldm_core.contracts.record import Record, made, unwrapped
from ldm_core.errors import LdmError, PartError
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor

Against = Literal["nothing", "pairs", "texts", "sets"]
"""What pictures are measured against: nothing, as how sharp they are; each a picture of its own;
each a text; or all of them another set of pictures."""
Best = float | Literal["infinite"] | None
"""The figure of pictures that are their own references."""
Measure = Callable[..., "Tensor"]
"""``measure(pictures)``, of pairs ``measure(pictures, references)``, of texts
``measure(pictures, texts)``: a row for each picture, (batch,) or (batch, values)."""
Figure = Callable[..., float]
"""``figure(rows)``, of sets ``figure(rows, reference_rows)``: one number of the rows of all."""
Note = Callable[..., str]
"""``note(rows)``, of sets ``note(rows, reference_rows)``."""
ROUNDED = 1e-4
"""Of an end of its values, by how much a figure may lie beyond it."""
SECOND = {"pairs": ("references",), "texts": ("texts",)}
"""What a measure is given beside the pictures."""


@dataclass(frozen=True, eq=False)
class Metric(Record):
    """What is measured of pictures, made of a function by `measures`.

    Pictures come in batches of one size, float32 (batch, 3, height, width) in [0, 1], red, green
    and blue, and so do references, of the same shape; texts are a list. The rows of all batches
    are kept, and come to one figure in the end, so memory grows with the values of a row alone;
    drawn again, the rows give the figure's interval. A row depends on its picture
    (and what that is measured against) alone, never on the batch. Rows are computed on the
    pictures' device. What a metric loads it loads when it first measures, so that what is wrong is
    refused before.

    Attributes:
        measure: gives the rows.
        against: what pictures are measured against.
        higher_is_better: of two figures.
        unit: of the figure, such as ``dB``; empty where there is none.
        best: the figure of pictures that are their own references, a number or
            ``infinite``; None where it is not known.
        lowest, highest: the figure lies between; None where there is no end.
        figure: comes to one number; the mean of rows of one value where left out.
        least: pictures that it needs, of each set.
        note: ``note(rows)``, of sets ``note(rows, reference_rows)``: what to say of the figure of
            these rows, such as that they are few; empty where there is nothing to say.
        label: what to call it where its name does not say what was measured, such as
            ``fid[latents of shapes]``; its name where left out.
        needs: modules without which it cannot measure.
        extra: of ldm-core, which installs those modules.
        resamples: for the interval, where nobody says how many.
    """

    takes: ClassVar[tuple[str, ...]] = ("pictures",)

    measure: Measure
    against: Against = "nothing"
    higher_is_better: bool = True
    unit: str = ""
    best: Best = None
    lowest: float | None = None
    highest: float | None = None
    figure: Figure | None = None
    least: int = 1
    note: Note | None = None
    label: str = ""
    needs: tuple[str, ...] = ()
    extra: str | None = None
    resamples: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_needs("a Metric", self.needs, self.extra)
        if self.against == "sets" and self.figure is None:
            raise LdmError("a Metric of sets needs a 'figure' (rows, reference_rows) -> number.")
        for name, text in (("unit", self.unit), ("label", self.label)):
            if not text.isprintable():
                raise LdmError(f"the {name} of a Metric is a line to print, not {brief(text)}.")

    @property
    def arguments(self) -> tuple[str, ...]:
        return (*self.takes, *SECOND.get(self.against, ()))

    @property
    def function(self) -> Callable[..., Any]:
        return self.measure

    def with_function(self, function: Callable[..., Any]) -> Metric:
        return replace(self, measure=function)

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(name for name in self.needs if not is_there(name))

    def rows(self, pictures: Tensor, *second: Any) -> Tensor:
        """The rows of a batch, (batch, values) float64 on the processor.

        Raises:
            PartError: it gives something else.
        """
        import torch

        seen = [one for one in (pictures, *second) if isinstance(one, torch.Tensor)]
        before = [one._version for one in seen]
        with torch.no_grad():
            rows: Any = self.measure(pictures, *second)
        if [one._version for one in seen] != before:
            raise PartError(self, "a metric leaves pictures as they are, and it wrote into them.")
        count = len(pictures)
        real = isinstance(rows, torch.Tensor) and not rows.is_complex()
        if not real or rows.ndim not in (1, 2) or len(rows) != count:
            raise PartError(
                self,
                f"a metric gives a tensor with a row for each of the {count} pictures, (batch,) or "
                f"(batch, values), not {brief(rows)}.",
            )
        if self.figure is None and rows.ndim == 2 and rows.shape[1] != 1:
            raise PartError(
                self,
                f"a metric without a 'figure' gives one value a picture, not {rows.shape[1]}.",
            )
        measured: Tensor = rows.detach().reshape(count, -1).double().cpu()
        return measured

    def of_rows(self, rows: Tensor, *reference_rows: Tensor) -> float:
        """The figure of the rows of all pictures, as of `rows`.

        Raises:
            PartError: it gives no number, or one beyond `lowest` or `highest`.
        """
        number: Any = rows.mean() if self.figure is None else self.figure(rows, *reference_rows)
        try:
            value = float(number)
        except (TypeError, ValueError):
            raise PartError(
                self, f"the figure of a metric is a number, not {brief(number)}."
            ) from None
        for end, beyond in ((self.lowest, -1), (self.highest, 1)):
            if end is not None and beyond * (value - end) > ROUNDED * max(1.0, abs(end)):
                ends = f"{self.lowest} to {self.highest}"
                raise PartError(self, f"a metric says that it lies in {ends}, and it is {value:g}.")
        return value


@checks_arguments
def measures(
    against: Against = "nothing",
    higher_is_better: bool = True,
    unit: str = "",
    best: Best = None,
    lowest: float | None = None,
    highest: float | None = None,
    figure: Figure | None = None,
    least: int = 1,
    note: Note | None = None,
    label: str = "",
    needs: tuple[str, ...] = (),
    extra: str | None = None,
    resamples: int = 1000,
) -> Callable[[Measure], Metric]:
    """Make a metric of a function; see `Metric`.

    Example::

        @measures("pairs", higher_is_better=False, best=0.0, lowest=0.0, highest=1.0)
        def mean_error(pictures, references):
            return (pictures - references).abs().mean((1, 2, 3))
    """
    traits: dict[str, Any] = {
        "against": against,
        "higher_is_better": higher_is_better,
        "unit": unit,
        "best": best,
        "lowest": lowest,
        "highest": highest,
        "figure": figure,
        "least": least,
        "note": note,
        "label": label,
        "needs": needs,
        "extra": extra,
        "resamples": resamples,
    }
    return lambda measure: made(Metric, measure, **traits)


def as_metric(part: Any) -> Metric:
    """A metric, once it is seen to be one; `LdmError` for what does not say what it measures."""
    part = unwrapped(part)
    if isinstance(part, Metric):
        return part
    raise LdmError(
        "a metric is a function (pictures), or (pictures, references), that is marked by "
        f"`measures`, or a Metric, not {brief(part)}."
    )
