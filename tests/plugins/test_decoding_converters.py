"""Decoding in slices, in tiles and by a tiny decoder, against Diffusers with the same switches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Part
from ldm_core.media.manifest import recipe_of
from ldm_core.media.manifest_files import file_differences
from ldm_core.media.manifest_record import Manifest
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.vae_tiling import vae_tiling
from peers import apart
from tiny.covering import one_of_each

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 2}
TEXT = {"prompt": ["a red star", "a blue circle", "a star"], "width": 48, "height": 32}
TILES = {"name": "vae_tiling", "size": 16}
FOUR_LEVELS: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
AUTOENCODER_KL = [
    kind for kind in tiny.FOLDERS if kind not in ("LDM", "LDM text", "DDPM")
]  # the others quantise vectors, or draw pixels


def write_tiny_decoder(folder: Path, channels: int = 4, blocks: int = 2, **config: Any) -> Path:
    torch.manual_seed(1)
    widths = (8,) * blocks
    diffusers.AutoencoderTiny(
        **{
            "encoder_block_out_channels": widths,
            "decoder_block_out_channels": widths,
            "num_encoder_blocks": (1,) * blocks,
            "num_decoder_blocks": (1,) * blocks,
            "latent_channels": channels,
            **config,
        }
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_decoder(tmp_path_factory.mktemp("decoder"))


def small(folder: Path) -> dict[str, Any]:
    return {"name": "tiny_decoder", "path": str(folder)}


def their_tiles(autoencoder: Any) -> Any:
    autoencoder.enable_tiling()
    autoencoder.tile_sample_min_size, autoencoder.tile_latent_min_size = 16, 8
    return autoencoder


@pytest.mark.parametrize("kind", one_of_each(AUTOENCODER_KL))
def test_slices_are_what_the_whole_batch_is(tmp_path: Path, kind: str) -> None:
    pipe = Pipeline.from_pretrained(tiny.FOLDERS[kind].write(tmp_path / "model"))
    sliced = pipe.replace(converters=["vae_slicing"])
    extent = pipe.composition.extent(tiny.FOLDERS[kind].size)
    channels = pipe.composition.info.latents.shape(extent)
    latents = torch.randn(3, *channels, generator=torch.Generator().manual_seed(0))
    assert apart(sliced.decode(latents), pipe.decode(latents)) < 1e-5
    pixels = (pipe.decode(latents) / 2 + 0.5).clamp(0, 1)
    assert apart(sliced.encode(pixels, seed=[0, 1, 2]), pipe.encode(pixels, seed=[0, 1, 2])) < 1e-5
    both = [model.part("autoencoder").module for model in (sliced.model, pipe.model)]
    assert [module.use_slicing for module in both] == [True, False]
    weights = [list(module.parameters()) for module in both]
    assert all(mine is theirs for mine, theirs in zip(*weights, strict=True))


def test_one_picture_is_decoded_at_a_time(pipe: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    inner = diffusers.AutoencoderKL._decode

    def decode(self: Any, z: torch.Tensor, *rest: Any, **options: Any) -> Any:
        sizes.append(len(z))
        return inner(self, z, *rest, **options)

    monkeypatch.setattr(diffusers.AutoencoderKL, "_decode", decode)
    sliced = pipe.replace(converters=["vae_slicing"])
    out = sliced(**TEXT, **CALL)
    assert sizes == [1, 1, 1]
    assert out.manifests[0]["lossless"] is True


def test_tiles_are_those_of_diffusers(folder: Path, pipe: Pipeline) -> None:
    tiled = pipe.replace(converters=[TILES])
    latents = pipe(**TEXT, **CALL, output_type="latent").images
    theirs = their_tiles(diffusers.AutoencoderKL.from_pretrained(folder / "vae"))
    with torch.no_grad():
        expected = theirs.decode(latents / theirs.config.scaling_factor).sample
    assert apart(tiled.decode(latents), expected) < 1e-6
    assert apart(tiled.decode(latents), pipe.decode(latents)) > 1e-3
    assert tiled(**TEXT, **CALL).manifests[0]["lossless"] is False
    within = latents[:, :, :8, :8].contiguous()
    assert torch.equal(tiled.decode(within), pipe.decode(within))
    other = pipe.replace(converters=["vae_tiling"])  # the tile that the autoencoder was trained on
    assert torch.equal(other.decode(latents), tiled.decode(latents))


@pytest.mark.parametrize(
    ("trained", "overlap", "size"),
    [(1024, 0.25, 768), (512, 0.25, 512), (256, 0.25, 256), (32, 0.25, 512), (1024, 0.3, 720)],
)
def test_a_tile_is_what_was_trained_on_where_that_is_said_and_not_too_large(
    trained: int, overlap: float, size: int
) -> None:
    """32 is what Diffusers writes where nothing was said."""
    converter = replace(vae_tiling(overlap=overlap), stride=8)
    with torch.device("meta"):
        module = diffusers.AutoencoderKL(
            sample_size=trained, block_out_channels=(32,) * 4, **FOUR_LEVELS
        )
    tiled = converter.part(Part(module, "autoencoder", torch.device("meta"), torch.float32)).module
    assert (tiled.tile_sample_min_size, tiled.tile_latent_min_size) == (size, size // 8)


def test_the_tile_of_a_video_is_one_that_fits() -> None:
    """CogVideoX's own, 240 pixels, has no quarter in whole latents."""
    with torch.device("meta"):
        module = diffusers.AutoencoderKLCogVideoX(sample_height=480, sample_width=720)
    assert module.tile_sample_min_height == 240
    part = Part(module, "autoencoder", torch.device("meta"), torch.float32)
    tiled = replace(vae_tiling(), stride=8).part(part).module
    assert tiled.use_tiling
    assert tiled.tile_sample_min_height == tiled.tile_sample_min_width == 224


