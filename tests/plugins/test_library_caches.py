"""Diffusers' caches on the transformers that they know, against Diffusers' own pipelines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import hooks
from PIL import Image
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.errors import LdmWarning
from ldm_plugins.converters.shared.library_cache import ALL, KNOWN
from peers import apart, far
from sound_peers import draw_ours, stable_audio_peer

STEPS = 8
RATIOS = [1.0, 1.1, 1.02, 0.99, 1.01, 0.97, 1.0, 0.95]
OPTIONS: dict[str, dict[str, Any]] = {
    "taylorseer": {"every": 2},
    "first_block": {"threshold": 0.3},
    "magcache": {"threshold": 0.5, "ratios": RATIOS},
}
WIDE = {"width": 32, "height": 16}
VIDEO = {"num_frames": 5}
ONE_ROW = {"guidance_scale": 1.0}


def cached(pipe: Pipeline, **options: Any) -> Pipeline:
    return pipe.replace(converters=[{"name": "feature_cache", **options}])


def hook(method: str, *networks: Any) -> None:
    """As a person does it who has Diffusers."""
    for network in networks:
        if method == "taylorseer":
            config: Any = hooks.TaylorSeerCacheConfig(
                cache_interval=2, taylor_factors_dtype=torch.float32, use_lite_mode=True
            )
            hooks.apply_taylorseer_cache(network, config)
        elif method == "first_block":
            config = hooks.FirstBlockCacheConfig(threshold=0.3)
            hooks.apply_first_block_cache(network, config)
        else:
            config = hooks.MagCacheConfig(
                threshold=0.5, num_inference_steps=STEPS, mag_ratios=RATIOS
            )
            hooks.apply_mag_cache(network, config)


@dataclass(frozen=True)
class Kind:
    """A kind of folder.

    Attributes:
        pipeline: Diffusers' class.
        size: of the pictures, or of a video's frames.
        their: what Diffusers' pipeline alone is called with.
        both: what both are called with.
        written: what the folder is written with.
        within: Diffusers' pipeline tells its network of no context; it is told one for all calls,
            which are of one row, without guidance.
    """

    write: Any
    pipeline: str
    size: Mapping[str, int] = field(default_factory=lambda: WIDE)
    their: Mapping[str, Any] = field(default_factory=dict)
    both: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)
    within: bool = False


KINDS = {
    "Flux": Kind(tiny.write_flux, "FluxPipeline"),
    "Wan": Kind(tiny.write_wan, "WanPipeline", their=VIDEO),
    "Wan of two networks": Kind(tiny.write_wan, "WanPipeline", their=VIDEO, written={"two": True}),
    "LTX-Video": Kind(tiny.write_ltx_video, "LTXPipeline", {"width": 32, "height": 32}, VIDEO),
    "HunyuanVideo": Kind(tiny.write_hunyuan_video, "HunyuanVideoPipeline", their=VIDEO),
    "CogVideoX": Kind(  # of 5 frames Diffusers makes 8
        tiny.write_cogvideox,
        "CogVideoXPipeline",
        their={"num_frames": 9},
        written={"num_layers": 3},
    ),
    "Qwen-Image": Kind(
        tiny.write_qwen_image,
        "QwenImagePipeline",
        their={"negative_prompt": "", "true_cfg_scale": 4.0},
    ),
    "CogView 4": Kind(tiny.write_cogview_4, "CogView4Pipeline"),
    "FLUX.2 klein": Kind(tiny.write_flux_2, "Flux2KleinPipeline"),
    "Z-Image": Kind(
        tiny.write_z_image,
        "ZImagePipeline",
        both={"guidance_scale": 0.0},
        written={"n_layers": 3},
        within=True,
    ),
    "Chroma": Kind(
        tiny.write_chroma,
        "ChromaPipeline",
        their={"max_sequence_length": 5},  # which the words fill: in a longer one padding speaks
        both=ONE_ROW,
        within=True,
    ),
    "AuraFlow": Kind(tiny.write_aura_flow, "AuraFlowPipeline", both=ONE_ROW, within=True),
    "PixArt": Kind(
        tiny.write_pixart,
        "PixArtAlphaPipeline",
        their={"use_resolution_binning": False},
        both=ONE_ROW,
        within=True,
    ),
    "Sana": Kind(
        tiny.write_sana,
        "SanaPipeline",
        {"width": 64, "height": 32},
        {"use_resolution_binning": False},
        ONE_ROW,
        within=True,
    ),
    "SD 3": Kind(
        tiny.write_stable_diffusion_3, "StableDiffusion3Pipeline", both=ONE_ROW, within=True
    ),
    "Stable Audio": Kind(
        tiny.write_stable_audio, "StableAudioPipeline", {}, both=ONE_ROW, within=True
    ),
}
AT_EVERY_CHANGE = {
    ("Flux", "first_block"),
    ("Wan of two networks", "taylorseer"),
    ("Qwen-Image", "first_block"),
    ("HunyuanVideo", "magcache"),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of the kinds, each written once."""
    written: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in written:
            place = tmp_path_factory.mktemp("kind") / "model"
            written[kind] = KINDS[kind].write(place, **KINDS[kind].written)
        return written[kind]

    return folder


