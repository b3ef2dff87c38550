"""Flux's models for other tasks than text: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import FluxPipeline, FluxPriorReduxPipeline
from PIL import Image
from transformers import SiglipImageProcessorPil

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from peers import Unpacked, apart, distance_to_peer

SMALL = {"width": 24, "height": 16, "num_inference_steps": 3}
PROMPTS = ["a red star", "a blue circle"]


def picture(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    noise = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (height, width, 3), generator=noise)
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def cover(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    """A mask whose pixels are black or white by lot."""
    noise = torch.Generator().manual_seed(seed)
    pixels = torch.randint(2, (height, width), generator=noise) * 255
    return Image.fromarray(pixels.to(torch.uint8).numpy())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("flux")
    pipelines = {
        "Kontext": {"pipeline": "FluxKontextPipeline", "halvings": 4},
        "Fill": {"pipeline": "FluxFillPipeline"},
        "Control": {"pipeline": "FluxControlPipeline"},
        "plain": {},
    }
    return {name: tiny.write_flux(place / name, **more) for name, more in pipelines.items()}


def peer(folder: Path, cls: str) -> Unpacked:
    return Unpacked(getattr(diffusers, cls).from_pretrained(folder))


KONTEXT = {"width": 64, "height": 32, "num_inference_steps": 2}


@pytest.mark.parametrize(
    "size", [(100, 40), pytest.param((33, 90), marks=pytest.mark.slow)], ids=["wide", "tall"]
)
def test_kontext_sees_a_picture_as_in_diffusers(
    folders: dict[str, Path], size: tuple[int, int]
) -> None:
    pipe = Pipeline.from_pretrained(folders["Kontext"])
    assert pipe.recipe["num_inference_steps"] == 28
    assert pipe.recipe["guidance"] == {"name": "embedded", "scale": 3.5}
    both = [picture(1, *size), picture(2, *size)]
    distance = distance_to_peer(
        pipe,
        peer(folders["Kontext"], "FluxKontextPipeline"),
        {"reference": both},
        {"image": both, "max_area": 64 * 32},
        **KONTEXT,
    )
    assert distance < 1e-5


@pytest.mark.slow
def test_kontext_draws_from_text_alone(folders: dict[str, Path]) -> None:
    theirs = peer(folders["Kontext"], "FluxKontextPipeline")
    pipe = Pipeline.from_pretrained(folders["Kontext"])
    assert distance_to_peer(pipe, theirs, their={"max_area": 64 * 32}, **KONTEXT) < 1e-5


@pytest.mark.slow
def test_kontext_takes_true_guidance_from_the_same_picture(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["Kontext"]).replace(guidance={"true_scale": 3.0})
    both = [picture(1, 70, 64), picture(2, 70, 64)]
    distance = distance_to_peer(
        pipe,
        peer(folders["Kontext"], "FluxKontextPipeline"),
        {"reference": both},
        {"image": both, "max_area": 64 * 32, "true_cfg_scale": 3.0},
        negative_prompt=["green", "a circle"],
        **KONTEXT,
    )
    assert distance < 1e-5


def test_each_image_sees_its_own_picture_of_its_own_shape(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["Kontext"])
    prompts = ["a red star", "a large blue circle on the green square", "a star", "a circle"]
    references = [picture(1, 40, 30), picture(2, 20, 70), None, picture(3, 40, 30)]
    call: dict[str, Any] = {**KONTEXT, "num_inference_steps": 1, "output_type": "latent"}
    four = pipe(prompts, seed=[1, 2, 3, 4], reference=references, **call).images
    for i in range(4):
        alone = pipe(prompts[i], seed=i + 1, reference=[references[i]], **call).images
        assert apart(four[i], alone[0]) < 1e-5


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_fill_takes_the_masked_picture_as_in_diffusers(
    folders: dict[str, Path], strength: float
) -> None:
    pipe = Pipeline.from_pretrained(folders["Fill"])
    assert pipe.recipe["num_inference_steps"] == 50
    assert pipe.recipe["guidance"] == {"name": "embedded", "scale": 30.0}
    masks = [cover(1), cover(2)]
    distance = distance_to_peer(
        pipe,
        peer(folders["Fill"], "FluxFillPipeline"),
        {"mask": masks},
        {"mask_image": masks},
        image=[picture(3), picture(4)],
        strength=strength,
        **SMALL,
    )
    assert distance < 1e-5


def test_a_control_picture_is_more_channels_as_in_diffusers(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["Control"])
    assert pipe.recipe["guidance"] == {"name": "embedded", "scale": 3.5}
    call = {"control_image": [picture(5), picture(6)], **SMALL}
    theirs = peer(folders["Control"], "FluxControlPipeline")
    assert distance_to_peer(pipe, theirs, **call) < 1e-5


def test_a_controlled_start_from_a_picture_is_that_of_diffusers(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["Control"])
    pipe = pipe.replace(conditioning=["text", "control_channels", "image"])
    call = {
        "control_image": [picture(5), picture(6)],
        "image": [picture(7), picture(8)],
        "strength": 0.6,
        "guidance_scale": 7.0,
        **SMALL,
    }
    theirs = peer(folders["Control"], "FluxControlImg2ImgPipeline")
    assert distance_to_peer(pipe, theirs, **call) < 1e-5


def box(width: int, height: int) -> Image.Image:
    """A mask whose edges lie between tokens."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 4, height // 4, width // 2, height // 2))
    return mask


