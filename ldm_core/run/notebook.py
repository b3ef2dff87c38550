"""Pipelines and outputs as text, and as a notebook shows them."""

from __future__ import annotations

import base64
import io
import tempfile
import wave
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from ldm_core.composition.composition import Composition
from ldm_core.composition.stages import options_in_words, stages_of
from ldm_core.contracts.latents import describe
from ldm_core.media.animations import write_animated_webp
from ldm_core.media.kinds import noun
from ldm_core.media.sheet import contact_sheet
from ldm_core.run.batches import Generates
from ldm_core.run.saving import caption

if TYPE_CHECKING:
    from ldm_core.run.output import Output

LARGEST = 8 * 2**20
"""Bytes of what is put into a notebook; it keeps them for ever."""
PLAYER = '<audio controls src="data:audio/wav;base64,{}"></audio>'
MOVING = '<img src="data:image/webp;base64,{}">'


class InNotebook(Generates):
    """What makes images by one composition, and is shown as that."""

    composition: Composition

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {in_line(self.composition)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the stages of `ldm explain`."""
        return as_table(self.composition)


def in_line(composition: Composition) -> str:
    """A composition in one line: model, scheduler, spacing, guidance, steps and extent."""
    recipe = composition.recipe
    keys = ["scheduler", "guidance"]
    if composition.scheduler.points is None:
        keys.insert(1, "spacing")
    words = [_named(recipe[key]) for key in keys]
    words.append(f"{recipe['num_inference_steps']} steps")
    words.append(describe(composition.extent()).removeprefix("the size "))
    return f"{composition.info.source}: {', '.join(words)}"


def _named(choice: Mapping[str, Any]) -> str:
    options = options_in_words({k: v for k, v in choice.items() if k != "name"})
    return f"{choice['name']} ({options})" if options else str(choice["name"])


def as_table(composition: Composition) -> str:
    """A composition as HTML: the stages of `ldm explain`."""
    head = ("stage", "plugin", "package", "options", "chosen by")
    rows = [
        (
            one["stage"],
            one["name"],
            one["package"],
            options_in_words(one["options"]) if one["used"] else "(not used)",
            one["chosen_by"],
        )
        for one in stages_of(composition)
    ]
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    title = f"<p>{escape(in_line(composition))}</p>"
    return f"{title}<table><tr>{_cells('th', head)}</tr>{body}</table>"


def _cells(tag: str, texts: tuple[str, ...]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def output_in_line(output: Output) -> str:
    """An output in one line: how many, how large, of which seeds."""
    count = len(output.seeds)
    seeds = ", ".join(map(str, output.seeds[:8])) + (", …" if count > 8 else "")
    words = [f"{count} {noun(output.kind, count)}"]
    images = output.images
    if isinstance(images, list):
        size = [_size(one) for one in images[:1]]
        words += [f"of {one}" for one in size]
    else:
        words.append(f"as {type(images).__name__} {tuple(images.shape)}")
    failed = f", {len(output.failures)} not finite" if output.failures else ""
    return f"{' '.join(words)}, seeds {seeds or 'none'}{failed}"


def _size(image: Any) -> str:
    if isinstance(image, Image.Image):
        return f"{image.width}x{image.height}"
    return f"{len(image)} frames, {_size(image[0])}"


def as_png(output: Output) -> bytes | None:
    """The pictures of an output as one PNG, several as a contact sheet; None of all else."""
    if output.kind != "image" or not isinstance(output.images, list) or not output.images:
        return None
    whole = output.images[0]
    if len(output.images) > 1:
        whole = contact_sheet(output.images, [caption(m) for m in output.manifests])
    file = io.BytesIO()
    whole.save(file, format="PNG")
    return file.getvalue()


def as_players(output: Output) -> str | None:
    """The videos and sounds of an output as HTML that plays them; None of all else. Of what is too
    large for a notebook, a line."""
    if output.kind == "video" and isinstance(output.images, list):
        parts = [(MOVING, _webp(frames, output.rate or 8.0)) for frames in output.images]
    elif output.kind == "audio" and not isinstance(output.images, Tensor):
        parts = [(PLAYER, _wav(samples, output.rate or 44_100.0)) for samples in output.images]
    else:
        return None
    shown = [f"<p>{escape(output_in_line(output))}</p>"]
    for (form, data), manifest in zip(parts, output.manifests, strict=True):
        large = len(data) > LARGEST
        what = form.format(base64.b64encode(data).decode("ascii"))
        words = f"(too large to be shown here: {len(data) / 2**20:.0f} MiB; save() writes it)"
        title = escape(caption(manifest))
        shown.append(f"<figure>{words if large else what}<figcaption>{title}</figcaption></figure>")
    return "".join(shown)


def _webp(frames: list[Image.Image], rate: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.webp"
        write_animated_webp(frames, rate, {}, path)
        return path.read_bytes()


def _wav(samples: Any, rate: float) -> bytes:
    """Samples (channels, samples) as WAV of 16 bits."""
    whole = (np.asarray(samples).clip(-1, 1) * 32767).round().astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(whole.shape[0])
        sound.setsampwidth(2)
        sound.setframerate(round(rate))
        sound.writeframes(whole.T.tobytes())
    return file.getvalue()
