"""The page in a real browser: from prompt to picture, and what a hostile hand could try."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

import media_toys
import their_package
from ldm_core.media.png import read_png
from sites import site_in
from tiny.controlnet import write_controlnet

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ldm-core[ui]'")
api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCRIPT = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
SAID = "document.querySelector('#said textarea').value"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the page reads, with what it must not read beside it."""
    room = tmp_path_factory.mktemp("page")
    (room / "in").mkdir()
    media_toys.write_model(room / "models" / "moving", "Moving")
    Image.new("RGB", (16, 16), "red").save(room / "in" / "photo.png")
    Image.new("RGB", (16, 16), "blue").save(room / "secret.png")
    return room


@pytest.fixture(scope="module")
def url(room: Path, folder: Path) -> Iterator[str]:
    """Of the page, in an environment where a third party's package is installed."""
    from ldm_pipelines.page.folders import Folders
    from ldm_pipelines.page.serving import Address, served
    from ldm_pipelines.page.workplace import Workplace

    before, module = dict(os.environ), Path(their_package.__file__).read_text()
    folders = Folders.of([room / "in"], [folder, room / "models"], room / "out")
    with site_in(room / "site") as site:
        modules, entry_points = {"ldm_theirs.py": module}, {"theirs": "ldm_theirs"}
        site.has("ldm-theirs", "1", modules, entry_points)
        workplace = Workplace(folders, media_toys.registry())
        with served(workplace, Address("127.0.0.1", 0)) as page:
            yield page.url
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Hand:
    """A person at a page."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(90_000)
        self.asked: set[str] = set()
        self.page.on("request", lambda r: self.asked.add(r.url.split("/")[2]))
        self.page.on("pageerror", lambda e: pytest.fail(f"the page fails: {e}"))
        self.page.goto(url)
        self.page.wait_for_selector("#make")

    def fill(self, at: str, text: str) -> None:
        self.page.fill(f"#{at} textarea, #{at} input", text)

    def text(self, at: str) -> str:
        return str(self.page.input_value(f"#{at} textarea, #{at} input"))

    def choose(self, at: str, name: str) -> None:
        self.page.click(f"#{at} input")
        self.page.get_by_role("option", name=name, exact=True).click()

    def click(self, at: str, until: str) -> str:
        """Click, and wait until what is said has some words."""
        self.page.click(f"#{at}")
        return self.said(until)

    def said(self, until: str) -> str:
        self.page.wait_for_function(f"{SAID}.includes({json.dumps(until)})")
        return self.text("said")

    def copied(self, words: str, until: str) -> str:
        self.page.click(f"text={words}")
        has = f"document.querySelector('#copied textarea').value.includes({json.dumps(until)})"
        self.page.wait_for_function(has)
        return self.text("copied")

    @property
    def hacked(self) -> Any:
        return self.page.evaluate("window.hacked")


@pytest.fixture
def hand(browser: Any, url: str) -> Iterator[Hand]:
    hand = Hand(browser, url)
    yield hand
    assert hand.hacked is None
    assert hand.asked == {url.split("/")[2]}, "the page asks this server and nobody else"
    hand.page.close()


def test_from_prompt_to_picture(hand: Hand, room: Path) -> None:
    """What the browser shows is the file itself, with its manifest."""
    for name, text in (("field-input-prompt", f"a red star {SCRIPT}"), ("seed", "7")):
        hand.fill(name, text)
    hand.fill("steps", "2")
    said = hand.click("make", ".png")
    path = Path(next(line for line in said.splitlines() if line.endswith(".png")))
    assert path.parent == room / "out"
    manifest = read_png(path)[1]
    assert (manifest["seed"], manifest["num_inference_steps"]) == (7, 2)
    assert manifest["inputs"]["prompt"] == f"a red star {SCRIPT}"
    shown = hand.page.wait_for_selector("#gallery img")
    hand.page.wait_for_function("document.querySelector('#gallery img').naturalWidth > 0")
    got = hand.page.request.get(shown.get_attribute("src"))
    assert got.body() == path.read_bytes()
    hand.click("make", "-2.png")  # the same again is written over nothing
    assert len({*room.glob("out/*seed7*.png")}) == 2


def test_stop_ends_a_run_and_the_next_one_is_made(hand: Hand, room: Path) -> None:
    hand.fill("field-input-prompt", "a blue star")
    hand.fill("steps", "900")
    hand.click("make", "step ")
    hand.page.wait_for_selector("#preview img")
    assert "nothing was saved" in hand.click("stop", "stopped at step")
    hand.fill("steps", "1")
    hand.click("make", ".png")
    assert len([*room.glob("out/a-blue-star*.png")]) == 1


@pytest.mark.slow
def test_a_page_that_is_closed_frees_the_machine(browser: Any, url: str, hand: Hand) -> None:
    other = Hand(browser, url)
    other.fill("field-input-prompt", "a star")
    other.fill("steps", "900")
    other.click("make", "step ")
    other.page.close()
    hand.fill("field-input-prompt", "a star")
    hand.fill("steps", "1")
    hand.click("make", ".png")


def test_a_third_partys_plugin_shows_up_with_its_options(hand: Hand, room: Path) -> None:
    hand.fill("field-input-prompt", "a green star")
    hand.choose("hook-scheduler", "theirs")
    at = "field-scheduler-ldm-theirs-theirs-share"
    hand.page.wait_for_selector(f"#{at}")
    assert hand.text("field-input-prompt") == "a green star"
    help = hand.page.inner_text(f"#{at}")
    assert "how much of it" in help
    assert "from 0, up to 1" in help
    hand.fill(at, "2")
    assert "'share' should be float" in hand.click("make", "error")
    hand.fill(at, "0.5")
    hand.fill("steps", "2")
    command = hand.copied("As a command", "theirs")
    assert "--scheduler=theirs --set scheduler.share=0.5" in command
    hand.click("make", ".png")
    [path] = room.glob("out/a-green-star*.png")
    scheduler = read_png(path)[1]["recipe"]["scheduler"]
    assert scheduler == {"name": "ldm-theirs:theirs", "share": 0.5, "loud": False}


@pytest.mark.slow
def test_an_option_of_every_type_is_filled_in(hand: Hand, room: Path) -> None:
    hand.fill("field-input-prompt", "a violet star")
    hand.choose("hook-scheduler", "every")
    at = "field-scheduler-ldm-theirs-every"
    hand.page.wait_for_selector(f"#{at}-several")
    hand.page.check(f"#{at}-flag input")
    hand.choose(f"{at}-way", "down")
    texts = {"share": "0.25", "words": "so & so", "file": "photo.png", "several": "[3, 4]",
             "maybe": "1.5", "count": "10", "steps": "1"}  # fmt: skip
    for name, text in texts.items():
        hand.fill(name if name == "steps" else f"{at}-{name}", text)
    assert "'count' should be int" in hand.click("make", "error")
    hand.fill(f"{at}-count", "9")
    hand.click("make", ".png")
    [path] = room.glob("out/a-violet-star*.png")
    chosen = read_png(path)[1]["recipe"]["scheduler"]
    inner = chosen.pop("inner")
    assert chosen == {
        "name": "ldm-theirs:every", "flag": True, "count": 9, "share": 0.25, "way": "down",
        "words": "so & so", "file": str(room / "in" / "photo.png"), "several": [3, 4],
        "maybe": 1.5,
    }  # fmt: skip
    assert inner["name"] == "ldm-core:euler"


def test_a_flood_of_requests_leaves_it_answering(url: str, hand: Hand, room: Path) -> None:
    """A thousand at fifty a time, of which most ask for something to be done."""

    def ask(number: int) -> int:
        body = json.dumps({"data": [], "fn_index": number % 7, "session_hash": f"s{number}"})
        send = Request(f"{url}gradio_api/queue/join", body.encode(), method="POST")
        send.add_header("content-type", "application/json")
        try:
            with urlopen(send if number % 10 else f"{url}config", timeout=60) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    with ThreadPoolExecutor(50) as pool:
        codes = {*pool.map(ask, range(1000))}
    assert 200 in codes
    assert codes <= {200, 422, 500, 503}
    hand.fill("field-input-prompt", "a star after the flood")
    hand.fill("steps", "1")
    hand.click("make", "a-star-after-the-flood")


def test_a_comparison_shows_its_cells(hand: Hand, room: Path) -> None:
    hand.fill("field-input-prompt", "a gold star")
    hand.fill("seed", "3")
    hand.page.click("#compare-section button >> nth=0")
    for number, name, values in ((1, "scheduler", "euler, theirs"), (2, "steps", "1,2,99999999")):
        hand.page.fill(f"#over-name-{number} input", name)
        hand.page.press(f"#over-name-{number} input", "Enter")
        hand.fill(f"over-values-{number}", values)
    said = hand.click("compare", "evaluations")
    assert "scheduler=theirs, steps=2:" in said
    assert said.count("evaluations") == 4
    assert said.count("refused") == 2
    [out] = room.glob("out/comparison-*")
    assert len([*out.glob("0*.png")]) == 4
    assert (out / "sheet.png").exists()
    hand.page.wait_for_function("document.querySelectorAll('#gallery img').length >= 5")
    hand.fill("over-values-1", "euler, /etc/passwd")
    assert "no scheduler named" in hand.click("compare", "error")
    hand.fill("over-values-1", "euler")
    hand.fill("over-values-2", "1,300,301,302")
    hand.click("compare", "picture 1 of")
    before = hand.page.eval_on_selector_all("#gallery img", "all => all.length")
    assert "what was made is kept" in hand.click("stop", "stopped")
    more = f"document.querySelectorAll('#gallery img').length > {before}"
    hand.page.wait_for_function(more)


def test_a_picture_that_is_dropped_gives_its_recipe(
    hand: Hand, ldm: Any, folder: Path, room: Path
) -> None:
    run = ("generate", "a white star", "--model", folder, "--steps", 3, "--seed", 11)
    assert ldm(*run, "--scheduler", "ddim", "--set", "scheduler.eta=0.5", "--out", room)[0] == 0
    [picture] = room.glob("a-white-star*.png")
    drop = "#drop input[type=file]"
    hand.page.set_input_files(drop, picture)
    hand.said("its recipe is in the form")
    hand.page.wait_for_selector("#field-scheduler-ldm-core-ddim-eta")
    names = ("field-input-prompt", "seed", "steps", "field-scheduler-ldm-core-ddim-eta")
    assert [hand.text(name) for name in names] == ["a white star", "11", "3", "0.5"]
    hand.click("make", ".png")
    [again] = room.glob("out/a-white-star*.png")
    (image, manifest), (then, before) = read_png(again), read_png(picture)
    assert image.tobytes() == then.tobytes()
    assert manifest["recipe"] == before["recipe"]
    hand.page.set_input_files(drop, room / "in" / "photo.png")
    assert hand.said("no manifest").startswith("error: photo.png")


def test_files_are_uploaded_or_named_and_none_is_read_outside(hand: Hand, room: Path) -> None:
    hand.fill("field-input-prompt", "a black star")
    for name in ("text", "image"):  # without a pause
        hand.choose("hook-conditioning", name)
    hand.page.keyboard.press("Escape")
    hand.page.wait_for_selector("#field-input-image")
    hand.fill("steps", "2")
    for name in ("../secret.png", str(room / "secret.png"), "/etc/passwd"):
        hand.fill("field-input-image", name)
        assert "in the folders of this page" in hand.click("make", name)
    assert not [*room.glob("out/a-black-star*")]
    hand.fill("field-input-image", "photo.png")
    hand.click("make", ".png")
    uploaded(hand, "image", room / "secret.png")
    hand.fill("seed", "5")
    hand.click("make", "seed5.png")
    [path] = room.glob("out/a-black-star-seed5.png")
    assert Path(read_png(path)[1]["inputs"]["image"]).parent == room / "out" / "given"


def uploaded(hand: Hand, name: str, file: Path) -> None:
    """Press the button below a field, and choose a file."""
    with hand.page.expect_file_chooser() as chosen:
        hand.page.click(f"#upload-{name}")
    chosen.value.set_files(file)
    value = f"document.querySelector('#field-input-{name} textarea, #field-input-{name} input')"
    hand.page.wait_for_function(f"{value}.value.includes('/given/')")


@pytest.mark.slow
def test_a_control_network_and_a_mask_are_given_pictures(
    hand: Hand, folder: Path, room: Path
) -> None:
    """Of a mask that is white at the left half, what is black stays as the picture has it."""
    write_controlnet(room / "in" / "edges", folder)
    photo = Image.effect_noise((16, 16), 60).convert("RGB")
    photo.save(room / "photo.png")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    mask.save(room / "mask.png")
    hand.choose("model", str(folder))
    for name in ("text", "mask", "control"):
        hand.choose("hook-conditioning", name)
    hand.page.keyboard.press("Escape")
    models = "field-conditioning-ldm-core-control-models"
    hand.page.wait_for_selector(f"#{models}")
    hand.fill(models, '[{ path = "edges", weight = 0.5 }]')
    hand.page.keyboard.press("Tab")
    hand.page.wait_for_selector("#field-input-control_image")
    for name, file in (("image", "photo"), ("mask", "mask"), ("control_image", "photo")):
        uploaded(hand, name, room / f"{file}.png")
    hand.fill("field-input-prompt", "a brown star")
    hand.fill("steps", "2")
    hand.click("make", "a-brown-star")
    [path] = room.glob("out/a-brown-star*.png")
    manifest = read_png(path)[1]
    control = next(c for c in manifest["recipe"]["conditioning"] if "models" in c)
    assert [Path(m["path"]).name for m in control["models"]] == ["edges"]
    assert control["models"][0]["weight"] == 0.5
    given = {Path(manifest["inputs"][name]).parent for name in ("image", "mask", "control_image")}
    assert given == {room / "out" / "given"}


@pytest.mark.slow
def test_a_video_that_is_dropped_gives_its_recipe(hand: Hand, room: Path) -> None:
    hand.choose("model", str(room / "models" / "moving"))
    hand.page.wait_for_selector("#axis-frames")
    for name, text in (("field-input-prompt", "clouds"), ("seed", "5"), ("axis-frames", "5")):
        hand.fill(name, text)
    hand.click("make", "clouds-seed5.mp4")
    video = room / "out" / "clouds-seed5.mp4"
    hand.page.reload()
    hand.page.wait_for_selector("#make")
    hand.page.set_input_files("#drop input[type=file]", video)
    hand.said("its recipe is in the form")
    hand.page.wait_for_selector("#axis-frames")
    names = ("field-input-prompt", "seed", "axis-frames", "model")
    of_then = ["clouds", "5", "5", str(room / "models" / "moving")]
    assert [hand.text(name) for name in names] == of_then
    hand.click("make", "clouds-seed5-2.mp4")
    assert (room / "out" / "clouds-seed5-2.mp4").read_bytes() == video.read_bytes()


@pytest.mark.parametrize(
    ("at", "text", "words"),
    [
        ("axis-width", "999999999999", "width"),
        ("axis-width", "1e3", "should be int"),
        ("steps", "99999999999999", "steps"),
        ("images", "100000", "pictures at once"),
        ("seed", "-1", "seed"),
        ("field-input-prompt", "", "is needed"),
    ],
)
def test_what_cannot_be_is_said_in_text(at: str, text: str, words: str, hand: Hand) -> None:
    hand.fill("field-input-prompt", SCRIPT)
    hand.fill(at, text)
    said = hand.click("make", "error")
    assert words in said
    assert "Traceback" not in said


def test_no_request_names_a_file_or_an_address(hand: Hand, url: str) -> None:
    """Sent by the page itself, as a script in it would."""
    send = """async ([path, body]) => (await fetch(path, body === null ? {} : {
        method: 'POST', body, headers: {'content-type': 'application/json'}})).status"""
    for name in ("/etc/passwd", "http://127.0.0.1:1/x.png"):
        body = {"data": [{"path": name, "meta": {"_type": "gradio.FileData"}}], "fn_index": 0,
                "session_hash": "x"}  # fmt: skip
        sent = [f"{url}gradio_api/queue/join", json.dumps(body)]
        assert hand.page.evaluate(send, sent) == 403
        assert hand.page.evaluate(send, [f"{url}gradio_api/file={name}", None]) == 403


def test_a_plugin_inside_another_opens_its_fields(hand: Hand, room: Path) -> None:
    """Once for each choice, which leaves what else was filled in and where a person is."""
    hand.choose("hook-scheduler", "churn")
    at = "field-scheduler-ldm-core-churn-inner"
    hand.page.wait_for_selector(f"#{at}")
    hand.choose(at, "unipc")
    hand.page.focus("#field-input-prompt textarea")
    hand.page.keyboard.type("a pink star", delay=100)  # while the form is made anew
    inner = "field-scheduler-ldm-core-churn-inner-order"
    hand.page.wait_for_selector(f"#{inner}")
    assert hand.text("field-input-prompt") == "a pink star"
    hand.fill(inner, "1")
    hand.page.focus(f"#{at} input")
    hand.page.keyboard.press("Tab")  # past the list, in which nothing is chosen
    hand.fill("steps", "2")
    hand.click("make", ".png")
    assert hand.text(inner) == "1"
    [path] = room.glob("out/a-pink-star*.png")
    chosen = read_png(path)[1]["recipe"]["scheduler"]["inner"]
    assert (chosen["name"], chosen["order"]) == ("ldm-core:unipc", 1)


@pytest.mark.slow
def test_what_was_made_is_told_and_laid_side_by_side(hand: Hand, room: Path) -> None:
    """Of two pictures, one over the other, each is the file itself."""
    hand.fill("field-input-prompt", f"a grey star {SCRIPT}")
    hand.fill("steps", "1")
    hand.fill("seed", "21")
    hand.fill("images", "2")
    hand.click("make", "seed22.png")
    hand.page.wait_for_selector("#how textarea")
    assert "# seed: 21" in hand.text("how")
    hand.page.click("#gallery button[aria-label^=Thumbnail] >> nth=1")
    hand.page.wait_for_function("document.querySelector('#how textarea').value.includes('22')")
    assert SCRIPT in hand.text("how")
    hand.page.click("#beside button >> nth=0")
    hand.page.wait_for_selector("#slider img >> nth=1")
    shown = hand.page.eval_on_selector_all("#slider img", "all => all.map(one => one.src)")
    files = {path.read_bytes() for path in room.glob("out/a-grey-star*.png")}
    assert {hand.page.request.get(one).body() for one in shown} == files


@pytest.mark.slow
def test_two_people_and_two_pages_of_one_do_not_see_each_other(
    browser: Any, url: str, hand: Hand, room: Path
) -> None:
    """Each waits for the other's run; a page that is loaded anew is empty and works."""
    other = Hand(browser, url)
    for person, words in ((hand, "a first star"), (other, "a second star")):
        person.fill("field-input-prompt", words)
        person.fill("steps", "900")
        person.page.click("#make")
    for person in (hand, other):
        person.said("step ")
        assert "stopped at" in person.click("stop", "stopped")
    other.fill("steps", "1")
    other.click("make", "a-second-star")
    assert hand.page.query_selector("#gallery img") is None
    other.page.reload()
    other.page.wait_for_selector("#make")
    assert other.text("said") == ""
    other.fill("field-input-prompt", "a third star")
    other.fill("steps", "1")
    other.click("make", "a-third-star")
    other.page.close()


