"""What a person may ask of music beside its words: a task, and the sounds that it works on."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.contracts import Input
from ldm_core.contracts.sound_abilities import SoundCodes
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.values import brief, is_number

TEXT, COVER, REPAINT, LEGO = "text2music", "cover", "repaint", "lego"
TASKS = (TEXT, COVER, REPAINT, "extract", LEGO, "complete")
WINDOWED = (REPAINT, LEGO)
"""Tasks of which a part of the time may be made anew."""
CODES = re.compile(r"\s*(?:<\|audio_code_(\d+)\|>\s*)+")
CODE = re.compile(r"<\|audio_code_(\d+)\|>")
TASK_INPUTS: Mapping[str, Input] = {
    "task_type": Input(str, TEXT, help=f"what is done: {', '.join(TASKS)}"),
    "src_audio": Input(Path | None, None, help="the sound that a task works on: a file"),
    "reference_audio": Input(Path | None, None, help="a sound whose timbre is followed: a file"),
    "audio_codes": Input(
        str | None, None, help="codes of what is covered, as <|audio_code_12|><|audio_code_7|>"
    ),
    "repainting_start": Input(
        float | None, None, help="second from which on repaint or lego make the sound anew"
    ),
    "repainting_end": Input(
        float | None, None, help="second at which they stop; the sound's end where left out"
    ),
    "track_name": Input(str, "", help="what extract takes out or lego adds, such as vocals"),
    "complete_track_classes": Input(
        str, "", help="what complete adds, with commas between, as drums, bass"
    ),
    "audio_cover_strength": Input(
        float,
        1.0,
        help="share of the covered sound in each step, from 0 to 1; the text has the rest",
    ),
    "instruction": Input(str, "", help="the task in other words than those that it was learnt in"),
}
TEXTS = ("task_type", "track_name", "complete_track_classes", "instruction")


def task_of(said: Mapping[str, Any]) -> str:
    """What is done: codes are of what is covered, where no task is named."""
    named: str = said["task_type"]
    return COVER if named == TEXT and said["audio_codes"] is not None else named


def tracks_of(said: Mapping[str, Any]) -> tuple[str, ...]:
    """The tracks that a task is about."""
    names = [said["track_name"], *said["complete_track_classes"].split(",")]
    return tuple(name.strip() for name in names if name.strip())


def span_of(said: Mapping[str, Any]) -> tuple[float, float] | None:
    """What is made anew, in seconds; None for all of it."""
    begin, end = said["repainting_start"], said["repainting_end"]
    if begin is None and end is None:
        return None
    return begin or 0.0, math.inf if end is None else end


def codes_of(text: str | None) -> tuple[int, ...]:
    """The numbers in a text of codes.

    Raises:
        LdmError: it has another form.
    """
    if text is None:
        return ()
    if not isinstance(text, str) or not CODES.fullmatch(text):
        raise LdmError(
            f"audio_codes are text such as <|audio_code_12|><|audio_code_7|>, not {brief(text)}."
        )
    return tuple(map(int, CODE.findall(text)))


def check_task(
    said: Mapping[str, Any], seconds: float, places: int, known: SoundCodes | None
) -> None:
    """Raise `LdmError` for a task, or what belongs to it, that cannot be.

    Args:
        said: the inputs of one piece.
        seconds, places: how long it is.
        known: the codes of the model; None where it has none.
    """
    for name in TEXTS:
        if not isinstance(said[name], str):
            raise LdmError(f"a {name} should be text, not {brief(said[name])}.")
    if said["task_type"] not in TASKS:
        raise LdmError(
            f"the task_type is one of {', '.join(TASKS)}, not {brief(said['task_type'])}."
            + did_you_mean(said["task_type"], TASKS)
        )
    task = task_of(said)
    for names, tasks in (
        (("repainting_start", "repainting_end"), WINDOWED),
        (("track_name",), ("extract", LEGO)),
        (("complete_track_classes",), ("complete",)),
        (("audio_codes",), (COVER,)),
    ):
        given = [name for name in names if said[name] not in (None, "")]
        if given and task not in tasks:
            raise LdmError(f"{given[0]} is for the task {' or '.join(tasks)}, not for {task}.")
    _check_sounds(said, task)
    _check_span(said, task, seconds)
    _check_codes(said, task, places, seconds, known)
    share = said["audio_cover_strength"]
    if not is_number(share) or not 0 <= share <= 1:
        raise LdmError(f"the audio_cover_strength should be from 0 to 1, not {brief(share)}.")
    if share != 1 and task != COVER:
        raise LdmError(f"audio_cover_strength is for the task {COVER}, not for {task}.")


def _check_sounds(said: Mapping[str, Any], task: str) -> None:
    source, codes = said["src_audio"] is not None, said["audio_codes"] is not None
    if source and codes:
        raise LdmError("src_audio and audio_codes both say what is covered; give one of the two.")
    if source and task == TEXT:
        raise LdmError(
            f"src_audio is a sound that a task works on, and the task is {TEXT}.",
            f"name it as task_type: {', '.join(TASKS[1:])}; or start from a sound by 'audio'.",
        )
    if task == COVER and not (source or codes or said["reference_audio"] is not None):
        raise LdmError(
            f"the task {COVER} needs src_audio, audio_codes or, for its timbre alone, "
            "reference_audio."
        )
    if task not in (TEXT, COVER) and not source:
        raise LdmError(f"the task {task} works on a sound, and none is given.", "say src_audio.")


def _check_span(said: Mapping[str, Any], task: str, seconds: float) -> None:
    for name in ("repainting_start", "repainting_end"):
        value = said[name]
        if value is not None and not (is_number(value) and value >= 0):
            raise LdmError(f"{name} should be a time in seconds, not {brief(value)}.")
    span = span_of(said)
    if span is None:
        if task == REPAINT:
            raise LdmError(
                f"the task {REPAINT} makes a part of a sound anew: say repainting_start, "
                "repainting_end or both."
            )
    elif not span[0] < min(span[1], seconds):
        raise LdmError(
            f"what is made anew should begin before it ends and within the sound, which is "
            f"{seconds:.4g} seconds long, and not go from {span[0]:g} to {span[1]:g}."
        )


def _check_codes(
    said: Mapping[str, Any], task: str, places: int, seconds: float, known: SoundCodes | None
) -> None:
    codes = codes_of(said["audio_codes"])
    if known is None:
        if task == COVER and (codes or said["src_audio"] is not None):
            raise LdmError(
                "this model's folder has no networks that make codes of a sound "
                "(audio_tokenizer, audio_token_detokenizer), through which it covers one."
            )
        return
    if codes and max(codes) >= known.count:
        raise LdmError(f"this model's audio_codes go from 0 to {known.count - 1}: {max(codes)}.")
    if codes and len(codes) * known.places != places:
        raise LdmError(
            f"{len(codes)} audio_codes are {len(codes) * known.places * seconds / places:.4g} "
            f"seconds of sound, and {seconds:.4g} are made.",
            "ask for as long a sound as they are.",
        )
