"""Which type a device chooses, what stays wide, and TF32 in force for a call alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Step
from ldm_core.media.manifest import recipe_of
from ldm_core.model import place as placement
from ldm_core.plugins.registry import installed
from ldm_core.run.outcome import likely_cause
from ldm_core.run.tf32 import tf32_in_force
from peers import apart

CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A machine with a CUDA device, as far as the choice of a type sees it."""

    def has(bfloat16: bool) -> None:
        monkeypatch.setattr(placement, "_device", torch.device)
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())

        def supported(including_emulation: bool = True) -> bool:
            return bfloat16 or including_emulation

        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    return has


@pytest.mark.parametrize(
    ("device", "bfloat16", "choices", "expected"),
    [
        ("cpu", True, {}, ("float32", "float32")),
        ("mps", True, {}, ("float32", "float32")),
        ("cuda", True, {}, ("bfloat16", "bfloat16")),
        ("cuda:1", False, {}, ("float16", "float16")),
        ("cuda", True, {"dtype": "auto", "compute_dtype": "auto"}, ("bfloat16", "bfloat16")),
        ("cuda", True, {"dtype": "float32"}, ("float32", "float32")),
        ("cuda", True, {"dtype": "float16"}, ("float16", "float16")),
        ("cuda", True, {"compute_dtype": "float32"}, ("float32", "float32")),
        ("cuda", True, {"compute_dtype": "float16"}, ("float16", "float16")),
        ("cpu", True, {"compute_dtype": "bfloat16"}, ("bfloat16", "bfloat16")),
        ("cpu", True, {"dtype": "bfloat16"}, ("bfloat16", "float32")),
    ],
)
def test_the_type_that_a_device_chooses(
    card: Any, device: str, bfloat16: bool, choices: dict[str, str], expected: tuple[str, str]
) -> None:
    card(bfloat16)
    place = placement.resolve({"device": device, **choices})
    assert (place.dtype, place.compute_dtype) == tuple(TYPES[name] for name in expected)
    told = placement.describe({"device": device, **choices})
    for key, name in zip(("dtype", "compute_dtype"), expected, strict=True):
        assert told[key].startswith(name) or f"({name} " in told[key]


def test_a_picture_repeats_in_the_types_that_it_was_made_in(
    folder: Path, pipe: Pipeline, card: Any
) -> None:
    half = Pipeline.from_pretrained(folder, compute_dtype="bfloat16")
    (made,) = half("a red star", **CALL).manifests
    assert (made["recipe"]["dtype"], made["recipe"]["compute_dtype"]) == ("bfloat16", "bfloat16")
    (plain,) = pipe("a red star", **CALL).manifests
    assert "dtype" not in plain["recipe"]
    card(True)
    place = placement.resolve({**recipe_of(plain), "device": "cuda"})
    assert (place.dtype, place.compute_dtype) == (torch.float32, torch.float32)


def write_with_upcast(folder: Path, upcast: bool | None) -> Path:
    tiny.write_stable_diffusion(folder)
    file = folder / "vae" / "config.json"
    config = json.loads(file.read_text())
    del config["force_upcast"]
    file.write_text(json.dumps(config if upcast is None else {**config, "force_upcast": upcast}))
    return folder


@pytest.mark.parametrize(
    ("upcast", "compute", "expected"),
    [
        (True, "float16", "float32"),
        (False, "float16", "float16"),
        (None, "float16", "float16"),
        (True, "bfloat16", "bfloat16"),
    ],
)
def test_an_autoencoder_that_needs_it_computes_in_float32(
    tmp_path: Path, upcast: bool | None, compute: str, expected: str
) -> None:
    folder = write_with_upcast(tmp_path / "model", upcast)
    pipe = Pipeline.from_pretrained(folder, dtype=compute, compute_dtype=compute)
    parts = pipe.model.parts
    assert parts["unet"].dtype == parts["unet"].module.dtype == TYPES[compute]
    assert parts["vae"].dtype == parts["vae"].module.dtype == TYPES[expected]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = pipe.decode(latents)

    theirs = diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=TYPES[compute])
    theirs.to(TYPES[expected])
    with torch.no_grad():
        z = (latents / theirs.config.scaling_factor).to(TYPES[expected])
        assert torch.allclose(found, theirs.decode(z).sample.float(), atol=1e-6)


