"""Weights quantised while they are read: what they hold, what reading them takes, what is drawn.

The network has the configuration of Stable Diffusion 1.5 (860 million weights) with random numbers,
written once as a folder in float32; its tokenizer is that of `shapes`. Each way to read it runs in
a process of its own: bytes of the network's and the text encoder's weights, the most memory beyond
the file cache while reading (RssAnon of Linux' /proc, every 5 ms), seconds, and the picture of two
steps. The peer is the same folder in float32; pictures are compared by PSNR. What a trained model's
pictures lose is shown by `shapes`, 25 steps each.

    python benchmarks/quantised_weights.py [FOLDER] [--size 512] [--formats int8 int8_dynamic]
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from machine import describe

PROMPTS = [
    "a large red circle on a blue background",
    "a small green star on a yellow background",
    "a large blue square on a red background",
    "a small yellow triangle on a green background",
]
AIM = 0.35
PLAIN = "float32"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, help="kept; a temporary one else")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--formats", nargs="+", default=["int8"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--picture", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.folder, chosen.one, chosen)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = chosen.folder or Path(place) / "model"
        if not (folder / "model_index.json").is_file():
            write(folder)
        compare(folder, Path(place), chosen)


def compare(folder: Path, place: Path, chosen: Any) -> None:
    """Run each way to read a folder in its own process, and print what it takes."""
    import torch

    print(describe("ldm-core", "diffusers", "torch", "torchao"))
    results, pictures = {}, {}
    for form in (PLAIN, *chosen.formats):
        picture = place / f"{form}.pt.safetensors"
        command = [sys.executable, __file__, str(folder), "--one", form, "--picture", str(picture)]
        command += ["--size", str(chosen.size), "--steps", str(chosen.steps)]
        results[form] = json.loads(subprocess.check_output(command).splitlines()[-1])
        pictures[form] = read(picture)
    plain = results[PLAIN]
    worst = 0.0
    for form, result in results.items():
        shares = {part: held / plain["held"][part] for part, held in result["held"].items()}
        text = ", ".join(
            f"{part} {result['held'][part] / 2**20:.0f} MiB ({share:.3f})"
            for part, share in shares.items()
        )
        quality = "" if form == PLAIN else f", PSNR {psnr(pictures[form], pictures[PLAIN]):.1f} dB"
        print(
            f"{form}: {text}; reading {result['reading']:.1f} s, at most "
            f"{result['anonymous'] / 2**20:.0f} MiB beyond the file cache; {chosen.steps} steps at "
            f"{chosen.size} pixels {result['drawing']:.1f} s{quality}"
        )
        if form.startswith("int8"):
            worst = max(worst, shares["unet"])
    for form in chosen.formats:
        print(f"shapes, {form}: {shapes(form)}")
    assert torch.isfinite(pictures[PLAIN]).all()
    print(f"the largest share of the network's weights in int8: {worst:.3f}, aim at most {AIM}")
    sys.exit(worst > AIM)


def measure(folder: Path, form: str, chosen: Any) -> dict[str, Any]:
    """What one way to read the folder takes, in this process."""
    import torch
    from safetensors.torch import save_file

    from ldm_core import Pipeline

    began = time.perf_counter()
    with Watch() as watch:
        pipe = Pipeline.from_pretrained(folder, converters=converters(form), device="cpu")
    read_in = time.perf_counter() - began
    began = time.perf_counter()
    sides = {"width": chosen.size, "height": chosen.size}
    out = pipe(PROMPTS[0], seed=0, num_inference_steps=chosen.steps, output_type="pt", **sides)
    save_file({"picture": torch.as_tensor(out.images)}, chosen.picture)
    return {
        "held": {name: held(pipe.model.parts[name].module) for name in ("unet", "text_encoder")},
        "reading": read_in,
        "anonymous": watch.most - watch.before,
        "drawing": time.perf_counter() - began,
    }


def converters(form: str) -> list[Any]:
    return [] if form == PLAIN else [{"name": "quantize", "format": form}]


def held(module: Any) -> int:
    """Bytes of a module's weights, with their scales where they are quantised."""
    from ldm_core.model.loading import unpacked

    weights = {weight: name for name, weight in module.named_parameters()}
    plain = [part for w, name in weights.items() for part in unpacked(name, w).values()]
    return sum(part.numel() * part.itemsize for part in plain)


class Watch:
    """The most memory of this process beyond files, in a block of code."""

    def __enter__(self) -> Watch:
        self.before = self.most = anonymous()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self.most = max(self.most, anonymous())


def anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system tells no RssAnon")


def read(picture: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(picture)["picture"]


def psnr(one: Any, other: Any) -> float:
    """Of pictures between 0 and 1, in decibels."""
    error = float((one - other).double().square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def shapes(form: str) -> str:
    """PSNR of pictures of a trained model, the least and the mean over prompts."""
    from ldm_core import Pipeline

    images = [
        Pipeline.from_pretrained("shapes", converters=converters(each), device="cpu")(
            PROMPTS, seed=0, num_inference_steps=25, output_type="pt"
        ).images
        for each in (PLAIN, form)
    ]
    values = [psnr(a, b) for a, b in zip(*images, strict=True)]
    return f"PSNR {sum(values) / len(values):.1f} dB in the mean, {min(values):.1f} at least"


def write(folder: Path) -> None:
    """A folder of Stable Diffusion 1.5's configuration with random weights in float32."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from ldm_core.plugins.registry import installed

    torch.manual_seed(0)
    shipped = next(model for model in installed().models if model.name == "shapes")
    shutil.copytree(shipped.folder / "tokenizer", folder / "tokenizer")
    UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    ).save_pretrained(folder / "vae")
    CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
    ).save_pretrained(folder / "text_encoder")
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    classes = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    index = {"_class_name": "StableDiffusionPipeline", **classes}
    (folder / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
