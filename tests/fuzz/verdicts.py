"""What is wrong with the way a case ended. Shares no code with what it judges."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from fuzz.case import Case

MEMORY = 2 * 2**30
"""Bytes that a case may take beyond what the process had."""
OUTPUTS = ("--dir", "--out", "--sheet", "--animation", "--film", "--plot", "--page")
CLAIMS = ".ldm-claims"
"""What stays in the folder of a job."""
PICTURES = (".png", ".gif", ".jpg", ".jpeg", ".webp")
ERROR = re.compile(r"^error: ", re.MULTILINE)
ERROR_LINE = re.compile(r"^error: .*", re.MULTILINE)
USAGE = re.compile(r"^(?:Error: |[╭+][─-]+ Error )", re.MULTILINE)
HUB_NAME = re.compile(
    r"(?:^|[=\"'])[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w.-]+)?(?::[\d.]+)?(?:$|[\"'])"
)
HUB_OPTIONS = ("--model", "--model-config", "--lora", "--set", "--autoencoder", "--from-model")
COMMAND_OF_MANY = ("--help", "-h", "--version")


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        code: the exit code; None where an exception left the program.
        raised: that exception and where it came from, the last line first.
        heard: what the audit hook heard.
        before, after: the files in the folder, by name, each with what it held.
        memory: bytes that it took beyond what the process had.
    """

    code: int | None
    out: str = ""
    err: str = ""
    raised: str = ""
    heard: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    memory: int = 0


def snapshot(folder: Path) -> dict[str, str]:
    """Every name under a folder, with what tells whether it was changed."""
    found = {}
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top) / name
            mode = path.lstat().st_mode
            key = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
            if stat.S_ISLNK(mode):
                found[key] = f"link to {os.readlink(path)}"
            elif stat.S_ISDIR(mode):
                found[key] = "folder"
            elif stat.S_ISREG(mode):
                found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[key] = "special"
    return found


def judge(case: Case, outcome: Outcome, folder: Path) -> list[str]:
    """Each fault as ``name: what was seen``; the name is a key of `NAMES`.

    Args:
        folder: where the case ran.
    """
    faults = [f"audit: {what}" for what in outcome.heard if not _is_asked_for(what, case)]
    if outcome.memory > MEMORY:
        faults.append(f"memory: {outcome.memory / 2**30:.1f} GiB")
    if outcome.code is None:
        return [*faults, f"traceback: {outcome.raised}"]
    if case.call is not None:
        if outcome.code not in case.codes:
            faults.append(f"code: {outcome.code}, where {case.codes} is right")
        return [*faults, *_silent_numbers(outcome)]
    if "Traceback (most recent call last)" in outcome.err:
        faults.append(f"traceback: {outcome.err.strip().splitlines()[-1]}")
    faults += _of_code(case, outcome)
    faults += _of_files(case, outcome)
    if outcome.code == 0:
        faults += _of_outputs(case, outcome, folder)
    return faults


def _is_asked_for(what: str, case: Case) -> bool:
    """Whether a connection is to the Hub, for a name that a person typed."""
    typed = any(
        HUB_NAME.search(value)
        for option, value in itertools.pairwise(case.argv)
        if option in HUB_OPTIONS
    )
    return what.startswith("connected: ") and "model/hub.py:ask" in what and typed


def _of_code(case: Case, outcome: Outcome) -> list[str]:
    code, errors = outcome.code, len(ERROR.findall(outcome.err))
    usages = len(USAGE.findall(outcome.err))
    if code == 0 and 0 not in case.codes:
        return ["code: 0, and it was to be refused"]
    if code == 0:
        return [f"code: 0 with an error: {_last(outcome)}"] if errors else []
    if code == 1:
        said = ERROR_LINE.findall(outcome.err)  # one for each picture
        if said and all("finite" in line for line in said):
            return []
        return [f"code: 1: {_last(outcome)}"]
    if code not in case.codes:
        return [f"code: {code}: {_last(outcome)}"]
    if errors + usages != 1 and "Commands to" not in outcome.out + outcome.err:
        return [f"message: {errors + usages} messages with exit code {code}: {_last(outcome)}"]
    return []


def _of_files(case: Case, outcome: Outcome) -> list[str]:
    faults = []
    places = [os.path.normpath(place) for place in (*_places(case), *case.writes)]
    for name, held in outcome.before.items():
        now = outcome.after.get(name)
        if now != held and name not in case.writes and "--overwrite" not in case.argv:
            faults.append(f"lost: {name} was {'changed' if now else 'removed'}")
    for name in outcome.after.keys() - outcome.before.keys():
        kind = outcome.after[name]
        part = Path(name).name.startswith(".ldm-") and Path(name).name != CLAIMS
        if part or name.endswith((".part", ".tmp")):
            faults.append(f"litter: {name}")
        elif kind != "folder" and not any(_inside(name, place) for place in places):
            faults.append(f"elsewhere: wrote {name}")
        elif kind != "folder" and outcome.code == 2 and "train" not in case.argv:
            faults.append(f"refused: yet wrote {name}")
    return faults


