"""The command ``ldm ui``; cheap to import."""

from __future__ import annotations

from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ldm_core.contracts.files import InputPath, OutputPath
from ldm_core.errors import LdmError

Port = Annotated[int, Field(ge=0, le=65535)]


def ui(
    *,
    folder: list[InputPath] | None = None,
    models: list[InputPath] | None = None,
    out: OutputPath = Path("pictures"),
    host: str = "127.0.0.1",
    port: Port = 7860,
    name: list[str] | None = None,
    password_file: InputPath | None = None,
    allow_hub: bool = False,
    json: bool = False,
) -> None:
    """Open a page to work on, in a browser.

    Its forms are made of what the installed plugins declare. It reads the files in the folders that
    are named here, and no others.

    Args:
        folder: A folder with files that may be inputs, such as pictures; repeatable.
        models: A folder with models to choose from; repeatable.
        out: Folder for the pictures.
        host: The address to be reached at; this machine alone where nothing else is said.
        port: The port; 0 takes one that is free.
        name: A name by which the page is asked for where it is reached from other machines;
            repeatable.
        password_file: A file whose first line is NAME:PASSWORD, which the page then asks for.
        allow_hub: Let the page ask the Hub for models that are named on it.
        json: Print where the page is, and its folders, as one JSON object.
    """
    if find_spec("gradio") is None:
        raise LdmError("the page needs the package gradio.", "pip install 'ldm-core[ui]'")
    from ldm_core.cli.choices import check_folder, prepare_libraries
    from ldm_core.cli.ends import say
    from ldm_core.cli.streams import print_line
    from ldm_core.media.json_text import json_text
    from ldm_core.plugins.registry import installed
    from ldm_pipelines.page.folders import Folders
    from ldm_pipelines.page.serving import Address, served
    from ldm_pipelines.page.workplace import Workplace

    prepare_libraries()
    check_folder(out)
    folders = Folders.of(folder or [], models or [], out, allow_hub)
    login = None if password_file is None else read_login(password_file)
    if not _is_loopback(host):
        say(
            f"warning: the page is to be reached at {host} from other machines, and what is sent "
            "to it can be read on the way"
            + ("" if login else "; whoever reaches it can use it: --password-file names who may")
        )
    address = Address(host, port, tuple(name or ()), login)
    with served(Workplace(folders, installed()), address) as page:
        told = {
            "url": page.url,
            "folders": [str(path) for path in folders.read],
            "models": [str(path) for path in folders.models],
            "out": str(folders.out),
        }
        print_line(json_text(told) if json else f"the page is at {page.url}")
        page.wait()


def read_login(file: Path) -> tuple[str, str]:
    """Name and password in a file.

    Raises:
        LdmError: it cannot be read, or holds none.
    """
    try:
        line = file.read_text(encoding="utf-8")[:1000].partition("\n")[0].strip()
    except (OSError, ValueError) as error:
        raise LdmError(f"the file '{file}' with the password cannot be read: {error}.") from None
    name, colon, password = line.partition(":")
    if not (name and colon and password):
        raise LdmError(f"the first line of '{file}' should be NAME:PASSWORD.")
    return name, password


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
