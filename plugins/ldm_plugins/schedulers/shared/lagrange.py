"""Lagrange's polynomials, as lists of coefficients with the constant first."""

from __future__ import annotations

from collections.abc import Sequence


def lagrange(nodes: Sequence[float]) -> list[list[float]]:
    """The polynomials that are one at their own node and zero at the others.

    Args:
        nodes: n places that differ.
    Returns:
        n polynomials of degree n - 1, in the order of the nodes.
    """
    basis = []
    for j, node in enumerate(nodes):
        product = [1.0]
        for k, other in enumerate(nodes):
            if k != j:
                constant, slope = -other / (node - other), 1.0 / (node - other)
                shifted = zip([*product, 0.0], [0.0, *product], strict=True)
                product = [same * constant + lower * slope for same, lower in shifted]
        basis.append(product)
    return basis


def value(polynomial: Sequence[float], u: float) -> float:
    """The polynomial at u, by Horner's rule."""
    total = 0.0
    for coefficient in reversed(polynomial):
        total = coefficient + total * u
    return total
