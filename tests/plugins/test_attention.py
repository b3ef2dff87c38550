"""Attention kernels equal torch's own."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from ldm_core import Pipeline
from ldm_core.conformance import check_attention
from ldm_plugins.attention.chunked import chunked
from ldm_plugins.attention.native import native


def test_native_is_torchs() -> None:
    check_attention(native, tolerance=0)


@pytest.mark.parametrize(("query_chunk", "key_chunk"), [(1024, 1024), (13, 7), (1, 1), (64, 1000)])
def test_chunked_equals_torch(query_chunk: int, key_chunk: int) -> None:
    if query_chunk * key_chunk == 1:
        q, k, v = torch.randn(3, 1, 2, 9, 8)
        expected = scaled_dot_product_attention(q, k, v, scale=0.3)
        out = chunked(q, k, v, None, 0.3, query_chunk=1, key_chunk=1)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
        return
    check_attention(partial(chunked, query_chunk=query_chunk, key_chunk=key_chunk))


@pytest.mark.parametrize("size", [30.0, 1e4])
def test_chunked_is_stable_for_large_scores(size: float) -> None:
    q, k, v = torch.randn(3, 1, 2, 50, 8)
    q = q * size
    expected = scaled_dot_product_attention(q.double(), k.double(), v.double(), scale=1.0)
    out = chunked(q, k, v, None, 1.0, query_chunk=16, key_chunk=16)
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_query_that_sees_no_key_gives_zero() -> None:
    q, k, v = torch.randn(3, 1, 1, 4, 8)
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[2] = False
    out = chunked(q, k, v, mask, 1.0, query_chunk=2, key_chunk=2)
    assert out[0, 0, 2].equal(torch.zeros(8))
    assert out.isfinite().all()


def test_chunked_in_half_precision_is_as_good_as_torchs() -> None:
    q, k, v = torch.randn(3, 2, 4, 200, 40).bfloat16()
    exact = scaled_dot_product_attention(q.double(), k.double(), v.double(), scale=0.16)
    ours = chunked(q, k, v, None, 0.16, key_chunk=64)
    torchs = scaled_dot_product_attention(q, k, v, scale=0.16)
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).norm() < 1.5 * (torchs - exact).norm()


def test_a_pipeline_gives_the_same_latents_with_chunked(pipe: Pipeline) -> None:
    one, two = (
        p("a red star", seed=1, output_type="latent").images
        for p in (pipe, pipe.replace(attention={"name": "chunked", "query_chunk": 7}))
    )
    assert (one - two).norm() < 1e-5 * one.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="xformers' kernel needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_xformers_equals_torch(dtype: torch.dtype) -> None:
    pytest.importorskip("xformers", reason="the extra 'xformers' is not installed")
    from ldm_plugins.attention.xformers import memory_efficient

    tolerance = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}[dtype]
    check_attention(memory_efficient, device="cuda", dtype=dtype, tolerance=tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_chunked_equals_torch_on_a_gpu() -> None:
    check_attention(chunked, device="cuda", tolerance=1e-4)