def test_such_an_autoencoder_is_quantised_in_float32_too(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    folder = write_with_upcast(tmp_path / "model", True)
    quantise = {"name": "quantize", "parts": ["vae"]}
    half = {"dtype": "float16", "compute_dtype": "float16"}
    pipe = Pipeline.from_pretrained(folder, converters=[quantise], **half)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    exact = Pipeline.from_pretrained(folder).decode(latents)
    assert pipe.model.parts["vae"].dtype == torch.float32
    assert apart(pipe.decode(latents), exact) < 0.05


def test_explain_says_which_part_computes_in_another_type(ldm: Any, tmp_path: Path) -> None:
    folder = write_with_upcast(tmp_path / "model", True)
    line = "the vae computes in float32"
    for chosen, expected in (
        (["--device", "cuda", "--dtype", "float16"], [line]),
        (["--device", "cpu", "--dtype", "float16"], []),
        (["--device", "cuda", "--dtype", "bfloat16"], []),
        (["--device", "cuda"], [f"{line}, where the others compute in float16"]),
    ):
        code, out, _ = ldm("explain", "--model", folder, "--steps", 2, *chosen)
        assert code == 0
        assert [text for text in out.splitlines() if text.startswith("the vae")] == expected


def settings() -> tuple[Any, ...]:
    """All that torch says of TF32, by its newer and its older names."""
    matrices, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = (matrices.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision)
    older = (matrices.allow_tf32, cudnn.allow_tf32, torch.get_float32_matmul_precision())
    return newer + older


def test_tf32_is_in_force_for_a_call_alone(pipe: Pipeline) -> None:
    before, seen = settings(), []

    def look(step: Step) -> None:
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))

    fast = pipe.replace(tf32=True)
    found = fast("a red star", on_step=look, **CALL)
    assert set(seen) == {(True, True)}
    assert settings() == before
    assert found.manifests[0]["recipe"]["tf32"] is True
    seen.clear()
    pipe("a red star", on_step=look, **CALL)
    assert set(seen) == {before[3:5]}


def test_tf32_is_put_back_when_an_error_passes(pipe: Pipeline) -> None:
    before = settings()

    def fail(step: Step) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pipe.replace(tf32=True)("a red star", on_step=fail, **CALL)
    assert settings() == before


def test_tf32_stays_while_one_of_two_threads_wants_it() -> None:
    before, both, first_left = settings(), threading.Barrier(2, timeout=300), threading.Event()

    def first() -> None:
        with tf32_in_force({"tf32": True}):
            both.wait()
        first_left.set()

    def second() -> bool:
        with tf32_in_force({"tf32": True}):
            both.wait()
            first_left.wait(300)
            return torch.backends.cuda.matmul.allow_tf32

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result()
        assert other.result() is True
    assert settings() == before


def test_tf32_of_a_program_that_sets_the_newer_name_itself_is_kept() -> None:
    matrices = torch.backends.cuda.matmul
    before = matrices.fp32_precision
    try:
        matrices.fp32_precision = "tf32"
        with tf32_in_force({"tf32": True}):
            assert matrices.fp32_precision == "tf32"
        assert matrices.fp32_precision == "tf32"
    finally:
        matrices.fp32_precision = before


def test_a_cause_names_half_precision_and_much_guidance(folder: Path) -> None:
    half = Pipeline.from_pretrained(folder, compute_dtype="float16")
    cause = likely_cause(half.replace(guidance={"scale": 500.0}))
    assert "guidance scale of 500" in cause
    assert "quantize" not in cause
    assert "float16, whose numbers end at 6.55e+04; compute_dtype='float32'" in cause


@pytest.mark.parametrize(
    ("choices", "message"),
    [({"tf32": "yes"}, "'tf32' should be"), ({"dtype": "half"}, "no dtype named 'half'")],
)
def test_what_is_no_such_choice_is_refused(
    folder: Path, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(LdmError, match=message):
        compose({"model": folder, **choices}, installed())
