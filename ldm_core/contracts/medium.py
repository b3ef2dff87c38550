"""What a decoder gives: pictures, video or sound."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.arguments import check_fields, checks_arguments
from ldm_core.contracts.installed_modules import check_needs, is_there
from ldm_core.contracts.record import Record, made, unwrapped
from ldm_core.errors import LdmError
from ldm_core.values import brief

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Medium:
    """A batch of what was drawn.

    Attributes:
        kind: ``image``, ``video``, ``audio``, or another that a family brings with its writer.
        data: float32 in about [-1, 1]: images (batch, channels, height, width), video (batch,
            channels, frames, height, width), audio (batch, channels, samples).
        rate: frames or samples a second; None where there is no time.
        beside: what belongs to it, such as the sound of a video, of the same batch.
    """

    kind: str
    data: Tensor
    rate: float | None = None
    beside: tuple[Medium, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Shown:
    """One entry of an output, as a writer gets it.

    Attributes:
        data: a PIL image; of a video a list of them; of audio an array (channels, samples) in about
            [-1, 1].
        rate: frames or samples a second; None where there is no time.
        beside: what belongs to it and goes into the same file, such as a video's sound, by kind:
            of the kinds that the writer says it holds.
    """

    data: Any
    rate: float | None = None
    beside: Mapping[str, Shown] = field(default_factory=dict)


SUFFIX = re.compile(r"\.(?!\.)[A-Za-z0-9._-]{0,15}[A-Za-z0-9_-]")
"""How names of files end that every system can have."""
Write = Callable[[Shown, Mapping[str, Any], Path], None]
"""``write(shown, manifest, path)`` writes the file, under a name for the time being."""


@dataclass(frozen=True)
class Writer(Record):
    """A file format, made of a function by `writes`.

    Attributes:
        write: writes the file.
        kind: of the medium that it writes.
        suffix: of its files, such as ``.png``.
        holds_manifest: the file has the manifest inside; else it lies beside it, as JSON.
        longest_manifest: bytes of the longest that a file can hold, as JSON in ASCII; a longer one
            lies beside it, and is left out by the function. None where any is held.
        lossless: what is read from the file is what was drawn.
        beside: kinds of what belongs to a medium that the same file holds, such as ``audio``.
        needs: modules without which it cannot write; of writers that nobody named, one that lacks
            them is passed over.
        extra: of ldm-core, which installs those modules.
        first: of writers for a kind, the one to take where nobody names any.
    """

    takes: ClassVar[tuple[str, ...]] = ("shown", "manifest", "path")

    write: Write
    kind: str
    suffix: str
    holds_manifest: bool = False
    longest_manifest: int | None = None
    lossless: bool = True
    beside: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: str | None = None
    first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_needs("a Writer", self.needs, self.extra)
        if not self.suffix.startswith("."):
            raise LdmError(
                f"the suffix of a Writer begins with a dot, as '.png', not {self.suffix!r}."
            )
        if set(self.suffix) & {"/", "\\"} or not self.suffix.isprintable():
            raise LdmError(f"the suffix of a Writer names no folder, as {self.suffix!r} does.")
        if SUFFIX.fullmatch(self.suffix) is None:
            raise LdmError(
                "the suffix of a Writer is a dot with at most 16 letters (a to z), digits, '.', "
                f"'-' and '_' behind it that end in no dot, as '.png', not {brief(self.suffix)}."
            )

    @property
    def function(self) -> Callable[..., Any]:
        return self.write

    def with_function(self, function: Callable[..., Any]) -> Writer:
        return replace(self, write=function)

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(name for name in self.needs if not is_there(name))

    def holds(self, manifest: Mapping[str, Any]) -> bool:
        """Whether a file has this manifest inside; else it lies beside it."""
        longest = self.longest_manifest
        return self.holds_manifest and (longest is None or len(json.dumps(manifest)) <= longest)


@checks_arguments
def writes(
    kind: str,
    suffix: str,
    holds_manifest: bool = False,
    longest_manifest: int | None = None,
    lossless: bool = True,
    beside: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    extra: str | None = None,
    first: bool = False,
) -> Callable[[Write], Writer]:
    """Make a writer of a function; see `Writer`."""
    traits: dict[str, Any] = {
        "kind": kind,
        "suffix": suffix,
        "holds_manifest": holds_manifest,
        "longest_manifest": longest_manifest,
        "lossless": lossless,
        "beside": beside,
        "needs": needs,
        "extra": extra,
        "first": first,
    }
    return lambda write: made(Writer, write, **traits)


def as_writer(part: Any) -> Writer:
    """A writer, once it is seen to be one; `LdmError` for what does not say what it writes."""
    part = unwrapped(part)
    if isinstance(part, Writer):
        return part
    raise LdmError(
        f"a writer is a function (shown, manifest, path) that is marked by `writes`, or a Writer, "
        f"not {brief(part)}."
    )
