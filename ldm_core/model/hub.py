"""Repositories of the Hugging Face Hub: how they are named, and which files are fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ldm_core.errors import LdmError
from ldm_core.model.weight_files import NAME, choose

ID = r"(?P<id>[\w-][\w.-]*/[\w.-]+)"
FOLDER = re.compile(rf"{ID}(?:@(?P<revision>[\w.+/-]+))?")
FILE = re.compile(
    rf"{ID}(?:@(?P<revision>(?:refs/[\w-]+/)?[\w.+-]+))?(?:/(?P<file>.+\.safetensors))?"
)
TEXTS = (".json", ".txt", ".model")
UNREAD = ("safety_checker",)
"""Components that Diffusers' pipelines have and no family here reads."""


class HubName(NamedTuple):
    """A repository, ``owner/name``; or one of its revisions, ``owner/name@revision``: a branch, a
    tag or a commit.

    Attributes:
        file: one of its files, where the name says one.
    """

    id: str
    revision: str | None
    file: str | None = None

    @property
    def where(self) -> dict[str, Any]:
        """What the Hub's library is told beside the repository."""
        return {} if self.revision is None else {"revision": self.revision}


def as_folder(source: str) -> HubName | None:
    """A repository by its name; None for what is no such name."""
    match = FOLDER.fullmatch(source)
    if match is None or match["id"].endswith(".safetensors"):
        return None
    return HubName(match["id"], match["revision"])


def as_file(source: str) -> HubName | None:
    """A repository, or one of its files: ``owner/name@revision/file.safetensors``; None for what
    is no such name."""
    match = FILE.fullmatch(source)
    if match is None or match["id"].endswith(".safetensors"):
        return None
    return HubName(match["id"], match["revision"], match["file"])


def commit(source: str, folder: Path) -> str | None:
    """The commit of the repository that was read; None where it is not from the Hub's cache.

    Args:
        source: the model as it was named.
        folder: where it lies.
    """
    inside = folder.parent.name == "snapshots" and as_folder(source) is not None
    return folder.name if inside else None


def at_commit(source: str, commit: str) -> str:
    """A repository by its name, at a commit; anything else as it is."""
    hub = as_folder(source)
    return source if hub is None or Path(source).exists() else f"{hub.id}@{commit}"


def download_model(hub: HubName, index: str, beside: Iterable[str], weights: bool) -> str:
    """The folder with a model's components, and no other file of the repository.

    Args:
        index: the file that names the components.
        beside: further files, where it has them.
        weights: whether to fetch the weights too; in full precision where they are there so.
    Raises:
        LdmError: a component has no weights that are read.
    """
    from huggingface_hub import hf_hub_download

    table = json.loads(Path(hf_hub_download(hub.id, index, **hub.where)).read_text("utf-8"))
    parts = [n for n, entry in table.items() if isinstance(entry, list) and n not in UNREAD]

    def wanted(names: list[str]) -> list[str]:
        files = [name for name in (index, *beside) if name in names]
        for part in parts:
            own = [PurePosixPath(n).name for n in names if n.rpartition("/")[0] == part]
            files += [f"{part}/{name}" for name in _component(hub, part, own, weights)]
        return files

    return _download(hub, wanted)


def download_component(hub: HubName) -> str:
    """The folder with a repository that is one component, such as a ControlNet's."""
    return _download(hub, lambda names: _component(hub, "", [n for n in names if "/" not in n]))


def download_file(hub: HubName, beside: Iterable[str] = ()) -> str:
    """One safetensors file of a repository: the one that is named, or the only one there is.

    Args:
        beside: files that belong to it, where the repository has them in the same folder.
    Raises:
        LdmError: the repository has several.
    """
    from huggingface_hub import hf_hub_download

    name, names = hub.file, [] if hub.file else (_listed(hub) or _cached(hub))
    if name is None:
        files = [file for file in names if file.endswith(".safetensors")]
        if len(files) != 1:
            at = f"@{hub.revision}" if hub.revision else ""
            raise LdmError(
                f"it has {len(files)} safetensors files; say which, as in {hub.id}{at}/FILE: "
                f"{', '.join(sorted(files)) or 'none'}"
            )
        name = files[0]
    for other in beside:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            hf_hub_download(hub.id, str(PurePosixPath(name).with_name(other)), **hub.where)
        except EntryNotFoundError:  # it has none; also where only the cache can be asked
            continue
    return str(hf_hub_download(hub.id, name, **hub.where))


def _component(hub: HubName, part: str, names: list[str], weights: bool = True) -> list[str]:
    """Which files of a component to fetch."""
    files = [n for n in names if PurePosixPath(n).suffix in TEXTS and not NAME.fullmatch(n)]
    chosen = choose(names) if weights else None
    if chosen is not None:
        return [*files, *chosen.names]
    held = [n for n in names if PurePosixPath(n).suffix in (".bin", ".safetensors", ".msgpack")]
    if held and weights:
        raise LdmError(
            f"{part or hub.id} has no safetensors weights in full, fp16 or bf16 precision, only "
            f"{', '.join(held[:3])}"
        )
    return files


def _download(hub: HubName, wanted: Callable[[list[str]], list[str]]) -> str:
    from huggingface_hub import snapshot_download

    names = _listed(hub)
    if names is None:
        return str(snapshot_download(hub.id, local_files_only=True, **hub.where))
    return str(snapshot_download(hub.id, allow_patterns=wanted(names), **hub.where))


def _listed(hub: HubName) -> list[str] | None:
    """The names of a repository's files; None without the network.

    Raises:
        HfHubHTTPError: the Hub's own answer, such as that there is none, or no access to it.
    """
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return list(list_repo_files(hub.id, **hub.where))
    except HfHubHTTPError:
        raise
    except Exception:
        return None


def _cached(hub: HubName) -> list[str]:
    """The names of the files that earlier downloads left in the cache."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(hub.id, local_files_only=True, **hub.where))
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
