"""Which writer puts what is drawn into files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.contracts import Shown, Writer, as_writer
from ldm_core.errors import LdmError, LdmWarning, MachineError, PluginError
from ldm_core.media.picture_manifests import manifest_in
from ldm_core.media.pixels import check_shown
from ldm_core.plugins.blame import blamed, is_of_others
from ldm_core.plugins.looked_at import are_identical
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import Plugin, Registry


def find_writer(composition: Composition, name: str | None = None) -> Writer:
    """The writer of what a composition draws.

    Args:
        name: of a writer plugin; where None, as `writer_of` says.
    Raises:
        LdmError: there is none, or it writes another kind of medium or needs what is not installed,
            or the pictures have channels that none shows.
    """
    kind, registry = composition.decoder.kind, composition.registry
    if kind in ("image", "video"):
        check_shown(composition.info.image_channels)
    return named_writer(kind, registry, name).fitted(composition.info)


def named_writer(kind: str, registry: Registry, name: str | None = None) -> Writer:
    """The writer of a kind of medium, before it is fitted to a model; see `find_writer`."""
    if name is not None:
        writer = _writer(registry.find("writer", name))
        if writer.kind != kind:
            raise LdmError(
                f"the format '{name}' is for {writer.kind}, and this model draws {kind}.",
                "`ldm plugins list --kind writer` shows the others.",
            )
        return _installed(writer, name)
    writer_for_kind = writer_of(kind, registry)
    if writer_for_kind is None:
        for writer in writers_of(kind, registry):
            _installed(writer, f"for {kind}")
        raise LdmError(
            f"this model draws {kind}, and no installed package writes files of it.",
            "in Python, output_type='np' or 'pt' gives it as numbers.",
        )
    return writer_for_kind


def writer_of(kind: str, registry: Registry) -> Writer | None:
    """The writer for a kind of medium, of those whose modules are installed: one that says it comes
    first, then one that keeps the manifest inside, then one without loss, then the first by its id;
    None where there is none.

    Those of other packages are asked where ours have none, so that what else is installed changes
    no file; of one that fails it is said, and the others go on."""
    writers = [writer for writer in writers_of(kind, registry) if not writer.missing]
    return min(
        writers, key=lambda w: (not w.first, not w.holds_manifest, not w.lossless), default=None
    )


def writers_of(kind: str, registry: Registry) -> list[Writer]:
    """Our writers for a kind of medium, by their ids; others' where we have none."""
    ours = [plugin for plugin in registry.of_kind("writer") if not is_of_others(plugin)]
    writers = [w for w in map(_writer, ours) if w.kind == kind]
    for plugin in registry.of_kind("writer") if not writers else ():
        if is_of_others(plugin):
            try:
                writer = _writer(plugin)
            except LdmError as error:
                warnings.warn(LdmWarning(f"{error.message}; it is left out."), stacklevel=2)
                continue
            writers += [writer] if writer.kind == kind else []
    return writers


def _installed(writer: Writer, name: str) -> Writer:
    """A writer, once it is seen that it can write.

    Raises:
        LdmError: it needs what is not installed.
    """
    if writer.missing:
        several = ", ".join(writer.missing)
        noun = "packages" if len(writer.missing) > 1 else "package"
        raise LdmError(
            f"the format {name if name.startswith('for ') else repr(name)} needs the {noun} "
            f"{several}, which is not installed.",
            f"pip install 'ldm-core[{writer.extra}]'" if writer.extra else "",
        )
    return writer


def _writer(plugin: Plugin) -> Writer:
    with blamed(plugin, "while it was made"):
        made = with_options(plugin.loaded, {})
    try:
        writer = as_writer(made)
    except LdmError as error:
        if is_of_others(plugin):
            raise PluginError(plugin.whose, "while it was made", error) from error
        raise LdmError(f"the writer '{plugin.id}' gives something else: {error.message}") from error
    return _seen(writer, plugin)


def _seen(writer: Writer, plugin: Plugin) -> Writer:
    """A writer whose files are seen to be there, with the manifest inside where another's says so,
    and manifests to stay as they are: other code may stand in the place of a library's beneath one
    of ours."""

    def write(shown: Shown, manifest: Mapping[str, Any], path: Path) -> None:
        told = deepcopy(manifest) if is_of_others(plugin) else manifest
        with blamed(plugin, "while it wrote a file"):
            writer.write(shown, told, path)
        if not are_identical(told, manifest):
            altered = LdmError("a writer leaves the manifest as it is, and it wrote into it.")
            raise PluginError(plugin.whose, "while it wrote a file", altered)
        if path.is_symlink() or not path.is_file() or path.stat().st_size == 0:
            what = "there is no file at the path it was given, but a link"
            if not path.is_symlink():
                what = "there is no file at the path it was given, or it is empty"
            if is_of_others(plugin):
                raise PluginError(plugin.whose, "while it wrote a file", LdmError(f"{what}."))
            raise MachineError(
                f"the writer '{plugin.id}' wrote nothing, and no library beneath it said why.",
                "a package may have changed such a library; LDM_DISABLE_PLUGINS leaves it out.",
            )
        if is_of_others(plugin) and writer.holds(manifest) and manifest_in(path) is None:
            lacking = LdmError(
                "the writer says holds_manifest=True, and no manifest can be read of its file."
            )
            raise PluginError(plugin.whose, "while it wrote a file", lacking)

    return writer.with_function(write)
