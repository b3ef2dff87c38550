"""Features used again mean the same on the networks of all families: what is computed, what is put
in the place of the rest, and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Call, Network
from peers import apart
from recorded import Recorder
from tiny.covering import some_of

pytestmark = pytest.mark.usefixtures("small_references")
CALL: dict[str, Any] = {"seed": [3, 4], "num_inference_steps": 4, "output_type": "latent"}
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
OTHERS = ("Stable Cascade", "SD latent upscaler", "unCLIP", "unCLIP of a picture")
"""Whose networks are built otherwise."""
KNOWN = [kind for kind in tiny.MORE_FOLDERS if kind not in OTHERS]
MORE_BLOCKS = {
    "CogVideoX": {"num_layers": 3},
    "CogVideoX from a frame": {"num_layers": 3},
    "CogVideoX 1.5": {"num_layers": 3},
    "Lumina 2": {"num_layers": 3},
    "Sana": {"num_layers": 3},
    "Z-Image": {"n_layers": 3},
}
"""Of folders that have one block."""


@pytest.fixture(scope="module")
def pipe_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Pipelines of the kinds of folder, each made once."""
    made: dict[str, Pipeline] = {}

    def pipe(kind: str) -> Pipeline:
        if kind not in made:
            folder = tmp_path_factory.mktemp("kind") / "model"
            KINDS[kind].write(folder, **MORE_BLOCKS.get(kind, {}))
            made[kind] = Pipeline.from_pretrained(folder)
        return made[kind]

    return pipe


def calls_of(pipe: Pipeline, call: dict[str, Any]) -> list[Call]:
    recorder = Recorder()
    pipe.replace(converters=[recorder])(**call)
    return recorder.calls


def two_calls_of(pipe: Pipeline, call: dict[str, Any]) -> list[Call]:
    """The first, and the next one of the same rows: captions of another length are asked by
    themselves."""
    first, *others = calls_of(pipe, call)
    whose = [(row.image, row.branch) for row in first.rows]
    return [first, next(c for c in others if [(r.image, r.branch) for r in c.rows] == whose)]


def cached(pipe: Pipeline, **options: Any) -> Pipeline:
    return pipe.replace(converters=[{"name": "feature_cache", **options}])


def bound(pipe: Pipeline) -> Network:
    """The network in a run, without guidance."""
    (converter,) = pipe.composition.converters
    nothing: Any = None
    return torch.no_grad()(converter.bind(nothing).network(pipe.model.network))


def networks_of(pipe: Pipeline) -> list[Any]:
    return [part.module for part in pipe.model.parts.values() if part.role == "network"]


def counted(network: nn.Module) -> list[nn.Module]:
    """The layers that are called from now on, those without layers in them."""
    called: list[nn.Module] = []
    for layer in network.modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(lambda module, args: called.append(module))
    return called


@pytest.mark.parametrize("kind", some_of(KNOWN, 1, 9))
def test_options_mean_the_same(pipe_of: Any, kind: str, tmp_path: Path) -> None:
    """Which calls compute in whole, counted by layers; pictures that depend on themselves alone;
    nothing left behind."""
    pipe, call = pipe_of(kind), {**CALL, **KINDS[kind].inputs_in(tmp_path)}
    plain = pipe(**call).images
    assert cached(pipe, every=1)(**call).images.equal(plain)
    third = cached(pipe, every=3)
    together = third(**call).images
    assert 0 < apart(together, plain) < 0.9
    if "prompt" in call:
        alone = third(**{**call, "prompt": call["prompt"][1], "seed": 4}).images
        assert apart(alone, together[1:]) < 1e-5
    assert third(**call).images.equal(together)
    assert pipe(**call).images.equal(plain)
    request = calls_of(pipe, call)[0]
    fresh = cached(pipe, every=3)
    called, network = counted(networks_of(fresh)[0]), bound(fresh)
    counts, answers = [], []
    for _ in range(4):
        answers.append(network(request))
        counts.append(len(called))
        called.clear()
    whole, less, same, again = counts
    assert less < 0.9 * whole
    assert (same, again) == (less, whole)
    assert all(apart(answer, answers[0]) < 1e-5 for answer in answers)


