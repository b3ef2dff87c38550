"""Every converter on a model of Stable Diffusion 1.5's size in bfloat16: peak memory on the device
from reading the folder to a decoded picture of 512x512, seconds to read and of a run of four steps,
and how far the picture is from the one without; against what Diffusers has of the same.

Weights are random and lie in a folder of safetensors files that is written first. Each case reads
it anew. The last one takes memory away in the middle, and sees the batch halved.
"""

from __future__ import annotations

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.plugins.registry import installed
from on_gpu.bench import Bench, Figures, apart, noise

STEPS, SEED, SCALE = 4, 3, 7.5
PROMPT = "a large red star on the blue background"
UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
HELD = 16
"""Images of the batch that is to be halved."""
FORMATS = ("int8", "int8_dynamic", "fp8", "fp8_dynamic", "int4")
"""Of torchao."""
BESIDE = {
    "lora": "see the stage `choices`",
    "context_parallel": "it needs two processes, each with a GPU",
    "openvino": "it computes on a processor; see docs/reference/speed.md",
}
"""Converters that are not measured here, and why."""


@dataclass(frozen=True)
class Case:
    """
    Attributes:
        options: of the converter.
        theirs: what does the same to a pipeline of Diffusers that is on the CPU; None where
            Diffusers has no such thing.
        compute_dtype: in which is computed with weights that are kept in bfloat16.
    """

    options: Mapping[str, Any]
    theirs: Callable[[Any, Bench, Path], Any] | None = None
    compute_dtype: str = "bfloat16"


def to_device(pipe: Any, bench: Bench, place: Path) -> None:
    pipe.to(bench.device)


def offloaded(name: str) -> Callable[[Any, Bench, Path], None]:
    def offload(pipe: Any, bench: Bench, place: Path) -> None:
        getattr(pipe, name)(device=bench.device)

    return offload


def grouped(to_disk: bool) -> Callable[[Any, Bench, Path], None]:
    def offload(pipe: Any, bench: Bench, place: Path) -> None:
        more: dict[str, Any] = {"offload_to_disk_path": str(place)} if to_disk else {}
        pipe.enable_group_offload(
            onload_device=torch.device(bench.device),
            offload_type="leaf_level",
            use_stream=bench.cuda,
            **more,
        )

    return offload


def decoding(method: str) -> Callable[[Any, Bench, Path], None]:
    def change(pipe: Any, bench: Bench, place: Path) -> None:
        getattr(pipe.to(bench.device).vae, method)()

    return change


def cases(bench: Bench, place: Path) -> dict[str, tuple[str, Case]]:
    """By what a row is called: a converter, and how it is asked. One that has no case here is asked
    with its name alone."""
    tile = 8 if bench.quick else 256
    second = "cuda:1" if torch.cuda.device_count() > 1 else bench.device
    several: dict[str, list[tuple[str, Case]]] = {
        "whole": [("", Case({}, to_device))],
        "model_offload": [("", Case({}, offloaded("enable_model_cpu_offload")))],
        "sequential_offload": [("", Case({}, offloaded("enable_sequential_cpu_offload")))],
        "group_offload": [
            ("to memory", Case({"to": "memory"}, grouped(False))),
            ("to disk", Case({"to": "disk", "folder": str(place)}, grouped(True))),
        ],
        "quantize": [(f, Case({"format": f})) for f in FORMATS],
        "vae_tiling": [("", Case({"size": tile}, decoding("enable_tiling")))],
        "vae_slicing": [("", Case({}, decoding("enable_slicing")))],
        "autoencoder": [("the model's own", Case({"path": str(place / "model" / "vae")}))],
        "tiny_decoder": [("", Case({"path": str(place / "taesd")}))],
        "stored_weights": [("", Case({}, None, "float32"))],
        "cfg_parallel": [("", Case({"devices": [bench.device, second]}))],
    }
    return {
        " ".join(filter(None, (plugin.name, more))): (plugin.name, case)
        for plugin in installed().of_kind("converter")
        for more, case in several.get(plugin.name, [("", Case({}))])
    }


def write(bench: Bench, place: Path) -> Path:
    """The folder; its text encoder is the tests' tiny one."""
    sizes: dict[str, Any] = {} if bench.quick else UNET
    folder = tiny.write_stable_diffusion(place / "model", **sizes)
    taesd: dict[str, Any] = {"latent_channels": 4}
    if bench.quick:
        taesd |= {
            "encoder_block_out_channels": (8, 8),
            "decoder_block_out_channels": (8, 8),
            "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (1, 1),
        }
    else:
        torch.manual_seed(1)
        diffusers.AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    torch.manual_seed(2)
    diffusers.AutoencoderTiny(**taesd).save_pretrained(place / "taesd")
    return folder


