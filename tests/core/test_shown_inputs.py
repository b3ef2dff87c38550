"""What a conditioning reads is shown with its plugin: on the command line and in the reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ldm_core.contracts import REQUIRED, Conditioning, Input
from ldm_core.plugins.registry import Plugin, installed

if TYPE_CHECKING:
    from nowhere import Elsewhere  # type: ignore[import-not-found]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "plugins.md"
FLAGS = {
    "class_label": ["--class-label", "--negative-class-label"],
    "control": ["--control-image", "--control-mask"],
    "image": ["--image", "--strength", "--denoising-start"],
    "image_prompt": ["--prompt-image", "--negative-prompt-image", "--prompt-image-mask"],
    "image_prompt_embeds": [
        "--prompt-image-embeds",
        "--negative-prompt-image-embeds",
        "--prompt-image-mask",
    ],
    "mask": ["--image", "--mask", "--strength", "--masked-image-latents"],
    "regions": ["--prompt", "--negative-prompt", "--regions"],
    "size": [
        "--original-size",
        "--target-size",
        "--crops-coords-top-left",
        "--negative-original-size",
        "--negative-target-size",
        "--negative-crops-coords-top-left",
    ],
    "target_class": ["--target-class"],
    "text": ["--prompt", "--negative-prompt"],
    "upsampled_text": ["--prompt", "--negative-prompt", "--upsampled-prompt"],
}


def shown(ldm: Any, name: str) -> Any:
    code, out, err = ldm("plugins", "show", name, "--kind", "conditioning", "--json")
    assert code == 0, err
    (record,) = json.loads(out)
    return record["inputs"]


@pytest.mark.parametrize("name", FLAGS)
def test_every_input_of_what_ships_is_shown(ldm: Any, name: str) -> None:
    inputs = shown(ldm, name)
    assert [one["flag"] for one in inputs] == FLAGS[name]
    assert all(one["help"] and one["type"] for one in inputs)
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` ")]
    for flag in FLAGS[name]:
        assert f"`{flag}` (" in row


def test_an_input_is_described_whole(ldm: Any) -> None:
    picture, strength, _ = shown(ldm, "image")
    assert (picture["required"], picture["default"], picture["each"]) == (True, None, True)
    assert (strength["required"], strength["default"], strength["each"]) == (False, 0.8, False)
    assert (strength["name"], strength["type"]) == ("strength", "float")
    _, out, _ = ldm("plugins", "show", "image", "--kind", "conditioning")
    *_, first, second, _ = [line.split("\t")[:4] for line in out.splitlines()]
    assert first == ["--image", "Path", "(required)", "each image"]
    assert second == ["--strength", "float", "0.8", "all images"]


def test_other_kinds_read_nothing(ldm: Any) -> None:
    (record,) = json.loads(ldm("plugins", "show", "ddim", "--json")[1])
    assert "inputs" not in record


class Declares(Conditioning):
    inputs: ClassVar[Mapping[str, Input]] = {"key": Input(int, REQUIRED, help="of a piece")}

    def __init__(self, *, level: float) -> None:
        raise AssertionError("it is shown without being made")


class Depends(Conditioning):
    def __init__(self, *, name: str) -> None:
        self._name = name

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {self._name: Input(int)}


def declares(*, level: float) -> Declares:
    raise AssertionError("it is shown without being made")


def depends(*, name: str) -> Depends:
    return Depends(name=name)


def elsewhere(*, name: str) -> Elsewhere:
    return Depends(name=name)


def sensible(*, name: str = "pitch") -> Conditioning:
    return Depends(name=name)


@pytest.mark.parametrize(
    ("target", "flags"),
    [
        (Declares, ["--key"]),
        (declares, ["--key"]),
        (Depends, None),
        (depends, None),
        (elsewhere, None),
        (sensible, ["--pitch"]),
        (Conditioning, []),
    ],
)
def test_what_needs_options_is_shown_where_its_class_declares_it(
    ldm: Any,
    monkeypatch: pytest.MonkeyPatch,
    target: Callable[..., Any],
    flags: list[str] | None,
) -> None:
    plugin = Plugin("conditioning", "own", "mine", "1", target)
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins, plugin])
    inputs = shown(ldm, "own")
    assert (inputs and [one["flag"] for one in inputs]) == flags
    code, out, _ = ldm("plugins", "show", "own")
    assert code == 0
    assert ("depends on its options; `ldm explain`" in out) == (flags is None)
    assert ("\tone for\t" in out) == bool(flags)
