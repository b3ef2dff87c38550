"""Which files hold the weights of a component, and whether they are whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ldm_core.errors import LdmError, did_you_mean
from ldm_core.model.configs import read_config
from ldm_core.model.quantised import check_unscaled
from ldm_core.model.reading import CONVERT, PICKLE_RUNS, PICKLED, read_json
from ldm_core.model.safetensors_header import Header, Shapes, read_header

VARIANTS = (None, "fp16", "bf16")
"""Which of a component's precisions is read: the first of these that it has."""
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
NAME = re.compile(
    rf"(?P<stem>{DIFFUSERS}|{TRANSFORMERS})"
    r"(?:\.(?P<before>\w+))?(?P<shard>-\d+-of-\d+)?(?:\.(?P<behind>\w+))?"
    r"\.safetensors(?P<index>\.index(?:\.(?P<variant>\w+))?\.json)?"
)
"""How Diffusers and Transformers name weights, their parts, and the index of parts."""
PART = re.compile(r"\w[\w.+=-]*\.safetensors")
"""A file that an index may name: one beside it, whatever the system."""


@dataclass(frozen=True)
class WeightFiles:
    """The files of one precision of a component.

    Attributes:
        variant: ``fp16`` and the like; None where the names say nothing.
        names: the files, the index among them where there is one.
        index: the one that says which tensor lies in which file.
    """

    variant: str | None
    names: tuple[str, ...]
    index: str | None


def choose(names: Iterable[str]) -> WeightFiles | None:
    """Those files of a component's folder that its weights are read from; None where there are
    none that can be.

    The precision in full where there is one, or else a half one. Of a whole file and an index of
    parts, that which the library reads whose names they have.
    """
    present = sorted(names)
    several = [
        files for stem in (DIFFUSERS, TRANSFORMERS) if (files := _choose(stem, present)) is not None
    ]
    return several[0] if several else None


def _choose(stem: str, present: Sequence[str]) -> WeightFiles | None:
    """`choose`, of the names of one library."""
    for variant in VARIANTS:
        ending = f".{variant}" if variant else ""
        whole, index = f"{stem}{ending}.safetensors", f"{stem}.safetensors.index{ending}.json"
        order: tuple[str, ...]
        if stem == DIFFUSERS:  # whose older versions set the variant elsewhere
            order = (index, f"{stem}{ending}.safetensors.index.json", whole)
        else:
            order = (whole, index)
        first = next((name for name in order if name in present), None)
        if first == whole:
            return WeightFiles(variant, (whole,), None)
        if first is not None:
            matches = [match for name in present if (match := NAME.fullmatch(name))]
            parts = [
                match.string
                for match in matches
                if match["stem"] == stem
                and match["shard"]
                and (match["before"] or match["behind"]) == variant
            ]
            return WeightFiles(variant, (*parts, first), first)
    return None


def find_weights(folder: Path) -> WeightFiles:
    """The weights in a component's folder.

    Raises:
        LdmError: there are none, or only such as nothing reads.
    """
    names = [file.name for file in folder.glob("*") if file.is_file()]
    for name in names:
        if (match := NAME.fullmatch(name)) and match["index"]:
            _named(folder / name)  # also of one that is not read today
    stems = [stem for stem in (DIFFUSERS, TRANSFORMERS) if _choose(stem, names) is not None]
    if len(stems) > 1:
        raise LdmError(
            f"{folder} has weights under two names, {stems[0]}.* and {stems[1]}.*, of which one "
            "alone is read.",
            "take those away that are not meant.",
        )
    if (files := choose(names)) is not None:
        if files.index is None:
            return files
        parts = sorted({*_places(folder / files.index).values()})
        return WeightFiles(files.variant, (*parts, files.index), files.index)
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if any("-of-" in name for name in others):
        raise LdmError(
            f"{folder} has parts of weights such as {others[0]}, and no index of them "
            "(*.safetensors.index.json).",
            "copy or download it again.",
        )
    if others:
        raise LdmError(
            f"{folder} has no weights under a name that is read: {', '.join(others)}."
            f"{did_you_mean(others[0], ['diffusion_pytorch_model.safetensors'])}",
            "precisions that are read: in full, fp16 and bf16.",
        )
    pickled = [name for name in names if PurePosixPath(name).suffix in PICKLED]
    if pickled:
        raise LdmError(f"{folder} holds pickled weights ({pickled[0]}), {PICKLE_RUNS}", CONVERT)
    raise LdmError(f"{folder} has no weights (*.safetensors).")


