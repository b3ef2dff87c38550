"""The package of the guide to plugins, as it was written for the hook API 2.0, on the host of now:
nothing of it is warned of, and each of its plugins does what it did."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from ldm_core import Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.plugins.registry import Registry, discover, installed

PAGE = Path(__file__).parent / "hook_api" / "package_2_0.md"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The installed plugins and those of the package."""
    place = tmp_path_factory.mktemp("package")
    for match in re.finditer(
        r'^```python title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.M | re.S
    ):
        file = place / match[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(match[2])
    sys.path.insert(0, str(place))
    both = Registry()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LdmWarning)
        mine = discover([EntryPoint("mine", "ldm_mine.plugin", "ldm")], [], [])
    assert not mine.failures
    both.plugins += [*installed().plugins, *mine.plugins]
    both.models += mine.models
    yield both
    sys.path.remove(str(place))
    for name in [n for n in sys.modules if n.partition(".")[0] == "ldm_mine"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def pipe(package: Registry, folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder, registry=package, num_inference_steps=3)


def latents(pipe: Pipeline, **call: Any) -> Tensor:
    images: Tensor = pipe("a star", seed=[1, 2], output_type="latent", **call).images
    return images


CHOICES: list[dict[str, Any]] = [
    {"scheduler": "ralston"},
    {"scheduler": "warm"},
    {"scheduler": {"name": "twice", "inner": "ralston"}},
    {"spacing": "power"},
    {"spacing": "by_size"},
    {"guidance": "interval"},
    {"guidance": "steady"},
    {"guidance": "at_most"},
    {"conditioning": ["text", "symmetry"]},
    {"conditioning": ["text", "then"]},
    {"attention": "plain"},
    {"denoisers": ["percentile"]},
    {"converters": ["int8"]},
    {"converters": ["reuse"]},
]


@pytest.mark.filterwarnings("error::ldm_core.errors.LdmWarning")
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_each_plugin_draws(pipe: Pipeline, choice: dict[str, Any]) -> None:
    drawn, plain = latents(pipe.replace(**choice)), latents(pipe)
    assert drawn.isfinite().all()
    [value] = choice.values()
    name = (
        value if isinstance(value, str) else dict(value)["name"] if isinstance(value, dict) else ""
    )
    name = name or value[-1]
    plugin = next(p for p in pipe.composition.registry.plugins if p.name == name)
    assert plugin.distribution == "unknown"
    if name in ("plain", "then"):  # the same, but for rounding
        assert drawn.allclose(plain, atol=1e-4)
    else:
        assert not drawn.allclose(plain, atol=1e-4) or name in ("percentile", "at_most")


@pytest.mark.filterwarnings("error::ldm_core.errors.LdmWarning")
def test_its_encoder_decoder_observer_and_writer_work(
    pipe: Pipeline, tmp_path: Path, package: Registry
) -> None:
    from ldm_core.media.writers import find_writer

    watched = pipe.replace(
        decoder="sketch", observers=[{"name": "norms", "path": str(tmp_path / "norms.csv")}]
    )
    out = watched("a star", seed=1, output_type="pt")
    assert out.images.shape == (1, 3, 16, 16)
    assert len((tmp_path / "norms.csv").read_text().splitlines()) == 4
    encoded = pipe.replace(encoder={"name": "averages", "draws": 2}).encode(out.images)
    assert encoded.shape == latents(pipe)[:1].shape
    assert find_writer(pipe.composition).suffix == ".png"
    gif = package.find("writer", "unknown:gif")  # a later release has one of that name too
    assert gif.loaded.suffix == ".gif"


def test_all_of_it_is_tried(package: Registry) -> None:
    mine = {p.name for p in package.plugins if p.distribution == "unknown"}
    tried = {word for choice in CHOICES for word in re.findall(r"\w+", str(choice))}
    elsewhere = {"sketch", "averages", "norms", "gif"}
    families_and_commands = {"film", "frames", "halved", "compare", "count pixels", "collect"}
    assert mine <= tried | elsewhere | families_and_commands
