"""Memory that does not suffice: the same pictures in smaller batches, and never a lost one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ldm_core import Output, Pipeline, chain
from ldm_core.contracts import Medium, Step
from ldm_core.errors import LdmWarning, MachineError
from ldm_core.machine import memory_refusal
from ldm_core.media.png import read_png
from ldm_core.plugins.hookspecs import hookimpl
from ldm_core.plugins.registry import installed
from ldm_core.run.allowance import Allowance
from ldm_core.run.in_batches import InBatches
from ldm_pipelines.blend import blend
from ldm_pipelines.image_to_image import image_to_image
from ldm_pipelines.inpaint import inpaint
from ldm_pipelines.interpolate import interpolate
from ldm_pipelines.invert import invert
from ldm_pipelines.restore import restore
from ldm_pipelines.text_to_image import text_to_image
from ldm_pipelines.upscale import upscale
from ldm_plugins.autoencoders import autoencoder_kl
from tiny.covering import by_turns, some_of

CALL: dict[str, Any] = {"num_inference_steps": 3, "output_type": "np"}
SEVEN = [f"a star {number}" for number in range(7)]
ROUNDING = 3e-6
"""Of a picture from 0 to 1 that is drawn in another batch, by whoever."""
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"


def out_of_memory() -> Exception:
    return torch.OutOfMemoryError(CUDA)


class Attention:
    """Torch's own, for so many rows at most; above, memory does not suffice."""

    def __init__(self, rows: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.rows = rows
        self.error = error
        self.asked: list[int] = []

    def __call__(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        if mask is None and self.asked[-1:] != [len(q)]:  # the text encoder has a mask
            self.asked.append(len(q))
        if mask is None and len(q) > self.rows:
            raise self.error(CUDA)
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale
        )


@contextmanager
def notes() -> Iterator[list[str]]:
    """What is said meanwhile."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(w.message) for w in caught if issubclass(w.category, LdmWarning)]


def images(output: Output) -> np.ndarray:
    return np.asarray([np.asarray(image, dtype=np.float32) for image in output.images])


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (torch.OutOfMemoryError(CUDA), CUDA),
        (RuntimeError(CPU), CPU),
        (MemoryError(), "MemoryError"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            "ALLOC",
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), "ALLOC"),
        (RuntimeError("Invalid buffer size: 30.19 GiB"), "30.19"),
        (RuntimeError("could not create a memory object"), "memory object"),
        (OSError(12, "Cannot allocate memory"), "Cannot allocate"),
        (RuntimeError("shapes (2, 3) and (4, 5) cannot be multiplied"), None),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), None),
        (KeyError("memory"), None),
    ],
)
def test_it_is_known_however_a_library_says_it(error: Exception, refusal: str | None) -> None:
    said = memory_refusal(error)
    assert said is None if refusal is None else refusal in str(said)


@pytest.mark.parametrize(
    ("error", "scheduler"),
    by_turns([torch.OutOfMemoryError, RuntimeError, MemoryError], ["euler_ancestral", "dpmpp_2m"]),
)
def test_a_batch_is_halved_and_the_pictures_are_the_same(
    pipe: Pipeline, error: type[Exception], scheduler: str
) -> None:
    whole = pipe.replace(scheduler=scheduler)
    kernel = Attention(4, error)  # two images, each with two branches
    steps: list[Step] = []
    with notes() as said:
        output = whole.replace(attention=kernel)(SEVEN, seed=3, on_step=steps.append, **CALL)
    expected = whole(SEVEN, seed=3, **CALL)
    assert np.abs(output.images - expected.images).max() < ROUNDING
    assert np.array_equal(output.images, whole(SEVEN, seed=3, batch_size=2, **CALL).images)
    assert output.seeds == expected.seeds
    assert [m["inputs"] for m in output.manifests] == [m["inputs"] for m in expected.manifests]
    # 7 images failed, then 4; no batch after that tries more than 2
    assert list(dict.fromkeys(kernel.asked)) == [14, 8, 4, 2, 1]
    assert said == [
        "the memory does not suffice for 7 images at once: they are made 4 at a time.",
        "the memory does not suffice for 4 images at once: they are made 2 at a time.",
    ]
    assert [(s.call, len(s.x)) for s in steps] == [
        (call, n) for n in (2, 2, 2, 1) for call in range(3)
    ]


def test_the_rest_of_a_call_stays_smaller_and_the_next_call_does_not(pipe: Pipeline) -> None:
    kernel = Attention(4)
    small = pipe.replace(attention=kernel)
    with notes() as said:
        sizes = [len(o.seeds) for o in small.batches(SEVEN, seed=3, batch_size=3, **CALL)]
    assert sizes == [2, 1, 2, 1, 1]
    assert len(said) == 1
    kernel.asked.clear()
    with notes() as said:
        small(SEVEN[:3], seed=3, **CALL)
    assert len(said) == 1
    assert kernel.asked[0] == 6


def test_several_calls_can_be_as_one(pipe: Pipeline) -> None:
    kernel = Attention(4)
    small = pipe.replace(attention=kernel)
    with notes() as said, Allowance().in_force():
        for _ in range(2):
            small(SEVEN[:3], seed=3, **CALL)
    assert len(said) == 1
    assert kernel.asked.count(6) == 1


def test_branches_are_asked_one_after_the_other_before_a_picture_is_given_up(
    pipe: Pipeline,
) -> None:
    kernel = Attention(1)
    with notes() as said:
        output = pipe.replace(attention=kernel)(SEVEN[:2], seed=3, **CALL)
    assert np.abs(output.images - pipe(SEVEN[:2], seed=3, **CALL).images).max() < ROUNDING
    assert list(dict.fromkeys(kernel.asked)) == [4, 2, 1]
    assert said[-1] == (
        "the memory does not suffice for the branches of guidance at once: they are asked one "
        "after the other."
    )


def test_a_single_picture_that_does_not_fit_says_what_would_help(pipe: Pipeline) -> None:
    for guidance in ("none", {"name": "classifier_free", "scale": 2.0}):
        none = pipe.replace(attention=Attention(0), guidance=guidance)
        with notes() as said, pytest.raises(MachineError, match="for a single image") as caught:
            none("a star", seed=3, **CALL)
        assert "2.00 GiB" in caught.value.message
        assert all(w in caught.value.hint for w in ("--memory auto", "group_offload", "smaller"))
        assert caught.value.output is None
        assert len(said) == (0 if guidance == "none" else 1)


def test_what_was_made_before_is_kept(pipe: Pipeline) -> None:
    left = [2]

    def fails_later(step: Step) -> None:
        if step.index == 0:
            left[0] -= 1
        if left[0] < 0:
            raise out_of_memory()

    with notes(), pytest.raises(MachineError) as caught:
        pipe(SEVEN, seed=3, batch_size=1, on_step=fails_later, **CALL)
    kept = caught.value.output
    assert kept.seeds == [3, 4]
    expected = pipe(SEVEN[:2], seed=3, **CALL)
    assert np.abs(kept.images - expected.images).max() < ROUNDING


def test_another_error_passes_as_it_is(pipe: Pipeline) -> None:
    def wrong(step: Step) -> None:
        raise RuntimeError("no matter of memory")

    with pytest.raises(RuntimeError, match="no matter"):
        pipe(SEVEN, seed=3, on_step=wrong, **CALL)


class Decoding:
    """The KL-autoencoder's decoder, for so many latents at most at once."""

    def __init__(self, latents: int) -> None:
        self.latents = latents
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, model: Any, x0: Any) -> Any:
        shape = (len(x0), *x0.shape[2:])
        self.asked.append(shape)
        if math.prod(shape) > self.latents:
            raise RuntimeError(CPU)
        return autoencoder_kl.decode(model, x0)


