"""The page's server: Gradio's application behind the guard. It calls nobody."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ldm_core.errors import LdmError, MachineError
from ldm_pipelines.page.guard import LARGEST_UPLOAD, Guard, host_names
from ldm_pipelines.page.workplace import Workplace

FONTS = ("system-ui", "sans-serif")
PAUSE = 0.05
ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
}


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        names: further names by which it may be asked.
        login: name and password, where one is needed.
    """

    host: str
    port: int
    names: tuple[str, ...] = ()
    login: tuple[str, str] | None = None


@contextmanager
def served(place: Workplace, address: Address) -> Iterator[Served]:
    """The page, served in a thread beside within the block: the main one hears of signals.

    Raises:
        LdmError: there is no such host.
        MachineError: the port is taken, or the host is none of this machine.
    """
    import uvicorn

    files = Path(os.path.realpath(tempfile.mkdtemp(prefix="ldm-page-")))
    try:
        os.environ |= {**ENVIRONMENT, "GRADIO_TEMP_DIR": str(files)}
        with _bound(address) as listening:
            port = listening.getsockname()[1]
            names = host_names(address.host, port, address.names)
            app = application(place, Guarding(names, files, address.login))
            config = uvicorn.Config(
                app, log_level="critical", access_log=False, ws="none", server_header=False,
                timeout_graceful_shutdown=2,
            )  # fmt: skip
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listening],), name="ldm-page")
            thread.start()
            try:
                while thread.is_alive() and not server.started:
                    thread.join(PAUSE)
                yield Served(_url(address.host, port), thread)
            finally:
                server.should_exit = True
                thread.join()
    finally:
        shutil.rmtree(files, ignore_errors=True)


@dataclass(frozen=True)
class Served:
    """A page that is served."""

    url: str
    thread: threading.Thread

    def wait(self) -> None:
        """Wait until it ends."""
        while self.thread.is_alive():
            self.thread.join(1.0)


@dataclass(frozen=True)
class Guarding:
    """What the guard knows, see `Guard`."""

    hosts: frozenset[str]
    files: Path
    login: tuple[str, str] | None = None


def application(place: Workplace, guarding: Guarding) -> Guard:
    """The page's application; ``GRADIO_TEMP_DIR`` has to be the guard's folder before Gradio is
    imported."""
    import gradio as gr
    from fastapi import FastAPI

    from ldm_pipelines.page.layout import CSS, Page

    page = Page(place)
    page.blocks.queue(api_open=False, max_size=32)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=LARGEST_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        allowed_paths=[str(place.folders.out)],
        theme=gr.themes.Default(font=[*FONTS], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
    )
    page.blocks.has_launched = True  # else Gradio does not look where files lie that it is given
    return Guard(app, guarding.hosts, guarding.files, guarding.login)


def _bound(address: Address) -> socket.socket:
    try:
        kind, *_, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
    except socket.gaierror as error:
        raise LdmError(f"'{address.host}' is no host: {error.strerror}.") from None
    except OSError as error:
        raise MachineError(
            f"the page cannot be at {address.host}:{address.port}: {error.strerror}. "
            "Give another --port; 0 takes one that is free."
        ) from None
    return listening


def _url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
