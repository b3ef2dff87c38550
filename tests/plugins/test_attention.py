"""Attention kernels equal torch's own."""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.composition.reach import Reach
from ldm_core.composition.recipe import as_layer
from ldm_core.conformance import check_attention
from ldm_core.contracts import Kernel, as_kernel
from ldm_core.media.manifest import recipe_of
from ldm_core.model.hub_permission import HubPermission, hub_permission
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import installed
from ldm_plugins.attention.chunked import chunked
from ldm_plugins.attention.native import native
from ldm_plugins.attention.shared.from_hub import function_of


def kernel(name: str, **options: Any) -> Kernel:
    """A plugin's kernel, by the way that recipes take."""
    return as_kernel(with_options(installed().find("attention", name).loaded, options))


def test_native_is_torchs() -> None:
    check_attention(native(), tolerance=0)
    assert native().native


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("native", {"backend": "flash"}),
        ("native", {"backend": "math"}),
        ("sliced", {}),
        ("sliced", {"heads": 3}),
        ("sliced", {"heads": 100}),
        ("chunked", {}),
        ("first_of", {"kernels": [chunked, native()]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_kernels_equal_torchs(name: str, options: dict[str, Any]) -> None:
    check_attention(kernel(name, **options))
    with torch.inference_mode():
        check_attention(kernel(name, **options), dtype=torch.bfloat16, tolerance=5e-2)


@pytest.mark.parametrize("backend", ["efficient", "cudnn"])
def test_backends_of_cuda_are_refused_elsewhere(folder: Path, backend: str) -> None:
    choice = {"name": "native", "backend": backend}
    with pytest.raises(LdmError, match="needs a device of type cuda, and this pipeline is on cpu"):
        Pipeline.from_pretrained(folder, device="cpu", attention=choice)


def test_a_backend_holds_for_its_own_calls_alone() -> None:
    """Torch's switches are the whole process's: they stay, while two threads use two backends."""
    q, k, v = torch.randn(3, 1, 2, 65, 16)
    switches = (
        torch.backends.cuda.flash_sdp_enabled,
        torch.backends.cuda.math_sdp_enabled,
        torch.backends.cuda.mem_efficient_sdp_enabled,
    )
    kernels = {name: kernel("native", backend=name) for name in ("flash", "math")}
    alone = {name: one(q, k, v, None, 0.25) for name, one in kernels.items()}
    seen: list[bool] = []
    wrong: list[str] = []

    def work(name: str) -> None:
        for _ in range(200):
            if not kernels[name](q, k, v, None, 0.25).equal(alone[name]):
                wrong.append(name)
            seen.extend(switch() for switch in switches)

    threads = [Thread(target=work, args=(name,)) for name in kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(seen) == 1200
    assert all(seen)
    assert not alone["flash"].equal(alone["math"])  # so that they can be told apart at all


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="compiling for a processor needs g++")
def test_flex_equals_torchs() -> None:
    flexible = kernel("flex")
    q, k, v = torch.randn(2, 3, 100, 40), *torch.randn(2, 2, 3, 77, 40)
    mask = torch.randn(100, 77)
    with torch.no_grad():
        for given in (None, mask):
            expected = scaled_dot_product_attention(q, k, v, attn_mask=given, scale=0.3)
            out = flexible(q, k, v, given, 0.3)
            torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_what_a_machine_lacks_is_said_and_the_next_kernel_taken(folder: Path) -> None:
    for name in ("flash_attention", "sage"):
        if not kernel(name).lacks:
            pytest.skip(f"{name}'s package is installed")
        with pytest.raises(LdmError, match=f"'{name}' needs the package"):
            compose({"model": folder, "attention": name}, installed())
    chain = ["flash_attention", {"name": "chunked", "query_chunk": 7}]
    pipe = Pipeline.from_pretrained(folder, device="cpu", attention=chain, num_inference_steps=2)
    out = pipe("a red star", seed=1)
    plain = pipe.replace(attention="native")("a red star", seed=1, output_type="latent").images
    latents = pipe("a red star", seed=1, output_type="latent").images
    assert 0 < (latents - plain).norm() < 1e-5 * plain.norm()
    recipe = out.manifests[0]["recipe"]["attention"]
    assert recipe["name"] == "ldm-core:first_of"
    names = [entry["name"] for entry in recipe["kernels"]]
    assert names == ["ldm-core:flash_attention", "ldm-core:chunked"]
    assert "attention ldm-core:chunked" in out.manifests[0]["plugins"]
    again = compose(recipe_of(json.loads(json.dumps(out.manifests[0]))), installed())
    assert [member.label for member in again.attention.members] == ["flash_attention", "chunked"]
    with pytest.raises(LdmError, match=r"(?s)'sage' needs .*; the attention 'flash_att.*needs"):
        compose({"model": folder, "attention": ["sage", "flash_attention"]}, installed())
    with pytest.raises(LdmError, match="Did you mean 'chunked'"):
        compose({"model": folder, "attention": ["native", "chunkd"]}, installed())


def test_several_names_on_the_command_line(ldm: Any, folder: Path) -> None:
    chain = ("--attention", "sage,chunked", "--attention", "native")
    code, out, err = ldm("explain", "--model", folder, "--steps", 2, *chain, "--json")
    assert code == 0, err
    report = json.loads(out)["attention"]
    assert report["kernels"] == ["chunked", "native"]
    assert [entry["name"] for entry in report["left_out"]] == ["sage"]
    assert {row["kernel"] for row in report["layers"]} == {"chunked"}
    assert report["network_layers"] == 8


class Package(ModuleType):
    """A package in the place of one that needs a GPU: the formula, and what it was called with."""

    def __init__(self, name: str, function: str, with_sums: bool = False) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.calls: list[dict[str, Any]] = []

        def attend(q: Any, k: Any, v: Any, **options: Any) -> Any:
            self.calls.append({"shape": tuple(q.shape), **options})
            scale = options.get("softmax_scale", options.get("sm_scale"))
            if options.get("tensor_layout") == "HND":
                return scaled_dot_product_attention(q, k, v, scale=scale)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            out = scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)
            return (out, out.sum(-1)) if with_sums else out

        self.__dict__[function] = attend


@pytest.mark.parametrize(
    ("name", "package", "function", "options", "shape"),
    [
        ("flash_attention", "flash_attn", "flash_attn_func", {}, (2, 5, 3, 64)),
        ("flash_attention", "flash_attn_interface", "flash_attn_func", {}, (2, 5, 3, 64)),
        ("sage", "sageattention", "sageattn", {}, (2, 3, 5, 64)),
    ],
)
def test_packages_are_called_in_their_own_layout(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    package: str,
    function: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
) -> None:
    """With the formula in their place: what they compute on a GPU is not measured."""
    fake = Package(package, function, with_sums=package.endswith("interface"))
    monkeypatch.setitem(sys.modules, package, fake)
    made = kernel(name, **options)
    assert not made.lacks
    q, k, v = torch.randn(3, 2, 3, 5, 64)
    expected = scaled_dot_product_attention(q, k, v, scale=0.2)
    torch.testing.assert_close(made(q, k, v, None, 0.2), expected)
    assert [call["shape"] for call in fake.calls] == [shape]
    assert made.lossless is (name != "sage")
    assert made.why_not("cpu", "float16") is not None
    assert made.why_not("cuda", "float32") is not None
    assert made.why_not("cuda", "bfloat16") is None
    assert made.declines(64, "boolean") is not None
    assert made.declines(512, None) is not None
    assert made.declines(64, None) is None


KERNELS = "kernels-community/flash-attn3"


def test_a_kernel_of_the_hub_is_a_program_and_needs_leave(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    fetched: list[tuple[str, int]] = []
    hub = ModuleType("kernels")
    hub.__spec__ = ModuleSpec("kernels", None)
    package = Package("flash", "flash_attn_func", with_sums=True)

    def get_kernel(name: str, version: int) -> ModuleType:
        fetched.append((name, version))
        return package

    hub.__dict__["get_kernel"] = get_kernel
    monkeypatch.setitem(sys.modules, "kernels", hub)
    recipe = {"model": folder, "attention": {"name": "flash_attention", "hub": KERNELS}}
    with pytest.raises(LdmError, match="HF_HUB_OFFLINE is set"):
        compose(recipe, installed())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with (
        hub_permission(HubPermission()),
        pytest.raises(LdmError, match="and run it, which nobody allowed"),
    ):
        compose(recipe, installed())
    with pytest.raises(LdmError, match="is none that flash_attention knows"):
        kernel("flash_attention", hub="somebody/flash-attn3")
    with pytest.raises(LdmError, match="FlashAttention 3, not 2"):
        kernel("flash_attention", hub=KERNELS, version=2)
    reach = Reach(installed())
    reach.recipe(as_layer(recipe))
    assert {name.id for name in reach.hub} == {KERNELS}  # so that a picture's is asked about
    made = kernel("flash_attention", hub=KERNELS)
    assert fetched == []  # not before it is needed
    q, k, v = torch.randn(3, 1, 2, 5, 64)
    expected = scaled_dot_product_attention(q, k, v, scale=0.2)
    function_of.cache_clear()
    torch.testing.assert_close(made(q, k, v, None, 0.2), expected)
    function_of.cache_clear()
    assert fetched == [(KERNELS, 1)]


def test_a_hub_without_the_package_kernels_says_what_to_install() -> None:
    if find_spec("kernels") is not None:
        pytest.skip("the package kernels is installed")
    with pytest.raises(LdmError, match=r"needs the package kernels"):
        kernel("sage", hub="SageAttention/sage-attention")


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
