"""Pictures as prompts by IP-Adapters: Diffusers' own pictures from the same files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

import tiny
from ldm_core import Pipeline
from ldm_core.errors import LdmError
from peers import apart

STEPS = 5
PROMPTS = ["a red star", "a blue circle"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


@pytest.fixture(scope="module")
def encoder(place: Path) -> Path:
    return tiny.write_image_encoder(place / "encoder")


@pytest.fixture(scope="module")
def adapter(place: Path, folder: Path) -> Path:
    return tiny.write_ip_adapter(place / "adapter.safetensors", folder)


@pytest.fixture(scope="module")
def plus(place: Path, folder: Path) -> Path:
    return tiny.write_ip_adapter(place / "plus.safetensors", folder, plus=True)


@pytest.fixture(scope="module")
def sdxl(place: Path) -> Path:
    return tiny.write_stable_diffusion_xl(place / "sdxl")


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[Path]:
    """Three pictures of noise, none of the size that is made."""
    files = []
    for number in range(3):
        noise = torch.Generator().manual_seed(number)
        pixels = torch.randint(256, (20 + number, 31, 3), generator=noise)
        files.append(place / f"picture{number}.png")
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(files[-1])
    return files


def seeing(
    pipe: Pipeline, file: Path, encoder: Path, others: tuple[Any, ...] = ("text",), **options: Any
) -> Pipeline:
    prompt = {"name": "image_prompt", "path": str(file), "image_encoder": str(encoder), **options}
    return pipe.replace(conditioning=[*others, prompt])


def ours(pipe: Pipeline, prompt_image: Any, **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": STEPS, "guidance_scale": 4.0, **call}
    if prompt_image is not None:
        call["prompt_image"] = prompt_image
    found: torch.Tensor = pipe(PROMPTS, seed=3, output_type="latent", **call).images
    return found


def by_embeds(looking: Pipeline) -> Pipeline:
    """The same, told what the encoder saw."""
    *others, prompt = looking.recipe["conditioning"]
    return looking.replace(conditioning=[*others, {**prompt, "name": "image_prompt_embeds"}])


def load(cls: Any, folder: Path, file: Path, encoder: Path, scale: Any, **parts: Any) -> Any:
    """A pipeline of Diffusers with the adapter."""
    peer = cls.from_pretrained(
        folder,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(encoder),
        feature_extractor=CLIPImageProcessorPil(size=16, crop_size=16),
        **parts,
    )
    peer.set_progress_bar_config(disable=True)
    peer.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name)
    peer.set_ip_adapter_scale(scale)
    return peer


def theirs(peer: Any, images: Any, **call: Any) -> torch.Tensor:
    """Two images; images one by one where they look at different pictures, since Diffusers takes
    several pictures for several that each image looks at."""
    call = {"num_inference_steps": STEPS, "guidance_scale": 4.0, **call}
    made = [
        peer(
            prompt,
            generator=torch.Generator().manual_seed(3 + number),
            ip_adapter_image=[image],
            output_type="latent",
            **call,
        ).images
        for number, (prompt, image) in enumerate(zip(PROMPTS, images, strict=True))
    ]
    return torch.cat(made)


def opened(*files: Path) -> list[Image.Image]:
    return [Image.open(file) for file in files]


@pytest.mark.parametrize("kind", ["adapter", "plus"])
@pytest.mark.parametrize("call", [{}, {"guidance_scale": 1.0}], ids=["guided", "not guided"])
def test_a_picture_is_looked_at_as_in_diffusers(
    request: pytest.FixtureRequest,
    folder: Path,
    pipe: Pipeline,
    encoder: Path,
    pictures: list[Path],
    kind: str,
    call: dict[str, Any],
) -> None:
    file = request.getfixturevalue(kind)
    peer = load(StableDiffusionPipeline, folder, file, encoder, 0.7)
    expected = theirs(peer, opened(*pictures[:2]), **call)
    looking = seeing(pipe, file, encoder, scale=0.7)
    assert apart(ours(looking, [str(file) for file in pictures[:2]], **call), expected) < 1e-5
    assert apart(ours(looking, pictures[1:], **call), expected) > 1e-3


@pytest.mark.parametrize(
    "scale",
    [
        {"down": {"block_0": 0.4}, "mid": 0.9},
        {"up": {"block_1": [1.0, 0.2]}, "down": 0.5},
        {"mid": 1.0},
    ],
    ids=str,
)
def test_blocks_have_scales_of_their_own_as_in_diffusers(
    folder: Path,
    pipe: Pipeline,
    adapter: Path,
    encoder: Path,
    pictures: list[Path],
    scale: dict[str, Any],
) -> None:
    peer = load(StableDiffusionPipeline, folder, adapter, encoder, scale)
    expected = theirs(peer, opened(*pictures[:2]))
    looking = seeing(pipe, adapter, encoder, scale=scale)
    assert apart(ours(looking, pictures[:2]), expected) < 1e-5
    one = seeing(pipe, adapter, encoder)
    assert apart(ours(one, pictures[:2]), expected) > 1e-4
    with pytest.raises(LdmError, match="the scale of image_prompt is with a scale of 'middle'"):
        ours(seeing(pipe, adapter, encoder, scale={"middle": 1.0}), pictures[:2])


@pytest.mark.parametrize("kind", ["adapter", "plus"])
def test_pictures_hold_where_their_masks_are_white_as_in_diffusers(
    request: pytest.FixtureRequest,
    folder: Path,
    pipe: Pipeline,
    encoder: Path,
    pictures: list[Path],
    kind: str,
) -> None:
    """Two pictures for each image, the first on the left and the second in the lower half."""
    file = request.getfixturevalue(kind)
    left, low = Image.new("L", (16, 16)), Image.new("L", (16, 16))
    left.paste(255, (0, 0, 8, 16))
    low.paste(255, (0, 8, 16, 16))
    peer = load(StableDiffusionPipeline, folder, file, encoder, 0.7)
    processed = IPAdapterMaskProcessor().preprocess([left, low], height=16, width=16)
    masks = [processed.reshape(1, 2, 16, 16)]
    several = [opened(*pictures[:2]), opened(*pictures[1:])]
    expected = theirs(peer, several, cross_attention_kwargs={"ip_adapter_masks": masks})
    looking = seeing(pipe, file, encoder, scale=0.7)
    seen = [pictures[:2], pictures[1:]]
    found = ours(looking, seen, prompt_image_mask=[[left, low], [left, low]])
    assert apart(found, expected) < 1e-5
    assert apart(ours(looking, seen), expected) > 1e-4
    with pytest.raises(LdmError, match="one with several pictures has none"):
        ours(looking, seen, prompt_image_mask=[None, [left, low]])
    mixed = ours(looking, pictures[:2], prompt_image_mask=[None, left])
    assert apart(mixed[0], ours(looking, pictures[:2])[0]) < 1e-5
    assert apart(mixed[1], ours(looking, pictures[:2])[1]) > 1e-4
    with pytest.raises(LdmError, match="not 1 for 2"):
        ours(looking, seen, prompt_image_mask=left)
    with pytest.raises(LdmError, match="the prompt_image_mask is 8x8 pixels"):
        ours(looking, pictures[:2], prompt_image_mask=Image.new("L", (8, 8)))


def test_several_adapters_look_at_pictures_of_their_own_as_in_diffusers(
    folder: Path, pipe: Pipeline, adapter: Path, plus: Path, encoder: Path, pictures: list[Path]
) -> None:
    """The first at two pictures and the second at one, with a mask for each."""
    scales: list[Any] = [0.7, {"up": {"block_1": [1.0, 0.2]}, "mid": 0.4}]
    peer = load(StableDiffusionPipeline, folder, adapter, encoder, 1.0)
    names = [adapter.name, plus.name]
    peer.load_ip_adapter(str(adapter.parent), subfolder=[""], weight_name=names)
    peer.set_ip_adapter_scale(scales)
    both = opened(*pictures)
    halves = [Image.new("L", (16, 16)) for _ in both]
    for half, box in zip(halves, [(0, 0, 8, 16), (8, 0, 16, 16), (0, 8, 16, 16)], strict=True):
        half.paste(255, box)
    masks = IPAdapterMaskProcessor().preprocess(halves, height=16, width=16).reshape(1, 3, 16, 16)
    given = {"ip_adapter_masks": [masks[:, :2], masks[:, 2:]]}
    looking = seeing(
        pipe, adapter, encoder, path=[str(adapter), str(plus)], scale=scales, pictures=[2, 1]
    )
    for own, their in (({}, {}), ({"prompt_image_mask": [halves] * 2}, given)):
        expected = torch.cat(
            [
                peer(
                    prompt,
                    generator=torch.Generator().manual_seed(3 + number),
                    ip_adapter_image=[both[:2], both[2]],
                    num_inference_steps=STEPS,
                    guidance_scale=4.0,
                    output_type="latent",
                    cross_attention_kwargs=their or None,
                ).images
                for number, prompt in enumerate(PROMPTS)
            ]
        )
        assert apart(ours(looking, [pictures] * 2, **own), expected) < 1e-5
    told = peer.prepare_ip_adapter_image_embeds([both[:2], both[2]], None, "cpu", 1, True)
    away, seen = zip(*(one.chunk(2) for one in told), strict=True)
    computed = by_embeds(looking)
    own |= {"negative_prompt_image_embeds": [list(away)] * 2}
    found = ours(computed, None, prompt_image_embeds=[list(seen)] * 2, **own)
    assert apart(found, expected) < 1e-5
    with pytest.raises(LdmError, match=r"should have the shape \(2, 24\), not \(1, 1, 24\)"):
        ours(computed, None, prompt_image_embeds=[[seen[0][:, :1], seen[1]]] * 2)
    with pytest.raises(LdmError, match="should be one tensor for each of 2 adapters, not 1"):
        ours(computed, None, prompt_image_embeds=[seen[0]] * 2)


def test_what_an_encoder_saw_stands_in_the_place_of_pictures(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pipe: Pipeline,
    plus: Path,
    encoder: Path,
    pictures: list[Path],
) -> None:
    """Its weights are read for the negative branch alone, where nothing is given of that."""
    looking = seeing(pipe, plus, encoder)
    ability = looking.model.abilities["image_prompt"]
    states, nothing = ability.embed(encoder.resolve(), opened(*pictures[:2]), False)
    file = tmp_path / "seen.safetensors"
    save_file({"states": states[1].contiguous()}, file)
    computed = by_embeds(looking)
    expected = ours(looking, pictures[:2])
    found = ours(computed, None, prompt_image_embeds=[states[:1], str(file)])
    assert apart(found, expected) < 1e-6
    monkeypatch.setattr(type(ability), "embed", None)
    told = {"negative_prompt_image_embeds": nothing[0]}
    found = ours(computed, None, prompt_image_embeds=list(states), **told)
    assert apart(found, expected) < 1e-6
    with pytest.raises(LdmError, match="of what Diffusers has in one for both branches the first"):
        ours(computed, None, prompt_image_embeds=torch.stack([nothing[:1], states[:1]]))
    with pytest.raises(LdmError, match="of an image should be of the shape of its prompt_image_em"):
        ours(computed, None, prompt_image_embeds=states[0], negative_prompt_image_embeds=states)
    with pytest.raises(LdmError, match="needs 'prompt_image_embeds'"):
        ours(computed, None)


def test_one_picture_serves_a_batch_as_in_diffusers(
    folder: Path, pipe: Pipeline, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    peer = load(StableDiffusionPipeline, folder, adapter, encoder, 1.0)
    expected = peer(
        PROMPTS,
        generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)],
        ip_adapter_image=Image.open(pictures[0]),
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="latent",
    ).images
    assert apart(ours(seeing(pipe, adapter, encoder), pictures[0]), expected) < 1e-5


@pytest.mark.parametrize("kind", ["adapter", "plus"])
def test_an_image_may_look_at_several_pictures(
    request: pytest.FixtureRequest,
    folder: Path,
    pipe: Pipeline,
    encoder: Path,
    pictures: list[Path],
    kind: str,
) -> None:
    file = request.getfixturevalue(kind)
    peer = load(StableDiffusionPipeline, folder, file, encoder, 0.9)
    pairs = [[pictures[0], pictures[1]], [pictures[2], pictures[0]]]
    expected = theirs(peer, [opened(*pair) for pair in pairs])
    assert apart(ours(seeing(pipe, file, encoder, scale=0.9), pairs), expected) < 1e-5


def test_an_sdxl_model_looks_at_a_picture_as_in_diffusers(
    place: Path, sdxl: Path, encoder: Path, pictures: list[Path]
) -> None:
    file = tiny.write_ip_adapter(place / "sdxl.safetensors", sdxl)
    peer = load(StableDiffusionXLPipeline, sdxl, file, encoder, 0.6, add_watermarker=False)
    expected = theirs(peer, opened(*pictures[:2]))
    pipe = seeing(Pipeline.from_pretrained(sdxl), file, encoder, ("text", "size"), scale=0.6)
    assert apart(ours(pipe, pictures[:2]), expected) < 1e-5


def test_a_controlnet_and_a_picture_work_together_as_in_diffusers(
    place: Path, folder: Path, pipe: Pipeline, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    net = tiny.write_controlnet(place / "edges", folder)
    edges = Image.open(pictures[2]).resize((16, 16))
    peer = load(
        StableDiffusionControlNetPipeline,
        folder,
        adapter,
        encoder,
        0.7,
        controlnet=ControlNetModel.from_pretrained(net),
    )
    expected = theirs(peer, opened(*pictures[:2]), image=edges, control_guidance_end=0.6)
    control = {"name": "control", "models": [{"path": str(net), "end": 0.6}]}
    looking = seeing(pipe, adapter, encoder, scale=0.7)
    prompt = looking.recipe["conditioning"][1]
    for order in ([control, prompt], [prompt, control]):
        both = looking.replace(conditioning=["text", *order])
        found = ours(both, pictures[:2], control_image=edges)
        assert apart(found, expected) < 1e-5


def test_an_inpainting_network_looks_at_a_picture_too(
    place: Path, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    painted = tiny.write_stable_diffusion(
        place / "inpaint", pipeline="StableDiffusionInpaintPipeline", in_channels=9
    )
    pipe = Pipeline.from_pretrained(painted)
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 4:12] = 1
    inputs = {"image": torch.zeros(3, 16, 16), "mask": mask}
    plain = pipe(
        PROMPTS,
        seed=3,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="latent",
        **inputs,
    ).images
    unseen = seeing(pipe, adapter, encoder, ("text", "mask"), scale=0.0)
    assert apart(ours(unseen, pictures[0], **inputs), plain) < 1e-5
    seen = seeing(pipe, adapter, encoder, ("text", "mask"))
    assert apart(ours(seen, pictures[0], **inputs), plain) > 1e-3


def test_a_scale_of_zero_is_the_model_without_the_adapter(
    pipe: Pipeline, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    plain = pipe(
        PROMPTS, seed=3, num_inference_steps=STEPS, guidance_scale=4.0, output_type="latent"
    ).images
    strong, off = (seeing(pipe, adapter, encoder, scale=scale) for scale in (1.0, 0.0))
    first = ours(strong, pictures[0])
    assert apart(ours(off, pictures[0]), plain) < 1e-6
    assert torch.equal(ours(strong, pictures[0]), first)


def test_the_base_pipeline_stays_as_it_was(
    folder: Path, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    pipe = Pipeline.from_pretrained(folder, num_inference_steps=2)
    unet = pipe.model.parts["unet"].module
    tensors = {name: (id(part), part.clone()) for name, part in unet.named_parameters()}
    kinds = {name: type(part) for name, part in unet.attn_processors.items()}
    before = pipe("a red star", seed=7, output_type="latent").images
    ours(seeing(pipe, adapter, encoder), pictures[0])
    assert torch.equal(pipe("a red star", seed=7, output_type="latent").images, before)
    assert unet.encoder_hid_proj is None
    assert unet.config.encoder_hid_dim_type is None
    assert {name: type(part) for name, part in unet.attn_processors.items()} == kinds
    assert {name: id(part) for name, part in unet.named_parameters()} == {
        name: number for name, (number, _) in tensors.items()
    }
    assert all(torch.equal(part, tensors[name][1]) for name, part in unet.named_parameters())


def test_files_are_read_once(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    adapter: Path,
    encoder: Path,
    pictures: list[Path],
) -> None:
    read: list[Any] = []

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def reader(source: Any, **options: Any) -> Any:
            read.append(source)
            return real(source, **options)

        return reader

    own = Path(shutil.copy(adapter, folder.parent / "own.safetensors"))
    mine = shutil.copytree(encoder, folder.parent / "own_encoder")
    loader = counted(CLIPVisionModelWithProjection.from_pretrained)
    monkeypatch.setattr(CLIPVisionModelWithProjection, "from_pretrained", loader)
    monkeypatch.setattr("safetensors.torch.load_file", counted(load_file))
    pipe = Pipeline.from_pretrained(folder)
    for scale in (1.0, 0.5, 1.0):
        ours(seeing(pipe, own, mine, scale=scale), pictures[0], num_inference_steps=1)
    assert [read.count(source) for source in (own, mine)] == [1, 1]


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def change(folder: Path, **config: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without_weights, "has no weights"),
        (pickled, "pickled weights"),
        (lambda folder: (folder / "config.json").unlink(), "lacks .*config.json"),
        (lambda folder: change(folder, projection_dim=48), "vectors of width 24 .* gives 48"),
        (
            lambda folder: change(folder, architectures=["CLIPTextModel"]),
            "a CLIPVisionModelWithProjection or a CLIPModel, not CLIPTextModel",
        ),
        (shutil.rmtree, "there is no folder"),
    ],
)
def test_an_image_encoder_that_does_not_fit_is_refused(
    tmp_path: Path,
    pipe: Pipeline,
    adapter: Path,
    encoder: Path,
    damage: Callable[[Path], Any],
    told: str,
) -> None:
    own = shutil.copytree(encoder, tmp_path / "own")
    damage(own)
    with pytest.raises(LdmError, match=told):
        seeing(pipe, adapter, own)


def test_an_adapter_that_does_not_fit_is_refused(
    tmp_path: Path, pipe: Pipeline, sdxl: Path, adapter: Path, plus: Path, encoder: Path
) -> None:
    def refused(file: Path | str, told: str, reader: Path = encoder) -> None:
        with pytest.raises(LdmError, match=told):
            seeing(pipe, Path(file), reader)

    refused(
        tiny.write_ip_adapter(tmp_path / "sdxl.safetensors", sdxl),
        "another kind of model .* for texts of width 40, and .* for texts of width 32",
    )
    narrow = shutil.copytree(encoder, tmp_path / "narrow")
    change(narrow, hidden_size=16)
    refused(plus, "states of width 32 .* gives 16", narrow)
    tensors = load_file(adapter)
    fewer = {name: part for name, part in tensors.items() if ".7." not in name}
    save_file(fewer, tmp_path / "fewer.safetensors")
    refused(tmp_path / "fewer.safetensors", "it has 3 layers .* has 4 layers")
    layers = {name: part for name, part in tensors.items() if name.startswith("ip_adapter.")}
    save_file(layers, tmp_path / "layers.safetensors")
    refused(tmp_path / "layers.safetensors", "holds no IP-Adapter")
    face = {**layers, "image_proj.norm.weight": torch.ones(32)}
    save_file({**face, "image_proj.proj.0.weight": torch.ones(8, 8)}, tmp_path / "face.safetensors")
    refused(tmp_path / "face.safetensors", "FaceID")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(adapter.read_bytes()[:-10])
    refused(cut, "cut off or damaged")
    refused("ip-adapter.bin", "is a pickled file")
    refused("./nowhere.safetensors", "there is no IP-Adapter file")
    refused(tmp_path, "is a folder")


def test_what_cannot_be_looked_at_is_refused_before_sampling(
    tmp_path: Path, pipe: Pipeline, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    looking = seeing(pipe, adapter, encoder)
    with pytest.raises(LdmError, match=r"prompt_image .* cannot be read"):
        ours(looking, "./nowhere.png")
    with pytest.raises(LdmError, match="as many pictures for each image"):
        ours(looking, [[pictures[0]], pictures[:2]])
    with pytest.raises(LdmError, match="needs 'prompt_image'"):
        looking("a red star")
    with pytest.raises(LdmError, match="option 'scale'"):
        seeing(pipe, adapter, encoder, scale=float("nan"))
    other = Pipeline.from_pretrained(tiny.FOLDERS["DiT"].write(tmp_path / "dit"))
    with pytest.raises(LdmError, match="cannot be conditioned by 'image_prompt'"):
        seeing(other, adapter, encoder, ("class_label",))


def test_the_command_line_and_replay(
    ldm: Any, folder: Path, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    prompt = f'{{ name = "image_prompt", path = "{adapter}", image_encoder = "{encoder}" }}'
    setting = f'conditioning=["text", {prompt}]'
    code, out, err = ldm(
        *("generate", "a red star", "--model", folder, "--steps", "2", "--seed", "7", "--json"),
        *("--set", setting, "--input", f"prompt_image={pictures[0]}"),
    )
    assert code == 0, err
    record = json.loads(out)
    assert record["inputs"]["prompt_image"] == str(pictures[0])
    code, out, err = ldm("replay", "--allow-files", record["path"], "--json")
    assert code == 0, err
    assert json.loads(out)["max_difference"] == 0


def test_perturbed_attention_perturbs_the_network_that_looks_as_in_diffusers(
    folder: Path, pipe: Pipeline, adapter: Path, encoder: Path, pictures: list[Path]
) -> None:
    peer = load(StableDiffusionPAGPipeline, folder, adapter, encoder, 0.7)
    expected = theirs(peer, opened(*pictures[:2]), pag_scale=2.0)
    beside = {"name": "classifier_free", "scale": 4.0}
    looking = seeing(pipe, adapter, encoder, scale=0.7).replace(
        guidance={"name": "perturbed_attention", "scale": 2.0, "beside": beside}
    )
    assert apart(ours(looking, pictures[:2], guidance_scale=None), expected) < 1e-5
