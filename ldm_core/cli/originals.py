"""What is made again, written, and compared with the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.contracts import Writer
from ldm_core.errors import LdmError
from ldm_core.media.encoded import as_jpeg
from ldm_core.media.exif import is_lossy
from ldm_core.media.hashes import OF_PIXELS, OF_SAMPLES
from ldm_core.media.kinds import noun
from ldm_core.media.made_files import kind_of_file, read_data
from ldm_core.media.manifest_record import Manifest
from ldm_core.media.names import write_new
from ldm_core.media.pictures import open_picture
from ldm_core.media.png import write_png
from ldm_core.media.writers import writer_of, writers_of
from ldm_core.plugins.registry import Registry
from ldm_core.run.saving import write_entry

if TYPE_CHECKING:
    from ldm_core.run.output import Output

NEAR = 2
"""So much of 255 may pixels differ by rounding."""
NEAR_SAMPLES = 2.0**-15
"""So much samples, of which the loudest is 1."""


@dataclass(frozen=True)
class Original:
    """A file that is made again.

    Attributes:
        kind: of medium.
        picture: of a picture, what it shows.
    """

    path: Path
    kind: str
    picture: Image.Image | None


def read_original(path: Path) -> Original:
    """A file, once it is seen that it can be read.

    Raises:
        LdmError: it cannot.
    """
    picture = None
    try:
        kind = kind_of_file(path)
    except LdmError:
        kind = "image"
    if kind == "image":
        picture = open_picture(path)
    else:
        read_data(path, kind, {})
    return Original(path, kind, picture)


def rewritten(
    original: Original,
    again: Output,
    manifest: dict[str, Any],
    then: Manifest,
    folder: Path,
    changed: bool,
    registry: Registry,
    writer: Writer | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Write what was made again, and compare it.

    Args:
        again: of one entry.
        manifest: its own.
        then: the original's.
        changed: the original is not as it was written.
        writer: of the new file; where None, of PNG, or of the format of a video or sound.
    Returns:
        The new file, and the verdict as `compare` has it.
    """
    if original.picture is None:
        writer = writer or _writer(original, registry)
        return _of_time(original, again, manifest, then, folder, changed, registry, writer)
    picture = again.images[0]
    if writer is not None:
        path = _write(original, again, manifest, folder, registry, writer)
    else:
        path = write_new(
            folder,
            original.path.stem,
            ".png",
            lambda path: write_png(picture, manifest, path),
            ending="-replay",
        )
    lossy = is_lossy(original.path)
    if lossy and not changed and manifest[OF_PIXELS] == then.pixels_sha256:
        return path, compare(picture, picture)
    return path, compare(original.picture, as_jpeg(picture) if lossy else picture)


def _of_time(
    original: Original,
    again: Output,
    manifest: dict[str, Any],
    then: Manifest,
    folder: Path,
    changed: bool,
    registry: Registry,
    writer: Writer,
) -> tuple[Path, dict[str, Any]]:
    path = _write(original, again, manifest, folder, registry, writer)
    was = {OF_PIXELS: then.pixels_sha256, OF_SAMPLES: then.samples_sha256}
    now = {name: manifest.get(name) for name in was}
    name = noun(original.kind)
    if was == now and not changed:
        return path, {"verdict": f"the same {name}, {_exactly(now)}", "max_difference": 0}
    first = read_data(original.path, original.kind, manifest)
    second = read_data(path, original.kind, manifest)
    return path, compare_in_time(original.kind, first, second)


def _write(
    original: Original,
    again: Output,
    manifest: dict[str, Any],
    folder: Path,
    registry: Registry,
    writer: Writer,
) -> Path:
    from ldm_core.run.entries import entry_of

    shown, others = entry_of(writer, again, 0, registry)
    path = write_entry(folder, writer, shown, manifest, original.path.stem, "-replay")
    for other, part in others:
        write_entry(folder, other, part, manifest, "", path.stem)
    return path


def _exactly(hashes: Mapping[str, Any]) -> str:
    frames, samples = hashes[OF_PIXELS] is not None, hashes[OF_SAMPLES] is not None
    return " and ".join(
        [*(["frame for frame"] if frames else []), *(["sample for sample"] if samples else [])]
    )


def _writer(original: Original, registry: Registry) -> Writer:
    """What writes the format of the original, or else files of its kind."""
    suffix = original.path.suffix.lower()
    several = writers_of(original.kind, registry)
    alike = [writer for writer in several if writer.suffix == suffix and not writer.missing]
    writer = alike[0] if alike else writer_of(original.kind, registry)
    if writer is None:
        raise LdmError(f"no installed package writes {original.kind}.")
    return writer


def compare(original: Any, again: Any) -> dict[str, Any]:
    """How far two images of one size lie apart."""
    import numpy as np

    first, second = (np.asarray(i.convert("RGB"), dtype=np.int16) for i in (original, again))
    if first.shape != second.shape:
        return {"verdict": "the sizes differ", "max_difference": 255}
    apart = np.abs(first - second)
    most = int(apart.max())
    share = float((apart.max(axis=-1) > 0).mean())
    if most == 0:
        verdict = "the same picture, pixel for pixel"
    elif most <= NEAR:
        verdict = (
            f"the same picture within rounding ({share:.2%} of pixels differ by at most {most})"
        )
    else:
        verdict = f"another picture: {share:.2%} of pixels differ, by up to {most} of 255"
    return {"verdict": verdict, "max_difference": most, "pixels_differing": share}


def compare_in_time(kind: str, first: Any, second: Any) -> dict[str, Any]:
    """How far two videos or sounds lie apart, as their files have them.

    Args:
        first, second: as of `read_data`.
    """
    import numpy as np

    name = noun(kind)
    if kind == "audio":
        if first.shape != second.shape:
            return {"verdict": "the lengths differ", "max_difference": 2.0}
        most: float = float(np.abs(first - second).max())
        near, words = most <= NEAR_SAMPLES, f"{most:.2g}, 1 being the loudest"
    else:
        if [f.size for f in first] != [f.size for f in second]:
            return {"verdict": "the sizes or lengths differ", "max_difference": 255}
        several = zip(first, second, strict=True)
        most = max(int(compare(one, other)["max_difference"]) for one, other in several)
        near, words = most <= NEAR, f"{most} of 255"
    if most == 0:
        verdict = f"the same {name}, as far as its file has it"
    elif near:
        verdict = f"the same {name} within rounding (at most {words} apart)"
    else:
        verdict = f"another {name}: up to {words} apart"
    return {"verdict": verdict, "max_difference": most}
