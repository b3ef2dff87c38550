"""A model of Stable Diffusion 1.5's size: memory and time of loading and two steps at 512 px.

Writes a folder with random weights in float32 (4 GB, 1.07 billion of them), unless it is there,
and runs each way in a process of its own, in turns: our pipeline as it is, compiled by OpenVINO in
float32 (whose graphs and programs are kept by a first run that is not counted), with its weights
waiting in files, and Diffusers' on the same folder. Peaks are sampled from Linux' /proc: all that
is resident, and what of it is no file's (``RssAnon``), which is what other programs lack. Medians
of the rounds. Exits 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import describe

STEPS, SIDE, SEED, PROMPT = 2, 512, 7, "a red star on a blue background"
AIMS = {"peak": 1.05, "processor": 1.0, "anonymous": 2.5}
"""Of Diffusers' peak and processor time, at most; GiB with weights in files, at most."""
ENDS = ("<|startoftext|>", "<|endoftext|>")
CHOICES: dict[str, list[Any]] = {
    "ours": [],
    "openvino": ["openvino"],
    "disk": [{"name": "group_offload", "to": "disk"}],
}
WAYS = ("diffusers", *CHOICES)


def write(folder: Path) -> None:
    """Stable Diffusion 1.5's components by their published configs, with random weights."""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [c + end for c in "abcdefghijklmnopqrstuvwxyz" for end in ("", "</w>")]
    tokens = [*letters, *(f"w{n}" for n in range(49406 - len(letters))), *ENDS]
    with tempfile.TemporaryDirectory() as home:
        vocabulary, merges = Path(home, "vocab.json"), Path(home, "merges.txt")
        vocabulary.write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
        merges.write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(
            vocab=str(vocabulary), merges=str(merges), model_max_length=77, pad_token=ENDS[1]
        )
    blocks = (320, 640, 1280, 1280)
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=blocks, cross_attention_dim=768, attention_head_dim=8
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=77,
        )
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def run(way: str, folder: Path, out: Path) -> None:
    """Load, two steps and the picture, into a file, in this process."""
    import numpy as np

    began = time.perf_counter()
    if way == "diffusers":
        import torch
        from diffusers import StableDiffusionPipeline

        pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        loaded = time.perf_counter()
        images = pipe(
            PROMPT,
            num_inference_steps=STEPS,
            height=SIDE,
            width=SIDE,
            generator=torch.Generator().manual_seed(SEED),
            output_type="np",
        ).images
    else:
        from ldm_core import Pipeline

        mine = Pipeline.from_pretrained(folder, device="cpu", converters=CHOICES[way])
        loaded = time.perf_counter()
        images = mine(
            PROMPT, seed=SEED, num_inference_steps=STEPS, height=SIDE, width=SIDE, output_type="np"
        ).images
    np.save(out, np.asarray(images))
    ended = time.perf_counter()
    seconds = {"load": loaded - began, "time": ended - began, "processor": time.process_time()}
    print(json.dumps(seconds))


def measured(way: str, folder: Path, out: Path) -> dict[str, float]:
    """Seconds, and the peaks in GiB, of a process that runs one way.

    Raises:
        RuntimeError: it fails.
    """
    command = [sys.executable, __file__, "--folder", str(folder), "--way", way, "--out", str(out)]
    peaks = {"VmHWM": 0, "RssAnon": 0}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        while process.poll() is None:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in peaks:
                    peaks[name] = max(peaks[name], int(rest.split()[0]))
            time.sleep(0.02)
        assert process.stdout is not None
        said = process.stdout.read()
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(errors.read()[-2000:])
    figures = json.loads(said.splitlines()[-1])
    peak, anonymous = (peaks[name] / 2**20 for name in ("VmHWM", "RssAnon"))
    return {**figures, "peak": peak, "anonymous": anonymous}


def main() -> None:
    import numpy as np

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    options.add_argument("--json", type=Path, help="write the figures there too")
    options.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.way:
        run(chosen.way, chosen.folder, chosen.out)
        return
    if not (chosen.folder / "model_index.json").is_file():
        write(chosen.folder)
    machine = describe("ldm-core", "diffusers", "torch", "openvino")
    print(machine, flush=True)
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in chosen.ways}
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CACHE_HOME"] = home
        files = {way: Path(home, f"{way}.npy") for way in chosen.ways}
        if "openvino" in chosen.ways:
            measured("openvino", chosen.folder, files["openvino"])
        for _ in range(chosen.rounds):
            for way, file in files.items():
                rows[way].append(measured(way, chosen.folder, file))
                print(way, json.dumps(rows[way][-1]), flush=True)
        pictures = {way: np.load(file) for way, file in files.items()}
    report: dict[str, Any] = {"machine": machine, "rounds": chosen.rounds, "ways": {}}
    report["threads"] = os.environ.get("OMP_NUM_THREADS", os.cpu_count())
    for way, own in rows.items():
        report["ways"][way] = {k: statistics.median(row[k] for row in own) for k in own[0]}
        for peer in ("ours", "diffusers"):
            if peer in pictures:
                far = float(np.abs(pictures[way] - pictures[peer]).max())
                report["ways"][way][f"apart from {peer}"] = far
    report["missed"] = missed(report["ways"])
    for way, row in report["ways"].items():
        print(way, ", ".join(f"{name} {figure:.3g}" for name, figure in row.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    if report["missed"]:
        sys.exit(f"missed: {', '.join(report['missed'])}")


def missed(ways: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The aims that are missed, of the ways that were run."""
    found = {}
    if "disk" in ways:
        found["anonymous"] = ways["disk"]["anonymous"]
    if {"ours", "diffusers"} <= ways.keys():
        found |= {key: ways["ours"][key] / ways["diffusers"][key] for key in ("peak", "processor")}
    lines = [f"{k} {v:.2f}, above {AIMS[k]}" for k, v in found.items() if v > AIMS[k]]
    if ways.get("disk", {}).get("apart from ours", 0.0) >= 1e-5:
        lines.append("the same picture with weights in files")
    return lines


if __name__ == "__main__":
    main()
