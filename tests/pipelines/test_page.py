"""The page without a browser: its fields, its folders, what it makes and what it copies."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Field as Bounds

import tiny
import wrong_parts
from ldm_core import hookimpl
from ldm_core.errors import LdmError
from ldm_core.media.png import read_png
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Registry, installed
from ldm_pipelines.page import making
from ldm_pipelines.page.comparing import compared, read_over
from ldm_pipelines.page.copying import as_command, as_python, as_recipe
from ldm_pipelines.page.description import all_names, describe
from ldm_pipelines.page.fields import LEFT, Field, of_option
from ldm_pipelines.page.filled import HOOKS, Asked, Filled, asked
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.making import Maker, Seen
from ldm_pipelines.page.saving import keep
from ldm_pipelines.page.shown import Shown, error_text, progress_text
from ldm_pipelines.page.taking import take
from ldm_pipelines.page.workplace import Workplace
from tiny.lora import write_lora


@pytest.fixture
def folders(folder: Path, tmp_path: Path) -> Folders:
    """A page that reads ``in`` and loads the tiny model."""
    (tmp_path / "in").mkdir()
    return Folders.of([tmp_path / "in"], [folder], tmp_path / "pictures")


def ask(folders: Folders, filled: Filled, registry: Registry | None = None) -> Asked:
    """What is asked for, as the page has it."""
    registry = registry or installed()
    shown = describe(filled, folders, registry)
    assert not shown.problem
    return asked(filled, shown.options, shown.input_fields, shown.inputs, folders, registry)


PROMPT = "-a \"red\" star; $(touch x) & 'blue'\n<b>line</b>"


@pytest.fixture
def wish(folder: Path) -> Filled:
    """With a plugin of each sort of hook point, and what a shell would misread."""
    return Filled(
        str(folder),
        {"scheduler": ("ddim",), "denoisers": ("clip_x0",), "encoder": ("autoencoder_kl",)},
        {"num_inference_steps": 3, "noise": "pyramid"},
        {
            ("scheduler", "ldm-core:ddim", "eta"): 0.5,
            ("guidance", "ldm-core:classifier_free", "scale"): 2.5,
            ("denoisers", "ldm-core:clip_x0", "limit"): 0.75,
        },
        {"prompt": PROMPT, "negative_prompt": "--green"},
        {"width": 24},
        seed=7,
        count=2,
    )  # fmt: skip


def made(maker: Maker, asked: Asked) -> list[Path]:
    *_, last = maker.make(asked, "someone")
    return [one.path for one in last.saved]


def test_command_recipe_and_python_make_what_the_page_makes(
    ldm: Any, folders: Folders, wish: Filled, tmp_path: Path
) -> None:
    """To the byte, manifest and all, where the command line makes it."""
    wanted = ask(folders, wish)
    files = made(Maker(folders, installed()), wanted)
    assert len(files) == 2
    assert read_png(files[0])[1]["recipe"]["denoisers"][0]["limit"] == 0.75
    pages = [path.read_bytes() for path in files]
    inputs = describe(wish, folders, installed()).inputs
    words = shlex.split(as_command(wanted, inputs))
    assert ldm("generate", "--out", "a", *words[2:])[0] == 0
    assert {path.read_bytes() for path in Path("a").iterdir()} == {*pages}
    Path("r.toml").write_text(as_recipe(wanted))
    call = ("--negative-prompt=--green", "--width", 24, "--seed", 7, "--num-images", 2)
    assert ldm("generate", *call, "--recipe", "r.toml", "--out", "b", "--", PROMPT)[0] == 0
    assert {path.read_bytes() for path in Path("b").iterdir()} == {*pages}
    exec(as_python(wanted), {})
    again = {*Path("pictures").iterdir()} - {path.relative_to(Path.cwd()) for path in files}
    assert len(again) == 2
    assert {path.read_bytes() for path in again} == {*pages}
    assert not Path("x").exists()


def test_a_picture_gives_its_recipe_back(folders: Folders, wish: Filled) -> None:
    maker = Maker(folders, installed())
    [first, _] = made(maker, ask(folders, wish))
    taken = take(keep(first, folders), folders, installed())
    assert taken.left == ()
    assert taken.filled.parts["scheduler"] == ("ddim",)
    [again] = made(maker, ask(folders, taken.filled))
    assert again != first
    (image, manifest), (then, before) = read_png(again), read_png(first)
    assert image.tobytes() == then.tobytes()
    assert manifest == before
    assert maker.reads == 1


def test_a_picture_that_is_none_is_said(folders: Folders, wish: Filled) -> None:
    registry = Registry()
    registry.plugins += installed().plugins
    registry.models += installed().models
    registry.add(wrong_parts, "ldm-wrong", "1.2")
    lost = {
        ("decoder", "ldm-wrong:wrong", key): it for key, it in (("at", "decode"), ("how", "nan"))
    }
    parts = {"decoder": ("ldm-wrong:wrong",)}
    filled = replace(wish, parts=parts, options=lost, axes={}, count=1)
    *_, last = Maker(folders, registry).make(ask(folders, filled, registry), "someone")
    assert not last.saved
    assert last.notes[0].startswith("error: the image of seed 7 came out not finite")
    assert "the decoder 'wrong' of the package ldm-wrong 1.2" in progress_text(last)


def test_what_cannot_be_taken_over_is_said(ldm: Any, folder: Path, folders: Folders) -> None:
    Image.new("RGB", (16, 16)).save("photo.png")
    run = ("outpaint", "photo.png", "a star", "--left", 8, "--model", folder, "--steps", 2)
    assert ldm(*run, "--out", "b")[0] == 0
    [picture] = Path("b").glob("*.png")
    left = take(picture, folders, installed()).left
    assert any("outpaint" in words for words in left)
    with pytest.raises(LdmError, match="has no manifest"):
        take(Path("photo.png"), folders, installed())
    elsewhere = Folders.of([], [], Path("pictures"))
    with pytest.raises(LdmError, match="none of the models of this page"):
        take(picture, elsewhere, installed())


def test_every_option_of_every_plugin_has_a_field_that_leaves_it_as_it_is(
    folders: Folders,
) -> None:
    registry, seen = installed(), set()
    names = all_names(registry, folders)
    for kind in {*HOOKS, "denoiser", "converter"} - {"denoisers", "converters"}:
        for plugin in registry.of_kind(kind):
            for option in plugin.options.values():
                one = of_option(option, names)
                seen.add(one.widget)
                assert one.required is (option.default is REQUIRED)
                if one.required:
                    with pytest.raises(LdmError, match=option.name):
                        one.read("")
                else:
                    assert one.read(one.shown) is LEFT
                    assert one.read("") is LEFT
    assert seen == {"truth", "whole", "number", "choice", "several", "text", "file", "toml"}


class Package:
    """A third party's plugin module."""

    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_schedulers(self, register: Any) -> None:
        register("theirs", theirs)