class Way(NamedTuple):
    """How the blocks of a transformer are called, and which of their states are the picture's.

    Attributes:
        stacks: lists of blocks.
        at: of what a block of the first list gives, which are the picture's.
        behind: in the sequence that the second list gets, the text comes before the picture.
    """

    stacks: tuple[str, ...] = ("transformer_blocks",)
    at: int | None = None
    behind: bool = False


TWO = ("transformer_blocks", "single_transformer_blocks")
WAYS = {
    "ACE-Step": Way(("layers",)),
    "AuraFlow": Way(("joint_transformer_blocks", TWO[1]), 1, behind=True),
    "Chroma": Way(TWO, 1, behind=True),
    "CogVideoX": Way(at=0),
    "CogView 4": Way(at=0),
    "FLUX.2 klein": Way(TWO, 1, behind=True),
    "HiDream": Way(("double_stream_blocks", "single_stream_blocks"), 0),
    "HunyuanVideo": Way(TWO, 0),
    "Krea 2": Way(),
    "LTX-Video": Way(),
    "Lumina 2": Way(("layers",)),
    "Qwen-Image": Way(at=1),
    "Sana": Way(),
    "Stable Audio": Way(),
    "Stable Audio 3": Way(),
    "Wan 2.1": Way(("blocks",)),
    "Z-Image": Way(("layers",)),
}