@pytest.mark.parametrize("width", [pytest.param(390, marks=pytest.mark.slow), 1400])
def test_all_that_is_on_the_page_has_a_name_and_is_reached_by_keys(
    width: int, hand: Hand, room: Path
) -> None:
    hand.page.set_viewport_size({"width": width, "height": 844})
    hand.page.wait_for_timeout(300)
    sides = hand.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sides[0] <= sides[1]
    unnamed = hand.page.evaluate(
        """() => [...document.querySelectorAll('input, textarea, button, select')].filter(
            e => e.offsetParent && !(e.getAttribute('aria-label') || e.title
                || e.innerText.trim() || [...(e.labels || [])].some(l => l.innerText.trim()))
        ).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unnamed == []
    hand.page.focus("#field-input-prompt textarea")
    hand.page.keyboard.type(f"a star of {width}")
    for _ in range(10):
        hand.page.keyboard.press("Tab")
        at = hand.page.evaluate("document.activeElement.closest('[id]').id")
        if at == "steps":
            hand.page.keyboard.type("1")
        if at == "make":
            hand.page.keyboard.press("Enter")
            break
    hand.said(f"a-star-of-{width}")


def test_what_is_dropped_and_no_picture_is_refused_in_words(hand: Hand, room: Path) -> None:
    """A picture that unpacks to a gigapixel, one that is a script, one that is cut off."""
    drop = "#drop input[type=file]"
    bomb = room / "bomb.png"
    size = struct.pack(">II", 60_000, 60_000) + b"\x08\x02\0\0\0"
    pixels = zlib.compress(bytes(10_000_000), 9)
    chunks = ((b"IHDR", size), (b"IDAT", pixels), (b"IEND", b""))
    bomb.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )
    (room / "script.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>")
    (room / "cut.png").write_bytes((room / "secret.png").read_bytes()[:60])
    (room / "<img src=x onerror=window.hacked=1>.png").write_bytes(b"\0" * 100)
    for name in ("bomb.png", "script.svg", "cut.png", "<img src=x onerror=window.hacked=1>.png"):
        hand.page.set_input_files(drop, room / name)
        hand.said("error")
        hand.fill("field-input-prompt", "a star")
        assert "Traceback" not in hand.text("said")
        hand.page.reload()
        hand.page.wait_for_selector("#make")
    hand.fill("field-input-prompt", "a last star")
    hand.fill("steps", "1")
    hand.click("make", "a-last-star")


def test_the_slider_of_a_comparisons_page_lies_between_two_pictures(
    browser: Any, pipe: Any, tmp_path: Path
) -> None:
    """The page of `ldm compare`, of which the left picture is seen as far as the edge."""
    from ldm_pipelines.comparing import compare

    path = tmp_path / "compared.html"
    over = {"seed": [1, 2], "scheduler": ["euler", "ddim", "none such"]}
    path.write_text(compare(pipe, f"a star {SCRIPT}", over=over).page())
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("pageerror", lambda error: pytest.fail(f"the page fails: {error}"))
    page.goto(path.as_uri())
    view, slider = page.locator("#view"), page.locator("#at")

    def seen(at: int) -> Any:
        """The pixels of the view, the edge so many hundredths from its left."""
        box = slider.bounding_box()
        page.mouse.click(
            box["x"] + 8 + (box["width"] - 16) * at / 100, box["y"] + box["height"] / 2
        )
        value = float(slider.input_value())
        assert abs(value - at) < 2
        clip = page.evaluate("getComputedStyle(document.querySelector('#over')).clipPath")
        assert abs(float(re.findall(r"[\d.]+%", clip)[0][:-1]) - (100 - value)) < 0.1
        return np.asarray(Image.open(io.BytesIO(view.screenshot())).convert("RGB"), dtype=int)

    def check() -> None:
        """What is left of the edge is the one picture, and what is right of it the other."""
        left, right, both = seen(100), seen(0), seen(30)
        edge = round(both.shape[1] * float(slider.input_value()) / 100)
        inner = slice(8, both.shape[1] - 8)
        assert np.abs(left[:, inner] - right[:, inner]).max() > 8
        assert np.array_equal(both[:, 8 : edge - 8], left[:, 8 : edge - 8])
        assert np.array_equal(both[:, edge + 8 : -8], right[:, edge + 8 : -8])

    check()
    page.select_option("#a", label="seed=1, scheduler=ddim")
    page.locator(".grid button").nth(2).click()  # the left one, then the right one
    page.locator(".grid button").nth(1).click()
    names = [page.locator(f"#{side} option:checked").inner_text() for side in "ab"]
    assert names == ["seed=2, scheduler=euler", "seed=1, scheduler=ddim"]
    check()
    box = view.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60)
    page.mouse.up()
    assert abs(float(slider.input_value()) - 75) < 2
    assert page.locator(".refused").count() == 2
    assert page.evaluate("window.hacked") is None
    assert {*asked} <= {"file", "data"}
    page.screenshot(path=str(tmp_path / "compared.png"))
    page.close()
