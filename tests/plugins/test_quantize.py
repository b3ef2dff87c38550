"""Weights quantised while they are read, against rounding by hand and Diffusers' own pipelines."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import PartInfo, PlaceNames
from ldm_core.errors import LdmWarning
from ldm_core.media.manifest import recipe_of
from ldm_core.model import place as placement
from ldm_core.model.loading import unpacked
from ldm_core.plugins.registry import installed
from ldm_core.run.memory.plan import Planner
from ldm_core.run.outcome import likely_cause
from ldm_plugins.converters import quantize as converter
from ldm_plugins.converters.shared import weight_formats
from ldm_plugins.families.shared import diffusers_folder
from peers import apart
from tiny.lora import ATTENTION, write_lora
from tiny.single_file import write_single_file

pytest.importorskip("torchao")
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

from tiny.covering import one_of_each, some_of

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 3, "output_type": "latent"}
TEXT = {"prompt": "a red star"}


def quantize(format: str = "int8", **options: Any) -> list[dict[str, Any]]:
    return [{"name": "quantize", "format": format, **options}]


def layers(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


def packed(module: nn.Module) -> list[bool]:
    return [type(part.weight) not in (Tensor, nn.Parameter) for part in layers(module)]


def held(module: nn.Module) -> int:
    weights = dict(module.named_parameters())
    plain = [part for name, w in weights.items() for part in unpacked(name, w).values()]
    return sum(part.numel() * part.itemsize for part in plain)


def rounded_by_hand(weight: Tensor) -> Tensor:
    """A weight in 255 steps: a scale for each row, and for each place of a convolution's kernel."""
    largest = weight.abs().amax(dim=1, keepdim=True)
    scale = (largest / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    # the largest lies between two steps, so how a quotient is rounded decides for one of them
    return (weight * (1 / scale)).round().clamp(-128, 127) * scale


def test_it_draws_what_weights_rounded_by_hand_draw(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    for part, cls in (
        ("unet", diffusers.UNet2DConditionModel),
        ("text_encoder", transformers.CLIPTextModel),
    ):
        module = cls.from_pretrained(folder / part)
        for layer in layers(module):
            layer.weight.data = rounded_by_hand(layer.weight.data)
        module.save_pretrained(copy / part)
    quantised = Pipeline.from_pretrained(folder, converters=quantize())
    found = quantised(**TEXT, **CALL).images
    assert apart(found, Pipeline.from_pretrained(copy)(**TEXT, **CALL).images) < 1e-5
    plain = Pipeline.from_pretrained(folder)
    assert 1e-4 < apart(found, plain(**TEXT, **CALL).images) < 0.05
    assert held(quantised.model.parts["unet"].module) < 0.4 * held(plain.model.parts["unet"].module)


@pytest.mark.parametrize(
    ("format", "config"), [("int8", Int8WeightOnlyConfig), ("fp8", Float8WeightOnlyConfig)]
)
def test_it_draws_what_diffusers_draws_with_the_same_config(
    tmp_path: Path, format: str, config: Any
) -> None:
    folder = tiny.write_flux(tmp_path / "model")
    ours = Pipeline.from_pretrained(folder, converters=quantize(format))
    transformer = diffusers.FluxTransformer2DModel.from_pretrained(
        folder / "transformer",
        quantization_config=diffusers.TorchAoConfig(config()),
        torch_dtype=torch.float32,
    )
    theirs = transformers.TorchAoConfig(config())
    encoders = {
        "text_encoder": transformers.CLIPTextModel.from_pretrained(
            folder / "text_encoder", quantization_config=theirs, dtype=torch.float32
        ),
        "text_encoder_2": transformers.T5EncoderModel.from_pretrained(
            folder / "text_encoder_2", quantization_config=theirs, dtype=torch.float32
        ),
    }
    peer = diffusers.FluxPipeline.from_pretrained(folder, transformer=transformer, **encoders)
    peer.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": 3, "output_type": "np", "width": 64, "height": 64, **TEXT}
    expected = peer(**call, generator=torch.Generator().manual_seed(3)).images
    assert apart(ours(**call, seed=3).images, expected) < 1e-5


@pytest.mark.parametrize("format", some_of(["int8", "int8_dynamic", "fp8"], 0, 3))
def test_a_plan_counts_weights_as_they_are_read(tmp_path: Path, format: str) -> None:
    """With the largest once more in float32; one that is refused is not told to quantise."""
    sizes = {"block_out_channels": (64, 128), "norm_num_groups": 32}
    folder = tiny.write_stable_diffusion(tmp_path / "model", **sizes)
    chosen = {"model": folder, "memory": "1GiB", "device": "cpu", "converters": quantize(format)}
    planner = Planner.of(compose(chosen, installed()))
    walk = planner.walked(planner.example())
    quantised = Pipeline.from_pretrained(folder, device="cpu", converters=quantize(format))
    for name, weights in walk.weights.items():
        module = quantised.model.parts[name].module
        kinds = (nn.Linear, nn.Conv2d) if format.startswith("int8") else nn.Linear
        numbers = [one.weight.numel() for one in module.modules() if isinstance(one, kinds)]
        largest = 0 if name == "vae" else 4 * max(numbers)
        buffers = sum(buffer.nbytes for buffer in module.buffers())
        assert weights == pytest.approx(held(module) + buffers + largest, rel=0.02)
    with pytest.raises(LdmError, match="would take at least") as refused:
        planner.made(planner.example(), (2**20, False))
    assert "quantize" not in refused.value.hint


@pytest.mark.parametrize("kind", one_of_each())
def test_each_family_is_quantised_and_draws_nearly_the_same(tmp_path: Path, kind: str) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    inputs = tiny.FOLDERS[kind].inputs_in(tmp_path)
    quantised = Pipeline.from_pretrained(folder, converters=quantize())
    parts = quantised.model.parts.values()
    assert all(packed(quantised.model.part("network").module))
    for part in parts:
        if part.role in ("network", "text"):
            assert sum(packed(part.module)) >= len(packed(part.module)) - 1  # a tied projection
        elif part.role == "autoencoder":
            assert not any(packed(part.module))
    plain = Pipeline.from_pretrained(folder)
    assert apart(quantised(**inputs, **CALL).images, plain(**inputs, **CALL).images) < 0.05


@pytest.mark.parametrize("format", ["int8", "int8_dynamic", "fp8"])
@pytest.mark.parametrize(
    "types", [{"dtype": "bfloat16"}, {"dtype": "float16"}, {"compute_dtype": "bfloat16"}], ids=str
)
def test_each_format_with_each_type(
    folder: Path, pipe: Pipeline, format: str, types: dict[str, str]
) -> None:
    quantised = Pipeline.from_pretrained(folder, converters=quantize(format), **types)
    assert apart(quantised(**TEXT, **CALL).images, pipe(**TEXT, **CALL).images) < 0.05
    unet = quantised.model.parts["unet"]
    assert unet.dtype == quantised.model.place.compute_dtype
    assert sum(packed(unet.module)) == (
        len(layers(unet.module))
        if "int8" in format
        else sum(isinstance(layer, nn.Linear) for layer in layers(unet.module))
    )


def test_parts_are_named_by_themselves_or_their_roles(folder: Path) -> None:
    for parts, expected in ((["text_encoder"], {"text_encoder"}), (["autoencoder"], {"vae"})):
        model = Pipeline.from_pretrained(folder, converters=quantize(parts=parts)).model
        modules = {n: p.module for n, p in model.parts.items() if isinstance(p.module, nn.Module)}
        assert {name for name, module in modules.items() if any(packed(module))} == expected


def test_a_part_of_which_nothing_is_quantised_is_named(copied: Path) -> None:
    config = diffusers.AutoencoderKL.load_config(copied / "vae")
    plain = diffusers.AutoencoderKL.from_config({**config, "mid_block_add_attention": False})
    plain.save_pretrained(copied / "vae")
    with pytest.warns(LdmWarning, match="left all 3. layers of the vae as they were.*'fp8'"):
        Pipeline.from_pretrained(copied, converters=quantize("fp8", parts=["vae"]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"format": "int9"}, "no format named 'int9'. Did you mean 'int"),
        ({"parts": []}, "at least one part"),
        ({"parts": ["unett"]}, "no part 'unett' to quantise. Did you mean 'unet'"),
        ({"format": "bnb_nf4"}, r"needs the package bitsandbytes.\s+pip install .*bitsandbytes"),
        ({"format": "fp8_dynamic"}, "cannot be computed with in float32 on cpu.*capability"),
        ({"format": "int4"}, "cannot be computed.*mslk"),
    ],
)
def test_what_cannot_be_is_refused_before_weights_are_read(
    folder: Path, choice: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = weight_formats.find_spec
    missing = lambda name: None if name == "bitsandbytes" else find_spec(name)  # noqa: E731
    monkeypatch.setattr(weight_formats, "find_spec", missing)
    monkeypatch.setattr(diffusers_folder, "read_part", None)
    with pytest.raises(LdmError, match=f"(?s){message}") as caught:
        Pipeline.from_pretrained(folder, converters=[{"name": "quantize", **choice}])
    if choice.get("format") in ("fp8_dynamic", "int4"):
        assert "what works here: int8, int8_dynamic, fp8" in str(caught.value)


def test_without_torchao_the_line_that_installs_it_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_formats, "find_spec", lambda name: None)
    with pytest.raises(LdmError, match=r"torchao.\s+pip install 'ldm-core\[quantize\]'"):
        Pipeline.from_pretrained(folder, converters=quantize())


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_weight_that_is_no_number_is_named(copied: Path, part: str, number: float) -> None:
    (file,) = (copied / part).glob("*.safetensors")
    weights = load_file(file)
    name = next(name for name, w in weights.items() if name.endswith("proj.weight") and w.ndim == 2)
    weights[name][0, 1] = number
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(LdmError, match=rf"numbers of {name.removeprefix('text_model.')} \(scale\)"):
        Pipeline.from_pretrained(copied, converters=quantize())


