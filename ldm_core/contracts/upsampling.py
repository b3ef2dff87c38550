"""The ability to write prompts out, before they are read."""

from __future__ import annotations

from typing import Protocol


class UpsamplingAbility(Protocol):
    """Ability ``upsampling``: a family's own text model writes prompts out before it reads them.
    A family whose folders do not say what the model is then told to do has the ability
    ``system_prompt`` beside it.

    Attributes:
        temperature: the one that its authors take.
    """

    temperature: float

    def write(
        self, prompt: str, seed: int, temperature: float, tokens: int, system: str = ""
    ) -> str:
        """The prompt in more words, drawn from a generator of this seed alone.

        Args:
            temperature: above 0; lower ones keep to what is likeliest.
            tokens: so many at most.
            system: what the model is told to do; handed over where the family has the ability
                ``system_prompt``, and else it knows that itself.
        """
        ...
