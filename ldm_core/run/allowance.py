"""What memory turns out to allow while a call is made: smaller batches, and decoding in parts."""

from __future__ import annotations

import gc
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ldm_core.errors import LdmWarning, MachineError, TooLittleMemory
from ldm_core.machine import memory_refusal

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.output import Output

B = TypeVar("B")
T = TypeVar("T")
WOULD_HELP = (
    "a smaller picture needs less, and so does half precision (dtype = 'bfloat16'); weights may "
    "lie elsewhere meanwhile: --memory auto plans it, or choose one of the converters "
    "model_offload, sequential_offload and group_offload."
)


@dataclass
class Allowance:
    """What one call has found to be too much, so that the rest of it does not try that again.

    Attributes:
        images: at once; None while nothing has failed.
        apart: branches of the guidance are asked one after the other.
        together: how many branches there are at most that are asked in one call of a network.
        alone: latents are decoded one by one.
        tile: side of the tiles, in latents, that they are decoded in; None for whole ones.
    """

    images: int | None = None
    apart: bool = False
    together: int = 1
    alone: bool = False
    tile: int | None = None

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Have what is made meanwhile, in this thread, keep to it and add to it: within it, several
        calls are as one."""
        token = _allowance.set(self)
        try:
            yield
        finally:
            _allowance.reset(token)

    def less(self, images: int) -> str | None:
        """Allow less than so many images at once, which failed; what that is, in words, and None
        where nothing is less."""
        if images > 1:
            self.images = (images + 1) // 2
            many = "one by one" if self.images == 1 else f"{self.images} at a time"
            return f"for {images} images at once: they are made {many}"
        if self.together > 1 and not self.apart:
            self.apart = True
            return "for the branches of guidance at once: they are asked one after the other"
        return None


_allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def allowance() -> Allowance:
    """That of the call under way; one of its own where there is none."""
    return _allowance.get() or Allowance()


@contextmanager
def in_tiles(tile: int | None) -> Iterator[None]:
    """Decode in tiles of this side from the beginning, as a manifest says it was done."""
    with Allowance(alone=tile is not None, tile=tile).in_force():
        yield


def attempt(function: Callable[[], T]) -> tuple[T | None, str | None]:
    """What a function gives, or what was said when memory did not suffice for it; what it held is
    then free."""
    try:
        return function(), None
    except MachineError:
        raise
    except Exception as error:
        refusal = memory_refusal(error)
        if refusal is None:
            raise
    # the error is gone, and with it the frames that held tensors
    _free()
    return None, refusal


def within_memory(
    batches: Iterable[B],
    make: Callable[[B], Output],
    cut: Callable[[B, int], Sequence[B]],
    count: Callable[[B], int],
    ready: Callable[[], object],
) -> Iterator[Output]:
    """Outputs of batches, one after the other; a batch that memory does not suffice for is halved
    and made again, as are those that come after it.

    An image depends on its own seed alone, and is so the same in a smaller batch. Steps of a batch
    that is made again are told again from its first one.

    Args:
        make: what comes of a batch.
        cut: ``cut(batch, size)``, the batch in parts of so many images at most.
        count: how many images there are in a batch.
        ready: called before a batch is made: what needs memory however small a batch is, such as
            reading the weights.
    Raises:
        TooLittleMemory: memory does not suffice for a single image; all before it are handed on.
    """
    allowed = allowance()
    left = deque(batches)
    while left:
        batch = left.popleft()
        images = count(batch)
        if allowed.images is not None and images > allowed.images:
            left.extendleft(reversed(cut(batch, allowed.images)))
            continue
        ready()
        try:
            with allowed.in_force():
                output, refusal = attempt(partial(make, batch))
        except MachineError as error:
            parts, error.output = [error.output], None
            if parts[0] is not None:
                yield parts.pop()
            raise
        if output is not None:
            made = [output]
            del output
            yield made.pop()  # which nothing here keeps, while it is used
            continue
        less = allowed.less(images)
        if less is None:
            raise TooLittleMemory(
                f"the memory does not suffice for a single image: {refusal}", WOULD_HELP
            )
        note(f"the memory does not suffice {less}.")
        left.appendleft(batch)


def in_halves(function: Callable[[int, int], Tensor], count: int) -> Tensor:
    """``function(0, count)``, in parts of half as many where memory does not suffice, joined.

    Args:
        function: ``function(start, stop)``, (stop - start, ...), of some of so many entries.
    Raises:
        TooLittleMemory: memory does not suffice for a single entry.
    """
    import torch

    parts: list[Tensor] = []
    done, size = 0, max(count, 1)
    while done < max(count, 1):
        stop = min(done + size, count)
        part, refusal = attempt(partial(function, done, stop))
        if part is not None:
            parts.append(part)
            done = max(stop, 1)
        elif size == 1:
            raise TooLittleMemory(
                f"the memory does not suffice for a single one: {refusal}", WOULD_HELP
            )
        else:
            size = (size + 1) // 2
            note(f"the memory does not suffice for {stop - done} at once: {size} at a time.")
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def note(text: str) -> None:
    """Say what is done in place of what was asked for."""
    warnings.warn(LdmWarning(text), stacklevel=3)


def _free() -> None:
    """Give back what nothing refers to any more, so that the next try has room."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    for device in (torch.cuda, torch.xpu):
        if device.is_initialized():
            device.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
