"""How far pictures decoded in tiles lie from those decoded whole, at the borders of tiles."""

from __future__ import annotations

import pytest
import torch

from ldm_core import Pipeline

SIDE = 32


@pytest.mark.slow
def test_seams_of_the_default_model_are_below_one_level_in_the_mean() -> None:
    """A sheet of 32 x 32 pictures, 2048 pixels a side, in tiles that have a quarter in common with
    the next: those that the converter takes by itself, 0.52 of 255 levels, and those that it takes
    of SDXL's autoencoder, 0.35."""
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
    whole = pipe.decode(sheet)
    for options, size in (({}, 512), ({"size": 768}, 768)):
        tiled = pipe.replace(converters=[{"name": "vae_tiling", **options}]).decode(sheet)
        levels = (tiled - whole).abs() / 2 * 255
        edges = range(size * 3 // 4, whole.shape[-1], size * 3 // 4)
        borders = [
            part.mean()
            for edge in edges
            for part in (levels[..., edge - 1 : edge + 1], levels[..., edge - 1 : edge + 1, :])
        ]
        assert len(borders) == 2 * len(edges) >= 6
        mean = float(torch.stack(borders).mean())
        print(f"{mean:.2f} levels in tiles of {size}")
        assert 0 < mean < 1
