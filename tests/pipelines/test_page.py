"""The page without a browser: its fields, its folders, what it makes and what it copies."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from PIL import Image
from pydantic import Field as Bounds

from ldm_core import hookimpl
from ldm_core.errors import LdmError
from ldm_core.media.png import read_png
from ldm_core.plugins.options import REQUIRED
from ldm_core.plugins.registry import Registry, installed
from ldm_pipelines.page.comparing import compared, read_over
from ldm_pipelines.page.copying import as_command, as_python, as_recipe
from ldm_pipelines.page.description import all_names, describe
from ldm_pipelines.page.fields import LEFT, Field, of_option
from ldm_pipelines.page.filled import HOOKS, Asked, Filled, asked
from ldm_pipelines.page.folders import Folders
from ldm_pipelines.page.making import Maker, Seen
from ldm_pipelines.page.saving import keep
from ldm_pipelines.page.taking import take
from ldm_pipelines.page.workplace import Workplace


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
    alike = [Image.open(path).tobytes() for path in files]
    assert [Image.open(f"seed{seed}.png").tobytes() for seed in (7, 8)] == alike
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


def test_a_comparison_makes_what_single_runs_make(folders: Folders, folder: Path) -> None:
    place, given = Workplace(folders, installed()), {"prompt": "a star"}
    filled = Filled(str(folder), inputs=given, settings={"num_inference_steps": 2}, seed=5)
    shown, maker = describe(filled, folders, place.registry), Maker(folders, place.registry)
    axes = [("scheduler", "euler,ddim"), ("guidance.scale", "1, 3")]
    over = read_over(axes, shown, ask(folders, filled), place)
    assert over == {"scheduler": ["euler", "ddim"], "guidance.scale": [1.0, 3.0]}
    *_, last = compared(maker, ask(folders, filled), over, "someone", place)
    sheet, *cells = last.saved
    assert (sheet.path.name, len(cells), maker.reads) == ("sheet.png", 4, 1)
    assert cells[3].label == "ddim, 3.0"
    parts = {"scheduler": ("ddim",)}
    options = {("guidance", "ldm-core:classifier_free", "scale"): "3"}
    alone = Filled(str(folder), parts, filled.settings, options, given, seed=5)
    [one] = made(maker, ask(folders, alone))
    assert Image.open(one).tobytes() == Image.open(cells[3].path).tobytes()


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
