"""Networks in GGUF files, written by the package gguf."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.model import gguf_header
from ldm_core.model.gguf_header import read_gguf_header
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared import gguf_file
from peers import apart
from tiny.single_file import write_single_file

gguf = pytest.importorskip("gguf")

CALL: dict[str, Any] = {
    "prompt": "a red star", "seed": 3, "num_inference_steps": 3, "output_type": "latent"
}  # fmt: skip
Kind = gguf.GGMLQuantizationType


def write_gguf(file: Path, safetensors: Path, packed: Any, other: Any = Kind.F32) -> Path:
    """The tensors of a file: matrices packed, where their rows have whole blocks."""
    writer = gguf.GGUFWriter(file, "sd1")
    for name, tensor in load_file(safetensors).items():
        values = tensor.numpy().astype(np.float32)
        matrix = values.ndim == 2 and values.shape[1] % 32 == 0
        kind = packed if matrix else other if values.ndim > 1 else Kind.F32
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def network(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the tiny folder alone, in one safetensors file."""
    file = tmp_path_factory.mktemp("network") / "unet.safetensors"
    return write_single_file(folder, file, leave_out=("vae", "text_encoder"))


def rounded(folder: Path, safetensors: Path, packed: Any) -> Pipeline:
    """A pipeline on what the package itself unpacks of packed matrices."""
    pipe = Pipeline.from_pretrained(folder)
    for layer in pipe.model.parts["unet"].module.modules():
        if isinstance(layer, nn.Linear) and layer.in_features % 32 == 0:
            kept = gguf.quants.quantize(layer.weight.numpy(), packed)
            layer.weight.copy_(torch.from_numpy(gguf.quants.dequantize(kept, packed)))
    return pipe


@pytest.mark.parametrize("packed", [Kind.Q8_0, Kind.Q4_0, Kind.Q5_1, Kind.BF16], ids=str)
def test_it_draws_what_the_unpacked_weights_draw(
    folder: Path, network: Path, tmp_path: Path, packed: Any
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, packed)
    pipe = Pipeline.from_pretrained(file, model_config=str(folder))
    out = pipe(**CALL)
    # Diffusers unpacks blocks in the half precision of their scales, the package in float32
    assert apart(out.images, rounded(folder, network, packed)(**CALL).images) < 5e-4
    assert out.manifests[0]["recipe"]["model"] == str(file)
    kinds = {type(w).__name__ for w in pipe.model.parts["unet"].module.parameters()}
    assert kinds == {"GGUFParameter", "Parameter"}


def test_packed_convolutions_are_unpacked_when_read(
    folder: Path, network: Path, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q8_0, other=Kind.BF16)
    pipe = Pipeline.from_pretrained(file, model_config=str(folder))
    convolutions = [
        layer.weight
        for layer in pipe.model.parts["unet"].module.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    assert {(type(w), w.dtype) for w in convolutions} == {(nn.Parameter, torch.float32)}
    assert apart(pipe(**CALL).images, Pipeline.from_pretrained(folder)(**CALL).images) < 0.05


def test_in_half_precision_and_with_quantised_text_encoders(
    folder: Path, network: Path, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q8_0)
    exact = Pipeline.from_pretrained(folder)(**CALL).images
    for choices in (
        {"dtype": "bfloat16"},
        {"compute_dtype": "bfloat16"},
        {"converters": [{"name": "quantize", "parts": ["text"]}]},
    ):
        pipe = Pipeline.from_pretrained(file, model_config=str(folder), **choices)
        assert apart(pipe(**CALL).images, exact) < 0.05
    for parts in (["network"], ["text", "unet"]):
        choice = {"name": "quantize", "parts": parts}
        with pytest.raises(LdmError, match=r"quantised already.*\n.*parts ="):
            compose({"model": file, "model_config": folder, "converters": [choice]}, installed())


def test_another_models_file_and_a_damaged_one_are_refused(
    folder: Path, network: Path, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q8_0)
    inpainting = "StableDiffusionInpaintPipeline"
    other = tiny.write_stable_diffusion(tmp_path / "other", pipeline=inpainting, in_channels=9)
    with pytest.raises(LdmError, match="does not fit the configs: its network has in_channels = 4"):
        compose({"model": file, "model_config": other}, installed())
    whole = file.read_bytes()
    for damage, message in (
        (whole[:-40], "ends beyond the file's"),
        (whole[:60], "cut off"),
        (b"GGML" + whole[4:], "does not begin with GGUF"),
        (whole[:4] + struct.pack("<I", 9) + whole[8:], "its version is 9"),
        (whole[:8] + struct.pack("<Q", 2**60) + whole[16:], "2?.*1152921504606846976 entries"),
        (whole[:16] + struct.pack("<Q", 2**50) + whole[24:], "entries"),
    ):
        file.write_bytes(damage)
        with pytest.raises(LdmError, match=message):
            compose({"model": file, "model_config": folder}, installed())


def test_a_list_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**60)
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + bytes(64))
    with pytest.raises(LdmError, match="cut off"):
        read_gguf_header(file)


def test_a_file_of_reshaped_tensors_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "sd1")
    writer.add_array("comfy.gguf.orig_shape.x", [2, 2, 1, 1])
    writer.add_tensor("x", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(LdmError, match="x is kept in another shape"):
        read_gguf_header(tmp_path / "a.gguf")


def test_the_header_says_what_the_packages_reader_says(network: Path, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q4_0, other=Kind.F16)
    header = read_gguf_header(file)
    theirs = {t.name: t for t in gguf.GGUFReader(file).tensors}
    assert {*header.shapes} == {*theirs}
    assert all(header.shapes[n] == tuple(map(int, t.shape[::-1])) for n, t in theirs.items())
    assert all(header.dtypes[name] == t.tensor_type.name for name, t in theirs.items())
    assert header.metadata["general.architecture"] == "sd1"


def test_without_the_package_the_line_that_installs_it_is_told(
    folder: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q8_0)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(LdmError, match=r"package gguf.\s+pip install 'ldm-core\[gguf\]'"):
        compose({"model": file, "model_config": folder}, installed())


def test_no_program_of_the_hub_is_run(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "unet.gguf", network, Kind.Q8_0)
    monkeypatch.setenv(gguf_file.KERNELS, "true")
    with pytest.raises(LdmError, match="runs a program of the Hub"):
        gguf_file.read_gguf(file)


def test_the_types_that_torchs_readers_name_are_those_of_the_format() -> None:
    assert {*gguf_header.SCALARS} == {
        int(kind) for kind in gguf.GGUFValueType if kind.name not in ("STRING", "ARRAY")
    }
