"""Guidance with the network altered: Diffusers' pictures and formulas, networks changed by hand."""

from __future__ import annotations

import copy
import dataclasses
import math
import threading
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import guiders
from diffusers.hooks import LayerSkipConfig, apply_layer_skip
from diffusers.hooks.smoothed_energy_guidance_utils import _gaussian_blur_2d as blur_of_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch.nn import functional

import tiny
from guided import ask, counted, in_a_run, latents
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Bound, Evaluation
from ldm_core.errors import LdmError
from ldm_core.numerics.prediction import as_prediction_type
from ldm_core.plugins.registry import installed
from ldm_core.run.attention import in_force
from ldm_core.run.weights import Weights
from ldm_plugins.guidance.smoothed_energy import blur
from peers import apart, distance_to_peer

ALTERED = ("perturbed_attention", "smoothed_energy", "skip_layer")
PLACES = {
    "Stable Diffusion": ["mid_block"],
    "SDXL": ["mid_block", "down_blocks.1"],
    "DiT": [1],
    "PixArt alpha": [0, 1],
    "SD 3": [0],
    "Flux dev": [0, 1],
    "Flux schnell": ["single_transformer_blocks"],
    "LCM": ["up_blocks.1"],
    "LDM text": ["mid_block"],
    "LDM": ["mid_block"],
    "DDPM": ["mid_block"],
}


def whole(name: str, **more: Any) -> dict[str, Any]:
    """The guidance on the whole way."""
    return {"name": name, **({"start": 0.0, "stop": 1.0} if name == "skip_layer" else {}), **more}


def by_hand(pipe: Pipeline, kind: str, change: Any) -> Any:
    """The network of a full copy of the weights, which `change` may do anything to."""
    model = pipe.model
    key = "unet" if "unet" in model.parts else "transformer"
    other = copy.deepcopy(model.parts[key].module)
    change(other)
    return model.replaced({key: dataclasses.replace(model.parts[key], module=other)}).network


def on_model(pipe: Pipeline, model: Any) -> Pipeline:
    """The pipeline on another model."""
    weights = Weights.of(model)
    return dataclasses.replace(pipe, weights=weights, unconverted=weights)


def branch_of(guidance: Bound) -> str:
    """The branch of the one network that is asked in place of the model's."""
    (branch,) = guidance.networks
    return branch


class Identity:
    """Self-attention of a UNet, DiT or PixArt in which each token has its own value alone."""

    def __call__(self, attn: Any, hidden_states: Any, *args: Any, **options: Any) -> Any:
        assert hidden_states.ndim == 3
        return attn.to_out[0](attn.to_v(hidden_states))


def perturb_blocks(*parts: Any) -> None:
    for part in parts:
        for block in part.transformer_blocks:
            block.attn1.processor = Identity()


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "layers", "change"),
    [
        (
            "Stable Diffusion",
            ["mid_block"],
            lambda unet: perturb_blocks(unet.mid_block.attentions[0]),
        ),
        (
            "Stable Diffusion",
            ["down_blocks.0.attentions.0", "mid_block"],
            lambda unet: perturb_blocks(
                unet.mid_block.attentions[0], unet.down_blocks[0].attentions[0]
            ),
        ),
        ("DiT", [0, 1], perturb_blocks),
        ("PixArt alpha", [0, 1], perturb_blocks),
    ],
)
def test_the_perturbed_branch_is_the_network_with_those_layers_changed(
    pipes: Any, kind: str, layers: Any, change: Any
) -> None:
    pipe = pipes(kind).replace(guidance={"name": "perturbed_attention", "layers": layers})
    guidance, x, condition = in_a_run(pipe, kind)
    point = pipe.composition.grid(3)[1]
    found = ask(guidance.networks["perturbed"], x, point, condition)
    expected = ask(by_hand(pipe, kind, change), x, point, condition)
    assert apart(found, expected) < 1e-6
    assert apart(found, ask(pipe.model.network, x, point, condition)) > 1e-4