SIZED: dict[str, Any] = {**CALL, "width": 128, "height": 64, "num_inference_steps": 1}


def test_latents_are_decoded_one_by_one_and_not_made_again(pipe: Pipeline) -> None:
    decoding, steps = Decoding(3 * 64), list[Step]()
    some = pipe.replace(decoder=decoding)
    with notes() as said:
        output = some(SEVEN, seed=3, batch_size=4, on_step=steps.append, **CALL)
    assert np.abs(output.images - pipe(SEVEN, seed=3, **CALL).images).max() < ROUNDING
    assert said == ["the memory does not suffice to decode 4 images at once: one by one."]
    assert len(steps) == 2 * 3
    assert decoding.asked == [(4, 8, 8), *[(1, 8, 8)] * 7]
    assert not any("decoded_in_tiles" in manifest for manifest in output.manifests)


def tiled_by_diffusers(pipe: Pipeline, latents: torch.Tensor, tile: int) -> np.ndarray:
    """Diffusers' own way by tiles, on a copy of the autoencoder, as pixels from 0 to 1."""
    from copy import deepcopy

    vae = deepcopy(pipe.model.components["vae"])
    vae.enable_tiling()
    vae.tile_latent_min_size, vae.tile_sample_min_size = tile, tile * 2
    with torch.no_grad():
        pixels = vae.decode(latents / vae.config.scaling_factor).sample
    return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("holds", "tile"), [(32 * 32, 32), (20 * 20, 16)])
