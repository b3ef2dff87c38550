"""``ldm features``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from PIL import Image, ImageOps
from pydantic import Field

from ldm_core.arguments import checks_arguments
from ldm_core.contracts import InputPath, OutputPath
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError, NotFiniteError
from ldm_core.media.names import check_new, write_whole
from ldm_pipelines.counting import counted, wants_bar
from ldm_pipelines.folders import files_under
from ldm_pipelines.parts import channels_of, check_fits, open_picture

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.output import Failure
    from ldm_core.run.pipeline import Pipeline

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@checks_arguments
def features(
    pipe: Pipeline,
    folder: InputPath,
    *,
    out: OutputPath,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Encode a folder of images: their latents in one safetensors file, by the files' names.

    Each tensor is (channels, rows, columns), float32. An image's latent depends on the file and
    the seed alone. The metadata holds the model and the SHA-256 of its files. In Python a pipeline
    with the observer "progress_bar" shows how far it is.

    Args:
        folder: The images, in folders within it too.
        out: The file to write, which ends in .safetensors.
        batch_size: Images encoded at once.
        seed: Of the draw from the encoder's posterior, where it draws.
        overwrite: Replace a file of that name.
    """
    folder, out = expanded(folder), expanded(out)
    if out.suffix != ".safetensors":
        raise LdmError(f"the file of features should end in .safetensors, not '{out.name}'.")
    if not out.absolute().parent.is_dir():
        raise LdmError(f"there is no folder '{out.parent}' for the file of features.")
    check_new(out, overwrite=overwrite, name="file of features")
    if not folder.is_dir():
        raise LdmError(f"there is no folder '{folder}'.")
    files = files_under(folder, SUFFIXES)
    if not files:
        raise LdmError(f"the folder '{folder}' holds no images ({', '.join(SUFFIXES)}).")
    chosen = pipe.composition.chosen
    size = (chosen["width"], chosen["height"]) if {"width", "height"} <= chosen.keys() else None
    by_size: dict[tuple[int, int], list[Path]] = {}
    for file in files:
        fitted = size or open_picture(file, channels_of(pipe), "file").size
        check_fits(pipe, fitted, f"file '{file.relative_to(folder)}'")
        by_size.setdefault(fitted, []).append(file)

    latents: dict[str, Tensor] = {}
    failures: list[tuple[str, Failure]] = []
    hint = ""
    _ = pipe.model  # read before the bar stands there
    starts = [(s, g, n) for s, g in by_size.items() for n in range(0, len(g), batch_size)]
    with counted(len(files), "encoded", wants_bar(pipe)) as advance:
        for shape, group, start in starts:
            part = group[start : start + batch_size]
            pictures = [_fitted(file, shape, channels_of(pipe)) for file in part]
            names = [file.relative_to(folder).as_posix() for file in part]
            try:
                encoded = pipe.encode(pictures, seed=[seed] * len(part))
            except NotFiniteError as error:
                hint = error.hint
                failures += [(names[one.index], one) for one in error.failures]
                lost = {one.index for one in error.failures}
                names = [name for index, name in enumerate(names) if index not in lost]
                encoded = error.output
            for name, latent in zip(names, encoded.cpu(), strict=True):
                latents[name] = latent.contiguous().clone()
            advance(len(part))

    if failures and not latents:
        raise NotFiniteError(
            "the encoder gave numbers that are not finite (NaN or infinite) of every file; "
            "nothing is written.",
            hint,
            None,
            [failure for _, failure in failures],
        )

    from safetensors.torch import save_file

    from ldm_core.model.files import model_hash

    info = pipe.composition.info
    metadata = {
        "format": "ldm features 1",
        "model": info.source,
        "model_sha256": model_hash(info.folder, info.file, info.components),
        "encoder": json.dumps(pipe.recipe["encoder"]),
        "seed": str(seed),
    }
    write_whole(
        out, lambda fresh: save_file(latents, fresh, metadata=metadata), overwrite=overwrite
    )
    if failures:
        raise NotFiniteError(
            f"the encoder gave numbers that are not finite (NaN or infinite) of "
            f"{', '.join(name for name, _ in failures)}; '{out}' holds the other {len(latents)}.",
            hint,
            [out],
            [failure for _, failure in failures],
        )
    return [out]


def _fitted(file: Path, size: tuple[int, int], channels: int) -> Image.Image:
    """The picture at a size: scaled to cover it, and cut to its middle."""
    picture = open_picture(file, channels, "file")
    if picture.size == size:
        return picture
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
