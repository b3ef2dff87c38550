"""Damaged model folders: each is a model that works, or refused in one message with its part and
file. What is damaged is drawn by a seed, so that a fault can be made again."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_plugins.shared.config_types import check_component

UNET, TEXT = "unet/config.json", "text_encoder/config.json"
VAE, TOKENIZER = "vae/config.json", "tokenizer/tokenizer_config.json"
SCHEDULER = "scheduler/scheduler_config.json"
CALL: dict[str, Any] = {"seed": 1, "num_inference_steps": 1, "output_type": "latent"}


def says(folder: Path, file: str, **entries: Any) -> None:
    table = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**table, **entries}))


CONFIGS: list[tuple[str, dict[str, Any], str]] = [
    (UNET, {"block_out_channels": [10**9, 10**9]}, "block_out_channels should be"),
    (UNET, {"block_out_channels": [2**20, 2**20]}, "more than all its weights"),
    (UNET, {"layers_per_block": 2**20}, "far more of it than its weights are"),
    (UNET, {"transformer_layers_per_block": 2**20}, "far more of it than its weights are"),
    (UNET, {"in_channels": "4"}, "in_channels should be a whole number"),
    (UNET, {"in_channels": -4}, "in_channels should be a whole number"),
    (UNET, {"sample_size": [1, 2, 3]}, "sample_size should be"),
    (UNET, {"act_fn": 7}, "act_fn should be made of text"),
    (UNET, {"norm_eps": -1e-5}, "norm_eps should be a number above 0"),
    (UNET, {"dropout": 10**9}, "dropout should be a number from 0 to 1"),
    (UNET, {"downsample_padding": 2}, "downsample_padding should be 0 or 1"),
    (UNET, {"norm_num_groups": 7}, r"the unet \(UNet2DConditionModel\) in .* cannot be read"),
    (UNET, {"down_block_types": ["os.system", "x"]}, r"the unet .* cannot be read"),
    (UNET, {"quantization_config": {"quant_method": "gptq"}}, "quantised by 'gptq'"),
    (UNET, {"quantization_config": "x"}, "quantised by None"),
    (VAE, {"scaling_factor": 0}, "scaling_factor should be a number above 0"),
    (VAE, {"latent_channels": 10**30}, "latent_channels should be a whole number"),
    (TEXT, {"num_hidden_layers": 2**20}, "far more of it than its weights are"),
    (TEXT, {"intermediate_size": 2**30}, "more than all its weights"),
    (TEXT, {"max_position_embeddings": 2**40}, "max_position_embeddings should be"),
    (TEXT, {"eos_token_id": []}, "eos_token_id should be"),
    (TEXT, {"bos": 2**40}, "is beyond all that can be"),
    (TEXT, {"hidden_act": "os.system"}, r"the text_encoder \(CLIPTextModel\) in .* cannot be read"),
    (TEXT, {"torch_dtype": "load"}, "torch_dtype should be one of float64"),
    (TEXT, {"_attn_implementation": "someone/kernel"}, "chooses the attention 'someone/kernel'"),
    (TEXT, {"attn_implementation": "flash_attention_2"}, "chooses the attention"),
    (TEXT, {"text_config": {"attn_implementation": "a/b"}}, "chooses the attention 'a/b'"),
    (TEXT, {"attn_implementation": {"": "a/b"}}, "chooses the attention"),
    (TEXT, {"transformers_weights": "adapter_model.bin"}, "transformers_weights .* not followed"),
    (TOKENIZER, {"model_max_length": "x"}, "model_max_length should be"),
    (TOKENIZER, {"model_max_length": 4.0}, "model_max_length should be"),
    (TOKENIZER, {"tokenizer_file": "/etc/passwd"}, "tokenizer_file = .* not followed"),
    (
        TOKENIZER,
        {"added_tokens_decoder": {"x": 1}},
        r"the tokenizer \(CLIP.* cannot",
    ),
    (SCHEDULER, {"num_train_timesteps": 10**9}, "num_train_timesteps should be"),
    (SCHEDULER, {"num_train_timesteps": 200_000}, "num_train_timesteps should be 100000 at most"),
    (SCHEDULER, {"beta_start": "x"}, "beta_start should be a finite number"),
    (SCHEDULER, {"trained_betas": ["x"]}, "trained_betas should be a list of finite numbers"),
    (SCHEDULER, {"_class_name": ["os", "system"]}, "_class_name should be a word"),
    ("model_index.json", {"unet": ["os", "system"]}, "unet should be a UNet2DConditionModel"),
]


@pytest.mark.parametrize(("file", "entries", "told"), CONFIGS, ids=lambda v: str(v)[:50])
def test_a_config_that_says_what_cannot_be(
    file: str, entries: dict[str, Any], told: str, copied: Path
) -> None:
    says(copied, file, **entries)
    with pytest.raises(LdmError, match=told):
        Pipeline.from_pretrained(copied)


@pytest.mark.parametrize(
    ("file", "entries"),
    [
        (TEXT, {"attn_implementation": "eager"}),
        (TEXT, {"auto_map": {"AutoModel": "someone/model--code.Model"}}),
        (TOKENIZER, {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}}),
        (TOKENIZER, {"tokenizer_class": "os.system"}),
        (TOKENIZER, {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"}),
        (UNET, {"auto_map": {"x": "y"}, "_class_name": "os.system"}),
        ("model_index.json", {"safety_checker": ["os", "system"]}),
    ],
    ids=str,
)
def test_names_of_code_do_nothing(
    file: str, entries: dict[str, Any], copied: Path, pipe: Pipeline
) -> None:
    says(copied, file, **entries)
    ours = Pipeline.from_pretrained(copied)("a red star", **CALL).images
    assert torch.allclose(ours, pipe("a red star", **CALL).images, atol=1e-5)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("tokenizer/tokenizer.json", cut_off, r"the tokenizer \(CLIPTokenizer\) in .*tokenizer cannot"),
    ("tokenizer/vocab.json", cut_off, r"vocab\.json cannot be read as JSON"),
    ("tokenizer/tokenizer_config.json", Path.unlink, r"lacks tokenizer/tokenizer_config\.json"),
    ("unet/config.json", emptied, r"unet/config\.json cannot be read as JSON"),
    ("unet/diffusion_pytorch_model.safetensors", cut_off, r"was cut off or damaged"),
    ("scheduler/scheduler_config.json", Path.unlink, r"lacks scheduler/scheduler_config\.json"),
    ("text_encoder/adapter_config.json", emptied, r"adapter_config\.json\) beside the weights"),
]


@pytest.mark.parametrize(("file", "damage", "told"), FILES)
def test_files_that_are_damaged_or_gone(
    file: str, damage: Callable[[Path], Any], told: str, copied: Path
) -> None:
    damage(copied / file)
    with pytest.raises(LdmError, match=told):
        Pipeline.from_pretrained(copied)


def test_a_tokenizer_without_a_vocabulary(copied: Path) -> None:
    for name in ("tokenizer.json", "merges.txt"):
        (copied / "tokenizer" / name).unlink()
    with pytest.raises(LdmError, match="has no vocabulary"):
        compose({"model": str(copied)}, installed())
    (copied / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (copied / "tokenizer" / "vocab.json").write_text("{}")
    with pytest.raises(LdmError, match=r"the tokenizer .* (empty vocabulary|cannot be read)"):
        Pipeline.from_pretrained(copied)


def test_a_tokenizer_of_another_encoder(copied: Path) -> None:
    says(copied, TEXT, vocab_size=20)
    file = copied / "text_encoder" / "model.safetensors"
    state = load_file(file)
    name = next(name for name in state if name.endswith("token_embedding.weight"))
    save_file({**state, name: state[name][:20].clone()}, file, metadata={"format": "pt"})
    with pytest.raises(LdmError, match=r"gives tokens up to number .* encoder knows 20"):
        Pipeline.from_pretrained(copied)


@pytest.mark.parametrize("kind", ["FLUX.2 klein", "Z-Image"])
def test_a_template_of_conversations_that_is_damaged(kind: str, tmp_path: Path) -> None:
    folder = tiny.MORE_FOLDERS[kind].write(tmp_path / "model")
    (file,) = (folder / "tokenizer").glob("*.jinja")
    whole = file.read_text()
    for damage, told in (
        (whole + "{% if %}", "makes no words of a prompt: TemplateSyntaxError"),
        ("{{ messages[0] + 1 }}", "makes no words of a prompt: TypeError"),
        ("a moon", "leaves the prompt out"),
    ):
        file.write_text(damage)
        with pytest.raises(LdmError, match=told):
            Pipeline.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_are_no_numbers(part: str, value: float, copied: Path) -> None:
    file = next((copied / part).glob("*.safetensors"))
    state = load_file(file)
    name = max(state, key=lambda name: state[name].numel())
    state[name].view(-1)[3] = value
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(LdmError, match=rf"the {part} .*: 1 of the .* numbers of .* are not finite"):
        Pipeline.from_pretrained(copied)


def test_numbers_that_are_too_large_for_the_dtype(copied: Path) -> None:
    file = next((copied / "unet").glob("*.safetensors"))
    state = load_file(file)
    state["conv_in.weight"].view(-1)[0] = 1e6
    save_file(state, file, metadata={"format": "pt"})
    Pipeline.from_pretrained(copied)
    with pytest.raises(LdmError, match="not finite as float16"):
        Pipeline.from_pretrained(copied, dtype="float16")


VALUES: list[Any] = [None, True, 0, -1, 3, 2**31, 10**30, -0.5, 1e30, "", "x", [], {}, [1], [None]]


def damaged(rng: random.Random, folder: Path) -> str:
    """One file of the folder with something else in it; what was done."""
    file = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = bytearray(file.read_bytes())
    name = str(file.relative_to(folder))
    if file.suffix == ".json" and rng.random() < 0.8:
        table = json.loads(content)
        key, value = rng.choice(sorted(table)), rng.choice(VALUES)
        file.write_text(json.dumps({**table, key: value}))
        return f"{name}: {key} = {value!r}"
    if file.suffix == ".safetensors" and rng.random() < 0.3:
        at = len(content) - 4 * rng.randint(1, 500)
        content[at : at + 4] = struct.pack("<f", float("nan"))
    elif rng.random() < 0.5:
        del content[rng.randrange(len(content)) :]
    else:
        end = min(len(content), 2000)
        content[rng.randrange(end)] = rng.randrange(256)
    file.write_bytes(content)
    return f"{name}: bytes"


@pytest.mark.parametrize(
    "kind", ["Stable Diffusion", "SDXL", "LDM text", "DiT", "PixArt sigma", "SD 3", "Flux dev"]
)
def test_folders_damaged_at_random(kind: str, tmp_path: Path) -> None:
    is_whole_or_refused(tiny.FOLDERS[kind], kind, 14, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", tiny.MORE_FOLDERS)
def test_further_folders_damaged_at_random(kind: str, tmp_path: Path) -> None:
    is_whole_or_refused(tiny.MORE_FOLDERS[kind], kind, 30, tmp_path)


def is_whole_or_refused(written: tiny.Kind, kind: str, times: int, tmp_path: Path) -> None:
    """Each of so many damaged copies draws finite numbers, or is refused in one message."""
    folder = written.write(tmp_path / "whole")
    inputs = written.inputs_in(tmp_path)
    one = {name: value[0] for name, value in inputs.items() if isinstance(value, list)}
    inputs = {**inputs, **one}
    whole, refused, drawn = tmp_path / "damaged", 0, 0
    for seed in range(times):
        shutil.copytree(folder, whole)
        what = damaged(random.Random(f"{kind} {seed}"), whole)
        try:
            output = Pipeline.from_pretrained(whole)(**inputs, **CALL).images
        except LdmError:
            refused += 1
        except BaseException as error:
            pytest.fail(f"{kind}, seed {seed}, {what}: {type(error).__name__}: {error}")
        else:
            assert output.isfinite().all(), what
            drawn += 1
        shutil.rmtree(whole)
    assert refused
    assert drawn


@pytest.mark.parametrize(
    "config",
    [
        {"transformer_layers_per_block": [0, 2, 10], "attention_head_dim": [5, 10, 20]},
        {"transformer_layers_per_block": [[0, 0], [2, 2], [4, 4, 4]], "layers_per_block": [1, 2]},
        {"num_single_layers": 0, "pad_token_id": 0, "scaling_factor": 1, "shift_factor": None},
        {
            "sample_size": [60, 90],
            "norm_eps": 1e-6,
            "attention_dropout": 0,
            "downsample_padding": 0,
        },
    ],
)
def test_unusual_values_of_published_configs_are_taken(config: dict[str, Any]) -> None:
    check_component(config, Path("config.json"))


@pytest.mark.parametrize("value", [-1, 1.5, True, [], [2, "4"], 2**21])
def test_a_depth_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises(LdmError, match="transformer_layers_per_block should be a whole number"):
        check_component({"transformer_layers_per_block": value}, Path("config.json"))


@pytest.mark.parametrize("value", [[1], 0, -0.5, "x", float("inf")])
@pytest.mark.parametrize("name", ["timestep_scale", "timestep_scale_multiplier"])
def test_a_scale_of_timesteps_that_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(LdmError, match=f"{name} should be a number above 0"):
        check_component({name: value}, Path("config.json"))


def test_a_processors_colours_that_cannot_be_are_refused(tmp_path: Path) -> None:
    folder = tiny.write_qwen_image_edit(tmp_path / "model")
    says(folder, "processor/preprocessor_config.json", image_std=[1])
    with pytest.raises(LdmError, match=r"its processor says image_std = \[1\], which should be 3"):
        compose({"model": str(folder)}, installed())
