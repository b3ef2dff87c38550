"""Model folders of every family whose JSON files say something else."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.case import HERE, Case
from fuzz.kinds.values import numbers, values, words
from fuzz.shelf import FAMILIES, asked

ADDED = (
    "auto_map",
    "_attn_implementation",
    "attn_implementation",
    "quantization_config",
    "_class_name",
    "_name_or_path",
    "architectures",
    "model_type",
    "torch_dtype",
    "trust_remote_code",
    "custom_pipeline",
    "tokenizer_class",
    "processor_class",
)
"""Keys that choose code or types in one of the libraries."""
SAID: list[Any] = [
    {"AutoModel": "evil.Model"},
    "kernels-community/flash-attn",
    "sdpa",
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "gptq", "bits": 4},
    {"load_in_8bit": True},
    ["os", "system"],
    ["evil", "Model"],
    "os.system",
    "CLIPTextModel",
    "UNet2DConditionModel",
    "../../evil",
    "float16",
    "float99",
    True,
]


@functools.cache
def files_of(shelf: str, family: str) -> dict[str, Any]:
    """The JSON files of a folder on the shelf."""
    folder = Path(shelf) / family
    return {
        str(file.relative_to(folder)): json.loads(file.read_text())
        for file in sorted(folder.rglob("*.json"))
        if file.stat().st_size < 20_000
    }


@functools.cache
def example(family: str) -> dict[str, Any]:
    """The same, of a folder written for the purpose, since drawing needs no shelf."""
    import tempfile

    import tiny

    kinds = {name.lower().replace(" ", "-"): kind for name, kind in tiny.FOLDERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        kinds[family].write(Path(folder) / family)
        return files_of(folder, family)


@st.composite
def configs(draw: st.DrawFn) -> Case:
    """One to three values of a model's JSON files changed, added or taken out; or a file broken."""
    family = draw(st.sampled_from(FAMILIES))
    files = example(family)
    steps: list[list[Any]] = [["copy", "m", family]]
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(files)))
        form = draw(st.sampled_from(["value", "value", "value", "added", "out", "text", "gone"]))
        table = files[name]
        keys = sorted(table) if isinstance(table, dict) and table else ["x"]
        key = draw(st.sampled_from(keys))
        if form == "value":
            now = table.get(key) if isinstance(table, dict) else None
            near = numbers if isinstance(now, int | float) else values
            path: list[Any] = [key]
            if isinstance(now, list) and now and draw(st.booleans()):
                path.append(draw(st.integers(0, len(now) - 1)))
            steps.append(["json", f"m/{name}", path, draw(near | values)])
        elif form == "added":
            said = st.sampled_from(SAID) | values
            steps.append(["json", f"m/{name}", [draw(st.sampled_from(ADDED) | words)], draw(said)])
        elif form == "out":
            steps.append(["json", f"m/{name}", [key]])
        elif form == "text":
            odd = ["", "{", "[]", "null", "NaN", '{"a": 1', "\ufeff{}", "[" * 100_000, "9" * 5000]
            steps.append(["text", f"m/{name}", draw(st.sampled_from(odd))])
            break
        else:
            steps.append(["link", f"m/{name}", f"{HERE}/nowhere"])
            break
    argv = ["explain", "--model", "m"]
    if draw(st.integers(0, 2)):
        argv = ["generate", *asked(family), "--model", "m"]
        steps += [["picture", "a.png", {}], ["picture", "m.png", {"mode": "L"}]]
    return Case("config", steps, argv)
