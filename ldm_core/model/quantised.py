"""Weights of eight bits or fewer in a safetensors file, and the scales beside them.

A float of eight bits without a scale is a number like any other. With a scale beside it, the weight
is their product, and the number alone is a wrong one that looks right.
"""

from __future__ import annotations

import math

from ldm_core.errors import LdmError
from ldm_core.model.safetensors_header import Header

SCALES = (".scale_weight", ".weight_scale")
"""How the name of a weight's scale ends, in place of ``.weight``; weight times scale is meant."""
BESIDE = (".scale_input", ".input_scale")
"""Scales of what a layer is given, for arithmetic in eight bits; the weight does not need them."""
MARKER = "scaled_fp8"
NARROW_FLOATS = ("F8_E4M3", "F8_E5M2")
WIDE = ("F64", "F32", "F16", "BF16")
WHOLE = ("I64", "I32", "I16", "BOOL", "C64")
"""Types of positions and counts, whose numbers are no weights that were trained."""
TRAINED = (".weight", ".bias")
PRECISION = "use the files in half precision, which need no scale."


def scale_names(header: Header) -> dict[str, str]:
    """The scale of each weight that has one, by the weight's name.

    Raises:
        LdmError: weights are kept in a way that is not known here, so that what is read would not
            be what was meant: eight bits with a scale of blocks, integers without a scale, or fewer
            bits.
    """
    scales = {
        name.removesuffix(end) + ".weight": name
        for name in header.shapes
        for end in SCALES
        if name.endswith(end)
    }
    others = [name for name in header.shapes if _changes_a_weight(name)]
    for name, dtype in header.dtypes.items():
        if dtype in WIDE or name.endswith((*SCALES, ".comfy_quant", MARKER)):
            continue
        if dtype in WHOLE and not name.endswith(TRAINED):
            continue
        if name in scales:
            shape, scale = header.shapes[name], header.shapes[scales[name]]
            if math.prod(scale) not in (1, *shape[:1]):
                raise _unknown(name, dtype, f"a scale of shape {list(scale)}")
        elif dtype not in NARROW_FLOATS:
            raise _unknown(name, dtype, "no scale that is known")
        elif beside := [o for o in others if o.startswith(name.removesuffix("weight"))]:
            raise _unknown(name, dtype, f"{beside[0]} beside it")
    return {weight: scale for weight, scale in scales.items() if weight in header.shapes}


def check_unscaled(header: Header) -> None:
    """See that no weight needs a scale, where nothing would apply one.

    Raises:
        LdmError: one does.
    """
    for weight, scale in scale_names(header).items():
        raise LdmError(
            f"its weights are quantised: {weight} ({header.dtypes[weight]}) is to be multiplied by "
            f"{scale}, which the reader of this format would leave out.",
            PRECISION,
        )


def _changes_a_weight(name: str) -> bool:
    """Whether a tensor is named as one that says how a weight beside it is meant."""
    last = name.rpartition(".")[2].lower()
    return any(word in last for word in ("scale", "absmax", "scb", "quant")) and not name.endswith(
        BESIDE
    )


def _unknown(name: str, dtype: str, has: str) -> LdmError:
    return LdmError(
        f"its weights are quantised in a way that is not known here: {name} is kept as {dtype} "
        f"and has {has}.",
        PRECISION,
    )
