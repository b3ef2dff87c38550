"""How well the autoencoder of a model folder reconstructs freshly drawn pictures.

    python benchmarks/reconstruction.py [--model FOLDER] [--pictures 1000] [--json FILE]

The weights are read as stored (float16) and used in float32; the latent is the posterior's mode.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import describe

DEFAULT = Path(__file__).parent.parent / "pipelines/ldm_pipelines/models/shapes"


@torch.no_grad()
def psnr_of_fresh_pictures(vae_folder: Path, pictures: int, seed: int) -> np.ndarray[Any, Any]:
    """Peak signal-to-noise ratio in dB of each reconstruction, clipped to [-1, 1]; (pictures,)."""
    from diffusers import AutoencoderKL

    from ldm_pipelines.shapes.world import draw_picture, draw_scene

    autoencoder = AutoencoderKL.from_pretrained(vae_folder, torch_dtype=torch.float32).eval()
    rng = np.random.default_rng(seed)
    found = []
    for start in range(0, pictures, 64):
        count = min(64, pictures - start)
        drawn = np.stack(
            [draw_picture(draw_scene(rng, held_out=i % 2 == 0), rng) for i in range(count)]
        )
        x = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
        y = autoencoder.decode(autoencoder.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        error = ((x - y) / 2).square().mean((1, 2, 3))
        found.append((-10 * error.log10()).numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=DEFAULT)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    psnr = psnr_of_fresh_pictures(args.model / "vae", args.pictures, args.seed)
    machine = describe("torch", "diffusers")
    print(machine)
    figures = {
        "pictures": len(psnr),
        "psnr_mean_db": float(psnr.mean()),
        "psnr_worst_db": float(psnr.min()),
        "psnr_1st_percentile_db": float(np.percentile(psnr, 1)),
    }
    for name, value in figures.items():
        print(f"{name:24} {value:10.2f}")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
