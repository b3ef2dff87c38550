"""Calls of the Python API from what a case says of them.

A value is JSON, or a table ``{"$": what, ...}`` for what only Python has; see `VALUES`.
"""

from __future__ import annotations

import decimal
import fractions
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MOST_OUTPUTS = 4
"""After so many a stream is left."""


def value_of(given: Any) -> Any:
    """The Python value that a JSON one stands for."""
    if isinstance(given, dict):
        if "$" in given:
            return VALUES[given["$"]](given)
        return {key: value_of(entry) for key, entry in given.items()}
    return [value_of(entry) for entry in given] if isinstance(given, list) else given


def _array(table: Mapping[str, Any]) -> Any:
    array = np.full(table["shape"], table.get("fill", 0.5))
    with np.errstate(all="ignore"):
        return array.astype(table.get("dtype", "float32"))


def _tensor(table: Mapping[str, Any]) -> Any:
    import torch

    return torch.full(table["shape"], table.get("fill", 0.5)).to(
        getattr(torch, table.get("dtype", "float32"))
    )


def _picture(table: Mapping[str, Any]) -> Any:
    from PIL import Image

    return Image.linear_gradient("L").resize(table["size"]).convert(table.get("mode", "RGB"))


def _forever(table: Mapping[str, Any]) -> Iterator[str]:
    while True:
        yield "a red star"


def _sleep(table: Mapping[str, Any]) -> Any:
    """Stands for a call that never ends, to try the judges."""
    time.sleep(3600)


VALUES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "array": _array,
    "tensor": _tensor,
    "picture": _picture,
    "number": lambda table: np.dtype(table["dtype"]).type(table["value"]),
    "function": lambda table: lambda *a, **b: a,
    "function of two": lambda table: lambda d, p: d,
    "object": lambda table: object(),
    "type": lambda table: int,
    "bytes": lambda table: b"a red star",
    "set": lambda table: {"a", "b"},
    "tuple": lambda table: tuple(value_of(table["of"])),
    "path": lambda table: Path(table["of"]),
    "complex": lambda table: 1 + 2j,
    "decimal": lambda table: decimal.Decimal("1.5"),
    "fraction": lambda table: fractions.Fraction(1, 3),
    "range": lambda table: range(3),
    "generator": lambda table: (n for n in range(3)),
    "forever": _forever,
    "sleep": _sleep,
    "text": lambda table: str(table["of"]) * int(table.get("times", 1)),
    "device": lambda table: __import__("torch").device(table["of"]),
    "dtype": lambda table: getattr(__import__("torch"), table["of"]),
}


@functools.cache
def pipeline(model: str) -> Any:
    """The pipeline of a model, loaded once in a process and its children."""
    from ldm_core import Pipeline

    return Pipeline.from_pretrained(model, num_inference_steps=1, device="cpu")


def call(table: Mapping[str, Any], shelf: Path) -> str:
    """Do a call; ``not finite`` and where, in words, where what it gives is no picture.

    Args:
        table: ``name`` of the call, ``model`` on the shelf, ``arguments`` and ``options``.
    """
    arguments = [value_of(entry) for entry in table.get("arguments", [])]
    options = {name: value_of(entry) for name, entry in table.get("options", {}).items()}
    name: str = table["name"]
    if name == "from_pretrained":
        from ldm_core import Pipeline

        return _finite(Pipeline.from_pretrained(*arguments, **options)("a red star", seed=1))
    pipe = pipeline(str(shelf / table["model"]))
    if name == "call":
        return _finite(pipe(*arguments, **options))
    if name == "batches":
        return _finite(pipe.batches(*arguments, **options))
    if name == "replace":
        return _finite(pipe.replace(*arguments, **options)(**_asked(table["model"])))
    if name in ("encode", "decode", "medium", "noise", "output", "stream", "resume"):
        return _finite(getattr(pipe, name)(*arguments, **options))
    if name == "chain":
        from ldm_core import chain

        return _finite(chain(*arguments, **options))
    import importlib

    module = importlib.import_module(f"ldm_pipelines.{name}")
    function = getattr(module, name)
    return _finite(function(pipe, *arguments, **options))


def _asked(model: str) -> dict[str, Any]:
    return {"seed": 1, **({"class_label": 3} if model == "dit" else {"prompt": "a red star"})}


def _finite(result: Any) -> str:
    """What of a result is not finite."""
    import torch

    for number, output in enumerate(_each(result)):
        values = output.images if hasattr(output, "images") else output
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, torch.Tensor) and not value.isfinite().all():
                return f"not finite: a tensor of output {number}"
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                return f"not finite: an array of output {number}"
            if hasattr(value, "getextrema") and not np.asarray(value).any():
                return f"not finite: a black picture in output {number}"
        if number + 1 >= MOST_OUTPUTS:
            break
    return ""


def _each(result: Any) -> Iterable[Any]:
    return result if isinstance(result, Iterator) else [result]
