"""A guidance around another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ldm_core.contracts import MODELS_OWN, Bound, Guidance, ModelInfo, Run
from ldm_core.errors import LdmError


@dataclass(frozen=True)
class Around(Guidance, ABC):
    """A guidance that changes what another one answers; others say how.

    Attributes:
        inner: the other one.
    """

    inner: Guidance

    @property
    def embedded_scale(self) -> float | None:
        return self.inner.embedded_scale

    @property
    def estimates_x0(self) -> bool:
        return self.inner.estimates_x0

    @property
    def altered_attention(self) -> tuple[int | str, ...]:
        return self.inner.altered_attention

    def fit(self, info: ModelInfo) -> Self:
        if self.inner is MODELS_OWN:  # composing puts the model's own there, for names alone
            raise LdmError(
                "a guidance that is made in Python, or is the model's own, does not stand beside "
                "the model's own by itself.",
                "give its option 'beside'.",
            )
        return replace(self, inner=self.inner.fit(info))

    def files(self) -> Sequence[Path]:
        return self.inner.files()

    def bind(self, run: Run) -> Bound:
        return self.around(self.inner.bind(run), run)

    @abstractmethod
    def around(self, inner: Bound, run: Run) -> Bound:
        """The inner guidance of a run with something changed, made by `dataclasses.replace`, so
        that all else of it is kept."""
