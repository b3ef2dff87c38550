"""The FLUX.2 family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch.nn.functional import pixel_unshuffle
from transformers import Mistral3ForConditionalGeneration, PreTrainedTokenizerFast

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import LatentShape, as_spacing
from ldm_core.numerics.noise_schedule import FlowSchedule
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared.reference_latents import Flux2References
from ldm_plugins.spacings.trailing import trailing
from peers import Flux2Peer, apart, distance_to_peer

SMALL = {"width": 24, "height": 16, "num_inference_steps": 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("flux_2")
    return {
        "dev": tiny.write_flux_2(place / "dev", "Flux2Pipeline"),
        "klein": tiny.write_flux_2(place / "klein"),
        "distilled": tiny.write_flux_2(place / "distilled", distilled=True),
    }


def _dev(folder: Path) -> Any:
    """Dev's pipeline with the folder's tokenizer in place of the processor that it lies in, which
    needs torchvision."""
    parts = {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler,
        "vae": diffusers.AutoencoderKLFlux2,
        "text_encoder": Mistral3ForConditionalGeneration,
        "tokenizer": PreTrainedTokenizerFast,
        "transformer": diffusers.Flux2Transformer2DModel,
    }
    read = {name: part.from_pretrained(folder / name) for name, part in parts.items()}
    return diffusers.Flux2Pipeline(**read)


def peer(folders: dict[str, Path], name: str) -> Flux2Peer:
    made = _dev if name == "dev" else diffusers.Flux2KleinPipeline.from_pretrained
    return Flux2Peer(made(folders[name]))


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    noise = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (height, width, 3), generator=noise)
    return Image.fromarray(pixels.to(torch.uint8).numpy())


GUIDANCE = {
    "dev": {"name": "embedded", "scale": 4.0},
    "klein": {"name": "classifier_free", "scale": 4.0},
    "distilled": {"name": "none"},
}


@pytest.mark.parametrize("name", GUIDANCE)
def test_nothing_chosen_gives_what_diffusers_gives(folders: dict[str, Path], name: str) -> None:
    pipe = Pipeline.from_pretrained(folders[name])
    assert pipe.recipe["num_inference_steps"] == (4 if name == "distilled" else 50)
    assert pipe.recipe["guidance"] == GUIDANCE[name]
    assert pipe.model.info.default_extent == {"width": 256, "height": 256}
    assert distance_to_peer(pipe, peer(folders, name), **SMALL) < 1e-5


def test_its_own_class_of_diffusers_is_told_the_same_shift(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["distilled"])
    own = pipe.replace(scheduler="diffusers:FlowMatchEulerDiscreteScheduler")
    call: dict[str, Any] = {"seed": 1, **SMALL, "output_type": "latent"}
    assert apart(own("a star", **call).images, pipe("a star", **call).images) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("dev", 1.5), ("klein", 1.0)])
def test_guidance_of_another_scale(folders: dict[str, Path], name: str, scale: float) -> None:
    pipe = Pipeline.from_pretrained(folders[name])
    theirs = peer(folders, name)
    assert distance_to_peer(pipe, theirs, guidance_scale=scale, **SMALL) < 1e-5


@pytest.mark.parametrize("name", [pytest.param("dev", marks=pytest.mark.slow), "klein"])
def test_several_pictures_are_seen_as_in_diffusers(folders: dict[str, Path], name: str) -> None:
    both = [picture(1, 64, 71), picture(2, 70, 66)]
    distance = distance_to_peer(
        Pipeline.from_pretrained(folders[name]),
        peer(folders, name),
        {"reference": [both, both]},
        {"image": both},
        **{**SMALL, "num_inference_steps": 2},
    )
    assert distance < 1e-5


def test_an_image_of_four_is_what_it_is_alone(folders: dict[str, Path]) -> None:
    pipe = Pipeline.from_pretrained(folders["klein"])
    prompts = ["a red star", "a large blue circle on the green square", "", "a circle"]
    references = [[picture(1), picture(2, 80, 64)], picture(3), None, picture(4)]
    call: dict[str, Any] = {**SMALL, "num_inference_steps": 1, "output_type": "latent"}
    four = pipe(prompts, seed=[1, 2, 3, 4], reference=references, **call).images
    for i, prompt in enumerate(prompts):
        alone = pipe(prompt, seed=i + 1, reference=[references[i]], **call).images
        assert apart(four[i], alone[0]) < 1e-5


@pytest.mark.parametrize("strength", [0.6, pytest.param(1.0, marks=pytest.mark.slow)])
def test_repainting_is_that_of_diffusers(folders: dict[str, Path], strength: float) -> None:
    """Diffusers' pipeline shows the network the whole picture too, and decodes the latents that it
    gives."""
    pipe = Pipeline.from_pretrained(folders["klein"])
    pipe = pipe.replace(conditioning=["text", "reference", "mask"])
    theirs = Flux2Peer(diffusers.Flux2KleinInpaintPipeline.from_pretrained(folders["klein"]))
    theirs.set_progress_bar_config(disable=True)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 40))
    call: dict[str, Any] = {"prompt": "a red star", "image": picture(1), "strength": strength}
    call |= {"guidance_scale": 4.0, "num_inference_steps": 3}
    extent = {"width": 64, "height": 64}
    for output_type in ("latent", "np"):
        both = {**call, "output_type": output_type}
        draws = [torch.Generator().manual_seed(3)]
        expected = theirs(generator=draws, mask_image=mask, **both).images
        found = pipe(seed=3, mask=mask, reference=picture(1), **extent, **both).images
        assert apart(found, expected) < 1e-5


def test_the_picture_comes_back_from_its_latents(folders: dict[str, Path]) -> None:
    """What the encoder gives is what the mean of the posterior is, cut and normalised."""
    pipe = Pipeline.from_pretrained(folders["klein"])
    vae = diffusers.AutoencoderKLFlux2.from_pretrained(folders["klein"], subfolder="vae")
    pixels = torch.from_numpy(np.array(picture(1))).permute(2, 0, 1)[None] / 127.5 - 1
    z = vae.encode(pixels).latent_dist.mode().detach()
    found = pipe.encode([picture(1)], seed=1)
    mean = vae.bn.running_mean[None, :, None, None]
    std = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()[None, :, None, None]
    assert apart(found, (pixel_unshuffle(z, 2) - mean) / std) < 1e-5


def test_tiles_are_those_of_diffusers(folders: dict[str, Path]) -> None:
    """Their sides are counted in the autoencoder's own latents, 2x2 of which make one here."""
    pipe = Pipeline.from_pretrained(folders["klein"], converters=["vae_tiling"])
    vae = diffusers.AutoencoderKLFlux2.from_pretrained(folders["klein"], subfolder="vae")
    vae.enable_tiling()
    source = picture(1, 40, 24)
    pixels = torch.from_numpy(np.array(source)).permute(2, 0, 1)[None] / 127.5 - 1
    z = vae.encode(pixels).latent_dist.mode().detach()
    mean = vae.bn.running_mean[None, :, None, None]
    std = (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()[None, :, None, None]
    x0 = pipe.encode([source], seed=1)
    assert apart(x0, (pixel_unshuffle(z, 2) - mean) / std) < 1e-5
    expected = vae.decode(z).sample.detach()
    assert apart(pipe.decode(x0), expected) < 1e-5


@pytest.mark.parametrize("size", [(1300, 1100), (2000, 700), (65, 130)])
def test_reference_pictures_are_cut_as_in_diffusers(
    folders: dict[str, Path], size: tuple[int, int]
) -> None:
    model = Pipeline.from_pretrained(folders["klein"]).model
    ability = model.abilities["reference"]
    assert isinstance(ability, Flux2References)
    processor = Flux2ImageProcessor(vae_scale_factor=4)
    source = picture(1, *size)
    theirs = processor._resize_if_exceeds_area(source)
    width, height = (side // 4 * 4 for side in theirs.size)
    expected = processor.preprocess(theirs, height=height, width=width, resize_mode="crop")
    found = torch.from_numpy(np.array(ability._cut(source))).permute(2, 0, 1)[None] / 127.5 - 1
    assert apart(found, expected) < 1e-6


@pytest.mark.parametrize("size", [(63, 100), (64, 520)])
def test_a_reference_picture_too_small_or_too_long_is_refused(
    folders: dict[str, Path], size: tuple[int, int]
) -> None:
    composition = compose({"model": str(folders["klein"])}, installed())
    inputs = {"prompt": "a star", "reference": picture(1, *size)}
    with pytest.raises(LdmError, match=f"is {size[0]}x{size[1]} pixels"):
        composition.plan(inputs, [1], {"width": 24, "height": 16})


@pytest.mark.parametrize("steps", [1, 4, 28, 50, 200])
@pytest.mark.parametrize("side", [1, 16, 64, 65, 66, 100])
def test_the_shift_is_that_of_tokens_and_steps(side: int, steps: int) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    mu = compute_empirical_mu(side * side, steps)
    theirs.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    latent = LatentShape(128, {"height": side, "width": side})
    options = {"dynamic": True, "of_steps": True, "patch": 1, "base": as_spacing(trailing)}
    shifted = with_options(installed().find("spacing", "flow_shift").loaded, options)
    points = shifted(FlowSchedule(), steps, latent=latent)
    sigmas = torch.tensor([point.sigma for point in points])
    assert (sigmas - theirs.sigmas).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("pipeline", "network", "message"),
    [
        ("Flux2KleinPipeline", {"in_channels": 32}, "takes 32 channels a token"),
        ("Flux2Pipeline", {"joint_attention_dim": 32}, "3 layers together gives 24"),
        ("Flux2KleinPipeline", {"axes_dims_rope": (8, 8)}, "should be four even numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, pipeline: str, network: dict[str, Any], message: str
) -> None:
    folder = tiny.write_flux_2(tmp_path, pipeline, **network)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize("name", ["dev", "klein"])
def test_a_single_file_is_the_folder_that_it_was_made_of(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    file = tiny.write_flux_2_file(folders[name], tmp_path / "flux2.safetensors")
    call: dict[str, Any] = {"seed": 1, **SMALL, "num_inference_steps": 2}
    call["output_type"] = "latent"
    ours = Pipeline.from_pretrained(file, model_config=str(folders[name]))
    expected = Pipeline.from_pretrained(folders[name])("a star", **call).images
    assert apart(ours("a star", **call).images, expected) < 1e-6
    other = "klein" if name == "dev" else "dev"
    with pytest.raises(LdmError, match="guidance_embeds"):
        Pipeline.from_pretrained(file, model_config=str(folders[other]))


BLOCKS = {0: "transformer_blocks", 1: "single_transformer_blocks"}


@pytest.mark.parametrize("layer", BLOCKS)
def test_a_block_is_skipped_for_guidance(folders: dict[str, Path], layer: int) -> None:
    """In one step of Euler's method x is linear in what the network answers."""
    theirs = peer(folders, "distilled")
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"prompt": "a red star", **SMALL, "num_inference_steps": 1}
    call["output_type"] = "latent"
    (block,) = theirs.pipeline.transformer.get_submodule(BLOCKS[layer])
    ends = []
    for skips in (False, True):
        if skips and layer == 0:
            block.forward = lambda hidden_states, encoder_hidden_states, **_: (
                encoder_hidden_states,
                hidden_states,
            )
        elif skips:
            block.forward = lambda hidden_states, **_: hidden_states
        ends.append(theirs(generator=[torch.Generator().manual_seed(3)], **call).images)
    whole, without = ends
    guidance = {"name": "skip_layer", "layers": [layer], "scale": 2.0, "start": 0.0, "stop": 1.0}
    pipe = Pipeline.from_pretrained(folders["distilled"]).replace(guidance=guidance)
    assert apart(pipe(seed=3, **call).images, whole + 2 * (whole - without)) < 1e-5
    assert apart(whole, without) > 1e-3


@pytest.mark.parametrize("layer", BLOCKS)
def test_attention_is_perturbed_among_the_pictures_own_tokens(
    folders: dict[str, Path], layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diffusers has them between those of the text and those of reference pictures; neither is to
    lose sight of the others."""
    theirs = peer(folders, "distilled")
    theirs.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"prompt": "a red star", **SMALL, "num_inference_steps": 1}
    call["output_type"] = "latent"
    (block,) = theirs.pipeline.transformer.get_submodule(BLOCKS[layer])
    own, text = block.attn.forward, 512
    picture_tokens = slice(text, text + 6 * 4)

    def by_the_formula(query: Any, key: Any, value: Any, **_: Any) -> torch.Tensor:
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        hidden = torch.zeros(scores.shape[-2:], dtype=torch.bool)
        hidden[picture_tokens, picture_tokens] = ~torch.eye(6 * 4, dtype=torch.bool)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        attended: torch.Tensor = weights @ value
        return attended

    def perturbed(*args: Any, **options: Any) -> Any:
        with monkeypatch.context() as patch:
            functions = torch.nn.functional
            patch.setattr(functions, "scaled_dot_product_attention", by_the_formula)
            return own(*args, **options)

    ends = []
    for forward in (own, perturbed):
        block.attn.forward = forward
        draws = [torch.Generator().manual_seed(3)]
        ends.append(theirs(generator=draws, image=[picture(1)], **call).images)
    whole, weaker = ends
    guidance = {"name": "perturbed_attention", "layers": [layer], "scale": 2.0}
    pipe = Pipeline.from_pretrained(folders["distilled"]).replace(guidance=guidance)
    found = pipe(seed=3, reference=picture(1), **call).images
    assert apart(found, whole + 2 * (whole - weaker)) < 1e-5
    assert apart(whole, weaker) > 1e-4


def test_a_lora_changes_the_network_as_in_diffusers(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    theirs = peer(folders, "klein")
    theirs.set_progress_bar_config(disable=True)
    torch.manual_seed(5)
    network = theirs.pipeline.transformer
    layers = ["to_q", "to_k", "to_qkv_mlp_proj"]
    network.add_adapter(
        LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=layers)
    )
    weights = get_peft_model_state_dict(network)
    theirs.pipeline.save_lora_weights(tmp_path, transformer_lora_layers=weights)
    (file,) = tmp_path.glob("*.safetensors")
    call: dict[str, Any] = {"prompt": "a red star", **SMALL, "output_type": "latent"}
    expected = theirs(generator=[torch.Generator().manual_seed(3)], **call).images
    pipe = Pipeline.from_pretrained(folders["klein"])
    assert apart(pipe.replace(loras=[str(file)])(seed=3, **call).images, expected) < 1e-5
    assert apart(pipe(seed=3, **call).images, expected) > 1e-3
