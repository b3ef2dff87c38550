"""Which writer puts what is drawn into files."""

from __future__ import annotations

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Writer, as_writer
from ldm_core.errors import LdmError
from ldm_core.media.pixels import check_shown
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
        return writer.fitted(composition.info)
    writer_for_kind = writer_of(kind, registry)
    if writer_for_kind is None:
        raise LdmError(
            f"this model draws {kind}, and no installed package writes files of it.",
            "in Python, output_type='np' or 'pt' gives it as numbers.",
        )
    return writer_for_kind.fitted(composition.info)


def writer_of(kind: str, registry: Registry) -> Writer | None:
    """The writer for a kind of medium: one that keeps the manifest inside comes first, then one
    without loss, then the first by its id; None where there is none."""
    writers = [w for w in map(_writer, registry.of_kind("writer")) if w.kind == kind]
    return min(writers, key=lambda w: (not w.holds_manifest, not w.lossless), default=None)


def _writer(plugin: Plugin) -> Writer:
    try:
        return as_writer(with_options(plugin.loaded, {}))
    except LdmError as error:
        raise LdmError(f"the writer '{plugin.id}' gives something else: {error.message}") from error
