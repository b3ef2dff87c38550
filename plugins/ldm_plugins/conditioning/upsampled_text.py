"""Prompts that the model's own text model writes out before it reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from ldm_core.contracts import (
    Condition,
    Conditioning,
    Input,
    Model,
    ModelInfo,
    Request,
    Run,
    Unequal,
)
from ldm_core.contracts.upsampling import UpsamplingAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.pictures import several
from ldm_plugins.conditioning.shared.prompts import TooLong
from ldm_plugins.conditioning.shared.weighted_prompt import read_prompt
from ldm_plugins.conditioning.text import Text

NAME = "upsampled_prompt"
UPSAMPLED = Input(
    str | None, None, help="the prompt in more words, which the model writes where it is left out"
)
SHOWN = {"reference": "reference pictures", "first_frame": "pictures of its frames"}
"""Inputs that the text model of an author's own code sees when it writes, by name, in words."""
Temperature = Annotated[float, Field(gt=0, le=10)]


def upsampled_text(
    *,
    too_long: TooLong = "warn",
    weights: bool = True,
    temperature: Temperature | None = None,
    tokens: Annotated[int, Field(ge=1, le=4096)] = 512,
    system_prompt: Annotated[str, Field(min_length=1)] | None = None,
) -> Conditioning:
    """A prompt that the model's own text model writes out in more words, and then reads, as the
    ``caption_upsample_temperature`` of FLUX.2 (Black Forest Labs 2025) and the
    ``enable_prompt_enhancement`` of LTX-2 (Lightricks 2026).

    Does all that ``text`` does, and takes its place. What is written is drawn from each image's
    seed, and stands in its manifest as ``upsampled_prompt``, of which a picture is made again
    without writing anew; where a person gives one, it is taken as it is. Weights of words are not
    written out, and negative prompts are read as they are.

    Args:
        too_long, weights: as in ``text``.
        temperature: lower ones keep to the likeliest words; the one that the model's authors take
            where left out.
        tokens: so many are written at most.
        system_prompt: what the text model is told to do. LTX-2 needs it, as no folder of it says
            what its authors tell it; FLUX.2 knows, and takes none.
    """
    return UpsampledText(
        too_long, weights, temperature=temperature, tokens=tokens, system_prompt=system_prompt
    )


@dataclass(frozen=True)
class UpsampledText(Text):
    temperature: float | None = None
    tokens: int = 512
    system_prompt: str | None = None

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {**super().inputs, NAME: UPSAMPLED}

    def fit(self, info: ModelInfo) -> UpsampledText:
        if "upsampling" not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) has no text model that writes "
                "prompts out.",
                "choose the conditioning 'text', and write the prompt as it is to be read.",
            )
        told = "system_prompt" in info.abilities
        if told and self.system_prompt is None:
            raise LdmError(
                f"the folder '{info.source}' (family {info.family}) does not say what its text "
                "model is told to do before it writes prompts out.",
                'say it: { name = "upsampled_text", system_prompt = "..." }.',
            )
        if not told and self.system_prompt is not None:
            raise LdmError(
                f"the text model of '{info.source}' (family {info.family}) knows what to do, and "
                "takes no system_prompt; leave it out."
            )
        fitted = super().fit(info)
        assert isinstance(fitted, UpsampledText)
        return fitted

    def check(self, request: Request) -> None:
        super().check(request)
        for text in request.inputs[NAME]:
            self.check_prompt(f"negative_{NAME}" if text is None else NAME, text)
        for kind, words in SHOWN.items():
            shown = request.inputs.get(kind, ())
            pairs = zip(shown, request.inputs[NAME], strict=False)
            if not any(several(pictures) and text is None for pictures, text in pairs):
                continue
            raise LdmError(
                f"a prompt beside {words} is not written out here, as what writes would have to "
                "see them.",
                f"leave the pictures out, give an {NAME}, or choose the conditioning 'text'.",
            )

    def complete(self, model: Model, request: Request) -> Request:
        ability: UpsamplingAbility = model.abilities["upsampling"]
        given = request.inputs[NAME]
        if None not in given:
            return request
        texts = zip(request.inputs["prompt"], given, request.seeds, strict=True)
        warmth = ability.temperature if self.temperature is None else self.temperature
        told = {} if self.system_prompt is None else {"system": self.system_prompt}
        written = [
            ability.write(read_prompt(prompt, self.weights).text, seed, warmth, self.tokens, **told)
            if text is None
            else text
            for prompt, text, seed in texts
        ]
        return replace(request, inputs={**request.inputs, NAME: written})

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        return super().encode(replace(run, request=self._read(run.request)), branches)

    def _read(self, request: Request) -> Request:
        """The request whose prompts are what was written, in which nothing is a weight."""
        texts: list[Any] = [self._plain(text) for text in request.inputs[NAME]]
        return replace(request, inputs={**request.inputs, "prompt": texts})

    def _plain(self, text: str) -> str:
        if not self.weights:
            return text
        return text.replace("\\(", "(").replace("\\)", ")").replace("(", "\\(").replace(")", "\\)")