def test_latents_are_decoded_in_tiles_at_last(pipe: Pipeline, holds: int, tile: int) -> None:
    decoding = Decoding(holds)
    some = pipe.replace(decoder=decoding)
    with notes() as said:
        output = some(SEVEN[:2], seed=3, **SIZED)
    latents = pipe(SEVEN[:2], seed=3, **{**SIZED, "output_type": "latent"}).images
    assert np.abs(output.images - tiled_by_diffusers(pipe, latents, tile)).max() < 1e-6
    whole = pipe(SEVEN[:2], seed=3, **SIZED).images
    assert np.abs(output.images - whole).max() > 1e-6
    assert f"tiles of {tile}x{tile} latents" in said[-1]
    assert [m["decoded_in_tiles"] for m in output.manifests] == [tile, tile]
    assert not pipe.model.components["vae"].use_tiling
    # once it is known, the second one is decoded so at once
    failed = [asked for asked in decoding.asked if math.prod(asked) > holds]
    assert failed == [(2, 32, 64), (1, 32, 64), (1, 32, 32)][: 2 if tile == 32 else 3]
    assert max(decoding.asked[-10:]) <= (1, tile, tile)


def test_what_cannot_be_decoded_at_all_is_said(pipe: Pipeline) -> None:
    some = pipe.replace(decoder=Decoding(100))
    with notes() as said, pytest.raises(MachineError, match=r"a single image: .*DefaultCPU"):
        some(SEVEN[:2], seed=3, **SIZED)
    assert said == ["the memory does not suffice to decode 2 images at once: one by one."]


def test_what_has_something_beside_it_is_not_cut(pipe: Pipeline) -> None:
    def decode(model: Any, x0: Any) -> Medium:
        if x0[0, 0].numel() > 32 * 32:
            raise out_of_memory()
        pixels = autoencoder_kl.decode(model, x0)
        return Medium("image", pixels, beside=(Medium("image", pixels),))

    with notes(), pytest.raises(MachineError, match="is not decoded in tiles"):
        pipe.replace(decoder=decode)("a star", seed=3, **SIZED)


def test_those_that_are_decoded_before_the_machine_refuses_are_kept(pipe: Pipeline) -> None:
    decoded: list[int] = []

    def decode(model: Any, x0: Any) -> Medium:
        if len(x0) > 1 or len(decoded) == 2:
            raise out_of_memory()
        decoded.append(len(x0))
        return Medium("image", autoencoder_kl.decode(model, x0))

    with notes(), pytest.raises(MachineError) as caught:
        pipe.replace(decoder=decode)(SEVEN, seed=3, **CALL)
    kept = caught.value.output
    assert kept.seeds == [3, 4]
    assert np.abs(kept.images - pipe(SEVEN[:2], seed=3, **CALL).images).max() < ROUNDING


