"""Token merging: which tokens share one, and that pictures stay their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.shared.merging import Merge
from peers import apart
from tiny.folders import FOLDERS, MORE_FOLDERS

CALL: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}


def test_alike_tokens_share_one_by_hand() -> None:
    """Eight tokens in two rows: the first and third of the upper row are kept. Two of the others
    are merged: the copy of the first, and the one that is nearly the third."""
    a, c = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    odd = torch.tensor([0.0, 0.0, 1.0])
    x = torch.stack([a, 3 * a, c, odd, odd + 0.1 * a, odd, odd, 2 * c + 0.1 * odd])[None]
    merge = Merge.of(x, 2, 4, 0.25)
    assert merge.kept.tolist() == [0, 2]
    assert merge.merged.tolist() == [[1, 7]]
    assert merge.into.tolist() == [[0, 1]]
    left = merge.merge(x)
    assert left.shape == (1, 6, 3)
    torch.testing.assert_close(left[0, -2], 2 * a)  # the mean of a and 3a
    torch.testing.assert_close(left[0, -1], (3 * c + 0.1 * odd) / 2)
    back = merge.unmerge(left)
    torch.testing.assert_close(back[0, [3, 4, 5, 6]], x[0, [3, 4, 5, 6]])
    torch.testing.assert_close(back[0, [0, 1]], torch.stack([2 * a, 2 * a]))
    torch.testing.assert_close(back[0, [2, 7]], left[0, [5, 5]])


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (1, 6), (16, 8)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.75])
def test_each_token_has_one_place(size: tuple[int, int], ratio: float) -> None:
    x = torch.randn(3, size[0] * size[1], 5)
    merge = Merge.of(x, *size, ratio)
    for alone, merged in zip(merge.alone.tolist(), merge.merged.tolist(), strict=True):
        assert sorted([*merge.kept.tolist(), *alone, *merged]) == list(range(x.shape[1]))
    count = min(int(x.shape[1] * ratio), x.shape[1] - len(merge.kept))
    assert merge.merge(x).shape[1] == x.shape[1] - count


def test_equal_tokens_lose_nothing() -> None:
    x = torch.randn(2, 1, 6).expand(2, 64, 6)
    merge = Merge.of(x, 8, 8, 0.75)
    torch.testing.assert_close(merge.unmerge(merge.merge(x)), x)


def test_the_network_merges_at_its_largest_layers_and_the_model_stays(pipe: Pipeline) -> None:
    lengths: list[tuple[int, int]] = []

    def counting(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        lengths.append((q.shape[-2], k.shape[-2]))
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q, k, v, attn_mask=mask, scale=scale)

    prompt = {"prompt": "a red star", "seed": 1}
    plain = pipe(**prompt, **CALL).images
    merging = pipe.replace(converters=["token_merging"], attention=counting)
    out = merging(**prompt, **CALL).images
    text = merging.model.parts["text_encoder"].module.config.max_position_embeddings
    selves = {pair for pair in lengths if pair[0] == pair[1] != text}
    assert selves == {(32, 32), (16, 16)}  # of 8x8 tokens half, and of 4x4 all
    assert 0 < apart(out, plain) < 0.5
    assert torch.equal(pipe(**prompt, **CALL).images, plain)
    mine, theirs = (p.model.parts["unet"].module for p in (merging, pipe))
    assert [*mine.state_dict()] == [*theirs.state_dict()]
    assert all(a is b for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert merging(**prompt, num_inference_steps=1).manifests[0]["lossless"] is False


def test_which_tokens_are_merged_does_not_depend_on_the_batch() -> None:
    x = torch.randn(5, 64, 16)
    together = Merge.of(x, 8, 8, 0.5)
    for i in range(5):
        alone = Merge.of(x[i : i + 1], 8, 8, 0.5)
        assert alone.merged.tolist() == together.merged[i : i + 1].tolist()
        assert alone.into.tolist() == together.into[i : i + 1].tolist()


@pytest.mark.parametrize("kind", ["Stable Diffusion", "SDXL", "LCM"])
def test_a_picture_does_not_depend_on_its_batch(pipes: Any, kind: str) -> None:
    """But for rounding, which decides between tokens that are alike to the last digit: with other
    pictures in the batch one more or less may be merged, in networks of random weights as here."""
    merging = pipes(kind).replace(converters=["token_merging"])
    prompts = ["a red star", "a blue circle", "a star"]
    together = merging(prompts, seed=5, **CALL).images
    again = merging(prompts, seed=5, **CALL).images
    assert torch.equal(together, again)
    for i, prompt in enumerate(prompts):
        alone = merging(prompt, seed=5 + i, **CALL).images
        assert apart(alone, together[i : i + 1]) < 1e-3


def test_it_stands_beside_offloading_and_refuses_guidance_that_counts_tokens(pipes: Any) -> None:
    pipe, call = pipes("Stable Diffusion"), {"prompt": "a red star", "seed": 1, **CALL}
    alone = pipe.replace(converters=["token_merging"])(**call).images
    offloaded = pipe.replace(converters=["token_merging", "sequential_offload"])
    assert apart(offloaded(**call).images, alone) < 1e-6
    with pytest.raises(LdmError, match="which are no such picture's"):
        pipe.replace(
            converters=[{"name": "token_merging", "levels": 2}],
            guidance={"name": "perturbed_attention", "layers": ["down_blocks.0"]},
        )(**call)


@pytest.mark.parametrize("kind", ["DiT", "PixArt alpha"])
def test_a_transformer_of_the_pictures_tokens_alone_merges_in_all_layers(
    pipes: Any, kind: str
) -> None:
    """As many tokens as the ratio leaves; none where it is of less than one."""
    pipe, call = pipes(kind), {"seed": [1, 2], **{**FOLDERS, **MORE_FOLDERS}[kind].inputs, **CALL}
    lengths: list[tuple[int, int]] = []

    def counting(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        lengths.append((q.shape[-2], k.shape[-2]))
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(q, k, v, attn_mask=mask, scale=scale)

    seen = {}
    for name, converters in {
        "plain": [],
        "none": [{"name": "token_merging", "ratio": 0.01}],
        "half": ["token_merging"],
    }.items():
        lengths.clear()
        latents = pipe.replace(converters=converters, attention=counting)(**call).images
        seen[name] = latents, [q for q, k in lengths if q == k]
    network = pipe.model.parts["transformer"].module
    tokens = seen["plain"][0][0, 0].numel() // network.config.patch_size**2
    layers = len(network.transformer_blocks)
    assert seen["half"][1].count(tokens // 2) == seen["plain"][1].count(tokens) >= layers
    assert tokens not in seen["half"][1]
    assert apart(seen["none"][0], seen["plain"][0]) < 1e-5  # in another order
    assert 0 < apart(seen["half"][0], seen["plain"][0]) < 1
    assert torch.equal(pipe(**call).images, seen["plain"][0])
    with pytest.raises(LdmError, match="levels = 2 are of a UNet"):
        pipe.replace(converters=[{"name": "token_merging", "levels": 2}])


@pytest.mark.parametrize("kind", ["SD 3", "Flux dev", "DDPM"])
def test_other_networks_are_refused(kind: str, tmp_path: Any) -> None:
    folder = FOLDERS[kind].write(tmp_path / "model")
    with pytest.raises(LdmError, match=r"'token_merging' merges the tokens of a UNet2DCond"):
        compose({"model": folder, "converters": ["token_merging"]}, installed())
