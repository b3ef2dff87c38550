"""The form in the middle of the page, made anew for each choice of a model and plugins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ldm_pipelines.page.comparing import (
    AXES,
    axis_fields,
    compared,
    inputs_of_axes,
    read_over,
)
from ldm_pipelines.page.copying import as_command, as_python, as_recipe
from ldm_pipelines.page.description import Description, Section, describe
from ldm_pipelines.page.fields import LEFT, Field
from ldm_pipelines.page.filled import Asked, Filled, asked
from ldm_pipelines.page.making import Maker, Seen
from ldm_pipelines.page.results import Results
from ldm_pipelines.page.saving import keep
from ldm_pipelines.page.shown import error_text
from ldm_pipelines.page.widgets import ANY, PRIVATE, component, names_in, small
from ldm_pipelines.page.workplace import Workplace

OF_RUN: dict[str, Any] = {**PRIVATE, "concurrency_limit": 8}
HELD = ("call", "input", "option", "axis", "over")
"""What is filled in, by sort."""
COPIES: dict[str, Callable[[Asked, Description], str]] = {
    "As a command": lambda asked, shown: as_command(asked, shown.inputs),
    "As a recipe": lambda asked, _: as_recipe(asked),
    "As Python": lambda asked, _: as_python(asked),
}
Values = dict[Any, Any]
"""What stands in each component."""


@dataclass(frozen=True)
class Stays:
    """The components that stay, whatever is chosen."""

    model: Any
    hooks: Mapping[str, Any]
    settings: Mapping[str, Any]
    held: Any
    chosen: Any
    results: Results


class Form:
    """The form for one choice of a model and plugins.

    Args:
        model, parts: what is chosen, plugins by hook point.
        held: what a person filled in before, by sort and name.
    """

    def __init__(
        self,
        place: Workplace,
        maker: Maker,
        stays: Stays,
        shown: Description,
        model: str,
        parts: Mapping[str, tuple[str, ...]],
        held: Mapping[str, Any],
    ) -> None:
        self._place, self._maker, self._stays = place, maker, stays
        self._shown, self._model, self._parts, self._held = shown, model, parts, held
        self._boxes: dict[tuple[str, ...], Any] = {
            **{("model",): stays.model},
            **{("setting", name): box for name, box in stays.settings.items()},
            **{("hook", name): box for name, box in stays.hooks.items()},
        }

    def show(self) -> None:
        """Make its components."""
        for name, one in self._shown.input_fields.items():
            box = self._boxes["input", name] = self._component(one, "input", name)
            if one.widget == "file":
                button = gr.UploadButton(f"Upload {name}", size="sm", elem_id=f"upload-{name}")
                button.upload(self._keep, button, [box, self._stays.results.said], **PRIVATE)
        of_call = {"seed": "drawn", "steps": str(self._shown.steps), "images": "1"}
        with gr.Row():
            for name, placeholder in of_call.items():
                box = small(name, placeholder, self._held["call"].get(name), name)
                self._boxes["call", name] = box
            for axis, length in self._shown.axes.items():
                box = small(axis, str(length), self._held["axis"].get(axis), f"axis-{axis}")
                self._boxes["axis", axis] = box
        with gr.Row():
            make = gr.Button("Make", variant="primary", elem_id="make", scale=3)
            stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
        for section in self._shown.sections:
            self._section(section)
        compare = self._comparison()
        with gr.Row():
            copies = [gr.Button(words, size="sm", min_width=80) for words in COPIES]
        for box in (self._stays.model, *self._stays.hooks.values()):
            box.input(self._hold, {*self._boxes.values()}, self._stays.held, **PRIVATE)
        for at, one in self._shown.options.items():
            if one.kind is not None:
                holding = partial(self._hold_but, at)
                outputs = [self._stays.held, self._stays.chosen]
                self._boxes["option", *at].input(
                    holding, {*self._boxes.values()}, outputs, **PRIVATE
                )
        stop.click(self._stop, None, None, concurrency_limit=None, **PRIVATE)
        self._runs(make, self._making)
        self._runs(compare, self._comparing)
        for button, copy in zip(copies, COPIES.values(), strict=True):
            copying = partial(self._copy, copy)
            button.click(copying, {*self._boxes.values()}, self._stays.results.copied, **PRIVATE)

    def _section(self, section: Section) -> None:
        """The options of one plugin."""
        if not (section.fields or section.problem):
            return
        whose = (section.hook, section.plugin.id)
        told = any(at[:2] == whose for at in self._held["option"])
        opened = told or (section.chosen and not self._held.get("taken", False))
        with gr.Accordion(f"{section.hook}: {section.plugin.name}", open=opened):
            if section.problem:
                gr.Textbox(section.problem, label="this plugin cannot be used")
            for one in section.fields:
                at = ("option", *whose, one.name)
                self._boxes[at] = self._component(one, *at)

    def _comparison(self) -> Any:
        """What cells of a comparison differ in."""
        names = [("(nothing)", ""), *axis_fields(self._shown)]
        over = self._held["over"]
        with gr.Accordion("compare", open=any(over.values()), elem_id="compare-section"):
            for number in range(1, AXES + 1):
                with gr.Row():
                    for what, label in (("name", "over"), ("values", "values")):
                        at, value = f"{what}-{number}", over.get(f"{what}-{number}", "")
                        shared: dict[str, Any] = {"label": label, "elem_id": f"over-{at}"}
                        self._boxes["over", at] = (
                            gr.Dropdown(names, value=value, **shared, **ANY)
                            if what == "name"
                            else gr.Textbox(value, placeholder="with commas between", **shared)
                        )
            return gr.Button("Compare", elem_id="compare")

    def _component(self, one: Field, *at: str) -> Any:
        held = self._held[at[0]].get(at[1:] if len(at) > 2 else at[1])
        return component(one, at[1:] if at[0] == "option" else at, held)

    def _under(self, values: Values, key: str) -> dict[Any, Any]:
        """The values of components of one sort, by what is behind that in their names."""
        several = {at[1:]: box for at, box in self._boxes.items() if at[0] == key}
        return {at if len(at) > 1 else at[0]: values[box] for at, box in several.items()}

    def _hold(self, values: Values) -> dict[str, Any]:
        """What a person filled in, for the form of another model or plugin: what they left as it
        was is that one's own there."""
        now = {key: self._under(values, key) for key in HELD}
        own: dict[str, Mapping[Any, Field]] = {
            "input": self._shown.input_fields,
            "option": self._shown.options,
        }
        for key, fields in own.items():
            now[key] = {name: v for name, v in now[key].items() if v != fields[name].shown}
            before = {n: v for n, v in self._held[key].items() if n not in fields}
            now[key] = {**before, **now[key]}
        return now

    def _hold_but(self, at: tuple[str, str, str], values: Values) -> tuple[dict[str, Any], Any]:
        """As `_hold`, where another plugin is chosen for an option: of that one nothing is filled
        in. The form is then made anew."""
        held, behind = self._hold(values), (at[0], at[1], f"{at[2]}.")
        kept = {
            key: value
            for key, value in held["option"].items()
            if not (key[:2] == behind[:2] and key[2].startswith(behind[2]))
        }
        return {**held, "option": kept}, [time.monotonic_ns()]

    def _ask(self, values: Values, inputs: Mapping[str, Any] | None = None) -> Asked:
        """What is asked for.

        Args:
            inputs: in place of those that are filled in.
        Raises:
            LdmError: it cannot be.
        """
        call, axes = (self._counts(values, key) for key in ("call", "axis"))
        settings = {**self._under(values, "setting"), "num_inference_steps": call["steps"]}
        loras, format = (str(settings.pop(name) or "") for name in ("loras", "format"))
        parts = {hook: names_in(value) for hook, value in self._under(values, "hook").items()}
        filled = Filled(
            values[self._stays.model], parts, settings, self._under(values, "option"),
            {**self._under(values, "input"), **(inputs or {})}, axes, loras, call["seed"],
            1 if call["images"] is None else call["images"], format,
        )  # fmt: skip
        shown, place = self._shown, self._place
        if (filled.model, parts) != (self._model, self._parts):  # chosen since the form was made
            shown = describe(filled, place.folders, place.registry)
        fields = (shown.options, shown.input_fields, shown.inputs)
        return asked(filled, *fields, place.folders, place.registry)

    def _counts(self, values: Values, key: str) -> dict[str, int | None]:
        read = {n: Field(n, int, "whole").read(v) for n, v in self._under(values, key).items()}
        return {name: None if value is LEFT else int(value) for name, value in read.items()}

    def _runs(self, button: Any, run: Callable[[Values, str], Iterator[Seen]]) -> None:
        """Bind a button to what is then made."""
        results = self._stays.results

        def running(values: Values, request: gr.Request) -> Iterator[Values]:
            before = values[results.made]
            try:
                for seen in run(values, str(request.session_hash)):
                    yield results.changes(seen, before)
            except Exception as error:
                yield results.failed(error)

        button.click(running, {*self._boxes.values(), results.made}, results.outputs, **OF_RUN)

    def _making(self, values: Values, whose: str) -> Iterator[Seen]:
        yield from self._maker.make(self._ask(values), whose)

    def _comparing(self, values: Values, whose: str) -> Iterator[Seen]:
        said = {name: str(value or "") for name, value in self._under(values, "over").items()}
        axes = [(said[f"name-{n}"], said[f"values-{n}"]) for n in range(1, AXES + 1)]
        wanted = self._ask(values, inputs_of_axes(axes, self._shown))
        over = read_over(axes, self._shown, wanted, self._place)
        yield from compared(self._maker, wanted, over, whose, self._place)

    def _copy(self, copy: Callable[[Asked, Description], str], values: Values) -> str:
        try:
            return copy(self._ask(values), self._shown)
        except Exception as error:
            return error_text(error)

    def _stop(self, request: gr.Request) -> None:
        self._maker.stop(str(request.session_hash))

    def _keep(self, path: str) -> tuple[Any, Any]:
        try:
            return str(keep(Path(path), self._place.folders)), gr.skip()
        except Exception as error:
            return gr.skip(), error_text(error).replace(path, Path(path).name)
