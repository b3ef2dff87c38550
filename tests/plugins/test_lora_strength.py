"""The strength of a LoRA in each way to say it: W + alpha / rank · up · down, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from ldm_core import LdmError, Pipeline

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
BLOCK = "mid_block.attentions.0.transformer_blocks.0"
LAYERS = {  # rank and alpha of each, no two alike
    f"{BLOCK}.attn1.to_q": (2, 1.0),
    f"{BLOCK}.attn1.to_k": (3, 6.0),
    f"{BLOCK}.attn2.to_v": (4, 1.0),
    "mid_block.resnets.0.conv1": (1, 0.5),
}


def factors(pipe: Pipeline) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    draws = torch.Generator().manual_seed(0)
    unet = pipe.model.parts["unet"].module
    pairs = {}
    for name, (rank, _) in LAYERS.items():
        weight = unet.get_submodule(name).weight
        down = 0.4 * torch.randn(rank, *weight.shape[1:], generator=draws)
        up = torch.randn(len(weight), rank, *[1] * (weight.ndim - 2), generator=draws)
        pairs[name] = (down, 0.4 * up)
    return pairs


def merged(folder: Path, strengths: dict[str, float]) -> torch.Tensor:
    """What is drawn with the change in the weights, by the closed form."""
    pipe = Pipeline.from_pretrained(folder)
    for name, (down, up) in factors(pipe).items():
        layer = pipe.model.parts["unet"].module.get_submodule(name)
        change = torch.einsum("or,r...->o...", up.flatten(1), down)
        layer.weight.data = layer.weight.data + strengths[name] * change
    found: torch.Tensor = pipe("a red star", **CALL).images
    return found


def kohya(name: str, down: torch.Tensor, up: torch.Tensor, alpha: float) -> dict[str, Any]:
    key = "lora_unet_" + name.replace(".", "_")
    pair = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
    return {**pair, f"{key}.alpha": torch.tensor(alpha)}


def write(kind: str, pipe: Pipeline, folder: Path) -> tuple[Path, dict[str, float]]:
    """A file, or PEFT's folder, and the strength that each layer should have."""
    pairs, file = factors(pipe), folder / "lora.safetensors"
    ratio = {name: alpha / rank for name, (rank, alpha) in LAYERS.items()}
    if kind == "kohya":
        state = {}
        for name, (down, up) in pairs.items():
            state |= kohya(name, down, up, LAYERS[name][1])
        save_file(state, file)
        return file, ratio
    start = "base_model.model." if kind.startswith("PEFT") else "unet."
    state = {}
    for name, (down, up) in pairs.items():
        state |= {f"{start}{name}.lora_A.weight": down, f"{start}{name}.lora_B.weight": up}
    config: dict[str, Any] = {
        "lora_alpha": 6,
        "r": 3,
        "rank_pattern": {name: rank for name, (rank, _) in LAYERS.items()},
        "alpha_pattern": {n: alpha for n, (_, alpha) in LAYERS.items() if alpha != 6},
        "peft_type": "LORA",
    }
    if kind == "PEFT, stabilised":
        config["use_rslora"] = True
        ratio = {name: alpha / rank**0.5 for name, (rank, alpha) in LAYERS.items()}
    if kind == "Diffusers":
        save_file(state, file)
        return file, dict.fromkeys(LAYERS, 1.0)
    if kind == "Diffusers, with a config in the header":
        packed = {f"unet.{key}": value for key, value in config.items()}
        save_file(state, file, metadata={"lora_adapter_metadata": json.dumps(packed)})
        return file, ratio
    save_file(state, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder, ratio


KINDS = [
    "kohya",
    "Diffusers",
    "Diffusers, with a config in the header",
    "PEFT",
    "PEFT, stabilised",
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_layer_has_the_strength_that_it_was_trained_with(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    plain = Pipeline.from_pretrained(folder)
    file, strengths = write(kind, plain, tmp_path)
    found, right = (
        plain.replace(loras=[file])("a red star", **CALL).images,
        merged(folder, strengths),
    )
    base = plain("a red star", **CALL).images
    assert (found - right).norm() < 1e-4 * (right - base).norm()


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_folder_that_peft_saved_itself_is_what_peft_computes(
    part: str, folder: Path, tmp_path: Path
) -> None:
    theirs = Pipeline.from_pretrained(folder)
    module = theirs.model.parts[part].module
    targets = ["to_q", "to_k"] if part == "unet" else ["q_proj", "fc1"]
    torch.manual_seed(1)
    config = LoraConfig(
        r=2,
        lora_alpha=5,
        alpha_pattern={targets[0]: 1},
        rank_pattern={targets[1]: 3},
        target_modules=targets,
        init_lora_weights=False,
    )
    adapted = get_peft_model(module, config)
    adapted.save_pretrained(tmp_path)
    right = theirs("a red star", **CALL).images
    plain = Pipeline.from_pretrained(folder)
    found = plain.replace(loras=[tmp_path])("a red star", **CALL).images
    base = plain("a red star", **CALL).images
    assert (found - right).norm() < 1e-4 * (right - base).norm()
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(LdmError, match=r"adapter_config.json, which says its alpha, is not beside"):
        plain.replace(loras=[tmp_path])


def test_peft_says_its_kind(pipe: Pipeline, folder: Path, tmp_path: Path) -> None:
    module = Pipeline.from_pretrained(folder).model.parts["unet"].module
    get_peft_model(module, LoHaConfig(target_modules=["to_q"])).save_pretrained(tmp_path)
    with pytest.raises(LdmError, match=r"is a LOHA, as its adapter_config.json says"):
        pipe.replace(loras=[tmp_path])


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("hada_w1_a", "a LoHa"),
        ("lokr_w1", "a LoKr"),
        ("oft_blocks", "an OFT"),
        ("on_input", r"an \(IA\)³"),
        ("dora_scale", "a DoRA"),
        ("diff", "whole differences"),
        ("a1.weight", "a GLoRA"),
    ],
)
def test_other_changes_to_weights_are_named(
    end: str, kind: str, pipe: Pipeline, tmp_path: Path
) -> None:
    file, _ = write("kohya", pipe, tmp_path)
    save_file({**load_file(file), f"lora_unet_conv_in.{end}": torch.ones(2, 2)}, file)
    with pytest.raises(LdmError, match=f"is .*{kind}"):
        pipe.replace(loras=[file])


def test_half_a_pair_is_refused(pipe: Pipeline, tmp_path: Path) -> None:
    file, _ = write("kohya", pipe, tmp_path)
    state = load_file(file)
    del state[min(name for name in state if "lora_up" in name)]
    save_file(state, file)
    with pytest.raises(LdmError, match=r"is not whole: it has .*lora_down.weight and lacks"):
        pipe.replace(loras=[file])


def test_three_factors_of_tucker_make_one_change(folder: Path, tmp_path: Path) -> None:
    """W' = W + alpha / rank · up_oa mid_abhw down_bi, as LyCORIS writes a convolution."""
    draws = torch.Generator().manual_seed(0)
    theirs = Pipeline.from_pretrained(folder)
    layer = theirs.model.parts["unet"].module.get_submodule("mid_block.resnets.0.conv1")
    out, into = layer.weight.shape[:2]
    shapes = {"down": (2, into, 1, 1), "mid": (2, 2, 3, 3), "up": (out, 2, 1, 1)}
    three = {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}
    key = "lora_unet_mid_block_resnets_0_conv1"
    state = {f"{key}.lora_{name}.weight": tensor for name, tensor in three.items()}
    save_file({**state, f"{key}.alpha": torch.tensor(1.0)}, tmp_path / "lora.safetensors")
    base = theirs("a red star", **CALL).images
    layer.weight.data += 0.5 * torch.einsum(
        "oa,abhw,bi->oihw", three["up"].flatten(1), three["mid"], three["down"].flatten(1)
    )
    right = theirs("a red star", **CALL).images
    plain = Pipeline.from_pretrained(folder)
    found = plain.replace(loras=[tmp_path / "lora.safetensors"])("a red star", **CALL).images
    assert (found - right).norm() < 1e-4 * (right - base).norm()


@pytest.mark.filterwarnings("ignore:.*bias")
def test_a_bias_of_the_second_factor_has_the_strength_too(folder: Path, tmp_path: Path) -> None:
    theirs = Pipeline.from_pretrained(folder)
    torch.manual_seed(1)
    config = LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=["to_q", "to_out.0"],
        init_lora_weights=False,
        lora_bias=True,
    )
    adapted = get_peft_model(theirs.model.parts["unet"].module, config)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name and name.endswith("bias"):
            tensor.data.normal_()
    adapted.save_pretrained(tmp_path)
    right = theirs("a red star", **CALL).images
    plain = Pipeline.from_pretrained(folder)
    base = plain("a red star", **CALL).images
    found = plain.replace(loras=[tmp_path])("a red star", **CALL).images
    assert (found - right).norm() < 1e-4 * (right - base).norm()
