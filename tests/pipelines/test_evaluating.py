"""``ldm evaluate``: figures of folders, how pictures find their references, and what is refused."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ldm_core import LdmError
from ldm_core.cli.asking import hub_for
from ldm_core.contracts import Metric, measures
from ldm_core.errors import LdmWarning, PluginError
from ldm_core.media.png import save_png
from ldm_core.plugins.registry import Plugin, Registry
from ldm_pipelines.evaluating.bootstrap import interval
from ldm_pipelines.evaluating.choices import names_in, parse
from ldm_pipelines.evaluating.evaluate import evaluate
from ldm_pipelines.evaluating.reconstruction import reconstruct
from ldm_pipelines.evaluating.table import Figure, Table

pytest.importorskip("torchmetrics")


def array(seed: int, side: int = 64) -> Any:
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 256, (side // 8, side // 8, 3)), np.ones((8, 8, 1)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Five pictures of two sizes, one in a folder within, and the same with noise, as JPEG's
    names and in another order of sizes."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    random = np.random.default_rng(0)
    for place in (first, second):
        (place / "in").mkdir()
    for index, name in enumerate(("a", "b", "in/a", "c", "d")):
        plain = array(index, 64 if index % 2 else 72)
        noisy = np.clip(plain + random.normal(0, 5 * (index + 1), plain.shape), 0, 255)
        Image.fromarray(plain.astype(np.uint8)).save(first / f"{name}.png")
        Image.fromarray(noisy.astype(np.uint8)).save(second / f"{name}.bmp")
    return first, second


def read(path: Path) -> Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def pairs_of(folders: tuple[Path, Path]) -> list[tuple[Tensor, Tensor]]:
    first, second = folders
    return [
        (read(path), read(second / path.relative_to(first).with_suffix(".bmp")))
        for path in sorted(first.rglob("*.png"))
    ]


def test_psnr_and_ssim_of_folders_are_torchmetrics_by_hand(folders: tuple[Path, Path]) -> None:
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    table = evaluate(folders[0], against=folders[1], metrics="psnr,ssim", batch_size=2)
    for name, kind in (("psnr", PeakSignalNoiseRatio), ("ssim", StructuralSimilarityIndexMeasure)):
        each = [float(kind(data_range=1.0)(a, b)) for a, b in pairs_of(folders)]
        assert table[name].value == pytest.approx(np.mean(each), rel=1e-5)
        assert sorted(table[name].each.values()) == pytest.approx(sorted(each), rel=1e-5)
    assert table["psnr"].unit == "dB"
    assert table.paired == "name"


def test_sets_of_folders_are_torchmetrics_by_hand(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Features of pictures of several sizes, and sets that are not of one number."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Mean(torch.nn.Module):
        num_features = 3

        def forward(self, x: Tensor) -> Tensor:
            return x.double().mean((2, 3))

    def of_mean(figure: Any) -> Metric:
        return Metric(lambda x: x.double().mean((2, 3)), "sets", figure=figure, least=2)

    from ldm_plugins.metrics.fid import frechet
    from ldm_plugins.metrics.kid import kernel

    (folders[1] / "d.bmp").rename(tmp_path / "d.bmp")
    try:
        fid, kid = (
            evaluate(folders[0], against=folders[1], metrics=of_mean(one), resamples=20)
            for one in (frechet, lambda a, b: kernel(a, b, size=4, subsets=30))
        )
        judge = FrechetInceptionDistance(feature=Mean(), normalize=True)
        other = KernelInceptionDistance(Mean(), subsets=30, subset_size=4, normalize=True)
        for one in (judge, other):
            for path in sorted(folders[1].rglob("*.bmp")):
                one.update(read(path), real=True)
            for path in sorted(folders[0].rglob("*.png")):
                one.update(read(path), real=False)
    finally:
        (tmp_path / "d.bmp").rename(folders[1] / "d.bmp")
    assert next(iter(fid)).value == pytest.approx(float(judge.compute()), rel=1e-4)
    torch.manual_seed(0)
    assert next(iter(kid)).value == pytest.approx(float(other.compute()[0]), rel=1e-4)
    assert (next(iter(fid)).count, next(iter(fid)).references) == (5, 4)


def test_what_cannot_be_paired_is_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a", "b", "e"):
        Image.fromarray(array(0).astype(np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(LdmError, match=r"without a partner by name \(4\): c, d, in/a, …"):
        evaluate(folders[0], against=tmp_path, metrics="psnr")
    with (
        pytest.warns(
            LdmWarning, match=r"is 72x72 pixels and its reference 64x64; such pairs \(1\)"
        ),
        pytest.warns(LdmWarning, match="without a partner"),
    ):
        table = evaluate(folders[0], against=tmp_path, metrics="psnr", skip_bad=True)
    assert [*table["psnr"].each] == ["b"]
    with pytest.raises(LdmError, match="cannot be paired by their order"):
        evaluate(folders[0], against=tmp_path, metrics="psnr", pair_by="order")


def test_pairs_by_seed_are_those_of_one_seed_and_input(tmp_path: Path) -> None:
    for folder, names in (("a", "123"), ("b", "312")):
        (tmp_path / folder).mkdir()
        for name in names:
            manifest = {"seed": int(name), "inputs": {"prompt": "a star"}}
            image = Image.fromarray(array(int(name)).astype(np.uint8))
            save_png(image, manifest, tmp_path / folder / f"{folder}{name}.png")
    table = evaluate(tmp_path / "a", against=tmp_path / "b", metrics="psnr", pair_by="seed")
    assert math.isinf(table["psnr"].value)  # each is its own reference
    assert table["psnr"].notes == ("3 pictures are equal to the reference, whose PSNR is infinite",)
    with pytest.raises(LdmError, match="no picture has the name of a reference"):
        evaluate(tmp_path / "a", against=tmp_path / "b", metrics="psnr")
    Image.fromarray(array(1).astype(np.uint8)).save(tmp_path / "a" / "plain.png")
    with pytest.raises(LdmError, match=r"'.*plain\.png' has no manifest with its seed"):
        evaluate(tmp_path / "a", against=tmp_path / "b", metrics="psnr", pair_by="seed")


def test_broken_pictures_are_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    whole = (folders[0] / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole)
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LdmError, match=r"'.*b\.png' cannot be read"):
        evaluate(tmp_path, against=folders[0], metrics="psnr")
    with pytest.warns(LdmWarning, match=r"'.*b\.png' cannot be read.*left out"):
        evaluate(tmp_path, metrics=brightness, skip_bad=True)
    (tmp_path / "sound.wav").write_bytes(b"RIFF")
    (tmp_path / "b.png").unlink()
    with pytest.warns(LdmWarning, match=r"holds sounds too \(1\)"):
        evaluate(tmp_path, metrics=brightness)
    with pytest.raises(LdmError, match=r"pictures are measured, and .* is a sound"):
        evaluate(tmp_path / "sound.wav", metrics=brightness)


@measures(lowest=0.0, highest=1.0)
def brightness(pictures: Tensor) -> Tensor:
    return pictures.mean((1, 2, 3))


def test_texts_are_those_of_the_folders_table_or_of_manifests(tmp_path: Path) -> None:
    seen: list[str] = []

    @measures("texts")
    def heard(pictures: Tensor, texts: list[str]) -> Tensor:
        seen.extend(texts)
        return torch.zeros(len(pictures))

    for name in "ab":
        image = Image.fromarray(array(0).astype(np.uint8))
        save_png(image, {"seed": 1, "inputs": {"prompt": f"of {name}"}}, tmp_path / f"{name}.png")
    evaluate(tmp_path, metrics=heard)
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,written\n")
    evaluate(tmp_path, metrics=heard)
    assert seen == ["of a", "of b", "written", "of b"]
    Image.fromarray(array(0).astype(np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(LdmError, match=r"no text is known of '.*c\.png'"):
        evaluate(tmp_path, metrics=heard)


def test_a_mean_has_the_interval_of_normal_theory() -> None:
    rows = torch.randn((400, 1), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = Metric(lambda pictures: pictures)
    low, high = interval(metric, float(rows.mean()), rows, resamples=4000) or (0, 0)
    half = 1.96 * float(rows.std()) / 20
    assert (low + high) / 2 == pytest.approx(float(rows.mean()), abs=0.05 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    again = interval(metric, float(rows.mean()), rows, resamples=4000)
    assert again == (low, high)
    assert interval(metric, float(rows.mean()), rows, resamples=0) is None
    assert interval(metric, math.inf, rows, resamples=100) is None


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Of a figure of two sets whose expectation is known."""

    def figure(a: Tensor, b: Tensor) -> float:
        return float((a.mean(0) - b.mean(0)).sum())

    metric = Metric(lambda pictures: pictures, "sets", figure=figure)
    generator, held = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        a, b = (torch.randn((30, 2), generator=generator).double() for _ in range(2))
        ends = interval(metric, figure(a, b), a, b, resamples=200)
        assert ends is not None
        held += ends[0] <= 0 <= ends[1]
    assert 0.9 <= held / 200 <= 0.985