def _places(case: Case) -> Iterable[str]:
    """The outputs that the arguments name, in the folder of the case."""
    yield "pictures"
    for option in OUTPUTS:
        for index, argument in enumerate(case.argv):
            if argument == option and index + 1 < len(case.argv):
                yield _relative(case.argv[index + 1])
            elif argument.startswith(option + "="):
                yield _relative(argument.partition("=")[2])
    if case.argv[:2] == ["plugins", "new"]:  # a folder of the package's name
        yield from map(_relative, case.argv[2:])
    if case.argv[:1] == ["replay"]:  # beside the picture, where no folder is named
        yield from (os.path.dirname(_relative(argument)) or "." for argument in case.argv[1:])


def _relative(path: str) -> str:
    path = path.removeprefix("@here@/").replace("@here@", ".")
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _inside(name: str, place: str) -> bool:
    return place == "." or name == place or name.startswith(place + os.sep)


def _of_outputs(case: Case, outcome: Outcome, folder: Path) -> list[str]:
    """Whether what a run says it made is there, whole, and shows something."""
    faults = []
    warned = "warning:" in outcome.err
    lines = [] if any("\n" in word for word in case.argv) else outcome.out.split("\n")
    named = [line for line in lines if line.endswith(PICTURES)]
    if "--json" in case.argv:
        for line in outcome.out.split("\n"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("path"), str):
                named.append(record["path"])
                warned = warned or bool(record.get("warnings"))
    for name in named:
        for what in ("contact sheet: ", "plot: ", "film: "):
            name = name.removeprefix(what)
        path = folder / _raw(name)
        if not path.exists():  # or a folder so named, where a folder was asked for
            faults.append(f"code: 0, and there is no {path.name}")
    fresh = outcome.after.keys() - outcome.before.keys()
    for name in sorted(fresh):
        path = folder / name
        if path.suffix.lower() in PICTURES and path.is_file():
            faults += _of_picture(path, name, warned)
        elif path.suffix == ".safetensors" and path.is_file() and not warned:
            faults += _of_tensors(path, name)
    return faults


def _raw(name: str) -> str:
    """A name as the system has it; what cannot be printed of it is written as \\xff."""
    code = re.compile(rb"\\x([0-9a-f]{2})")
    return os.fsdecode(code.sub(lambda found: bytes([int(found[1], 16)]), name.encode()))


def _of_picture(path: Path, name: str, warned: bool) -> list[str]:
    try:
        with Image.open(path) as image:
            array = np.asarray(image.convert("RGB"))
    except Exception as error:  # whatever Pillow raises: the file is no whole picture
        return [f"torn: {name}: {error}"]
    if warned:
        return []
    if not array.any():
        return [f"silent: {name} is black"]
    return [f"silent: {name} is of one colour"] if (array == array[0, 0]).all() else []


def _of_tensors(path: Path, name: str) -> list[str]:
    try:
        tensors = load_file(path)
    except Exception as error:
        return [f"torn: {name}: {error}"]
    bad = [key for key, value in tensors.items() if not np.isfinite(value).all()]
    return [f"silent: {name} holds {bad[0]}, which is not finite"] if bad else []


def _silent_numbers(outcome: Outcome) -> list[str]:
    return [f"silent: {outcome.out}"] if outcome.out.startswith("not finite") else []


def message_of(outcome: Outcome) -> str:
    """The first line of the message that it ended with."""
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    return lines[0][:300] if lines else ""


def _last(outcome: Outcome) -> str:
    lines = [line for line in outcome.err.splitlines() if line.strip(" \r\n╰─╯│")]
    return lines[-1].strip()[-200:] if lines else "(nothing on standard error)"


NAMES = {
    "audit": "unpickled, ran a file's code, started a process, connected or wrote elsewhere",
    "code": "a wrong exit code",
    "crash": "the process died",
    "elsewhere": "a file where none was asked for",
    "hang": f"longer than {Case.seconds} s",
    "litter": "a temporary file was left",
    "lost": "a file that was there is changed or gone",
    "memory": f"more than {MEMORY / 2**30:.0f} GiB",
    "message": "not one message beginning with error:",
    "refused": "refused, and yet wrote",
    "silent": "black, of one colour or not finite without a word",
    "torn": "a file that is not whole",
    "traceback": "an exception that is no LdmError",
}
