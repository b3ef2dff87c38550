"""What the tensors of a single file say beside the weights, and by which names."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.quantised import BESIDE, MARKER, SCALES, scale_names
from ldm_core.model.safetensors_header import Header, Shapes, read_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CLIPS = re.compile(
    r"((?:cond_stage_model|conditioner\.embedders\.\d+|text_encoders\.clip_[lg])\.transformer\.)"
    r"(?=(?:embeddings|encoder|final_layer_norm)\.)"
)
TEXT = re.compile(r"(?:cond_stage_model|conditioner\.embedders\.\d+|text_encoders\.\w+)\.")
KNOWN = ("model.diffusion_model.", "first_stage_model.", "vae.", "model_ema.", "denoiser.")
CONNECTORS = ("_embeddings_connector.",)
"""In names of tensors that LTX-2's files have among those of the network, which uses none."""
UNCOUNTED = (".loss.", ".per_channel_statistics.", *CONNECTORS)
"""In names of tensors that have no place, or not all, in the component whose names are theirs."""
EDM = ("edm_mean", "edm_std", "edm_vpred.sigma_max")
PREDICTION = "modelspec.prediction_type"
"""In a header: ``v`` or ``epsilon`` (Stability AI's model metadata standard)."""


def usual_name(name: str) -> str:
    """A tensor's name as converters know it: CLIP's in old files lack ``text_model``."""
    return CLIPS.sub(r"\1text_model.", name)


def scheduler_settings(header: Header) -> dict[str, Any]:
    """What a file says of its noise schedule: empty tensors ``v_pred`` and ``ztsnr`` are how
    trainers mark networks that predict velocity, and were trained from pure noise.

    Raises:
        LdmError: it was trained as EDM trains, which the families of single files are not.
    """
    for name in EDM:
        if name in header.shapes:
            raise LdmError(
                f"the file says by its tensor {name} that its network was trained with EDM's "
                "preconditioning (Karras et al. 2022), which no family of single files reads."
            )
    settings: dict[str, Any] = {}
    if "v_pred" in header.shapes or header.metadata.get(PREDICTION) == "v":
        settings["prediction_type"] = "v_prediction"
    if "ztsnr" in header.shapes:
        settings["rescale_betas_zero_snr"] = True
    return settings


def check_texts(
    source: str, shapes: Shapes, starts: Collection[str], taken: Collection[str]
) -> None:
    """See that no text encoder of a file is passed over for the one beside the configs.

    Args:
        starts: how the weights of text encoders begin that are known.
        taken: those of the components that the configs name.
    Raises:
        LdmError: the file has one under names that are not known.
    """
    present = [start for start in starts if any(name.startswith(start) for name in shapes)]
    groups = {match[0]: name for name in sorted(shapes) if (match := TEXT.match(name))}
    for group, name in groups.items():
        own = [start for start in present if start.startswith(group)]
        if any(start in taken for start in own):
            continue
        if own:
            warnings.warn(
                f"'{source}' has a text encoder ({group}*) that its configs do not name; it is "
                "left out.",
                LdmWarning,
                stacklevel=2,
            )
            continue
        raise LdmError(
            f"'{source}' has a text encoder under names that are not known, such as {name}; the "
            "one beside the configs is another.",
            "save it with Diffusers, or take the tensors out of the file to use the other.",
        )


def warn_of_unread(source: str, shapes: Shapes) -> None:
    """Say which tensors of a file belong to nothing that is read."""
    if not any(name.startswith(KNOWN[0]) for name in shapes):
        return  # a network alone, whose names have no beginning of their own
    unread = [n for n in shapes if "." in n and not n.startswith(KNOWN) and not TEXT.match(n)]
    unread += [n for n in shapes if n.startswith(KNOWN) and any(c in n for c in CONNECTORS)]
    if unread:
        warnings.warn(
            f"'{source}' has {len(unread)} tensors that are not read, such as {min(unread)}.",
            LdmWarning,
            stacklevel=2,
        )


def read_tensors(file: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a file by their usual names, scaled where a scale lies beside them.

    Args:
        dtype: of those that were scaled.
    Raises:
        LdmError: weights are kept in a way that is not known.
    """
    from safetensors.torch import load_file

    scales, tensors = scale_names(read_header(file)), load_file(file)
    for name, tensor in tensors.items():
        if name.endswith(".comfy_quant"):
            form = json.loads(bytes(tensor.tolist())).get("format", "")
            if not str(form).startswith("float8"):
                raise LdmError(f"'{file}': {name} says {form}, a way to keep weights not known.")
    for weight, name in scales.items():
        value, scale = tensors[weight].float(), tensors[name].float()
        rows = scale.reshape(-1, *[1] * (value.ndim - 1))  # one for each, or for all of them
        tensors[weight] = (value * rows).reshape(value.shape).to(dtype)
    beside = (*SCALES, *BESIDE, MARKER, ".comfy_quant")
    return {usual_name(n): t for n, t in tensors.items() if not n.endswith(beside)}


def check_count(what: str, shapes: Shapes, start: str, places: int) -> None:
    """See that a component of a file has no more numbers than its config has places for.

    Converters rename, join and split weights and leave out what they do not know; the count of
    numbers stays.

    Args:
        places: for numbers, in the component that its config describes.
    """
    beside = (*SCALES, *BESIDE, MARKER, ".comfy_quant")
    names = [n for n in shapes if n.startswith(start) and not n.endswith(beside)]
    held = sum(math.prod(shapes[n]) for n in names if not any(part in n for part in UNCOUNTED))
    if held > places:
        raise LdmError(
            f"{what} has {held:,} numbers, and its config has places for {places:,}: it is of a "
            "larger model.",
            "give the folder with its own configs: --model-config FOLDER.",
        )


def usual_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by their usual names."""
    return {usual_name(name): shape for name, shape in shapes.items()}