@pytest.mark.parametrize("strength", [0.6, pytest.param(1.0, marks=pytest.mark.slow)])
def test_controlled_repainting_is_that_of_diffusers(
    folders: dict[str, Path], strength: float
) -> None:
    pipe = Pipeline.from_pretrained(folders["Control"])
    pipe = pipe.replace(conditioning=["text", "control_channels", "mask"])
    call = {
        "control_image": [picture(5, 32, 16), picture(6, 32, 16)],
        "image": [picture(7, 32, 16), picture(8, 32, 16)],
        "strength": strength,
        **{**SMALL, "width": 32},
    }
    theirs = peer(folders["Control"], "FluxControlInpaintPipeline")
    # which first draws for a masked picture that it then does not use
    prepare = theirs.pipeline.prepare_mask_latents
    theirs.pipeline.prepare_mask_latents = lambda *args: prepare(*args[:-1], None)
    masks = [box(32, 16)] * 2
    own = {"guidance_scale": 7.0}
    distance = distance_to_peer(
        pipe, theirs, {"mask": masks, **own}, {"mask_image": masks, **own}, **call
    )
    assert distance < 1e-5


@pytest.mark.slow
def test_repainting_after_a_picture_is_that_of_diffusers(folders: dict[str, Path]) -> None:
    """Which scales the picture that is repainted too, and takes the mean of its posterior."""
    pipe = Pipeline.from_pretrained(folders["Kontext"], encoder={"sample": False})
    pipe = pipe.replace(conditioning=["text", "reference", "mask"])
    theirs = peer(folders["Kontext"], "FluxKontextInpaintPipeline")
    theirs.set_progress_bar_config(disable=True)
    mask = box(1024, 1024)
    call: dict[str, Any] = {"image": picture(1, 1024, 1024), "strength": 0.9}
    call |= {"width": 1024, "height": 1024, "num_inference_steps": 2}
    shown = picture(2, 90, 90)
    for output_type in ("latent", "np"):
        both = {**call, "output_type": output_type}
        draws = [torch.Generator().manual_seed(3)]
        expected = theirs(
            prompt="a red star", generator=draws, mask_image=mask, image_reference=shown, **both
        ).images
        found = pipe("a red star", seed=3, mask=mask, reference=shown, **both).images
        assert apart(found, expected) < 1e-5


@pytest.mark.parametrize("name", ["Fill", "Control"])
def test_an_image_of_four_is_what_it_is_alone(folders: dict[str, Path], name: str) -> None:
    pipe = Pipeline.from_pretrained(folders[name])
    prompts = ["a red star", "a large blue circle on the green square", "a star", "a circle"]
    pictures, masks = [picture(i) for i in range(4)], [cover(i) for i in range(4)]
    own = {"image": pictures, "mask": masks} if name == "Fill" else {"control_image": pictures}
    call: dict[str, Any] = {**SMALL, "num_inference_steps": 2, "output_type": "latent"}
    four = pipe(prompts, seed=[1, 2, 3, 4], **own, **call).images
    for i in range(4):
        mine = {key: [values[i]] for key, values in own.items()}
        assert apart(four[i], pipe(prompts[i], seed=i + 1, **mine, **call).images[0]) < 1e-5


@pytest.fixture(scope="module")
def redux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_redux(tmp_path_factory.mktemp("redux"))


def prior(redux: Path, model: FluxPipeline) -> Any:
    names = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    parts = {name: getattr(model, name) for name in names}
    processor = SiglipImageProcessorPil.from_pretrained(redux / "feature_extractor")
    return FluxPriorReduxPipeline.from_pretrained(redux, feature_extractor=processor, **parts)


def varied(pipe: Pipeline, redux: Path, **options: Any) -> Pipeline:
    return pipe.replace(conditioning=[{"name": "redux", "path": str(redux), **options}])