def theirs(
    x: Any,
    grid: Any,
    denoise: Any,
    noise: Any,
    *,
    share: Annotated[float, Bounds(ge=0, le=1)] = 0.25,
    form: Literal["round", "flat"] = "round",
    rounds: int = 2,
    loud: bool = False,
    marks: list[int] | None = None,
) -> Any:
    """Theirs.

    Args:
        share: how much of it.
    """  # fmt: skip
    for here, there in pairwise(grid):
        x0 = denoise(x, here)
        x = there.alpha * x0 + there.sigma / here.sigma * (x - here.alpha * x0)
    return x


def test_a_third_partys_plugin_shows_up_with_its_options(folders: Folders, folder: Path) -> None:
    registry = Registry()
    registry.plugins, registry.models = [*installed().plugins], [*installed().models]
    registry.add(Package(), "ldm-theirs", "1")
    filled = Filled(str(folder), {"scheduler": ("theirs",)}, inputs={"prompt": "a star"})
    shown = describe(filled, folders, registry)
    [section] = [s for s in shown.sections if s.hook == "scheduler"]
    fields = {one.name: one for one in section.fields}
    share = fields["share"]
    assert (share.widget, share.bounds) == ("number", "from 0, up to 1")
    assert share.help == "how much of it."
    assert fields["form"].choices == ("round", "flat")
    assert [fields[n].widget for n in ("rounds", "loud", "marks")] == ["whole", "truth", "toml"]
    assert fields["marks"].read("[1, 2]") == [1, 2]
    for wrong in ({"share": 2.0}, {"form": "oval"}, {"marks": "many"}):
        options = {("scheduler", "ldm-theirs:theirs", name): v for name, v in wrong.items()}
        with pytest.raises(LdmError, match=next(iter(wrong))):
            ask(folders, Filled(str(folder), {"scheduler": ("theirs",)}, options=options), registry)
    assert made(Maker(folders, registry), ask(folders, filled, registry))


