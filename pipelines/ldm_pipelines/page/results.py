"""What came of it, at the right of the page: what happened, the estimate of a step, all that was
made, how, and two of it side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ldm_pipelines.page.making import Seen
from ldm_pipelines.page.shown import Shown, error_text, preview_html, progress_text
from ldm_pipelines.page.widgets import ANY, PRIVATE

KEPT = 60
"""Entries of the gallery."""


class Results:
    """The components at the right.

    Attributes:
        made: the state with all that is in the gallery, newest first.
    """

    def __init__(self) -> None:
        self.made = gr.State([])
        self.said = gr.Textbox(
            label="what happened", lines=3, max_lines=12, elem_id="said", interactive=False
        )
        self.preview = gr.HTML(elem_id="preview")
        self.gallery = gr.Gallery(
            label="made", columns=3, object_fit="contain", elem_id="gallery", interactive=False,
            buttons=["download", "fullscreen"],
        )  # fmt: skip
        self.heard = gr.Audio(
            label="the sound", elem_id="heard", interactive=False, visible=False, type="filepath",
            buttons=["download"],
        )  # fmt: skip
        self.how = gr.Textbox(
            label="how it was made", lines=3, max_lines=24, elem_id="how", interactive=False,
            visible=False,
        )  # fmt: skip
        self.gallery.select(self._tell, self.made, [self.how, self.heard], **PRIVATE)
        self._two()
        self.copied = gr.Textbox(
            label="copy", lines=2, max_lines=24, elem_id="copied", interactive=False,
            buttons=["copy"],
        )  # fmt: skip
        self.outputs = [self.said, self.preview, self.gallery, self.made, self.heard, self.how]

    def changes(self, seen: Seen, before: list[Shown]) -> dict[Any, Any]:
        """What changes on the page with what is seen of a run.

        Args:
            before: what was made before the run.
        """
        changed = {self.said: progress_text(seen)}
        if seen.done:
            changed[self.preview] = ""
        elif seen.preview is not None:
            changed[self.preview] = preview_html(seen.preview)
        if seen.fresh and seen.saved:
            made = [*map(Shown.of, seen.saved), *before][:KEPT]
            gallery = [one.entry for one in made]
            changed |= {self.gallery: gr.update(value=gallery, selected_index=None)}
            changed |= {self.made: made, self.how: _how(made[0])}
            sounds = [one.path for one in made if one.kind == "audio"]
            if sounds:
                changed[self.heard] = gr.update(value=sounds[0], visible=True)
        return changed

    def failed(self, error: Exception) -> dict[Any, Any]:
        """What changes where a run fails."""
        return {self.said: error_text(error), self.preview: ""}

    def _tell(self, made: list[Shown], event: gr.SelectData) -> tuple[Any, Any]:
        """How what was chosen in the gallery was made; and a sound, to be heard."""
        if not (isinstance(event.index, int) and event.index < len(made)):
            return gr.skip(), gr.skip()
        one = made[event.index]
        heard = gr.update(value=one.path, visible=True) if one.kind == "audio" else gr.skip()
        return _how(one), heard

    def _two(self) -> None:
        """Two pictures, one over the other, with a slider between them."""
        self.room = gr.Accordion("two side by side", open=False, elem_id="beside", visible=False)
        with self.room:
            with gr.Row():
                self.sides = [
                    gr.Dropdown([], label=label, elem_id=f"side-{label}", min_width=120, **ANY)
                    for label in ("left", "right")
                ]
            self.slider = gr.ImageSlider(
                label="two side by side", show_label=False, elem_id="slider", interactive=False,
                type="filepath", buttons=[],
            )  # fmt: skip
        for side in self.sides:  # by `input`: of a change that is ours two would race
            side.input(self._beside, [self.made, *self.sides], self.slider, **PRIVATE)
        outputs = [self.room, *self.sides, self.slider]
        self.made.change(self._may_be_beside, self.made, outputs, **PRIVATE)

    def _may_be_beside(self, made: list[Shown]) -> tuple[Any, ...]:
        names = [*_pictures(made)]
        first = [*names[:2], "", ""][:2]
        several = [gr.update(choices=names, value=name) for name in first]
        return gr.update(visible=len(names) > 1), *several, self._beside(made, *first)

    def _beside(self, made: list[Shown], *names: str) -> Any:
        pictures = _pictures(made)
        found = tuple(pictures.get(name) for name in names)
        return found if all(found) else None


def _how(one: Shown) -> Any:
    return gr.update(value=one.how, visible=bool(one.how))


def _pictures(made: list[Shown]) -> dict[str, str]:
    """The files of what is a picture, by names in the order of the gallery."""
    several = enumerate(made, 1)
    return {f"{at}: {one.caption}": one.path for at, one in several if one.kind == "image"}
