"""Autoencoders with another decoder, a folder's own or chosen: what Diffusers draws with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AsymmetricAutoencoderKL,
    AutoencoderKL,
    ConsistencyDecoderVAE,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.media.pixels import to_pixels
from ldm_core.run.allowance import Allowance
from peers import apart, distance_to_peer
from tiny.autoencoder import write_autoencoder

UP, DOWN = ("UpDecoderBlock2D",) * 2, ("DownEncoderBlock2D",) * 2
CLASSES = {"asymmetric": AsymmetricAutoencoderKL, "consistency": ConsistencyDecoderVAE}


def made(kind: str, **config: Any) -> Any:
    """A tiny autoencoder of the class, one latent for 2x2 pixels."""
    torch.manual_seed(7)
    if kind == "asymmetric":
        return AsymmetricAutoencoderKL(
            down_block_types=DOWN,
            down_block_out_channels=(8, 16),
            up_block_types=UP,
            up_block_out_channels=(12, 24),
            norm_num_groups=4,
            **config,
        ).eval()
    return ConsistencyDecoderVAE(
        encoder_block_out_channels=(8, 16),
        encoder_down_block_types=DOWN,
        encoder_layers_per_block=1,
        encoder_norm_num_groups=4,
        decoder_block_out_channels=(8, 16),
        decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2,
        decoder_layers_per_block=1,
        decoder_norm_num_groups=4,
        **config,
    ).eval()


def with_own(folder: Path, kind: str) -> Path:
    """A folder with such an autoencoder in the place of its own."""
    for file in (folder / "vae").iterdir():
        file.unlink()
    made(kind).save_pretrained(folder / "vae")
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", CLASSES[kind].__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def autoencoder(path: Path) -> dict[str, str]:
    return {"name": "autoencoder", "path": str(path)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stable_diffusion(tmp_path_factory.mktemp("sd"))


@pytest.mark.parametrize("kind", CLASSES)
def test_own_and_chosen_are_what_diffusers_draws(tmp_path: Path, folder: Path, kind: str) -> None:
    own = with_own(tiny.write_stable_diffusion(tmp_path / "own"), kind)
    peer = StableDiffusionPipeline.from_pretrained(own)
    pipe = Pipeline.from_pretrained(own)
    assert pipe.recipe["decoder"] == {"name": "autoencoder_kl"}
    assert distance_to_peer(pipe, peer, num_inference_steps=2) < 1e-5
    chosen = Pipeline.from_pretrained(folder, converters=[autoencoder(own / "vae")])
    assert distance_to_peer(chosen, peer, num_inference_steps=2) < 1e-5
    other = made(kind, scaling_factor=0.5)
    other.save_pretrained(tmp_path / "other")
    theirs = StableDiffusionPipeline.from_pretrained(folder, vae=other)
    chosen = pipe.replace(converters=[autoencoder(tmp_path / "other")])
    assert distance_to_peer(chosen, theirs, num_inference_steps=2) < 1e-5
    out = chosen("a red star", seed=3)
    names = {Path(name).name for name in out.manifests[0]["converter_files"]}
    assert names == {"config.json", "diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize("kind", CLASSES)
def test_pictures_are_encoded_as_in_diffusers(tmp_path: Path, kind: str) -> None:
    own = with_own(tiny.write_stable_diffusion(tmp_path), kind)
    peer = StableDiffusionImg2ImgPipeline.from_pretrained(own)
    peer.set_progress_bar_config(disable=True)
    ours = Pipeline.from_pretrained(own, conditioning=["text", "image"], num_inference_steps=4)
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    call: dict[str, Any] = {"prompt": ["a star", "a box"], "strength": 0.6, "output_type": "latent"}
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    found = ours(**call, image=list(pictures), width=16, height=16, seed=3).images
    theirs = peer(**call, image=pictures, generator=generators, num_inference_steps=4).images
    assert apart(found, theirs) < 1e-5


@pytest.mark.parametrize("model", ["Stable Diffusion", "SD inpainting"])
def test_a_decoder_sees_what_is_kept_of_a_picture(tmp_path: Path, model: str) -> None:
    own = with_own(tiny.FOLDERS[model].write(tmp_path / "model"), "asymmetric")
    pictures = [tmp_path / f"{n}.png" for n in range(2)]
    for n, file in enumerate(pictures):
        noise = torch.rand(16, 16, 3, generator=torch.Generator().manual_seed(n))
        Image.fromarray((noise * 255).byte().numpy()).save(file)
    mask = Image.new("L", (16, 16), 0)
    mask.paste(255, (4, 3, 12, 10))
    peer = StableDiffusionInpaintPipeline.from_pretrained(own)
    pipe = Pipeline.from_pretrained(own, conditioning=["text", "mask"])
    side = {"width": 16, "height": 16}
    opened = [Image.open(file).convert("RGB") for file in pictures]
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    seen: list[Any] = []
    inner = AsymmetricAutoencoderKL.decode

    def decode(self: Any, z: Any, *args: Any, **options: Any) -> Any:
        seen.append({k: v for k, v in options.items() if k in ("image", "mask")})
        return inner(self, z, *args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AsymmetricAutoencoderKL, "decode", decode)
        call: dict[str, Any] = {"prompt": ["a star", "a box"], "strength": 1.0, **side}
        out = pipe(**call, image=pictures, mask=mask, seed=3, num_inference_steps=2)
        peer.set_progress_bar_config(disable=True)
        peer(**call, image=opened, mask_image=[mask] * 2, latents=latents, num_inference_steps=2)
        mine, theirs = seen
        assert apart(mine["image"], theirs["image"]) < 1e-6
        assert torch.equal(mine["mask"], theirs["mask"].expand(2, 1, 16, 16))
    module = AsymmetricAutoencoderKL.from_pretrained(own / "vae").eval()
    call |= {"image": pictures, "mask": mask, "seed": 3, "num_inference_steps": 2}
    z = pipe(**call, output_type="latent").images
    with torch.no_grad():
        expected = module.decode(z / module.config.scaling_factor, **theirs).sample
        plain = module.decode(z / module.config.scaling_factor).sample
    assert apart(pipe.decode(z), plain) < 1e-5
    found = torch.stack([to_pixels(one)[0] for one in out.images])
    assert (found - expected.clamp(-1, 1)).abs().max() < 0.51 * 2 / 255
    assert apart(plain, expected) > 1e-3


def test_what_a_decoder_draws_is_of_the_seed_alone(tmp_path: Path) -> None:
    own = with_own(tiny.write_stable_diffusion(tmp_path), "consistency")
    pipe = Pipeline.from_pretrained(own, num_inference_steps=2)
    call: dict[str, Any] = {"prompt": ["a star", "a box", "a ring"], "output_type": "pt"}
    together = pipe(**call, seed=5).images
    assert apart(pipe(**call, seed=5, batch_size=1).images, together) < 1e-5
    assert apart(pipe("a ring", seed=7, output_type="pt").images, together[2:]) < 1e-5
    z = pipe("a ring", seed=7, output_type="latent").images
    assert apart((pipe.decode(z, seed=7) / 2 + 0.5).clamp(0, 1), together[2:]) < 1e-5
    assert apart(pipe.decode(z, seed=8), pipe.decode(z, seed=7)) > 1e-3
    with Allowance(alone=True).in_force():
        assert apart(pipe(**call, seed=5).images, together) < 1e-5


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"channels": 8}, "8 latent channels and the model's own 4"),
        ({"channels": 4, "out_channels": 1}, "1 image channels and the model's own 3"),
        (
            {
                "channels": 4,
                "block_out_channels": (8, 16, 16),
                "down_block_types": ("DownEncoderBlock2D",) * 3,
                "up_block_types": ("UpDecoderBlock2D",) * 3,
            },
            "4 pixels a side for a latent and the model's own 2",
        ),
    ],
    ids=str,
)
def test_one_of_other_latents_is_refused_before_weights(
    folder: Path, tmp_path: Path, written: dict[str, Any], message: str
) -> None:
    write_autoencoder(tmp_path, **written)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder), "converters": [autoencoder(tmp_path / "vae")]})


def test_what_does_not_go_with_it_is_refused(folder: Path, tmp_path: Path) -> None:
    for kind in CLASSES:
        made(kind).save_pretrained(tmp_path / kind)
    for converter in ("vae_tiling", "vae_slicing"):
        both = [autoencoder(tmp_path / "asymmetric"), converter]
        with pytest.raises(LdmError, match="AsymmetricAutoencoderKL decodes whole pictures alone"):
            compose({"model": str(folder), "converters": both})
    with pytest.raises(LdmError, match="is a UNet2DConditionModel"):
        compose({"model": str(folder), "converters": [autoencoder(folder / "unet")]})
    pixels = tiny.FOLDERS["DDPM"].write(tmp_path / "ddpm")
    with pytest.raises(LdmError, match="it has none"):
        compose({"model": str(pixels), "converters": [autoencoder(folder / "vae")]})


def test_another_of_the_same_class_serves_any_family(tmp_path: Path) -> None:
    """As one that is trained on, of other numbers by which latents are normalised."""
    model = tiny.FOLDERS["SD 3"].write(tmp_path / "model")
    own = AutoencoderKL.from_pretrained(model / "vae")
    torch.manual_seed(3)
    config = {**own.config, "scaling_factor": 0.7, "shift_factor": 0.2}
    AutoencoderKL.from_config(config).eval().save_pretrained(tmp_path / "other")
    pipe = Pipeline.from_pretrained(model, converters=[autoencoder(tmp_path / "other")])
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    theirs = AutoencoderKL.from_pretrained(tmp_path / "other")
    with torch.no_grad():
        expected = theirs.decode(z / 0.7 + 0.2).sample
    assert apart(pipe.decode(z), expected) < 1e-5
