"""How far pictures decoded in tiles lie from those decoded whole, at the borders of tiles."""

from __future__ import annotations

import pytest
import torch

from ldm_core import Pipeline

SIDE = 32


@pytest.mark.slow
@pytest.mark.parametrize(("options", "size"), [({}, 512), ({"size": 768}, 768)])
def test_seams_of_the_default_model_are_below_one_level_in_the_mean(
    options: dict[str, int], size: int
) -> None:
    """A sheet of 32 x 32 pictures, 2048 pixels a side, in tiles that have a quarter in common with
    the next: those that the converter takes by itself, 0.52 of 255 levels, and those that it takes
    of SDXL's autoencoder."""
    pipe = Pipeline.from_pretrained("shapes", device="cpu", num_inference_steps=6)
    shapes = ("circle", "square", "triangle", "star")
    prompts = [
        f"a large {colour} {shape} on a {background} background"
        for colour, background in (("red", "white"), ("blue", "black"))
        for shape in shapes
    ]
    latents = pipe(prompts, seed=3, output_type="latent").images
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, len(prompts), (SIDE, SIDE), generator=generator)
    sheet = torch.cat([torch.cat([*latents[row]], -1) for row in places], -2)[None]
    tiling = pipe.replace(converters=[{"name": "vae_tiling", **options}])
    whole, tiled = (p.decode(sheet) for p in (pipe, tiling))
    levels = (tiled - whole).abs() / 2 * 255
    step = size * 3 // 4
    borders = [
        part.mean()
        for edge in range(step, whole.shape[-1], step)
        for part in (levels[..., edge - 1 : edge + 1], levels[..., edge - 1 : edge + 1, :])
    ]
    assert len(borders) == 2 * len(range(step, 2048, step))
    mean = float(torch.stack(borders).mean())
    print(f"{mean:.2f} levels")
    assert 0 < mean < 1
