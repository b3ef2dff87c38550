"""JSON files of a model folder that choose code, or have no end."""

from __future__ import annotations

import json

from fuzz.case import MODELS, Case
from fuzz.hostile import blobs
from fuzz.hostile.models import KNOWN, OUTSIDE, UNET, model
from fuzz.shelf import SD

CONFIGS = [
    model(
        "a network of a module that it brings",
        ["json", "m/model_index.json", ["unet"], ["evil", "Evil"]],
    ),
    model(
        "a network that is a function of the system",
        ["json", "m/model_index.json", ["unet"], ["os", "system"]],
    ),
    model(
        "a tokenizer of a module that it brings",
        ["json", "m/model_index.json", ["tokenizer"], ["evil", "Evil"]],
    ),
    model(
        "a pipeline of a file that it brings",
        ["text", "m/pipeline.py", blobs.CODE],
        ["json", "m/model_index.json", ["_class_name"], ["pipeline", "Evil"]],
    ),
    model("a pipeline by a path", ["json", "m/model_index.json", ["_class_name"], "../evil"]),
    model(
        "a scheduler that is none",
        ["json", "m/scheduler/scheduler_config.json", ["_class_name"], "os.system"],
    ),
    model("an index that nests without end", ["text", "m/model_index.json", "[" * 200_000]),
    model("a config that nests without end", ["text", "m/unet/config.json", '{"a":' * 100_000]),
    model(
        "a network of a billion channels",
        ["json", "m/unet/config.json", ["block_out_channels"], [2**30, 2**30]],
    ),
    model(
        "a text encoder of a billion words",
        ["json", "m/text_encoder/config.json", ["vocab_size"], 2**31],
    ),
    model(
        "an index that is a pipe", ["gone", "m/model_index.json"], ["pipe", "m/model_index.json"]
    ),
    model("an index without end", ["link", "m/model_index.json", "/dev/zero"]),
    model("weights that are a pipe", ["gone", UNET], ["pipe", UNET]),
    model("plugins that are Python's", ["text", "m/ldm.toml", 'scheduler = "os:system"\n']),
    model("a LoRA of the Hub", ["text", "m/ldm.toml", 'loras = ["stranger/lora"]\n']),
    model(
        "a LoRA up the folders",
        ["copy", "outside/lora.bin", "lora.safetensors"],
        ["text", "m/ldm.toml", 'loras = ["../outside/lora.bin"]\n'],
    ),
]
HARMLESS = [
    model(
        f"{json.dumps(value)[:40]} as {key} of {file}",
        ["json", f"m/{file}", [key], value],
        codes=(0, 2),
    )
    for file in (
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
    )
    for key, value in {
        "auto_map": {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        "_attn_implementation": "stranger/kernel",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "_name_or_path": "stranger/model",
        "custom_pipeline": "evil",
        "tokenizer_class": "evil.Evil",
    }.items()
] + [
    model(
        "weights that are a link to elsewhere",
        OUTSIDE,
        ["gone", UNET],
        ["link", UNET, f"{MODELS}/{SD}/unet/diffusion_pytorch_model.safetensors"],
        codes=(0, 2),
    ),
    Case(
        "hostile",
        [["copy", "l.safetensors", "lora.safetensors"], ["tensor", "l.safetensors", 1, "huge"]],
        [*KNOWN, "--lora", "l.safetensors"],
        note="a LoRA of huge numbers",
    ),
    Case(
        "hostile",
        [],
        [*KNOWN, "--lora", f"{MODELS}/lora.safetensors:1e30"],
        note="a LoRA of huge strength",
    ),
]
"""What may be left aside, or refused, as long as no code of it runs and nothing is asked for."""
