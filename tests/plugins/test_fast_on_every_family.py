"""`fast` on every family: what is taken is said, with the reason, or that nothing pays; and what is
drawn then is what its measured error allows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.cli.tune import tune
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import apart
from tiny.covering import some_of

pytestmark = pytest.mark.usefixtures("small_references")
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
CALL: dict[str, Any] = {"seed": [1, 2], "num_inference_steps": 3, "output_type": "latent"}
MANY = 20  # steps, from which a cache of features is said to pay


@pytest.mark.parametrize("kind", [*some_of(KINDS, 2, 8), "AudioLDM 2"])
def test_what_is_chosen_is_said(kind: str, tmp_path: Path) -> None:
    """On a processor: OpenVINO for UNets, which loses nothing, and for transformers of many steps a
    cache, which does; of all that there is, why not."""
    folder = KINDS[kind].write(tmp_path / "model")
    taken: dict[str, list[str]] = {}
    for fast in ("lossless", "lossy"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given = {"model": str(folder), "device": "cpu", "fast": fast}
            composition = compose(given, installed())
        (said,) = [str(w.message) for w in caught if str(w.message).startswith("fast: ")]
        taken[fast] = [entry["name"] for entry in composition.recipe.get("converters", [])]
        for name in taken[fast]:
            assert name.removeprefix("ldm-core:") in said
            assert "of the time" in said
        assert bool(taken[fast]) or "nothing is taken" in said or "no installed converter" in said
        assert ("lossy" in said) == any(not c.lossless for c in composition.converters)
    assert all(part.lossless for part in composition.converters) or taken["lossy"]
    info = composition.info
    unet = any("UNet2D" in part.cls or "UNet3D" in part.cls for part in info.parts)
    steps = info.defaults["num_inference_steps"]
    if unet:
        assert "ldm-core:openvino" in taken["lossless"]
    if taken["lossless"]:
        assert unet or any("UNet" in part.cls for part in info.parts)
    if "ldm-core:feature_cache" in taken["lossy"]:
        assert steps >= MANY


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_what_is_said(kind: str, tmp_path: Path) -> None:
    folder = KINDS[kind].write(tmp_path / "model")
    call = {**CALL, **KINDS[kind].inputs_in(tmp_path)}
    plain = Pipeline.from_pretrained(folder, device="cpu")
    expected = plain(**call).images
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = Pipeline.from_pretrained(folder, device="cpu", fast="lossless")
        faster = Pipeline.from_pretrained(folder, device="cpu", fast="lossy")
        lossless = fast(**call).images
        lossy = faster(**call).images
    assert apart(lossless, expected) < 1e-4
    assert torch.isfinite(lossy).all()
    if faster.composition.converters:
        assert 0 < apart(lossy, expected) < 0.5
    else:
        assert lossy.equal(expected)


@pytest.mark.parametrize("kind", ["Wan 2.1", "Stable Audio"])
def test_what_pays_is_measured_on_videos_and_sounds(
    kind: str, pipes: Any, tmp_path: Path, capsys: Any
) -> None:
    """As long as is asked, and the recipe that is written draws."""
    given = KINDS[kind].inputs
    sides = {name: given[name] for name in ("width", "height") if name in given}
    (axis,) = given.keys() - {"prompt", *sides}
    pipe = pipes(kind).replace(num_inference_steps=2, **sides)
    out = tmp_path / "tuned.toml"
    only = ["feature_cache", "native"]
    length = f"{axis}={given[axis]}"
    tuned = tune(pipe, "a star", input=[length], only=only, rounds=1, lossy=True, out=out)
    assert [*tuned] == [out]
    assert "tried ldm-core:feature_cache (every = 2): " in capsys.readouterr().out
    again = compose({}, installed(), out)
    assert again.recipe["num_inference_steps"] == 2
    with pytest.raises(LdmError, match=axis):
        next(tune(pipe, "a star", input=[f"{axis}=x"], out=tmp_path / "no.toml"))