@pytest.fixture
def around(tmp_path: Path, folders: Folders) -> Path:
    """A folder with files beside and below those that the page reads."""
    (tmp_path / "secret.png").write_bytes(b"x")
    inside = tmp_path / "in"
    (inside / ".hidden").mkdir()
    (inside / ".hidden" / "key.png").write_bytes(b"x")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "up").symlink_to(tmp_path)
    (inside / "here.png").symlink_to(inside / "photo.png")
    Image.new("RGB", (16, 16), "red").save(inside / "photo.png")
    return tmp_path


OUTSIDE = (
    "../secret.png", "/etc/passwd", "link.png", "up/secret.png", ".hidden/key.png",
    "~/.ssh/id_rsa", "../in2/photo.png", "/proc/self/environ", "in/../../secret.png", "\0", "..",
    "../gone.png", "/etc/gone", "file:///etc/passwd", "a" * 500,
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE, ids=lambda n: repr(n[:30]))
def test_no_path_leads_out_of_the_folders(name: str, folders: Folders, around: Path) -> None:
    """Nor is it told whether there is such a file: it is one message for both."""
    with pytest.raises(LdmError, match=r"there is no '.*' in the folders of this page"):
        folders.file(name)


def test_paths_inside_are_found_by_either_name(folders: Folders, around: Path) -> None:
    photo = around / "in" / "photo.png"
    assert {folders.file(name) for name in ("photo.png", "here.png", str(photo))} == {photo}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loras", "/etc/passwd"),
        ("loras", "../secret.png:0.5"),
        ("converters", "tiny_decoder"),
        ("conditioning", "image_prompt"),
    ],
)
def test_a_recipe_names_nothing_outside(
    key: str, value: str, folders: Folders, around: Path, folder: Path
) -> None:
    parts, options, loras = {key: (value,)}, {}, ""
    if key == "loras":
        parts, loras = {}, value
    else:
        options = {(key, f"ldm-core:{value}", "path"): str(around / "secret.png")}
    filled = Filled(str(folder), parts, {}, options, {"prompt": "a star"}, loras=loras)
    registry = installed()
    shown = describe(filled, folders, registry)
    with pytest.raises(LdmError, match=r"in the folders of this page|none of the folders"):
        asked(filled, shown.options, shown.input_fields, shown.inputs, folders, registry)


def test_a_prompt_that_is_a_path_is_a_prompt(folders: Folders, folder: Path) -> None:
    wanted = ask(folders, Filled(str(folder), inputs={"prompt": "/etc/passwd"}))
    assert wanted.inputs == {"prompt": "/etc/passwd"}


@pytest.mark.parametrize("model", ["/etc", "../x", "owner/name", "", "gone", "."])
def test_models_are_those_of_the_page(model: str, folders: Folders) -> None:
    with pytest.raises(LdmError, match="none of the models of this page"):
        describe(Filled(model), folders, installed())


