"""Checkpoints in one file: the same pictures as their folders draw, and clear refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.errors import LdmWarning
from ldm_core.model.files import file_hash, model_hash
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.single_file import default_config
from peers import apart
from tiny.single_file import write_single_file

CALL: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the Stable Diffusion folder in CompVis's layout."""
    return write_single_file(folder, tmp_path_factory.mktemp("files") / "sd.safetensors")


@pytest.fixture
def configs(folder: Path, tmp_path: Path) -> Path:
    """The folder's JSON files and tokenizer, and no weights."""
    leave_out = shutil.ignore_patterns("*.safetensors")
    return Path(shutil.copytree(folder, tmp_path / "configs", ignore=leave_out))


def refuses(file: Path, config: Path | None, message: str) -> None:
    given = {} if config is None else {"model_config": str(config)}
    with pytest.raises(LdmError, match=message):
        compose({"model": str(file), **given}, installed())


@pytest.mark.parametrize(
    ("write", "cls", "leave_out"),
    [
        (tiny.write_stable_diffusion, StableDiffusionPipeline, ()),
        (tiny.write_stable_diffusion_xl, StableDiffusionXLPipeline, ()),
        (tiny.write_stable_diffusion_3, None, ENCODERS),
    ],
    ids=["stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3"],
)
def test_it_draws_what_its_folder_draws(
    tmp_path: Path, write: Callable[[Path], Path], cls: Any, leave_out: tuple[str, ...]
) -> None:
    folder = write(tmp_path / "folder")
    file = write_single_file(folder, tmp_path / "model.safetensors", leave_out)
    ours = Pipeline.from_pretrained(file, model_config=folder)
    same = Pipeline.from_pretrained(folder)
    for name, part in same.model.parts.items():
        if isinstance(part.module, torch.nn.Module):
            read = ours.model.parts[name].module.state_dict()
            assert all(read[key].equal(weight) for key, weight in part.module.state_dict().items())
    found, expected = (p("a red star", seed=3, **CALL).images for p in (ours, same))
    # processors add in another order where tensors lie otherwise in memory
    assert apart(found, expected) < 1e-5
    assert apart(ours.decode(found), same.decode(found)) < 1e-5
    if cls is not None:
        theirs = cls.from_single_file(str(file), config=str(folder), local_files_only=True)
        theirs.set_progress_bar_config(disable=True)
        generator = [torch.Generator().manual_seed(3)]
        size = {"width": 16, "height": 16}
        drawn = theirs("a red star", generator=generator, **size, **CALL).images
        assert apart(found, drawn) < 1e-5


def test_the_weights_of_the_file_alone_are_read(file: Path, configs: Path, pipe: Pipeline) -> None:
    ours = Pipeline.from_pretrained(file, model_config=configs, num_inference_steps=4)
    call: dict[str, Any] = {"seed": 3, "output_type": "latent"}
    assert torch.equal(ours("a star", **call).images, pipe("a star", **call).images)


def test_half_precision_and_frozen(file: Path, configs: Path) -> None:
    ours = Pipeline.from_pretrained(
        file, model_config=configs, dtype="bfloat16", compute_dtype="bfloat16"
    )
    for part in ("unet", "vae", "text_encoder"):
        module = ours.model.parts[part].module
        assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
        assert not any(p.requires_grad for p in module.parameters())
        assert not module.training


def test_a_lora_on_it_leaves_its_weights_alone(file: Path, configs: Path, tmp_path: Path) -> None:
    ours = Pipeline.from_pretrained(file, model_config=configs)
    state = {}
    generator = torch.Generator().manual_seed(0)
    for name in ("q_proj", "v_proj", "out_proj"):
        key = f"text_encoder.text_model.encoder.layers.0.self_attn.{name}"
        state[f"{key}.lora_A.weight"] = torch.randn(2, 32, generator=generator)
        state[f"{key}.lora_B.weight"] = torch.randn(32, 2, generator=generator)
    save_file(state, tmp_path / "lora.safetensors")
    before = ours("a star", seed=1, **CALL).images
    weights = [p.clone() for p in ours.model.parts["text_encoder"].module.parameters()]
    changed = ours.replace(loras=[tmp_path / "lora.safetensors"])
    theirs = StableDiffusionPipeline.from_single_file(
        str(file), config=str(configs), local_files_only=True
    )
    theirs.set_progress_bar_config(disable=True)
    theirs.load_lora_weights(str(tmp_path / "lora.safetensors"), adapter_name="lora")
    generator = torch.Generator().manual_seed(1)
    expected = theirs("a star", generator=[generator], width=16, height=16, **CALL).images
    found = changed("a star", seed=1, **CALL).images
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert not torch.equal(found, before)
    now = ours.model.parts["text_encoder"].module.parameters()
    assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))
    assert torch.equal(ours("a star", seed=1, **CALL).images, before)


