"""Sums of symbols, which stand for tensors where only their coefficients matter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self


class Linear(ABC):
    """Knows the arithmetic that keeps it linear: sums, and products with numbers.

    Others say what a sum is, and a product. Its shape is that of a number.
    """

    shape: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def plus(self, other: Self) -> Self:
        """The sum of both."""

    @abstractmethod
    def times(self, factor: float) -> Self:
        """The product with a number."""

    def __add__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        return self.plus(other)

    def __mul__(self, factor: float) -> Self:
        if not isinstance(factor, int | float):
            return NotImplemented
        return self.times(factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Self:
        if not isinstance(divisor, int | float):
            return NotImplemented
        return self.times(1.0 / divisor)

    def __neg__(self) -> Self:
        return self.times(-1.0)

    def __sub__(self, other: Self) -> Self:
        if type(other) is not type(self):
            return NotImplemented
        return self.plus(-other)


@dataclass(frozen=True)
class LinearForm(Linear):
    """A sum of symbols with float coefficients."""

    terms: Mapping[str, float]

    def plus(self, other: LinearForm) -> LinearForm:
        total = dict(self.terms)
        for symbol, coefficient in other.terms.items():
            total[symbol] = total.get(symbol, 0.0) + coefficient
        return LinearForm(total)

    def times(self, factor: float) -> LinearForm:
        return LinearForm({symbol: factor * value for symbol, value in self.terms.items()})

    def __getitem__(self, symbol: str) -> float:
        return self.terms.get(symbol, 0.0)


def symbol(name: str) -> LinearForm:
    """The symbol of this name."""
    return LinearForm({name: 1.0})


NOT_LINEAR: tuple[type[BaseException], ...] = (TypeError, AttributeError, IndexError)
"""What Python raises where something else than a sum or a product with a number is asked of a
form."""


def terms_of(value: Any, allowed: Mapping[str, Any]) -> dict[str, float]:
    """The coefficients of a form in which these symbols alone occur.

    Raises:
        TypeError: it is no form, or has others.
    """
    if not isinstance(value, LinearForm) or not value.terms.keys() <= allowed.keys():
        raise TypeError(f"{value!r} is no sum of {', '.join(allowed)}")
    return {name: value[name] for name in allowed}