@pytest.mark.parametrize("kind", some_of(WAYS, 2, 6))
def test_a_transformer_adds_what_its_blocks_added(pipe_of: Any, kind: str, tmp_path: Path) -> None:
    """Against the whole network of Diffusers, with what its blocks added put back by hand: the
    second call's entry to the deep part, and the first one's difference behind it."""
    pipe, way = pipe_of(kind), WAYS[kind]
    calls = two_calls_of(pipe, {**CALL, **KINDS[kind].inputs_in(tmp_path)})
    network = bound(cached(pipe, every=2))
    ours = [network(call) for call in calls][1]
    (module,) = networks_of(pipe)
    blocks = [block for name in way.stacks for block in module.get_submodule(name).children()]
    entries: list[Tensor] = []
    differences: list[Tensor] = []

    def enters(block: nn.Module, args: Any, options: Any) -> None:
        entries.append(args[0] if args else options["hidden_states"])

    def leaves(block: nn.Module, args: Any, output: Any) -> Any:
        states = output if isinstance(output, Tensor) else output[way.at or 0]
        others = states.shape[1] - entries[-1].shape[1]
        first = others if way.behind else 0
        mine = slice(first, first + entries[-1].shape[1])
        differences.append(states[:, mine] - entries[-1])
        put = states.clone()
        put[:, mine] = entries[-1] + differences[0]
        if isinstance(output, Tensor):
            return put
        return tuple(put if place == way.at else one for place, one in enumerate(output))

    handles = [
        blocks[1].register_forward_pre_hook(enters, with_kwargs=True),
        blocks[-1].register_forward_hook(leaves),
    ]
    theirs = [pipe.model.network(call) for call in calls][1]
    for handle in handles:
        handle.remove()
    assert apart(ours, theirs) < 1e-6
    assert apart(ours, pipe.model.network(calls[1])) > 1e-4


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "kind", some_of(["AnimateDiff", "AudioLDM 2", "Kolors", "Stable Video Diffusion"], 1, 4)
)
def test_a_unet_takes_what_came_from_beneath(
    pipe_of: Any, kind: str, depth: int, tmp_path: Path
) -> None:
    """Also of frames, and where a resnet has several attentions behind it."""
    pipe = pipe_of(kind)
    calls = two_calls_of(pipe, {**CALL, **KINDS[kind].inputs_in(tmp_path)})
    network = bound(cached(pipe, every=2, depth=depth))
    ours = [network(call) for call in calls][1]
    (unet,) = networks_of(pipe)
    before: list[Tensor] = []
    skips = unet.config.block_out_channels[0]

    def beneath(layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        states = args[0] if args else options["input_tensor"]
        channels = states.shape[1] - skips
        before.append(states[:, :channels])
        put = torch.cat([before[0], states[:, channels:]], dim=1)
        if args:
            return (put, *args[1:]), options
        return (), {**options, "input_tensor": put}

    layer = unet.up_blocks[-1].resnets[-depth]
    handle = layer.register_forward_pre_hook(beneath, with_kwargs=True)
    theirs = [pipe.model.network(call) for call in calls][1]
    handle.remove()
    assert apart(ours, theirs) < 1e-6
    assert apart(ours, pipe.model.network(calls[1])) > 1e-4


def test_two_networks_have_features_of_their_own(pipe_of: Any, tmp_path: Path) -> None:
    """Below the boundary the second begins with a whole call."""
    pipe = pipe_of("Wan 2.2")
    once = cached(pipe, every=100)
    deep = [counted(network.blocks[-1]) for network in networks_of(once)]
    first = [counted(network.blocks[0]) for network in networks_of(once)]
    once(**{**CALL, "num_inference_steps": 6}, **KINDS["Wan 2.2"].inputs_in(tmp_path))
    layers = [len(set(called)) for called in deep]
    assert [len(called) / count for called, count in zip(deep, layers, strict=True)] == [1, 1]
    assert sum(len(called) > len(set(called)) for called in first) >= 1


@pytest.mark.parametrize("kind", ["Stable Diffusion 3", "Flux"])
def test_what_a_controlnet_adds_is_added_once(kind: str, tmp_path: Path) -> None:
    """Its residuals, the same in both calls, are within what the blocks added."""
    write = tiny.write_stable_diffusion_3 if kind == "Stable Diffusion 3" else tiny.write_flux
    folder = write(tmp_path / "model", num_layers=3)
    model = tiny.write_transformer_controlnet(tmp_path / "side", folder)
    control = {"name": "control", "models": [str(model)]}
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", control])
    picture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    call = {**CALL, "prompt": "a star", "seed": 3, "control_image": picture}
    request = calls_of(pipe, {**call, "width": 16, "height": 16})[0]
    network = bound(cached(pipe, every=2))
    assert any("residual" in key or "control" in key for key in request.condition)
    first = network(request)
    assert apart(network(request), first) < 1e-6
    bare = bound(cached(pipe.replace(conditioning=["text"]), every=2))
    assert apart(bare(calls_of(pipe.replace(conditioning=["text"]), plain(call))[0]), first) > 1e-4


def plain(call: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in call.items() if name != "control_image"}
    return {**own, "width": 16, "height": 16}


@pytest.mark.parametrize("kind", ["Wan 2.1", "Stable Audio", "Stable Diffusion"])
def test_blocks_that_are_compiled_are_left_out_too(pipe_of: Any, kind: str) -> None:
    """Where Diffusers names them; one program of the whole network knows of no call."""
    pipe, call = pipe_of(kind), {**CALL, **KINDS[kind].inputs}
    program = {"name": "compile", "backend": "eager"}
    whole = {**program, "regional": False}
    for one in [program, whole] if kind == "Stable Audio" else [whole]:
        with pytest.raises(LdmError, match="do not go together"):
            pipe.replace(converters=["feature_cache", one])
    if kind != "Stable Audio":
        both = pipe.replace(converters=["feature_cache", program])
        assert apart(both(**call).images, cached(pipe)(**call).images) < 1e-5


@pytest.mark.parametrize("kind", OTHERS)
def test_networks_that_are_built_otherwise_are_refused(kind: str, tmp_path: Path) -> None:
    folder = KINDS[kind].write(tmp_path / "model")
    with pytest.raises(LdmError, match=r"does not know the (network's blocks|blocks of the net)"):
        Pipeline.from_pretrained(folder, converters=["feature_cache"])


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
