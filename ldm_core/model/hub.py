"""Repositories of the Hugging Face Hub: how they are named, and which files are fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ldm_core.contracts.files import is_there
from ldm_core.errors import LdmError
from ldm_core.model.hub_permission import NotAskedError, may_ask
from ldm_core.model.weight_files import NAME, choose

ID = r"(?P<id>[\w-][\w.-]*/[\w.-]+)"
FOLDER = re.compile(rf"{ID}(?:@(?P<revision>[\w.+/-]+))?")
FILE = re.compile(
    rf"{ID}(?:@(?P<revision>(?:refs/[\w-]+/)?[\w.+-]+))?(?:/(?P<file>.+\.safetensors))?"
)
TEXTS = (".json", ".txt", ".model")
UNREAD = ("safety_checker",)
"""Components that Diffusers' pipelines have and no family here reads."""
SECONDS = 10.0
"""How long the Hub may take to say that it is there."""


class HubName(NamedTuple):
    """A repository, ``owner/name``; or one of its revisions, ``owner/name@revision``: a branch, a
    tag or a commit.

    Attributes:
        file: one of its files, where the name says one.
    """

    id: str
    revision: str | None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.id}{revision}{f'/{self.file}' if self.file else ''}"

    @property
    def where(self) -> dict[str, Any]:
        """What the Hub's library is told beside the repository."""
        return {} if self.revision is None else {"revision": self.revision}


def as_folder(source: str) -> HubName | None:
    """A repository by its name; None for what is no such name."""
    match = FOLDER.fullmatch(source)
    if match is None or match["id"].endswith(".safetensors") or _climbs(source):
        return None
    return HubName(match["id"], match["revision"])


def as_file(source: str) -> HubName | None:
    """A repository, or one of its files: ``owner/name@revision/file.safetensors``; None for what
    is no such name."""
    match = FILE.fullmatch(source)
    if match is None or match["id"].endswith(".safetensors") or _climbs(source):
        return None
    return HubName(match["id"], match["revision"], match["file"])


def _climbs(source: str) -> bool:
    """Whether a name would lead out of the Hub's cache, which is made of folders by its parts."""
    return bool({".", "..", ""} & {*re.split("[/@]", source)})


def commit(source: str, folder: Path) -> str | None:
    """The commit of the repository that was read; None where it is not from the Hub's cache.

    Args:
        source: the model as it was named.
        folder: where it lies.
    """
    inside = folder.parent.name == "snapshots" and as_folder(source) is not None
    return folder.name if inside else None


def is_offline() -> bool:
    """Whether the Hub is not to be asked for anything, by the environment."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE)


def at_commit(source: str, commit: str) -> str:
    """A repository by its name, at a commit; anything else as it is."""
    hub = as_folder(source)
    return source if hub is None or is_there(source) else f"{hub.id}@{commit}"


def is_cached(hub: HubName) -> bool:
    """Whether anything of a repository lies in the Hub's cache; no connection is made."""
    try:
        Repository(hub).snapshot()
    except Exception:  # whatever the library raises of a name that it does not like
        return False
    return True


@dataclass(frozen=True)
class Repository:
    """What can be had of a repository: the only door to the Hub.

    Attributes:
        names: its files, as the Hub says; None where it is not asked, or cannot be reached, so that
            its cache alone is read.
        reason: why it cannot be reached.
    """

    hub: HubName
    names: list[str] | None = None
    reason: str = ""

    @classmethod
    def ask(cls, hub: HubName) -> Repository:
        """The repository as the Hub knows it, or its cache. A single request without a second try
        says whether the Hub is there; its library would ask for 24 seconds.

        Raises:
            HfHubHTTPError: the Hub's own answer, such as that there is none, or no access to it.
        """
        from huggingface_hub import model_info
        from huggingface_hub.errors import HfHubHTTPError

        if not may_ask(hub.id):
            return cls(hub)
        try:
            info = model_info(hub.id, timeout=SECONDS, **hub.where)
        except HfHubHTTPError:
            raise
        except Exception as error:
            return cls(hub, reason=str(error).strip() or type(error).__name__)
        return cls(hub, [file.rfilename for file in info.siblings or []])

    def file(self, name: str) -> Path:
        """One of its files, fetched to the cache."""
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.hub.id, name, **self._where))
        except FileNotFoundError as error:
            raise self._missing(error) from None

    def snapshot(self, names: list[str] | None = None) -> str:
        """Its folder in the cache.

        Args:
            names: of the files that are fetched to it.
        """
        from huggingface_hub import snapshot_download

        patterns = None if self.names is None else names
        try:
            return str(snapshot_download(self.hub.id, allow_patterns=patterns, **self._where))
        except FileNotFoundError as error:
            raise self._missing(error) from None

    def held(self) -> list[str]:
        """The names of its files: those it has, or those in the cache."""
        if self.names is not None:
            return self.names
        folder = Path(self.snapshot())
        return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]

    @property
    def _where(self) -> dict[str, Any]:
        if self.names is None:
            return {**self.hub.where, "local_files_only": True}
        return self.hub.where

    def _missing(self, error: Exception) -> Exception:
        if self.names is not None:
            return error
        if self.reason:
            return LdmError(
                f"it is not in the Hub's cache, and the Hub cannot be reached ({self.reason})"
            )
        return NotAskedError(f"'{self.hub.id}' is not in the Hub's cache")


def download_model(
    hub: HubName, indexes: Sequence[str], beside: Iterable[str], weights: bool
) -> str:
    """The folder with a model's components, and no other file of the repository.

    Args:
        indexes: the file that names the components: the first of these that there is.
        beside: further files, where it has them.
        weights: whether to fetch the weights too; in full precision where they are there so.
    Raises:
        LdmError: a component has no weights that are read.
    """
    repository = Repository.ask(hub)
    if repository.names is None:
        return repository.snapshot()
    names = repository.names
    index = next((name for name in indexes if name in names), indexes[0])
    table = json.loads(repository.file(index).read_text("utf-8"))
    parts = [n for n, entry in table.items() if isinstance(entry, list) and n not in UNREAD]
    files = [name for name in (index, *beside) if name in names]
    for part in parts:
        own = [PurePosixPath(n).name for n in names if n.rpartition("/")[0] == part]
        files += [f"{part}/{name}" for name in _component(hub, part, own, weights)]
    return repository.snapshot(files)


def download_component(hub: HubName) -> str:
    """The folder with a repository that is one component, such as a ControlNet's."""
    repository = Repository.ask(hub)
    own = [name for name in repository.names or [] if "/" not in name]
    return repository.snapshot(_component(hub, "", own))


def download_file(hub: HubName, beside: Iterable[str] = ()) -> str:
    """One safetensors file of a repository: the one that is named, or the only one there is.

    Args:
        beside: files that belong to it, where the repository has them in the same folder.
    Raises:
        LdmError: the repository has several.
    """
    repository = Repository.ask(hub)
    held = repository.held()
    name = hub.file
    if name is None:
        files = [file for file in held if file.endswith(".safetensors")]
        if len(files) != 1:
            at = f"@{hub.revision}" if hub.revision else ""
            raise LdmError(
                f"it has {len(files)} safetensors files; say which, as in {hub.id}{at}/FILE: "
                f"{', '.join(sorted(files)) or 'none'}"
            )
        name = files[0]
    for other in beside:
        if (path := str(PurePosixPath(name).with_name(other))) in held:
            repository.file(path)
    return str(repository.file(name))


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