def class_in(folder: Path) -> str:
    config = json.loads((folder / "transformer" / "config.json").read_text())
    return str(config["_class_name"])


def own_call(kind: str) -> dict[str, Any]:
    case = KINDS[kind]
    frames = {"frames": case.their["num_frames"]} if "num_frames" in case.their else {}
    return {"seed": 3, "num_inference_steps": STEPS, **case.size, **frames, **case.both}


def networks_of(peer: Any) -> list[Any]:
    parts = (peer.components.get(name) for name in ("transformer", "transformer_2"))
    return [part for part in parts if part is not None]


@contextmanager
def within(networks: list[Any]) -> Iterator[None]:
    """One context for all calls of networks, of which some are of a class without."""
    open_ones = [diffusers.CacheMixin.cache_context(network, "all") for network in networks]
    for one in open_ones:
        one.__enter__()
    yield
    for one in open_ones:
        one.__exit__(None, None, None)


def theirs(kind: str, folder: Path, method: str, first: Tensor, patch: Any) -> Tensor:
    """What Diffusers' pipeline decodes, with its own cache."""
    case = KINDS[kind]
    if kind == "Stable Audio":
        peer = stable_audio_peer(folder)
    else:
        peer = getattr(diffusers, case.pipeline).from_pretrained(folder)
    peer.set_progress_bar_config(disable=True)
    networks = networks_of(peer)
    hook(method, *networks)
    call = {**case.size, **case.their, **case.both, "num_inference_steps": STEPS}
    call["generator"] = torch.Generator().manual_seed(3)
    if kind == "CogVideoX":  # which draws frames before channels
        call["latents"] = first.transpose(1, 2)
    if kind == "Stable Audio":
        call["latents"] = first
    with within(networks if case.within else []):
        made = peer(prompt="a red star", output_type="pt", **call)
    return torch.as_tensor(next(iter(made.values())))


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        pytest.param(
            kind, method, marks=[] if (kind, method) in AT_EVERY_CHANGE else pytest.mark.slow
        )
        for kind in KINDS
        for method in ALL
    ],
)
def test_it_draws_what_diffusers_draws(
    folder_of: Any, kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it says that Diffusers' cache does not know the network; and nothing of it is left."""
    folder = folder_of(kind)
    pipe = Pipeline.from_pretrained(folder)
    two = kind == "Wan of two networks"
    if method not in KNOWN.get(class_in(folder), ()) or (two and method == "magcache"):
        with pytest.raises(LdmError, match="has two networks" if two else "does not know the bl"):
            cached(pipe, method=method, **OPTIONS[method])
        return
    call = own_call(kind)
    plain = pipe("a red star", output_type="latent", **call).images
    with_cache = cached(pipe, method=method, **OPTIONS[method])
    extent = {key: call[key] for key in ("frames", "height", "width") if key in call}
    noise = pipe.noise((3,), extent or pipe.model.info.default_extent)
    first = noise()
    if kind == "Stable Audio":
        draw_ours(monkeypatch, noise)
    ours = with_cache("a red star", output_type="pt", **call).images
    expected = theirs(kind, folder, method, first, monkeypatch)
    assert apart(ours[..., : expected.shape[-1]], expected.reshape(ours.shape)) < 1e-5
    again = with_cache("a red star", output_type="latent", **call).images
    assert far(again, plain) > 1e-7  # it left something out
    assert pipe("a red star", output_type="latent", **call).images.equal(plain)


@pytest.fixture(scope="module")
def flux(folder_of: Any) -> Pipeline:
    return Pipeline.from_pretrained(folder_of("Flux"))


FLUX_CALL = {**WIDE, "seed": 3, "num_inference_steps": STEPS, "output_type": "latent"}


@pytest.mark.parametrize("attention", ["native", "chunked"])
def test_a_threshold_of_zero_leaves_nothing_out(flux: Pipeline, attention: str) -> None:
    """With another kernel too, which the network's copy asks."""
    pipe = flux.replace(attention=attention)
    call = {**FLUX_CALL, "prompt": ["a star", "a moon"]}
    plain = pipe(**call).images
    assert far(cached(pipe, method="first_block", threshold=0.0)(**call).images, plain) < 1e-6
    assert far(cached(pipe, method="first_block", threshold=0.3)(**call).images, plain) > 1e-6


@pytest.mark.parametrize(
    "method", ["taylorseer", *(pytest.param(m, marks=pytest.mark.slow) for m in ALL if m[0] != "t")]
)
def test_it_decides_for_each_picture(flux: Pipeline, method: str) -> None:
    pipe = cached(flux, method=method, **OPTIONS[method])
    together = pipe(["a star", "a moon"], **FLUX_CALL).images
    with ThreadPoolExecutor(2) as threads:
        alone = list(
            threads.map(
                lambda each: pipe(each[0], **{**FLUX_CALL, "seed": each[1]}).images,
                [("a star", 3), ("a moon", 4)],
            )
        )
    assert apart(torch.cat(alone), together) < 1e-5


def test_measured_ratios_are_those_that_diffusers_measures(
    flux: Pipeline, folder_of: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which it prints; they go into the option as they are said."""
    measuring = cached(flux, method="magcache", ratios="measure")
    with pytest.warns(LdmWarning, match="left nothing out, and measured ratios = ") as caught:
        latents = measuring("a red star", **FLUX_CALL).images
    assert latents.equal(flux("a red star", **FLUX_CALL).images)
    said = next(str(w.message) for w in caught if "ratios" in str(w.message))
    ours = [float(number) for number in re.findall(r"\d+\.\d+", said)]
    peer = diffusers.FluxPipeline.from_pretrained(folder_of("Flux"))
    peer.set_progress_bar_config(disable=True)
    config = hooks.MagCacheConfig(calibrate=True, num_inference_steps=STEPS)
    peer.transformer.enable_cache(config)
    capsys.readouterr()
    call = {**WIDE, "num_inference_steps": STEPS, "output_type": "latent"}
    peer("a red star", generator=torch.Generator().manual_seed(3), **call)
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("[1"))
    assert ours == pytest.approx(json.loads(line), abs=1e-4)
    assert len(ours) == STEPS
    cached(flux, method="magcache", ratios=ours)("a red star", **FLUX_CALL)


def test_what_a_controlnet_adds_is_not_added_twice(
    flux: Pipeline, folder_of: Any, tmp_path: Path
) -> None:
    side = str(tiny.write_transformer_controlnet(tmp_path / "side", folder_of("Flux")))
    pipe = flux.replace(conditioning=["text", {"name": "control", "models": [side]}])
    call = {**FLUX_CALL, "control_image": Image.new("RGB", (32, 16), "red")}
    for method in ("first_block", "magcache"):
        with pytest.raises(LdmError, match="adds it once more where they are left out"):
            cached(pipe, method=method, **OPTIONS[method])("a star", **call)
    cached(pipe, method="taylorseer")("a star", **call)
