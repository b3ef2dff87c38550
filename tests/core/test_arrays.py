"""Arrays and tensors as pictures: what their types, values and shapes say, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.media.pixels import to_pixels
from ldm_plugins.conditioning.shared.pictures import read_picture

BYTES = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
PICTURE = Image.fromarray(BYTES)
UNIT = BYTES.astype(np.float32) / 255
FIRST = torch.from_numpy(UNIT).permute(2, 0, 1)

SAME: dict[str, Callable[[], Any]] = {
    "uint8 array": lambda: BYTES,
    "uint8 tensor": lambda: torch.from_numpy(BYTES).permute(2, 0, 1),
    "float32 array": lambda: UNIT,
    "float64 array": lambda: BYTES / 255,
    "float32 tensor": lambda: FIRST,
    "a batch of one": lambda: FIRST[None],
    "negative strides": lambda: UNIT[::-1].copy()[::-1],
    "columns first": lambda: np.asfortranarray(UNIT),
    "other byte order": lambda: UNIT.astype(">f4"),
    "read only": lambda: np.frombuffer(BYTES.tobytes(), np.uint8).reshape(BYTES.shape),
    "not contiguous": lambda: FIRST.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    "with a gradient": lambda: FIRST.clone().requires_grad_(),
    "a parameter": lambda: torch.nn.Parameter(FIRST.clone()),
    "channels last in memory": lambda: FIRST[None].to(memory_format=torch.channels_last)[0],
}
NEARLY: dict[str, Callable[[], Any]] = {
    "float16 array": lambda: UNIT.astype(np.float16),
    "bfloat16 tensor": lambda: FIRST.bfloat16(),
    "float16 tensor": lambda: FIRST.half(),
    "a hair outside": lambda: FIRST * 1.0008 - 0.0004,
}


@pytest.mark.parametrize("form", SAME)
def test_one_picture_in_every_form_is_the_file(form: str) -> None:
    """Pillow's own reading is the oracle: 2·v/255 - 1 of each of its bytes."""
    expected = torch.tensor(list(PICTURE.tobytes()), dtype=torch.float64).reshape(16, 16, 3)
    expected = (2 * expected / 255 - 1).permute(2, 0, 1)[None]
    value = SAME[form]()
    torch.testing.assert_close(to_pixels(value).double(), expected, rtol=0, atol=3e-7)
    torch.testing.assert_close(
        to_pixels([value, PICTURE])[:1].double(), expected, rtol=0, atol=3e-7
    )
    if form != "a batch of one":
        read = torch.from_numpy(read_picture("image", value).copy()).permute(2, 0, 1)[None]
        torch.testing.assert_close(2 * read.double() - 1, expected, rtol=0, atol=3e-7)
    assert not to_pixels(value).requires_grad


@pytest.mark.parametrize("form", NEARLY)
def test_half_precision_is_taken(form: str) -> None:
    torch.testing.assert_close(to_pixels(NEARLY[form]()), to_pixels(PICTURE), rtol=0, atol=1e-2)


def test_diffusers_takes_uint8_for_numbers_from_0_to_1() -> None:
    """What the page of arrays says of Diffusers, of its own processor."""
    from diffusers.image_processor import VaeImageProcessor

    processor = VaeImageProcessor(do_resize=False)
    assert processor.preprocess(np.full((1, 16, 16, 3), 255, np.uint8)).max() == 509
    torch.testing.assert_close(processor.preprocess(PICTURE), to_pixels(PICTURE))


WRONG: dict[str, tuple[Any, str]] = {
    "[-1, 1]": (FIRST * 2 - 1, r"from -1 to 1.*\[-1, 1\], x / 2 \+ 0\.5"),
    "[0, 255] as floats": (UNIT * 255, "x / 255"),
    "[0, 2]": (FIRST * 2, r"those of a picture are in \[0, 1\]"),
    "NaN": (torch.full((3, 16, 16), torch.nan), "not finite"),
    "infinite": (np.full((16, 16, 3), np.inf), "not finite"),
    "complex": (FIRST.to(torch.complex64), "complex"),
    "complex array": (UNIT.astype(complex), "array of complex128"),
    "objects": (UNIT.astype(object), "array of object"),
    "words": (np.full((16, 16, 3), "a"), "array of <U1"),
    "int64": (BYTES.astype(np.int64), "whole numbers of the type int64"),
    "uint16": (BYTES.astype(np.uint16), "do not say what is white"),
    "int32 tensor": (FIRST.int(), "whole numbers of the type int32"),
    "sparse": (FIRST.to_sparse(), "to_dense"),
    "meta": (FIRST.to("meta"), "meta"),
    "masked": (np.ma.masked_array(UNIT, UNIT > 0.5), "filled"),
    "an array with channels first": (FIRST.numpy(), r"last in an array: x\.transpose\(1, 2, 0\)"),
    "a tensor with channels last": (FIRST.permute(1, 2, 0), r"x\.permute\(2, 0, 1\)"),
    "a batch with channels last": (FIRST.permute(1, 2, 0)[None], r"x\.permute\(0, 3, 1, 2\)"),
    "no channels": (UNIT[..., 0], "of shape"),
    "grey": (UNIT[..., :1], "three equal channels"),
    "transparency": (np.concatenate([UNIT, UNIT[..., :1]], axis=2), "transparency"),
    "two channels": (FIRST[:2], "of shape"),
    "five axes": (FIRST[None, None], "of shape"),
    "nothing": (FIRST[:, :0], "of shape"),
    "text": (3, "not 3"),
    "bytes": (b"a", "not b'a'"),
    "a table": ({"a": 1}, "not {'a': 1}"),
}  # fmt: skip


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_picture_is_refused_with_what_would_be_right(pipe: Pipeline, form: str) -> None:
    value, message = WRONG[form]
    with pytest.raises(LdmError, match=f"(?s){message}"):
        pipe.encode(value)
    with pytest.raises(LdmError, match=f"(?s)image.*{message}"):
        pipe.replace(conditioning=["text", "image"]).batches("a", image=value, seed=1)


