"""The boxes for what cells of a comparison differ in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr

from ldm_pipelines.page.comparing import AXES
from ldm_pipelines.page.standing import Standing
from ldm_pipelines.page.widgets import ANY

SECTION = "compare-section"


def over_boxes(
    names: Iterable[str], over: Mapping[str, Any], standing: Standing
) -> tuple[dict[tuple[str, ...], Any], Any]:
    """Boxes for the name and values of each axis, by sort and name, and the button.

    Args:
        names: what may be an axis.
        over: what a person filled in before.
    """
    boxes: dict[tuple[str, ...], Any] = {}
    room = gr.Accordion("compare", open=any(over.values()), elem_id=SECTION, key=SECTION)
    with standing.opened(room):
        for number in range(1, AXES + 1):
            with gr.Row(key=f"over-{number}"):
                for what, label in (("name", "over"), ("values", "values")):
                    name = f"{what}-{number}"
                    at = f"over-{name}"
                    shared: dict[str, Any] = {"label": label, "elem_id": at, "key": at}
                    shared["value"] = over.get(name, "")
                    boxes["over", name] = standing.box(
                        gr.Dropdown([("(nothing)", ""), *names], **shared, **ANY)
                        if what == "name"
                        else gr.Textbox(placeholder="with commas between", **shared)
                    )
        return boxes, gr.Button("Compare", elem_id="compare", key="compare")
