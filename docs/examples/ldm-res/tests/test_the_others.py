"""Each of the other plugins is held to what it says of itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from ldm_res import plugin
from ldm_res.exact import exact
from ldm_res.held import held
from ldm_res.kaleidoscope import Turned
from ldm_res.laplace import laplace
from ldm_res.pruned import pruned
from ldm_res.res_2m import res_2m
from ldm_res.sharpness import sharpness
from torch.nn.functional import scaled_dot_product_attention

from ldm_core import LdmError, Pipeline
from ldm_core.conformance import SCHEDULES, check_attention, check_spacing
from ldm_core.contracts import Part
from ldm_core.plugins.registry import Registry, discover

MEAN, STD = 0.25, 0.3125
"""The two weights of the model."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    """What is installed, and this package, whether it is installed or not."""
    registry = discover(entry_points(group="ldm"), disable=[], allow=[])
    if not registry.named("ldm-res:res_2m", "scheduler"):
        registry.add(plugin, "ldm-res", "0.2.0")
    return registry


@pytest.fixture(scope="module")
def gauss(registry: Registry) -> Pipeline:
    return Pipeline.from_pretrained("gauss", registry=registry)


def test_the_model_draws_what_it_says_it_draws(gauss: Pipeline) -> None:
    """An exact model and a solver of order two: mean and spread come out, and more steps help."""
    x0 = gauss(seed=[*range(64)], output_type="latent", num_inference_steps=40).images
    count = x0.numel()
    assert x0.mean().item() == pytest.approx(MEAN, abs=4 * STD / count**0.5)
    assert x0.std().item() == pytest.approx(STD, rel=0.02)


def test_twice_the_steps_make_a_quarter_of_the_error(gauss: Pipeline) -> None:
    """The probability flow keeps a pixel's standard score: the exact end is MEAN + STD·noise."""
    exact = MEAN + STD * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(7))
    pipe = gauss.replace(spacing="laplace")
    ends = [pipe(seed=7, output_type="latent", num_inference_steps=n).images for n in (80, 160)]
    coarse, fine = ((end - exact).norm().item() for end in ends)
    assert 3 < coarse / fine < 5


def test_the_spacing_is_one() -> None:
    check_spacing(laplace)


def test_points_crowd_where_the_spacing_says() -> None:
    schedule = SCHEDULES["vp"]
    points = laplace(schedule, 41, mean=1.0, width=0.5)[1:-1]
    assert sorted(points, key=lambda p: abs(p.half_log_snr - 1.0))[0] in points[18:23]
    narrow = [p for p in points if abs(p.half_log_snr - 1.0) < 0.5]
    assert len(narrow) / len(points) == pytest.approx(1 - 2.718281828**-1, abs=0.05)


def test_the_kernel_is_attention_in_float64() -> None:
    check_attention(exact)
    q, k, v = torch.randn(3, 1, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    wide = scaled_dot_product_attention(q.double(), k.double(), v.double(), scale=0.5)
    assert exact(q, k, v, None, 0.5).equal(wide.float())


def test_the_bound_holds_for_each_image_alone() -> None:
    x0 = torch.stack([torch.linspace(-4, 4, 9), torch.linspace(-0.4, 0.4, 9)])
    bound = held(lambda x, point: x0, spread=1.0)(x0, None)  # type: ignore[arg-type]
    assert bound.std(1)[0].item() == pytest.approx(1.0)
    assert bound[1].equal(x0[1])
    assert held(sum, spread=None) is sum  # type: ignore[arg-type]


@pytest.mark.parametrize("folds", [1, 2, 4])
def test_pictures_look_alike_when_turned(folds: int) -> None:
    x0 = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    turned = Turned([folds, 1]).denoise(lambda x, point: x0)(x0, None)  # type: ignore[arg-type]
    assert turned[0].rot90(4 // folds, (-2, -1)).allclose(turned[0], atol=1e-6)
    assert turned[1].equal(x0[1])
    assert (folds == 1) == turned[0].equal(x0[0])


def test_four_folds_need_a_square(gauss: Pipeline) -> None:
    turned = gauss.replace(conditioning=["kaleidoscope"])
    picture = turned(seed=3, output_type="latent").images[0]
    assert picture.rot90(1, (-2, -1)).allclose(picture, atol=1e-5)
    with pytest.raises(LdmError, match="only a square picture has four folds"):
        turned(seed=3, width=24)
    turned(seed=3, width=24, folds=2)


def test_the_guidance_is_none_at_scale_one(gauss: Pipeline) -> None:
    plain = gauss(seed=5, output_type="latent").images
    one = gauss.replace(guidance={"name": "rising", "scale": 1.0})
    assert one(seed=5, output_type="latent").images.allclose(plain, atol=1e-5)


def test_pruning_takes_the_smallest_and_leaves_the_model_as_it_was() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(4, 5))
    with torch.no_grad():
        network[0].weight.copy_(torch.arange(1.0, 21.0).reshape(5, 4))
    part = Part(network, "network", torch.device("cpu"), torch.float32)
    thin = pruned(share=0.25).part(part).module[0]
    assert thin.weight.flatten().tolist() == [0.0] * 5 + [*map(float, range(6, 21))]
    assert network[0].weight.flatten()[:5].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert pruned(share=0.0).part(part) is part
    text = replace(part, role="text")
    assert pruned(share=0.5).part(text) is text


def test_the_solver_is_the_one_by_which_the_model_is_drawn(gauss: Pipeline) -> None:
    (manifest,) = gauss(seed=1, num_inference_steps=2).manifests
    assert "scheduler ldm-res:res_2m" in manifest["plugins"]
    assert res_2m.order == 2


def test_the_observer_says_how_much_changed(
    gauss: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    gauss.replace(observers=["changes"])(seed=1, num_inference_steps=4)
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = said.err.splitlines()
    assert last.startswith("x0 changed by ")
    assert len(last.split()) == 3 + 3  # four evaluations


def test_a_checkerboard_is_as_sharp_as_a_picture_can_be() -> None:
    """Each pixel has four neighbours of the other colour, so the Laplacian is 4 or -4; a ramp has
    none."""
    rows, columns = torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij")
    board = ((rows + columns) % 2).float().expand(1, 3, 10, 10)
    ramp = (rows / 9).expand(1, 3, 10, 10)
    sharp, smooth = sharpness(torch.cat([board, ramp])).tolist()
    assert sharp == pytest.approx(4 * (64 / 63) ** 0.5, rel=1e-5)
    assert smooth == pytest.approx(0, abs=1e-6)


def test_commands_are_built_without_a_pipeline() -> None:
    """`ladder` names the class for type checkers alone, as importing it is slow."""
    import subprocess

    home = str(Path(plugin.__file__).parents[1])
    script = f"import sys; sys.path.insert(0, {home!r}); import ldm_res.ladder; "
    script += "assert 'torch' not in sys.modules and 'ldm_core.run.pipeline' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603
