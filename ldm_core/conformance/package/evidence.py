"""What is gathered of a package before its checks are made."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ldm_core.conformance.checks import Subject
from ldm_core.conformance.declared import Declared
from ldm_core.conformance.package.listing import Listing, list_here, output_to
from ldm_core.conformance.package.patches import attributes, replaced
from ldm_core.conformance.package.state import changes, state
from ldm_core.conformance.packages import Package
from ldm_core.conformance.plugin_checks import NOT_MADE, plugins_of, why_not_made
from ldm_core.plugins.registry import Plugin, Registry, installed

WARM = (
    "numpy.random",
    "torch.nn.functional",
    "diffusers.models.attention_processor",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.schedulers.scheduling_ddim",
    "diffusers.pipelines.pipeline_utils",
    "transformers.modeling_utils",
    "ldm_core.run.pipeline",
)
"""What a plugin may patch, imported before one can."""


@dataclass
class Evidence:
    """What was seen of a package.

    Attributes:
        fresh: of listing it in a process of its own; None where that was not seen.
        warm: of listing it where everything is imported already.
        made: what was printed and changed while its plugins were made.
        patched: attributes of other packages that are others afterwards.
        plugins: those of its plugins that the host admits.
        certificate: one to hold it against in place of the one that it ships.
        certifying: a certificate is about to be written, so that the old one does not count.
    """

    package: Package
    fresh: Listing | None
    warm: Listing
    made: Listing
    patched: list[str]
    registry: Registry
    plugins: list[Plugin]
    declared: Declared = field(default_factory=Declared)
    certificate: Path | None = None
    certifying: bool = False


def warm_up() -> None:
    """Import what plugins may patch, where it is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in WARM:
            with suppress(ImportError):
                importlib.import_module(name)


def gather(
    package: Package,
    fresh: Listing | None = None,
    registry: Callable[[], Registry] = installed,
) -> Evidence:
    """List and make a package's plugins, and see what that changes.

    Args:
        registry: gives that in which they are looked up, once they are listed.
    """
    warm_up()
    before = attributes()
    warm = list_here(package)
    host = registry()
    plugins = plugins_of(package.name, host)
    declared = Declared.of(package.modules)
    made, at_first = Listing(), state()
    with output_to(made):
        for plugin in plugins:
            with suppress(Exception, SystemExit):
                _make(plugin, host, declared)
    made.changed = changes(at_first, state())
    own = package.tops
    return Evidence(package, fresh, warm, made, replaced(before, own), host, plugins, declared)


def _make(plugin: Plugin, registry: Registry, declared: Declared) -> None:
    """What is wrong with it its own check says.

    Its module is imported as Python does it: the host puts back what an import of its own changes,
    and warns of that at each use.
    """
    if plugin.kind == "model":
        return
    if isinstance(plugin.target, str):
        importlib.import_module(plugin.target.partition(":")[0])
    options = declared.options(f"{plugin.kind} {plugin.name}")
    plugin.options  # noqa: B018 - reads them, and so imports it
    if why_not_made(plugin, options) is None and plugin.kind not in NOT_MADE:
        Subject(plugin, registry, None, options).made()
