"""Networks that enlarge few pixels, in the place of an autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ldm_core.contracts import Model, Noise, Request, fits, request_of, sees_request
from ldm_core.contracts.enlarging import SuperResolutionAbility
from ldm_plugins.autoencoders.shared.part import autoencoder_of
from ldm_plugins.shared.codecs import for_models

if TYPE_CHECKING:
    from torch import Tensor

NAME = "super_resolution"


@fits(for_models(NAME))
def encode(model: Model, data: Tensor, noise: Noise) -> Tensor:
    """A picture in the few pixels that the model draws: unCLIP's latents (Ramesh et al. 2022,
    arXiv:2204.06125, Section 2.1)."""
    from torch.nn.functional import interpolate

    autoencoder_of(model, NAME)
    strides = (model.info.latents.axis(side).stride for side in ("height", "width"))
    size = [n // stride for n, stride in zip(data.shape[-2:], strides, strict=True)]
    return interpolate(data, size=size, mode="bicubic", antialias=True, align_corners=False)


@fits(for_models(NAME))
@sees_request
def decode(
    model: Model,
    x0: Tensor,
    request: Request | None = None,
    *,
    steps: Annotated[int, Field(ge=1)] = 7,
) -> Tensor:
    """The picture that networks of diffusion make of few pixels, of noise of each image's seed:
    unCLIP's last stage (Ramesh et al. 2022, arXiv:2204.06125, Section 2.1).

    Args:
        steps: how many they make.
    """
    autoencoder_of(model, NAME)
    asked = request or request_of(x0, model.info.latents)
    ability: SuperResolutionAbility = model.abilities[NAME]
    return ability.enlarged(x0.clamp(-1, 1), asked.seeds, steps)
