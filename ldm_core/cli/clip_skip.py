"""What other programs leave out of the CLIP text encoder, in our words.

A1111 counts from 1, which is the last layer, and ComfyUI from -1, where `clip_skip` is Diffusers'
and counts what is left out: 2 there is 1 here. Both read the negative prompt alike.

Source: A1111's ``modules/sd_hijack_clip.py``, in which SDXL heeds the number by a setting alone,
and SD 2 never; ComfyUI's ``comfy/sd1_clip.py`` and ``comfy/sdxl_clip.py``, in which
SDXL is read at its last but one layer where nobody says a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ldm_core.composition.nested import only
from ldm_core.composition.recipe import Layer, as_choice

if TYPE_CHECKING:
    from ldm_core.contracts import ModelInfo
    from ldm_core.media.recorded import Recorded
    from ldm_core.plugins.registry import Registry

TEXT = "ldm-core:text"


def clip_skip_taken(
    recorded: Recorded, registry: Registry, info: ModelInfo | None
) -> tuple[Layer, str, str]:
    """What a picture's clip skip is here: a layer of a recipe, what is not taken over, and what is
    to be known of it; each empty where there is nothing.

    Args:
        info: of the model that is drawn with; None where nobody has said which.
    """
    there = recorded.clip_skip
    if there is None or (info is not None and _is_usual(recorded, info)):
        return {}, "", ""
    if there < 2:
        return ({}, *_last_layer(recorded, info))
    said = f"Clip skip: {there}" if recorded.program == "A1111" else f"stop_at_clip_layer: -{there}"
    if info is not None and "clip_skip" not in info.abilities:
        return {}, f"{said}, as this model reads no states of a CLIP text encoder", ""
    if info is not None and _has_several(info):
        heeded = "which A1111 heeds for SDXL where a setting says so, and not by itself"
        counted = f"which is clip_skip = {there - 2} of SDXL here"
        return {}, f"{said}, {heeded if recorded.program == 'A1111' else counted}", ""
    entries = ["text"] if info is None else info.defaults.get("conditioning", [])
    choices = [as_choice("conditioning", entry) for entry in entries]
    ours = [choice for choice in choices if _is_text(choice, registry)]
    if not ours:
        return {}, f"{said}, as no conditioning of this model is the text's", ""
    skip = there - 1
    ours[0] |= {"clip_skip": skip, "negative_clip_skip": skip}
    meant = (
        f"its {said} is clip_skip = {skip} here, as models of the kind SD 1 want it; "
        "of SD 2 leave it out"
    )
    more = "" if info is not None else ", and of SDXL, which is read before its last layer anyway"
    return {"conditioning": choices}, "", f"{meant}{more}"


def _is_usual(recorded: Recorded, info: ModelInfo) -> bool:
    """Whether a model is read there as it is here where nobody says a number."""
    return recorded.program != "A1111" and _has_several(info) and recorded.clip_skip == 2


def _last_layer(recorded: Recorded, info: ModelInfo | None) -> tuple[str, str]:
    """What is not taken over of the number 1, and what is to be known of it."""
    if recorded.program == "A1111" or not (info is None or _has_several(info)):
        return "", ""
    said = "stop_at_clip_layer: -1"
    if info is None:
        return "", f"its {said} is the last layer, as here; of SDXL the one before it is read here"
    return f"{said}, which is the last layer, and of SDXL the one before it is read here", ""


def _has_several(info: ModelInfo) -> bool:
    return "prompt_2" in info.abilities


def _is_text(choice: Layer, registry: Registry) -> bool:
    name: Any = choice.get("name")
    plugin = only(registry, "conditioning", name)
    return plugin is not None and plugin.id == TEXT
