"""IP-Adapters of networks other than Stable Diffusion's: Diffusers' own pictures from the same
files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionModelWithProjection,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionModel,
)

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.model.from_folder import shaped_module
from ldm_core.model.safetensors_header import read_header
from peers import apart, far

PROMPT, NEGATIVE = "a red star", "a green square"
STEPS = 3
FILLED = {"max_sequence_length": 5}
"""Of Chroma: the window that the words fill, see `test_chroma`."""


class Kind(NamedTuple):
    """A model, its adapter and its encoder, and what a call of Diffusers' pipeline takes beside."""

    peer: str
    model: Path
    adapters: list[Path]
    encoder: Path
    theirs: dict[str, Any]
    size: dict[str, int]
    guidance: dict[str, Any] | None = None


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    place = tmp_path_factory.mktemp("elsewhere")
    clip = tiny.write_image_encoder(place / "clip")
    siglip = tiny.write_siglip_encoder(place / "siglip")
    flux = tiny.write_flux(place / "flux", num_layers=2)
    chroma = tiny.write_chroma(place / "chroma")
    sd3 = tiny.write_stable_diffusion_3(place / "sd3", num_layers=2)
    kolors = tiny.write_kolors(place / "kolors")
    motion = tiny.write_animatediff(place / "motion")
    of_flux = [
        tiny.write_flux_ip_adapter(place / f"flux{n}.safetensors", flux, n, xlabs=n == 5)
        for n in (4, 5)
    ]
    of_chroma = tiny.write_flux_ip_adapter(place / "chroma.safetensors", chroma)
    of_sd3 = tiny.write_sd3_ip_adapter(place / "sd3.safetensors", sd3)
    of_kolors = tiny.write_ip_adapter(place / "kolors.safetensors", kolors, plus=True)
    of_motion = tiny.write_ip_adapter(place / "motion.safetensors", motion)
    small = {"width": 32, "height": 32}
    true = {"name": "embedded", "scale": 3.5, "true_scale": 4.0}
    return {
        "Flux": Kind("FluxPipeline", flux, of_flux, clip, {"true_cfg_scale": 4.0}, small, true),
        "Chroma": Kind("ChromaPipeline", chroma, [of_chroma], clip, FILLED, small),
        "SD 3": Kind("StableDiffusion3Pipeline", sd3, [of_sd3], siglip, {}, {}),
        "Kolors": Kind("KolorsPipeline", kolors, [of_kolors], clip, {}, {}),
        "AnimateDiff": Kind("AnimateDiffPipeline", motion, [of_motion], clip, {}, {}),
    }


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Of noise, none of the size that is made."""
    noise = torch.Generator().manual_seed(0)
    sizes = [(20, 31), (21, 33), (22, 17)]
    pixels = [torch.randint(256, (*size, 3), generator=noise).to(torch.uint8) for size in sizes]
    return [Image.fromarray(one.numpy()) for one in pixels]


def seeing(kind: Kind, *adapters: Path, **options: Any) -> Pipeline:
    """Ours with adapters."""
    pipe = Pipeline.from_pretrained(kind.model, num_inference_steps=STEPS)
    paths = [str(file) for file in adapters]
    prompt = {
        "name": "image_prompt",
        "path": paths if len(paths) > 1 else paths[0],
        "image_encoder": str(kind.encoder),
        **options,
    }
    guided = {"guidance": kind.guidance} if kind.guidance else {}
    own = list(pipe.recipe["conditioning"])
    return pipe.replace(conditioning=[*own, prompt], **guided)


def ours(pipe: Pipeline, kind: Kind, seen: Any, **call: Any) -> torch.Tensor:
    if seen is not None:
        call["prompt_image"] = seen
    found: torch.Tensor = pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        seed=3,
        output_type="latent",
        **kind.size,
        **call,
    ).images
    return found


def load(kind: Kind, adapters: list[Path], scale: Any = None) -> Any:
    """A pipeline of Diffusers with the adapters, and its own scale where none is given."""
    if "3" in kind.peer:
        eyes = SiglipVisionModel.from_pretrained(kind.encoder)
        processor = SiglipImageProcessorPil.from_pretrained(kind.encoder)
    else:
        eyes = CLIPVisionModelWithProjection.from_pretrained(kind.encoder)
        processor = CLIPImageProcessorPil(size=16, crop_size=16)
    parts = {"image_encoder": eyes, "feature_extractor": processor}
    peer = getattr(diffusers, kind.peer).from_pretrained(kind.model, **parts)
    peer.set_progress_bar_config(disable=True)
    names = [file.name for file in adapters]
    one = "3" in kind.peer
    where = {"weight_name": names[0] if one else names, "subfolder": "" if one else [""]}
    peer.load_ip_adapter(str(adapters[0].parent), **where)
    if scale is not None:
        peer.set_ip_adapter_scale(scale)
    return peer


def theirs(peer: Any, kind: Kind, seen: Any, **call: Any) -> torch.Tensor:
    made = peer(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(3),
        ip_adapter_image=seen,
        output_type="latent",
        **kind.size,
        **kind.theirs,
        **call,
    )
    latents: torch.Tensor = made.frames if "Animate" in kind.peer else made.images
    if "Flux" in kind.peer or "Chroma" in kind.peer:
        sides = kind.size["height"], kind.size["width"]
        latents = type(peer)._unpack_latents(latents, *sides, peer.vae_scale_factor)
    return latents


@pytest.fixture(scope="module")
def whole(kinds: dict[str, Kind], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of whole models of the real classes, as encoders are published."""
    place = tmp_path_factory.mktemp("whole")
    sees = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}
    sees |= {"image_size": 16, "patch_size": 8, "num_hidden_layers": 3, "projection_dim": 24}
    reads = {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 2}
    reads |= {"num_hidden_layers": 1, "vocab_size": 9, "max_position_embeddings": 4}
    torch.manual_seed(8)
    clip = CLIPConfig(vision_config=sees, text_config=reads, projection_dim=24)
    siglip = SiglipConfig(vision_config=sees, text_config=reads)
    CLIPModel(clip).save_pretrained(place / "Flux")
    SiglipModel(siglip).save_pretrained(place / "SD 3")
    SiglipImageProcessorPil.from_pretrained(kinds["SD 3"].encoder).save_pretrained(place / "SD 3")
    return {name: place / name for name in ("Flux", "SD 3")}


