"""How a picture was made, shown: ours, and what other programs wrote."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldm_core.media.a1111_text import LONGEST, read_text, written_text
from ldm_core.media.comfyui_graph import read_graph
from ldm_core.media.foreign_texts import recorded_in
from ldm_core.media.picture_manifests import read_manifest
from ldm_core.media.recorded import Recorded

A1111 = """a cat, (red:1.2) <lora:ink:0.8>
on a mat
Negative prompt: blurry
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 965400086, \
Size: 512x768, Model hash: 45dee52b, Model: "a, \\"b\\": c", Clip skip: 2, Version: v1.10.1"""
"""As the page's own documentation has it."""
GRAPH: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            **{"seed": 5, "steps": 12, "cfg": 6.5, "sampler_name": "euler_ancestral"},
            **{"scheduler": "karras", "denoise": 1.0, "model": ["4", 0]},
            **{"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 256}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
}
"""ComfyUI's first example."""


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)
    return path


def test_steps_that_the_call_said_are_shown_and_taken_over(ldm: Any) -> None:
    """A line of a job, a cell of a comparison or a call in Python has steps of its own."""
    Path("lines.csv").write_text("prompt,seed,num_inference_steps\na red circle,7,2\n")
    code, _, err = ldm("generate", "--prompts", "lines.csv", "--out", "job")
    assert code == 0, err
    (path,) = Path("job").rglob("*.png")
    assert read_manifest(path)["recipe"]["num_inference_steps"] != 2
    assert "num_inference_steps = 2\n" in ldm("show", str(path), "--recipe")[1]
    assert "--steps 2 " in ldm("show", str(path), "--command")[1]
    code, out, err = ldm("generate", "--like", str(path), "--out", "like", "--json")
    assert code == 0, err
    like = read_manifest(Path(json.loads(out)["path"]))
    for key in ("num_inference_steps", "pixels_sha256"):
        assert like[key] == read_manifest(path)[key]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--scheduler", "dpmpp_2m", "--spacing", "karras", "--set", "spacing.rho=5.0"],
        ["--negative-prompt", "--odd 'text'", "--guidance-scale", "2.5", "--size", "64x32"],
    ],
    ids=["plain", "chosen", "negative"],
)
def test_the_command_draws_the_same_picture(ldm: Any, more: list[str]) -> None:
    arguments = ["a red 'star'", "--seed", "7", "--steps", "2", "--json"]
    if "--negative-prompt" in more:
        more = [f"--negative-prompt={more[1]}", *more[2:]]
    code, out, err = ldm("generate", *arguments, *more)
    assert code == 0, err
    path = json.loads(out)["path"]
    code, out, err = ldm("show", path, "--command")
    assert code == 0, err
    words = shlex.split(out)
    assert words[:2] == ["ldm", "generate"]
    assert not {"--attention", "--set"} & {*words}
    code, again, err = ldm(*words[1:], "--out", "again", "--json")
    assert code == 0, err
    first, second = read_manifest(Path(path)), read_manifest(Path(json.loads(again)["path"]))
    assert second["recipe"].pop("dtype") == "float32"
    for manifest in (first, second):  # whose size the one command left to the model
        manifest["recipe"] = {
            key: value for key, value in manifest["recipe"].items() if key not in first
        }
    assert first == second


def test_the_command_of_a_ready_made_pipeline_is_its_own(ldm: Any) -> None:
    ways = ["a star", "a circle", "--num-images", "2", "--seed", "7", "--steps", "1"]
    code, out, err = ldm("interpolate", *ways)
    assert code == 0, err
    paths = out.split()
    code, out, err = ldm("show", paths[1], "--command")
    assert (code, err) == (0, "note: the picture is number 2 of those that it makes\n")
    code, again, err = ldm(*shlex.split(out)[1:], "--out", "again")
    assert code == 0, err
    for path, other in zip(paths, again.split(), strict=True):
        assert Image.open(path).tobytes() == Image.open(other).tobytes()


