"""A ready-made pipeline as what makes the pictures of lines."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Input, Plan
from ldm_core.contracts.conditioning import REQUIRED as MUST
from ldm_core.contracts.files import WRITTEN, in_full, parts_of
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.jobs.making import Call, Making, Planned, plan_of
from ldm_core.media.manifest import make_manifests, python_inputs
from ldm_core.media.manifest_files import command_record
from ldm_core.model import place
from ldm_core.plugins.blame import blamed
from ldm_core.plugins.options import REQUIRED, Option, describe
from ldm_core.plugins.registry import Plugin
from ldm_core.run.in_batches import InBatches

if TYPE_CHECKING:
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline
    from ldm_core.run.recording import Recorded

SEVERAL = inspect.Parameter.VAR_POSITIONAL
KEYWORD = inspect.Parameter.KEYWORD_ONLY
COLUMNS = {"prompts": "prompt"}
"""What a column is called of which a function takes any number."""
OF_SERIES = "num_images"
"""The option of a function that decides itself how many pictures it makes."""
CHECKED = "while its arguments were looked at"
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""How a function is called: by place, and by name."""


class FunctionMaking(Making):
    """Makes a line's picture by a command's function, whose arguments and options are columns.

    Of a function that is `skipping` lines share a batch where they say the same by its options; any
    other one is called for each picture by itself, and where it makes several at once, the last of
    them is the line's.

    Args:
        plugin: the command; its function is `InBatches`.
        size: width and height of lines that do not say them; those of the picture that a line
            names, or the model's, where there is none.
    Raises:
        LdmError: its pictures belong together.
    """

    def __init__(self, plugin: Plugin, size: Mapping[str, int] | None = None) -> None:
        function = plugin.loaded
        assert isinstance(function, InBatches)
        self.plugin, self.function, self.name = plugin, function, plugin.id
        self._owner = f"the command '{plugin.name}'"
        parameters = list(inspect.signature(function).parameters.values())[1:]
        self._parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        self._declared = describe(function, self._parameters)
        if OF_SERIES in self._declared:
            raise LdmError(
                f"{self._owner} makes a series of pictures that belong together, and each line of "
                "a file is for a picture of its own; run it once for each series."
            )
        self._size = dict(size or {})
        self._warned = False

    def common(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """What a command says for all lines, by the columns' names.

        Args:
            arguments: by place; None for one that is left to the lines.
        Raises:
            LdmError: it says more than one for each picture.
        """
        places = [p for p in self._parameters if p.kind is not KEYWORD]
        named = {
            p.name: v for p, v in zip(places, arguments, strict=False) if p.kind is not SEVERAL
        }
        rest = list(arguments[len(named) :])
        if len(rest) > 1:
            raise LdmError(
                f"{len(rest)} prompts are given for all lines, and each is for one picture.",
                "give one, or a column.",
            )
        several = [p.name for p in places if p.kind is SEVERAL]
        values = {**named, **options, **dict(zip(several, rest, strict=False))}
        return {COLUMNS.get(n, n): v for n, v in values.items() if v is not None}

    def inputs(self, composition: Composition) -> Mapping[str, Input]:
        own = {COLUMNS.get(p.name, p.name): self._input(p) for p in self._parameters}
        return {**composition.inputs, **own}

    def check(self, composition: Composition, call: Call) -> Sequence[Planned]:
        calls = self._calls(call)
        if self.function.skips:
            several = self._recorded(composition, calls)
            return [
                (asked.composition, plan_of(asked.composition, asked.call)) for asked in several
            ]
        from ldm_core.run.recording import checked

        for arguments, named in calls:
            with blamed(self.plugin, CHECKED, composition.registry.plugins):
                checked(self.function, composition, *arguments, **named)
        return []

    def manifests(self, composition: Composition, call: Call) -> list[dict[str, Any]] | None:
        if not self.function.skips:
            return None
        manifests: list[dict[str, Any]] = []
        calls = self._calls(call)
        for asked in self._recorded(composition, calls):
            where = place.resolve(asked.composition.recipe)
            request = plan_of(asked.composition, asked.call).request
            manifests += make_manifests(asked.composition, request, where)
        several = zip(manifests, calls, strict=True)
        return [self._with_command(manifest, one, 0) for manifest, one in several]

    def plan(self, composition: Composition, call: Call) -> Plan | None:
        return None

    def batches(self, pipe: Pipeline, call: Call) -> Iterator[Output]:
        from ldm_core.run.recording import on_weights_of
        from ldm_core.run.yielded import outputs_of

        calls = self._calls(call)
        if not self.function.skips:
            for one in calls:
                outputs = self.function.batches(pipe, *one[0], **one[1])
                installed = pipe.composition.registry.plugins
                yield self._last(list(outputs_of(self.plugin, outputs, installed)), one)
            return
        left = iter(calls)
        for asked in self._recorded(pipe.composition, calls):
            for output in on_weights_of(pipe, asked.composition).batches_of(asked.call):
                mine = [next(left) for _ in range(output.asked)]
                manifests = [
                    self._with_command(manifest, mine[at], 0)
                    for at, manifest in zip(output.indices, output.manifests, strict=True)
                ]
                yield replace(output, manifests=manifests)

    def _input(self, parameter: inspect.Parameter) -> Input:
        """A parameter as an input: what is given by place is each picture's own."""
        option = self._declared[parameter.name]
        needed = option.default is REQUIRED and parameter.kind is not SEVERAL
        default = MUST if needed else None if option.default is REQUIRED else option.default
        each = parameter.kind is not KEYWORD
        return Input(option.annotation, default, each, option.help)

    def _calls(self, call: Call) -> list[Arguments]:
        """A call of several pictures as one of the function for each."""
        call, seeds = {**self._size, **call}, call["seed"]
        rest = {name: value for name, value in call.items() if name != "seed"}
        each = {n for n, v in rest.items() if isinstance(v, list) and len(v) == len(seeds)}
        shared = {p.name for p in self._parameters if p.kind is KEYWORD}
        return [
            self._call(
                {n: v[at] if n in each - shared else v for n, v in rest.items()} | {"seed": seed}
            )
            for at, seed in enumerate(seeds)
        ]

    def _call(self, values: Mapping[str, Any]) -> Arguments:
        """The call of one picture.

        Raises:
            LdmError: an argument is missing, or of another type, or names a file to write.
        """
        named = {name: value for name, value in values.items() if value is not None}
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        for parameter in self._parameters:
            option, column = self._declared[parameter.name], COLUMNS.get(parameter.name)
            value = named.pop(column or parameter.name, None)
            if value is None:
                if parameter.kind not in (SEVERAL, KEYWORD):
                    arguments.append(self._default(option))
            elif WRITTEN in parts_of(option.annotation):
                raise LdmError(
                    f"'{option.name}' names a file to write, and each line's picture has its own"
                )
            elif parameter.kind is KEYWORD:
                options[option.name] = option.check(value, self._owner)
            else:
                arguments.append(option.check(value, self._owner))
        return tuple(arguments), {**options, **named}

    def _default(self, option: Option) -> Any:
        if option.default is REQUIRED:
            raise LdmError(f"{self._owner} needs '{option.name}', which it does not say")
        return option.default

    def _recorded(self, composition: Composition, calls: Sequence[Arguments]) -> list[Recorded]:
        """What calls of the function ask of the pipeline, those that can as one."""
        from ldm_core.run.recording import joined, recorded

        with blamed(self.plugin, CHECKED, composition.registry.plugins):
            each = [recorded(self.function, composition, *a, **named) for a, named in calls]
        return joined(each)

    def _last(self, outputs: Sequence[Output], call: Arguments) -> Output:
        """The last of the pictures that one call made, which is a line's."""
        from ldm_core.run.output import Output

        whole = Output.join(outputs)
        if whole.asked > 1 and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._owner} makes {whole.asked} pictures of a line; the last of them is kept.",
                LdmWarning,
                stacklevel=2,
            )
        last = whole.only(whole.asked - 1)
        manifests = [self._with_command(m, call, whole.asked - 1) for m in last.manifests]
        return replace(last, manifests=manifests)

    def _with_command(
        self, manifest: Mapping[str, Any], call: Arguments, number: int
    ) -> dict[str, Any]:
        """A manifest that says how the function was called, where that is needed to make the
        picture again."""
        if not ("finish" in manifest or python_inputs(manifest["inputs"])):
            return dict(manifest)
        named = {p.name: self._declared[p.name] for p in self._parameters if p.kind is KEYWORD}
        record = command_record(self.name, named, call[0], call[1], plain)
        return {**manifest, "command": {**record, "image": number}}


def plain(value: Any) -> Any:
    """A call as JSON can hold it, with paths in full."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool) or value is None else in_full(value)
