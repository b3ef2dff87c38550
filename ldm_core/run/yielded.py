"""What a command's function yields, seen to be outputs, and whose failure it is where it is not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ldm_core.errors import LdmError, PluginError, with_class
from ldm_core.plugins.blame import blamed, is_of_others
from ldm_core.plugins.registry import Plugin
from ldm_core.run.output import Output
from ldm_core.values import brief

RUNNING = "while it ran"


def outputs_of(
    plugin: Plugin, outputs: Iterable[Output], plugins: Sequence[Plugin] = ()
) -> Iterator[Output]:
    """The outputs of a command, one after the other.

    Args:
        plugins: that are installed, whose code may be met on the way.
    Raises:
        PluginError: the command is another package's, and fails or yields something else.
    """
    with blamed(plugin, RUNNING, plugins, typed=True):
        left = iter(outputs)
    while True:
        with blamed(plugin, RUNNING, plugins, typed=True):
            try:
                output = next(left)
            except StopIteration:
                return
        if is_of_others(plugin) and (fault := _fault(output)):
            raise PluginError(plugin.whose, RUNNING, LdmError(f"{fault}."))
        yield output


def _fault(output: Any) -> str:
    """What is wrong with what a command yielded, in words; nothing where it can be written."""
    if not isinstance(output, Output):
        return f"a command that is made in batches yields an Output each, not {brief(output)}"
    try:
        counts = [len(own) for own in (output.images, output.seeds, output.manifests)]
        json.dumps(output.manifests)
    except Exception as error:
        return f"an Output has lists of images, seeds and manifests of JSON: {with_class(error)}"
    if len({*counts}) > 1:
        said = "{} images, {} seeds and {} manifests".format(*counts)
        return f"an Output has a seed and a manifest for each image, and it yielded one of {said}"
    return ""