def test_a_chain_is_halved(pipe: Pipeline) -> None:
    def chained(**changes: Any) -> Any:
        one = pipe.replace(scheduler="euler_ancestral", **changes)
        return chain(one, one.replace(scheduler="heun"), at=0.5)

    call = {**CALL, "num_inference_steps": 4}
    with notes() as said:
        found = chained(attention=Attention(2))(SEVEN[:3], seed=3, **call)
    assert np.abs(found.images - chained()(SEVEN[:3], seed=3, **call).images).max() < ROUNDING
    assert len(said) == 2


def test_a_stream_is_halved(pipe: Pipeline) -> None:
    with notes() as said:
        stream = pipe.replace(attention=Attention(2)).stream(SEVEN[:2], seed=3, **CALL)
        sizes = [(step.call, len(step.x)) for step in stream]
    assert sizes == [(call, 1) for _ in range(2) for call in range(3)]
    expected = pipe(SEVEN[:2], seed=3, **CALL).images
    assert np.abs(stream.output.images - expected).max() < ROUNDING
    assert len(said) == 1


def test_encoding_is_halved(pipe: Pipeline) -> None:
    asked: list[int] = []

    def encode(model: Any, data: Any, noise: Any) -> Any:
        asked.append(len(data))
        if len(data) > 2:
            raise out_of_memory()
        return autoencoder_kl.encode(model, data, noise)

    pixels = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with notes() as said:
        found = pipe.replace(encoder=encode).encode(pixels, seed=3)
    assert (found - pipe.encode(pixels, seed=3)).abs().max() < 1e-6
    assert asked == [5, 3, 2, 2, 1]
    assert len(said) == 2


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


THREE = ("a star",) * 3
READY_MADE: dict[str, tuple[InBatches, list[Any], dict[str, Any]]] = {
    "text_to_image": (text_to_image, [*THREE], {}),
    "image_to_image": (image_to_image, ["picture", *THREE], {"strength": 0.7}),
    "inpaint": (inpaint, ["picture", *THREE], {"mask_box": (4, 4, 12, 12)}),
    "upscale": (upscale, ["picture", *THREE], {"strength": 0.7}),
    "restore": (restore, ["picture", *THREE], {"strength": 0.7}),
    "blend": (blend, ["picture", "picture", *THREE], {"strength": 0.7}),
    "interpolate": (interpolate, ["a star", "a circle"], {"num_images": 3}),
    "invert": (invert, ["picture", "a star"], {"edit": "a circle"}),
}


@pytest.mark.parametrize("name", some_of(READY_MADE, 0, 3))
def test_every_ready_made_pipeline_is_halved(pipe: Pipeline, picture: Path, name: str) -> None:
    function, arguments, options = READY_MADE[name]
    given = [picture if argument == "picture" else argument for argument in arguments]
    call = {**options, "num_inference_steps": 3}
    if name not in ("interpolate", "invert"):
        call["seed"] = [5, 6, 7]
    else:
        call["seed"] = 5
    found, expected = (
        pipe.replace(guidance={"name": "classifier_free", "scale": 2.0}, **changes)
        for changes in ({"attention": Attention(1)}, {})
    )
    with notes() as said:
        halved = function(found, *given, **call)
    assert np.abs(images(halved) - images(function(expected, *given, **call))).max() <= 1
    assert len(halved.seeds) == (2 if name == "invert" else 3)
    assert "asked one after the other" in said[-1]


def test_frames_between_pictures_are_decoded_one_by_one(pipe: Pipeline, picture: Path) -> None:
    some = pipe.replace(decoder=Decoding(64))
    call: dict[str, Any] = {"images": [picture, picture], "num_images": 3}
    with notes() as said:
        found = interpolate(some, **call)
    assert np.abs(images(found) - images(interpolate(pipe, **call))).max() <= 1
    assert len(said) == 1