def test_models_are_found_in_their_folders_and_not_through_links_out(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "models"
    (home / "mine" / "deep").mkdir(parents=True)
    (home / "mine" / "deep" / "model_index.json").write_text("{}")
    (home / "one.safetensors").write_bytes(b"")
    (home / "out").symlink_to(folder)
    found = Folders.of([], [home], tmp_path).model_names(Registry())
    assert found == [str(home / "mine" / "deep"), str(home / "one.safetensors")]


def test_what_is_dropped_is_kept_once_and_only_where_it_is_a_medium(
    folders: Folders, around: Path
) -> None:
    first = keep(around / "in" / "photo.png", folders)
    assert first == keep(around / "in" / "photo.png", folders)
    assert folders.file(str(first)) == first
    for name, data in (("a.png", b"no picture"), ("b.svg", b"<svg onload='alert(1)'/>")):
        (around / name).write_bytes(data)
        with pytest.raises(LdmError):
            keep(around / name, folders)
    assert [*first.parent.iterdir()] == [first]


@pytest.mark.parametrize(
    "wrong",
    [
        {"axes": {"width": 10**9}},
        {"axes": {"width": -8}},
        {"count": 10**6},
        {"count": 0},
        {"settings": {"num_inference_steps": 10**12}},
        {"settings": {"device": "rm -rf"}},
        {"seed": -1},
        {"seed": 2**80},
        {"parts": {"scheduler": ("../../x",)}},
        {"inputs": {}},
    ],
    ids=repr,
)
def test_what_cannot_be_is_refused_before_weights_are_read(
    wrong: dict[str, Any], folders: Folders, folder: Path
) -> None:
    maker = Maker(folders, installed())
    maker_reads = {"inputs": {"prompt": "a star"}, **wrong}
    filled, registry = Filled(str(folder), **maker_reads), installed()

    def run() -> list[Path]:
        shown = describe(filled, folders, registry)
        fields = (shown.options, shown.input_fields, shown.inputs)
        return made(maker, asked(filled, *fields, folders, registry))

    with pytest.raises(LdmError):
        run()
    assert not folders.out.exists()
    assert maker.reads <= 1
    assert made(maker, ask(folders, Filled(str(folder), inputs={"prompt": "a star"})))


def test_stop_ends_after_the_step_and_frees_the_machine(folders: Folders, wish: Filled) -> None:
    maker = Maker(folders, installed())
    wanted = ask(folders, wish)
    run: Iterator[Seen] = maker.make(wanted, "someone")
    seen = [next(run), next(run)]
    assert (seen[-1].step, seen[-1].steps) == (1, 3)
    assert seen[-1].preview is not None
    assert not maker.stop("another")
    waiting = maker.make(wanted, "another")
    assert next(waiting).waiting
    assert maker.stop("another")
    with pytest.raises(LdmError, match="while it waited"):
        next(waiting)
    assert maker.stop("someone")
    last = [*run]
    assert [(one.step, one.stopped) for one in last] == [(1, True)]
    assert not folders.out.exists()
    left = maker.make(wanted, "someone")
    next(left), next(left)
    left.close()  # as where the page is closed
    assert len(made(maker, wanted)) == 2


@pytest.mark.parametrize(
    ("apart", "told"), [(0.0, [0, 1, 2, 3, 3]), (float("inf"), [0, 1, 3])], ids=["slow", "fast"]
)
def test_of_a_fast_run_not_every_step_is_told(
    folders: Folders, wish: Filled, monkeypatch: pytest.MonkeyPatch, apart: float, told: list[int]
) -> None:
    """The first is, and the last number is right: a browser would show the others too late."""
    monkeypatch.setattr(making, "APART", apart)
    run = Maker(folders, installed()).make(ask(folders, wish), "someone")
    assert [one.step for one in run] == told


def test_a_comparison_makes_what_single_runs_make(folders: Folders, folder: Path) -> None:
    place, given = Workplace(folders, installed()), {"prompt": "a star"}
    filled = Filled(str(folder), inputs=given, settings={"num_inference_steps": 2}, seed=5)
    shown, maker = describe(filled, folders, place.registry), Maker(folders, place.registry)
    axes = [("scheduler", "euler,ddim"), ("guidance.scale", "1, 3"), ("steps", "2,1")]
    over = read_over(axes, shown, ask(folders, filled), place)
    assert over == {"scheduler": ["euler", "ddim"], "guidance.scale": [1.0, 3.0], "steps": [2, 1]}
    *_, last = compared(maker, ask(folders, filled), over, "someone", place)
    *sheets, _, _, _, _, _, _, _, _ = last.saved
    assert [sheet.path.name for sheet in sheets] == ["sheet.png", "sheet-2.png"]  # of the third
    cells = {cell.label: cell for cell in last.saved[2:]}
    assert (len(cells), maker.reads) == (8, 1)
    parts = {"scheduler": ("ddim",)}
    options = {("guidance", "ldm-core:classifier_free", "scale"): "3"}
    alone = Filled(str(folder), parts, filled.settings, options, given, seed=5)
    [one] = made(maker, ask(folders, alone))
    assert Image.open(one).tobytes() == Image.open(cells["ddim, 3.0, 2"].path).tobytes()


@pytest.mark.parametrize(
    "axes",
    [
        [],
        [("scheduler", "")],
        [("scheduler", "euler,gone")],
        [("scheduler", "euler"), ("scheduler", "ddim")],
        [("model", "/etc")],
        [("loras", "../secret.png")],
        [("guidance.scale", "many")],
        [("conditioning", "text")],
        [("prompt_2", "x")],
        [("scheduler", "'euler")],
    ],
    ids=str,
)
def test_only_what_the_form_has_is_compared_over(
    axes: list[tuple[str, str]], folders: Folders, folder: Path
) -> None:
    filled = Filled(str(folder), inputs={"prompt": "a star"})
    shown, place = describe(filled, folders, installed()), Workplace(folders, installed())
    with pytest.raises(LdmError):
        read_over(axes, shown, ask(folders, filled), place)


def test_a_field_says_what_is_wrong(folders: Folders) -> None:
    one = Field("count", int, "whole")
    with pytest.raises(LdmError, match="'count' should be int"):
        one.read("many")


def test_a_plugin_inside_another_has_fields_of_its_own(
    folders: Folders, folder: Path, ldm: Any
) -> None:
    """What is filled in there is in the recipe, in the command, and comes back from the picture."""
    registry, at = installed(), "ldm-core:churn"
    options = {("scheduler", at, "inner"): "unipc", ("scheduler", at, "inner.order"): "3"}
    filled = Filled(
        str(folder), {"scheduler": ("churn",)}, {"num_inference_steps": 3}, options,
        {"prompt": "a star"}, seed=3,
    )  # fmt: skip
    shown = describe(filled, folders, registry)
    fields = {f.name: f for f in shown.sections[0].fields}
    assert {"inner", "inner.order", "inner.variant", "s_churn"} <= fields.keys()
    assert fields["inner.variant"].widget == "choice"
    wanted = ask(folders, filled)
    assert wanted.layer["scheduler"] == {"name": "churn", "inner": {"name": "unipc", "order": 3}}
    [first] = made(Maker(folders, registry), wanted)
    exec(as_python(wanted), {})
    [again] = {*Path("pictures").rglob("*-2.png")}
    assert again.read_bytes() == first.read_bytes()
    taken = take(first, folders, registry)
    assert taken.left == ()
    assert ask(folders, taken.filled).layer["scheduler"] == wanted.layer["scheduler"]
    other = {**options, ("scheduler", at, "inner"): "dpm_2"}  # since the form was made
    stale = replace(filled, options=other)
    late = asked(stale, shown.options, shown.input_fields, shown.inputs, folders, registry)
    assert late.layer["scheduler"] == {"name": "churn", "inner": "dpm_2"}


def test_kernels_in_a_list_have_fields_of_their_own(folders: Folders, folder: Path) -> None:
    at = ("attention", "ldm-core:first_of")
    options = {(*at, "kernels"): ["sliced", "native"], (*at, "kernels.0.heads"): "2"}
    parts = {"attention": ("first_of",)}
    wanted = ask(folders, Filled(str(folder), parts, {}, options, {"prompt": "a"}))
    kernels = [{"name": "sliced", "heads": 2}, {"name": "native"}]
    assert wanted.layer["attention"] == {"name": "first_of", "kernels": kernels}


A1111 = (
    "a cat <lora:ink:0.8>\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, "
    "Schedule type: Karras, CFG scale: 7.5, Seed: 9, Size: 24x32, Model: x, Clip skip: 2"
)


def a1111_png(path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", A1111)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)


def a1111_jpeg(path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.png", a1111_png), ("a.jpg", a1111_jpeg), ("a.webp", a1111_jpeg)],
    ids=["png", "jpeg", "webp"],
)
def test_a_picture_of_a1111_fills_the_form_of_the_model_that_is_chosen(
    name: str, write: Any, folders: Folders, folder: Path, tmp_path: Path
) -> None:
    write(tmp_path / name)
    taken = take(tmp_path / name, folders, installed(), str(folder))
    asked_for = ask(folders, taken.filled)
    assert asked_for.layer["num_inference_steps"] == 20
    assert asked_for.layer["scheduler"]["name"] == "dpmpp_2m"
    assert asked_for.layer["spacing"]["name"] == "karras"
    assert asked_for.inputs == {"prompt": "a cat", "negative_prompt": "blurry"}
    assert (asked_for.seed, asked_for.axes) == (9, {"width": 24, "height": 32})
    left = "; ".join(taken.left)
    assert all(words in left for words in ("<lora:ink:0.8>", "model 'x'"))
    (text,) = asked_for.layer["conditioning"]
    assert (text["clip_skip"], text["negative_clip_skip"]) == (1, 1)
    assert any("draws other noise" in note for note in taken.notes)


def test_a_picture_of_comfyui_fills_the_form(
    folders: Folders, folder: Path, tmp_path: Path
) -> None:
    sampler = {"seed": 5, "steps": 12, "cfg": 6.5, "sampler_name": "euler_ancestral",
               "scheduler": "karras", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0],
               "negative": ["7", 0], "latent_image": ["5", 0]}  # fmt: skip
    graph = {
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 32, "height": 16}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
    }
    info = PngInfo()
    info.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    taken = take(tmp_path / "a.png", folders, installed(), str(folder))
    wanted = ask(folders, taken.filled)
    assert wanted.layer["guidance"]["scale"] == 6.5
    assert wanted.layer["scheduler"]["name"] == "euler_ancestral"
    assert (wanted.seed, wanted.inputs["prompt"]) == (5, "a cat")
    assert any("x.safetensors" in words for words in taken.left)