def test_a_manifest_is_shown_and_its_recipe_makes_the_picture(ldm: Any) -> None:
    code, out, err = ldm("generate", "a star", "--seed", "7", "--steps", "1", "--json")
    path = json.loads(out)["path"]
    code, out, _ = ldm("show", path)
    assert code == 0
    assert {"prompt\ta star", "seed\t7", "steps\t1"} <= {*out.splitlines()}
    code, out, _ = ldm("show", path, "--json")
    assert json.loads(out) == {
        "made_by": "ldm",
        "changed": False,
        "manifest": read_manifest(Path(path)),
    }
    _, out, _ = ldm("show", path, "--recipe")
    Path("a.toml").write_text(out)
    Path("a.json").write_text(json.dumps(read_manifest(Path(path))))
    code, again, err = ldm("generate", "a star", "--seed", "7", "--recipe", "a.toml", "--out", "b")
    assert code == 0, err
    assert Image.open(again.strip()).tobytes() == Image.open(path).tobytes()
    assert "prompt\ta star" in ldm("show", "a.json")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.png"], "there is no file none.png"),
        (["plain.png"], "has no manifest inside"),
        (["none.json"], "there is no manifest in none.json"),
        (["plain.png", "--command", "--recipe"], "give one"),
    ],
)
def test_what_says_nothing_is_refused(ldm: Any, arguments: list[str], words: str) -> None:
    png(Path("plain.png"), Title="a")
    code, out, err = ldm("show", *arguments)
    assert code == 2
    assert words in err
    if "--json" in arguments:
        assert words in json.loads(out)["error"]
    else:
        assert out == ""


def test_a1111s_text_is_read() -> None:
    read = read_text(A1111)
    assert read == Recorded(
        "A1111",
        "a cat, (red:1.2) <lora:ink:0.8>\non a mat",
        "blurry",
        965400086,
        20,
        7.5,
        512,
        768,
        "DPM++ 2M",
        "Karras",
        'a, "b": c',
        {"Model hash": "45dee52b", "Version": "v1.10.1"},
        clip_skip=2,
    )


def test_a_text_of_windows_without_a_negative_prompt_is_read() -> None:
    read = read_text("a cat\r\n\r\nSteps: 1, Seed: 0, CFG scale: 7, Size: 8x16\r\n")
    assert read is not None
    assert (read.prompt, read.negative_prompt, read.steps, read.seed) == ("a cat\n", None, 1, 0)


def test_a_negative_prompt_begins_once() -> None:
    last = "Steps: 20, Seed: 1, CFG scale: 7"
    read = read_text(f"a\nNegative prompt: b\nNegative prompt: c\n{last}")
    assert read is not None
    assert (read.prompt, read.negative_prompt) == ("a", "b\nNegative prompt: c")


def test_what_is_written_is_read() -> None:
    settings = {"Steps": 3, "Sampler": "Euler a", "Seed": 7, "Model": 'a: "b", c', "Size": None}
    read = read_text(written_text("a\nb: c", "no", settings))
    assert read is not None
    assert (read.prompt, read.negative_prompt) == ("a\nb: c", "no")
    assert (read.steps, read.sampler, read.seed, read.model) == (3, "Euler a", 7, 'a: "b", c')
    written = written_text("a", None, {"Steps": 3, "Seed": 7, "Time": "é 1:30", "Size": None})
    assert written == 'a\nSteps: 3, Seed: 7, Time: "é 1:30"'
    again = read_text(f'{written}, "a": 1, Lora: 12, Note: "[1]"')
    assert again is not None
    assert again.more == {"Time": "é 1:30", "Lora": "12", "Note": "[1]"}


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "Steps: 20", "a: 1, b: 2, c: 3", "a" * (LONGEST + 1), ":" * 50_000, '"' * 50_000],
)
def test_another_text_is_none_of_a1111s(text: str) -> None:
    assert read_text(text) is None


@pytest.mark.parametrize("value", ["-1", "1e400", "9" * 400, "9" * 19, "²", "NaN", ""])
def test_a_number_that_is_none_is_not_taken(value: str) -> None:
    read = read_text(f"a\nSteps: {value}, Seed: {value}, CFG scale: {value}, Size: {value}x1")
    assert read is not None
    assert (read.steps, read.seed, read.width) == (None, None, None)
    assert read.scale in (None, -1.0)