def test_a_component_that_neither_has(folder: Path, configs: Path, tmp_path: Path) -> None:
    bare = write_single_file(folder, tmp_path / "bare.safetensors", ["text_encoder", "vae"])
    refuses(bare, configs, "holds no (vae|text_encoder) .*beside the configs.*has no weights")
    assert compose({"model": str(bare), "model_config": str(folder)}, installed())
    bare = write_single_file(folder, tmp_path / "none.safetensors", ["unet"])
    refuses(bare, folder, "holds no UNet2DConditionModel")


def test_a_damaged_file(file: Path, folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-1000])
    refuses(cut, folder, "cut off or damaged")
    cut.write_bytes(b"")
    refuses(cut, folder, "no safetensors file")


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "pth", "bin"])
def test_a_pickled_file(folder: Path, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model.{suffix}").write_bytes(b"")
    refuses(tmp_path / f"model.{suffix}", folder, "pickled file, which can run code")


def test_a_lora_is_no_model(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({"unet.conv_in.lora_A.weight": torch.zeros(1, 4, 3, 3)}, path)
    for config in (None, folder):
        refuses(path, config, r"(?s)is a LoRA, no model.*--lora")


def test_configs_of_another_model(file: Path, tmp_path: Path) -> None:
    refuses(
        file,
        tiny.write_stable_diffusion_xl(tmp_path / "xl"),
        "addition_embed_type|cross_attention_dim",
    )
    refuses(file, tiny.write_flux(tmp_path / "flux"), "holds no FluxTransformer2DModel")
    wide = tiny.write_stable_diffusion(tmp_path / "inpaint", in_channels=9)
    refuses(file, wide, "in_channels = 4, and .* says 9")


def test_a_family_that_has_no_such_files(file: Path, tmp_path: Path) -> None:
    refuses(file, tiny.write_dit(tmp_path), "holds no DiTTransformer2DModel")


def test_sizes_that_do_not_fit_are_said_when_they_are_read(file: Path, configs: Path) -> None:
    path = configs / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "block_out_channels": [16, 48]}))
    with pytest.raises(LdmError, match=r"the unet in .* does not fit the config"):
        Pipeline.from_pretrained(file, model_config=configs)


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("first_stage_model.decoder.conv_in.weight", "vae"),
        ("model.diffusion_model.middle_block.1.norm.weight", "unet"),
        ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "text_encoder"),
    ],
)
def test_a_weight_that_is_missing(
    file: Path, configs: Path, tmp_path: Path, name: str, component: str
) -> None:
    state = load_file(file)
    del state[name]
    save_file(state, tmp_path / "hole.safetensors")
    with pytest.raises(LdmError, match=f"lacks some weights of the {component} "):
        Pipeline.from_pretrained(tmp_path / "hole.safetensors", model_config=configs)


def test_without_configs_and_without_the_hub(file: Path) -> None:
    """The layout tells which Hub folder has the configs; it cannot be asked here."""
    message = r"(?s)stable-diffusion-v1-5.*did not give it.*--model-config FOLDER"
    refuses(file, None, message)


UNET = "model.diffusion_model."
SDXL = "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias"
JOINT = "joint_blocks.0.context_block.adaLN_modulation.1.bias"
DOUBLE = "double_blocks.0.img_attn.norm.key_norm.scale"