@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.6, 0.3)])
def test_a_picture_becomes_words_as_in_diffusers(
    folders: dict[str, Path], redux: Path, scales: tuple[float, float]
) -> None:
    """Two pictures for one image, whose states are summed."""
    model = FluxPipeline.from_pretrained(folders["plain"])
    model.set_progress_bar_config(disable=True)
    pictures = [picture(1, 40, 30), picture(2, 20, 30)]
    embeds = prior(redux, model)(
        pictures,
        prompt=["a red star"] * 2,
        prompt_embeds_scale=[scales[0]] * 2,
        pooled_prompt_embeds_scale=[scales[1]] * 2,
    )
    call: dict[str, Any] = {**SMALL, "output_type": "latent"}
    draws = [torch.Generator().manual_seed(3)]
    expected = model(**embeds, generator=draws, **call).images
    expected = model._unpack_latents(expected, 16, 24, model.vae_scale_factor)
    pipe = varied(
        Pipeline.from_pretrained(folders["plain"]), redux, scale=scales[0], pooled_scale=scales[1]
    )
    found = pipe("a red star", seed=3, prompt_image=[pictures], **call).images
    assert apart(found, expected) < 1e-5


def test_an_encoder_whose_config_is_edited_is_read_again(
    folders: dict[str, Path], redux: Path, tmp_path: Path
) -> None:
    """Its weights are those of before, and a pipeline that has it is still there."""
    folder = shutil.copytree(redux, tmp_path / "redux")
    call: dict[str, Any] = {**SMALL, "output_type": "latent", "prompt_image": [picture(1)]}
    plain = Pipeline.from_pretrained(folders["plain"])
    before = varied(plain, folder)
    first = before(seed=3, **call).images
    config = folder / "image_encoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "layer_norm_eps": 0.5}))
    assert apart(varied(plain, folder)(seed=3, **call).images, first) > 1e-4
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 1}))
    with pytest.raises(LdmError, match=r"image_encoder .* has .* weights that its config has no"):
        varied(plain, folder)(seed=3, **call)


def test_without_a_prompt_the_texts_states_are_zeros(folders: dict[str, Path], redux: Path) -> None:
    model = FluxPipeline.from_pretrained(folders["plain"])
    model.set_progress_bar_config(disable=True)
    reader = prior(redux, model)
    words = reader.image_embedder(reader.encode_image(picture(1), "cpu", 1)).image_embeds
    embeds = torch.cat([torch.zeros(1, 512, 32), words], dim=1)
    call: dict[str, Any] = {**SMALL, "output_type": "latent"}
    expected = model(
        prompt_embeds=embeds.detach(),
        pooled_prompt_embeds=torch.zeros(1, 24),
        generator=[torch.Generator().manual_seed(3)],
        **call,
    ).images
    expected = model._unpack_latents(expected, 16, 24, model.vae_scale_factor)
    pipe = varied(Pipeline.from_pretrained(folders["plain"]), redux)
    found = pipe(seed=[3, 4], prompt_image=[picture(1), picture(2)], **call).images
    assert apart(found[:1], expected) < 1e-5
    assert apart(found[1], found[0]) > 0.01


def test_a_redux_folder_that_does_not_fit_is_refused(
    folders: dict[str, Path], redux: Path, tmp_path: Path
) -> None:
    other = tiny.write_redux(tmp_path / "wide", width=48)
    for path, message in (
        (other, "gives states of width 48, and the network reads 32"),
        (folders["plain"], "should be the folder of a FluxPriorReduxPipeline"),
        (tmp_path, "has no model_index.json"),
    ):
        recipe = {"name": "redux", "path": str(path)}
        with pytest.raises(LdmError, match=message):
            compose({"model": str(folders["plain"]), "conditioning": [recipe]}, installed())
    sd = tiny.write_stable_diffusion_3(tmp_path / "sd3")
    recipe = {"name": "redux", "path": str(redux)}
    with pytest.raises(LdmError, match="reads no pictures as words"):
        compose({"model": str(sd), "conditioning": [recipe]}, installed())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Fill", {"in_channels": 32}, "takes 32 channels a token.* 48 with what a FluxFill"),
        ("Control", {"in_channels": 16}, "takes 16 channels a token.* 32 with what"),
        ("Control", {"out_channels": None}, "gives 32 channels a token, and should give 16"),
        ("Kontext", {"in_channels": 32}, "takes 32 channels a token"),
    ],
)
def test_a_network_of_another_task_is_refused(
    folders: dict[str, Path], tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "other"))
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


def test_a_network_that_needs_a_picture_is_given_one(folders: dict[str, Path]) -> None:
    for name, need in (("Fill", "inpainting"), ("Control", "control_channels")):
        with pytest.raises(LdmError, match=f"must be conditioned by '{need}'"):
            compose({"model": str(folders[name]), "conditioning": ["text"]}, installed())
    pipe = Pipeline.from_pretrained(folders["Control"])
    with pytest.raises(LdmError, match="control_image is 8x8 pixels and 24x16"):
        pipe("a star", control_image=picture(1, 8, 8), **SMALL)
