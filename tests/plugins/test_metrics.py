"""Metrics against torchmetrics called by hand, closed forms, and double loops."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from ldm_core import LdmError
from ldm_core.composition.parts import make
from ldm_core.contracts import Metric
from ldm_core.plugins.registry import installed
from ldm_pipelines.evaluating.evaluate import evaluate
from ldm_plugins.metrics.fid import frechet
from ldm_plugins.metrics.kid import kernel
from ldm_plugins.metrics.shared import random_convolutions
from ldm_plugins.metrics.shared.inception import inception
from tiny.tokenizers import write_clip_tokenizer

pytest.importorskip("torchmetrics")

JUDGES = Path(sys.prefix) / "judges"
"""What `constraints-judges.txt` names."""


def metric(name: str, **options: Any) -> Metric:
    made: Metric = make("metric", {"name": name, **options}, installed(), [], {})
    return made


def pictures(count: int = 6, side: int = 64, seed: int = 0) -> Tensor:
    """In 8 bits, as files hold them."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((count, 3, 6, 6), generator=generator)
    smooth = nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


# Pairs


def test_psnr_is_that_of_the_definition() -> None:
    a, b = pictures(), pictures(seed=1)
    errors = ((a - b).double().numpy() ** 2).mean((1, 2, 3))
    wanted = -10 * np.log10(errors)
    np.testing.assert_allclose(metric("psnr").rows(a, b)[:, 0], wanted, rtol=1e-6)


def test_psnr_of_equal_pictures_is_infinite_and_said() -> None:
    a = pictures()
    rows = metric("psnr").rows(a, torch.cat([a[:2], a[:4]]))
    assert rows.isinf().sum() == 2
    note = metric("psnr").note
    assert note is not None
    assert note(rows).startswith("2 pictures are equal")
    assert note(rows[2:]) == ""


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_structural_similarity_is_torchmetrics_one_by_one(name: str) -> None:
    from torchmetrics.image import (
        MultiScaleStructuralSimilarityIndexMeasure,
        StructuralSimilarityIndexMeasure,
    )

    kinds = {
        "ssim": StructuralSimilarityIndexMeasure,
        "ms_ssim": MultiScaleStructuralSimilarityIndexMeasure,
    }
    a, b = pictures(3, 176), (pictures(3, 176) * 0.8 + pictures(3, 176, seed=1) * 0.2)
    wanted = [
        float(kinds[name](data_range=1.0)(x[None].double(), y[None].double()))
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(metric(name).rows(a, b)[:, 0], wanted, rtol=1e-5)
    even = torch.full((1, 3, 176, 176), 77 / 255)
    even[..., 60:90, 60:90] = 0.9
    assert float(metric(name).rows(even, even)) == pytest.approx(1, abs=1e-9)
    with pytest.raises(LdmError, match="pixels"):
        metric(name).rows(a[..., :10], b[..., :10])


def torchvisions_alexnet() -> nn.Sequential:
    layers = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)]
    layers += [nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1)]
    layers += [nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2)]
    return nn.Sequential(*layers)


def torchvisions_vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for count, channels in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(count):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2, stride=2))
    return nn.Sequential(*layers)


