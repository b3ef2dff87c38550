"""Which writer puts what is drawn into files."""

from __future__ import annotations

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Writer
from ldm_core.errors import LdmError
from ldm_core.media.pixels import check_shown
from ldm_core.plugins.blame import OWN
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import Plugin, Registry


def find_writer(composition: Composition, name: str | None = None) -> Writer:
    """The writer of what a composition draws.

    Args:
        name: of a writer plugin; where None, as `writer_of` says.
    Raises:
        LdmError: there is none, or it writes another kind of medium, or the pictures have channels
            that none shows.
    """
    kind, registry = composition.decoder.kind, composition.registry
    if kind == "image":
        check_shown(composition.info.image_channels)
    if name is not None:
        writer = _writer(registry.find("writer", name))
        if writer.kind != kind:
            raise LdmError(
                f"the format '{name}' is for {writer.kind}, and this model draws {kind}.",
                "`ldm plugins list --kind writer` shows the others.",
            )
        return writer
    writer_for_kind = writer_of(kind, registry)
    if writer_for_kind is None:
        raise LdmError(
            f"this model draws {kind}, and no installed package writes files of it.",
            "in Python, output_type='np' or 'pt' gives it as numbers.",
        )
    return writer_for_kind


def writer_of(kind: str, registry: Registry) -> Writer | None:
    """The writer for a kind of medium: of those of ldm-core, or else of other packages, one that
    keeps the manifest inside comes first, then one without loss, then the first by its id; None
    where there is none."""
    offered = registry.of_kind("writer")
    own = [plugin for plugin in offered if plugin.distribution == OWN]
    for plugins in (own, [plugin for plugin in offered if plugin.distribution != OWN]):
        writers = [w for w in map(_writer, plugins) if w.kind == kind]
        if writers:
            return min(writers, key=lambda w: (not w.holds_manifest, not w.lossless))
    return None


def _writer(plugin: Plugin) -> Writer:
    writer = with_options(plugin.loaded, {})
    if not isinstance(writer, Writer):
        raise LdmError(f"the writer '{plugin.id}' is no Writer; mark its function by `writes`.")
    return writer
