"""Numbers that nothing at hand could hold, refused before anything is made or read.

What a picture needs at the very least is said by `least_bytes`; a run that needs more is begun, for
what a network takes is not known before. So nothing is refused that could have run.
"""

from __future__ import annotations

import math
from pathlib import Path

from ldm_core.contracts import Extent, LatentSpace
from ldm_core.contracts.latents import describe
from ldm_core.errors import LdmError
from ldm_core.values import brief

MOST_STEPS = 10_000
"""Steps of one run: ten times as many as the models there are were trained on."""
MOST_IMAGES = 1_000_000
"""Images of one call, whose seeds, inputs and manifests are held in lists."""
FLOAT = 4
COPIES = 2
"""Of latents (x and the estimate of x0) and of pixels (the decoder's and those that are shown)."""
UNLIMITED = 1 << 60  # what a control group says that sets no limit


def available_bytes() -> int:
    """The memory that a process may still take: what the machine has free or can free, or less
    where its control group allows less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min([free, *(left for left in _groups() if left is not None)])


def least_bytes(latents: LatentSpace, channels: int, extent: Extent, kind: str = "image") -> int:
    """What one entry of a batch takes at the very least: its latents twice and, of pictures and
    video, its pixels twice, float32.

    Args:
        channels: of a picture.
        kind: of medium.
    """
    of_latents = math.prod(latents.shape(extent))
    shown = kind in ("image", "video")
    of_pixels = channels * math.prod(extent.values()) if shown else 0
    return COPIES * FLOAT * (of_latents + of_pixels)


def check_bytes(one: int, extent: Extent, images: int, free: int, where: str) -> None:
    """See that so many images at once can be held at all.

    Args:
        one: what an image takes at least.
        free: how much there is, and in words where.
    Raises:
        LdmError: they need more memory than there is.
    """
    if one * images <= free:
        return
    size = describe(extent).removeprefix("the size ")
    what = size if images == 1 else f"{images} images at once of {size}"
    if free >= one:
        fits = f"a batch_size of {free // one} would fit."
    else:
        factor = (free / one) ** (1 / len(extent))
        sides = {name: max(1, int(length * factor)) for name, length in extent.items()}
        fits = f"about {describe(sides).removeprefix('the size ')} would fit."
    raise LdmError(
        f"{what} would take at least {in_words(one * images)} of memory for latents and pixels "
        f"alone, and {in_words(free)} {where}; {fits}"
    )


def check_held(what: str, size: int) -> None:
    """See that so many bytes can be held at all.

    Args:
        what: would take them.
    Raises:
        LdmError: they are more than are free.
    """
    free = available_bytes()
    if size > free:
        raise LdmError(
            f"{what} would take at least {in_words(size)} of memory, and {in_words(free)} are free."
        )


def check_steps(steps: int, name: str = "num_inference_steps") -> None:
    """Refuse a run of more steps than any is made of."""
    if steps > MOST_STEPS:
        raise LdmError(f"{name} must be at most {MOST_STEPS:,}, not {brief(steps)}.")


def check_images(count: int) -> None:
    """Refuse a call of more images than its lists should hold."""
    if count > MOST_IMAGES:
        raise LdmError(
            f"a call makes at most {MOST_IMAGES:,} images, not {brief(count)}; make several. "
            "'num_images_per_prompt' and lists of inputs say how many."
        )


def check_file(path: Path, times: int, name: str) -> None:
    """See that what is read of a file can be held.

    Args:
        times: how many times its size it takes at least.
    Raises:
        LdmError: it is larger than memory.
    """
    try:
        size = path.stat().st_size
    except OSError:
        return  # who reads it says why it cannot be read
    free = available_bytes()
    if size * times > free:
        raise LdmError(
            f"the {name} '{path}' of {in_words(size)} would take at least {in_words(size * times)} "
            f"of memory, and {in_words(free)} are free; split it."
        )


def in_words(size: int) -> str:
    """A number of bytes, with its unit."""
    unit = "bytes"
    amount = float(min(size, 10**300))
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.3g} {unit}"


def _groups() -> list[int | None]:
    """What this process's control groups leave it: of the second version, and the first."""
    second = Path("/sys/fs/cgroup")
    first = second / "memory"
    return [
        _left(second / "memory.max", second / "memory.current", second / "memory.stat"),
        _left(
            first / "memory.limit_in_bytes", first / "memory.usage_in_bytes", first / "memory.stat"
        ),
    ]


def _left(limit: Path, usage: Path, stat: Path) -> int | None:
    """The limit without what is used and cannot be freed; None where there is none."""
    try:
        most, used = int(limit.read_text()), int(usage.read_text())
        lines = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return None
    freed = int(lines.get("inactive_file", lines.get("total_inactive_file", 0)))
    return None if most >= UNLIMITED else max(most - max(used - freed, 0), 0)