@pytest.mark.parametrize(
    ("shapes", "hub_id"),
    [
        ({}, "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        (
            {f"{UNET}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024)},
            "stabilityai/stable-diffusion-2-1",
        ),
        ({SDXL: (1280,)}, "stabilityai/stable-diffusion-xl-base-1.0"),
        (
            {UNET + JOINT: (9216,), f"{UNET}pos_embed": (1, 36864, 1536)},
            "stabilityai/stable-diffusion-3-medium-diffusers",
        ),
        ({JOINT: (9216,), "pos_embed": (1, 1, 1536)}, None),
        ({DOUBLE: (128,)}, "black-forest-labs/FLUX.1-schnell"),
        ({"noise_refiner.0.attention.to_q.weight": (3840, 3840)}, None),
        ({f"{UNET}noise_refiner.0.attention.qkv.weight": (11520, 3840)}, None),
    ],
    ids=["1.5", "2.1", "xl", "3", "3 of another size", "schnell", "z", "z in a whole"],
)
def test_the_layout_tells_whose_configs_are_meant(
    shapes: dict[str, tuple[int, ...]], hub_id: str | None
) -> None:
    unet = {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)}
    own = not any(name.endswith((JOINT, DOUBLE)) or "refiner" in name for name in shapes)
    assert default_config({**shapes, **(unet if own else {})}) == hub_id


def test_a_file_that_may_be_of_kontext_is_said_to_be_taken_for_dev() -> None:
    shapes = {DOUBLE: (128,), "guidance_in.in_layer.bias": (3072,), "img_in.weight": (3072, 64)}
    with pytest.warns(LdmWarning, match=r"no tensor tells those of FLUX.1 Kontext; .*its own"):
        assert default_config(shapes) == "black-forest-labs/FLUX.1-dev"


def test_an_unknown_layout_without_configs(tmp_path: Path) -> None:
    save_file({"some.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    refuses(tmp_path / "other.safetensors", None, r"knows the weights in .*--model-config FOLDER")


def test_composing_reads_headers_alone(file: Path, configs: Path) -> None:
    code = (
        "import sys\n"
        "from ldm_core.composition.compose import compose\n"
        "from ldm_core.plugins.registry import installed\n"
        f"compose({{'model': {str(file)!r}, 'model_config': {str(configs)!r}}}, installed())\n"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_configs_for_a_folder_are_refused(folder: Path, file: Path) -> None:
    refuses(folder, folder, "'model_config' is for a model in a single file")
    refuses(file, file, "is a file")
    pipeline = compose({"model": str(file), "model_config": str(folder)}, installed())
    with pytest.raises(LdmError, match="'model_config' belongs to the weights"):
        recompose(pipeline, {"model_config": str(folder)})


def test_the_hash_covers_the_file_and_the_configs(file: Path, configs: Path) -> None:
    before = model_hash(configs, file)
    assert before != model_hash(configs)
    moved = configs.parent / "moved.safetensors"
    moved.write_bytes(file.read_bytes())
    assert model_hash(configs, moved) == before
    state = load_file(moved)
    state["model.diffusion_model.out.2.bias"] += 1
    save_file(state, moved)
    assert file_hash(moved) != file_hash(file)
    assert model_hash(configs, moved) != before
    path = configs / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text().replace("0.012", "0.013"))
    assert model_hash(configs, file) != before


def test_the_command_line_and_replay(file: Path, configs: Path, ldm: Any, tmp_path: Path) -> None:
    shutil.copy(file, "sd.safetensors")
    choice = ("--model", "sd.safetensors", "--model-config", "configs")
    code, out, err = ldm("explain", *choice, "--steps", 3)
    assert code == 0, err
    assert f"model {tmp_path / 'sd.safetensors'}, family stable_diffusion" in out
    code, out, err = ldm("generate", "a star", *choice, "--steps", 2, "--seed", 7, "--out", "out")
    assert code == 0, err
    picture = out.strip().splitlines()[-1]
    code, out, err = ldm("replay", "--allow-files", picture)
    assert (code, "differs" in err) == (0, False)
    assert "pixel for pixel" in out
    configs.rename(tmp_path / "elsewhere")
    assert ldm("replay", "--allow-files", picture)[0] == 2
    code, out, err = ldm("replay", "--allow-files", picture, "--model-config", "elsewhere")
    assert (code, "differs" in err) == (0, False)
    assert "pixel for pixel" in out