@torch.no_grad()
@pytest.mark.parametrize(
    ("layers", "skipped"), [([1], [1]), ([0, 1], [0, 1]), (["transformer_blocks.0"], [0])]
)
def test_the_skipping_branch_of_sd3_is_diffusers_own(
    pipes: Any, layers: Any, skipped: list[int]
) -> None:
    """SD3Transformer2DModel takes the numbers of the blocks to skip."""
    pipe = pipes("SD 3").replace(guidance={"name": "skip_layer", "layers": layers})
    guidance, x, condition = in_a_run(pipe, "SD 3")
    point = pipe.composition.grid(3)[1]
    expected = pipe.model.parts["transformer"].module(
        x,
        condition["text"],
        condition["pooled"],
        torch.full((2,), point.t),
        skip_layers=skipped,
        return_dict=False,
    )[0]
    assert apart(ask(guidance.networks["skipped"], x, point, condition), expected) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("kind", ["DiT", "PixArt alpha", "Stable Diffusion", "Flux dev"])
def test_a_skipped_block_is_left_out(pipes: Any, kind: str) -> None:
    def leave_out(network: Any) -> None:
        if kind == "Stable Diffusion":
            network.mid_block.attentions[0].transformer_blocks = torch.nn.ModuleList()
        else:
            del network.transformer_blocks[-1]
            if kind == "Flux dev":
                del network.single_transformer_blocks[-1]

    layers = {"Stable Diffusion": ["mid_block"], "Flux dev": [0, 1]}.get(kind, [1])
    pipe = pipes(kind).replace(guidance={"name": "skip_layer", "layers": layers})
    guidance, x, condition = in_a_run(pipe, kind)
    point = pipe.composition.grid(3)[1]
    expected = ask(by_hand(pipe, kind, leave_out), x, point, condition)
    assert apart(ask(guidance.networks["skipped"], x, point, condition), expected) < 1e-6


def theirs(pipe: Pipeline, cls: str, **options: Any) -> Any:
    return getattr(diffusers, cls).from_pretrained(pipe.model.info.folder, **options)


@pytest.mark.parametrize(
    ("kind", "cls", "layers", "applied"),
    [
        ("Stable Diffusion", "StableDiffusionPAGPipeline", None, "mid"),
        ("Stable Diffusion", "StableDiffusionPAGPipeline", ["up_blocks.1"], "up_blocks.1"),
        ("SDXL", "StableDiffusionXLPAGPipeline", None, "mid"),
        ("Kolors", "KolorsPAGPipeline", None, "mid"),
        ("SD 3", "StableDiffusion3PAGPipeline", [1], "blocks.1"),
        ("PixArt sigma", "PixArtSigmaPAGPipeline", [1], "blocks.1"),
    ],
)
@pytest.mark.parametrize("scale", [4.0, 1.0], ids=["with classifier-free", "alone"])
def test_perturbed_attention_gives_the_pictures_of_diffusers(
    pipes: Any, kind: str, cls: str, layers: list[Any] | None, applied: str, scale: float
) -> None:
    beside = {"name": "classifier_free", "scale": scale}
    guidance = {"name": "perturbed_attention", "scale": 3.0, "beside": beside, "layers": layers}
    ours = pipes(kind).replace(guidance=guidance)
    their = {"guidance_scale": scale, "pag_scale": 3.0}
    if kind == "PixArt sigma":
        their["use_resolution_binning"] = False
    peer = theirs(ours, cls, pag_applied_layers=applied)
    assert distance_to_peer(ours, peer, their=their, num_inference_steps=3) < 1e-5


