"""AnimateDiff of a Stable Diffusion folder and a motion adapter: Diffusers' videos from the two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from diffusers import AnimateDiffPipeline, MotionAdapter

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from tiny.lora import ATTENTION, write_lora
from video_peers import video_distance

SMALL: dict[str, Any] = {"height": 16, "width": 24}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, ``model``, and an adapter, ``adapter``."""
    home = tmp_path_factory.mktemp("adapted")
    tiny.write_stable_diffusion(home / "model")
    return tiny.write_motion_adapter(home / "adapter").parent


def named(home: Path, **choices: Any) -> dict[str, Any]:
    components = {"motion_adapter": home / "adapter"}
    return {"model": str(home / "model"), "components": components, **choices}


def animated(home: Path, **choices: Any) -> Pipeline:
    recipe = named(home, **choices)
    return Pipeline.from_pretrained(recipe.pop("model"), **recipe)


def peer_of(home: Path) -> Any:
    adapter = MotionAdapter.from_pretrained(home / "adapter")
    return AnimateDiffPipeline.from_pretrained(home / "model", motion_adapter=adapter)


@pytest.mark.parametrize("call", [{}, {"guidance_scale": 1.0}], ids=["plain", "no guidance"])
def test_nothing_chosen_gives_what_diffusers_gives(home: Path, call: dict[str, Any]) -> None:
    pipe = animated(home)
    assert pipe.model.info.family == "animatediff"
    assert pipe.model.info.default_extent["frames"] == 8
    assert video_distance(pipe, peer_of(home), frames=4, **SMALL, **call) < 1e-5


def test_a_lora_gives_what_diffusers_gives(home: Path, tmp_path: Path) -> None:
    peer = peer_of(home)
    peer.save_pretrained(tmp_path / "whole")
    file = write_lora(
        AnimateDiffPipeline, tmp_path / "whole", tmp_path, {"unet": ATTENTION}, seed=5
    )
    peer.load_lora_weights(tmp_path)
    pipe = animated(home, loras=[str(file)])
    assert video_distance(pipe, peer, frames=3, **SMALL) < 1e-5


def test_the_command_line_and_replay(
    home: Path, tmp_path: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is named from the current folder; the manifest names it in full, and its hash is
    part of the model's."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    code, out, err = ldm(
        "explain", "--model", "model", "--set", 'components={ motion_adapter = "adapter" }'
    )
    assert f"its motion_adapter is that in {tmp_path / 'home' / 'adapter'}" in out, err
    code, out, err = ldm(
        *("generate", "a red star", "--model", "model", "--steps", "2", "--seed", "7"),
        *("--set", 'components={ motion_adapter = "adapter" }', "--size", "16x16"),
        *("--frames", "2", "--format", "webp_animation", "--json"),
    )
    assert code == 0, err
    made = json.loads(out)
    code, out, err = ldm("replay", "--allow-files", made["path"], "--json")
    assert code == 0, err
    again = json.loads(out)
    assert (again["differs"], again["verdict"].split(",")[0]) == ([], "the same video")
    tiny.write_motion_adapter(tmp_path / "home" / "adapter", seed=4)
    code, out, err = ldm("replay", "--allow-files", made["path"], "--json")
    assert code == 0, err
    assert "the model's files are not those of then" in json.loads(out)["differs"]


@pytest.mark.parametrize(
    ("unet", "adapter", "message"),
    [
        ({"use_linear_projection": True}, {}, "whose use_linear_projection is False"),
        ({"attention_head_dim": (4, 8)}, {}, "as Stable Diffusion 2"),
        ({"mid_block_type": None}, {}, "whose mid_block_type is 'UNetMidBlock2DCrossAttn'"),
        ({"in_channels": 9}, {}, "takes 9 channels"),
        ({}, {"block_out_channels": (32, 32)}, "its widths are .32, 32., and those of"),
        ({}, {"motion_layers_per_block": 2}, "its layers in each block are .2, 2."),
        ({}, {"motion_norm_num_groups": 4}, "its groups of each norm are 4"),
        ({}, {"conv_in_channels": 9}, "a first layer of its own"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, unet: dict[str, Any], adapter: dict[str, Any], message: str
) -> None:
    tiny.write_stable_diffusion(tmp_path / "model", **unet)
    tiny.write_motion_adapter(tmp_path / "adapter", **adapter)
    with pytest.raises(LdmError, match=message):
        compose(named(tmp_path))


def test_what_is_no_adapter_or_not_taken_is_refused(home: Path, tmp_path: Path) -> None:
    model, adapter = str(home / "model"), str(home / "adapter")

    def refuses(message: str, components: dict[str, str], model: str = model) -> None:
        with pytest.raises(LdmError, match=message):
            compose({"model": model, "components": components})

    refuses("is a UNet2DConditionModel, and should be a", {"motion_adapter": f"{model}/unet"})
    refuses("there is no folder", {"motion_adapter": f"{adapter}-2"})
    refuses(r"takes no .* names of vae = .*AutoencoderKL", {"vae": f"{model}/vae"})
    both = {"motion_adapter": adapter, "vae": f"{model}/vae"}
    refuses(r"takes no .* names of motion_adapter", both)
    refuses("no name of a component", {"_class_name": adapter})
    xl = tiny.write_stable_diffusion_xl(tmp_path / "xl")
    refuses("takes no component of another folder", {"motion_adapter": adapter}, str(xl))
    bare = shutil.copytree(adapter, tmp_path / "bare")
    next(Path(bare).glob("*.safetensors")).unlink()
    refuses("weights", {"motion_adapter": str(bare)})


def test_a_network_that_is_read_quantised_is_refused(home: Path) -> None:
    pytest.importorskip("torchao")
    with pytest.raises(LdmError, match="cannot be quantised while it is read"):
        animated(home, converters=["quantize"])("a star", seed=1, frames=2)


def test_the_adapter_belongs_to_the_weights(home: Path) -> None:
    pipe = animated(home)
    with pytest.raises(LdmError, match="'components' belongs to the weights"):
        pipe.replace(components={})


def test_a_model_s_own_recipe_names_no_components(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    own = tmp_path / "home" / "model" / "ldm.toml"
    own.write_text('components = { motion_adapter = "adapter" }')
    with pytest.raises(LdmError, match="does not say which components it has"):
        compose({"model": str(tmp_path / "home" / "model")})
