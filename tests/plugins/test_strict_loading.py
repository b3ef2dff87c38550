"""Weights that are missing, misfit, are left over, or mean something else without their scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from ldm_core.plugins.registry import installed
from tiny.single_file import write_single_file

Change = Callable[[dict[str, torch.Tensor]], None]
CALL: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent"}


def drawn(pipe: Pipeline) -> torch.Tensor:
    found: torch.Tensor = pipe("a red star", **CALL).images
    return found


def changed(file: Path, change: Change) -> None:
    state = load_file(file)
    change(state)
    save_file(state, file, metadata={"format": "pt"})


def lacks(state: dict[str, torch.Tensor]) -> None:
    del state[max(name for name in state if name.endswith(".weight"))]


def misfits(state: dict[str, torch.Tensor]) -> None:
    name = max(name for name in state if name.endswith(".weight"))
    state[name] = torch.zeros(3, *state[name].shape[1:])


def more(state: dict[str, torch.Tensor]) -> None:
    state["blocks.99.weight"] = torch.zeros(2, 2)


WRITERS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "Stable Diffusion": (tiny.write_stable_diffusion, ["unet", "vae", "text_encoder"]),
    "SDXL": (tiny.write_stable_diffusion_xl, ["unet", "text_encoder_2"]),
    "SD 3": (tiny.write_stable_diffusion_3, ["transformer", "text_encoder"]),
    "PixArt": (tiny.write_pixart, ["transformer", "text_encoder"]),
    "LDM": (tiny.write_latent_diffusion, ["unet", "vqvae"]),
}
PARTS = [(family, part) for family, (_, parts) in WRITERS.items() for part in parts]


@pytest.mark.parametrize("change", [lacks, misfits, more])
@pytest.mark.parametrize(("family", "part"), PARTS)
def test_a_component_that_is_not_whole_is_refused_by_its_name(
    family: str, part: str, change: Change, tmp_path: Path
) -> None:
    folder = WRITERS[family][0](tmp_path)
    changed(next((folder / part).glob("*.safetensors")), change)
    with pytest.raises(LdmError, match=rf"the {part} \(\w+\) in "):
        Pipeline.from_pretrained(folder)


@pytest.mark.parametrize("change", [lacks, misfits, more])
def test_so_is_a_network_beside_the_model(folder: Path, tmp_path: Path, change: Change) -> None:
    control = tiny.write_controlnet(tmp_path / "control", folder)
    changed(next(control.glob("*.safetensors")), change)
    pipe = Pipeline.from_pretrained(
        folder, conditioning=["text", {"name": "control", "models": [str(control)]}]
    )
    with pytest.raises(LdmError, match=r"\(ControlNetModel\) in "):
        pipe("a red star", control_image=torch.zeros(3, 16, 16), **CALL)


def test_weights_of_a_larger_model_that_the_encoder_was_taken_from_do_no_harm(
    copied: Path, pipe: Pipeline
) -> None:
    def head(state: dict[str, torch.Tensor]) -> None:
        state["text_projection.weight"] = torch.zeros(8, 8)
        state["text_model.embeddings.position_ids"] = torch.arange(16)[None]

    changed(copied / "text_encoder" / "model.safetensors", head)
    assert torch.equal(drawn(Pipeline.from_pretrained(copied)), drawn(pipe))


def narrow(scale: str | None, prefix: str = "") -> Change:
    """The network's matrices in eight bits, with a scale beside each, which makes them smaller."""

    def change(state: dict[str, torch.Tensor]) -> None:
        for name in [n for n in state if n.startswith(prefix) and n.endswith("to_q.weight")]:
            weight = state[name]
            if scale is None:
                state[name] = weight.to(torch.float8_e4m3fn)
                continue
            rows = "rows" in scale
            size = weight.abs().amax(dim=1, keepdim=True) if rows else weight.abs().max()
            factor = size / 448
            state[name] = (weight / factor).to(torch.float8_e4m3fn)
            key = name.removesuffix("weight") + scale.removesuffix(" of rows")
            state[key] = factor.clone()

    return change


def widened(state: dict[str, torch.Tensor], prefix: str = "") -> None:
    """What those matrices stand for, by the definition: value times scale."""
    for name in [n for n in state if n.startswith(prefix) and n.endswith("to_q.weight")]:
        value = state[name].float()
        for end in ("scale_weight", "weight_scale"):
            scale = state.pop(name.removesuffix("weight") + end, None)
            value = value if scale is None else value * scale
        state[name] = value


@pytest.mark.parametrize(
    "scale", [None, "scale_weight", "weight_scale", "weight_scale of rows"], ids=str
)
def test_eight_bits_in_a_single_file_are_multiplied_by_their_scale(
    scale: str | None, folder: Path, tmp_path: Path
) -> None:
    file = write_single_file(folder, tmp_path / "narrow.safetensors")
    changed(file, narrow(scale, "model.diffusion_model."))
    wide = tmp_path / "wide.safetensors"
    state = load_file(file)
    widened(state)
    save_file(state, wide)
    if scale is not None:  # marks of the programs that write them
        changed(file, lambda s: s.update(scaled_fp8=torch.zeros(2).to(torch.float8_e4m3fn)))
    with_scale, by_hand = (
        drawn(Pipeline.from_pretrained(f, model_config=str(folder))) for f in (file, wide)
    )
    assert torch.equal(with_scale, by_hand)


