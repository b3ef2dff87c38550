"""What a component's ``config.json`` may say: possible numbers, and nothing that chooses code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.model.reading import read_json

ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
BUILT_IN = (None, "eager", "sdpa")
"""Attention of Transformers' own. Any other name is a package's, or a repository's of the Hub whose
program would be fetched and run."""
NAMES_CODE = ("transformers_weights", "kernel_config", "custom_generate")
"""Keys by which Transformers would read another file, or run another program, than is meant."""
QUANTISERS = ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit", "quanto", "torchao")
"""Ways to keep weights whose readers are a package's alone. Others fetch kernels from the Hub."""
DTYPE_KEYS = ("dtype", "torch_dtype", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage")
DTYPES = ("float64", "float32", "float16", "bfloat16", "uint8", "int8", "float8_e4m3fn", "auto")
LARGEST = 2**31
"""No number of a config is larger; `ldm_plugins` holds those of sizes against the weights."""


def read_config(folder: Path) -> dict[str, Any]:
    """A component's ``config.json``.

    Raises:
        LdmError: it is missing or broken, or `check_config` refuses it.
    """
    file = folder / "config.json"
    config = read_json(file)
    check_config(config, file)
    if (folder / "adapter_config.json").exists():
        raise LdmError(
            f"{folder} holds an adapter (adapter_config.json) beside the weights, which "
            "Transformers would put on them unasked.",
            "take it out, and give it with --lora where it is meant.",
        )
    return config


def check_config(config: Mapping[str, Any], file: Path) -> None:
    """See that a config chooses no code and has no number that cannot be.

    Classes are never taken from it, and ``auto_map`` and the like do nothing.

    Raises:
        LdmError: it does.
    """
    for key, value in _entries(config):
        if key in ATTENTION:
            names = value.values() if isinstance(value, dict) else [value]
            if any(not (name is None or name in BUILT_IN) for name in map(_text, names)):
                raise LdmError(
                    f"{file} chooses the attention {_short(value)}, which may be a program from "
                    "elsewhere; eager and sdpa are taken.",
                    f"take {key} out; `--attention` chooses the kernel of every layer.",
                )
        elif key in NAMES_CODE and value is not None:
            raise LdmError(
                f"{file} says {key} = {_short(value)}, which is not followed.", f"take {key} out."
            )
        elif key == "quantization_config" and value is not None:
            _check_quantisation(value, file)
        elif key in DTYPE_KEYS and value is not None and _text(value) not in DTYPES:
            raise LdmError(
                f"{file}: {key} should be one of {', '.join(DTYPES)}, not {_short(value)}."
            )
        elif isinstance(value, int | float) and abs(value) > LARGEST:
            raise LdmError(f"{file}: {key} = {_short(value)} is beyond all that can be.")


def attention_of(config: Mapping[str, Any]) -> str | None:
    """The one of Transformers' own attentions that a config chooses; None where it leaves it."""
    chosen = (config.get(key) for key in ATTENTION)
    return next((name for name in chosen if isinstance(name, str)), None)


def _check_quantisation(value: Any, file: Path) -> None:
    table = value if isinstance(value, dict) else {}
    old = table.get("load_in_8bit") is True or table.get("load_in_4bit") is True
    method = table.get("quant_method", "bitsandbytes" if old else None)
    if method not in QUANTISERS:
        raise LdmError(
            f"{file} says that its weights are quantised by {_short(method)}; known are "
            f"{', '.join(QUANTISERS)}.",
            "use the weights in half precision.",
        )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Each key with its value, within tables and lists too; of a list's numbers its own key."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _entries(inner)
            if isinstance(inner, list):
                yield from ((str(key), entry) for entry in inner if isinstance(entry, int | float))
    elif isinstance(value, list):
        for entry in value:
            yield from _entries(entry)


def _text(value: Any) -> Any:
    """What is looked up in a list of names: whatever is neither text nor nothing is in none."""
    return value if value is None or isinstance(value, str) else "?"


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


def check_kinds(config: Mapping[str, Any], cls: type, file: Path) -> None:
    """See that no text or table stands where a class takes numbers, and the like.

    Only the kinds are compared, and only where the class states them: numbers, true and false are
    one, and a list is as its entries.

    Args:
        cls: a class of Diffusers, whose arguments are the config's keys.
    Raises:
        LdmError: one does; the class itself would go on, and err in the middle of a run.
    """
    for name, parameter in inspect.signature(cls).parameters.items():
        words = set(re.findall(r"\w+", str(parameter.annotation)))
        allowed = {kind for kind, names in KINDS.items() if names & words}
        stated = words & {"Any", "_empty", "Callable"} or not allowed
        if not stated and (others := {*_kinds(config.get(name))} - allowed):
            raise LdmError(
                f"{file}: {name} should be made of {' or '.join(sorted(allowed))}, not "
                f"{' or '.join(sorted(others))}: {_short(config[name])}."
            )


KINDS = {
    "numbers": {"int", "float", "bool"},
    "text": {"str", "Literal"},
    "tables": {"dict", "Dict", "Mapping"},
}


def _kinds(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for entry in value:
            yield from _kinds(entry)
    elif isinstance(value, dict):
        yield "tables"
    elif value is not None and value is not False:  # which some say for nothing
        yield "text" if isinstance(value, str) else "numbers"
