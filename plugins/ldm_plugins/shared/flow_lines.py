"""How far the times of a flow are shifted for a picture's size: what spacings and pipelines of
Diffusers know alike."""

from __future__ import annotations

MANY = 4300


def of_tokens_and_steps(tokens: int, steps: int) -> float:
    """The logarithm of FLUX.2's shift (Black Forest Labs 2025): of 10 steps and of 200 it is a
    straight line of the tokens, and a straight line of the steps through these two; of more than
    4300 tokens it is what it is of 200 steps."""
    few, many = 8.73809524e-05 * tokens + 1.89833333, 0.00016927 * tokens + 0.45666666
    if tokens > MANY:
        return many
    return many + (many - few) / 190 * (steps - 200)
