"""Every converter on every family: what it draws, that it is undone, and beside which it stands."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path
from threading import Barrier
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose, recompose
from ldm_core.plugins.registry import installed
from ldm_core.run.memory.plan import Planner
from tiny.covering import by_turns, each_on_each
from tiny.lora import ATTENTION, write_lora

pytestmark = pytest.mark.usefixtures("small_references")
CALL: dict[str, Any] = {"seed": [1, 2], "output_type": "latent"}
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
TEXT = {"prompt": ["a red star", "a blue circle"]}


@dataclass(frozen=True)
class Case:
    """How a converter is tried.

    Attributes:
        options: of its factory.
        apart: how far its final latents may be from those without, over the largest of these; None
            of what is lossy by any amount, such as a cache of features of random weights.
        refusal: of the folders that it does not fit, a word of the reason.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    apart: float | None = 1e-5
    refusal: str = ""


CASES: dict[str, Case] = {
    "cfg_parallel": Case({"devices": ["cpu:0", "cpu:1"]}, refusal="branches|guid"),
    "channels_last": Case({}, 1e-5, "no two-dimensional convolutions"),
    "compile": Case({"backend": "eager"}, refusal="computes more or less by what it is given"),
    "device_map": Case({"devices": ["cpu:0", "cpu:1"]}),
    "feature_cache": Case({"every": 2}, None, "feature_cache|keeps|deep|blocks"),
    "fused_qkv": Case({}, 1e-5, "fuse"),
    "group_offload": Case(),
    "model_offload": Case(),
    "openvino": Case(
        {}, 1e-4, "cannot convert|another answer than torch|computes more or less by what"
    ),
    "prompt_cache": Case({}, 0.0, "reads no text|keys and values|cross-attention"),
    "sequential_offload": Case(),
    "text_cache": Case({}, 0.0, "text"),
    "token_merging": Case({}, None, "token|UNet|attention"),
    "vae_slicing": Case({}, 1e-5, "slic|autoencoder|pieces"),
    "vae_tiling": Case({}, 0.0, "til|whole pictures alone|draws pixels"),
    "whole": Case({}, 0.0),
    "whole_loop": Case({"backend": "eager"}, 1e-5, "all steps|not linear|one program"),
}
PLACEMENTS = ("device_map", "group_offload", "model_offload", "sequential_offload", "whole")
ELSEWHERE = {
    "autoencoder": "needs a folder: test_other_autoencoders.py",
    "context_parallel": "needs several processes: test_context_parallel.py",
    "cuda_graph": "needs a CUDA device: test_cuda_graph.py",
    "freeu": "changes pictures, and UNets alone: test_freeu.py",
    "lora": "needs a file: test_lora.py",
    "quantize": "acts while weights are read: test_quantize.py",
    "stored_weights": "goes with half precision: test_compute_dtype.py",
    "tiny_decoder": "needs a folder: test_decoding_converters.py",
}
"""Converters that cannot be tried so, and where they are."""


def test_every_converter_is_here() -> None:
    names = {plugin.name for plugin in installed().of_kind("converter")}
    assert names == CASES.keys() | ELSEWHERE.keys()
    assert names == IN_PAIRS.keys() | {"context_parallel", "cuda_graph"}  # of several devices
    tests = Path(__file__).parent
    assert all((tests / reason.rpartition(" ")[2]).is_file() for reason in ELSEWHERE.values())


def choice(name: str) -> dict[str, Any]:
    return {"name": name, **CASES[name].options}


@pytest.fixture(autouse=True)
def kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk is this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def state(pipe: Pipeline) -> dict[str, Any]:
    """What of the modules of a pipeline could be changed in place: where each tensor lies, its
    layout, and what is set on a module beside its parts."""
    seen: dict[str, Any] = {}
    for name, part in pipe.model.parts.items():
        if isinstance(part.module, nn.Module):
            for inner, module in part.module.named_modules():
                hooks = [len(v) for k, v in vars(module).items() if k.endswith("_hooks")]
                names = sorted(k for k in vars(module) if not k.startswith("_"))
                seen[f"{name}.{inner}"] = (type(module), names, hooks, module.training)
            tensors = {**dict(part.module.named_parameters()), **dict(part.module.named_buffers())}
            for inner, tensor in tensors.items():
                at = (id(tensor), tensor.data_ptr(), tensor.stride(), tensor.dtype)
                seen[f"{name}.{inner} itself"] = at
    return seen


def apart(latents: Tensor, expected: Tensor) -> float:
    return float((latents - expected).abs().max() / expected.abs().max())


def changed(pipe: Pipeline, *names: str) -> Pipeline:
    """With converters; raises `LdmError` where they do not fit."""
    return pipe.replace(converters=[choice(name) for name in names])


