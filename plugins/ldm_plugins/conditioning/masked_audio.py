"""A part of a sound made anew by a network that hears the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldm_core.contracts import (
    Condition,
    Conditioning,
    Grid,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
    Unequal,
)
from ldm_core.contracts.sound_abilities import MaskedSoundAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.audio import AudioStart
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.spans import places_within, read_spans, spread

NAME = "masked_audio"


def masked_audio() -> Conditioning:
    """Make a part of a sound's time anew with a network that hears the rest of it at every step, as
    Stable Audio 3 learnt it (arXiv:2605.17991).

    Reads an ``audio`` for each one that is made, as the conditioning ``audio`` does, and
    ``repaint``, such as ``4-6``: the times in seconds that are made anew, cut to whole places of
    the latents. All of x starts as noise; what lies between comes near to the sound and is not
    kept exactly, unless ``audio`` stands beside it and blends it in.
    """
    return MaskedAudio()


@dataclass(frozen=True)
class MaskedAudio(AudioStart):
    @property
    def ability(self) -> str:
        return NAME

    @property
    def inputs(self) -> Mapping[str, Input]:
        given = super().inputs
        return {name: given[name] for name in ("audio", "repaint")}

    def fit(self, info: ModelInfo) -> AudioStart:
        if NAME not in info.abilities:
            raise LdmError(
                f"the network of '{info.source}' (family {info.family}) did not learn to hear the "
                "rest of a sound.",
                "the conditioning 'audio' makes a part anew with any model of sound.",
            )
        return super().fit(info)

    def check(self, request: Request) -> None:
        for (sound,) in different(request.inputs["audio"]):
            self._read(sound, request)
        for (text,) in different(request.inputs["repaint"]):
            self._anew([text], request)

    def cut(self, grid: Grid, request: Request) -> Grid:
        return grid

    def bind(self, run: Run) -> RunHooks:
        return RunHooks()

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        request = run.request
        ability: MaskedSoundAbility = run.model.abilities[NAME]
        latents = run.to_latents(self._samples(request))
        keep = 1 - spread(self._anew(request.inputs["repaint"], request), 0, latents)
        return dict.fromkeys(branches, ability.encode(latents, keep))

    def _anew(self, texts: Sequence[str | None], request: Request) -> list[list[float]]:
        """1 for each place that is made anew and 0 for the others, of each entry."""
        assert self.time is not None
        count = self._count(request)
        places, length = self.time.places(count), count / self.rate
        return [
            places_within(read_spans(text, length), self.time, places, self.rate)
            if text
            else [1.0] * places
            for text in texts
        ]
