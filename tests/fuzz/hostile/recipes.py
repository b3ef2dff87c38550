"""Recipes and tables of a stranger."""

from __future__ import annotations

import json
from typing import Any

from fuzz.case import MODELS, Case
from fuzz.hostile.models import KNOWN
from fuzz.shelf import SD


def _recipe(note: str, text: str, *steps: list[Any]) -> Case:
    whole = text if text.startswith("model") else f'model = "{MODELS}/{SD}"\n{text}\n'
    argv = ["generate", "a red star", "--seed", "1", "--recipe", "r.toml"]
    return Case("hostile", [["text", "r.toml", whole], *steps], argv, codes=(2,), note=note)


RECIPES = [
    *[
        _recipe(f"{stage} = {name}", f"{stage} = {json.dumps(name)}")
        for stage in ("scheduler", "guidance", "decoder")
        for name in ("os:system", "builtins.eval", "ldm_core.cli.main:main", "../evil.py")
    ],
    _recipe("a class that is no scheduler", 'scheduler = "diffusers:DiffusionPipeline"'),
    _recipe("a module that is no class", 'scheduler = "diffusers:utils"'),
    _recipe("a private name", 'scheduler = "diffusers:__loader__"'),
    _recipe("an integrator that is none", 'scheduler = "torchdiffeq:__builtins__"'),
    _recipe("a Python object", 'scheduler = { python = "os.system" }'),
    _recipe("an observer of Python's", 'observers = [{ name = "os.system" }]'),
    _recipe("a converter of Python's", 'converters = ["subprocess:run"]'),
    _recipe("a model of the Hub", 'model = "stranger/model"'),
    _recipe("a LoRA of the Hub", 'loras = ["stranger/lora:0.5"]'),
    _recipe("a text that nests without end", "x = " + "[" * 50_000),
    _recipe("a key without end", "a." * 30_000 + "a = 1"),
    _recipe("a number without end", "num_inference_steps = " + "9" * 50_000),
    _recipe("steps without end", "num_inference_steps = 1000000000000"),
    _recipe("a size without end", "width = 1000000000000"),
    Case(
        "hostile",
        [["pipe", "r.toml"]],
        ["recipe", "check", "r.toml"],
        codes=(2,),
        note="a recipe that is a pipe",
    ),
    Case("hostile", [], ["recipe", "check", "/dev/zero"], codes=(2,), note="a recipe without end"),
    Case(
        "hostile",
        [["pipe", "t.csv"]],
        ["augment", "--table", "t.csv", "--out", "o", *KNOWN[-2:]],
        codes=(2,),
        note="a table that is a pipe",
    ),
    Case(
        "hostile",
        [["link", "t.csv", "/dev/zero"]],
        ["augment", "--table", "t.csv", "--out", "o", *KNOWN[-2:]],
        codes=(2,),
        note="a table without end",
    ),
]