def drawn(
    pipe: Pipeline, names: Sequence[str], call: Mapping[str, Any]
) -> tuple[Pipeline, Tensor | str]:
    """The final latents with some converters, or why they do not fit."""
    try:
        other = changed(pipe, *names)
        return other, other(**call).images
    except LdmError as refusal:
        return pipe, str(refusal)


@pytest.fixture(autouse=True)
def quietly() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


AT_NIGHT = ("openvino", "compile", *PLACEMENTS)
"""Programs, which take long to make, and what test_placements.py tries on each family."""


OFTEN = [name for name in CASES if name not in AT_NIGHT]


@pytest.mark.parametrize(
    ("name", "kind"), [*each_on_each(OFTEN, step=4), *by_turns(OFTEN, tiny.MORE_FOLDERS)]
)
def test_each_on_each_family(pipes: Any, kind: str, name: str, tmp_path: Path) -> None:
    draws_the_same_and_is_undone(pipes(kind), name, KINDS[kind].inputs_in(tmp_path), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", AT_NIGHT)
def test_each_of_others_on_each_family(pipes: Any, kind: str, name: str, tmp_path: Path) -> None:
    draws_the_same_and_is_undone(pipes(kind), name, KINDS[kind].inputs_in(tmp_path), kind)


@pytest.fixture(scope="module")
def of_two_folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What is made of a model and another folder, each once, with its inputs."""

    def animated() -> tuple[Pipeline, Mapping[str, Any]]:
        home = tmp_path_factory.mktemp("animated")
        model = tiny.write_stable_diffusion(home / "model")
        adapter = tiny.write_motion_adapter(home / "adapter")
        own = {"components": {"motion_adapter": adapter}, "num_inference_steps": 3}
        return Pipeline.from_pretrained(model, **own), tiny.MORE_FOLDERS["AnimateDiff"].inputs

    def second_stage() -> tuple[Pipeline, Mapping[str, Any]]:
        home = tmp_path_factory.mktemp("stages")
        first = Pipeline.from_pretrained(tiny.write_ltx_2(home), guidance="none")
        sides = {"frames": 9, "height": 32, "width": 32}
        small = first(**CALL, **TEXT, **sides, num_inference_steps=1).images
        upsampler = str(tiny.write_latent_upsampler(home / "upsampler"))
        second = first.replace(
            conditioning=["text", {"name": "upsampled_latents", "upsampler": upsampler}],
            spacing={"name": "explicit", "timesteps": [909.375, 725.0, 421.875]},
            num_inference_steps=3,
        )
        large = {"small_latents": list(small), "frames": 9, "height": 64, "width": 64}
        return second, {**TEXT, **large, "frame_rate": 24}

    return cache(lambda kind: {"animated": animated, "second stage": second_stage}[kind]())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["animated", "second stage"])
@pytest.mark.parametrize("name", CASES)
def test_each_on_models_of_two_folders(of_two_folders: Any, kind: str, name: str) -> None:
    pipe, inputs = of_two_folders(kind)
    draws_the_same_and_is_undone(pipe, name, inputs, kind)


def draws_the_same_and_is_undone(
    pipe: Pipeline, name: str, inputs: Mapping[str, Any], kind: str = ""
) -> None:
    case = CASES[name]
    call = {**CALL, **inputs}
    expected, before = pipe(**call).images, state(pipe)
    other, latents = drawn(pipe, (name,), call)
    if isinstance(latents, str):
        assert any(word in latents for word in case.refusal.split("|") if word), latents
        return
    assert torch.isfinite(latents).all()
    seen_in_tiles = name == "vae_tiling" and "Edit" in kind  # as its reference pictures are
    if case.apart is not None and not seen_in_tiles:
        # the first steps of unCLIP divide by an alpha of 5e-5
        assert apart(latents, expected) <= case.apart * (5 if kind.startswith("unCLIP") else 1)
    assert all(c.lossless for c in other.composition.converters) == (name not in LOSSY)
    # of LTX-2, which a tensor does not say
    rate = {"frame_rate": 24} if kind in ("LTX-2", "second stage") else {}
    assert other.decode(latents, **rate).shape == pipe.decode(expected, **rate).shape
    del other
    gc.collect()
    assert state(pipe) == before
    assert pipe(**call).images.equal(expected)


LOSSY = {"feature_cache", "token_merging", "vae_tiling"}


UNLIKE = ("Stable Diffusion", "SDXL", "Flux dev", "SD 3", "Wan 2.1", "Stable Audio")
"""Families that differ in kind: UNets of one text encoder and of two, transformers of pictures, of
videos and of sounds."""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(
            name, kind, marks=[] if kind == UNLIKE[0] and number % 2 == 0 else pytest.mark.slow
        )
        for kind in UNLIKE
        for number, name in enumerate(CASES)
    ],
)
def test_two_in_two_threads(pipes: Any, kind: str, name: str) -> None:
    """Two pipelines with the same converter on the same weights, at once."""
    pipe = pipes(kind)
    calls = [{**CALL, **KINDS[kind].inputs, "num_inference_steps": steps} for steps in (3, 4)]
    expected = [drawn(pipe, (name,), call)[1] for call in calls]
    for refusal in expected:
        if isinstance(refusal, str):
            assert kind != UNLIKE[0]
            assert any(word in refusal for word in CASES[name].refusal.split("|") if word)
            return
    two = [changed(pipe, name) for _ in range(2)]
    turn = Barrier(2, timeout=300)

    def run(one: Pipeline, call: dict[str, Any]) -> Tensor:
        turn.wait()
        return one(**call).images  # type: ignore[return-value]

    with ThreadPoolExecutor(2) as pool:
        at_once = [*pool.map(run, two, calls)]
    for latents, alone in zip(at_once, expected, strict=True):
        assert apart(latents, alone) <= (CASES[name].apart or 1e-5)


APART = {
    ("prompt_cache", "cfg_parallel"): "belongs to whole calls",
    ("prompt_cache", "fused_qkv"): "joins the products",
    ("compile", "openvino"): "each makes a program",
    ("compile", "prompt_cache"): "within the network's layers",
    ("compile", "token_merging"): "within the network's layers",
    ("whole_loop", "openvino"): "each makes a program",
    ("whole_loop", "compile"): "each makes a program",
    ("whole_loop", "token_merging"): "within the network's layers",
    ("whole_loop", "group_offload"): "moves them",
    ("whole_loop", "sequential_offload"): "moves them",
    ("token_merging", "token_merging"): "stands in the recipe twice",
    ("whole_loop", "whole_loop"): "stands in the recipe twice",
    ("channels_last", "channels_last"): "stands in the recipe twice",
    ("fused_qkv", "fused_qkv"): "stands in the recipe twice",
}
"""Pairs that would do nothing, something wrong or fail half-way, and a word of the reason."""


@pytest.mark.parametrize(("pair", "reason"), APART.items(), ids=map(" and ".join, APART))
def test_what_does_not_go_together_is_said_before_weights_are_read(
    pipes: Any, pair: tuple[str, str], reason: str
) -> None:
    composition = pipes("Stable Diffusion").composition
    for order in (pair, pair[::-1]):
        converters = [choice(name) if name in CASES else {"name": name} for name in order]
        with pytest.raises(LdmError, match=reason):
            recompose(composition, {"converters": converters})


@pytest.mark.parametrize("name", ["feature_cache", "prompt_cache", "whole_loop", "compile"])
def test_a_plan_for_memory_foresees_a_run_with_it(name: str, tmp_path: Path) -> None:
    """What keeps something between calls, and programs, do nothing on shapes."""
    folder = tiny.FOLDERS["Stable Diffusion"].write(tmp_path / "model")
    layer = {"model": folder, "memory": "1GiB", "device": "cpu", "converters": [choice(name)]}
    planner = Planner.of(compose(layer, installed()))
    assert planner.made(planner.example(1)).as_table()["expected_peak"] > 0


@pytest.fixture(scope="module")
def plain(pipes: Any) -> Callable[[str], Tensor]:
    """The latents of a kind's pipeline as it is, drawn once."""
    return cache(lambda kind: pipes(kind)(**CALL, **KINDS[kind].inputs).images)


IN_PAIRS: dict[str, Case] = {
    **CASES,
    "autoencoder": Case(apart=0.0),  # the folder's own, once more
    "freeu": Case(apart=None),
    "lora": Case(apart=None),
    "quantize": Case(apart=None),
    "stored_weights": Case(apart=None),
    "tiny_decoder": Case(apart=0.0),
}
READING = {"quantize": {}, "stored_weights": {"dtype": "bfloat16", "compute_dtype": "float32"}}
"""Those that act while weights are read, with what else they go with."""
PAIRS = [*combinations(IN_PAIRS, 2)]


class Stand:
    """Pipelines with converters, on tiny folders, with the files that some need.

    Args:
        home: where these are written.
    """

    def __init__(self, pipes: Callable[[str], Pipeline], home: Path) -> None:
        self._pipes = pipes
        self._home = home
        self._files: dict[tuple[str, str], dict[str, Any]] = {}
        self._alone: dict[tuple[str, str], bool] = {}

    def made(self, kind: str, names: Sequence[str]) -> Pipeline | str:
        """With some converters, or why they do not fit."""
        choices = [self._choice(kind, name) for name in names]
        reading = [READING[name] for name in names if name in READING]
        try:
            if not reading:
                return self._pipes(kind).replace(converters=choices)
            place = {key: value for one in reading for key, value in one.items()}
            folder = self._folder(kind)
            return Pipeline.from_pretrained(
                folder, converters=choices, num_inference_steps=3, **place
            )
        except LdmError as refusal:
            return str(refusal)

    def fits(self, kind: str, name: str) -> bool:
        """Whether one fits a family by itself, and draws."""
        if (kind, name) not in self._alone:
            one = self.made(kind, (name,))
            call = {**CALL, **KINDS[kind].inputs}
            drawn = one if isinstance(one, str) else answer_of(one, call)
            self._alone[kind, name] = not isinstance(drawn, str)
        return self._alone[kind, name]

    def _folder(self, kind: str) -> Path:
        return self._pipes(kind).composition.info.folder

    def _choice(self, kind: str, name: str) -> dict[str, Any]:
        if (kind, name) not in self._files:
            self._files[kind, name] = self._options(kind, name)
        return {"name": name, **IN_PAIRS[name].options, **self._files[kind, name]}

    def _options(self, kind: str, name: str) -> dict[str, Any]:
        """Those that name a file."""
        folder, place = self._folder(kind), self._home / kind.replace(" ", "_") / name
        if name == "autoencoder":
            return {"path": str(folder / "vae")}
        if name == "tiny_decoder":
            config = json.loads((folder / "vae" / "config.json").read_text())
            widths = (8,) * len(config.get("block_out_channels", (8,)))
            module = diffusers.AutoencoderTiny(
                encoder_block_out_channels=widths,
                decoder_block_out_channels=widths,
                num_encoder_blocks=(1,) * len(widths),
                num_decoder_blocks=(1,) * len(widths),
                latent_channels=config.get("latent_channels", 4),
            )
            module.save_pretrained(place)
            return {"path": str(place)}
        if name == "lora":
            network = "unet" if (folder / "unet").is_dir() else "transformer"
            index = json.loads((folder / "model_index.json").read_text())
            cls = getattr(diffusers, index["_class_name"])
            if kind == "Stable Audio":  # of which Diffusers reads none
                return {"files": ["none.safetensors"]}
            return {"files": [str(write_lora(cls, folder, place, {network: ATTENTION}, 1))]}
        return {}


@pytest.fixture(scope="module")
def stand(pipes: Any, tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return Stand(pipes, tmp_path_factory.mktemp("pairs"))


@pytest.mark.slow
@pytest.mark.parametrize(("first", "pair"), [*enumerate(PAIRS)], ids=map(" and ".join, PAIRS))
def test_each_pair(
    stand: Stand, plain: Callable[[str], Tensor], first: int, pair: tuple[str, str]
) -> None:
    """On a family that each of the two fits, of six in turn: in either order they draw the same,
    within what both allow; or one of them says that they do not go together. Where both orders are
    the same converters one after the other, they are drawn with once."""
    turned = [UNLIKE[(first + i) % len(UNLIKE)] for i in range(len(UNLIKE))]
    kind = next(kind for kind in turned if all(stand.fits(kind, name) for name in pair))
    call = {**CALL, **KINDS[kind].inputs}
    made = [stand.made(kind, order) for order in (pair, pair[::-1])]
    if any(isinstance(one, str) for one in made):
        assert all(isinstance(one, str) and one.strip() for one in made)  # no matter of order
        print(f"pair on {kind} refused: {made[0]}")
        return
    orders = [[type(c) for c in one.composition.converters] for one in made]
    same = orders[0] == orders[1]
    one, *other = [answer_of(other_pipe, call) for other_pipe in (made[:1] if same else made)]
    if isinstance(one, str):
        assert one.strip()
        assert all(isinstance(refusal, str) and refusal.strip() for refusal in other)
        print(f"pair on {kind} refused when it ran: {one}")
        return
    print(f"pair on {kind} drew")
    assert all(apart(latents, one) <= 1e-6 for latents in other)
    assert torch.isfinite(one).all()
    allowed = [IN_PAIRS[name].apart for name in pair]
    if None not in allowed:
        assert apart(one, plain(kind)) <= sum(filter(None, allowed)) + 1e-6


def answer_of(pipe: Pipeline, call: Mapping[str, Any]) -> Tensor | str:
    """The final latents, or why there are none."""
    try:
        latents: Tensor = pipe(**call).images
    except LdmError as refusal:
        return str(refusal)
    return latents
