"""Fields as Gradio's components."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ldm_pipelines.page.fields import Field

LINES = 3
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""How every event is bound: for this page alone."""
ANY: dict[str, Any] = {"allow_custom_value": True}
"""What a list takes: what is none of it is refused by us, in our words, and not by Gradio."""


def component(
    field: Field, at: tuple[str, ...], value: Any = None, key: tuple[str, ...] | None = None
) -> Any:
    """The component of a field.

    Args:
        at: where it belongs, for its name in the page.
        value: what stands in it at first, in place of what the plugin has.
        key: by which it is the same one when the form is made anew.
    """
    label = field.name.replace("_", " ") + (" (needed)" if field.required else "")
    shared: dict[str, Any] = {
        "label": label,
        "info": "; ".join(filter(None, [field.help.rstrip("."), field.bounds])),
        "value": field.shown if value is None else value,
        "elem_id": "-".join(["field", *at]).replace(":", "-").replace(".", "-"),
        "interactive": True,
        "key": key,
    }
    match field.widget:
        case "truth":
            return gr.Checkbox(**shared)
        case "choice" | "several":
            choices = [(name or "(not said)", name) for name in field.choices]
            several = field.widget == "several"
            return gr.Dropdown(**shared, choices=choices, multiselect=several, **ANY)
        case "lines":
            return gr.Textbox(**shared, lines=LINES)
        case _:
            return gr.Textbox(**shared, max_lines=1)


def small(label: str, placeholder: str, value: Any, at: str, key: tuple[str, ...]) -> Any:
    """A box for a whole number, which may be empty: Gradio's own turns that into a zero.

    Args:
        value: what stands in it; nothing where None.
        at: its name in the page.
        key: by which it is the same one when the form is made anew.
    """
    return gr.Textbox(
        "" if value is None else str(value),
        label=label,
        placeholder=placeholder,
        max_lines=1,
        elem_id=at,
        min_width=80,
        interactive=True,
        key=key,
    )


def ends_of(box: Any) -> list[Any]:
    """The events by which a person has filled in a box: of text not each letter."""
    return [box.blur, box.submit] if isinstance(box, gr.Textbox) else [box.change]


def names_in(chosen: Any) -> tuple[str, ...]:
    """The names of plugins that are chosen at a hook point."""
    return tuple(chosen) if isinstance(chosen, list) else (chosen,) if chosen else ()
