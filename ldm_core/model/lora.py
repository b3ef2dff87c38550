"""LoRA files: what a recipe says of them; found and checked before any weight is read."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.model.files import from_hub
from ldm_core.model.hub import as_file, download_file
from ldm_core.model.quantised import check_unscaled
from ldm_core.model.reading import CONVERT, PICKLE_RUNS, PICKLED, read_json
from ldm_core.model.safetensors_header import read_header
from ldm_core.values import brief, fitted, is_number


@dataclass(frozen=True)
class Lora:
    """A LoRA file (Hu et al. 2021, arXiv:2106.09685), seen to be whole.

    Attributes:
        source: as a person named it: a path or a Hub id.
        scale: factor of its change to the weights; 1 is as it was trained.
        scales: the factor by component, and by block within one, in place of one for all.
        component: the network that it changes, of a model with two that share the way.
        config: where PEFT saved it, the file beside it that says its alpha.
    """

    source: str
    file: Path
    scale: float
    config: Path | None = None
    scales: Mapping[str, Any] | None = None
    component: str | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """What a recipe says of it beside its path."""
        said = {"scale": self.scale} if self.scales is None else {"scales": self.scales}
        return said if self.component is None else {**said, "component": self.component}


KEYS = {"path", "scale", "scales", "component"}
"""What a table in ``loras`` may say."""
USUAL = {"scale": 1.0, "scales": None, "component": None}
"""What an entry says that says nothing of these."""
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PEFT_START = "base_model.model."
"""How PEFT itself names the weights of every model."""
OTHER_KINDS = {
    "hada_": "a LoHa, whose changes are products of two low-rank ones",
    "lokr_": "a LoKr, whose changes are Kronecker products",
    "oft_": "an OFT, which turns weights",
    "boft_": "a BOFT, which turns weights",
    "ia3_": "an (IA)³, which scales activations",
    "on_input": "an (IA)³, which scales activations",
    "vera_lambda": "a VeRA, whose matrices are random and shared",
    "lora_E": "an AdaLoRA, whose ranks are weighed",
    "dora_scale": "a DoRA with magnitudes (dora_scale), which Diffusers leaves out",
    "lora_magnitude_vector": "a DoRA with magnitudes (lora_magnitude_vector)",
    "lora_embedding_": "one of embeddings, whose factors are named lora_embedding",
    "diff": "one with whole differences of weights (diff)",
    "diff_b": "one with whole differences of weights (diff_b)",
    "a1": "a GLoRA",
}
"""Other changes to weights, by one of the last two words of their tensors' names, or its beginning
up to a ``_``, each with what it is. What is read here is LoRA: two factors for each weight."""
HALVES = (
    (".lora_down.weight", ".lora_up.weight"),
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    ("_lora.down.weight", "_lora.up.weight"),
)
"""How the names of a weight's two factors end, in each way to write a file: that which comes first,
(rank, in, ...), and the other, (out, rank, ...)."""
MARKS = ("lora", "lokr_", "hada_", "oft_", "boft_", "ia3_", "vera_lambda")


def as_lora(value: Any) -> dict[str, Any]:
    """An entry of a recipe's ``loras`` as a table of path and scale.

    Args:
        value: a path, ``path:scale``, or a table with ``path`` and, where it is not 1, ``scale``,
            or ``scales`` of components: ``{"unet": {"mid": 0.5}, "text_encoder": 0}``; and
            ``component``, the network that it changes of a model with two.
    Raises:
        LdmError: it is something else.
    """
    table = value
    if isinstance(value, str | Path):
        path, scale = str(value), re.fullmatch(r"(.+):([-+]?[\d.]+(?:e[-+]?\d+)?)", str(value))
        table = {"path": scale[1], "scale": scale[2]} if scale else {"path": path}
    if not isinstance(table, Mapping) or not {"path"} <= {*table} <= KEYS:
        raise LdmError(
            "an entry of 'loras' should be a path, path:scale, or a table of path and scale or "
            f"scales, not {brief(value)}."
        )
    component = table.get("component")
    if not isinstance(component, str | None):
        raise LdmError(f"the component of an entry of 'loras' is a name, not {brief(component)}.")
    of = {} if component is None else {"component": component}
    path, scale = table["path"], table.get("scale", 1.0)
    if not isinstance(path, str | Path):
        raise LdmError(f"the path of an entry of 'loras' should be text, not {brief(path)}.")
    if "scales" in table:
        if "scale" in table:
            raise LdmError(
                f"the LoRA '{path}' in 'loras' has a scale and scales; what scales do not name has "
                "the scale 1, so say one of the two."
            )
        return {"path": str(path), "scales": _as_scales(path, table["scales"]), **of}
    try:
        number = fitted(float, scale, text=True)
    except ValueError:
        raise LdmError(
            f"the scale of the LoRA '{path}' in 'loras' should be a number, not {brief(scale)}."
        ) from None
    return {"path": str(path), "scale": number, **of}


def _as_scales(path: Any, value: Any) -> dict[str, Any]:
    """The scales of a LoRA by component, each a number or a table of numbers."""
    if not isinstance(value, Mapping) or not value:
        raise _no_scales(path, value)
    return {str(name): _as_part(path, scale) for name, scale in value.items()}


def _as_part(path: Any, value: Any) -> Any:
    """A number, some of them, or a table of such."""
    if isinstance(value, Mapping) and value:
        return {str(name): _as_part(path, scale) for name, scale in value.items()}
    if isinstance(value, list | tuple) and value:
        return [_as_part(path, scale) for scale in value]
    if not is_number(value) or not math.isfinite(value):
        raise _no_scales(path, value)
    return float(value)


def _no_scales(path: Any, value: Any) -> LdmError:
    return LdmError(
        f"the scales of the LoRA '{path}' in 'loras' should be a table of numbers by component, or "
        f"of tables by block, not {brief(value)}.",
        "as in {unet = {down = {block_2 = 0.5}}, text_encoder = 0}",
    )


def strength(entry: Mapping[str, Any]) -> dict[str, Any]:
    """How strongly a table in ``loras`` or a manifest has a file act, and on what."""
    said = {key: entry.get(key) or usual for key, usual in USUAL.items()}
    said["scale"] = entry.get("scale", 1.0)
    return said


def strength_in_words(entry: Mapping[str, Any]) -> str:
    """What `strength` says, as ``scale 0.5``."""
    said = strength(entry)
    scales = f"scale {said['scale']:g}" if not said["scales"] else f"scales {said['scales']}"
    return f"{scales}, of the {said['component']}" if said["component"] else scales


def find_loras(entries: Sequence[Mapping[str, Any]]) -> tuple[Lora, ...]:
    """The files of these entries, each seen to be whole and to hold a LoRA.

    Raises:
        LdmError: one is missing, cut off, pickled, or no LoRA.
    """
    return tuple(
        replace(
            _find(entry["path"], entry.get("scale", 1.0), entry.get("scales")),
            component=entry.get("component"),
        )
        for entry in entries
    )


def is_lora(names: Iterable[str]) -> bool:
    """Whether tensors of these names are a LoRA's, or another change's to a model's weights."""
    return any(mark in name for name in names for mark in MARKS)


