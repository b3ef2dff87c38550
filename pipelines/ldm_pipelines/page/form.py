"""The form in the middle of the page, made anew for each choice of a model and plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ldm_pipelines.page.choice import OF_CHOICE, At, Choice, names_chosen
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
from ldm_pipelines.page.over import over_boxes
from ldm_pipelines.page.saving import keep
from ldm_pipelines.page.shown import error_text
from ldm_pipelines.page.standing import Standing, group
from ldm_pipelines.page.stays import Stays
from ldm_pipelines.page.widgets import PRIVATE, component, ends_of, names_in, small
from ldm_pipelines.page.workplace import Workplace

OF_RUN: dict[str, Any] = {**PRIVATE, "concurrency_limit": 8}
HELD = ("call", "input", "option", "axis", "over")
"""What is filled in, by sort."""
COPIES: dict[str, Callable[[Asked, Description], str]] = {
    "As a command": lambda asked, shown: as_command(asked, shown.inputs),
    "As a recipe": lambda asked, _: as_recipe(asked),
    "As Python": lambda asked, _: as_python(asked),
}
APART = "these do not go together"
Values = dict[Any, Any]
"""What stands in each component."""


class Form:
    """The form for one choice of a model and plugins.

    Args:
        model, parts: what is chosen, plugins by hook point.
        held: what a person filled in before, by sort and name.
        there: what stands on the page, see `Standing`.
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
        there: set[int],
    ) -> None:
        self._place, self._maker, self._stays = place, maker, stays
        self._shown, self._model, self._parts, self._held = shown, model, parts, held
        self._standing = Standing(there)
        self._boxes: dict[tuple[str, ...], Any] = {
            **{("model",): stays.model},
            **{("setting", name): box for name, box in stays.settings.items()},
            **{("hook", name): box for name, box in stays.hooks.items()},
        }

    def show(self) -> None:
        """Make its components."""
        inputs, axes = self._shown.input_fields, self._shown.axes
        all_inputs = group((self._shown.problem, inputs.values()))
        with gr.Column(key="inputs"):
            if self._shown.problem:
                gr.Textbox(self._shown.problem, label=APART, info="", lines=2, elem_id="problem")
            for name, one in inputs.items():
                box = self._component(one, "input", name, group=all_inputs)
                if one.widget == "file":
                    at = f"upload-{name}"
                    button = gr.UploadButton(f"Upload {name}", size="sm", elem_id=at)
                    button.upload(self._keep, button, [box, self._stays.results.said], **PRIVATE)
        of_call = {"seed": "drawn", "steps": str(self._shown.steps), "images": "1"}
        with gr.Row(key="call"):
            for name, placeholder in of_call.items():
                self._small(name, placeholder, name, "call", name)
            for axis, length in axes.items():
                self._small(axis, str(length), f"axis-{axis}", "axis", axis, *axes)
        with gr.Row(key="buttons"):
            make = gr.Button("Make", variant="primary", elem_id="make", scale=3, key="make")
            stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80, key="stop")
        with gr.Column(key="sections"):
            sections = [s for s in self._shown.sections if s.fields or s.problem]
            parts = group(*((f"{s.hook}: {s.plugin.id}{s.problem}", s.fields) for s in sections))
            for section in sections:
                self._section(section, parts)
        over, compare = over_boxes(axis_fields(self._shown), self._held["over"], self._standing)
        self._boxes |= over
        with gr.Row(key="copies"):
            copies = [gr.Button(words, size="sm", min_width=80, key=words) for words in COPIES]
        read = {*self._boxes.values(), self._stays.chosen}
        kept = [self._stays.held, self._stays.chosen]
        for box in (self._stays.model, *self._stays.hooks.values()):
            box.input(self._hold_all, read, kept, **OF_CHOICE)
        for option, one in self._shown.options.items():
            if one.kind is not None or one.required:
                ends = ends_of(self._boxes["option", *option])
                gr.on(ends, partial(self._hold_but, option), read, kept, **OF_CHOICE)
        stop.click(self._stop, None, None, concurrency_limit=None, **PRIVATE)
        self._runs(make, self._making)
        self._runs(compare, self._comparing)
        for button, copy in zip(copies, COPIES.values(), strict=True):
            copying = partial(self._copy, copy)
            button.click(copying, {*self._boxes.values()}, self._stays.results.copied, **PRIVATE)

    def _section(self, section: Section, parts: str) -> None:
        """The options of one plugin.

        Args:
            parts: all that is in the room of it.
        """
        whose, title = (section.hook, section.plugin.id), f"{section.hook}: {section.plugin.name}"
        told = any(at[:2] == whose for at in self._held["option"])
        opened = told or (section.chosen and not self._held.get("taken", False))
        room = gr.Accordion(title, open=opened, key=("section", *whose, parts))
        with self._standing.opened(room):
            if section.problem:
                gr.Textbox(section.problem, label="this plugin cannot be used")
            for one in section.fields:
                self._component(one, "option", *whose, one.name, group=parts)

    def _component(self, one: Field, *at: str, group: str) -> Any:
        held = self._held[at[0]].get(at[1:] if len(at) > 2 else at[1])
        box = component(one, at[1:] if at[0] == "option" else at, held, (*at, group))
        self._boxes[at] = self._standing.box(box)
        return box

    def _small(self, label: str, placeholder: str, elem: str, *at: str) -> None:
        value = self._held[at[0]].get(at[1])
        self._boxes[at[:2]] = self._standing.box(small(label, placeholder, value, elem, at))

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

    def _hold_all(self, values: Values) -> tuple[dict[str, Any], Choice]:
        """As `_hold`, and what is chosen: the form is made anew where that is something else."""
        boxes = (self._stays.model, *self._stays.hooks.values())
        before = values[self._stays.chosen]
        return self._hold(values), replace(before, names=names_chosen(values[b] for b in boxes))

    def _hold_but(self, at: At, values: Values) -> tuple[dict[str, Any], Choice]:
        """As `_hold`, where an option is filled in by which there are other fields: of a plugin
        that is chosen for it nothing is filled in. The form is then made anew."""
        held, before = self._hold(values), values[self._stays.chosen]
        was = self._held["option"].get(at, self._shown.options[at].shown)
        chosen = before.with_inner(at, values[self._boxes["option", *at]], was)
        if chosen == before:
            return held, before
        told = held["option"].items()
        behind = [k for k, _ in told if k[:2] == at[:2] and k[2].startswith(f"{at[2]}.")]
        return {**held, "option": {k: v for k, v in told if k not in behind}}, chosen

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