def test_lora_and_a_controlnet_reach_the_perturbed_network_too(pipes: Any, tmp_path: Path) -> None:
    """As in StableDiffusionControlNetPAGPipeline with the same files."""
    folder = pipes("Stable Diffusion").model.info.folder
    edges = tiny.write_controlnet(tmp_path / "edges", folder)
    to_train = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    to_train.unet.add_adapter(
        LoraConfig(r=2, init_lora_weights=False, target_modules=["to_v", "to_out.0"])
    )
    to_train.save_lora_weights(tmp_path, get_peft_model_state_dict(to_train.unet))
    lora = tmp_path / "pytorch_lora_weights.safetensors"
    image = Image.effect_noise((16, 16), 90).convert("RGB")
    ours = pipes("Stable Diffusion").replace(
        guidance={"name": "perturbed_attention", "beside": "classifier_free"},
        conditioning=["text", {"name": "control", "models": [str(edges)]}],
        loras=[str(lora)],
    )
    peer = diffusers.StableDiffusionControlNetPAGPipeline.from_pretrained(
        folder, controlnet=diffusers.ControlNetModel.from_pretrained(edges)
    )
    peer.load_lora_weights(lora)
    distance = distance_to_peer(
        ours, peer, {"control_image": [image] * 2}, {"image": image, "pag_scale": 3.0}
    )
    assert distance < 1e-5


def test_skip_layer_gives_the_pictures_of_diffusers(pipes: Any) -> None:
    guidance = {"name": "skip_layer", "layers": [1], "scale": 2.8, "start": 0.01, "stop": 0.6}
    ours = pipes("SD 3").replace(guidance=guidance)
    their = {
        "guidance_scale": 7.0,
        "skip_guidance_layers": [1],
        "skip_layer_guidance_scale": 2.8,
        "skip_layer_guidance_start": 0.01,
        "skip_layer_guidance_stop": 0.6,
    }
    peer = theirs(ours, "StableDiffusion3Pipeline")
    assert distance_to_peer(ours, peer, their=their) < 1e-5
    unguided = pipes("SD 3").replace(guidance={"name": "classifier_free", "scale": 7.0})
    assert apart(latents(ours, "SD 3"), latents(unguided, "SD 3")) > 1e-4


@pytest.mark.parametrize(
    ("name", "guider", "scale", "options"),
    [
        (
            "perturbed_attention",
            "PerturbedAttentionGuidance",
            "perturbed_guidance_scale",
            {"perturbed_guidance_layers": [1]},
        ),
        (
            "skip_layer",
            "SkipLayerGuidance",
            "skip_layer_guidance_scale",
            {"skip_layer_guidance_layers": [1]},
        ),
        (
            "smoothed_energy",
            "SmoothedEnergyGuidance",
            "seg_guidance_scale",
            {"seg_guidance_layers": [1]},
        ),
    ],
)
def test_answers_are_combined_by_diffusers_formulas(
    pipes: Any, name: str, guider: str, scale: str, options: dict[str, Any]
) -> None:
    peer = getattr(guiders, guider)(guidance_scale=4.0, **{scale: 1.7}, **options)
    positive, negative, weaker = torch.randn(3, 2, 4, 8, 8).unbind()
    expected = peer.forward(positive, negative, weaker).pred
    beside = {"name": "classifier_free", "scale": 4.0}
    chosen = whole(name, layers=[1], scale=1.7, beside=beside)
    guidance, x, _ = in_a_run(pipes("SD 3").replace(guidance=chosen), "SD 3")
    point = pipes("SD 3").composition.grid(3)[1]
    branch = branch_of(guidance)
    assert set(guidance.branches(point)) == {"positive", "negative", branch}
    outputs = {"positive": positive, "negative": negative, branch: weaker}
    found = guidance.combine(outputs, Evaluation(x, point, as_prediction_type("flow")))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_diffusers_guiders_differ_as_is_documented(pipes: Any) -> None:
    positive, weak = torch.randn(2, 1, 4, 8, 8).unbind()
    alone = guiders.PerturbedAttentionGuidance(1.0, 3.0, perturbed_guidance_layers=[1])
    torch.testing.assert_close(
        alone.forward(positive, None, weak).pred, weak + 3.0 * (positive - weak)
    )
    queries = torch.randn(1, 64, 8)
    finite, infinite = (
        blur_of_diffusers(queries.clone(), 7, sigma, 9999.0) for sigma in (1.0, 1e6)
    )
    mean = queries.mean(1, keepdim=True).expand_as(queries)
    torch.testing.assert_close(finite, mean)
    assert apart(infinite, mean) > 0.1
    transformer = copy.deepcopy(pipes("SD 3").model.parts["transformer"].module)
    apply_layer_skip(transformer, LayerSkipConfig(indices=[1]))
    _, x, condition = in_a_run(pipes("SD 3"), "SD 3")
    with pytest.raises(RuntimeError, match="shape"):
        transformer(x, condition["text"], condition["pooled"], torch.full((2,), 500.0))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (5, 7), (4, 6), (1, 2)])