@pytest.mark.parametrize(
    ("texts", "tables"),
    [
        (["psnr, ssim"], [{"name": "psnr"}, {"name": "ssim"}]),
        (["ldm-core:psnr"], [{"name": "ldm-core:psnr"}]),
        (
            ["kid:features=latents:shapes;subsets=3,psnr"],
            [{"name": "kid", "features": "latents:shapes", "subsets": "3"}, {"name": "psnr"}],
        ),
        (
            ["ldm-core:fid:features=clip:a/b"],
            [{"name": "ldm-core:fid", "features": "clip:a/b"}],
        ),
        (['{name = "kid", subsets = 3}'], [{"name": "kid", "subsets": 3}]),
    ],
)
def test_metrics_are_named_with_their_options(texts: list[str], tables: list[Any]) -> None:
    assert parse(texts) == tables


def test_the_hub_may_be_asked_for_what_options_name() -> None:
    tables = parse(["fid:features=clip:openai/a", "lpips:weights=timm/b;net=vgg,psnr"])
    permission = hub_for(names_in(tables))
    assert permission.names == {"openai/a", "timm/b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no name"),
        ("psnr,,ssim", "no name"),
        ("features=random", "an option and no name"),
        ("kid:features=random;subsets", "has no value"),
        ("kid:a=1;a=2", "given twice"),
        ("{name = 3}", "should be a table with a name"),
        ("{name", "cannot be read"),
        ('{name = "psnr"}\nother = 1', "should be a table with a name"),
    ],
)
def test_what_names_no_metric_is_refused(text: str, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        parse([text])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metrics": "psnr"}, "psnr measures pictures against others"),
        ({"metrics": "snr"}, "no metric named 'snr'. Did you mean 'psnr'"),
        ({"metrics": "psnr:a=1"}, "the metric 'psnr' has no option 'a'"),
        ({"metrics": "kid:features=random;subsets=no"}, "option 'subsets'"),
        ({"metrics": "psnr,psnr"}, "named twice"),
        ({"metrics": []}, "no metric is named"),
        ({"metrics": 3}, "a metric is a name"),
        ({"metrics": brightness, "against": "."}, "measures nothing against '.'"),
        ({"metrics": brightness, "device": "tpu"}, "no device named 'tpu'"),
        ({"metrics": brightness, "resamples": -1}, "resamples"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    arguments: dict[str, Any], words: str, folders: tuple[Path, Path]
) -> None:
    with pytest.raises(LdmError, match=words):
        evaluate(folders[0], **arguments)


def test_a_metric_that_lacks_its_package_says_how_to_install_it(
    folders: tuple[Path, Path],
) -> None:
    lacking = Metric(lambda x: x.mean((1, 2, 3)), needs=("no_such_module",), extra="metrics")
    with pytest.raises(LdmError, match=r"needs no_such_module.*\n.*ldm-core\[metrics\]"):
        evaluate(folders[0], metrics=lacking)


def test_numbers_that_are_none_are_told_with_their_picture(folders: tuple[Path, Path]) -> None:
    nan = Metric(lambda x: x.mean((1, 2, 3)) * float("nan"))
    with pytest.raises(LdmError, match=r"gives no number .* of 'a'"):
        evaluate(folders[0], metrics=nan)
    with pytest.raises(LdmError, match="a row for each of the"):
        evaluate(folders[0], metrics=Metric(lambda x: x))
    with pytest.raises(LdmError, match="gives one value a picture"):
        evaluate(folders[0], metrics=Metric(lambda x: x.mean((2, 3))))


def test_what_a_packages_metric_raises_is_that_packages_failure(
    folders: tuple[Path, Path],
) -> None:
    def broken(pictures: Tensor) -> Tensor:
        raise KeyError("missing")

    registry = Registry()
    registry.plugins.append(Plugin("metric", "mine", "ldm-more", "1.2", measures()(broken)))
    words = "the metric 'mine' of the package ldm-more 1.2 failed while it measured 'a'"
    with pytest.raises(PluginError, match=words):
        evaluate(folders[0], metrics="mine", registry=registry)


def test_a_reconstruction_is_what_encoding_and_decoding_make(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    from ldm_core import Pipeline

    file = tmp_path / "a.png"
    Image.fromarray(array(1).astype(np.uint8)).save(file)
    table = reconstruct(file, model="shapes", metrics=["psnr", "fid:features=random"][:1])
    pipe = Pipeline.from_pretrained("shapes")
    made = (pipe.decode(pipe.encode(str(file), seed=0)) / 2 + 0.5).clamp(0, 1)
    error = float((made - read(file)).square().mean())
    assert table["psnr"].value == pytest.approx(-10 * math.log10(error), rel=1e-4)
    with pytest.raises(LdmError, match="does not compare a reconstruction"):
        reconstruct(file, model="shapes", metrics=brightness)
    Image.fromarray(array(1)[:63].astype(np.uint8)).save(file)
    with pytest.raises(LdmError, match="is 64x63 pixels, and width and height must be multiples"):
        reconstruct(file, model="shapes", metrics="psnr")


def test_a_reconstruction_says_how_far_it_is(
    ldm: Any, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as tqdm takes it for a terminal
    run = ["evaluate", str(folders[0]), "--reconstruction", "--model", "shapes"]
    run += ["--metrics", "psnr"]
    code, _, err = ldm(*run)
    assert code == 0, err
    assert "reading weights:" in err
    assert "reconstructed:" in err
    assert ldm(*run, "-q")[::2] == (0, "")


def test_metrics_are_columns_of_a_comparison(ldm: Any, tmp_path: Path) -> None:
    """Of each cell the mean over its pictures, each against that of the same prompt and seed."""
    words = ["a red star", "a blue circle", "--over", "steps=1,2", "--seed", "3"]
    more = ["--metrics", "psnr,ssim", "--against", "steps=2", "--table", "t.json"]
    code, out, err = ldm("compare", *words, *more)
    assert code == 0, err
    first, second = json.loads((tmp_path / "t.json").read_text())
    files = [(a["file"], b["file"]) for a, b in zip(first["shots"], second["shots"], strict=True)]
    errors = [float((read(Path(a)) - read(Path(b))).square().mean()) for a, b in files]
    wanted = np.mean([-10 * math.log10(error) for error in errors])
    assert first["measured"]["psnr"] == pytest.approx(wanted, rel=1e-4)
    assert second["measured"]["ssim"] == pytest.approx(1, abs=1e-6)
    own = [-10 * math.log10(error) for error in errors]
    ends = first["measured"]["psnr low"], first["measured"]["psnr high"]
    assert ends == pytest.approx((min(own), max(own)), abs=0.1 * (max(own) - min(own)))  # of two
    assert second["measured"]["ssim low"] is None  # of the reference itself
    head = next(line for line in out.splitlines() if line.startswith("steps\t"))
    columns = ["psnr", "psnr low", "psnr high", "ssim", "ssim low", "ssim high"]
    assert [name for name in head.split("\t") if name[1:4] in ("snr", "sim")] == columns
    files_of = ["--table", "t.csv", "--page", "p.html"]
    code, _, err = ldm("compare", *words, *more[:2], *files_of, "--against", "steps=2")
    assert code == 0, err
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {name: float(rows[0][name]) for name in columns} == pytest.approx(
        {name: first["measured"][name] for name in columns}
    )
    assert rows[1]["ssim low"] == ""
    page = (tmp_path / "p.html").read_text()
    assert all(f'<th scope="col">{name}</th>' in page for name in columns)
    assert ldm("compare", *words, *more[:-1], "t.md")[0] == 0
    marked = (tmp_path / "t.md").read_text().splitlines()[0]
    assert [name for name in marked.strip("| ").split(" | ") if name in columns] == columns
    assert ldm("compare", *words, "--against", "steps=2", "--table", "own.json")[0] == 0
    own_words = json.loads((tmp_path / "own.json").read_text())[0]["measured"]
    assert own_words == pytest.approx({name: first["measured"][name] for name in own_words}, 1e-4)
    code, out, err = ldm("compare", *words, "--metrics", "psnr", "--out", "other")
    assert (code, out) == (2, "")
    assert "--against names it" in err
    assert not (tmp_path / "other").exists()


def test_the_command_prints_a_table_or_json(ldm: Any, folders: tuple[Path, Path]) -> None:
    first, second = map(str, folders)
    code, out, err = ldm("evaluate", first, "--against", second, "--each", "--resamples", "50")
    assert code == 0, err
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[0] == ["metric", "value", "95 % interval", "better", "pictures"]
    assert [line[0] for line in lines[1:3]] == ["psnr", "ssim"]
    assert [line[1] for line in lines[3:8]] == ["a", "b", "c", "d", "in/a"]
    code, out, err = ldm("evaluate", first, "--against", second, "--json", "--metrics", "psnr")
    assert code == 0, err
    (figure,) = json.loads(out)["figures"]
    assert figure["low"] < figure["value"] < figure["high"]
    assert f"{figure['value']:.5g} dB" == lines[1][1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "say what to measure"),
        (["--metrics", "psnr", "--reconstruction"], "by a --model"),
        (["--metrics", "psnr", "--model", "shapes"], "is for --reconstruction"),
        (["--reconstruction", "--model", "shapes", "--against", "."], "leave --against out"),
        (["--metrics", "psnr"], "--against FOLDER names them"),
    ],
)
def test_the_command_refuses(
    more: list[str], words: str, ldm: Any, folders: tuple[Path, Path]
) -> None:
    code, out, err = ldm("evaluate", str(folders[0]), *more)
    assert (code, out) == (2, "")
    assert words in err


def test_an_interval_lies_around_the_figure_though_halves_have_another() -> None:
    """A figure that grows with the number of pictures, as a Fréchet distance falls with it."""
    metric = Metric(lambda x: x, "sets", figure=lambda a, b: float(len(a)), least=2)
    rows = torch.zeros(10, 1, dtype=torch.float64)
    assert interval(metric, 10.0, rows, rows, resamples=5) == (10.0, 10.0)


def test_two_pictures_are_a_pair_and_one_is_too_few_for_a_set(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(array(0).astype(np.uint8)).save(tmp_path / name / f"{name}.png")
    table = evaluate(tmp_path / "a", against=tmp_path / "b", metrics="psnr")
    assert table["psnr"].value == math.inf
    few = Metric(lambda x: x.mean((2, 3)), "sets", figure=lambda a, b: 0.0, least=2)
    with pytest.raises(LdmError, match="needs at least 2 pictures in each folder, and there is 1"):
        evaluate(tmp_path / "a", against=tmp_path / "b", metrics=few)
    with pytest.raises(LdmError, match="'moving-shapes' is no model of pictures"):
        reconstruct(tmp_path / "a", model="moving-shapes", metrics="psnr")


def test_a_text_that_the_table_leaves_open_is_that_of_the_manifest(tmp_path: Path) -> None:
    seen: list[str] = []

    @measures("texts")
    def heard(pictures: Tensor, texts: list[str]) -> Tensor:
        seen.extend(texts)
        return torch.zeros(len(pictures))

    image = Image.fromarray(array(0).astype(np.uint8))
    save_png(image, {"seed": 1, "inputs": {"prompt": "of a"}}, tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": null}\n')
    evaluate(tmp_path, metrics=heard)
    assert seen == ["of a"]


def test_a_figure_is_found_by_its_whole_name_first() -> None:
    whole = Figure("fid", 1.0, None, None, "", False, 3, 3)
    other = Figure("fid[random]", math.inf, 0.5, 2.0, "", True, 3, 4)
    table = Table((whole, other), "a", "b")
    assert (table["fid"], table["fid[random]"]) == (whole, other)
    with pytest.raises(KeyError):
        Table((other, other), "a")["fid"]
    assert table.columns()[1] == [
        ("fid", "1", "", "lower", "3"),
        ("fid[random]", "infinite", "0.5 … 2", "higher", "3 against 4"),
    ]


def test_videos_are_measured_by_frames(tmp_path: Path) -> None:
    """As the same frames as pictures are; those of two lengths have no partners."""
    noise = np.random.default_rng(0)
    frames = [Image.fromarray(noise.integers(0, 255, (16, 16, 3), np.uint8)) for _ in range(6)]
    for name, some in (("a", frames[:3]), ("b", frames[3:]), ("c", frames[3:5])):
        for place in ("moving", "still/clip"):
            (tmp_path / name / place).mkdir(parents=True)
        file = tmp_path / name / "moving" / "clip.webp"
        some[0].save(file, save_all=True, append_images=some[1:], lossless=True, exact=True)
        for number, frame in enumerate(some):
            frame.save(tmp_path / name / "still" / "clip" / f"{number:04d}.png")
    metrics = ["psnr", "ssim", "fid:features=random"]
    with pytest.warns(LdmWarning, match="1 video is measured by frames .* 3 in all"):
        moving = evaluate(
            tmp_path / "a" / "moving", against=tmp_path / "b" / "moving", metrics=metrics
        )
    still = evaluate(tmp_path / "a" / "still", against=tmp_path / "b" / "still", metrics=metrics)
    assert [one.value for one in moving] == [one.value for one in still]
    assert moving["psnr"].each == still["psnr"].each
    with (
        pytest.warns(LdmWarning, match="by frames"),
        pytest.raises(LdmError, match=r"without a partner by name \(1\): clip/0002"),
    ):
        evaluate(tmp_path / "a" / "moving", against=tmp_path / "c" / "moving", metrics="psnr")