def test_others_pictures_are_shown(ldm: Any) -> None:
    png(Path("a.png"), parameters=A1111)
    exif = Image.Exif()
    exif[0x8769] = {0x9286: b"UNICODE\0" + A1111.encode("utf-16-be")}
    for name in ("a.jpg", "a.webp"):
        Image.new("RGB", (2, 2)).save(name, exif=exif.tobytes())
    assert recorded_in(Path("a.png")) == recorded_in(Path("a.jpg")) == recorded_in(Path("a.webp"))
    code, out, _ = ldm("show", "a.jpg")
    lines = {*out.splitlines()}
    assert code == 0
    assert {"made by\tA1111", "prompt\ta cat, (red:1.2) <lora:ink:0.8> on a mat"} <= lines
    assert any(one.startswith("here\t--scheduler dpmpp_2m --spacing karras ") for one in lines)
    code, out, err = ldm("show", "a.png", "--command")
    assert shlex.split(out)[2:] == [
        *("a cat, (red:1.2) \non a mat", "--negative-prompt=blurry"),
        *("--scheduler", "dpmpp_2m", "--spacing", "karras", "--set=guidance={ scale = 7.5 }"),
        *("--steps", "20"),
        '--set=conditioning=[{ name = "text", clip_skip = 1, negative_clip_skip = 1 }]',
        *("--seed", "965400086", "--size", "512x768"),
    ]
    for words in ("<lora:ink:0.8> in its prompt", "its model 'a, \"b\": c'", "and of SDXL"):
        assert words in err
    assert "its seed 965400086 draws other noise here than in A1111" in err


def test_a_plain_graph_of_comfyui_is_read_and_another_is_told_apart(ldm: Any) -> None:
    png(Path("a.png"), prompt=json.dumps(GRAPH), workflow="{}")
    code, out, _ = ldm("show", "a.png", "--json")
    read = json.loads(out)
    assert (code, read["made_by"]) == (0, "ComfyUI")
    assert (read["prompt"], read["negative_prompt"], read["seed"]) == ("a cat", "blurry", 5)
    assert (read["width"], read["height"], read["steps"], read["scale"]) == (512, 256, 12, 6.5)
    _, out, _ = ldm("show", "a.png", "--command")
    assert "--scheduler euler_ancestral --spacing karras" in out
    two = {**GRAPH, "8": GRAPH["3"]}
    for graph in (two, {}, {"1": []}, {"3": {**GRAPH["3"], "inputs": {"positive": "x"}}}):
        png(Path("b.png"), prompt=json.dumps(graph))
        code, out, err = ldm("show", "b.png")
        assert (code, out.splitlines()[1]) == (0, "made by\tComfyUI")
        code, out, err = ldm("show", "b.png", "--command")
        assert (code, out) == (2, "")
        assert "the picture was made by ComfyUI" in err


def graph(number: str, node: Any = None, /, **inputs: Any) -> Recorded:
    """What is read of `GRAPH` with another node, or other inputs of one."""
    own = {**GRAPH[number], "inputs": {**GRAPH[number]["inputs"], **inputs}}
    return read_graph(json.dumps({**GRAPH, number: own if node is None else node}))


def test_what_a_plain_graph_says_is_read_by_its_links() -> None:
    plain = graph("3")
    assert plain.unread == ""
    assert (plain.model, plain.schedule, dict(plain.more)) == ("x.safetensors", "karras", {})
    unet = {"class_type": "UNETLoader", "inputs": {"unet_name": "y.safetensors"}}
    assert graph("4", unet).model == "y.safetensors"
    latent = {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 32}}
    assert (graph("5", latent).width, graph("5", latent).height) == (64, 32)
    assert dict(graph("3", denoise=0.5).more) == {"denoise": "0.5"}
    assert (graph("3", seed=True).seed, graph("3", cfg="7").scale) == (None, 7.0)
    assert graph("7", text="").negative_prompt is None


