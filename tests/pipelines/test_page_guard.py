"""What stands before the page's server hears its own pages alone, and lets nothing else through."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ldm_core.errors import LdmError
from ldm_pipelines.page.command import read_login
from ldm_pipelines.page.guard import LARGEST, LARGEST_UPLOAD, Guard, host_names

HOST = "127.0.0.1:7860"
JOIN = "/gradio_api/queue/join"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Says what it hears."""
    body, more = b"", scope["method"] == "POST"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message.get("more_body", False)
    headers = [(b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "a.png").write_bytes(b"")
    (tmp_path / "shown" / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_bytes(b"")
    return tmp_path / "shown"


def ask(
    files: Path,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    method: str = "",
    login: tuple[str, str] | None = None,
    pieces: int = 1,
) -> tuple[int | None, dict[bytes, bytes], bytes]:
    """A request through the guard: status (None where it is cut off), headers, body."""
    guard = Guard(app, host_names("127.0.0.1", 7860), files, login)
    sent: list[Any] = []
    size = -(-len(body or b"") // pieces) or 1
    parts = [(body or b"")[i : i + size] for i in range(0, len(body or b""), size)] or [b""]

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": HOST, **(headers or {})}
    scope = {
        "type": "http",
        "method": method or ("GET" if body is None else "POST"),
        "path": path,
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
    }
    asyncio.run(guard(scope, receive, send))
    if not sent:
        return None, {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


OWN = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize("path", ["/", "/config", "/assets/x.js", "/gradio_api/queue/data"])
def test_the_page_itself_is_served_and_loads_from_here_alone(path: str, files: Path) -> None:
    status, headers, _ = ask(files, path)
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "http" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'none'" in policy
    assert b"access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example:7860"},
        {"host": "127.0.0.1:80"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": f"http://{HOST}.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_other_pages_are_not_heard(headers: dict[str, str], files: Path) -> None:
    for path, body in (("/config", None), (JOIN, b"{}"), ("/gradio_api/upload", b"x")):
        assert ask(files, path, {**OWN, **headers}, body)[0] == 403


def test_a_link_from_another_page_leads_here(files: Path) -> None:
    walk = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert ask(files, "/", walk)[0] == 200
    assert ask(files, "/config", walk)[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=https://example.com"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/custom_component/1/client/x/y"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/call/predict"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/login"),
        ("DELETE", "/"),
        ("PUT", JOIN),
    ],
)
def test_nothing_of_gradio_is_reached_that_the_page_does_not_need(
    method: str, path: str, files: Path
) -> None:
    assert ask(files, path, OWN, b"{}" if method != "GET" else None, method)[0] == 404


BAD = (
    "/etc/passwd", "{shown}/../secret", "{shown}/out/secret", "{shown}/%2e%2e/secret",
    "http://127.0.0.1:1/", "https://example.com/a.png", "a.png", "../secret", "", "\0",
    "{shown}2/a.png", "file:///etc/passwd", "//etc/passwd",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD, ids=repr)
def test_no_file_is_named_but_what_is_shown(name: str, files: Path) -> None:
    name = name.format(shown=files)
    assert ask(files, f"/gradio_api/file={name}")[0] == 403
    if name and "%" not in name:  # which is a name like others where it is no address
        for data in ([{"path": name}], [[{"x": {"path": name, "meta": {}}}]]):
            assert ask(files, JOIN, OWN, json.dumps({"data": data}).encode())[0] == 403


def test_what_is_shown_may_be_named(files: Path) -> None:
    assert ask(files, f"/gradio_api/file={files}/a.png")[0] == 200
    body = json.dumps({"data": [{"path": f"{files}/a.png"}, "/etc/passwd"]}).encode()
    status, _, heard = ask(files, JOIN, OWN, body, pieces=3)
    assert (status, heard) == (200, body)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (LARGEST + 1), 413),
        (b"[" * 100_000, 400),
        (b"[" * 60 + b"]" * 60, 400),
        (b"{", 400),
        (b"\xff", 400),
    ],
    ids=["large", "deep", "nested", "cut", "bytes"],
)
def test_a_request_that_cannot_be_read_is_refused(body: bytes, status: int, files: Path) -> None:
    assert ask(files, JOIN, OWN, body, pieces=7)[0] == status


def test_uploads_are_bounded_by_what_is_said_and_by_what_comes(files: Path) -> None:
    upload, size = "/gradio_api/upload", {"content-length": str(LARGEST_UPLOAD + 1)}
    assert ask(files, upload, {**OWN, **size}, b"x")[0] == 413
    assert ask(files, upload, {**OWN, "content-length": "-1"}, b"x")[0] == 413
    assert ask(files, upload, OWN, b"x" * 100, pieces=4)[2] == b"x" * 100
    assert ask(files, upload, OWN, bytes(LARGEST_UPLOAD + 1), pieces=2)[0] is None


def test_a_login_is_needed_for_everything(files: Path, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("me:pass:word\nrest\n")
    login = read_login(tmp_path / "p")
    assert login == ("me", "pass:word")

    def status(words: str, path: str = "/") -> int | None:
        given = base64.b64encode(words.encode()).decode()
        return ask(files, path, {"authorization": f"Basic {given}"}, login=login)[0]

    assert [status(words) for words in ("me:pass:word", "me:wrong", "you:pass:word", "")] == [
        200, 401, 401, 401,
    ]  # fmt: skip
    for path in ("/", "/assets/x.js", f"/gradio_api/file={files}/a.png"):
        assert ask(files, path, login=login)[0] == 401
    assert ask(files, "/", {"authorization": "Basic \xe4"}, login=login)[0] == 401
    for text in ("", "name only", ":word", "me:"):
        (tmp_path / "p").write_text(text)
        with pytest.raises(LdmError, match="NAME:PASSWORD"):
            read_login(tmp_path / "p")


@pytest.mark.parametrize(
    ("host", "names", "good", "bad"),
    [
        ("0.0.0.0", ("box.lan",), ["box.lan:7860", "localhost:7860"], ["0.0.0.0:7860"]),
        ("192.168.0.2", (), ["192.168.0.2:7860", "127.0.0.1:7860"], ["192.168.0.3:7860"]),
        ("::1", (), ["[::1]:7860"], ["::1:7860", "[::1]"]),
    ],
)
def test_hosts_are_those_that_were_named(
    host: str, names: tuple[str, ...], good: list[str], bad: list[str]
) -> None:
    hosts = host_names(host, 7860, names)
    assert {*good} <= hosts
    assert not {*bad} & hosts
