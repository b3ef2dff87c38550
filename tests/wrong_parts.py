"""A plugin package each of whose parts goes wrong as its options say, and nothing else does.

``at`` names the moment, such as ``bind``; ``how`` what happens then: an error's name, ``exit``, or
what is given in place of what should be (``none``, ``shape``, ``nan``). Without them each part is
right, and changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ldm_core import hookimpl
from ldm_core.contracts import (
    Bound,
    Conditioning,
    Converter,
    Guidance,
    Input,
    Model,
    Phase,
    RunHooks,
    writes,
)
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from ldm_core.run.in_batches import in_batches

ldm_api_version = 2

OFFERED = {
    "scheduler": "walk",
    "spacing": "points",
    "guidance": "WrongGuidance",
    "conditioning": "WrongConditioning",
    "attention": "attend",
    "denoiser": "wrap",
    "encoder": "encode",
    "decoder": "decode",
    "converter": "WrongConverter",
    "observer": "watch",
    "writer": "write",
}


def hook_of(kind: str) -> Any:
    def offer(register: Any) -> None:
        register("wrong", f"wrong_parts:{OFFERED[kind]}")

    return hookimpl(offer)


ldm_schedulers = hook_of("scheduler")
ldm_spacings = hook_of("spacing")
ldm_guidance = hook_of("guidance")
ldm_conditioning = hook_of("conditioning")
ldm_attention = hook_of("attention")
ldm_denoisers = hook_of("denoiser")
ldm_encoders = hook_of("encoder")
ldm_decoders = hook_of("decoder")
ldm_converters = hook_of("converter")
ldm_observers = hook_of("observer")
ldm_writers = hook_of("writer")


@hookimpl
def ldm_commands(register: Any) -> None:
    for name in ("plain", "of_pipeline", "in_batches"):
        register(f"wrong {name}", f"wrong_parts:{name}_command")


class Mute(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


class Own(BaseException):
    """An error that is no `Exception`."""


class OutOfMemoryError(Exception):
    """Is called as torch's own."""


ERRORS: dict[str, BaseException] = {
    "ValueError": ValueError("a bad\nvalue"),
    "KeyError": KeyError("missing"),
    "AssertionError": AssertionError(),
    "StopIteration": StopIteration(3),
    "Mute": Mute(),
    "Own": Own("own"),
    "OutOfMemoryError": OutOfMemoryError("memory, it says"),
    "MemoryError": MemoryError("there is none left"),
    "group": ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    "FileNotFoundError": FileNotFoundError(2, "No such file", "settings.json"),
    "long": RuntimeError("x" * 5000),
    "interrupt": KeyboardInterrupt(),
    "PermissionError": PermissionError(13, "Permission denied", "/own/cache"),
    "BrokenPipeError": BrokenPipeError(32, "Broken pipe"),
    "LdmError": LdmError("so few steps are too few.", "take more."),
}


def act(right: Any, at: str, moment: str, how: str) -> Any:
    """What a part gives at a moment: what is right, unless it is the one to go wrong at."""
    if at != moment or not how:
        return right
    if how in ERRORS:
        raise ERRORS[how].with_traceback(None)
    match how:
        case "exit":
            sys.exit(7)
        case "recursion":
            return act(act(right, at, moment, how), at, moment, how)
        case "none":
            return None
        case "text":
            return "text"
        case "shape":
            return right[..., :-1]
        case "half":
            return right.half()
        case "nan":
            return right * float("nan")
        case "huge":
            return right * 1e30
        case "nowhere":
            x, _ = right
            return x, Point(float("nan"), 1.0, 5.0)
        case "large":
            return right + 200
        case "small":
            return right[..., ::2, ::2]
        case "strange":
            return ("positive", "strange")
        case "list":
            return list(right)
    raise NotImplementedError(how)


CALLS = {"walk": 0, "decode": 0, "write": 0}
"""How often each was called."""


def walk(
    x: Any, grid: Any, denoise: Any, noise: Any, *, at: str = "", how: str = "", call: int = 0
) -> Any:
    """Euler's method.

    Args:
        call: the call that goes wrong; all where 0.
    """
    CALLS["walk"] += 1
    at = at if call in (0, CALLS["walk"]) else ""
    for index, (here, there) in enumerate(pairwise(grid)):
        x0 = denoise(*act((x, here), at, "ask_all", how))
        if at == "ask" and index == 1:
            denoise(act(x, "ask", "ask", how), here)
        act(None, at, f"step{index + 1}", how)
        x = there.alpha * x0 + there.sigma / here.sigma * (x - here.alpha * x0)
    return act(x, at, "end", how)


def points(schedule: Any, steps: int, *, at: str = "", how: str = "") -> Any:
    """From the noisiest to the end, evenly."""
    first, last = schedule.last, schedule.first
    ts = [first + (last - first) * i / steps for i in range(steps)]
    return act([*map(schedule.at, ts), Point(1.0, 0.0, 0.0)], at, "points", how)


class WrongGuidance(Guidance):
    """Classifier-free.

    Args:
        scale: of it.
    """

    def __init__(self, *, scale: float = 2.0, at: str = "", how: str = "") -> None:
        act(None, at, "made", how)
        self._scale, self._at, self._how = scale, at, how

    def fit(self, info: Any) -> Any:
        return act(self, self._at, "fit", self._how)

    def bind(self, run: Any) -> Any:
        return act(Bound(self.branches, self.combine), self._at, "bind", self._how)

    def branches(self, point: Any) -> Any:
        return act(("negative", "positive"), self._at, "branches", self._how)

    def combine(self, outputs: Any, at: Any) -> Any:
        negative, positive = outputs["negative"], outputs["positive"]
        combined = negative + self._scale * (positive - negative)
        return act(combined, self._at, "combine", self._how)


