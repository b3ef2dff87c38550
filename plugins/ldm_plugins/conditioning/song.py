"""Music: how it sounds, and what is sung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    Request,
    Run,
    Unequal,
    concatenate,
)
from ldm_core.contracts.sound_abilities import Song, SongAbility
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_whole
from ldm_plugins.conditioning.shared.calls import shapes

INPUTS = {
    "prompt": Input(str, REQUIRED, help="how the music sounds"),
    "lyrics": Input(
        str, "", help="what is sung, with marks such as [verse]; empty without singing"
    ),
    "vocal_language": Input(str, "en", help="of the lyrics, such as en or ja"),
    "bpm": Input(int | None, None, help="beats a minute; left to the model where left out"),
    "keyscale": Input(str, "", help="such as 'C major'; left to the model where left out"),
    "timesignature": Input(str, "", help="such as 4; left to the model where left out"),
}


def song() -> Conditioning:
    """Music of a ``prompt``, with ``lyrics`` in a ``vocal_language``, of so many beats a minute
    (``bpm``), a key (``keyscale``) and a ``timesignature`` (ACE-Step 1.5, Gong et al. 2026,
    arXiv:2602.00744). The network is told how long it is, too.

    There is no negative prompt: guidance leads away from music of which nothing is said."""
    return SongOf()


class SongOf(Conditioning):
    @property
    def ability(self) -> str:
        return "song"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        for name in INPUTS:
            for value in request.inputs[name]:
                if name == "bpm":
                    if value is not None and (not is_whole(value) or value < 1):
                        raise LdmError(f"bpm should be a whole number, not {brief(value)}.")
                elif not isinstance(value, str):
                    raise LdmError(f"a {name} should be text, not {brief(value)}.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        ability: SongAbility = run.model.abilities["song"]
        (axis,), request = run.model.info.latents.axes, run.request
        count, rate = request.extent[axis.name], run.model.info.rate
        assert rate is not None  # a model with this ability has one
        songs = [Song(*said) for said in zip(*(request.inputs[n] for n in INPUTS), strict=True)]
        rows = [ability.encode(said, count / rate, axis.places(count)) for said in songs]
        away = [ability.without(row) for row in rows]
        return {branch: _joined(away if branch == "negative" else rows) for branch in branches}


def _joined(rows: Sequence[Condition]) -> Condition | Unequal:
    return Unequal(tuple(rows)) if len({shapes(row) for row in rows}) > 1 else concatenate(rows)
