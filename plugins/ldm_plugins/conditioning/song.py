"""Music: how it sounds, what is sung, and the sounds that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Guidance,
    Input,
    ModelInfo,
    Request,
    Run,
    RunHooks,
    Unequal,
    concatenate,
)
from ldm_core.contracts.sound_abilities import Heard, Song, SongAbility
from ldm_core.errors import LdmError
from ldm_core.media.clips import read_all_samples, read_samples, said_before
from ldm_core.values import brief, is_whole
from ldm_plugins.conditioning.shared.aside import Aside
from ldm_plugins.conditioning.shared.calls import shapes
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.song_tasks import (
    TASK_INPUTS,
    check_task,
    codes_of,
    span_of,
    task_of,
    tracks_of,
)

if TYPE_CHECKING:
    from torch import Tensor

SAID = {
    "prompt": Input(str, REQUIRED, help="how the music sounds"),
    "lyrics": Input(
        str, "", help="what is sung, with marks such as [verse]; empty without singing"
    ),
    "vocal_language": Input(str, "en", help="of the lyrics, such as en or ja"),
    "bpm": Input(int | None, None, help="beats a minute; left to the model where left out"),
    "keyscale": Input(str, "", help="such as 'C major'; left to the model where left out"),
    "timesignature": Input(str, "", help="such as 4; left to the model where left out"),
}
INPUTS = {**SAID, **TASK_INPUTS}
SOUNDS = ("src_audio", "reference_audio")
SHARE = "audio_cover_strength"
BESIDE = "positive, text alone"


def song() -> Conditioning:
    """Music of a ``prompt``, with ``lyrics`` in a ``vocal_language``, of so many beats a minute
    (``bpm``), a key (``keyscale``) and a ``timesignature`` (ACE-Step 1.5, Gong et al. 2026,
    arXiv:2602.00744). The network is told how long it is, too.

    There is no negative prompt: guidance leads away from music of which nothing is said.

    ``task_type`` says what is done with a sound, ``src_audio``, a file or samples (channels,
    samples), that the network sees at every step: ``cover`` plays its codes anew, ``repaint`` makes
    the time from ``repainting_start`` to ``repainting_end`` anew, ``extract`` takes its
    ``track_name`` out, ``lego`` adds that to it, and ``complete`` adds
    ``complete_track_classes``. The new sound is as long as the model is asked for; a source is cut
    to that, or followed by silence. ``audio_codes`` may stand in the place of a sound that is
    covered, and ``audio_cover_strength`` mixes in, step by step, what the text alone would give.
    ``reference_audio`` is a sound whose timbre is followed, of any length and by every task. The
    latents of sounds are the means of their posteriors, so that no noise has a part in them.
    """
    return SongOf()


@dataclass(frozen=True)
class SongOf(Conditioning):
    """
    Attributes:
        info: of the model; None before it is known.
    """

    info: ModelInfo | None = None

    @property
    def ability(self) -> str:
        return "song"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def fit(self, info: ModelInfo) -> SongOf:
        return replace(self, info=info)

    def check(self, request: Request) -> None:
        seconds, places = self._length(request)
        for said in pieces(request):
            for name in SAID:
                value = said[name]
                if name == "bpm":
                    if value is not None and (not is_whole(value) or value < 1):
                        raise LdmError(f"bpm should be a whole number, not {brief(value)}.")
                elif not isinstance(value, str):
                    raise LdmError(f"a {name} should be text, not {brief(value)}.")
            assert self.info is not None
            check_task(said, seconds, places, self.info.sound_codes)
        for name in SOUNDS:
            for (sound,) in different(request.inputs[name]):
                self._read(name, sound, request)

    def check_guidance(self, guidance: Guidance, request: Request) -> None:
        if not guidance.estimates_x0 and any(s < 1 for s in request.inputs[SHARE]):
            raise LdmError(
                f"{SHARE} mixes what the text alone gives into each estimate of the guidance, and "
                "an answer of the one that is chosen is none.",
                f"take another guidance, or zero_init_steps = 0 of cfg_zero_star, or leave {SHARE} "
                "out.",
            )

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        ability: SongAbility = run.model.abilities["song"]
        seconds, places = self._length(run.request)
        rows = []
        for said in pieces(run.request):
            words = replace(
                words_of(said),
                task=task_of(said),
                tracks=tracks_of(said),
                instruction=said["instruction"],
            )
            with said_before():
                source, reference = (self._read(n, said[n], run.request) for n in SOUNDS)
            codes, span = codes_of(said["audio_codes"]), span_of(said)
            heard = Heard(source, codes, span, reference)
            rows.append(ability.encode(words, seconds, places, heard))
        away = [ability.without(row) for row in rows]
        return {branch: _joined(away if branch == "negative" else rows) for branch in branches}

    def bind(self, run: Run) -> RunHooks:
        shares = dict(enumerate(run.request.inputs[SHARE]))
        shares = {image: share for image, share in shares.items() if share < 1}
        if not shares:
            return RunHooks()
        ability: SongAbility = run.model.abilities["song"]
        seconds, places = self._length(run.request)
        each = pieces(run.request)
        conditions = {}
        for image in shares:
            with said_before():
                reference = self._read(SOUNDS[1], each[image][SOUNDS[1]], run.request)
            heard = Heard(reference=reference)
            told = ability.encode(words_of(each[image]), seconds, places, heard)
            conditions[image] = {"song": told["song"]}
        return Aside(run, conditions, shares, BESIDE)

    def _length(self, request: Request) -> tuple[float, int]:
        """Seconds and places of what is made."""
        assert self.info is not None
        assert self.info.rate is not None  # a model with this ability has one
        (axis,) = self.info.latents.axes
        count = request.extent[axis.name]
        return count / self.info.rate, axis.places(count)

    def _read(self, name: str, sound: Any, request: Request) -> Tensor | None:
        if sound is None:
            return None
        assert self.info is not None
        assert self.info.rate is not None
        rate, channels = self.info.rate, self.info.audio_channels
        if name == SOUNDS[1]:
            return read_all_samples(sound, rate, channels, name)
        (axis,) = self.info.latents.axes
        return read_samples(sound, request.extent[axis.name], rate, channels, name)


def pieces(request: Request) -> list[dict[str, Any]]:
    """What is said of each piece, by the names of the inputs."""
    each = zip(*(request.inputs[name] for name in INPUTS), strict=True)
    return [dict(zip(INPUTS, values, strict=True)) for values in each]


def words_of(said: Mapping[str, Any]) -> Song:
    """What is said of a piece, of which no task is."""
    return Song(*(said[name] for name in SAID))


def _joined(rows: Sequence[Condition]) -> Condition | Unequal:
    return Unequal(tuple(rows)) if len({shapes(row) for row in rows}) > 1 else concatenate(rows)
