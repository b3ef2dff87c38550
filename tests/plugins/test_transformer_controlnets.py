"""ControlNets beside Stable Diffusion 3 and Flux: Diffusers' own pictures from the same folders.

Diffusers draws what the autoencoder sees in the picture, for Stable Diffusion 3 from torch's global
generator. Here the mean is taken, and the peer's draw is replaced by it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import installed
from peers import apart, distance_to_peer

SMALL = {"width": 24, "height": 16, "num_inference_steps": 3}


@pytest.fixture(autouse=True)
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(self: Any, generator: Any = None) -> torch.Tensor:
        found: torch.Tensor = self.mode()
        return found

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", mean)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controlnets")


@pytest.fixture(scope="module")
def sd3(place: Path) -> Path:
    return tiny.write_stable_diffusion_3(place / "sd3", num_layers=3)


@pytest.fixture(scope="module")
def flux(place: Path) -> Path:
    return tiny.write_flux(place / "flux", num_layers=3, num_single_layers=2)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    drawn = torch.rand(2, 16, 24, 3, generator=torch.Generator().manual_seed(0)) * 255
    return [Image.fromarray(pixels.to(torch.uint8).numpy()) for pixels in drawn]


class FluxPeer:
    """FluxControlNetPipeline, with its latents unpacked."""

    def __init__(self, folder: Path, net: Any) -> None:
        self.pipeline = diffusers.FluxControlNetPipeline.from_pretrained(folder, controlnet=net)
        self.set_progress_bar_config = self.pipeline.set_progress_bar_config

    def __call__(self, *, width: int, height: int, output_type: str, **call: Any) -> Any:
        found = self.pipeline(width=width, height=height, output_type=output_type, **call)
        if output_type != "latent":
            return found
        unpacked = self.pipeline._unpack_latents(found.images, height, width, 2)
        return SimpleNamespace(images=unpacked)


def peer_of_sd3(folder: Path, net: Any) -> Any:
    cls = diffusers.StableDiffusion3ControlNetPipeline
    return cls.from_pretrained(folder, controlnet=net)


def with_control(folder: Path, *models: Any) -> Pipeline:
    pipe = Pipeline.from_pretrained(folder)
    return pipe.replace(conditioning=["text", {"name": "control", "models": [*models]}])


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_layers": 2, "force_zeros_for_pooled_projection": False},
        {
            "joint_attention_dim": None,
            "use_pos_embed": False,
            "force_zeros_for_pooled_projection": False,
        },
    ],
    ids=["no summary of the text", "two blocks", "without text and places of its own"],
)
def test_beside_stable_diffusion_3(
    tmp_path: Path, sd3: Path, pictures: list[Image.Image], config: dict[str, Any]
) -> None:
    side = tiny.write_transformer_controlnet(tmp_path, sd3, **config)
    ours = with_control(sd3, {"path": str(side), "weight": 0.7, "end": 0.8})
    net = diffusers.SD3ControlNetModel.from_pretrained(side)
    their = {"controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.8}
    call: dict[str, Any] = {"control_image": pictures, **SMALL}
    assert distance_to_peer(ours, peer_of_sd3(sd3, net), their=their, **call) < 1e-5


def test_one_that_inpaints_beside_stable_diffusion_3(
    tmp_path: Path, sd3: Path, pictures: list[Image.Image]
) -> None:
    """It is shown the picture, black where its mask is white, and the mask."""
    side = tiny.write_transformer_controlnet(tmp_path, sd3, extra_conditioning_channels=1)
    ours = with_control(sd3, {"path": str(side), "weight": 0.7, "end": 0.8})
    net = diffusers.SD3ControlNetModel.from_pretrained(side)
    cls = diffusers.StableDiffusion3ControlNetInpaintingPipeline
    their = {"controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.8}
    grey = Image.new("L", (24, 16), 127)
    grey.paste(128, (4, 4, 14, 10))
    call: dict[str, Any] = {"control_image": pictures, "control_mask": [grey] * 2, **SMALL}
    peer = cls.from_pretrained(sd3, controlnet=net)
    assert distance_to_peer(ours, peer, their=their, **call) < 1e-5
    call = {**SMALL, "seed": 3, "control_image": pictures[0]}
    with pytest.raises(LdmError, match="that inpaints needs a control_mask for each image"):
        ours("a star", **call)
    with pytest.raises(LdmError, match="the control_mask is empty"):
        ours("a star", control_mask=Image.new("L", (24, 16)), **call)


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ({"num_single_layers": 0}, None),
        ({"num_layers": 2, "num_single_layers": 1, "guidance_embeds": True}, None),
        ({"num_mode": 4}, 2),
    ],
    ids=["one block", "guided", "union"],
)
def test_beside_flux(
    tmp_path: Path,
    flux: Path,
    pictures: list[Image.Image],
    config: dict[str, Any],
    mode: int | None,
) -> None:
    side = tiny.write_transformer_controlnet(tmp_path, flux, **config)
    of = {} if mode is None else {"mode": mode}
    ours = with_control(flux, {"path": str(side), "weight": 0.7, "start": 0.3, **of})
    net = diffusers.FluxControlNetModel.from_pretrained(side)
    their = {"controlnet_conditioning_scale": 0.7, "control_guidance_start": 0.3}
    their |= {"guidance_scale": 3.5, "control_mode": mode}
    call: dict[str, Any] = {"control_image": pictures, **SMALL}
    assert distance_to_peer(ours, FluxPeer(flux, net), their=their, **call) < 1e-5


def test_one_that_reads_the_picture_itself(tmp_path: Path) -> None:
    """As those of XLabs do, whose residuals go round the network's blocks."""
    folder = tiny.write_flux(tmp_path / "model", num_layers=3)
    tiny.autoencoder.write_autoencoder(
        folder, channels=4, scaling_factor=0.3611, shift_factor=0.1159, **tiny.lumina_2.BY_EIGHT
    )
    side = tiny.write_transformer_controlnet(
        tmp_path / "side", folder, num_layers=2, conditioning_embedding_channels=4, patch_size=2
    )
    net = diffusers.FluxControlNetModel.from_pretrained(side)
    pipe = with_control(folder, str(side))
    pixels = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(1)) * 255
    picture = Image.fromarray(pixels.to(torch.uint8).numpy())
    peer = diffusers.FluxControlNetPipeline.from_pretrained(folder, controlnet=net)
    call: dict[str, Any] = {"control_image": picture, "width": 48, "height": 32}
    call |= {"num_inference_steps": 2, "output_type": "np", "prompt": ["a red star"]}
    theirs = peer(generator=[torch.Generator().manual_seed(3)], guidance_scale=3.5, **call).images
    assert apart(pipe(seed=3, **call).images, theirs) < 1e-5


