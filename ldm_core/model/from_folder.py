"""A network out of a component's folder, by the library that has its class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.errors import LdmError
from ldm_core.model.configs import attention_of, check_kinds, read_config
from ldm_core.model.loading import Size, no_larger, reading
from ldm_core.model.safetensors_header import Header
from ldm_core.model.weight_files import find_weights, read_headers

if TYPE_CHECKING:
    import torch

LEFT_OVER = ("text_projection.weight", "lm_head.weight", "logit_scale", "position_ids")
"""Of a larger model that an encoder was taken from; the encoder itself is whole without them."""
PICTURES = "vision_config"
"""Where the config of a whole model, as of CLIP or SigLIP, says what its tower of pictures is."""
OF_TEXTS = ("text_model.", "text_projection.", "logit_scale", "logit_bias")
"""How those weights begin that a whole model has beside that tower."""
NOT_WHOLE = "its config.json is of another model, or the weights are not whole."


def read_module(what: str, folder: Path, cls: Any, diffusers: bool, **options: Any) -> Any:
    """A component from its folder, with all its weights and no others. A tower of pictures may lie
    in the folder of a whole model, whose tower of texts is then left out.

    The files are seen to be what they should be before the library is asked, whose own search then
    finds these and no others: it reads safetensors alone, from this folder alone.

    Args:
        what: the part and its folder, for messages.
        cls: its class, of Diffusers or of Transformers.
        diffusers: which of them.
        options: what else its ``from_pretrained`` is told.
    Raises:
        LdmError: for whatever it is that keeps it from being read as it was saved.
    """
    config, headers = read_config(folder), read_headers(folder)
    options |= {"use_safetensors": True, "local_files_only": True}
    if diffusers:
        check_kinds(config, cls, folder / "config.json")
    else:
        # it then reports them, where it would else fail without saying which
        options |= {"ignore_mismatched_sizes": True}
        if (attention := attention_of(config)) is not None:
            options["attn_implementation"] = attention
    if (variant := find_weights(folder).variant) is not None:
        options["variant"] = variant
    with reading(what, NOT_WHOLE), no_larger(what, Size.of(headers)):
        module, report = cls.from_pretrained(folder, output_loading_info=True, **options)
    check_report(what, report, OF_TEXTS if not diffusers and _is_tower(config, cls) else ())
    return module


def shaped_module(
    what: str,
    folder: Path,
    cls: Any,
    diffusers: bool,
    dtype: torch.dtype,
    headers: Mapping[str, Header],
) -> Any:
    """A component as its config says it is, without weights: its parameters are on the device
    ``meta``, and have shapes alone.

    Args:
        what, folder, cls, diffusers: as of `read_module`.
        dtype: of its parameters.
        headers: of the files that hold its weights.
    Raises:
        LdmError: the config makes no such component.
    """
    import torch

    config = read_config(folder)
    if diffusers:
        check_kinds(config, cls, folder / "config.json")
    with reading(what, NOT_WHOLE), no_larger(what, Size.of(headers)), torch.device("meta"):
        if diffusers:
            return cls.from_config(config).to(dtype)
        own = config[PICTURES] if _is_tower(config, cls) else config
        named = cls.config_class.from_dict(own)
        if (attention := attention_of(config)) is not None:
            named._attn_implementation = attention
        return cls(named).to(dtype)


def _is_tower(config: Mapping[str, Any], cls: Any) -> bool:
    """Whether a class of Transformers is that of the tower of pictures in a config's model."""
    return isinstance(config.get(PICTURES), dict) and cls.config_class.base_config_key == PICTURES


def check_report(what: str, report: Mapping[str, Any], beside: tuple[str, ...] = ()) -> None:
    """See that a component got all its weights and no others.

    Both libraries go on with random numbers where a weight is missing.

    Args:
        what: the component, for messages.
        report: ``loading_info`` of ``from_pretrained``.
        beside: how the weights begin that may be left over.
    Raises:
        LdmError: weights are missing, of other shapes, or left over.
    """
    extra = [
        name
        for name in report["unexpected_keys"]
        if not name.endswith(LEFT_OVER) and not name.startswith(beside)
    ]
    for names, wrong in (
        (report["missing_keys"], "lacks {} of its weights, such as {}."),
        (report["mismatched_keys"], "has {} weights of other shapes than its config says: {}."),
        (extra, "has {} weights that its config has no place for, such as {}."),
    ):
        if names:
            raise LdmError(f"{what} {wrong.format(len(names), min(map(str, names)))}", NOT_WHOLE)