def test_another_quantisation_needs_weights_of_its_own(folder: Path, pipe: Pipeline) -> None:
    quantised = Pipeline.from_pretrained(folder, converters=quantize())
    for pipeline, converters in (
        (pipe, quantize()),
        (quantised, []),
        (quantised, ["vae_slicing"]),
        (quantised, quantize("fp8")),
        (quantised, quantize(parts=["network"])),
    ):
        with pytest.raises(LdmError, match="belong to the weights"):
            pipeline.replace(converters=converters)
    assert quantised.replace(scheduler="euler").weights is quantised.weights
    sliced = quantised.replace(converters=[*quantize(), "vae_slicing"])
    unets = [pipeline.model.parts["unet"].module for pipeline in (sliced, quantised)]
    assert unets[0] is unets[1]


def test_a_manifest_says_that_it_is_lossy_and_repeats_the_picture(folder: Path) -> None:
    quantised = Pipeline.from_pretrained(folder, converters=quantize())
    out = quantised(**TEXT, **CALL)
    assert out.manifests[0]["lossless"] is False
    again = Pipeline.from_pretrained(recipe=recipe_of(out.manifests[0]))
    assert torch.equal(again(**TEXT, **CALL).images, out.images)


def test_a_picture_that_is_lost_is_laid_to_the_quantised_weights_too(folder: Path) -> None:
    quantised = Pipeline.from_pretrained(folder, converters=quantize("fp8"))
    assert "read with quantize (fp8: network, text); full ones may help" in likely_cause(quantised)