def test_the_layer_of_a_graph_is_counted_from_the_end() -> None:
    def skipping(*stops: Any) -> Recorded:
        """The graph with a node between each text and the model."""
        nodes = {
            str(number): {
                "class_type": "CLIPSetLastLayer",
                "inputs": {"stop_at_clip_layer": stop, "clip": ["4", 1]},
            }
            for number, stop in enumerate(stops, 10)
        }
        texts = {
            text: {**GRAPH[text], "inputs": {**GRAPH[text]["inputs"], "clip": [node, 0]}}
            for text, node in zip("67", [*nodes] * 2, strict=False)
        }
        return read_graph(json.dumps({**GRAPH, **texts, **nodes}))

    assert [skipping(stop).clip_skip for stop in (-1, -2, -12)] == [1, 2, 12]
    assert skipping(-2, -2).clip_skip == 2
    for stops in ((-2, -3), (0,), ("-2",), (True,)):
        other = skipping(*stops)
        assert (other.clip_skip, other.more) == (None, {"other nodes": "CLIPSetLastLayer"})
    assert graph("3").clip_skip is None


def test_the_text_of_a_1111_that_is_too_long_is_named(ldm: Any) -> None:
    """Between what is read of a text and what is read of a chunk, and beyond both."""
    for letters in (2 * 10**6, 5 * 10**6):
        text = "a" * letters + "\nSteps: 20, Sampler: Euler, Seed: 1"
        for name, texts in (("a.png", {"parameters": text}), ("b.png", {"prompt": f'["{text}"]'})):
            if name == "b.png" and letters < 4 * 2**20:
                continue
            path = png(Path(name), **texts)
            program = "A1111" if name == "a.png" else "ComfyUI"
            code, out, err = ldm("show", str(path))
            assert (code, out.splitlines()[1]) == (0, f"made by\t{program}"), err
            assert "longer than is read" in out
            code, out, err = ldm("generate", "--like", str(path))
            assert (code, out) == (2, "")
            assert f"the picture was made by {program}: what it says of the picture" in err


@pytest.mark.parametrize(
    "other", [{"class_type": "Mine", "inputs": {"text": "a cat"}}, {"class_type": "Mine"}, [], "6"]
)
def test_what_other_nodes_say_is_not_taken_for_what_plain_ones_do(other: Any) -> None:
    assert "its prompt comes from other nodes" in graph("6", other).unread
    assert graph("7", other).negative_prompt is None
    assert (graph("5", other).width, graph("4", other).model) == (None, None)
    if isinstance(other, dict):
        assert dict(graph("7", other).more) == {"other nodes": "Mine"}


def test_a_graph_of_another_sampler_or_of_many_nodes_is_not_read() -> None:
    advanced = {**GRAPH["3"], "class_type": "KSamplerAdvanced"}
    assert "another form" in graph("3", advanced).unread
    many = {**GRAPH, **{f"n{i}": {"class_type": "SaveImage"} for i in range(2000)}}
    assert read_graph(json.dumps(many)).unread == "its workflow is not read."


def test_a_run_like_a_picture_is_the_picture_but_for_what_is_typed(ldm: Any) -> None:
    run = ["a red star", "--seed", "7", "--steps", "2", "--guidance-scale", "2.5", "--json"]
    first = json.loads(ldm("generate", *run)[1])["path"]
    code, out, err = ldm("generate", "--like", first, "--out", "b", "--json")
    assert code == 0, err
    assert Image.open(json.loads(out)["path"]).tobytes() == Image.open(first).tobytes()
    typed = ["a blue star", "--scheduler", "euler", "--seed", "8"]
    code, out, err = ldm("generate", *typed, "--like", first, "--out", "b", "--json")
    assert code == 0, err
    manifest, was = (read_manifest(Path(p)) for p in (json.loads(out)["path"], first))
    assert (manifest["inputs"]["prompt"], manifest["seed"]) == ("a blue star", 8)
    assert manifest["recipe"]["scheduler"] == {"name": "ldm-core:euler"}
    for key in ("guidance", "spacing", "num_inference_steps"):
        assert manifest["recipe"][key] == was["recipe"][key]