SMALL = {"latents": 32 * 32}
"""How many latents the decoder of the package below takes."""


class Package:
    """What a package could offer."""

    ldm_api_version = 2

    @hookimpl
    def ldm_attention(self, register: Any) -> None:
        register("small", lambda: Attention(2))

    @hookimpl
    def ldm_decoders(self, register: Any) -> None:
        register("small", lambda: Decoding(SMALL["latents"]))


def test_the_command_line_writes_them_all_and_makes_them_again_in_tiles(
    folder: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installed(), "plugins", [*installed().plugins])
    installed().add(Package(), "small-package", "1.0")
    call = ["--steps", "2", "--seed", "3", "--num-images", "3", "--size", "128x64", "--json"]
    command = ["generate", "--model", folder, "a star", *call]
    Path("small.toml").write_text('decoder = "small"\n')
    small = ["--attention", "small", "--recipe", "small.toml", "--out", "small"]
    code, out, err = ldm(*command, *small)
    assert code == 0, err
    assert "warning: the memory does not suffice for 3 images at once" in err
    assert "in overlapping tiles of 32x32 latents" in err
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["seed"] for record in records] == [3, 4, 5]
    assert records[0]["warnings"]
    pictures = [Path(record["path"]) for record in records]
    assert all(read_png(picture)[1]["decoded_in_tiles"] == 32 for picture in pictures)
    # the same command knows what is there, and a machine with more memory makes the same again
    code, out, err = ldm(*command, *small)
    assert (code, [json.loads(line)["made"] for line in out.splitlines()]) == (0, [False] * 3)
    monkeypatch.setitem(SMALL, "latents", 10**6)
    code, out, err = ldm("replay", pictures[1], "--allow-files")
    assert code == 0, err
    assert "the same picture" in out
    again = read_png(Path(out.splitlines()[0]))[1]
    assert again["decoded_in_tiles"] == 32


def test_the_command_line_says_what_would_help_and_what_is_there(
    folder: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    class Failing(Package):
        @hookimpl
        def ldm_decoders(self, register: Any) -> None:
            def decode(model: Any, x0: Any) -> Any:
                if len(drawn) == 2:
                    raise out_of_memory()
                drawn.append(1)
                return autoencoder_kl.decode(model, x0)

            register("failing", lambda: decode)

    monkeypatch.setattr(installed(), "plugins", [*installed().plugins])
    installed().add(Failing(), "failing-package", "1.0")
    Path("failing.toml").write_text('decoder = "failing"\n')
    command = ["generate", "--model", folder, "a star", "--steps", "1", "--num-images", "3"]
    code, out, err = ldm(*command, "--batch-size", "1", "--recipe", "failing.toml", "--out", "out")
    assert code == 3
    assert len(out.splitlines()) == 2
    assert "error: the memory does not suffice to decode a single image: CUDA out of memory" in err
    assert "--memory auto" in err
    assert "2 pictures are in out" in err


REAL = """
import resource, sys, warnings
import numpy as np
from ldm_core import Pipeline

warnings.simplefilter("always")
pipe = Pipeline.from_pretrained(sys.argv[1], num_inference_steps=1)
call = dict(seed=3, width=64, height=64, output_type="np")
expected = pipe(["a star"] * 8, batch_size=2, **call).images
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = pipe(["a star"] * 96, **call).images
assert len(found) == 96
print(np.abs(found[:8] - expected).max())
"""


@pytest.mark.slow
def test_a_limit_of_the_system_is_kept_to(folder: Path) -> None:
    """A real one, of the address space, which torch's allocator meets."""
    command = [sys.executable, "-c", REAL, str(folder), "100"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "the memory does not suffice for 96 images at once" in ended.stderr
    assert float(ended.stdout) < ROUNDING