def check_weights(folder: Path, components: Iterable[str]) -> None:
    """See that each component has whole safetensors files, and a config that chooses no code;
    reads their headers alone.

    Raises:
        LdmError: weights are missing, truncated, pickled, or need a scale that would be left out.
            Nothing is ever unpickled. Or `check_config` refuses the config.
    """
    for component in components:
        part = folder / component
        config = read_config(part)
        for name, header in read_headers(part).items():
            try:
                check_unscaled(header)
            except LdmError as error:
                if config.get("quantization_config") is not None:
                    continue
                raise LdmError(f"{part / name}: {error.message}", error.hint) from None


def read_headers(folder: Path) -> dict[str, Header]:
    """The header of each file that a component's weights are read from, by the file's name.

    Raises:
        LdmError: see `find_weights` and `read_header`; or what lies in the files is not what their
            index says.
    """
    files = find_weights(folder)
    headers = {
        name: read_header(folder / name) for name in files.names if name.endswith(".safetensors")
    }
    if files.index is not None:
        _check_index(folder / files.index, {name: h.shapes for name, h in headers.items()})
    return headers


def _named(index: Path) -> dict[str, str]:
    """The file of each tensor, as an index says it.

    Raises:
        LdmError: it names what is no safetensors file beside it. The libraries follow an index to
            any file, and unpickle one that is named so.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise LdmError(f"{index} should have a table weight_map.")
    for name in sorted({str(name) for name in places.values()}):
        if PurePosixPath(name).suffix in PICKLED:
            raise LdmError(f"{index} names {name}, a pickled file, {PICKLE_RUNS}", CONVERT)
        if not PART.fullmatch(name):
            raise LdmError(f"{index} should name safetensors files beside it, not {name[:200]!r}.")
    return places


def _places(index: Path) -> dict[str, str]:
    """The file of each tensor, as an index says it; each is there.

    Raises:
        LdmError: as of `_named`, or a file is missing or lies elsewhere.
    """
    places = _named(index)
    names = {*places.values()}
    for name in sorted(names):
        part = index.parent / name
        if not part.is_file():
            raise LdmError(
                f"{index.parent} lacks {name}, one of the {len(names)} files that {index.name} "
                "names.",
                "copy or download it again.",
            )
        if not _inside(part, index.parent):
            raise LdmError(
                f"{part} is a link to {part.resolve()}, outside of its folder.",
                "put the file itself there.",
            )
    return places


def _inside(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, or where the Hub's cache keeps what its folders link to."""
    home, root = file.resolve().parent, folder.resolve()
    if home == root:
        return True
    blobs = [
        snapshots.parent / "blobs" for snapshots in root.parents if snapshots.name == "snapshots"
    ]
    return home in blobs


def _check_index(index: Path, files: dict[str, Shapes]) -> None:
    """See that every tensor of an index lies in the file that it names, and no other is there."""
    places = _places(index)
    for tensor, name in places.items():
        if tensor not in files[name]:
            raise LdmError(f"{index.parent / name} lacks {tensor}, which {index.name} puts there.")
    for name, shapes in files.items():
        for tensor in shapes:
            if places.get(tensor) != name:
                raise LdmError(
                    f"{index.parent / name} has {tensor}, which {index.name} does not put there."
                )
