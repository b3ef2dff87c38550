"""Starting from the latents of a smaller video, made larger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_core.contracts import (
    REQUIRED,
    Conditioning,
    FileName,
    Input,
    LatentSpace,
    ModelInfo,
    Request,
    Run,
    RunHooks,
)
from ldm_core.contracts.second_stage import UpsamplingAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.pictures import different
from ldm_plugins.conditioning.shared.strength import add_noise
from ldm_plugins.conditioning.shared.tensors import one_shape, read_tensor
from ldm_plugins.conditioning.shared.upsampler_folder import find_upsampler

if TYPE_CHECKING:
    from torch import Tensor

NAME = "small_latents"
LATENTS = Input(
    Path, REQUIRED, help="latents of the first stage: a .safetensors file that holds one tensor"
)
SIDES = ("height", "width")


def upsampled_latents(*, upsampler: FileName) -> Conditioning:
    """Go on from the latents of a smaller video, which a network makes larger: the second stage of
    LTX-2 (HaCohen et al. 2026, arXiv:2601.03233).

    Reads ``small_latents`` for each video that is made: final latents of as many frames, whose
    sides are smaller by the network's factor, as ``output_type="latent"`` gives them, or a
    safetensors file with one such tensor. Files alone can be named in a manifest. The run starts
    from them with the noise of its first point, so that a spacing says how much is drawn anew, such
    as ``explicit`` with the timesteps 909.375, 725 and 421.875, which the distilled model was
    trained for. A sound beside the video goes on from its own latents.

    A tensor says nothing of the rate that its video was made at, and its sound lies in it at places
    that follow the rate: the run has to be told the ``frame_rate`` of the first stage, also where
    that is the model's own. A wrong one is refused where the shape tells so.

    Args:
        upsampler: folder or Hub id of an LTX2LatentUpsamplerModel.
    """
    return UpsampledLatents(upsampler)


@dataclass(frozen=True)
class UpsampledLatents(Conditioning):
    """
    Attributes:
        upsampler: as a person named it.
        folder: where it is, once the model is known.
        scale: how many times as wide and high it makes a video.
        space: of the model's latents.
    """

    upsampler: str
    folder: Path | None = None
    scale: Fraction = Fraction(1)
    space: LatentSpace | None = None

    @property
    def ability(self) -> str:
        return "latent_upsampler"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {NAME: LATENTS}

    def fit(self, info: ModelInfo) -> UpsampledLatents:
        if self.ability not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) has no second stage that goes "
                "on from larger latents, as LTX-2 has; 'upsampled_latents' is not for it."
            )
        folder, scale = find_upsampler(self.upsampler, info)
        return replace(self, folder=folder, scale=scale, space=info.latents)

    def files(self) -> Sequence[Path]:
        return () if self.folder is None else (self.folder,)

    def check(self, request: Request) -> None:
        assert self.space is not None
        if request.frame_rate is None and self.space.follows_rate:
            raise LdmError(
                f"in the {NAME} {' and '.join(self.space.beside_each_other)} lie at places that "
                "follow the frame rate of the first stage, and a tensor does not say it: of "
                "another rate it would be read wrong.",
                "say it, as in frame_rate=24, also where it is the model's own.",
            )
        shape = self._small(request)
        for (value,) in different(request.inputs[NAME]):
            one_shape(NAME, read_tensor(NAME, value), shape)

    def bind(self, run: Run) -> RunHooks:
        assert self.folder is not None
        return FromSmaller(run, self.folder, self._small(run.request))

    def _small(self, request: Request) -> tuple[int, ...]:
        """The shape of what becomes a latent of the request."""
        assert self.space is not None
        sides = {}
        for name in SIDES:
            axis = self.space.axis(name)
            places = axis.places(request.extent[name]) / self.scale
            if places.denominator != 1:
                raise LdmError(
                    f"the latent upsampler makes a video {self.scale} times as wide and high, and "
                    f"no {name} becomes {request.extent[name]}: it should be a multiple of "
                    f"{axis.stride * self.scale.numerator}."
                )
            sides[name] = axis.length(int(places))
        return self.space.shape({**request.extent, **sides})


class FromSmaller(RunHooks):
    """A start from smaller latents, with the noise of the grid's first point.

    Args:
        shape: of each of the smaller latents.
    """

    def __init__(self, run: Run, folder: Path, shape: tuple[int, ...]) -> None:
        self._run = run
        self._folder = folder
        self._shape = shape

    def start(self) -> Tensor:
        import torch

        run = self._run
        values = run.request.inputs[NAME]
        each = {id(v): one_shape(NAME, read_tensor(NAME, v), self._shape) for v in values}
        small = torch.stack([each[id(v)] for v in values]).to(run.device)
        ability: UpsamplingAbility = run.model.abilities["latent_upsampler"]
        x0 = ability.enlarged(self._folder, small, run.request.extent)
        return add_noise(x0, run.noise(), run.grid[0])
