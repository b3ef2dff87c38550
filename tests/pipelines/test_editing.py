"""Ready-made pipelines that edit pictures, on the default model and on a tiny one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Output, Pipeline
from ldm_pipelines.blend import blend
from ldm_pipelines.image_to_image import image_to_image
from ldm_pipelines.inpaint import box_mask, inpaint
from ldm_pipelines.interpolate import interpolate
from ldm_pipelines.invert import ddim_inverse, invert
from ldm_pipelines.outpaint import outpaint
from ldm_pipelines.restore import estimate_noise, restore
from ldm_pipelines.shapes.checker import read
from ldm_pipelines.shapes.scenes import SIDE, Scene
from ldm_pipelines.shapes.world import paint
from ldm_pipelines.spherical import slerp
from ldm_pipelines.upscale import upscale

CAPTION = "a large red circle in the center on a blue background"


@pytest.fixture(scope="module")
def shapes() -> Pipeline:
    return Pipeline.from_pretrained("shapes", scheduler="ddim", num_inference_steps=12)


def circle(colour: str = "red") -> Image.Image:
    scene = Scene("circle", colour, "blue", "large", "in the center")
    return Image.fromarray(paint(scene, 44, 10, 10))


def noise(size: tuple[int, int] = (16, 16), seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(values)


def psnr(first: Any, second: Any) -> float:
    """Peak signal-to-noise ratio in dB, of pixels from 0 to 255."""
    apart = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return 10 * math.log10(255**2 / float((apart**2).mean()))


class TestInpaint:
    @pytest.mark.parametrize("scheduler", ["ddim", "euler_ancestral", "dpmpp_2m"])
    def test_every_pixel_outside_the_mask_is_the_originals(
        self, pipe: Pipeline, scheduler: str
    ) -> None:
        original = noise()
        mask = box_mask(original.size, (3, 5, 10, 11))  # not on the latents' own lines
        made = inpaint(
            pipe.replace(scheduler=scheduler), original, "a red star", mask=mask, seed=[1, 2]
        )
        outside = np.asarray(mask) == 0
        for image in made.images:
            assert (np.asarray(image)[outside] == np.asarray(original)[outside]).all()
            assert (np.asarray(image)[~outside] != np.asarray(original)[~outside]).mean() > 0.9
        assert made.images[0] != made.images[1]

    def test_a_box_is_a_mask(self, pipe: Pipeline) -> None:
        original = noise()
        by_box = inpaint(pipe, original, "a red star", mask_box="4,0,12,16", seed=1)
        mask = box_mask(original.size, (4, 0, 12, 16))
        by_mask = inpaint(pipe, original, "a red star", mask=mask, seed=1)
        assert by_box.images == by_mask.images
        assert (np.asarray(mask) == 255).sum() == 8 * 16

    def test_what_is_not_pasted_is_the_decoders(self, pipe: Pipeline) -> None:
        original = noise()
        plain = inpaint(pipe, original, "a star", mask_box="0,0,8,16", seed=1, paste=False)
        pasted = inpaint(pipe, original, "a star", mask_box="0,0,8,16", seed=1)
        left = (0, 0, 8, 16)
        assert plain.images[0].crop(left) == pasted.images[0].crop(left)
        assert plain.images[0] != pasted.images[0]
        assert "finish" not in plain.manifests[0]
        with pytest.raises(LdmError, match="only PIL images can be pasted"):
            inpaint(pipe, original, "a star", mask_box="0,0,8,16", output_type="pt")

    def test_a_network_for_inpainting_is_told_the_mask(self, tmp_path: Path) -> None:
        folder = tiny.write_stable_diffusion(
            tmp_path / "nine", pipeline="StableDiffusionInpaintPipeline", in_channels=9
        )
        native = Pipeline.from_pretrained(folder, num_inference_steps=3)
        assert [part["name"] for part in native.recipe["conditioning"]] == ["text", "mask"]
        original = noise()
        (made,) = inpaint(native, original, "a star", mask_box=(0, 0, 8, 16), seed=1).images
        assert made.crop((8, 0, 16, 16)) == original.crop((8, 0, 16, 16))
        assert made != original

    def test_the_prompts_colour_is_painted(self, shapes: Pipeline) -> None:
        scene = Scene("circle", "red", "blue", "small", "at the top left")
        original = Image.fromarray(paint(scene, 26, 3, 3))
        asked = Scene("circle", "yellow", "blue", "small", "at the top left")
        made = inpaint(shapes, original, asked.caption, mask_box=(0, 0, 32, 32), seed=[1, 2, 3, 4])
        colours = [read(np.asarray(image)).colour for image in made.images]
        assert colours.count("yellow") >= 3


class TestOutpaint:
    def test_the_original_stands_in_the_larger_picture(self, pipe: Pipeline) -> None:
        original = noise()
        (made,) = outpaint(
            pipe, original, "a red star", left=4, right=12, top=2, bottom=6, seed=1
        ).images
        assert made.size == (32, 24)
        assert made.crop((4, 2, 20, 18)) == original

    def test_the_background_goes_on(self, shapes: Pipeline) -> None:
        inner = circle().crop((8, 8, 56, 56))
        (made,) = outpaint(shapes, inner, CAPTION, left=8, right=8, top=8, bottom=8, seed=3).images
        assert read(np.asarray(made)).agrees(Scene.from_caption(CAPTION))["background"]


class TestInterpolate:
    @pytest.mark.parametrize("scheduler", ["ddim", "euler_ancestral"])
    def test_the_ends_are_the_plain_pictures(self, pipe: Pipeline, scheduler: str) -> None:
        pipe = pipe.replace(scheduler=scheduler)
        frames = interpolate(pipe, "a red star", "a blue circle", seeds=[3, 8], num_images=4)
        assert frames.images[0] == pipe("a red star", seed=3).images[0]
        assert frames.images[-1] == pipe("a blue circle", seed=8).images[0]
        assert len({image.tobytes() for image in frames.images}) == 4

    def test_batches_change_nothing(self, pipe: Pipeline) -> None:
        whole = interpolate(pipe, "a red star", seeds=[3, 8, 5], num_images=3)
        batches = list(
            interpolate.batches(pipe, "a red star", seeds=[3, 8, 5], num_images=3, batch_size=2)
        )
        assert [len(batch.images) for batch in batches] == [2, 2, 1]
        assert max(map(_apart, whole.images, Output.join(batches).images)) <= 1

    def test_between_images_the_ends_are_what_the_autoencoder_has(self, pipe: Pipeline) -> None:
        stops = [noise(seed=1), noise(seed=2)]
        frames = interpolate(pipe, images=stops, num_images=3, seed=4)
        for frame, stop in ((frames.images[0], stops[0]), (frames.images[-1], stops[1])):
            shown = blend(pipe, stop, stop, weight=0, seed=4).images[0]
            assert _apart(frame, shown) <= 1

    def test_a_guidance_with_prompts_of_its_own_is_asked_at_every_frame(
        self, pipe: Pipeline
    ) -> None:
        led = pipe.replace(guidance={"name": "composable", "prompts": ["red", "blue:-0.5"]})
        frames = interpolate(led, "a red star", "a blue circle", num_images=3, seed=3)
        assert frames.images[0] == led("a red star", seed=3).images[0]
        assert frames.images[-1] == led("a blue circle", seed=3).images[0]

    def test_a_frame_half_way_is_no_fade(self, shapes: Pipeline) -> None:
        """Noise along an arc keeps its length, so the model draws as sharply as at the ends."""
        frames = interpolate(shapes, CAPTION, seeds=[1, 2], num_images=3)
        reading = read(np.asarray(frames.images[1]))
        assert (reading.colour, reading.background) == ("red", "blue")


def _apart(first: Image.Image, second: Image.Image) -> int:
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


class TestSlerp:
    def test_it_is_the_arc_of_a_circle(self) -> None:
        ends = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        third = slerp(*ends, [1 / 3])
        assert torch.allclose(third, torch.tensor([[math.cos(math.pi / 6), 0.5]]))

    def test_each_image_has_its_own_weight_and_the_ends_are_exact(self) -> None:
        first, second = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
        made = slerp(first, second, [0.0, 0.5, 1.0])
        assert made[0].equal(first[0])
        assert made[2].equal(second[2])
        length = float(made[1].norm() / first[1].norm())
        assert length == pytest.approx(1, abs=0.15)
        assert float((first[1] + second[1]).norm() / 2 / first[1].norm()) < 0.85

    def test_what_is_parallel_goes_straight(self) -> None:
        x = torch.randn(1, 8)
        assert torch.allclose(slerp(x, 3 * x, [0.5]), 2 * x)
        assert slerp(torch.zeros(1, 8), torch.zeros(1, 8), [0.5]).equal(torch.zeros(1, 8))


class TestBlend:
    def test_the_ends_are_the_decoded_pictures(self, pipe: Pipeline) -> None:
        pictures = noise(seed=1), noise(seed=2)
        for weight, picture in zip((0, 1), pictures, strict=True):
            decoded = pipe.decode(pipe.encode(picture, seed=5))
            shown = (decoded[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).numpy()
            made = blend(pipe, *pictures, weight=weight, seed=5).images[0]
            assert (np.asarray(made) == (shown * 255).round()).all()

    def test_a_mask_takes_each_from_its_side(self, shapes: Pipeline) -> None:
        first, second = circle("red"), circle("yellow")
        mask = box_mask((SIDE, SIDE), (SIDE // 2, 0, SIDE, SIDE))
        made = blend(shapes, first, second, mask=mask).images[0]
        assert psnr(made.crop((0, 0, 24, SIDE)), first.crop((0, 0, 24, SIDE))) > 20
        assert psnr(made.crop((40, 0, SIDE, SIDE)), second.crop((40, 0, SIDE, SIDE))) > 20

    def test_a_strength_makes_the_mixture_anew(self, shapes: Pipeline) -> None:
        made = blend(
            shapes, circle("red"), circle("yellow"), CAPTION, weight=0.5, strength=0.8, seed=[1, 2]
        )
        readings = [read(np.asarray(image)) for image in made.images]
        assert [(r.colour, r.background) for r in readings] == [("red", "blue")] * 2


class TestInvert:
    def test_a_picture_is_made_again_from_its_noise(self, shapes: Pipeline) -> None:
        fifty = shapes.replace(num_inference_steps=50)
        (again,) = invert(fifty, circle(), CAPTION, iterations=1).images
        assert psnr(again, circle()) >= 25

    def test_another_prompt_changes_what_it_names_and_keeps_the_rest(
        self, shapes: Pipeline
    ) -> None:
        other = CAPTION.replace("red", "yellow")
        again, edited = invert(shapes, circle(), CAPTION, edit=other).images
        assert read(np.asarray(again)).agrees(Scene.from_caption(CAPTION))["colour"]
        assert all(read(np.asarray(edited)).agrees(Scene.from_caption(other)).values())

    @pytest.mark.parametrize("family", ["epsilon", "v_prediction"])
    def test_more_iterations_come_nearer_to_the_exact_inverse(
        self, pipe: Pipeline, family: str
    ) -> None:
        """A smooth denoiser stands for the network; DDIM's step is then undone as exactly as the
        fixed point is found."""
        from ldm_plugins.schedulers.ddim import ddim

        grid = pipe.composition.grid(10)[2:]

        def denoise(x: Any, point: Any) -> Any:
            return torch.tanh(0.5 * point.alpha * x)

        def nothing() -> Any:
            raise AssertionError("DDIM with eta = 0 draws no noise")

        start = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).double()
        end = ddim(start, grid, denoise, nothing)
        errors = [
            float((ddim_inverse(end, grid, denoise, nothing, iterations=n) - start).norm())
            for n in (1, 4, 16)
        ]
        assert errors[0] > 4 * errors[1] > 16 * errors[2]

    def test_a_lesser_strength_walks_less_of_the_way(self, pipe: Pipeline) -> None:
        calls: list[int] = []

        def counted(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
            calls.append(len(grid) - 1)
            return x

        invert(pipe.replace(scheduler=counted), noise(), "a star", strength=0.5)
        assert calls == [2]


class TestRestore:
    @pytest.mark.parametrize("level", [5.0, 15.0, 40.0])
    def test_noise_is_estimated_from_the_picture_alone(self, level: float) -> None:
        rng = np.random.default_rng(1)
        clean = np.full((128, 128, 3), 128.0)
        clean[32:96, 32:96] = (200, 60, 90)
        damaged = np.clip(clean + rng.normal(0, level, clean.shape), 0, 255)
        found = estimate_noise(Image.fromarray(damaged.round().astype(np.uint8)))
        assert found == pytest.approx(level, rel=0.1)

    def test_a_clean_picture_is_left_as_it_is(self, shapes: Pipeline) -> None:
        assert estimate_noise(circle()) == 0
        (made,) = restore(shapes, circle(), CAPTION, seed=1).images
        (same,) = blend(shapes, circle(), circle(), weight=0, seed=1).images
        assert made == same

    def test_a_damaged_picture_comes_nearer_to_what_it_was(self, shapes: Pipeline) -> None:
        rng = np.random.default_rng(1)
        clean = np.asarray(circle(), np.float64)
        values = np.clip(clean + rng.normal(0, 80, clean.shape), 0, 255).round()
        damaged = Image.fromarray(values.astype(np.uint8))
        (made,) = restore(shapes, damaged, CAPTION, seed=1).images
        (encoded,) = blend(shapes, damaged, damaged, weight=0, seed=1).images
        assert psnr(made, clean) > psnr(damaged, clean) + 10
        assert psnr(made, clean) > psnr(encoded, clean)  # the autoencoder alone takes some away


class TestUpscale:
    @pytest.mark.parametrize("by", ["latents", "pixels"])
    def test_it_is_larger_and_shows_the_same(self, shapes: Pipeline, by: Any) -> None:
        call: dict[str, Any] = {"strength": 0.1, "seed": 1, "num_inference_steps": 25}
        (made,) = upscale(shapes, circle(), CAPTION, by=by, **call).images
        assert made.size == (2 * SIDE, 2 * SIDE)
        small = made.resize((SIDE, SIDE), Image.Resampling.BOX)
        assert psnr(small, circle()) > 15  # the model never saw pictures of this size
        assert read(np.asarray(small)).colour == "red"

    def test_the_size_is_one_that_the_model_takes(self, pipe: Pipeline) -> None:
        (made,) = upscale(pipe, noise((16, 24)), "a star", factor=1.3, seed=1).images
        unit = pipe.model.info.latents.axis("width").stride
        assert all(side % unit == 0 for side in made.size)
        assert abs(made.width - 1.3 * 16) <= unit


def test_a_strength_says_how_much_of_the_picture_is_left(shapes: Pipeline) -> None:
    other = CAPTION.replace("red", "yellow")
    (same,) = image_to_image(shapes, circle(), other, strength=0.0, seed=2).images
    assert psnr(same, circle()) > 30
    (new,) = image_to_image(shapes, circle(), other, strength=0.9, seed=2).images
    assert all(read(np.asarray(new)).agrees(Scene.from_caption(other)).values())


def test_a_file_and_the_picture_in_it_give_the_same(pipe: Pipeline, tmp_path: Path) -> None:
    noise().save(tmp_path / "x.png")
    by_file = image_to_image(pipe, tmp_path / "x.png", "a star", seed=1)
    by_image = image_to_image(pipe, noise(), "a star", seed=1)
    assert by_file.images == by_image.images
    assert by_file.manifests[0]["inputs"]["image"] == str(tmp_path / "x.png")


def test_a_picture_may_be_a_part_of_the_way_already(pipe: Pipeline) -> None:
    steps = {"num_inference_steps": 4, "seed": 1}
    begun = image_to_image(pipe, noise(), "a star", denoising_start=0.5, **steps)
    image = pipe.replace(conditioning=["text", "image"])
    call = {"image": noise(), "denoising_start": 0.5, **steps}
    assert begun.images == image("a star", width=16, height=16, **call).images
    assert begun.images != image_to_image(pipe, noise(), "a star", strength=0.5, **steps).images