def test_a_lora_is_taken_over_where_it_lies_in_the_folders(
    folders: Folders, folder: Path, tmp_path: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    layers = {"unet": ["to_q", "to_v"]}
    file = write_lora(StableDiffusionPipeline, folder, folders.read[0], layers, 3)
    filled = Filled(
        str(folder), {}, {"num_inference_steps": 1}, {}, {"prompt": "a"}, {}, f"{file}:0.5", 1
    )
    [picture] = made(Maker(folders, installed()), ask(folders, filled))
    taken = take(picture, folders, installed())
    assert taken.left == ()
    assert ask(folders, taken.filled).layer["loras"] == [{"path": str(file), "scale": 0.5}]
    elsewhere = Folders.of([], [folder], tmp_path / "pictures")
    assert any(file.name in words for words in take(picture, elsewhere, installed()).left)


def test_a_run_that_is_stopped_keeps_the_batches_that_were_made(
    folders: Folders, wish: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldm_pipelines.page.making.BATCH", 1)
    maker = Maker(folders, installed())
    run = maker.make(ask(folders, replace(wish, count=3)), "someone")
    seen = next(one for one in run if one.batch == 1)
    assert (seen.batches, len(seen.saved), seen.fresh) == (3, 1, True)
    assert "batch 2 of 3" in progress_text(seen)
    maker.stop("someone")
    [last] = run
    assert last.stopped
    kept = {*folders.out.iterdir()}
    assert kept == {one.path for one in last.saved}
    assert len(kept) == 1
    assert "what was made is kept" in progress_text(last)
    whole = made(Maker(folders, installed()), ask(folders, replace(wish, count=3)))
    assert whole[0].read_bytes() == kept.pop().read_bytes()


def test_format_and_observers_are_chosen(folders: Folders, folder: Path, ldm: Any) -> None:
    parts = {"observers": ("progress_bar",)}
    filled = Filled(
        str(folder), parts, {"num_inference_steps": 1}, {}, {"prompt": "a"}, seed=1, format="webp"
    )
    wanted = ask(folders, filled)
    [path] = made(Maker(folders, installed()), wanted)
    assert path.suffix == ".webp"
    words = shlex.split(as_command(wanted, describe(filled, folders, installed()).inputs))
    assert ldm("generate", "--out", "a", *words[2:])[0] == 0
    [same] = Path("a").iterdir()
    assert same.read_bytes() == path.read_bytes()
    assert take(path, folders, installed()).filled.seed == 1
    with pytest.raises(LdmError, match="the format 'mp4' is for video"):
        made(Maker(folders, installed()), ask(folders, replace(filled, format="mp4")))


def test_what_memory_does_not_hold_is_refused_before_weights_are_read(
    folders: Folders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a picture takes at the very least would fit; what is computed on the way would not."""
    monkeypatch.setattr("ldm_core.composition.limits.available_bytes", lambda: 2**24)
    maker = Maker(folders, installed())
    axes = {"width": 256, "height": 256}
    filled = Filled(str(folder), inputs={"prompt": "a star"}, axes=axes)
    with pytest.raises(LdmError, match="256x256 would take at least"):
        made(maker, ask(folders, filled))
    assert maker.reads == 0


def fails(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    """Fails."""
    raise ZeroDivisionError("<script>alert(1)</script>")


class Failing:
    """A third party's plugin module that fails when it runs."""

    ldm_api = ">=2,<3"

    @hookimpl
    def ldm_schedulers(self, register: Any) -> None:
        register("fails", fails)


def test_an_error_of_a_plugin_names_its_package(folders: Folders, folder: Path) -> None:
    registry = Registry()
    registry.plugins, registry.models = [*installed().plugins], [*installed().models]
    registry.add(Failing(), "ldm-failing", "1.5")
    filled = Filled(str(folder), {"scheduler": ("fails",)}, inputs={"prompt": "a star"})
    with pytest.raises(LdmError) as refused:
        made(Maker(folders, registry), ask(folders, filled, registry))
    told = error_text(refused.value)
    assert "ldm-failing" in told
    assert "1.5" in told
    assert "Traceback" not in told


def test_a_sound_is_shown_as_a_picture_and_played(tmp_path: Path) -> None:
    model = tiny.write_stable_audio(tmp_path / "model")
    folders = Folders.of([], [model], tmp_path / "out")
    filled = Filled(str(model), {}, {"num_inference_steps": 1}, {}, {"prompt": "rain"}, seed=1)
    *_, last = Maker(folders, installed()).make(ask(folders, filled), "someone")
    [one] = map(Shown.of, last.saved)
    picture, caption = one.entry
    assert (one.kind, caption, picture.mode) == ("audio", "seed 1", "RGB")
    assert "# prompt: rain" in one.how
    assert "# size: samples" in one.how
    assert hash(one)