class Hooks(RunHooks):
    def __init__(self, at: str, how: str) -> None:
        self._at, self._how = at, how

    def start(self) -> Any:
        return act(None, self._at, "start", self._how)

    def network(self, network: Any) -> Any:
        if self._at == "answer":
            return lambda call: act(network(call), "answer", "answer", self._how)
        return act(network, self._at, "network", self._how)

    def denoise(self, denoise: Any) -> Any:
        if self._at == "x0":
            return lambda x, point: act(denoise(x, point), "x0", "x0", self._how)
        return act(denoise, self._at, "denoise", self._how)

    def finish(self, x: Any) -> Any:
        return act(x, self._at, "finish", self._how)


class WrongConditioning(Conditioning):
    """Gives no condition."""

    def __init__(self, *, at: str = "", how: str = "") -> None:
        self._at, self._how = at, how

    @property
    def inputs(self) -> Mapping[str, Input]:
        return act({}, self._at, "inputs", self._how)

    def fit(self, info: Any) -> Any:
        return act(self, self._at, "fit", self._how)

    def check(self, request: Any) -> None:
        act(None, self._at, "check", self._how)

    def cut(self, grid: Any, request: Any) -> Any:
        return act(grid, self._at, "cut", self._how)

    def adapt(self, model: Model) -> Any:
        return act(model, self._at, "adapt", self._how)

    def encode(self, run: Any, branches: Sequence[str]) -> Any:
        if self._at == "rows":
            return {"positive": {"extra": torch.zeros(7, 3)}}
        return act({}, self._at, "encode", self._how)

    def bind(self, run: Any) -> Any:
        return act(Hooks(self._at, self._how), self._at, "bind", self._how)


def attend(q: Any, k: Any, v: Any, mask: Any, scale: float, *, at: str = "", how: str = "") -> Any:
    """Softmax attention."""
    scores = q @ k.mT * scale
    return act((scores if mask is None else scores + mask).softmax(-1) @ v, at, "attend", how)


def wrap(denoise: Any, *, at: str = "", how: str = "") -> Any:
    """Nothing around the denoiser."""

    def wrapped(x: Any, point: Any) -> Any:
        x0 = denoise(act(x, at, "ask", how), point)
        return act(x0, at, "x0", how)

    return act(wrapped, at, "wrap", how)


def encode(model: Any, data: Any, noise: Any, *, at: str = "", how: str = "") -> Any:
    """Zeros, as many as there should be."""
    rows, _, height, width = data.shape
    info = model.info.latents
    shape = info.shape({"height": height, "width": width})
    return act(torch.zeros(rows, *shape), at, "encode", how)


def decode(model: Any, x0: Any, *, at: str = "", how: str = "", call: int = 0) -> Any:
    """Grey pictures."""
    CALLS["decode"] += 1
    at = at if call in (0, CALLS["decode"]) else ""
    return act(torch.zeros(len(x0), 3, 16, 16), at, "decode", how)


class WrongConverter(Converter):
    """The model as it is."""

    phase = Phase.WEIGHTS
    lossless = True

    def __init__(self, *, at: str = "", how: str = "") -> None:
        self._at, self._how = at, how

    def fit(self, info: Any, place: Any) -> Any:
        return act(self, self._at, "fit", self._how)

    def beside(self, others: Any) -> None:
        act(None, self._at, "beside", self._how)

    def within(self, recipe: Any, attention: Any) -> None:
        act(None, self._at, "within", self._how)

    def prepare(self, info: Any) -> None:
        act(None, self._at, "prepare", self._how)

    def loading(self, part: Any) -> Any:
        return act({}, self._at, "loading", self._how)

    def convert(self, model: Any) -> Any:
        return act(replace(model), self._at, "convert", self._how)

    def bind(self, run: Any) -> Any:
        return act(Hooks(self._at, self._how), self._at, "bind", self._how)


@contextmanager
def _watch(at: str, how: str) -> Iterator[Any]:
    act(None, at, "enter", how)
    try:
        yield act(lambda step: act(None, at, "tell", how), at, "yield", how)
    except Exception:
        if at != "swallow":
            raise
    act(None, at, "exit", how)


def watch(grid: Any, *, at: str = "", how: str = "") -> Any:
    """Hears, and does nothing."""
    return act(_watch(at, how), at, "watch", how)


@writes("image", ".wrong", lossless=False)
def write(shown: Any, manifest: Any, path: Path) -> None:
    """Go wrong at the second picture."""
    CALLS["write"] += 1
    if CALLS["write"] == 2:
        raise ValueError("no writing")
    path.write_bytes(b"a picture")


def plain_command(how: str) -> None:
    """Go wrong."""
    act(None, "run", "run", how)


def of_pipeline_command(pipe: Pipeline, how: str) -> Any:  # type: ignore[name-defined]  # noqa: F821
    """Go wrong."""
    return act([], "run", "run", how)


@in_batches
def in_batches_command(pipe: Pipeline, how: str, **call: Any) -> Any:  # type: ignore[name-defined]  # noqa: F821
    """Draw, and then go wrong."""
    call["prompt"] = "a star"
    yield from pipe.batches(**call)
    yield act(None, "run", "run", how)
