"""The options of what looks at pictures by IP-Adapters."""

from __future__ import annotations

from typing import Any

from ldm_core.errors import LdmError
from ldm_core.values import is_number
from ldm_plugins.conditioning.shared.ip_adapter_layouts import Scale


def read_options(
    path: str | list[str], image_encoder: str, scale: Any, pictures: list[int] | None
) -> tuple[tuple[str, ...], str, tuple[Scale | None, ...], tuple[int, ...]]:
    """Of the options of ``image_prompt``: paths, image encoder, each adapter's scale, and how many
    pictures each looks at, nothing where one looks at all.

    Raises:
        LdmError: there are more scales or numbers of pictures than adapters, or fewer.
    """
    paths = [path] if isinstance(path, str) else path
    for_all = isinstance(path, str) or scale is None or is_number(scale)
    scales = [scale] * len(paths) if for_all else scale
    counts = [1] * len(paths) if pictures is None else pictures
    if not paths or not isinstance(scales, list) or len(scales) != len(paths):
        raise LdmError(
            "with several adapters, image_prompt takes a scale for all or a list of one for each "
            f"of {len(paths)}, not {scale!r}."
        )
    if len(counts) != len(paths) or min(counts) < 1:
        raise LdmError(
            f"the option 'pictures' of image_prompt says how many pictures, at least 1, each of "
            f"{len(paths)} adapters looks at, not {pictures}."
        )
    several = pictures is not None or len(paths) > 1
    return tuple(paths), image_encoder, tuple(scales), tuple(counts) if several else ()
