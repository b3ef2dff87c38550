"""A small picture, to networks that were trained to enlarge one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from PIL import Image
from pydantic import Field

from ldm_core.contracts import REQUIRED, Condition, Conditioning, Extent, Input, Request, Run
from ldm_core.contracts.abilities import LowResolutionAbility
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_whole
from ldm_plugins.conditioning.shared.pictures import different, read_picture, size_of, to_pixels


def low_resolution(*, factor: Annotated[int, Field(ge=1)] = 4) -> Conditioning:
    """Enlarge a picture with a network that sees it beside x (Rombach et al. 2022,
    arXiv:2112.10752, Section 4.4).

    Reads a ``low_resolution`` for each image: a file, a PIL image, a tensor (channels, height,
    width) or an array (height, width, channels), whose sides are those of what is made divided by
    the factor; only files can be named in a manifest. ``noise_level`` says how much noise, drawn
    from the image's seed, is mixed into it before the network sees it and is told so: the more, the
    more of its details are made anew.

    Args:
        factor: by how much the network enlarges; the model's own where its recipe has it.
    """
    return LowResolution(factor)


@dataclass(frozen=True)
class LowResolution(Conditioning):
    factor: int

    @property
    def inputs(self) -> Mapping[str, Input]:
        level = "how noisy it is made, a timestep; the model's own if left out"
        return {
            "low_resolution": Input(
                Path, REQUIRED, help="the picture that is enlarged: a file", example=self._example
            ),
            "noise_level": Input(int | None, None, help=level),
        }

    def _example(self, extent: Extent) -> Image.Image:
        size = (extent["width"] // self.factor, extent["height"] // self.factor)
        return Image.new("RGB", size, "white")

    @property
    def ability(self) -> str:
        return "low_resolution"

    def check(self, request: Request) -> None:
        size = (request.height // self.factor, request.width // self.factor)
        for (value,) in different(request.inputs["low_resolution"]):
            picture = read_picture("low_resolution picture", value)
            if picture.shape[:2] != size:
                high, wide = (self.factor * side for side in picture.shape[:2])
                raise LdmError(
                    f"the low_resolution picture is {size_of(picture)} pixels, of which this model "
                    f"makes {wide}x{high}, and {request.width}x{request.height} is to be made; "
                    "ask for that size."
                )
        for level in request.inputs["noise_level"]:
            if level is not None and (not is_whole(level) or level < 0):
                raise LdmError(f"a noise_level should be a whole number, not {brief(level)}.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        ability: LowResolutionAbility = run.model.abilities["low_resolution"]
        inputs = run.request.inputs
        pictures = to_pixels("low_resolution picture", inputs["low_resolution"])
        condition = ability.encode(run, pictures * 2 - 1, inputs["noise_level"])
        return dict.fromkeys(branches, condition)