def _find(source: str, scale: float, scales: Mapping[str, Any] | None) -> Lora:
    file = to_read(source, "the LoRA of 'loras'")
    if file.suffix in PICKLED:
        raise LdmError(f"the LoRA '{source}' is a pickled file, {PICKLE_RUNS}", CONVERT)
    if file.is_dir():
        if not (file / PEFT_FILE).is_file():
            raise LdmError(f"the LoRA '{source}' is a folder; name the .safetensors file in it.")
        file = (file / PEFT_FILE).resolve()
    elif file.is_file():
        file = file.resolve()
    elif (hub := as_file(source)) is not None:
        file = Path(from_hub(source, "file", lambda: download_file(hub, [PEFT_CONFIG])))
    else:
        raise LdmError(f"there is no LoRA file '{source}'.")
    header = read_header(file)
    if not is_lora(header.shapes):
        raise LdmError(f"'{source}' holds no LoRA: none of its tensors is named as one.")
    config = _check_peft(source, file, header.shapes)
    _check_kind(source, header.shapes)
    try:
        check_unscaled(header)
    except LdmError as error:
        raise LdmError(f"the LoRA '{source}': {error.message}", error.hint) from None
    return Lora(source, file, scale, config, scales)


def _check_peft(source: str, file: Path, names: Iterable[str]) -> Path | None:
    """The config beside a file that PEFT saved; None where another program did."""
    if not any(name.startswith(PEFT_START) for name in names):
        return None
    config = file.with_name(PEFT_CONFIG)
    if not config.is_file():
        raise LdmError(
            f"the LoRA '{source}' was saved by PEFT, and {PEFT_CONFIG}, which says its alpha, is "
            "not beside it.",
            "without it the strength that it was trained with is not known.",
        )
    kind = str(read_json(config).get("peft_type", "LORA"))
    if kind != "LORA":
        raise LdmError(f"'{source}' is a {kind}, as its {PEFT_CONFIG} says; only LoRA is read.")
    return config


def _check_kind(source: str, names: Collection[str]) -> None:
    """See that a file holds two factors for each weight and nothing else."""
    for name, word in ((n, word) for n in names for word in n.split(".")[-2:]):
        for mark, kind in OTHER_KINDS.items():
            if word == mark or (mark.endswith("_") and word.startswith(mark)):
                raise LdmError(
                    f"'{source}' is {kind} ({name}); of the changes to weights only LoRA is read.",
                    "merge it into the model with the program that it was trained with.",
                )
    for one, other in (pair[::way] for pair in HALVES for way in (1, -1)):
        for name in names:
            if name.endswith(one) and name.removesuffix(one) + other not in names:
                raise LdmError(
                    f"the LoRA '{source}' is not whole: it has {name} and lacks the other factor, "
                    f"{name.removesuffix(one) + other}."
                )
