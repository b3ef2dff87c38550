"""Manifests: everything that made one image, so that it can be made again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ldm_core.composition.composition import Composition
from ldm_core.composition.full_recipe import recipe_in_full
from ldm_core.composition.parts import qualified_name
from ldm_core.composition.recipe import Layer, as_layer, is_ready_made
from ldm_core.contracts import Extent, ModelInfo, Place, Request
from ldm_core.errors import LdmError
from ldm_core.media.manifest_files import (
    beside_hashes,
    converter_hashes,
    input_hashes,
    lora_hashes,
    option_hashes,
)
from ldm_core.media.manifest_gone import not_installed
from ldm_core.media.manifest_names import missing_of, with_names_of_then
from ldm_core.media.manifest_packages import imported, model_package, versions_in_use
from ldm_core.media.manifest_record import FORMAT, IMPORTED, Manifest
from ldm_core.media.python_inputs import python_input
from ldm_core.model.files import model_hash
from ldm_core.model.hub import commit
from ldm_core.plugins.registry import Registry, installed


def make_manifest(
    composition: Composition, request: Request, index: int, place: Place | None = None
) -> dict[str, Any]:
    """The manifest of one image of a request.

    Args:
        place: where it was made; the types of half precision are then stated, whatever chose them.
    """
    return next(make_manifests(composition, request, place, [index]))


def make_manifests(
    composition: Composition,
    request: Request,
    place: Place | None = None,
    indices: Iterable[int] | None = None,
) -> Iterator[dict[str, Any]]:
    """The manifests of images of a request, of all of them where no indices are given.

    They share what is the same in all of them.
    """
    declared, registry = composition.inputs, composition.registry
    # who watches a run has no part in the picture
    plugins = [plugin for plugin in composition.plugins if plugin.kind != "observer"]
    full = recipe_in_full(composition)
    packages = versions_in_use(composition, full)
    recipe = _plain(full)
    if place is not None and place.dtype.itemsize < 4:
        recipe["dtype"] = str(place.dtype).removeprefix("torch.")
        recipe["compute_dtype"] = str(place.compute_dtype).removeprefix("torch.")
    shared = {
        **_extent(request.extent),
        "num_inference_steps": request.num_inference_steps,
        **({} if request.frame_rate is None else {"frame_rate": request.frame_rate}),
        "recipe": recipe,
        **_revision(composition),
        "model_sha256": _model_hash(composition.info),
        "loras": lora_hashes(composition),
        **_converters(composition),
        **_where_any("beside", beside_hashes(composition)),
        **_where_any("option_files", option_hashes(composition, full)),
        "family": composition.info.family_id,
        **_where_any("model_package", model_package(composition)),
        "plugins": sorted({f"{p.kind} {p.id}" for p in plugins}),
        "versions": packages,
        **_where_any(IMPORTED, imported(registry, packages)),
    }
    for index in range(len(request.seeds)) if indices is None else indices:
        inputs = {
            name: _input(
                declared[name].in_full(values[index]) if name in declared else values[index]
            )
            for name, values in request.inputs.items()
        }
        files = input_hashes(declared, {n: values[index] for n, values in request.inputs.items()})
        yield {
            "format": FORMAT,
            "seed": request.seeds[index],
            "inputs": inputs,
            **_where_any("input_files", files),
            **shared,
        }


def _model_hash(info: ModelInfo) -> str:
    return model_hash(info.folder, info.file, info.components)


def _revision(composition: Composition) -> dict[str, str]:
    """The commit of a model from the Hub, whatever revision was named."""
    info = composition.info
    at = commit(info.source, info.folder)
    return {} if at is None else {"model_revision": at}


def _where_any(key: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """A table under its key, where there is anything in it."""
    return {key: value} if value else {}


def _converters(composition: Composition) -> dict[str, Any]:
    """Whether what acts on the model keeps its answers, and the hashes of files not of LoRA."""
    exact = composition.attention.lossless
    if not composition.converters:
        return {} if exact else {"lossless": False}
    return {
        "lossless": exact and all(converter.lossless for converter in composition.converters),
        "converter_files": converter_hashes(composition),
    }


def _extent(extent: Extent) -> dict[str, Any]:
    """How large it is: of a picture its width and height, of anything else a table."""
    if {*extent} == {"width", "height"}:
        return {"width": extent["width"], "height": extent["height"]}
    return {"extent": dict(extent)}


def extent_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """How large what a manifest of this process describes is."""
    sides = {side: manifest[side] for side in ("width", "height") if side in manifest}
    return {**manifest.get("extent", {}), **sides}


def recipe_of(
    manifest: Mapping[str, Any] | Manifest,
    registry: Registry | None = None,
    *,
    checked: bool = True,
) -> Layer:
    """The recipe in a manifest, whose dtype is float32 where it states none: `auto` would be
    another on another device. Its names are those of the plugins that made it, whatever other
    packages offer.

    Args:
        registry: the plugins that there are; those of the installed packages where None.
        checked: see that its plugins are installed.

    Raises:
        LdmError: it is damaged or of another format, a part or input was made in Python and has
            no name, or plugins are not installed.
    """
    read = manifest if isinstance(manifest, Manifest) else Manifest.of(manifest)
    for part in _tables(read.recipe):
        if "python" in part:
            raise LdmError(
                f"the image was made with the Python object {part['python']}, which has no "
                "plugin name; register it as a plugin to replay what it makes."
            )
    plugins = registry or installed()
    named = with_names_of_then(as_layer(read.recipe), read, plugins)
    missing = missing_of(named, plugins) if checked else ()
    if missing:
        raise not_installed(missing, read, plugins)
    recipe = {"dtype": "float32", **named}
    if read.command is not None:
        return recipe  # which is given its own inputs again
    for name, kind in python_inputs(read.inputs):
        raise LdmError(
            f"the image was made with a {kind} for its '{name}', which no manifest can hold; give "
            "it as a file to make pictures that can be made again."
        )
    return recipe


def python_inputs(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The inputs in a manifest that only Python can give, each with its type."""
    named = ((name, table) for name, value in inputs.items() for table in _tables(value))
    return [(name, table["python"]) for name, table in named if "python" in table]


def _plain(value: Any) -> Any:
    """A recipe as JSON can hold it; a ready-made Python part becomes {"python": its name}."""
    if isinstance(value, Mapping):
        thing: Any = value.get("name")
        if is_ready_made(thing):
            rest = {key: _plain(v) for key, v in value.items() if key != "name"}
            return {"python": qualified_name(thing), **rest}
        return {key: _plain(v) for key, v in value.items()}
    if callable(value):
        return _plain({"name": value})
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _input(value: Any) -> Any:
    """An input as JSON can hold it; what only Python can give becomes a table of its type."""
    if isinstance(value, Mapping):
        return {str(key): _input(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_input(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return python_input(value)


def _tables(value: Any) -> list[Mapping[str, Any]]:
    """Every table in a value, those inside others too."""
    if isinstance(value, Mapping):
        return [value, *(table for v in value.values() for table in _tables(v))]
    return [table for v in value for table in _tables(v)] if isinstance(value, list) else []