@pytest.mark.parametrize("name", ["weight_scale", "weight_scale_inv", "SCB", "weight.absmax"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.uint8], ids=str)
def test_in_a_folder_they_are_refused(name: str, dtype: torch.dtype, copied: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        weight = min(n for n in state if n.endswith("to_q.weight"))
        state[weight] = state[weight].to(dtype)
        state[weight.removesuffix("weight") + name] = torch.ones(3)

    changed(copied / "unet" / "diffusion_pytorch_model.safetensors", change)
    with pytest.raises(LdmError, match="its weights are quantised"):
        compose({"model": str(copied)}, installed())


def test_eight_bits_without_a_scale_are_numbers_like_others(copied: Path) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    changed(file, narrow(None))
    eight = drawn(Pipeline.from_pretrained(copied))
    changed(file, widened)
    assert torch.equal(eight, drawn(Pipeline.from_pretrained(copied)))


@pytest.mark.parametrize("by", ["tensor", "header"])
def test_a_checkpoint_says_what_it_predicts(by: str, folder: Path, tmp_path: Path) -> None:
    file = write_single_file(folder, tmp_path / "model.safetensors")
    state = load_file(file)
    if by == "tensor":
        save_file({**state, "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)
    else:
        save_file(state, file, metadata={"modelspec.prediction_type": "v"})
    info = compose({"model": str(file), "model_config": str(folder)}, installed()).info
    assert info.prediction_type.name == "v_prediction"
    last = info.noise_schedule.at(info.noise_schedule.last)
    assert (last.alpha < 1e-6) is (by == "tensor")
    save_file({**state, "edm_mean": torch.zeros(4)}, file)
    with pytest.raises(LdmError, match="edm_mean"):
        compose({"model": str(file), "model_config": str(folder)}, installed())


def test_names_of_a_text_encoder(copied: Path, pipe: Pipeline, tmp_path: Path) -> None:
    """Old ones are the file's own encoder; unknown ones are not passed over for the folder's."""
    file = write_single_file(copied, tmp_path / "model.safetensors")
    state, new = load_file(file), "cond_stage_model.transformer.text_model."
    other = copied / "text_encoder" / "model.safetensors"
    changed(other, lambda s: s.update({n: t + 1 for n, t in s.items()}))
    for old, known in (("cond_stage_model.transformer.", True), ("cond_stage_model.bert.", False)):
        save_file({name.replace(new, old): tensor for name, tensor in state.items()}, file)
        if known:
            found = drawn(Pipeline.from_pretrained(file, model_config=str(copied)))
            assert torch.equal(found, drawn(pipe))
            continue
        with pytest.raises(LdmError, match=r"under names that are not known, such as cond_stage"):
            Pipeline.from_pretrained(file, model_config=str(copied))


def test_what_a_file_has_beyond_its_config(folder: Path, tmp_path: Path) -> None:
    file = write_single_file(folder, tmp_path / "model.safetensors")
    changed(file, lambda s: s.update({"control_model.x.weight": torch.zeros(1)}))
    with pytest.warns(LdmWarning, match=r"1 tensors that are not read, such as control_model"):
        Pipeline.from_pretrained(file, model_config=str(folder))
    name = "model.diffusion_model.middle_block.9.weight"
    changed(file, lambda s: s.update({name: torch.zeros(5)}))
    with (
        pytest.warns(LdmWarning),
        pytest.raises(LdmError, match=r"the unet in .* is of a larger model"),
    ):
        Pipeline.from_pretrained(file, model_config=str(folder))


def test_a_folder_of_another_task_says_what_is_beside_the_model(copied: Path) -> None:
    index = copied / "model_index.json"
    table = json.loads(index.read_text())
    table["_class_name"] = "StableDiffusionControlNetPipeline"
    table["controlnet"] = ["diffusers", "ControlNetModel"]
    index.write_text(json.dumps(table))
    with pytest.warns(LdmWarning, match="controlnet beside the model, which is not used unless"):
        compose({"model": str(copied)}, installed())
    (copied / "controlnet").mkdir()
    (copied / "controlnet" / "config.json").write_text('{"extra_conditioning_channels": 2}')
    with pytest.warns(LdmWarning, match="not used and cannot be: a ControlNetModel such as that"):
        compose({"model": str(copied)}, installed())
    table["controlnet"] = ["diffusers", "SparseControlNetModel"]
    index.write_text(json.dumps(table))
    with pytest.warns(LdmWarning, match="not used and cannot be: a SparseControlNetModel"):
        compose({"model": str(copied)}, installed())
