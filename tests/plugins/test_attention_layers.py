"""Every layer of attention in a network of each family is one that a kernel reaches."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.attention import AttentionModuleMixin
from diffusers.models.attention_processor import Attention

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Kernel, first_of, runs_on
from ldm_core.model import place
from ldm_core.plugins.registry import installed
from ldm_core.run.attention import in_force
from ldm_core.run.attention_layers import AttentionLayers, attention_layers
from tiny.covering import one_of_each
from tiny.folders import FOLDERS


def counted(folder: Path, **choices: Any) -> AttentionLayers:
    composition = compose({"model": folder, "device": "cpu", **choices}, installed())
    return attention_layers(composition, place.resolve(composition.recipe))


class Counting:
    """Attention that remembers what it was asked for."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        self.shapes.append((q.shape[1], q.shape[-1], q.shape[-2], k.shape[-2]))
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q, k, v, attn_mask=mask, scale=scale)


@pytest.mark.parametrize("kind", one_of_each())
def test_as_many_layers_are_reached_as_diffusers_has(kind: str, tmp_path: Path) -> None:
    """Diffusers' own classes of attention are counted in the loaded network; and a kernel in one
    step of a run is asked as often as was foreseen on shapes, for the same heads and tokens."""
    folder = FOLDERS[kind].write(tmp_path / "model")
    inputs = FOLDERS[kind].inputs_in(tmp_path)
    layers, kernel = counted(folder), Counting()
    pipe = Pipeline.from_pretrained(folder, device="cpu", attention=kernel)
    (network,) = layers.networks
    module = pipe.model.parts[network].module
    own = [m for m in module.modules() if isinstance(m, Attention | AttentionModuleMixin)]
    assert layers.of(network) == len(own) > 0
    one = {name: v[0] if isinstance(v, list) else v for name, v in inputs.items()}
    plan = pipe.composition.plan(
        {n: v for n, v in one.items() if n not in ("width", "height")}, [1]
    )
    run = pipe.start(plan)
    denoise = run.denoiser()
    kernel.shapes.clear()  # of text encoders
    with torch.no_grad(), in_force(kernel):
        denoise(run.x, plan.grid[0])
    foreseen = {
        (layer.heads, layer.head_size, layer.queries, layer.keys): count
        for layer, count in layers.counts.items()
        if layer.part == network
    }
    asked = {shape: kernel.shapes.count(shape) for shape in kernel.shapes}
    assert asked == foreseen


def test_a_part_whose_layers_are_not_torchs_is_told(tmp_path: Path) -> None:
    """The text encoder of the first latent diffusion model writes the formula out."""
    layers = counted(FOLDERS["LDM text"].write(tmp_path / "model"))
    assert layers.parts["bert"] == "LDMBertModel"
    assert layers.of("bert") == 0


def without_attention(folder: Path) -> Path:
    """A network of convolutions alone, in the place of a folder's own."""
    config = dict(diffusers.UNet2DModel.load_config(folder / "unet"))
    blocks = len(config["block_out_channels"])
    config |= {
        "down_block_types": ["DownBlock2D"] * blocks,
        "up_block_types": ["UpBlock2D"] * blocks,
        "add_attention": False,
    }
    diffusers.UNet2DModel.from_config(config).save_pretrained(folder / "unet")
    return folder


def test_a_kernel_that_reaches_no_layer_is_an_error(tmp_path: Path, ldm: Any) -> None:
    folder = without_attention(FOLDERS["DDPM"].write(tmp_path / "model"))
    code, _, err = ldm("explain", "--model", folder, "--steps", "2", "--attention", "chunked")
    assert code == 2
    assert "would reach no layer of the network" in err
    code, out, _ = ldm("explain", "--model", folder, "--steps", "2", "--layers")
    assert code == 0
    assert "0 layers in a call of the network" in out
    pipe = Pipeline.from_pretrained(folder, attention="chunked", device="cpu")
    with pytest.raises(LdmError, match="reaches no layer of the network"):
        pipe(seed=1, num_inference_steps=2)
    assert pipe.replace(attention="native")(seed=1, num_inference_steps=2).images


def narrow(label: str, *sizes: int, masks: Any = ()) -> Kernel:
    """The formula, for heads of these sizes alone."""

    def formula(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        asked.append((label, q.shape[-1]))
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q, k, v, attn_mask=mask, scale=scale)

    asked: list[tuple[str, int]] = []
    kernel = runs_on("cpu", head_sizes=sizes, masks=masks)(formula)
    return replace(kernel, name=label)


def test_what_a_kernel_cannot_take_is_refused_before_weights_are_read(
    folder: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    for file in bare.rglob("*.safetensors"):
        data = bytearray(file.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        data[start:] = b"\xff" * (len(data) - start)  # not finite: no reader takes it
        file.write_bytes(data)
    layers = counted(bare)
    sizes = {layer.head_size for layer in layers.counts}
    with pytest.raises(LdmError, match=r"of the text_encoder can be computed by no kernel.*mask"):
        Pipeline.from_pretrained(bare, device="cpu", attention=narrow("few", *sizes))
    masks = ("boolean", "additive")
    with pytest.raises(LdmError, match=r"(?s)takes heads of 3, and these are \d+.*,native"):
        Pipeline.from_pretrained(bare, device="cpu", attention=narrow("few", 3, masks=masks))
    every = narrow("all", *sizes, masks=masks)
    with pytest.raises(LdmError, match="not finite"):
        Pipeline.from_pretrained(bare, device="cpu", attention=every)


def test_what_one_kernel_declines_the_next_one_takes(pipe: Pipeline) -> None:
    """By head size and mask, for each layer; what each was asked for is what was foreseen."""
    network = attention_layers(pipe.composition, pipe.model.place)
    sizes = sorted({layer.head_size for layer in network.counts})
    first = narrow("first", sizes[0])
    second = Counting()
    plain = pipe("a red star", seed=1, output_type="latent").images
    chain = pipe.replace(attention=[first, second])
    assert torch.equal(chain("a red star", seed=1, output_type="latent").images, plain)
    taken = {(layer.head_size, layer.mask) for layer in network.counts if layer.part != "vae"}
    assert second.shapes
    assert {shape[1] for shape in second.shapes} == {
        size for size, mask in taken if size != sizes[0] or mask is not None
    }
    kernel = first_of([first, second])
    assert kernel.taker(sizes[0], None) is first
    assert kernel.taker(sizes[0], "boolean") is not first
