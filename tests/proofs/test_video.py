"""A video family: latents with a time axis, causal, and a decoder of frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Axis, LatentSpace, Medium, Model, Shown, decodes, writes
from ldm_core.media.writers import find_writer
from third_party import Toy, exact_end, gaussian_velocity, noise_of, pipeline

VIDEO = LatentSpace(4, (Axis("frames", 4, causal=True), Axis("height", 8), Axis("width", 8)))
EXTENT = {"frames": 9, "height": 16, "width": 24}


@decodes("video")
def frames(model: Model, x0: torch.Tensor) -> Medium:
    """Every place of a latent is shown by as many frames and pixels as it stands for."""
    first, rest = x0[:, :3, :1], x0[:, :3, 1:]
    long = torch.cat([first, rest.repeat_interleave(4, dim=2)], dim=2)
    large = long.repeat_interleave(8, dim=3).repeat_interleave(8, dim=4)
    return Medium("video", large, rate=24.0)


@writes("video", ".npz")
def as_npz(shown: Shown, manifest: Any, path: Path) -> None:
    """Frames as a plain array."""
    with path.open("wb") as file:
        frames = np.stack([np.asarray(frame) for frame in shown.data])
        np.savez(file, frames=frames, rate=shown.rate)


@pytest.fixture
def pipe(tmp_path: Path) -> Pipeline:
    family = Toy(gaussian_velocity, VIDEO, EXTENT, defaults={"decoder": "frames"})
    return pipeline(family, tmp_path, decoders={"frames": frames}, writers={"npz": as_npz})


def test_the_latent_is_causal_in_time(pipe: Pipeline) -> None:
    latents = pipe(seed=1, output_type="latent").images
    assert latents.shape == (1, 4, 3, 2, 3)  # 9 frames are 1 + 2·4
    assert pipe(seed=1, output_type="latent", frames=1).images.shape == (1, 4, 1, 2, 3)
    assert VIDEO.extent((4, 3, 2, 3)) == EXTENT


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp_2m", "unipc", "heun", "deis"])
def test_schedulers_that_never_saw_a_frame_solve_it(pipe: Pipeline, scheduler: str) -> None:
    choice = pipe.replace(scheduler=scheduler, num_inference_steps=200)
    expected = exact_end(noise_of(pipe, [5, 6], EXTENT))
    torch.testing.assert_close(
        choice(seed=[5, 6], output_type="latent").images, expected, atol=2e-2, rtol=0
    )


def test_a_video_depends_on_its_seed_alone(pipe: Pipeline) -> None:
    pipe = pipe.replace(scheduler="euler_ancestral")
    together = pipe(seed=[5, 6], output_type="latent").images
    alone = torch.cat([pipe(seed=s, output_type="latent").images for s in (5, 6)])
    torch.testing.assert_close(together, alone)


def test_its_frames_are_given_as_pictures_arrays_and_tensors(pipe: Pipeline) -> None:
    out = pipe(seed=[1, 2])
    assert (out.kind, out.rate, len(out.images)) == ("video", 24.0, 2)
    assert [len(video) for video in out.images] == [9, 9]
    assert isinstance(out.images[0][0], Image.Image)
    assert out.images[0][0].size == (24, 16)
    array = pipe(seed=[1, 2], output_type="np").images
    assert array.shape == (2, 9, 16, 24, 3)
    assert pipe(seed=[1, 2], output_type="pt").images.shape == (2, 9, 3, 16, 24)
    assert np.abs(np.asarray(out.images[1][4], dtype=float) / 255 - array[1, 4]).max() < 1 / 255


def test_a_decoder_says_how_fast_what_it_gives_is_shown(tmp_path: Path) -> None:
    """As one does that puts frames between; the model's own rate is that of one that says none."""

    @decodes("video")
    def plain(model: Model, x0: torch.Tensor) -> torch.Tensor:
        return frames(model, x0).data

    family = Toy(gaussian_velocity, VIDEO, EXTENT, rate=12.0, defaults={"decoder": "frames"})
    pipe = pipeline(family, tmp_path, decoders={"frames": frames, "plain": plain})
    assert pipe(seed=1).rate == 24.0
    assert pipe.replace(decoder="plain")(seed=1).rate == 12.0


def test_lengths_that_no_latent_has_are_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="its frames must be 1 and then every 4"):
        pipe(seed=1, frames=8)
    with pytest.raises(LdmError, match="its height must be a multiple of 8"):
        pipe(seed=1, height=12)
    with pytest.raises(LdmError, match=r"no 'frame'\. Did you mean 'frames'"):
        pipe.composition.extent({"frame": 9})


def test_no_axis_is_ignored_in_silence(pipe: Pipeline) -> None:
    """A shift by the size counts the frames too."""
    dynamic = {"name": "flow_shift", "dynamic": True, "base": "trailing"}
    parts = pipe.replace(spacing=dynamic).composition
    short, long = (parts.plan({}, [1], {**EXTENT, "frames": n}, 4).grid for n in (5, 9))
    assert all(a.ratio < b.ratio for a, b in zip(short[1:-1], long[1:-1], strict=True))


def test_a_manifest_says_how_many_frames(pipe: Pipeline) -> None:
    (manifest,) = pipe(seed=1, frames=5).manifests
    assert manifest["extent"] == {**EXTENT, "frames": 5}
    assert "width" not in manifest


def test_its_writer_is_found_by_its_kind(pipe: Pipeline, tmp_path: Path) -> None:
    writer = find_writer(pipe.composition, "npz")
    assert writer.suffix == ".npz"
    assert find_writer(pipe.composition).suffix in (".mp4", ".webp")  # ours come first
    with pytest.raises(LdmError, match="'png' is for image, and this model draws video"):
        find_writer(pipe.composition, "png")
    (video,) = pipe(seed=1).images
    writer.write(Shown(video, 24.0), {}, tmp_path / "a.npz")
    assert np.load(tmp_path / "a.npz")["frames"].shape == (9, 16, 24, 3)
    json.dumps(pipe(seed=1).manifests)