def test_several_are_summed(tmp_path: Path, sd3: Path, pictures: list[Image.Image]) -> None:
    """Each spread over the network's blocks by itself, however many it has."""
    sides = [
        tiny.write_transformer_controlnet(tmp_path / str(n), sd3, seed=n, num_layers=2)
        for n in (1, 2)
    ]
    nets = [diffusers.SD3ControlNetModel.from_pretrained(side) for side in sides]
    ours = with_control(sd3, *map(str, sides))
    peer = peer_of_sd3(sd3, diffusers.SD3MultiControlNetModel(nets))
    call: dict[str, Any] = {"prompt": ["a red star"] * 2, **SMALL}
    own = {"control_image": [pictures, pictures]}
    their = {
        "control_image": [[picture, picture] for picture in pictures],
        "controlnet_conditioning_scale": [1.0, 1.0],
    }
    assert distance_to_peer(ours, peer, own, their, **call) < 1e-5


def test_an_image_depends_on_its_own_picture(
    tmp_path: Path, flux: Path, pictures: list[Image.Image]
) -> None:
    pipe = with_control(flux, str(tiny.write_transformer_controlnet(tmp_path, flux)))
    call: dict[str, Any] = {**SMALL, "output_type": "latent"}
    both = pipe(["a star", "a star"], seed=[5, 5], control_image=pictures, **call).images
    assert apart(both[0], both[1]) > 1e-3
    for one, picture in zip(both, pictures, strict=True):
        alone = pipe(["a star"], seed=5, control_image=picture, **call).images[0]
        assert apart(alone, one) < 1e-5


Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("beside", "config", "options", "message"),
    [
        ("sd3", {"in_channels": 8}, {}, "its in_channels is 8 and the network's 4"),
        ("sd3", {"extra_conditioning_channels": 2}, {}, "reads 2 channels beside the picture"),
        ("sd3", {"num_attention_heads": 2, "caption_projection_dim": 16}, {}, "are 16 wide"),
        ("sd3", {}, {"guess_mode": True}, "has no guess_mode"),
        ("sd3", {}, {"mode": 1}, "reads one kind of picture, and has no mode"),
        ("flux", {}, {}, "is a FluxControlNetModel, which stands beside a Flux"),
        ("of flux", {"num_mode": 4}, {}, "say which by its mode, a number from 0 to 3"),
        ("of flux", {"num_mode": 4}, {"mode": 4}, "say which by its mode"),
        ("of flux", {"num_mode": 4}, {"mode": [1, 2]}, "its mode should be a number"),
        ("of flux", {"conditioning_embedding_channels": 4}, {}, "shrinks its picture by 8"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    tmp_path: Path,
    sd3: Path,
    flux: Path,
    beside: str,
    config: dict[str, Any],
    options: dict[str, Any],
    message: str,
) -> None:
    of, model = {"sd3": (sd3, sd3), "flux": (flux, sd3), "of flux": (flux, flux)}[beside]
    side = tiny.write_transformer_controlnet(tmp_path, of, **config)
    control = {"name": "control", "models": [{"path": str(side), **options}]}
    with pytest.raises(LdmError, match=message):
        compose({"model": str(model), "conditioning": ["text", control]}, installed())
