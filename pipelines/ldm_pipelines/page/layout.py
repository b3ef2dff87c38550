"""The page: what is chosen at the left, the form of that in the middle, what comes of it at the
right. Every field is made of what a plugin declares, so that a new plugin has its own at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from ldm_core.composition.recipe import LISTS
from ldm_core.composition.short_names import owned_model
from ldm_core.errors import LdmError, printable
from ldm_core.numerics.noise_kinds import NOISE_KINDS
from ldm_pipelines.page.choice import OF_CHOICE, Choice, names_chosen
from ldm_pipelines.page.description import describe, plugin_names
from ldm_pipelines.page.filled import HOOKS, Filled
from ldm_pipelines.page.form import HELD, Form
from ldm_pipelines.page.making import Maker
from ldm_pipelines.page.results import Results
from ldm_pipelines.page.shown import error_text
from ldm_pipelines.page.stays import Stays
from ldm_pipelines.page.taking import take
from ldm_pipelines.page.widgets import ANY, PRIVATE, names_in
from ldm_pipelines.page.workplace import Workplace

CSS = """
.preview { width: 100%; image-rendering: pixelated; }
footer { display: none !important; }
#said textarea, #copied textarea { font-family: ui-monospace, monospace; font-size: 0.85em; }
"""
LABEL = "() => document.querySelector('#copied textarea').setAttribute('aria-label', 'copy')"
"""Names the box of the copied text, as Gradio's label belongs to the button in it."""
DEFAULT_MODEL = "shapes"
SETTINGS = ("dtype", "compute_dtype", "noise", "loras")
"""What is taken over of a picture beside hook points and call."""
DTYPES = ("auto", "float32", "bfloat16", "float16")


class Page:
    """The components that stay, and what is done with them."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.maker = Maker(place.folders, place.registry)
        with gr.Blocks(title="ldm", analytics_enabled=False, fill_width=True) as self.blocks:
            self.held = gr.State({key: {} for key in HELD})
            self.there: Any = gr.State(set())
            with gr.Row():
                with gr.Column(scale=2, min_width=260):
                    self._choices()
                boxes = (self.model, *self.hooks.values())
                self.chosen = gr.State(Choice(names_chosen(box.value for box in boxes)))
                form = gr.Column(scale=4, min_width=360)
                with gr.Column(scale=4, min_width=360):
                    self.results = Results()
            with form:
                self._form()
            self._drop()
            self.blocks.load(None, None, None, js=LABEL, **PRIVATE)

    def _choices(self) -> None:
        names = self.place.folders.model_names(self.place.registry)
        if not names:
            raise LdmError("there is no model to choose.", "name a folder of them with --models.")
        first = owned_model(self.place.registry, DEFAULT_MODEL)
        self.model = gr.Dropdown(
            names,
            value=first if first in names else names[0],
            label="model",
            elem_id="model",
            **ANY,
        )
        self.hooks = {}
        for hook in HOOKS:
            several = hook in LISTS
            choices = plugin_names(self.place.registry, LISTS.get(hook, hook))
            self.hooks[hook] = gr.Dropdown(
                list(choices) if several else [("(the model's own)", ""), *choices],
                value=[] if several else "",
                label=hook,
                info="none: the model's own" if several else None,
                multiselect=several,
                elem_id=f"hook-{hook}",
                **ANY,
            )
        formats = plugin_names(self.place.registry, "writer")
        with gr.Accordion("LoRA, noise, files, machine", open=False):
            self.settings = {
                "loras": gr.Textbox(
                    label="LoRA",
                    info="a file a line, as ink.safetensors:0.8",
                    lines=2,
                    elem_id="loras",
                ),
                "format": gr.Dropdown(
                    ["", *formats],
                    value="",
                    label="format",
                    info="of the files",
                    elem_id="format",
                    **ANY,
                ),
                "device": gr.Textbox(label="device", placeholder="auto", elem_id="device"),
                "noise": gr.Dropdown(
                    ["", *NOISE_KINDS], value="", label="noise", elem_id="noise", **ANY
                ),
                "dtype": gr.Dropdown(["", *DTYPES], value="", label="dtype", **ANY),
                "compute_dtype": gr.Dropdown(
                    ["", *DTYPES[:2]], value="", label="compute dtype", **ANY
                ),
                "memory": gr.Textbox(label="memory", placeholder="as 8GiB, or auto"),
                "fast": gr.Dropdown(["", "lossless", "lossy"], value="", label="fast", **ANY),
            }
        self.dropped = gr.File(
            label="Drop a picture to take its recipe", elem_id="drop", type="filepath", height=150
        )

    def _form(self) -> None:
        """The form, made anew where another model or plugin is chosen."""
        stays, place = self._stays(), self.place
        choices = [self.model, *self.hooks.values()]
        for box in choices:
            box.change(self._choose, [self.chosen, *choices], self.chosen, **OF_CHOICE)
        fixed = [self.model, self.held, self.there, *self.hooks.values()]
        triggers = [self.blocks.load, self.chosen.change]

        @gr.render(fixed, triggers, show_progress="hidden")  # type: ignore[untyped-decorator]
        def form(model: str, held: dict[str, Any], there: set[int], *names: Any) -> None:
            parts = {h: names_in(n) for h, n in zip(self.hooks, names, strict=True)}
            try:
                filled = Filled(model, parts, options=held["option"])
                shown = describe(filled, place.folders, place.registry)
            except Exception as error:
                there.clear()
                gr.Textbox(error_text(error), label="this cannot be", info="", elem_id="problem")
                return
            Form(place, self.maker, stays, shown, model, parts, held, there).show()

    @staticmethod
    def _choose(before: Choice, *values: Any) -> Choice:
        return replace(before, names=names_chosen(values))

    def _stays(self) -> Stays:
        return Stays(self.model, self.hooks, self.settings, self.held, self.chosen, self.results)

    def _drop(self) -> None:
        """Take the recipe of a picture."""
        outputs = [
            *(self.settings[name] for name in SETTINGS),
            self.dropped,
            self.results.said,
            self.chosen,
            self.held,
            self.there,
            self.model,
            *self.hooks.values(),
        ]
        read = [self.dropped, self.model, self.chosen]
        self.dropped.upload(self._take, read, outputs, **OF_CHOICE)

    def _take(self, path: str, model: str, before: Choice) -> dict[Any, Any]:
        try:
            taken = take(Path(path), self.place.folders, self.place.registry, model)
        except Exception as error:
            told = error_text(error).replace(path, Path(path).name)
            return {self.results.said: told, self.dropped: None}
        filled = taken.filled
        settings = {**filled.settings, "loras": filled.loras}
        words = [*(f"not taken over: {words}" for words in taken.left), *taken.notes]
        hooks = {}
        for hook, box in self.hooks.items():
            several = list(filled.parts.get(hook, ()))
            hooks[box] = several if hook in LISTS else several[0] if several else ""
        names = names_chosen([filled.model, *hooks.values()])
        return {
            self.dropped: None,
            self.chosen: Choice(names, taken=before.taken + 1),
            self.results.said: printable("\n".join(["its recipe is in the form", *words])),
            self.model: filled.model,
            self.held: {
                "call": {"seed": filled.seed, "steps": filled.settings["num_inference_steps"]},
                "input": filled.inputs,
                "option": filled.options,
                "axis": filled.axes,
                "over": {},
                "taken": True,
            },
            self.there: set(),
            **{self.settings[n]: settings.get(n, "") for n in SETTINGS},
            **hooks,
        }
