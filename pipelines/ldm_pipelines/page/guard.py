"""What stands before the page's own server: whose requests it hears, and which.

A page on loopback is reached by every other page that the browser shows: by its address, and under
a name of theirs that they have lead to it (DNS rebinding). So a request is heard where it names
this server as its host, and comes from a page of this server. Of what Gradio serves only that is
reached which the page needs; the rest, such as its proxy and its fetching of addresses, is not.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READS = (
    "/assets/", "/static/", "/svelte/", "/gradio_api/queue/data", "/gradio_api/heartbeat/",
    "/gradio_api/upload_progress", "/gradio_api/app_id", "/gradio_api/startup-events",
)  # fmt: skip
"""What may be read, by the beginnings of paths."""
PAGES = ("/", "/config", "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/robots.txt")
FILES = "/gradio_api/file="
ACTS = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")
"""What may be asked to be done, in JSON."""
UPLOAD = "/gradio_api/upload"
LARGEST = 2**20
"""Bytes of a request in JSON."""
LARGEST_UPLOAD = 64 * 2**20
DEEPEST = 50
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
"""What a page of this server may load: of this server alone, so that it asks nobody else."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Refused(Exception):
    """A request that is not heard."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Guard:
    """Hears requests to an application that are its own pages'.

    Args:
        app: what answers the others.
        hosts: names by which the server may be asked, each also with the port behind it.
        files: the folder with what was uploaded and is shown; no other file is named in a request.
        login: name and password, where one is needed.
    """

    app: App
    hosts: frozenset[str]
    files: Path
    login: tuple[str, str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page needs no web sockets

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [h for h in message.get("headers", []) if not h[0].startswith(b"access-co")]
                message = {**message, "headers": [*kept, *HEADERS]}
            await send(message)

        try:
            self._check(scope)
            heard = await self._body(scope, receive)
        except Refused as refused:
            await _answer(sending, refused, ask=refused.status == 401)
            return
        await self.app(scope, heard, sending)

    def _check(self, scope: Scope) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if host.lower() not in self.hosts:
            raise Refused(403, "this server has another name")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "the request comes from another page")
        method, path = scope["method"], scope["path"]
        read = method in ("GET", "HEAD")
        site = headers.get(b"sec-fetch-site", "same-origin")
        walks = headers.get(b"sec-fetch-mode") == "navigate" and read and path == "/"
        if site not in ("same-origin", "none") and not walks:
            raise Refused(403, "the request comes from another page")
        if self.login is not None and not _knows(headers.get(b"authorization", ""), self.login):
            raise Refused(401, "name and password are needed")
        reads = path in PAGES or path.startswith(READS) or path.startswith(FILES)
        if not (reads if read else method == "POST" and (path in ACTS or path == UPLOAD)):
            raise Refused(404, "there is nothing here")
        if path.startswith(FILES):
            self._check_file(unquote(path.removeprefix(FILES)))

    def _check_file(self, name: Any) -> None:
        """See that a file is one that was uploaded or is shown."""
        try:
            full = Path(os.path.realpath(str(name)))
        except (OSError, ValueError):
            raise Refused(403, "no such file is shown here") from None
        if not (os.path.isabs(str(name)) and full.is_relative_to(self.files)):
            raise Refused(403, "no such file is shown here")

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """What reads a request's body, once it is seen that it is not too large, and names no file
        but those that are shown."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        if scope["path"] == UPLOAD:
            return _bounded(scope, receive)
        data, more = b"", True
        while more:
            message = await receive()
            data, more = data + message.get("body", b""), message.get("more_body", False)
            if len(data) > LARGEST or message["type"] == "http.disconnect":
                raise Refused(413, "the request is too large")
        if data:
            try:
                self._check_files(json.loads(data), DEEPEST)
            except (ValueError, RecursionError):
                raise Refused(400, "the request is not JSON that can be read") from None

        async def again() -> MutableMapping[str, Any]:
            nonlocal data
            if data is None:
                return await receive()
            body, data = data, None  # type: ignore[assignment]
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    def _check_files(self, value: Any, deep: int) -> None:
        """See that no value is a file, as Gradio writes one, that is not shown: it would be copied
        to where it is, or fetched from the address that it has."""
        if deep == 0:
            raise ValueError
        if isinstance(value, dict):
            if isinstance(value.get("path"), str) and value["path"]:
                self._check_file(value["path"])
            for entry in value.values():
                self._check_files(entry, deep - 1)
        elif isinstance(value, list):
            for entry in value:
                self._check_files(entry, deep - 1)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """What reads the body of an upload, so far as it is not too large."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > LARGEST_UPLOAD:
        raise Refused(413, "the file is too large")
    count = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        return message if count <= LARGEST_UPLOAD else {"type": "http.disconnect"}

    return bounded


def _knows(authorization: str, login: tuple[str, str]) -> bool:
    scheme, _, words = authorization.partition(" ")
    try:
        given = base64.b64decode(words.strip(), validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, ":".join(login).encode())


async def _answer(send: Send, refused: Refused, ask: bool) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if ask:
        headers.append((b"www-authenticate", b'Basic realm="ldm", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": refused.reason.encode()})


def host_names(host: str, port: int, names: tuple[str, ...] = ()) -> frozenset[str]:
    """The names by which a server on a host may be asked.

    Args:
        names: further ones, of a server that is not on loopback.
    """
    several = {*LOOPBACK, *names, *([] if host in ("0.0.0.0", "::") else [host])}  # noqa: S104
    several = {f"[{n}]" if n.count(":") > 1 and not n.startswith("[") else n for n in several}
    return frozenset(
        {f"{n.lower()}:{port}" for n in several}
        | ({n.lower() for n in several} if port == 80 else set())
    )