def test_the_blur_is_a_gaussian_convolution_over_the_mirrored_picture(
    rows: int, columns: int, sigma: float
) -> None:
    picture = torch.randn(1, 1, rows, columns)

    def kernel(count: int) -> torch.Tensor:
        size = min(math.ceil(6 * sigma) // 2 * 2 + 1, count // 2 * 2 + 1)
        offsets = torch.arange(size) - size // 2
        weights = torch.exp(-((offsets / sigma) ** 2) / 2)
        return weights / weights.sum()

    down, along = kernel(rows), kernel(columns)
    padding = [len(along) // 2] * 2 + [len(down) // 2] * 2
    padded = functional.pad(picture, padding, mode="reflect")
    expected = functional.conv2d(padded, torch.outer(down, along)[None, None])
    found = torch.tensor(blur(rows, sigma)) @ picture @ torch.tensor(blur(columns, sigma)).T
    torch.testing.assert_close(found, expected)


class Blurred:
    """Self-attention whose weights, before their softmax, are blurred over the queries."""

    def __init__(self, rows: int, columns: int, sigma: float | None) -> None:
        count = rows * columns
        self.matrix = torch.full((count, count), 1 / count)
        if sigma is not None:
            self.matrix = torch.kron(
                torch.tensor(blur(rows, sigma)), torch.tensor(blur(columns, sigma))
            )

    def __call__(self, attn: Any, hidden_states: Any, *args: Any, **options: Any) -> Any:
        q, k, v = (
            to(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for to in (attn.to_q, attn.to_k, attn.to_v)
        )
        weights = self.matrix @ (q @ k.mT / math.sqrt(q.shape[-1]))
        return attn.to_out[0]((weights.softmax(-1) @ v).transpose(1, 2).flatten(2))


@torch.no_grad()
@pytest.mark.parametrize("sigma", [1.0, None])
def test_the_smoothed_branch_blurs_the_attention_weights(pipes: Any, sigma: float | None) -> None:
    """24 pixels high and 32 wide are 12x16 latents, 6x8 in the middle of this UNet."""

    def change(unet: Any) -> None:
        block = unet.mid_block.attentions[0].transformer_blocks[0]
        block.attn1.processor = Blurred(6, 8, sigma)

    chosen = {"name": "smoothed_energy"} | ({} if sigma is None else {"sigma": sigma})
    pipe = pipes("Stable Diffusion").replace(guidance=chosen)
    guidance, _, condition = in_a_run(pipe, "Stable Diffusion")
    x, point = torch.randn(2, 4, 12, 16), pipe.composition.grid(3)[1]
    found = ask(guidance.networks["smoothed"], x, point, condition)
    expected = ask(by_hand(pipe, "Stable Diffusion", change), x, point, condition)
    assert apart(found, expected) < 1e-6
    assert apart(found, ask(pipe.model.network, x, point, condition)) > 1e-5


@torch.no_grad()
@pytest.mark.parametrize("kind", ["SD 3", "Flux dev"])
def test_where_picture_and_text_attend_to_each_other_the_text_keeps_its_attention(
    pipes: Any, kind: str
) -> None:
    """The weights and queries of the first block, read off while its network is asked."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def reading(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        weights = q @ k.mT * scale
        weights = (weights if mask is None else weights.masked_fill(~mask, -torch.inf)).softmax(-1)
        seen.append((weights, q))
        return weights @ v

    pipe = pipes(kind)
    for name in ("perturbed_attention", "smoothed_energy"):
        chosen = {"name": name, "layers": [0], "beside": "none"}
        guidance, x, condition = in_a_run(pipe.replace(guidance=chosen), kind)
        point = pipe.composition.grid(3)[1]
        seen.clear()
        with in_force(reading):
            ask(pipe.model.network, x, point, condition)
            ask(guidance.networks[branch_of(guidance)], x, point, condition)
        (own, own_queries), (weights, queries) = seen[0], seen[len(seen) // 2]
        count, picture = weights.shape[-1], x.shape[-2] * x.shape[-1] // 4
        inside, text = slice(picture), slice(picture, count)
        if kind == "Flux dev":
            inside, text = slice(count - picture, count), slice(count - picture)
        torch.testing.assert_close(weights[..., text, :], own[..., text, :])
        torch.testing.assert_close(queries[..., text, :], own_queries[..., text, :])
        if name == "smoothed_energy":
            assert queries[..., inside, :].std(-2).max() < 1e-6
            continue
        among, before = weights[..., inside, inside], own[..., inside, inside]
        diagonal = among.diagonal(dim1=-2, dim2=-1)
        assert among.equal(torch.diag_embed(diagonal))
        to_text = own[..., inside, text].sum(-1)
        expected = before.diagonal(dim1=-2, dim2=-1)
        torch.testing.assert_close(diagonal, expected / (expected + to_text))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k in PLACES for n in ALTERED if n != "skip_layer" or k not in ("LDM", "DDPM")],
)
def test_every_kind_of_network_is_guided_and_left_as_it_was(
    pipes: Any, kind: str, name: str
) -> None:
    pipe = pipes(kind)
    before = latents(pipe, kind)
    parts = pipe.model.parts
    network = parts["unet" if "unet" in parts else "transformer"].module
    modules = {n: (m, dict(m.__dict__)) for n, m in network.named_modules()}
    chosen = whole(name, layers=PLACES[kind])
    guided = latents(pipe.replace(guidance=chosen), kind)
    assert guided.isfinite().all()
    assert apart(guided, before) > 1e-5
    assert {n: (m, dict(m.__dict__)) for n, m in network.named_modules()} == modules
    assert latents(pipe, kind).equal(before)


@pytest.mark.parametrize("kind", ["Stable Diffusion", "SD 3", "Flux dev"])
@pytest.mark.parametrize("more", [{"sigma": 1.0}, {}], ids=["blurred", "perturbed"])
def test_neither_the_batch_nor_half_precision_changes_the_picture(
    pipes: Any, kind: str, more: dict[str, float]
) -> None:
    name = "smoothed_energy" if more else "perturbed_attention"
    guidance = {"name": name, "layers": PLACES[kind], **more}
    pipe = pipes(kind).replace(guidance=guidance, num_inference_steps=2)
    both = latents(pipe, kind)
    assert apart(latents(pipe, kind, batch_size=1), both) < 1e-5
    folder = pipe.model.info.folder
    half = Pipeline.from_pretrained(
        folder, guidance=guidance, num_inference_steps=2, dtype="bfloat16", compute_dtype="bfloat16"
    )
    assert apart(latents(half, kind), both) < 0.06  # 8 bits, over two steps


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_network_has_the_tensors_of_the_models(pipes: Any, name: str) -> None:
    pipe = pipes("Stable Diffusion").replace(guidance={"name": name})
    networks = []

    def remake(parts: Any, place: Any) -> Any:
        networks.append(parts["unet"].module)
        assert pipe.model.remake is not None
        return pipe.model.remake(parts, place)

    in_a_run(on_model(pipe, dataclasses.replace(pipe.model, remake=remake)), "Stable Diffusion")
    own = pipe.model.parts["unet"].module
    (other,) = networks
    assert other is not own
    ours, others = (dict(network.named_parameters()) for network in (own, other))
    assert ours.keys() == others.keys()
    assert all(ours[n] is others[n] for n in ours)
    changed = [m for m in other.modules() if not any(m is kept for kept in own.modules())]
    assert len(changed) < 12  # the way from the top to the middle
    assert other.up_blocks is own.up_blocks


def test_pipelines_in_two_threads_do_not_see_each_others_guidance(pipes: Any) -> None:
    plain = pipes("Stable Diffusion")
    chosen = [plain, *(plain.replace(guidance=whole(name)) for name in ALTERED)]
    expected = [latents(pipe) for pipe in chosen]
    found: dict[int, list[torch.Tensor]] = {}

    def work(index: int) -> None:
        found[index] = [latents(chosen[index]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(chosen))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, right in enumerate(expected):
        assert all(made.equal(right) for made in found[index])


@torch.no_grad()
def test_one_altered_network_serves_two_threads_with_latents_of_two_sizes(pipes: Any) -> None:
    """Both are in their calls before either comes to a layer that must know the size of its x."""
    pipe = pipes("Stable Diffusion").replace(guidance={"name": "smoothed_energy", "sigma": 1.0})
    guidance, _, condition = in_a_run(pipe, "Stable Diffusion")
    network, point = guidance.networks["smoothed"], pipe.composition.grid(3)[1]
    latents_of_two = [torch.randn(2, 4, 8, 8), torch.randn(2, 4, 12, 16)]
    expected = [ask(network, x, point, condition) for x in latents_of_two]
    both = threading.Barrier(2, timeout=300)
    answers: dict[int, torch.Tensor] = {}

    def work(index: int) -> None:
        with torch.no_grad():
            answers[index] = ask(network, latents_of_two[index], point, condition)

    first = pipe.model.parts["unet"].module.conv_in

    def meet(*call: Any) -> None:
        both.wait()

    meeting = first.register_forward_pre_hook(meet)
    try:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        meeting.remove()
    assert all(apart(answers[index], expected[index]) < 1e-6 for index in range(2))


@pytest.mark.parametrize("name", ALTERED)
def test_where_it_is_off_it_costs_nothing(
    pipes: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = pipes("Stable Diffusion")
    beside = {"name": "classifier_free", "scale": 3.0}
    plain, without = counted(pipe, monkeypatch, guidance=beside)
    assert plain == 4 * 4  # two images, two branches
    count, made = counted(pipe, monkeypatch, guidance=whole(name, scale=0.0, beside=beside))
    assert count == plain
    assert made.equal(without)
    grid = pipe.composition.grid(4)
    half: dict[str, Any] = {"low": grid[3].ratio, "high": grid[1].ratio}
    if name == "skip_layer":
        half = {"start": 0.25, "stop": 0.75}
    count, made = counted(pipe, monkeypatch, guidance=whole(name, beside=beside, **half))
    assert count == plain + 2 * 2  # two images at two points more
    assert not made.equal(without)


def test_beside_what_is_the_models_own_where_nothing_is_said(pipes: Any) -> None:
    for kind, own in [
        ("Stable Diffusion", {"name": "classifier_free", "scale": 7.5}),
        ("Flux dev", {"name": "embedded", "scale": 3.5}),
        ("LDM", "none"),
    ]:
        layers = {"layers": [0]} if kind == "Flux dev" else {}
        name = {"name": "perturbed_attention", **layers}
        pipe = pipes(kind)
        said = latents(pipe.replace(guidance={**name, "beside": own}), kind)
        assert latents(pipe.replace(guidance=name), kind).equal(said)
        assert not latents(pipe.replace(guidance=own), kind).equal(said)


def test_one_may_stand_beside_another(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion")
    skip = whole("skip_layer")
    both = {"name": "perturbed_attention", "scale": 2.0, "beside": skip}
    guidance, x, _ = in_a_run(pipe.replace(guidance=both), "Stable Diffusion")
    point = pipe.composition.grid(3)[1]
    outputs = {name: torch.randn_like(x) for name in guidance.branches(point)}
    assert outputs.keys() == {"positive", "negative", "perturbed", "skipped"}
    p, n, a, b = (outputs[name] for name in ("positive", "negative", "perturbed", "skipped"))
    expected = n + 7.5 * (p - n) + 2.8 * (p - b) + 2.0 * (p - a)
    torch.testing.assert_close(
        guidance.combine(outputs, Evaluation(x, point, as_prediction_type("epsilon"))), expected
    )


@pytest.mark.parametrize(
    ("kind", "guidance", "message"),
    [
        ("DiT", {"name": "perturbed_attention"}, "needs the option 'layers'.*from 0 to 1"),
        ("DiT", {"name": "skip_layer"}, "needs the option 'layers'.*from 0 to 1"),
        ("SD 3", {"name": "skip_layer", "layers": [2]}, "no block 2; .* from 0 to 1"),
        ("Flux dev", {"name": "smoothed_energy", "layers": [-1]}, "no block -1; .* from 0 to 1"),
        ("Stable Diffusion", {"name": "skip_layer", "layers": [3]}, "UNet, whose blocks have no n"),
        ("Stable Diffusion", {"name": "smoothed_energy", "sigma": 0}, "'sigma'.*greater than 0"),
        ("Stable Diffusion", {"name": "skip_layer", "start": 0.5}, "0 <= start < stop <= 1"),
        (
            "Stable Diffusion",
            {"name": "perturbed_attention", "low": 2.0, "high": 1.0},
            "nowhere from 2 to 1",
        ),
        (
            "Stable Diffusion",
            {"name": "perturbed_attention", "beside": "embedded"},
            "not distilled",
        ),
        ("Stable Diffusion", {"name": "autoguidance", "model": "nowhere"}, "nowhere"),
    ],
)
def test_what_does_not_fit_is_seen_before_weights_are_read(
    pipes: Any, kind: str, guidance: Any, message: str
) -> None:
    folder = pipes(kind).model.info.folder
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder), "guidance": guidance}, installed())


@pytest.mark.parametrize(
    ("kind", "guidance", "message"),
    [
        ("Stable Diffusion", {"layers": ["mid"]}, "has no part 'mid'. Did you mean 'mid_block'"),
        ("Stable Diffusion", {"layers": ["up_blocks.0"]}, "'up_blocks.0'.* no self-attention"),
        ("SD 3", {"name": "skip_layer", "layers": ["norm_out"]}, "no block of the kinds"),
        ("DDPM", {"name": "skip_layer", "start": 0.0}, "'mid_block' .* no block of the kinds"),
    ],
)
def test_what_does_not_fit_the_network_is_seen_before_sampling(
    pipes: Any, kind: str, guidance: Any, message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        latents(pipes(kind).replace(guidance={"name": "perturbed_attention", **guidance}), kind)


def test_an_attention_that_is_not_known_is_refused(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion")
    unet = copy.deepcopy(pipe.model.parts["unet"])
    unet.module.set_attn_processor(Identity())
    other = on_model(pipe, pipe.model.replaced({"unet": unet}))
    with pytest.raises(LdmError, match=r"does not know the attention of .*attn1' \(Identity\)"):
        latents(other.replace(guidance="perturbed_attention"))