@pytest.mark.parametrize("name", ["Flux", "SD 3"])
def test_the_half_of_a_whole_model_that_sees_pictures_is_read_as_in_diffusers(
    kinds: dict[str, Kind],
    whole: dict[str, Path],
    pictures: list[Image.Image],
    tmp_path: Path,
    name: str,
) -> None:
    """With the scale that each pipeline of Diffusers has where none is set."""
    cls = SiglipVisionModel if name == "SD 3" else CLIPVisionModelWithProjection
    half = tmp_path / "half"
    eyes = cls.from_pretrained(whole[name])
    eyes.save_pretrained(half)
    if name == "SD 3":
        SiglipImageProcessorPil.from_pretrained(whole[name]).save_pretrained(half)
    kind = kinds[name]._replace(encoder=whole[name])
    expected = theirs(load(kind, kind.adapters[:1]), kind, pictures[0])
    found = ours(seeing(kind, kind.adapters[0]), kind, pictures[0])
    assert apart(found, expected) < 1e-5
    alone = kind._replace(encoder=half)
    assert torch.equal(ours(seeing(alone, kind.adapters[0]), alone, pictures[0]), found)
    other = seeing(kind, kind.adapters[0], scale=0.75)
    assert far(ours(other, kind, pictures[0]), expected) > 1e-4
    headers = {"model.safetensors": read_header(whole[name] / "model.safetensors")}
    shaped = shaped_module("it", whole[name], cls, False, torch.float32, headers)
    shapes = {key: value.shape for key, value in eyes.state_dict().items()}
    assert {key: value.shape for key, value in shaped.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"vision_model.other": torch.ones(1)}, "1 weights that its config has no place for"),
        ({"visual_projection.weight": None}, "lacks 1 of its weights, such as visual_projection"),
    ],
)
def test_what_is_not_of_the_half_that_reads_texts_is_refused(
    kinds: dict[str, Kind],
    whole: dict[str, Path],
    pictures: list[Image.Image],
    tmp_path: Path,
    changed: dict[str, Any],
    told: str,
) -> None:
    tensors = load_file(whole["Flux"] / "model.safetensors") | changed
    kept = {key: value for key, value in tensors.items() if value is not None}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    config = (whole["Flux"] / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    kind = kinds["Flux"]._replace(encoder=tmp_path)
    pipe = seeing(kind, kind.adapters[0])
    with pytest.raises(LdmError, match=told):
        ours(pipe, kind, pictures[0])


@pytest.mark.parametrize("name", ["Flux", "SD 3"])
def test_a_picture_that_looks_at_another_is_made_again_by_the_command_line(
    ldm: Any, kinds: dict[str, Kind], pictures: list[Image.Image], tmp_path: Path, name: str
) -> None:
    kind = kinds[name]
    pictures[0].save(tmp_path / "seen.png")
    options = f'path = "{kind.adapters[0]}", image_encoder = "{kind.encoder}"'
    prompt = f'conditioning=["text", {{ name = "image_prompt", {options} }}]'
    sides = ["--size", "32x32"] if kind.size else []
    words = ["generate", PROMPT, "--model", kind.model, "--steps", 2, "--seed", 7, "--json"]
    words += ["--set", prompt, "--prompt-image", tmp_path / "seen.png", *sides]
    code, out, err = ldm(*words, "--out", tmp_path / "made")
    assert code == 0, err
    made = json.loads(out)["path"]
    code, out, err = ldm("replay", "--allow-files", made, "--json", "--out", tmp_path / "again")
    assert code == 0, err
    assert json.loads(out)["max_difference"] == 0


@pytest.mark.parametrize("name", ["Flux", "Chroma", "SD 3", "Kolors", "AnimateDiff"])
def test_a_picture_is_looked_at_as_in_diffusers(
    kinds: dict[str, Kind], pictures: list[Image.Image], name: str
) -> None:
    """Without a scale too, as `test_the_half_of_a_whole_model_...` of Flux and SD 3."""
    kind = kinds[name]
    adapters = kind.adapters[:1]
    scale = 0.7 if name in ("Flux", "SD 3") else None
    expected = theirs(load(kind, adapters, scale), kind, pictures[0])
    pipe = seeing(kind, *adapters, **({} if scale is None else {"scale": scale}))
    assert apart(ours(pipe, kind, pictures[0]), expected) < 1e-5
    assert far(ours(pipe, kind, pictures[1]), expected) > 1e-4


def test_flux_has_several_adapters_with_a_scale_for_each_block_as_in_diffusers(
    kinds: dict[str, Kind], pictures: list[Image.Image]
) -> None:
    kind, seen, unseen = kinds["Flux"], pictures[:2], pictures[1:]
    scales = [[0.3, 0.9], 0.5]
    peer = load(kind, kind.adapters, scales)
    expected = theirs(peer, kind, seen, negative_ip_adapter_image=unseen)
    pipe = seeing(kind, *kind.adapters, scale=scales)
    found = ours(pipe, kind, [seen], negative_prompt_image=[unseen])
    assert apart(found, expected) < 1e-5
    assert far(ours(pipe, kind, [seen]), expected) > 1e-4
    call = {"seed": [9, 3], "prompt_image": [unseen, seen], "negative_prompt_image": [None, unseen]}
    two = pipe(
        ["two blue stars", PROMPT],
        negative_prompt=["", NEGATIVE],
        output_type="latent",
        **call,
        **kind.size,
    )
    assert apart(two.images[1:], expected) < 1e-5
    both = [[pictures[0], pictures[2]]]  # in Diffusers a list within the list of adapters
    one = kind.adapters[:1]
    expected = theirs(load(kind, one, 0.7), kind, both)
    assert apart(ours(seeing(kind, *one, scale=0.7), kind, both), expected) < 1e-5


def test_stable_diffusion_3_is_led_away_from_a_picture_as_in_diffusers(
    kinds: dict[str, Kind], pictures: list[Image.Image]
) -> None:
    kind = kinds["SD 3"]
    peer = load(kind, kind.adapters, 0.7)
    embeds = [peer.encode_image(picture, "cpu") for picture in (pictures[1], pictures[0])]
    told = {"ip_adapter_image_embeds": torch.cat(embeds)}
    expected = theirs(peer, kind, None, **told)
    pipe = seeing(kind, *kind.adapters, scale=0.7)
    found = ours(pipe, kind, pictures[0], negative_prompt_image=pictures[1])
    assert apart(found, expected) < 1e-5
    *own, prompt = pipe.recipe["conditioning"]
    computed = pipe.replace(conditioning=[*own, {**prompt, "name": "image_prompt_embeds"}])
    told = dict(zip(("negative_prompt_image_embeds", "prompt_image_embeds"), embeds, strict=True))
    assert apart(ours(computed, kind, None, **told), expected) < 1e-5
    other = pipe.replace(attention="chunked")  # whose answers lie otherwise in memory
    found = ours(other, kind, pictures[0], negative_prompt_image=pictures[1])
    assert apart(found, expected) < 1e-5


def test_a_video_sees_a_picture_where_its_mask_is_white_as_in_diffusers(
    kinds: dict[str, Kind], pictures: list[Image.Image]
) -> None:
    kind = kinds["AnimateDiff"]
    size = Pipeline.from_pretrained(kind.model).model.info.default_extent
    mask = Image.new("L", (size["width"], size["height"]))
    mask.paste(255, (0, 0, size["width"] // 2, size["height"]))
    masks = IPAdapterMaskProcessor().preprocess([mask], size["height"], size["width"])
    peer = load(kind, kind.adapters, 1.0)
    given = {
        "cross_attention_kwargs": {
            "ip_adapter_masks": [masks.reshape(1, *masks.shape[:1], *masks.shape[2:])]
        }
    }
    expected = theirs(peer, kind, pictures[0], **given)
    pipe = seeing(kind, *kind.adapters)
    assert apart(ours(pipe, kind, pictures[0], prompt_image_mask=mask), expected) < 1e-5


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("Flux", {"scale": {"up": 1.0}}, "for Flux or Chroma is a number, or a list"),
        ("Flux", {"scale": [0.5]}, "a number for each of the network's 2 blocks"),
        ("SD 3", {"scale": [0.5, 0.5]}, "one number for all layers"),
        ("SD 3", {"pictures": [2]}, "one IP-Adapter, which looks at one picture"),
        ("Kolors", {"scale": [0.5]}, "for a UNet is a number, or a table"),
        ("Kolors", {"pictures": [1, 1]}, "each of 1 adapters"),
    ],
)
def test_what_a_network_does_not_take_is_refused_before_weights_are_read(
    kinds: dict[str, Kind], name: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(LdmError, match=told):
        seeing(kinds[name], *kinds[name].adapters[:1], **options)


@pytest.mark.parametrize(("name", "layers"), [("Flux", [1]), ("SD 3", ["transformer_blocks.0"])])
def test_another_self_attention_where_an_adapters_layers_lie_is_refused_by_a_plan(
    kinds: dict[str, Kind], pictures: list[Image.Image], name: str, layers: list[Any]
) -> None:
    kind = kinds[name]
    prompt = {"path": str(kind.adapters[0]), "image_encoder": str(kind.encoder)}
    recipe: dict[str, Any] = {
        "model": str(kind.model),
        "conditioning": ["text", {"name": "image_prompt", **prompt}],
        "guidance": {"name": "perturbed_attention", "layers": layers, "beside": "none"},
    }
    inputs = {"prompt": PROMPT, "prompt_image": pictures[0]}
    perturbed = recipe["guidance"]
    for guidance in (perturbed, {"name": "dynamic_threshold", "inner": perturbed}):
        with pytest.raises(LdmError, match="where the layers of the IP-Adapter lie"):
            compose({**recipe, "guidance": guidance}).plan(inputs, [1], kind.size)
    # a scale of 0 asks no such network, and block 2 of Flux is the first of one stream
    for options in ({"scale": 0.0}, *([{"layers": [2]}] if name == "Flux" else [])):
        other = compose({**recipe, "guidance": {**perturbed, **options}})
        assert other.plan(inputs, [1], kind.size)


def test_an_adapter_of_another_network_is_refused(
    kinds: dict[str, Kind], pictures: list[Image.Image]
) -> None:
    flux, sd3, kolors = (kinds[name] for name in ("Flux", "SD 3", "Kolors"))
    for kind, file, told in (
        (flux, sd3.adapters[0], "made for another kind of model: it has no image_proj.proj"),
        (sd3, flux.adapters[0], "made for another kind of model: it has no image_proj.proj_in"),
        (sd3, kolors.adapters[0], "layers of .* and the network's attention has 2 layers"),
        (kinds["Chroma"], flux.adapters[0], "2 layers .* blocks take 1 layers"),
    ):
        with pytest.raises(LdmError, match=told):
            seeing(kind, file)
    with pytest.raises(LdmError, match="SiglipVisionModel or a SiglipModel, not CLIPVision"):
        seeing(sd3._replace(encoder=flux.encoder), *sd3.adapters)
    looking = seeing(flux, *flux.adapters[:1])
    mask = Image.new("L", (32, 32))
    with pytest.raises(LdmError, match="in a UNet alone"):
        ours(looking, flux, pictures[0], prompt_image_mask=mask)
    with pytest.raises(LdmError, match="looks at one picture, not 2"):
        ours(seeing(sd3, *sd3.adapters), sd3, [pictures[:2]])
    with pytest.raises(LdmError, match="as many pictures as prompt_image, 1"):
        ours(looking, flux, pictures[0], negative_prompt_image=[pictures[:2]])
    with pytest.raises(LdmError, match=r"1 pictures in prompt_image, and its adapters .* 1 \+ 1"):
        ours(seeing(flux, *flux.adapters), flux, pictures[0])
