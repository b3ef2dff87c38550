"""LoRA of a stranger."""

from __future__ import annotations

from typing import Any

from fuzz.case import Case
from fuzz.hostile import blobs
from fuzz.hostile.models import KNOWN, LIES


def _lora(note: str, data: bytes | None = None, *steps: list[Any], scale: str = "") -> Case:
    first = ["copy", "l.safetensors", "lora.safetensors"]
    step = first if data is None else blobs.step("l.safetensors", data)
    argv = [*KNOWN, "--lora", f"l.safetensors{scale}"]
    return Case("hostile", [step, *steps], argv, codes=(2,), note=note)


def _of_names(*names: str) -> bytes:
    table: dict[str, Any] = {}
    for number, name in enumerate(names):
        at = 4 * number
        table[name] = {"dtype": "F32", "shape": [1, 1], "data_offsets": [at, at + 4]}
    return blobs.tensors(table, bytes(4 * len(names)))


KEY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
LORAS = [
    *[_lora(f"a LoRA that holds {note}", data) for note, data in LIES.items()],
    _lora("a LoRA for paths", _of_names("../../x.lora_A.weight", "../../x.lora_B.weight")),
    _lora("a LoRA for attributes", _of_names("unet.__class__.lora_A.weight")),
    _lora(
        "a LoRA for methods", _of_names("unet.forward.lora_A.weight", "unet.forward.lora_B.weight")
    ),
    _lora("a LoRA of half a pair", _of_names(f"{KEY}.lora_A.weight")),
    _lora("a LoRA of no rank", None, ["tensor", "l.safetensors", 0, "empty"]),
    _lora("a LoRA that misfits", None, ["tensor", "l.safetensors", 0, "misfit"]),
    _lora("a LoRA of a strength that is no number", scale=":nan"),
    _lora("a LoRA of a strength without end", scale=":inf"),
    Case(
        "hostile",
        [blobs.step("l.pt", blobs.PICKLE)],
        [*KNOWN, "--lora", "l.pt"],
        codes=(2,),
        note="a pickled LoRA",
    ),
    Case(
        "hostile",
        [["pipe", "l.safetensors"]],
        [*KNOWN, "--lora", "l.safetensors"],
        codes=(2,),
        note="a LoRA that is a pipe",
    ),
    Case(
        "hostile",
        [["link", "l.safetensors", "/dev/zero"]],
        [*KNOWN, "--lora", "l.safetensors"],
        codes=(2,),
        note="a LoRA without end",
    ),
]
