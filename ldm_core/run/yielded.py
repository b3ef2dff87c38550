"""What a command's function yields, seen to be outputs, and whose failure it is where it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ldm_core.errors import LdmError, PluginError
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
        if is_of_others(plugin) and not isinstance(output, Output):
            what = f"a command that is made in batches yields an Output each, not {brief(output)}"
            raise PluginError(plugin.whose, RUNNING, LdmError(f"{what}."))
        yield output
