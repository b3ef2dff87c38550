"""LoRA on shared weights: what Diffusers' own pipelines draw with the same files."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.media.png import read_png
from ldm_core.model.lora import as_lora
from peers import apart, rounded
from tiny.lora import ATTENTION, write_lora

CALL: dict[str, Any] = {"num_inference_steps": 3, "output_type": "latent"}
CLIP = ["q_proj", "k_proj", "v_proj", "out_proj"]


@pytest.fixture(scope="module")
def ink(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the network alone."""
    to = tmp_path_factory.mktemp("ink")
    return write_lora(StableDiffusionPipeline, folder, to, {"unet": ATTENTION}, 1)


@pytest.fixture(scope="module")
def snow(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the network and the text encoder."""
    to = tmp_path_factory.mktemp("snow")
    targets = {"unet": ["conv1", *ATTENTION], "text_encoder": CLIP}
    return write_lora(StableDiffusionPipeline, folder, to, targets, 2)


@pytest.fixture(scope="module")
def kohya(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Named as kohya-ss' trainer does, whose alpha of 1 at rank 4 scales by a quarter."""
    generator = torch.Generator().manual_seed(3)
    names = {
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": 32,
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v": 16,
        "lora_te_text_model_encoder_layers_1_self_attn_v_proj": 32,
        "lora_te_text_model_encoder_layers_1_self_attn_out_proj": 32,
    }
    state = {}
    for name, width in names.items():
        state[f"{name}.lora_down.weight"] = torch.randn(4, width, generator=generator)
        state[f"{name}.lora_up.weight"] = torch.randn(width, 4, generator=generator)
        state[f"{name}.alpha"] = torch.tensor(1.0)
    path = tmp_path_factory.mktemp("kohya") / "old.safetensors"
    save_file(state, path)
    return path


@pytest.mark.parametrize(
    "scales",
    [
        {"unet": {"down": {"block_0": 0.5}, "mid": 0.0}, "text_encoder": 0.0},
        {"unet": {"up": {"block_1": [0.1, -2.0]}, "down": 0.3}},
        {"text_encoder": 2.0, "unet": 0.25},
        {"text_encoder": 0.0},
    ],
    ids=str,
)
def test_scales_by_part_and_block_are_those_of_diffusers(
    folder: Path, pipe: Pipeline, snow: Path, ink: Path, scales: dict[str, Any]
) -> None:
    ours = pipe.replace(loras=[{"path": str(snow), "scales": scales}, f"{ink}:0.5"])
    found = ours("a red star", seed=3, **CALL).images
    expected = diffusers_latents(StableDiffusionPipeline, folder, [(snow, scales), (ink, 0.5)])
    assert apart(found, expected) < 1e-5
    whole = pipe.replace(loras=[snow, f"{ink}:0.5"])
    assert apart(found, whole("a red star", seed=3, **CALL).images) > 1e-4
    assert ours.recipe["loras"][0] == {"path": str(snow), "scales": scales}


@pytest.mark.parametrize(
    ("scales", "match"),
    [
        ({"vae": 1.0}, "no component that a LoRA may change; those of this model are unet"),
        ({"text_encoder": 1.0}, "'text_encoder', which it does not change; it changes unet"),
        ({"unet": {"down": {"block_7": 1.0}}}, r"'unet'.down with a scale of 'block_7'; what has"),
        ({"unet": {"middle": 1.0}}, "with a scale of 'middle'; what has attention there is down"),
        ({"unet": {"up": {"block_1": [1.0, 2.0, 3.0]}}}, "with 3 scales for 2 transformers"),
        ({"unet": [1.0]}, "with a list"),
    ],
    ids=str,
)
def test_scales_that_would_do_nothing_are_refused(
    pipe: Pipeline, ink: Path, scales: dict[str, Any], match: str
) -> None:
    with pytest.raises(LdmError, match=match):
        pipe.replace(loras=[{"path": str(ink), "scales": scales}])("a star", seed=1, **CALL)


@pytest.mark.parametrize(
    "entry",
    [
        {"scales": 1},
        {"scales": {}},
        {"scales": {"unet": "1"}},
        {"scales": {"unet": 1}, "scale": 1},
    ],
)
def test_scales_are_a_table_of_numbers(entry: dict[str, Any]) -> None:
    with pytest.raises(LdmError, match="scales"):
        as_lora({"path": "a.safetensors", **entry})


def test_blocks_of_a_transformer_have_no_names(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path / "flux")
    file = write_lora(FluxPipeline, folder, tmp_path, {"transformer": ATTENTION[:3]}, 1)
    pipe = Pipeline.from_pretrained(folder)
    loras = [{"path": str(file), "scales": {"transformer": {"down": 1.0}}}]
    with pytest.raises(LdmError, match="a FluxTransformer2DModel has no blocks that Diffusers"):
        pipe.replace(loras=loras)("a star", seed=1, width=64, height=64, **CALL)


def diffusers_latents(
    cls: type[DiffusionPipeline], model: Path, loras: list[tuple[Path, Any]], **call: Any
) -> torch.Tensor:
    pipeline: Any = cls.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    names = [f"number_{index}" for index in range(len(loras))]
    for name, (path, _) in zip(names, loras, strict=True):
        pipeline.load_lora_weights(str(path), adapter_name=name)
    if loras:
        pipeline.set_adapters(names, [scale for _, scale in loras])
    generator = [torch.Generator().manual_seed(3)]
    found = pipeline("a red star", generator=generator, **{**CALL, **call}).images
    return torch.as_tensor(found)


def latents(pipeline: Pipeline, **call: Any) -> torch.Tensor:
    found: torch.Tensor = pipeline("a red star", seed=3, **{**CALL, **call}).images
    return found


@pytest.mark.parametrize(
    "choice",
    [
        [("ink", 1.0)],
        [("ink", 0.4)],
        [("snow", -0.7)],
        [("kohya", 0.5)],
        [("ink", 0.5), ("snow", 1.5)],
        [("kohya", 0.2), ("snow", 0.4), ("ink", 0.3)],
    ],
    ids=str,
)
def test_it_draws_what_diffusers_draws(
    folder: Path,
    pipe: Pipeline,
    choice: list[tuple[str, float]],
    request: pytest.FixtureRequest,
) -> None:
    files = [(request.getfixturevalue(name), scale) for name, scale in choice]
    with_them = pipe.replace(loras=[{"path": path, "scale": scale} for path, scale in files])
    found = latents(with_them)
    assert apart(found, diffusers_latents(StableDiffusionPipeline, folder, files)) < 1e-5
    assert apart(found, latents(pipe)) > 1e-2


def test_they_come_off_bit_for_bit(pipe: Pipeline, ink: Path, snow: Path) -> None:
    before = latents(pipe)
    weights = {name: p.clone() for name, p in pipe.model.parts["unet"].module.named_parameters()}
    one = pipe.replace(loras=[ink])
    both = one.replace(loras=[ink, f"{snow}:0.5"], scheduler="euler")
    latents(both)
    off = both.replace(loras=[], scheduler="ddim")
    assert off.model is pipe.model
    assert off.recipe["loras"] == []
    assert torch.equal(latents(off), before)
    assert torch.equal(latents(pipe), before)
    now = dict(pipe.model.parts["unet"].module.named_parameters())
    assert {*now} == {*weights}
    assert all(torch.equal(now[name], weights[name]) for name in weights)


def test_another_choice_keeps_the_lora(pipe: Pipeline, ink: Path) -> None:
    one = pipe.replace(loras=ink)
    other = one.replace(scheduler="euler")
    assert other.model is one.model
    assert torch.equal(latents(other), latents(pipe.replace(scheduler="euler", loras=[ink])))
    assert not torch.equal(latents(other), latents(pipe.replace(scheduler="euler")))


def test_loaded_with_the_model_or_put_on_later(folder: Path, pipe: Pipeline, snow: Path) -> None:
    at_once = Pipeline.from_pretrained(folder, num_inference_steps=4, loras=[snow])
    assert torch.equal(latents(at_once), latents(pipe.replace(loras=[snow])))
    assert torch.equal(latents(at_once.replace(loras=[])), latents(pipe))


def test_as_a_converter_it_is_what_the_recipes_loras_are(pipe: Pipeline, snow: Path) -> None:
    converter = {"name": "lora", "files": [f"{snow}:0.5"]}
    found = latents(pipe.replace(converters=[converter]))
    assert torch.equal(found, latents(pipe.replace(loras=[f"{snow}:0.5"])))
    with pytest.raises(LdmError, match=r"no LoRA file 'nowhere.safetensors'"):
        pipe.replace(converters=[{"name": "lora", "files": ["nowhere.safetensors"]}])
    with pytest.raises(LdmError, match="needs at least one file"):
        pipe.replace(converters=[{"name": "lora", "files": []}])


def test_files_of_a_converter_are_in_the_manifest_and_held_to_it_by_replay(
    folder: Path, pipe: Pipeline, snow: Path, tmp_path: Path, ldm: Any
) -> None:
    assert not {"lossless", "converter_files"} & pipe("a star", **CALL).manifests[0].keys()
    listed = pipe.replace(loras=[snow])("a star", **CALL).manifests[0]
    assert (listed["lossless"], listed["converter_files"]) == (False, {})
    file, recipe = tmp_path / "own.safetensors", tmp_path / "recipe.toml"
    file.write_bytes(snow.read_bytes())
    recipe.write_text(f"""model = "{folder}"
converters = [{{ name = "lora", files = ["{file}"] }}]
""")
    code, out, err = ldm("generate", "a star", "--recipe", recipe, "--steps", 2, "--seed", 7,
        "--out", tmp_path)  # fmt: skip
    assert code == 0, err
    picture = out.strip().splitlines()[-1]
    written = read_png(Path(picture))[1]
    assert written["lossless"] is False
    assert written["converter_files"] == {str(file): sha256(file.read_bytes()).hexdigest()}
    code, out, err = ldm("replay", "--allow-files", picture)
    assert (code, "differs" in err, "pixel for pixel" in out) == (0, False, True)
    save_file({name: tensor * 2 for name, tensor in load_file(file).items()}, file)
    code, out, err = ldm("replay", "--allow-files", picture)
    assert (code, "another picture" in out) == (0, True)
    assert err.count(f"the converter's file {file} is not that of then") == 1


def test_no_weight_is_held_twice(pipe: Pipeline, snow: Path) -> None:
    """The tensors of a pipeline with a LoRA are the model's own ones and the file's."""
    for part in ("unet", "text_encoder"):
        base = {p.data_ptr() for p in pipe.model.parts[part].module.parameters()}
        with_it = list(pipe.replace(loras=[snow]).model.parts[part].module.parameters())
        assert {p.data_ptr() for p in with_it} > base
        new = sum(p.numel() for p in with_it if p.data_ptr() not in base)
        held = load_file(snow).items()
        assert new == sum(t.numel() for name, t in held if name.startswith(part))
        assert not any(p.requires_grad for p in with_it)


def test_two_loras_on_one_model_in_two_threads(pipe: Pipeline, ink: Path, snow: Path) -> None:
    pair = [pipe.replace(loras=[ink]), pipe.replace(loras=[f"{snow}:0.5"]), pipe]
    alone = [latents(one, num_inference_steps=8) for one in pair]
    found: dict[int, torch.Tensor] = {}

    def draw(index: int) -> None:
        found[index] = latents(pair[index], num_inference_steps=8)

    threads = [Thread(target=draw, args=(index,)) for index in range(len(pair))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        assert torch.equal(found[index], expected)


@pytest.mark.parametrize(
    ("cls", "write", "targets"),
    [
        (
            StableDiffusionXLPipeline,
            tiny.write_stable_diffusion_xl,
            {"unet": ATTENTION, "text_encoder": CLIP, "text_encoder_2": CLIP},
        ),
        (
            StableDiffusion3Pipeline,
            tiny.write_stable_diffusion_3,
            {"transformer": ATTENTION, "text_encoder": CLIP, "text_encoder_2": CLIP},
        ),
        (
            FluxPipeline,
            tiny.write_flux,
            {"transformer": [*ATTENTION, "proj_mlp"], "text_encoder": CLIP},
        ),
    ],
    ids=["stable_diffusion_xl", "stable_diffusion_3", "flux"],
)
def test_other_families(
    tmp_path: Path, cls: Any, write: Callable[[Path], Path], targets: dict[str, list[str]]
) -> None:
    folder = write(tmp_path / "model")
    file = write_lora(cls, folder, tmp_path / "lora", targets, 5)
    size = {"width": 32, "height": 32}
    expected = diffusers_latents(cls, folder, [(file, 0.6)], **size)
    plain = Pipeline.from_pretrained(folder)
    found = latents(plain.replace(loras=[f"{file}:0.6"]), **size)
    if cls is FluxPipeline:  # gives its latents packed: 2x2 of them in a row of channels
        batch, channels, height, width = found.shape
        found = found.reshape(batch, channels, height // 2, 2, width // 2, 2)
        found = found.permute(0, 2, 4, 1, 3, 5).reshape(expected.shape)
    assert apart(found, expected) < 1e-5
    assert not torch.equal(latents(plain, **size).flatten(), found.flatten())


def test_half_precision_stays_half(folder: Path, snow: Path) -> None:
    pipeline = Pipeline.from_pretrained(
        folder, dtype="bfloat16", compute_dtype="bfloat16", loras=[snow]
    )
    for part in ("unet", "text_encoder"):
        dtypes = {p.dtype for p in pipeline.model.parts[part].module.parameters()}
        assert dtypes == {torch.bfloat16}
    assert latents(pipeline).isfinite().all()


def test_on_weights_kept_in_half_precision_it_loses_nothing(folder: Path, snow: Path) -> None:
    kept = Pipeline.from_pretrained(folder, dtype="bfloat16", loras=[snow])
    exact = rounded(folder, "bfloat16")
    assert apart(latents(kept), latents(exact.replace(loras=[snow]))) < 1e-5
    assert apart(latents(kept.replace(loras=[])), latents(exact)) < 1e-5


def test_a_lora_of_another_family_is_refused_and_leaves_nothing(
    tmp_path: Path, pipe: Pipeline, ink: Path
) -> None:
    sdxl = tiny.write_stable_diffusion_xl(tmp_path / "model")
    targets = {"unet": ATTENTION}
    file = write_lora(StableDiffusionXLPipeline, sdxl, tmp_path / "xl", targets, 6)
    shape = {"block_out_channels": (24, 48), "norm_num_groups": 4}
    wide = tiny.write_stable_diffusion(tmp_path / "wide", **shape)
    broad = write_lora(StableDiffusionPipeline, wide, tmp_path / "broad", targets, 7)
    before = latents(pipe)
    for stranger in (file, broad):
        with pytest.raises(LdmError, match=r"does not fit the model .*stable_diffusion"):
            pipe.replace(loras=[ink, stranger])
    assert torch.equal(latents(pipe), before)
    with pytest.raises(LdmError, match=r"does not fit the model .*stable_diffusion_xl"):
        Pipeline.from_pretrained(sdxl, loras=[ink])


def test_keys_that_have_no_place(tmp_path: Path, pipe: Pipeline, kohya: Path) -> None:
    state = load_file(kohya)
    nowhere = {k.replace("lora_unet_mid", "lora_unet_far"): v for k, v in state.items()}
    save_file(nowhere, tmp_path / "partly.safetensors")
    with pytest.warns(LdmWarning, match="1 of its 4 layers have no place"):
        pipe.replace(loras=[tmp_path / "partly.safetensors"])
    strange = {f"planner.a.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(strange, tmp_path / "none.safetensors")
    with pytest.raises(LdmError, match="does not fit"):
        pipe.replace(loras=[tmp_path / "none.safetensors"])


def test_dora_magnitudes_are_refused(tmp_path: Path, pipe: Pipeline, kohya: Path) -> None:
    state = load_file(kohya)
    name = next(iter(state)).partition(".")[0]
    save_file({**state, f"{name}.dora_scale": torch.ones(1)}, tmp_path / "dora.safetensors")
    with pytest.raises(LdmError, match="DoRA"):
        pipe.replace(loras=[tmp_path / "dora.safetensors"])


def test_without_peft_it_says_what_to_install(
    folder: Path, ink: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldm_plugins.converters.lora.find_spec", lambda name: None)
    with pytest.raises(LdmError, match=r"pip install 'ldm-core\[lora\]'"):
        Pipeline.from_pretrained(folder, loras=[ink])


def test_a_family_whose_pipeline_reads_none(tmp_path: Path, ink: Path) -> None:
    folder = tiny.write_dit(tmp_path)
    with pytest.raises(LdmError, match=r"family dit\) takes no LoRA: Diffusers' DiTPipeline"):
        Pipeline.from_pretrained(folder, loras=[ink])


def test_the_command_line_and_what_replay_says(
    folder: Path, ink: Path, tmp_path: Path, ldm: Any
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(ink.read_bytes())
    code, out, _ = ldm("explain", "--model", folder, "--lora", f"{file}:0.5", "--steps", 3)
    assert code == 0
    assert f"LoRA {file}, scale 0.5" in out
    made = ldm("generate", "a red star", "--model", folder, "--lora", f"{file}:0.5", "--steps", 2,
        "--seed", 7, "--out", tmp_path)  # fmt: skip
    assert made[0] == 0, made
    picture = made[1].strip().splitlines()[-1]
    code, out, err = ldm("replay", "--allow-files", picture)
    assert (code, "differs" in err) == (0, False)
    assert "pixel for pixel" in out
    state = load_file(file)
    save_file({name: tensor * 2 for name, tensor in state.items()}, file)
    code, out, err = ldm("replay", "--allow-files", picture)
    assert code == 0
    assert f"the LoRA {file} is not the file of then" in err
    assert "another picture" in out
    file.unlink()
    code, _, err = ldm("replay", "--allow-files", picture)
    assert (code, f"no LoRA file '{file}'" in err) == (2, True)
    code, out, err = ldm("replay", "--allow-files", picture, "--lora", f"{ink}:0.5")
    assert (code, "differs" in err) == (0, False)
    assert "pixel for pixel" in out