def test_the_right_way_that_is_said_is_right() -> None:
    """What the messages say to do gives the picture."""
    expected = to_pixels(PICTURE)
    first, last = FIRST.numpy(), FIRST.permute(1, 2, 0)
    for value in (
        (FIRST * 2 - 1) / 2 + 0.5,
        UNIT * np.float32(255) / 255,
        FIRST.to_sparse().to_dense(),
        first.transpose(1, 2, 0),
        last.permute(2, 0, 1),
        last[None].permute(0, 3, 1, 2),
    ):
        torch.testing.assert_close(to_pixels(value), expected)
    grey = torch.from_numpy(UNIT[..., :1]).permute(2, 0, 1)
    assert to_pixels(grey.expand(3, -1, -1)).equal(to_pixels(UNIT[..., :1].repeat(3, -1)))


def test_a_list_is_of_one_size(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="different sizes"):
        pipe.encode([PICTURE, UNIT[:8]])
    with pytest.raises(LdmError, match="empty"):
        pipe.encode([])
    with pytest.raises(LdmError, match="one picture"):
        pipe.encode([torch.stack([FIRST, FIRST])])
    assert len(pipe.encode([PICTURE, UNIT, FIRST, BYTES])) == 4


def test_encode_takes_files_and_refuses_sizes_as_a_call_does(
    pipe: Pipeline, tmp_path: Path
) -> None:
    PICTURE.save(tmp_path / "a.png")
    assert pipe.encode(tmp_path / "a.png").equal(pipe.encode(PICTURE))
    with pytest.raises(LdmError, match="size 15x16 does not fit this model"):
        pipe.encode(PICTURE.resize((15, 16)))
    with pytest.raises(LdmError, match="size 15x16 does not fit this model"):
        pipe("a", width=15, height=16)


MASKS: dict[str, Any] = {
    "bool": BYTES[..., 0] > 127,
    "bool tensor": torch.from_numpy(BYTES[None, ..., 0] > 127),
    "floats": (BYTES[..., :1] > 127).astype(np.float64),
    "uint8": (BYTES[..., 0] > 127).astype(np.uint8) * 255,
    "a picture": Image.fromarray((BYTES[..., 0] > 127).astype(np.uint8) * 255),
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_say_the_same_in_every_form(form: str) -> None:
    mask = read_picture("mask", MASKS[form], "L", mask=True)
    assert mask.shape == (16, 16, 1)
    np.testing.assert_array_equal(mask[..., 0], (BYTES[..., 0] > 127).astype(np.float32))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ((BYTES[..., 0] > 127).astype(np.uint8), "0 and 1 alone.*times 255"),
        ((BYTES[..., 0] > 127).astype(np.int64), "whole numbers of the type int64"),
        (UNIT[..., 0] * 2 - 1, "x / 2"),
        (UNIT, "of shape"),
        (np.full((16, 16), np.nan), "not finite"),
    ],
)
def test_masks_that_say_nothing_are_refused(pipe: Pipeline, mask: Any, message: str) -> None:
    painter = pipe.replace(conditioning=["text", "mask"])
    with pytest.raises(LdmError, match=f"(?s)mask.*{message}"):
        painter.batches("a", image=UNIT, mask=mask, seed=1)


def test_uint8_of_0_and_1_is_said_to_be_black() -> None:
    with pytest.warns(LdmWarning, match="as good as black"):
        to_pixels((BYTES > 127).astype(np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_pixels(np.zeros_like(BYTES))


def test_a_picture_of_any_form_starts_a_run(pipe: Pipeline, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    start = pipe.replace(conditioning=["text", "image"])
    call = {"strength": 0.5, "seed": 3, "output_type": "latent"}
    expected = start("a", image=tmp_path / "a.png", **call).images
    for value in (BYTES, UNIT, FIRST, PICTURE):
        torch.testing.assert_close(start("a", image=value, **call).images, expected)
        assert start(["a", "b"], image=[value, value], **call).images.shape[0] == 2


def test_grey_models_take_arrays_without_channels(tmp_path: Path) -> None:
    grey = Pipeline.from_pretrained(
        tiny.write_ddpm(tmp_path / "grey", in_channels=1, out_channels=1)
    )
    side = grey.composition.info.default_extent["height"]
    values = np.random.default_rng(1).random((side, side), dtype=np.float32)
    assert grey.encode(values).equal(grey.encode(torch.from_numpy(values)))
    assert grey.encode(values).equal(grey.encode(values[..., None]))
    with pytest.raises(LdmError, match="of shape"):
        grey.encode(np.stack([values] * 3, axis=-1))
