"""The call of a ready-made pipeline that a picture's manifest holds, as far as it may be repeated.

A manifest may come from anybody. Only commands that return pictures are called, with arguments of
the types that they declare, and never with an option that names something to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ldm_core.composition.compose import RESERVED
from ldm_core.composition.reach import Reach
from ldm_core.contracts.files import NAMES_FILE, READ, WRITTEN, parts_of
from ldm_core.errors import LdmError, did_you_mean
from ldm_core.media.manifest_record import Command
from ldm_core.plugins.options import REQUIRED, Option, describe
from ldm_core.plugins.registry import Plugin, Registry
from ldm_core.run.in_batches import InBatches

if TYPE_CHECKING:
    from ldm_core.run.output import Output

OF_A_CALL = {
    "seed", "num_images_per_prompt", "num_inference_steps", "guidance_scale", "width", "height",
    "frame_rate",
}  # fmt: skip
"""What a command may hand on to a call of a pipeline, beside its inputs and lengths."""


@dataclass(frozen=True)
class Repeated:
    """A call that may be made again.

    Attributes:
        left_out: its options that name something to write; the pictures are the same without.
    """

    plugin: Plugin
    function: InBatches
    arguments: Sequence[tuple[Option, Any]]
    options: Mapping[str, tuple[Option, Any]]
    more: Mapping[str, Any]
    left_out: Sequence[str]

    def tell(self, reach: Reach) -> None:
        """Say what it would read."""
        reach.plugins.add(self.plugin)
        for option, value in (*self.arguments, *self.options.values()):
            reach.value(
                value, Path if Image.Image in parts_of(option.annotation) else option.annotation
            )
        reach.value(dict(self.more))

    def outputs(self, pipe: Any) -> Iterable[Output]:
        """Make it."""
        arguments = [value for _, value in self.arguments]
        options = {name: value for name, (_, value) in self.options.items()}
        from ldm_core.run.yielded import outputs_of

        outputs = self.function.batches(pipe, *arguments, **options, **self.more)
        return outputs_of(self.plugin, outputs, pipe.composition.registry.plugins)


def repeated(command: Command, registry: Registry) -> Repeated:
    """The call of a manifest.

    Raises:
        LdmError: the command is not installed or gives no pictures, or does not take these
            arguments.
    """
    plugin = registry.find("command", command.name)
    function = plugin.loaded
    owner = f"the command '{command.name}'"
    if not isinstance(function, InBatches):
        raise LdmError(f"{owner} gives no pictures that could be made again.")
    parameters = list(inspect.signature(function).parameters.values())[1:]
    declared = describe(function, parameters)
    options, more, left_out = {}, {}, []
    for said, value in command.options.items():
        name = function.earlier.get(said, said)
        if not any(p.name == name and p.kind is p.KEYWORD_ONLY for p in parameters):
            _check_more(name, parameters, owner)
            more[name] = value
        elif value is None and declared[name].default is None:
            continue
        elif WRITTEN in parts_of(declared[name].annotation):
            left_out.append(name)
        else:
            options[name] = declared[name], _checked(declared[name], value, owner)
    for parameter in parameters:
        needed = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is REQUIRED
        if needed and parameter.name not in options:
            raise LdmError(f"the manifest is damaged: {owner} needs the option '{parameter.name}'.")
    arguments = _arguments(command.arguments, parameters, declared, owner)
    return Repeated(plugin, function, arguments, options, more, left_out)


def _arguments(
    values: Sequence[Any],
    parameters: Sequence[inspect.Parameter],
    declared: Mapping[str, Option],
    owner: str,
) -> list[tuple[Option, Any]]:
    """The arguments by place, each with what it is an argument of."""
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
    least = sum(1 for place in places if place.default is REQUIRED)
    if len(values) < least or (len(values) > len(places) and not several):
        raise LdmError(f"the manifest is damaged: {owner} takes no {len(values)} arguments.")
    rest = several * (len(values) - len(places))
    options = [declared[p.name] for p in (*places, *rest)][: len(values)]
    for option in options:
        if WRITTEN in parts_of(option.annotation):
            raise LdmError(f"{owner} writes '{option.name}', and what writes is not repeated.")
    return [(o, _checked(o, value, owner)) for o, value in zip(options, values, strict=True)]


def _check_more(name: str, parameters: Sequence[inspect.Parameter], owner: str) -> None:
    """See that a name which is none of a command's options may be an input or length."""
    taken = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} | {"pipe", "self"}
    hands_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = hands_on and name not in taken and (name in OF_A_CALL or name not in RESERVED)
    if not (known and name.isidentifier()):
        names = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        raise LdmError(
            f"the manifest is damaged: {owner} has no option '{name}'.{did_you_mean(name, names)}"
        )


def _checked(option: Option, value: Any, owner: str) -> Any:
    parts = parts_of(option.annotation)
    if Path in parts and not {READ, NAMES_FILE, Image.Image} & parts and value is not None:
        raise LdmError(
            f"{owner} does not say whether its '{option.name}' is read or written, so that it is "
            "not repeated for a picture.",
            "its author declares it as ldm_core.contracts.InputPath or OutputPath.",
        )
    return option.check(value, owner)