def test_two_threads_share_quantised_weights(folder: Path) -> None:
    quantised = Pipeline.from_pretrained(folder, converters=quantize("int8_dynamic"))
    both = (quantised, quantised.replace(scheduler="euler"))
    expected = [pipeline(**TEXT, **CALL).images for pipeline in both]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda pipeline: pipeline(**TEXT, **CALL).images, both))
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("cls", ["UNet2DConditionModel", "CLIPTextModel"])
def test_weights_are_quantised_on_the_device_that_computes(
    monkeypatch: pytest.MonkeyPatch, cls: str
) -> None:
    monkeypatch.setattr(placement, "_device", torch.device)
    monkeypatch.setattr(converter, "recipe_for", lambda *place: Int8WeightOnlyConfig())
    part = PartInfo("unet", cls, "network")
    for device, expected in (("cuda:1", {"": torch.device("cuda:1")}), ("cpu", None)):
        place = PlaceNames(device, "bfloat16", "bfloat16")
        told = converter.Quantize("int8", ("network",), place).loading(part)
        assert told.get("device_map") == expected
        assert torch.bfloat16 in told.values()


def test_text_encoders_of_a_single_file_are_left_and_that_is_said(
    folder: Path, tmp_path: Path
) -> None:
    file = write_single_file(folder, tmp_path / "model.safetensors")
    with pytest.warns(LdmWarning, match="text encoder that it reads out of a single file"):
        quantised = Pipeline.from_pretrained(file, model_config=folder, converters=quantize())
    assert all(packed(quantised.model.parts["unet"].module))
    other = Pipeline.from_pretrained(folder, converters=quantize(parts=["network"]))
    assert apart(quantised(**TEXT, **CALL).images, other(**TEXT, **CALL).images) < 1e-6


@pytest.mark.parametrize("format", ["int8", "fp8"])
def test_a_lora_acts_on_quantised_weights(folder: Path, tmp_path: Path, format: str) -> None:
    ink = write_lora(
        diffusers.StableDiffusionPipeline, folder, tmp_path / "ink", {"unet": ATTENTION}, 1
    )
    quantised = Pipeline.from_pretrained(folder, converters=quantize(format))
    without = quantised(**TEXT, **CALL).images
    found = quantised.replace(loras=[ink])(**TEXT, **CALL).images
    expected = Pipeline.from_pretrained(folder, loras=[ink])(**TEXT, **CALL).images
    assert apart(found, expected) < 0.05 < apart(found, without)
    assert torch.equal(quantised(**TEXT, **CALL).images, without)


def test_explain_names_what_is_quantised(ldm: Any, folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('converters = [{ name = "quantize", format = "fp8" }]\n')
    code, out, _ = ldm("explain", "--model", folder, "--recipe", recipe, "--steps", 2)
    assert code == 0
    assert "quantize (fp8: network, text)" in out.splitlines()
