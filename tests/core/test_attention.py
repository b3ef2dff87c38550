"""A kernel is in force for one pipeline's calls, in one thread, on UNets too."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from ldm_core import Pipeline
from ldm_core.contracts import first_of, lacking, runs_on
from ldm_core.run.attention import in_force


class Counting:
    def __init__(self) -> None:
        self.calls = 0
        self.threads: set[int] = set()

    def __call__(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        self.calls += 1
        self.threads.add(threading.get_ident())
        return sdpa(q, k, v, attn_mask=mask, scale=scale)


def run(pipe: Pipeline) -> Any:
    return pipe("a red star", seed=1, num_inference_steps=2, output_type="latent").images


def test_a_unets_layers_call_the_pipelines_kernel_and_no_others(pipe: Pipeline) -> None:
    kernel = Counting()
    expected = run(pipe)
    assert run(pipe.replace(attention=kernel)).equal(expected)
    names = [name for name, _ in pipe.model.parts["unet"].module.named_modules()]
    in_unet = sum(name.endswith(("attn1", "attn2")) for name in names)
    in_text_encoder = pipe.model.parts["text_encoder"].module.config.num_hidden_layers
    # Two steps of the UNet, both branches at once; the prompt and the negative prompt once each.
    assert in_unet > 0
    assert kernel.calls == 2 * in_unet + 2 * in_text_encoder
    before = kernel.calls
    run(pipe)
    assert kernel.calls == before


def test_two_kernels_in_two_threads_on_the_same_weights(pipe: Pipeline) -> None:
    kernels = [Counting(), Counting()]
    results: dict[int, Any] = {}

    def work(i: int) -> None:
        results[i] = run(pipe.replace(attention=kernels[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0].equal(results[1])
    assert kernels[0].calls == kernels[1].calls > 0
    assert kernels[0].threads.isdisjoint(kernels[1].threads)


def test_torchs_other_arguments_reach_the_kernel() -> None:
    q = torch.randn(1, 4, 6, 8)
    k, v = torch.randn(2, 1, 2, 6, 8)
    expected = sdpa(q, k, v, is_causal=True, scale=0.3, enable_gqa=True)
    kernel = Counting()
    with in_force(kernel):
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=0.3, enable_gqa=True
        )
    assert kernel.calls == 1
    torch.testing.assert_close(out, expected)


def test_a_kernel_that_loses_something_is_in_the_manifest(pipe: Pipeline) -> None:
    def rough(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        return sdpa(q, k, v, attn_mask=mask, scale=scale)

    def said(*kernels: Any) -> Any:
        call = {"seed": 1, "num_inference_steps": 1}
        return pipe.replace(attention=list(kernels))("a star", **call).manifests[0]

    lossy = runs_on(lossless=False)(rough)
    assert "lossless" not in said(rough)
    assert said(lossy)["lossless"] is False
    assert said(rough, lossy)["lossless"] is False
    assert "lossless" not in said(rough, lacking(lossy, "a card", "buy one"))


def test_a_kernel_of_other_dimensions_is_asked_in_the_contracts_form() -> None:
    q, k, v = torch.randn(3, 5, 6, 8)
    mask = torch.rand(6, 6) > 0.3
    mask[:, 0] = True
    seen = []

    def kernel(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        seen.append((q.dim(), mask.dim()))
        return sdpa(q, k, v, attn_mask=mask, scale=scale)

    with in_force(kernel):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert seen == [(4, 4)]
    torch.testing.assert_close(out, sdpa(q, k, v, attn_mask=mask))


def test_dropout_is_refused() -> None:
    q = torch.randn(1, 1, 2, 4)
    with in_force(Counting()), pytest.raises(ValueError, match="dropout"):
        torch.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.1)


@pytest.mark.parametrize(("masked", "calls"), [("boolean", (0, 1)), ("additive", (1, 0))])
def test_a_mask_that_a_kernel_does_not_take_goes_to_the_next(
    masked: str, calls: tuple[int, int]
) -> None:
    kernels = Counting(), Counting()
    chain = first_of([runs_on(masks=("additive",))(kernels[0]), kernels[1]])
    q, k, v = torch.randn(3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    hides = torch.tensor([True, True, False, True])
    bias = torch.zeros(4).masked_fill(~hides, -torch.inf)
    expected = sdpa(q, k, v, attn_mask=hides.expand(4, 4))
    with in_force(chain):
        mask = (hides if masked == "boolean" else bias).expand(4, 4)
        drawn = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.allclose(drawn, expected)
    assert tuple(kernel.calls for kernel in kernels) == calls
