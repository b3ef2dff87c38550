"""Which weights are bytes of one file, untouched since they were mapped into memory."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

MAPPINGS = Path("/proc/self/smaps")
"""Where Linux tells of a process' memory; elsewhere no weights are said to be a file's."""
HEAD = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) .{4} ([0-9a-f]+) \S+ (\d+) +(/.*)")
COPIED = (b"Anonymous:", b"Swap:")
"""What has been written to is no longer the file's."""


class FileWeights(NamedTuple):
    """Weights in float32 that lie in one file.

    Attributes:
        inode: the file's number, as long as it is the one that is mapped.
        offsets: by the weights' names, in bytes from the file's beginning.
    """

    file: Path
    inode: int
    offsets: dict[str, int]

    @property
    def there(self) -> bool:
        """Whether the file still has its name."""
        with suppress(OSError):
            return self.file.stat().st_ino == self.inode
        return False


@dataclass
class _Mapping:
    start: int
    end: int
    offset: int
    inode: int
    file: Path
    copied: int = 0


def in_one_file(weights: Mapping[str, Tensor]) -> FileWeights | None:
    """Those of the file that holds the most of them; None where there is none."""
    import torch

    mappings = [each for each in _mappings() if not each.copied]
    starts = [each.start for each in mappings]
    found: dict[tuple[Path, int], dict[str, int]] = {}
    sizes: Counter[tuple[Path, int]] = Counter()
    for name, weight in weights.items():
        if weight.dtype is not torch.float32 or not weight.is_contiguous() or not weight.numel():
            continue
        address = weight.data_ptr()
        number = bisect_right(starts, address) - 1
        if number < 0 or address + weight.nbytes > mappings[number].end:
            continue
        place = mappings[number]
        which = (place.file, place.inode)
        found.setdefault(which, {})[name] = address - place.start + place.offset
        sizes[which] += weight.nbytes
    for (file, inode), _ in sizes.most_common(1):
        most = FileWeights(file, inode, found[file, inode])
        return most if most.there else None
    return None


def _mappings() -> Iterator[_Mapping]:
    """Of files, by rising addresses."""
    try:
        lines = MAPPINGS.read_bytes().splitlines()
    except OSError:
        return
    current = None
    for line in lines:
        if not line[:1].isupper():  # those of the lines below a mapping's first are names
            if current is not None:
                yield current
            head = HEAD.match(line)
            current = None
            if head is not None:
                start, end, offset = (int(number, 16) for number in head.groups()[:3])
                file = Path(head[5].decode(errors="surrogateescape"))
                current = _Mapping(start, end, offset, int(head[4]), file)
        elif current is not None and line.startswith(COPIED):
            current.copied += int(line.split()[1])
    if current is not None:
        yield current