def _saved(rows: Tensor, folder: Path) -> Tensor:
    """Pictures as files of 8 bits, and what is in them."""
    folder.mkdir()
    eight = (rows * 255).round().to(torch.uint8)
    for index, row in enumerate(eight):
        Image.fromarray(row.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    return eight.float() / 255


@pytest.mark.parametrize(
    ("net", "network"), [("alex", torchvisions_alexnet), ("vgg", torchvisions_vgg16)]
)
def test_lpips_is_torchmetrics_with_the_same_weights(
    net: str, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's weights are random; those of the channels, the paper's, are torchmetrics' own
    file there, and the one that ships here."""
    from torchmetrics.functional.image import lpips as theirs

    torch.manual_seed(0)
    features = network()
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda name, pretrained: features)
    judge = theirs._LPIPS(net=net)
    a, b = pictures(2), pictures(2, seed=1)
    wanted = judge(a, b, normalize=True).flatten().detach()
    weights = {f"features.{k}": v.contiguous() for k, v in features.state_dict().items()}
    save_file(weights, tmp_path / "net.safetensors")
    ours = metric("lpips", weights=str(tmp_path / "net.safetensors"), net=net)
    rows = ours.rows(a, b)[:, 0]
    assert wanted.min() > 1e-4
    np.testing.assert_allclose(rows, wanted, rtol=1e-5)
    read = [_saved(one, tmp_path / name) for one, name in ((a, "a"), (b, "b"))]
    of_files = judge(*read, normalize=True).flatten().detach()
    table = evaluate(tmp_path / "a", against=tmp_path / "b", metrics=ours)
    (figure,) = table
    np.testing.assert_allclose([*figure.each.values()], of_files, rtol=1e-5)
    assert figure.value == pytest.approx(float(of_files.mean()), rel=1e-5)
    save_file({k: v / 2 for k, v in weights.items()}, tmp_path / "net.safetensors")
    assert (ours.rows(a, b)[:, 0] - rows).abs().min() > 1e-4  # the file's, as it is now
    other = "vgg" if net == "alex" else "alex"
    with pytest.raises(LdmError, match="of another network"):
        metric("lpips", weights=str(tmp_path), net=other).rows(a, b)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "alexnet.pth"
    torch.save({}, file)
    with pytest.raises(LdmError, match=r"should be a \.safetensors file"):
        metric("lpips", weights=str(file))
    with pytest.raises(LdmError, match="holds 0 safetensors files"):
        metric("fid", features=f"inception:{tmp_path}")


# Sets


class Unlike(nn.Module):
    """Torchmetrics' own way to features: a module."""

    num_features = 128

    def forward(self, x: Tensor) -> Tensor:
        return random_convolutions.rows(x).double()


def test_fid_is_torchmetrics_with_the_same_features() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = pictures(150), pictures(140, seed=1) * 0.9
    judge = FrechetInceptionDistance(feature=Unlike(), normalize=True)
    judge.update(b, real=True)
    judge.update(a, real=False)
    ours = metric("fid", features="random")
    figure = ours.of_rows(ours.rows(a), ours.rows(b))
    assert figure == pytest.approx(float(judge.compute()), rel=1e-4)
    assert ours.label == "fid[random convolutions]"


def test_kid_is_torchmetrics_with_the_same_features_and_draws() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = pictures(60), pictures(60, seed=1)
    judge = KernelInceptionDistance(feature=Unlike(), subsets=7, subset_size=20, normalize=True)
    judge.update(b, real=True)
    judge.update(a, real=False)
    torch.manual_seed(0)
    wanted, _ = judge.compute()
    ours = metric("kid", features="random", subsets=7, subset_size=20)
    figure = ours.of_rows(ours.rows(a), ours.rows(b))
    assert figure == pytest.approx(float(wanted), rel=1e-3)


def exact(count: int, mean: Tensor, deviations: Tensor, seed: int) -> Tensor:
    """Samples whose own mean and covariance are these to the last digit."""
    x = torch.randn(
        (count, len(mean)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    x = x - x.mean(0)
    root = torch.linalg.cholesky(x.T @ x / (count - 1))
    return torch.linalg.solve_triangular(root, x.T, upper=False).T * deviations + mean


def test_the_frechet_distance_of_two_gaussians_of_known_moments() -> None:
    """Of covariances that commute it is |m|² + Σ (s - s')² (Dowson & Landau 1982)."""
    values = 5
    m, s = torch.arange(values).double(), torch.linspace(0.5, 2.0, values).double()
    other_m, other_s = (
        torch.full((values,), 0.5).double(),
        torch.linspace(3.0, 0.1, values).double(),
    )
    a, b = exact(200, m, s, 0), exact(90, other_m, other_s, 1)
    wanted = float((m - other_m).square().sum() + (s - other_s).square().sum())
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-9)
    turn, _ = torch.linalg.qr(torch.randn(values, values, dtype=torch.float64))
    assert frechet(a @ turn, b @ turn) == pytest.approx(wanted, rel=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_few_pictures_are_said() -> None:
    note = metric("fid", features="random").note
    assert note is not None
    said = note(torch.zeros(40, 64), torch.zeros(90, 64))
    assert "40 pictures cannot fill the 64 features" in said
    assert note(torch.zeros(65, 64), torch.zeros(90, 64)) == ""


def test_the_kernel_distance_is_the_double_sum_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn((9, 4), generator=generator, dtype=torch.float64) + n for n in (0, 0.5))

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 4 + 1) ** 3

    own = [k(a[i], a[j]) for a in (x, y) for i in range(9) for j in range(9) if i != j]
    across = [k(a, b) for a in x for b in y]
    wanted = sum(own) / (9 * 8) - 2 * sum(across) / 81
    assert kernel(x, y, size=1000, subsets=100) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_the_paper_one_by_one(k: int) -> None:
    a = torch.cat([pictures(6), pictures(6, seed=2) ** 4])
    b = torch.cat([pictures(6), pictures(9, seed=1) * 0.3])

    def share(inner: Tensor, outer: Tensor) -> float:
        count = 0
        for x in inner:
            for y in outer:
                reach = sorted(float((y - z).norm()) for z in outer)[k]
                if float((x - y).norm()) <= reach:
                    count += 1
                    break
        return count / len(inner)

    for name, turned in (("precision", False), ("recall", True)):
        ours = metric(name, features="random", k=k)
        rows, others = ours.rows(a), ours.rows(b)
        wanted = share(others, rows) if turned else share(rows, others)
        assert ours.of_rows(rows, others) == wanted
        assert 0 < wanted < 1
        assert ours.of_rows(rows, rows) == 1


def test_random_convolutions_are_the_same_everywhere() -> None:
    """So that figures of two machines compare: a hash of what they make of a grey ramp."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    rows = metric("fid", features="random").rows(ramp)[0]
    assert rows.shape == (128,)
    assert float(rows.sum()) == pytest.approx(22.153953, rel=1e-5)


def test_the_network_of_the_papers_has_as_many_weights_as_it_is_known_for() -> None:
    """Keras' InceptionV3 without its classes has 21,768,352 weights, without scales, and 34,432
    statistics."""
    network = inception()
    scales = {id(m.weight) for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
    assert sum(p.numel() for p in network.parameters() if id(p) not in scales) == 21_768_352
    statistics = (b for n, b in network.named_buffers() if "running" in n)
    assert sum(b.numel() for b in statistics) == 34_432


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """torchmetrics' own network of the papers' weights, which torch-fidelity's is and which scales
    pictures by itself, with weights that keep pictures apart."""
    if not (JUDGES / "torch_fidelity").is_dir():
        pytest.skip(f"torch-fidelity is not in {JUDGES}, where `make test` puts it")
    from torchmetrics.image import fid
    from torchmetrics.utilities import imports

    package = ModuleType("torch_fidelity")  # without its own beginning, which asks for torchvision
    package.__path__ = [str(JUDGES / "torch_fidelity")]
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(imports, "_TORCH_FIDELITY_AVAILABLE", True)
    theirs = import_module("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
    found = spec_from_file_location("fid_with_torch_fidelity", fid.__file__)
    assert found is not None
    assert found.loader is not None
    again = module_from_spec(found)
    found.loader.exec_module(again)
    with monkeypatch.context() as patch, torch.random.fork_rng():
        patch.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        torch.manual_seed(0)
        judge = again.NoTrainInceptionV3("inception-v3-compat", ["2048"])
        for module in judge.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    yield judge
    for name in [name for name in sys.modules if name.startswith("torch_fidelity.")]:
        del sys.modules[name]


def test_features_of_inception_are_torchmetrics_of_any_size(judge: Any, tmp_path: Path) -> None:
    weights = {name: value.contiguous() for name, value in judge.state_dict().items()}
    save_file(weights, tmp_path / "inception.safetensors")
    ours = metric("fid", features=f"inception:{tmp_path / 'inception.safetensors'}")
    for height, width in ((64, 64), (299, 299), (320, 240)):
        generator = torch.Generator().manual_seed(height)
        x = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            wanted = judge(x)
        assert (wanted[0] - wanted[1]).abs().max() > 0.1  # other pictures are far from these
        torch.testing.assert_close(ours.rows(x / 255).float(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ("latent:shapes", "Did you mean 'latents'"),
        ("latents", "name what makes them, as latents:MODEL"),
        ("latents:nothing", "nothing"),
        ("clip:nowhere", "there is no folder 'nowhere'"),
        ("inception:nowhere.safetensors", "there is no file"),
        ("", "there are no features ''"),
    ],
)
def test_features_that_there_are_not_are_refused(features: str, words: str) -> None:
    with pytest.raises(LdmError, match=words):
        metric("fid", features=features)


def test_features_are_named_by_the_person() -> None:
    with pytest.raises(LdmError, match="needs the option 'features'"):
        metric("fid")


def test_latents_are_the_models_own() -> None:
    """Means over 4x4 cells of what the pipeline's encoder gives."""
    from ldm_core import Pipeline

    a = pictures(3)
    pipe = Pipeline.from_pretrained("shapes")
    latents = pipe.encode(a, seed=[0, 0, 0])
    cells = latents.unflatten(2, (4, -1)).unflatten(4, (4, -1)).mean((3, 5))
    rows = metric("kid", features="latents:shapes").rows(a)
    np.testing.assert_allclose(rows, cells.flatten(1), atol=1e-5)


# Texts


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**small, "vocab_size": 200, "max_position_embeddings": 12, "eos_token_id": 1},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size=32, crop_size=32).save_pretrained(folder)
    write_clip_tokenizer(folder)
    return folder


