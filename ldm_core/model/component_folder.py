"""A component that is named by itself: its folder, or its id on the Hub."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from ldm_core.contracts.files import to_read
from ldm_core.errors import LdmError
from ldm_core.model.files import from_hub
from ldm_core.model.hub import HubName, as_folder, download_component


def component_folder(source: str, what: str) -> Path:
    """The folder of a component, whose config and weights are still to be looked at.

    Args:
        source: a folder, or an id of the Hub.
        what: it is, for messages.
    Raises:
        LdmError: there is no such folder.
    """
    folder = to_read(source)
    if folder.is_dir():
        return folder.resolve()
    if folder.is_file():
        raise LdmError(
            f"the {what} '{source}' is a file; name a folder with a config.json and safetensors "
            "weights."
        )
    if (hub := as_folder(source)) is not None:
        return Path(from_hub(source, "folder", partial(_download, hub)))
    raise LdmError(f"there is no folder '{source}' with a {what}.")


@cache
def _download(hub: HubName) -> str:
    return download_component(hub)
