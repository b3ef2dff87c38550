"""Which files hold the weights of a component, and whether they are whole."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.quantised import check_unscaled
from ldm_core.model.reading import CONVERT, PICKLE_RUNS, PICKLED, read_json
from ldm_core.model.safetensors_header import Shapes, read_header

VARIANTS = (None, "fp16", "bf16")
"""Which of a component's precisions is read: the first of these that it has."""
NAME = re.compile(
    r"(?:diffusion_pytorch_model|model)"
    r"(?:\.(?P<before>\w+))?(?P<shard>-\d+-of-\d+)?(?:\.(?P<behind>\w+))?"
    r"\.safetensors(?P<index>\.index(?:\.(?P<variant>\w+))?\.json)?"
)
"""How Diffusers and Transformers name weights, their parts, and the index of parts."""


@dataclass(frozen=True)
class WeightFiles:
    """The files of one precision of a component.

    Attributes:
        variant: ``fp16`` and the like; None where the names say nothing.
        names: the files, the index among them where there is one.
        index: the one that says which tensor lies in which file.
    """

    variant: str | None
    names: tuple[str, ...]
    index: str | None


def choose(names: Iterable[str]) -> WeightFiles | None:
    """Those files of a component's folder that its weights are read from; None where there are
    none that can be.

    The precision in full where there is one, or else a half one.
    """
    sets: dict[str | None, list[str]] = {}
    whole: dict[str | None, str | None] = {}
    for name in sorted(names):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        variant = match["before"] or match["behind"] or match["variant"]
        sets.setdefault(variant, []).append(name)
        if match["index"]:
            whole[variant] = name
        elif not match["shard"]:
            whole.setdefault(variant, None)
    variant = next((variant for variant in VARIANTS if variant in whole), "")
    return WeightFiles(variant, tuple(sets[variant]), whole[variant]) if variant != "" else None


def find_weights(folder: Path) -> WeightFiles:
    """The weights in a component's folder.

    Raises:
        LdmError: there are none, or only such as nothing reads.
    """
    names = [file.name for file in folder.glob("*") if file.is_file()]
    if (files := choose(names)) is not None:
        return files
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if any("-of-" in name for name in others):
        raise LdmError(
            f"{folder} has parts of weights such as {others[0]}, and no index of them "
            "(*.safetensors.index.json).",
            "copy or download it again.",
        )
    if others:
        raise LdmError(
            f"{folder} has no weights under a name that is read: {', '.join(others)}."
            f"{did_you_mean(others[0], ['diffusion_pytorch_model.safetensors'])}",
            "precisions that are read: in full, fp16 and bf16.",
        )
    pickled = [name for name in names if PurePosixPath(name).suffix in PICKLED]
    if pickled:
        raise LdmError(f"{folder} holds pickled weights ({pickled[0]}), {PICKLE_RUNS}", CONVERT)
    raise LdmError(f"{folder} has no weights (*.safetensors).")


def check_weights(folder: Path, components: Iterable[str]) -> None:
    """See that each component has whole safetensors files; reads their headers alone.

    Raises:
        LdmError: weights are missing, truncated, pickled, or need a scale that would be left out.
            Nothing is ever unpickled.
    """
    for component in components:
        part = folder / component
        files = find_weights(part)
        headers = {
            name: read_header(part / name) for name in files.names if name.endswith(".safetensors")
        }
        if files.index is not None:
            _check_index(part / files.index, {name: h.shapes for name, h in headers.items()})
        for name, header in headers.items():
            try:
                check_unscaled(header)
            except LdmError as error:
                if _says_how(part / "config.json"):
                    continue
                raise LdmError(f"{part / name}: {error.message}", error.hint) from None


def _says_how(config: Path) -> bool:
    """Whether a component's config says how its quantised weights are to be read."""
    return config.is_file() and "quantization_config" in read_json(config)


def _check_index(index: Path, files: dict[str, Shapes]) -> None:
    """See that every tensor of an index lies in the file that it names."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict):
        raise LdmError(f"{index} should have a table weight_map.")
    for tensor, name in places.items():
        if name not in files:
            raise LdmError(
                f"{index.parent} lacks {name}, one of the {len({*places.values()})} files that "
                f"{index.name} names.",
                "copy or download it again.",
            )
        if tensor not in files[name]:
            raise LdmError(f"{index.parent / name} lacks {tensor}, which {index.name} puts there.")