def test_the_clip_score_is_that_of_transformers_forward(clip: Path) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizerFast

    a, texts = pictures(3), ["a red star", "a blue circle", "star"]
    model, tokenizer = CLIPModel.from_pretrained(clip), CLIPTokenizerFast.from_pretrained(clip)
    wanted = []
    for one, text in zip(a, texts, strict=True):
        image = Image.fromarray((one * 255).round().byte().permute(1, 2, 0).numpy())
        pixels = CLIPImageProcessorPil.from_pretrained(clip)([image], return_tensors="pt")
        with torch.no_grad():
            out = model(**tokenizer(text, return_tensors="pt"), **pixels)
        wanted.append(100 * float((out.image_embeds * out.text_embeds).sum()))
    rows = metric("clip", model=str(clip)).rows(a, texts)
    np.testing.assert_allclose(rows[:, 0], wanted, atol=1e-4)
    assert len({round(w, 3) for w in wanted}) == 3


def test_long_texts_are_said(clip: Path) -> None:
    with pytest.warns(UserWarning, match=r"longer than the 12 tokens that CLIP reads \(1 of 2\)"):
        metric("clip", model=str(clip)).rows(pictures(2), ["star " * 40, "star"])


def test_clip_features_are_the_projected_ones(clip: Path) -> None:
    rows = metric("fid", features=f"clip:{clip}").rows(pictures(2))
    assert rows.shape == (2, 12)


def test_what_is_no_clip_model_is_refused_before_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(LdmError, match="of the type 'bert'"):
        metric("clip", model=str(tmp_path))


def test_distances_of_sets_are_in_float64_and_leave_torchs_noise_as_it_is() -> None:
    """A mean far from zero is no part of a Fréchet distance."""
    from ldm_plugins.metrics.fid import frechet
    from ldm_plugins.metrics.kid import kernel

    draws = torch.Generator().manual_seed(0)
    a, b = (torch.randn(60, 3, dtype=torch.float64, generator=draws) for _ in range(2))
    assert frechet(a + 1e4, b + 1e4) == pytest.approx(frechet(a, b), rel=1e-5)
    before = torch.get_rng_state()
    kernel(a, b, size=5, subsets=3)
    assert torch.get_rng_state().equal(before)
