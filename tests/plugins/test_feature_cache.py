"""Features of a network's deep part used again: on every family, and whose they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

import tiny
from ldm_core import LdmError, Pipeline, chain
from ldm_core.composition.compose import compose
from ldm_core.contracts import Call, Converter, Network, Phase, PlaceNames, as_converter
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.cfg_parallel import CfgParallel, cfg_parallel
from ldm_plugins.converters.feature_cache import MANY_STEPS
from peers import apart
from recorded import Recorder
from tiny.covering import one_of_each
from tiny.lora import ATTENTION, write_lora

STEPS = 6
CALL: dict[str, Any] = {"seed": 3, "num_inference_steps": STEPS, "output_type": "latent"}


def cached(pipe: Pipeline, **options: Any) -> Pipeline:
    return pipe.replace(converters=[{"name": "feature_cache", **options}])


def inputs_of(kind: str, folder: Path) -> dict[str, Any]:
    inputs = tiny.FOLDERS[kind].inputs_in(folder)
    return {**CALL, **inputs, "seed": [3, 4]}


def calls_of(pipe: Pipeline, call: dict[str, Any]) -> list[Call]:
    recorder = Recorder()
    pipe.replace(converters=[recorder])(**call)
    return recorder.calls


def network_of(pipe: Pipeline) -> nn.Module:
    part = pipe.model.part("network")
    assert part is not None
    module: nn.Module = part.module
    return module


def counted(pipe: Pipeline) -> list[nn.Module]:
    """The layers of the network that are called from now on, those without layers in them."""
    called: list[nn.Module] = []
    for layer in network_of(pipe).modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(lambda module, args: called.append(module))
    return called


@pytest.mark.parametrize("kind", one_of_each())
def test_on_every_family(pipes: Any, kind: str, tmp_path: Path) -> None:
    pipe, call = pipes(kind), inputs_of(kind, tmp_path)
    plain = pipe(**call).images
    assert cached(pipe, every=1)(**call).images.equal(plain)
    half = cached(pipe, every=2)
    other = half(**call).images
    assert 0 < apart(other, plain) < 0.5
    assert half(**call).images.equal(other)  # nothing is left from the run before
    assert pipe(**call).images.equal(plain)
    assert half.replace(converters=[])(**call).images.equal(plain)


@pytest.mark.parametrize("kind", one_of_each())
def test_what_is_not_asked_anew_is_not_computed(pipes: Any, kind: str, tmp_path: Path) -> None:
    """And what is asked twice of the very same is answered as before."""
    call = calls_of(pipes(kind), inputs_of(kind, tmp_path))[0]
    pipe = cached(pipes(kind), every=2)
    called = counted(pipe)
    network = bound(pipe)
    counts, answers = [], []
    for _ in range(3):
        answers.append(network(call))
        counts.append(len(called))
        called.clear()
    assert counts[1] < 0.85 * counts[0]
    assert counts[2] == counts[0]
    assert answers[2].equal(answers[0])
    assert apart(answers[1], answers[0]) < 1e-6


def bound(pipe: Pipeline) -> Network:
    """The network in a run, without guidance."""
    (converter,) = pipe.composition.converters
    nothing: Any = None
    return torch.no_grad()(converter.bind(nothing).network(pipe.model.network))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", ["Stable Diffusion", "SDXL", "LDM", "DDPM"])
def test_a_unet_takes_what_came_from_beneath(
    pipes: Any, kind: str, depth: int, tmp_path: Path
) -> None:
    """Against the whole network of Diffusers, with what came from beneath put back by hand."""
    calls = calls_of(pipes(kind), inputs_of(kind, tmp_path))[:2]
    network = bound(cached(pipes(kind), every=2, depth=depth))
    ours = [network(call) for call in calls][1]
    unet: Any = network_of(pipes(kind))
    before: list[Tensor] = []
    skips = unet.config.block_out_channels[0]

    def beneath(layer: nn.Module, args: tuple[Any, ...]) -> Any:
        channels = args[0].shape[1] - skips
        before.append(args[0][:, :channels])
        return (torch.cat([before[0], args[0][:, channels:]], dim=1), *args[1:])

    handle = unet.up_blocks[-1].resnets[-depth].register_forward_pre_hook(beneath)
    theirs = [pipes(kind).model.network(call) for call in calls][1]
    handle.remove()
    assert apart(ours, theirs) < 1e-6
    assert apart(ours, pipes(kind).model.network(calls[1])) > 1e-4


@pytest.mark.parametrize("kind", ["DiT", "PixArt sigma", "SD 3", "Flux dev"])
def test_a_transformer_adds_what_its_blocks_added(pipes: Any, kind: str, tmp_path: Path) -> None:
    """Against the whole network of Diffusers, with what its blocks added put back by hand."""
    calls = calls_of(pipes(kind), inputs_of(kind, tmp_path))[:2]
    network = bound(cached(pipes(kind), every=2))
    ours = [network(call) for call in calls][1]
    stacks = dict(network_of(pipes(kind)).named_children())
    names = [name for name in ("transformer_blocks", "single_transformer_blocks") if name in stacks]
    blocks = [block for name in names for block in stacks[name].children()]
    seen: list[tuple[Tensor, Tensor]] = []
    entry: list[Tensor] = []

    def states(output: Any) -> Any:
        return output[1] if isinstance(output, tuple) else output

    def first(block: nn.Module, args: Any, output: Any) -> None:
        entry.append(states(output))

    def last(block: nn.Module, args: Any, output: Any) -> Any:
        seen.append((entry[-1], states(output)))
        end = entry[-1] + seen[0][1] - seen[0][0]
        return (output[0], end) if isinstance(output, tuple) else end

    handles = [blocks[0].register_forward_hook(first), blocks[-1].register_forward_hook(last)]
    theirs = [pipes(kind).model.network(call) for call in calls][1]
    for handle in handles:
        handle.remove()
    assert apart(ours, theirs) < 1e-6


@pytest.mark.parametrize("options", [{"every": 3}, {"every": 2, "choose": "scheduler"}])
@pytest.mark.parametrize("kind", ["Stable Diffusion", "DiT"])
def test_a_picture_depends_on_itself_alone(
    pipes: Any, kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    pipe, call = cached(pipes(kind), **options), inputs_of(kind, tmp_path)
    together = pipe(**call).images
    (name,) = call.keys() & {"prompt", "class_label"}
    for place in (0, 1):
        alone = pipe(**{**call, name: call[name][place], "seed": 3 + place}).images
        assert apart(alone, together[place : place + 1]) < 1e-5


def test_in_two_threads(pipe: Pipeline) -> None:
    runs = [cached(pipe, every=2), cached(pipe, every=3), cached(pipe, every=2, depth=2), pipe]
    alone = [one("a red star", **CALL).images for one in runs]
    with ThreadPoolExecutor(4) as threads:
        again = list(threads.map(lambda one: one("a red star", **CALL).images, runs * 3))
    assert all(image.equal(alone[i % 4]) for i, image in enumerate(again))
    same = runs[0]
    with ThreadPoolExecutor(4) as threads:
        many = list(threads.map(lambda seed: same("a star", **{**CALL, "seed": seed}), [1, 2] * 3))
    assert all(out.images.equal(many[i % 2].images) for i, out in enumerate(many))


def test_rows_are_told_apart(pipe: Pipeline) -> None:
    """A call in which some rows have features and others have none."""
    network = bound(cached(pipe, every=3))
    first, second, third = calls_of(pipe, {**CALL, "prompt": ["a star", "a moon"]})[:3]
    rows = len(first.rows)
    some = part(first, [0])
    alone = [bound(cached(pipe, every=3)) for _ in range(rows)]
    expected = []
    for place in range(rows):
        if place == 0:
            alone[place](some)
        answers = [alone[place](part(call, [place])) for call in (second, third)]
        expected.append(answers[1])
    network(some)
    network(second)
    assert apart(network(third), torch.cat(expected)) < 1e-5


def part(call: Call, rows: list[int]) -> Call:
    condition = {key: value[rows] for key, value in call.condition.items()}
    return Call(call.x[rows], call.t[rows], condition, tuple(call.rows[row] for row in rows))


def test_guidance_may_stop_half_way(pipe: Pipeline) -> None:
    """The branches change while features are kept."""
    grid = pipe.composition.plan({"prompt": ["a"], "negative_prompt": [None]}, [0], {}, STEPS).grid
    late = {"name": "classifier_free", "high": grid[2].ratio * 1.001}
    assert (
        cached(pipe, every=1)
        .replace(guidance=late)("a", **CALL)
        .images.equal(pipe.replace(guidance=late)("a", **CALL).images)
    )
    recorder = Recorder()
    three = {"name": "feature_cache", "every": 3}
    pipe.replace(guidance=late, converters=[three, recorder])("a", **CALL)
    assert [len(call.rows) for call in recorder.calls] == [1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("side", ["controlnet", "t2i_adapter"])
@pytest.mark.parametrize("depth", [1, 2])
def test_beside_other_networks(pipe: Pipeline, tmp_path: Path, side: str, depth: int) -> None:
    folder = pipe.composition.info.folder
    if side == "controlnet":
        model = tiny.write_controlnet(tmp_path / "side", folder)
    else:
        model = tiny.write_t2i_adapter(tmp_path / "side")
    control = {"name": "control", "models": [str(model)]}
    with_side = pipe.replace(conditioning=["text", control])
    call = {**CALL, "prompt": "a red star", "control_image": torch.rand(3, 16, 16)}
    plain = with_side(**call).images
    assert cached(with_side, every=1, depth=depth)(**call).images.equal(plain)
    assert 0 < apart(cached(with_side, every=2, depth=depth)(**call).images, plain) < 0.5
    request = calls_of(with_side, call)[0]
    network = bound(cached(with_side, every=2, depth=depth))
    assert any("residual" in key for key in request.condition)
    assert network(request).equal(network(request))


def test_runs_that_go_on(pipe: Pipeline) -> None:
    """Streams, chains and half walks; what goes on begins without features."""
    two = cached(pipe, every=2)
    whole = two("a red star", **CALL).images
    stream = two.stream("a red star", **CALL)
    assert len(list(stream)) == STEPS
    assert stream.output.images.equal(whole)
    plan = two.composition.plan(
        {"prompt": ["a red star"], "negative_prompt": [None]}, [3], {}, STEPS
    )
    sampling = two.start(plan)
    middle = sampling.walk(sampling.x, 0, 4)
    assert two.start(plan).walk(middle, 4).equal(whole)  # 4 is one that computes
    both = chain(two, pipe, at=0.5)("a red star", **CALL).images
    assert apart(both, pipe("a red star", **CALL).images) < 0.5


def test_part_of_the_steps(pipe: Pipeline) -> None:
    plain = pipe("a star", **CALL).images
    recorded = cached(pipe, every=2, start=0.99)
    assert recorded("a star", **CALL).images.equal(plain)
    early = cached(pipe, every=6, stop=0.5)
    called = counted(early)
    early("a star", **CALL)
    deep: Any = network_of(early)
    assert called.count(deep.mid_block.resnets[0].conv1) == 1 + 3


@pytest.mark.parametrize("guidance", ["perturbed_attention", "skip_layer"])
def test_guidance_by_altered_networks(pipe: Pipeline, guidance: str) -> None:
    """Which are made of the cached one, and have features of their own."""
    choice = {"name": guidance, "stop": 1.0} if guidance == "skip_layer" else guidance
    guided = pipe.replace(guidance=choice)
    plain = guided("a star", **CALL).images
    assert apart(cached(guided, every=1)("a star", **CALL).images, plain) < 1e-6
    assert 0 < apart(cached(guided, every=2)("a star", **CALL).images, plain) < 0.5


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("Stable Diffusion", {"depth": 3}, "its outermost block has 2 layers"),
        ("DiT", {"depth": 9}, "so depth is at most"),
        ("Stable Diffusion", {"start": 0.5, "stop": 0.5}, "with start < stop"),
        ("Stable Diffusion", {"method": "taylorseer"}, "its network, a UNet2DConditionModel"),
        ("SD 3", {"method": "first_block"}, "takes 'magcache'"),
        ("Flux dev", {"method": "first_block", "every": 2}, "does not heed the option 'every'"),
        ("Flux dev", {"method": "taylorseer", "depth": 2}, "does not heed the option 'depth'"),
        ("Flux dev", {"threshold": 0.1}, "does not heed the option 'threshold'"),
        ("Flux dev", {"ratios": [1.0]}, "does not heed the option 'ratios'"),
        ("SD 3", {"method": "magcache"}, "magcache needs ratios"),
    ],
)
def test_what_cannot_be_is_refused(
    pipes: Any, kind: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(LdmError, match=words):
        cached(pipes(kind), **options)


def test_another_program_in_place_of_the_network_is_noticed(pipe: Pipeline) -> None:
    class Other(Converter):
        phase = Phase.COMPILE
        lossless = True

        def part(self, part: Any) -> Any:
            if part.role != "network":
                return part
            own = diffusers.UNet2DConditionModel(**part.module.config)
            own.load_state_dict(part.module.state_dict())
            return replace(part, module=own.eval())

    for name, words in (("feature_cache", "no block"), ("prompt_cache", "no layer")):
        both = pipe.replace(converters=[name, Other()])
        with pytest.raises(LdmError, match=f"reaches {words} of the network"):
            both("a star", **CALL)
        saying = Other()
        saying.whole_program = True
        with pytest.raises(LdmError, match="by a program of its own"):
            pipe.replace(converters=[name, saying])


def test_calls_that_are_parted_are_noticed(pipe: Pipeline) -> None:
    """Before weights are read where the converter is known, or else in the first call."""
    halves = {"name": "cfg_parallel", "devices": ["cpu", "cpu"]}
    with pytest.raises(LdmError, match="the second parts them"):
        compose({"model": "shapes", "converters": ["feature_cache", halves]}, installed())

    class Parting(CfgParallel):
        """Of another package."""

    own = as_converter(cfg_parallel(devices=["cpu", "cpu"]))
    both = pipe.replace(converters=["feature_cache", Parting(**vars(own))])
    with pytest.raises(LdmError, match="another converter parts them"):
        both("a star", **CALL)


@pytest.mark.parametrize("placement", ["sequential_offload", "model_offload", "group_offload"])
def test_with_weights_elsewhere(pipe: Pipeline, placement: str) -> None:
    alone = cached(pipe, every=2)("a star", **CALL).images
    options = {"parts": ["network"]}
    placed = [{"name": placement, **options}, {"name": "feature_cache", "every": 2}]
    assert apart(pipe.replace(converters=placed)("a star", **CALL).images, alone) < 1e-6


@pytest.mark.parametrize("other", ["lora", "quantize", "regions", "autoguidance", "heun", "chunk"])
def test_beside_everything_else(folder: Path, pipe: Pipeline, tmp_path: Path, other: str) -> None:
    call: dict[str, Any] = {**CALL, "prompt": ["a star", "a moon"]}
    features: list[Any] = []
    if other == "lora":
        targets = {"unet": ATTENTION}
        lora = write_lora(diffusers.StableDiffusionPipeline, folder, tmp_path / "lora", targets, 1)
        pipe = pipe.replace(loras=[str(lora)])
    elif other == "quantize":
        features = [{"name": "quantize", "format": "int8"}]
        pipe = Pipeline.from_pretrained(folder, converters=features)
    elif other == "regions":
        pipe = pipe.replace(conditioning=["regions"])
        call["regions"] = [[{"prompt": "a moon", "box": [0, 0, 0.5, 1]}], []]
    elif other == "autoguidance":
        weak = tiny.write_stable_diffusion(tmp_path / "weak", layers_per_block=1)
        pipe = pipe.replace(guidance={"name": "autoguidance", "model": str(weak)})
    elif other == "heun":
        pipe = pipe.replace(scheduler="heun")
    else:
        pipe = pipe.replace(conditioning=[{"name": "text", "too_long": "chunk"}])
        call["prompt"] = ["a star " * 30, "a moon"]
    plain = pipe(**call).images

    def with_cache(**options: Any) -> Pipeline:
        return pipe.replace(converters=[*features, {"name": "feature_cache", **options}])

    assert apart(with_cache(every=1)(**call).images, plain) < 1e-6
    two = with_cache(every=2, choose="scheduler")
    together = two(**call).images
    assert 0 < apart(together, plain) < 0.5
    for place in (0, 1):
        own = {name: [call[name][place]] for name in call.keys() & {"prompt", "regions"}}
        alone = two(**{**call, **own, "seed": 3 + place}).images
        assert apart(alone, together[place : place + 1]) < 1e-4


@pytest.mark.parametrize(
    ("kind", "device", "pays"),
    [
        ("Stable Diffusion", "cpu", True),
        ("DiT", "cpu", True),
        ("Stable Diffusion", "cuda", False),
        ("LCM", "cpu", False),  # which draws in four steps
    ],
)
def test_what_it_says_of_its_speed(pipes: Any, kind: str, device: str, pays: bool) -> None:
    info = pipes(kind).composition.info
    (converter,) = cached(pipes(kind)).composition.converters
    speedups = converter.speedups(info, PlaceNames(device, "auto", "auto"))
    assert bool(speedups) == pays
    assert all(speedup.factor < 1 and speedup.error for speedup in speedups)
    for speedup in speedups:
        assert speedup.least_steps == MANY_STEPS  # of a run, whatever the model's own are
        cached(pipes(kind), **speedup.options)