class Converters:
    """Cases on one folder, each against the picture without."""

    def __init__(self, bench: Bench, place: Path) -> None:
        self._bench, self._place = bench, place
        self._folder = write(bench, place)
        self._plain: Any = None

    def ours(
        self, converters: list[Any], compute_dtype: str = "bfloat16"
    ) -> tuple[Any, dict[str, Any]]:
        """The picture, and what it took; `LdmError` where these converters refuse."""
        half = {"dtype": "bfloat16", "compute_dtype": compute_dtype}

        def read() -> Pipeline:
            return Pipeline.from_pretrained(
                self._folder, device=self._bench.device, converters=converters, **half
            )

        def draw(pipe: Pipeline) -> Any:
            call: dict[str, Any] = {"seed": SEED, "num_inference_steps": STEPS}
            return pipe(PROMPT, guidance_scale=SCALE, output_type="np", **call).images

        return self._measured(read, draw)

    def theirs(self, change: Callable[[Any, Bench, Path], Any]) -> dict[str, Any]:
        def read() -> Any:
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                self._folder, torch_dtype=torch.bfloat16
            )
            pipe.set_progress_bar_config(disable=True)
            change(pipe, self._bench, self._place)
            return pipe

        def draw(pipe: Any) -> Any:
            config = pipe.unet.config
            shape = (config.in_channels, config.sample_size, config.sample_size)
            x = noise(range(SEED, SEED + 1), shape, self._bench.device, torch.bfloat16)
            call: dict[str, Any] = {"latents": x, "num_inference_steps": STEPS}
            return pipe(PROMPT, guidance_scale=SCALE, output_type="np", **call).images

        try:
            _, figures = self._measured(read, draw)
        except Exception as error:  # some of theirs need a GPU, and ours is measured all the same
            reason = " ".join(str(error).split())[:200]
            return {"diffusers_failed": f"{type(error).__name__}: {reason}"}
        return {f"diffusers_{name}": value for name, value in figures.items()}

    def _measured(
        self, read: Callable[[], Any], draw: Callable[[Any], Any]
    ) -> tuple[Any, dict[str, Any]]:
        bench, figures = self._bench, dict[str, Any]()
        self._free()

        def both() -> Any:
            began = time.perf_counter()
            pipe = read()
            bench.wait()
            figures["read_s"] = time.perf_counter() - began
            picture = draw(pipe)
            figures["run_s"] = bench.seconds(lambda: draw(pipe))
            return picture

        picture, peak = bench.peak(both)
        self._free()
        return picture, figures | ({} if peak is None else {"peak_mib": peak})

    def _free(self) -> None:
        gc.collect()
        if self._bench.cuda:
            torch.cuda.empty_cache()

    def plain(self) -> Figures:
        self._plain, figures = self.ours([])
        return figures | self.theirs(to_device)

    def case(self, name: str, case: Case) -> Figures:
        try:
            picture, figures = self.ours([{"name": name, **case.options}], case.compute_dtype)
        except LdmError as refusal:
            return {"refused": " ".join(str(refusal).split())[:300]}
        if self._plain is None:
            self.plain()
        figures["from_without"] = apart(picture, self._plain)
        return figures | ({} if case.theirs is None else self.theirs(case.theirs))

    def halved(self) -> Figures:
        """A limit of memory that a batch of so many images does not fit into."""
        if not self._bench.cuda:
            return {"not_measured": "the memory of a CPU is not limited so"}
        pipe = Pipeline.from_pretrained(
            self._folder, device=self._bench.device, dtype="bfloat16", compute_dtype="bfloat16"
        )
        call: dict[str, Any] = {"seed": SEED, "num_inference_steps": STEPS, "output_type": "np"}
        expected, needs = self._bench.peak(lambda: pipe(PROMPT, num_images_per_prompt=HELD, **call))
        self._free()
        total = torch.cuda.get_device_properties(0).total_memory
        limit = torch.cuda.memory_allocated() + (needs or 0.0) * 2**20 * 0.4
        torch.cuda.set_per_process_memory_fraction(limit / total)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found, peak = self._bench.peak(
                    lambda: pipe(PROMPT, num_images_per_prompt=HELD, **call)
                )
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        said = [str(one.message) for one in caught if "memory does not" in str(one.message)]
        moved = apart(found.images, expected.images)
        return {"needs_mib": needs, "took_mib": peak, "moved": moved, "said": said}


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        several = Converters(bench, place)
        bench.measure("none", several.plain)
        for name, (plugin, case) in cases(bench, place).items():
            if plugin in BESIDE:
                bench.row(name, not_measured=BESIDE[plugin])
                continue
            bench.measure(name, lambda p=plugin, c=case: several.case(p, c))
        bench.measure("out of memory", several.halved)