def test_a_run_like_anothers_picture_says_what_is_not_taken_over(ldm: Any) -> None:
    text = A1111.replace("512x768", "64x32").replace("Steps: 20", "Steps: 2")
    png(Path("a.png"), parameters=text)
    code, out, err = ldm("generate", "--like", "a.png", "--json")
    assert code == 0, err
    manifest = read_manifest(Path(json.loads(out)["path"]))
    assert (manifest["width"], manifest["height"], manifest["seed"]) == (64, 32, 965400086)
    assert manifest["recipe"]["scheduler"]["name"] == "ldm-core:dpmpp_2m"
    assert manifest["recipe"]["spacing"]["name"] == "ldm-core:karras"
    assert manifest["recipe"]["guidance"]["scale"] == 7.5
    assert "its Clip skip: 2 is clip_skip = 1 here" in err
    (text,) = manifest["recipe"]["conditioning"]
    assert (text["clip_skip"], text["negative_clip_skip"]) == (1, 1)
    with Image.open(json.loads(out)["path"]) as image:
        image.load()
        again = read_text(image.info["parameters"])
    assert again is not None
    assert again.clip_skip == 2
    plain = ("--set", 'conditioning=["text"]', "--out", "plain")
    code, out, err = ldm("generate", "--like", "a.png", "--steps", "1", "--json", *plain)
    assert (code, "Clip skip" in err) == (0, False), err
    (text,) = read_manifest(Path(json.loads(out)["path"]))["recipe"]["conditioning"]
    assert text["clip_skip"] == 0


def test_a_run_like_a_strangers_picture_reads_nothing_elsewhere(ldm: Any, folder: Path) -> None:
    run = ["a star", "--model", str(folder), "--steps", "1", "--seed", "1", "--json"]
    path = json.loads(ldm("generate", *run)[1])["path"]
    code, out, err = ldm("generate", "--like", path, "--out", "b")
    assert (code, out) == (2, "")
    assert "the manifest asks for what does not lie beside it" in err
    assert ldm("generate", "--like", path, "--out", "b", "--allow-files")[0] == 0


def test_a_png_holds_the_text_that_others_read(ldm: Any) -> None:
    """Pillow reads it; what it says is what was typed, in A1111's words."""
    run = ["a red: star", "--seed", "7", "--steps", "2", "--json", "--guidance-scale", "2.5"]
    run += ["--scheduler", "euler_ancestral", "--spacing", "karras"]
    path = json.loads(ldm("generate", *run, "--negative-prompt", "dark")[1])["path"]
    with Image.open(path) as image:
        image.load()
        text = image.info["parameters"]
    first, second, last = text.split("\n")
    assert (first, second) == ("a red: star", "Negative prompt: dark")
    assert last.startswith(
        "Steps: 2, Sampler: Euler a, Schedule type: Karras, CFG scale: 2.5, Seed: 7, Size: 64x64, "
        'Model: "ldm-core:shapes", Version: ldm '
    )
    assert recorded_in(Path(path)) == read_text(text)
    path = json.loads(ldm("generate", *run[:6], "--scheduler", "res_2s")[1])["path"]
    with Image.open(path) as image:
        image.load()
        assert "Sampler: res_2s," in image.info["parameters"]
        assert "Schedule type: trailing," in image.info["parameters"]  # which has a name in a fork


def test_a_damaged_manifest_is_said_with_its_file(ldm: Any, folder: Path) -> None:
    for form in ("png", "jpg", "webp"):
        run = ["a", "--model", folder, "--steps", 1, "--seed", 1, "-o", form, "--format", form]
        assert ldm("generate", *run, "-q")[0] == 0
        (path,) = Path(form).iterdir()
        data = path.read_bytes()
        assert data.count(b'{"') >= 1
        path.write_bytes(data.replace(b'{"', b'["', 1))
        code, out, err = ldm("show", path)
        assert (code, out, f"the manifest in '{path}' is damaged" in err) == (2, "", True), err


def test_help_within_a_group_has_no_line_break_in_a_sentence(ldm: Any) -> None:
    out = " ".join(line.rstrip() for line in ldm("plugins", "check", "--help")[1].splitlines())
    assert "What a plugin module declares as" in " ".join(out.split())
    lines = ldm("plugins", "check", "--help")[1].splitlines()
    assert not any(line.strip().endswith(". What") for line in lines)