def test_a_tiny_decoder_decodes_and_the_models_own_encodes(pipe: Pipeline, decoder: Path) -> None:
    small_one = pipe.replace(converters=[small(decoder)])
    latents = pipe(**TEXT, **CALL, output_type="latent").images
    theirs = diffusers.AutoencoderTiny.from_pretrained(decoder)
    with torch.no_grad():
        expected = theirs.decode(latents / theirs.config.scaling_factor).sample
    assert torch.equal(small_one.decode(latents), expected)
    pixels = (pipe.decode(latents) / 2 + 0.5).clamp(0, 1)
    assert torch.equal(small_one.encode(pixels, seed=1), pipe.encode(pixels, seed=1))
    out = small_one(**TEXT, **CALL)
    names = sorted(Path(name).name for name in out.manifests[0]["converter_files"])
    assert names == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert out.manifests[0]["lossless"] is False
    (latents_out,) = (small_one(**TEXT, **CALL, output_type="latent").images,)
    assert torch.equal(latents_out, latents)


def test_slices_and_tiles_of_a_tiny_decoder(pipe: Pipeline, decoder: Path) -> None:
    latents = pipe(**TEXT, **CALL, output_type="latent").images
    whole, sliced, tiled = (
        pipe.replace(converters=[small(decoder), *more]).decode(latents)
        for more in ([], ["vae_slicing"], [TILES])
    )
    assert apart(sliced, whole) < 1e-5
    assert tiled.shape == whole.shape
    assert 0 < apart(tiled, whole) < 1


def test_a_tiny_decoder_for_latents_that_are_shifted_and_packed(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path / "model")
    decoder = write_tiny_decoder(tmp_path / "decoder")
    pipe = Pipeline.from_pretrained(folder, converters=[small(decoder)])
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    theirs = diffusers.AutoencoderTiny.from_pretrained(decoder)
    with torch.no_grad():
        assert torch.equal(pipe.decode(latents), theirs.decode(latents).sample)


def test_a_changed_decoder_is_told_when_a_picture_is_made_again(
    pipe: Pipeline, tmp_path: Path
) -> None:
    decoder = write_tiny_decoder(tmp_path / "decoder")
    out = pipe.replace(converters=[small(decoder)])(**TEXT, **CALL)
    record = Manifest.of(json.loads(json.dumps(out.manifests[0])))
    write_tiny_decoder(decoder, scaling_factor=2.0)
    again = compose(recipe_of(record), installed())
    assert [note for note in file_differences(record, again) if "config.json" in note]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"channels": 8}, "8 latent channels and the model 4"),
        ({"blocks": 3}, "4 pixels a side for a latent and the model 2"),
        ({"out_channels": 1}, "1 image channels and the model 3"),
    ],
    ids=str,
)
def test_a_decoder_of_other_latents_is_refused(
    folder: Path, tmp_path: Path, written: dict[str, Any], message: str
) -> None:
    decoder = write_tiny_decoder(tmp_path / "decoder", **written)
    with pytest.raises(LdmError, match=message):
        compose({"model": folder, "converters": [small(decoder)]}, installed())


def test_what_is_no_tiny_decoder_is_refused(folder: Path, decoder: Path, tmp_path: Path) -> None:
    for path, message in (
        (folder / "vae", "is a AutoencoderKL, and should be an AutoencoderTiny"),
        (tmp_path / "nothing", "no folder"),
        (decoder / "config.json", "is a file; name a folder"),
    ):
        with pytest.raises(LdmError, match=message):
            compose({"model": folder, "converters": [small(path)]}, installed())


@pytest.mark.parametrize("kind", ["LDM", "DDPM"])
@pytest.mark.parametrize("name", ["vae_slicing", "vae_tiling", "tiny_decoder"])
def test_models_that_decode_otherwise_are_refused(
    tmp_path: Path, decoder: Path, kind: str, name: str
) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    choice = {"name": name, **({"path": str(decoder)} if name == "tiny_decoder" else {})}
    with pytest.raises(LdmError, match=f"'{name}' does not fit"):
        compose({"model": folder, "converters": [choice]}, installed())


@pytest.mark.parametrize(
    "options",
    [
        {"size": 18},
        {"size": 2},
        {"size": 15},
        {"size": 0},
        {"overlap": 1.0},
        {"size": 16, "overlap": 0.3},
    ],
    ids=str,
)
def test_tiles_that_would_be_joined_in_wrong_places_are_refused(
    folder: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(LdmError, match=r"tile"):
        compose({"model": folder, "converters": [{"name": "vae_tiling", **options}]}, installed())
