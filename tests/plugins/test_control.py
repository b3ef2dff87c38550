"""Control by ControlNets and T2I-Adapters: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    T2IAdapter,
)
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.contracts import Call, Condition, Network, Row, RunHooks
from ldm_core.errors import LdmError
from ldm_core.numerics.point import Point
from peers import apart, far

STEPS = 5
PROMPTS = ["a red star", "a blue circle"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("control")


@pytest.fixture(scope="module")
def sdxl(place: Path) -> Path:
    return tiny.write_stable_diffusion_xl(place / "sdxl")


@pytest.fixture(scope="module")
def union(place: Path, sdxl: Path) -> Path:
    return tiny.write_controlnet(place / "union", sdxl, cls="ControlNetUnionModel")


@pytest.fixture(scope="module")
def edges(place: Path, folder: Path) -> Path:
    return tiny.write_controlnet(place / "edges", folder)


@pytest.fixture(scope="module")
def depth(place: Path, folder: Path) -> Path:
    return tiny.write_controlnet(place / "depth", folder, seed=5)


@pytest.fixture(scope="module")
def sketch(place: Path) -> Path:
    return tiny.write_t2i_adapter(place / "sketch")


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[Path]:
    """Four pictures of noise, of the size that is made."""
    files = []
    for number in range(4):
        pixels = torch.randint(256, (16, 16, 3), generator=torch.Generator().manual_seed(number))
        files.append(place / f"picture{number}.png")
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(files[-1])
    return files


def with_control(pipe: Pipeline, *models: Any, others: tuple[str, ...] = ("text",)) -> Pipeline:
    named = [str(model) if isinstance(model, Path) else model for model in models]
    return pipe.replace(conditioning=[*others, {"name": "control", "models": named}])


def ours(pipe: Pipeline, control_image: Any, **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": STEPS, "guidance_scale": 4.0, **call}
    found: torch.Tensor = pipe(
        PROMPTS, seed=3, control_image=control_image, output_type="latent", **call
    ).images
    return found


def theirs(peer: Any, image: Any, **call: Any) -> torch.Tensor:
    peer.set_progress_bar_config(disable=True)
    call = {"num_inference_steps": STEPS, "guidance_scale": 4.0, **call}
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    found: torch.Tensor = peer(
        PROMPTS, image=image, generator=generators, output_type="latent", **call
    ).images
    return found


def opened(*files: Path) -> list[Image.Image]:
    return [Image.open(file) for file in files]


def as_tensor(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    ("options", "their"),
    [
        ({}, {}),
        ({"weight": 0.4}, {"controlnet_conditioning_scale": 0.4}),
        (
            {"start": 0.2, "end": 0.8},
            {"control_guidance_start": 0.2, "control_guidance_end": 0.8},
        ),
        ({"end": 0.5}, {"control_guidance_end": 0.5}),
        (
            {"guess_mode": True, "weight": 0.7},
            {"guess_mode": True, "controlnet_conditioning_scale": 0.7},
        ),
    ],
    ids=["plain", "weight", "middle", "first half", "guess mode"],
)
def test_a_controlnet_is_asked_as_in_diffusers(
    folder: Path,
    pipe: Pipeline,
    edges: Path,
    pictures: list[Path],
    options: dict[str, Any],
    their: dict[str, Any],
) -> None:
    peer = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=ControlNetModel.from_pretrained(edges)
    )
    expected = theirs(peer, opened(*pictures[:2]), **their)
    controlled = with_control(pipe, {"path": str(edges), **options})
    found = ours(controlled, [str(file) for file in pictures[:2]])
    assert apart(found, expected) < 1e-5
    free = pipe(
        PROMPTS,
        seed=3,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="latent",
    ).images
    assert apart(free, expected) > 1e-2


def test_a_controlnet_of_pooled_conditions_speaks_to_the_positive_branch_alone(
    place: Path, folder: Path, pipe: Pipeline, pictures: list[Path]
) -> None:
    pooled = tiny.write_controlnet(place / "pooled", folder, global_pool_conditions=True)
    peer = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=ControlNetModel.from_pretrained(pooled)
    )
    expected = theirs(peer, opened(*pictures[:2]))
    assert apart(ours(with_control(pipe, pooled), pictures[:2]), expected) < 1e-5


def test_several_controlnets_add_up_as_in_diffusers(
    folder: Path, pipe: Pipeline, edges: Path, depth: Path, pictures: list[Path]
) -> None:
    peer = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=[ControlNetModel.from_pretrained(each) for each in (edges, depth)]
    )
    expected = theirs(
        peer,
        [opened(*pictures[::2]), opened(*pictures[1::2])],
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.4],
        control_guidance_end=[0.6, 1.0],
    )
    both = with_control(
        pipe,
        {"path": str(edges), "weight": 0.8, "end": 0.6},
        {"path": str(depth), "weight": 0.5, "start": 0.4},
    )
    each_image = [[pictures[0], pictures[2]], [pictures[1], pictures[3]]]
    assert apart(ours(both, each_image), expected) < 1e-5


def test_one_picture_serves_every_image_and_model(
    pipe: Pipeline, edges: Path, depth: Path, pictures: list[Path]
) -> None:
    both = with_control(pipe, edges, depth)
    one = ours(both, pictures[0])
    assert torch.equal(one, ours(both, [[pictures[0]] * 2] * 2))


def test_an_sdxl_controlnet_is_told_sizes_as_in_diffusers(
    place: Path, sdxl: Path, pictures: list[Path]
) -> None:
    net = tiny.write_controlnet(place / "sdxl_edges", sdxl)
    peer = StableDiffusionXLControlNetPipeline.from_pretrained(
        sdxl, controlnet=ControlNetModel.from_pretrained(net), add_watermarker=False
    )
    expected = theirs(peer, opened(*pictures[:2]), controlnet_conditioning_scale=0.9)
    controlled = with_control(
        Pipeline.from_pretrained(sdxl),
        {"path": str(net), "weight": 0.9},
        others=("text", "size"),
    )
    assert apart(ours(controlled, pictures[:2]), expected) < 1e-5


UNIONS: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "one picture": (
        {"mode": 4, "weight": 0.7, "end": 0.8, "guess_mode": True},
        [0],
        {
            "control_mode": [4],
            "controlnet_conditioning_scale": 0.7,
            "control_guidance_end": 0.8,
            "guess_mode": True,
        },
    ),
    "two pictures": (
        {"mode": [0, 3], "weight": [0.4, 0.9]},
        [0, 1],
        {"control_mode": [0, 3], "controlnet_conditioning_scale": [0.4, 0.9]},
    ),
}
"""Of each: our options, which pictures an image is shown, and what Diffusers is called with."""


@pytest.mark.parametrize("task", ["", "Img2Img", "Inpaint"])
@pytest.mark.parametrize("kind", UNIONS)
def test_a_union_reads_pictures_of_several_kinds(
    union: Path, sdxl: Path, pictures: list[Path], kind: str, task: str
) -> None:
    options, shown, their = UNIONS[kind]
    cls = getattr(diffusers, f"StableDiffusionXLControlNetUnion{task}Pipeline")
    net = diffusers.ControlNetUnionModel.from_pretrained(union)
    inner = net.forward

    def forward(sample: torch.Tensor, *args: Any, control_type: torch.Tensor, **more: Any) -> Any:
        # under guidance its guess mode hands over the rows of both branches, and fails
        return inner(sample, *args, control_type=control_type[: len(sample)], **more)

    net.forward = forward
    peer = cls.from_pretrained(sdxl, controlnet=net, add_watermarker=False)
    images = opened(*pictures[:2])
    call: dict[str, Any] = {"strength": 0.6} if task else {}
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 12, 12))
    masks = {"mask_image": [mask] * 2, "image": images} if task == "Inpaint" else {"image": images}
    given = [images[number] for number in shown]
    peer.set_progress_bar_config(disable=True)
    expected = peer(
        PROMPTS,
        control_image=given,
        generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)],
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        output_type="latent",
        **({**masks, "height": 16, "width": 16} if task == "Inpaint" else masks if task else {}),
        **their,
        **call,
    ).images
    more = {"": (), "Img2Img": ("image",), "Inpaint": ("mask",)}[task]
    pipe = Pipeline.from_pretrained(sdxl)
    pipe = with_control(pipe, {"path": str(union), **options}, others=("text", "size", *more))
    own = {"image": images} if task else {}
    own |= {"mask": mask} if task == "Inpaint" else {}
    found = ours(pipe, [given] * 2, **own, **call)
    assert apart(found, expected) < 1e-5


def test_a_union_is_silent_outside_its_share(union: Path, sdxl: Path, pictures: list[Path]) -> None:
    """With several pictures too, where Diffusers goes on adding what the network says of none."""
    net = diffusers.ControlNetUnionModel.from_pretrained(union)
    cls = diffusers.StableDiffusionXLControlNetUnionPipeline
    peer = cls.from_pretrained(sdxl, controlnet=net, add_watermarker=False)
    peer.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent"}
    never = {"control_guidance_end": 0.1, "guidance_scale": 4.0}
    plain = Pipeline.from_pretrained(sdxl)
    expected = plain("a star", seed=3, **call).images
    noise = torch.Generator().manual_seed(3)
    images = opened(*pictures[:2])
    found = peer(
        "a star", control_image=images, control_mode=[0, 3], generator=noise, **call, **never
    )
    assert far(found.images, expected) > 1e-2
    table = {"path": str(union), "mode": [0, 3], "end": 0.1}
    pipe = with_control(plain, table, others=("text", "size"))
    assert pipe("a star", seed=3, control_image=[images], **call).images.equal(expected)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "reads 6 kinds of pictures: say which by its mode, a number from 0 to 5, or a list"),
        ({"mode": [0, 6]}, "reads 6 kinds of pictures"),
        ({"mode": "depth"}, "should be a number, or a list of one for each of its pictures"),
        ({"mode": []}, "should be a number, or a list"),
        ({"mode": [0, 1], "weight": [1.0]}, "has 1 weights and 2 modes"),
        ({"mode": 0, "weight": [1.0]}, "the weight of the control model .* should be a number"),
    ],
)
def test_modes_that_a_union_does_not_have_are_refused(
    union: Path, sdxl: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(LdmError, match=told):
        with_control(
            Pipeline.from_pretrained(sdxl), {"path": str(union), **options}, others=("text", "size")
        )


def test_a_t2i_adapter_adds_what_it_adds_in_diffusers(
    folder: Path, pipe: Pipeline, sketch: Path, pictures: list[Path]
) -> None:
    peer = StableDiffusionAdapterPipeline.from_pretrained(
        folder, adapter=T2IAdapter.from_pretrained(sketch)
    )
    expected = theirs(peer, opened(*pictures[:2]), adapter_conditioning_scale=0.6)
    adapted = with_control(pipe, {"path": str(sketch), "weight": 0.6})
    assert apart(ours(adapted, pictures[:2]), expected) < 1e-5
    assert apart(ours(with_control(pipe, sketch), pictures[:2]), expected) > 1e-3


def test_two_t2i_adapters_one_of_them_light(place: Path, pictures: list[Path]) -> None:
    three = tiny.write_stable_diffusion(
        place / "three",
        block_out_channels=(16, 32, 32),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )
    full = tiny.write_t2i_adapter(place / "full", channels=[16, 32, 32])
    light = tiny.write_t2i_adapter(place / "light", seed=7, adapter_type="light_adapter")
    nets = [T2IAdapter.from_pretrained(net) for net in (full, light)]
    # Diffusers wants all of one depth, so that it can add them up
    nets[1].adapter.total_downscale_factor = nets[0].total_downscale_factor
    peer = StableDiffusionAdapterPipeline.from_pretrained(three, adapter=MultiAdapter(nets))
    expected = theirs(
        peer,
        [torch.stack([as_tensor(file) for file in pictures[i : i + 2]]) for i in (0, 2)],
        adapter_conditioning_scale=[0.7, 0.4],
    )
    both = with_control(
        Pipeline.from_pretrained(three),
        {"path": str(full), "weight": 0.7},
        {"path": str(light), "weight": 0.4},
    )
    each_image = [[pictures[0], pictures[2]], [pictures[1], pictures[3]]]
    assert apart(ours(both, each_image), expected) < 1e-5


def test_an_sdxl_t2i_adapter_ends_where_it_ends_in_diffusers(
    place: Path, sdxl: Path, pictures: list[Path]
) -> None:
    net = tiny.write_t2i_adapter(
        place / "sdxl_sketch", adapter_type="full_adapter_xl", downscale_factor=4
    )
    peer = StableDiffusionXLAdapterPipeline.from_pretrained(
        sdxl, adapter=T2IAdapter.from_pretrained(net), add_watermarker=False
    )
    expected = theirs(
        peer,
        opened(*pictures[:2]),
        adapter_conditioning_scale=0.8,
        adapter_conditioning_factor=0.6,
    )
    adapted = with_control(
        Pipeline.from_pretrained(sdxl),
        {"path": str(net), "weight": 0.8, "end": 0.6},
        others=("text", "size"),
    )
    assert apart(ours(adapted, pictures[:2]), expected) < 1e-5


def test_a_side_network_is_not_asked_outside_its_share(
    monkeypatch: pytest.MonkeyPatch, pipe: Pipeline, edges: Path, pictures: list[Path]
) -> None:
    asked: list[torch.Size] = []
    real = ControlNetModel.forward

    def counted(self: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        asked.append(sample.shape)
        return real(self, sample, *args, **kwargs)

    monkeypatch.setattr(ControlNetModel, "forward", counted)
    part = with_control(pipe, {"path": str(edges), "start": 0.25, "end": 0.75})
    ours(part, pictures[0], num_inference_steps=8)
    assert asked == [(4, 4, 8, 8)] * 4
    asked.clear()
    guessing = with_control(pipe, {"path": str(edges), "guess_mode": True})
    ours(guessing, pictures[0], num_inference_steps=3)
    assert asked == [(2, 4, 8, 8)] * 3


class Side:
    """A side network that says its pictures' mean and its rows' timesteps."""

    def __init__(self, number: int, calls: list[tuple[int, Call]], guess: bool = False) -> None:
        self._number = number
        self._calls = calls
        self.guess = guess
        self.reads = 0
        self.features: list[torch.Tensor] = []

    def read(self, pictures: torch.Tensor) -> Condition:
        self.reads += 1
        return {"mean": pictures.mean(dim=(1, 2, 3))}

    def __call__(self, call: Call, features: Condition, weight: float, guess: bool) -> Condition:
        assert len(call.x) == len(call.rows) == len(call.condition["text"]) == len(call.t)
        assert features.keys() == {"mean"}
        assert call.condition.keys() == {"text"}
        self._calls.append((self._number, call))
        self.features.append(features["mean"])
        return {"mid": weight * (call.t + features["mean"]), f"own_{self._number}": call.t}


class Sides:
    """An ability that has these side networks, one after the other."""

    def __init__(self, *sides: Side) -> None:
        self._sides = sides
        self._loads = 0

    def load(self, folder: Path, name: str) -> Side:
        self._loads += 1
        return self._sides[(self._loads - 1) % len(self._sides)]


@dataclass(frozen=True)
class Stubs:
    """A network that is a stub beside two side networks that are.

    Attributes:
        hooks: of the run, whose two pictures are grey of the levels 0.25 and 0.5.
        asked: what the network is asked.
        calls: what the side networks are asked, each with the number of its own.
    """

    hooks: RunHooks
    sides: tuple[Side, Side]
    asked: list[Call]
    calls: list[tuple[int, Call]]

    @property
    def network(self) -> Network:
        def below(call: Call) -> torch.Tensor:
            self.asked.append(call)
            return call.x

        return self.hooks.network(below)


@pytest.fixture
def stubbed(pipe: Pipeline, edges: Path, depth: Path) -> Callable[..., Stubs]:
    def make(first: dict[str, Any], second: dict[str, Any], guess: bool = False) -> Stubs:
        both = with_control(pipe, {"path": str(edges), **first}, {"path": str(depth), **second})
        calls: list[tuple[int, Call]] = []
        sides = Side(0, calls), Side(1, calls, guess)
        control = both.composition.conditioning[1]
        pictures = [torch.full((3, 16, 16), level) for level in (0.25, 0.5)]
        inputs = {"prompt": PROMPTS, "control_image": pictures}
        run = both.start(both.composition.plan(inputs, [1, 2])).run
        run = replace(run, model=replace(run.model, abilities={"control": Sides(*sides)}))
        assert control.encode(run, ["positive"]) == {}
        return Stubs(control.bind(run), sides, [], calls)

    return make


def call_of(*rows: tuple[int, str, float, int, int]) -> Call:
    """A call of these rows: image, branch, timestep, step and steps of each."""
    whose = tuple(Row(i, b, Point(1.0, 1.0, t), step, steps) for i, b, t, step, steps in rows)
    x = torch.arange(float(len(rows)))[:, None, None, None].expand(-1, 4, 8, 8)
    text = torch.arange(float(len(rows)))[:, None, None].expand(-1, 3, 2)
    return Call(x, torch.tensor([row[2] for row in rows]), {"text": text}, whose)


def test_rows_of_one_call_are_asked_each_by_its_own_step(stubbed: Callable[..., Stubs]) -> None:
    """Rows of several runs share a call; a side network is asked with those within its share."""
    stubs = stubbed({"end": 0.5}, {"weight": 2.0, "start": 0.5})
    call = call_of(
        (0, "positive", 900.0, 0, 4),
        (1, "positive", 300.0, 1, 2),
        (1, "negative", 700.0, 1, 8),
        (0, "negative", 500.0, 2, 3),
    )
    assert stubs.network(call) is call.x
    (number, early), (other, late) = stubs.calls
    assert (number, other) == (0, 1)
    assert early.rows == (call.rows[0], call.rows[2])
    assert early.t.tolist() == [900.0, 700.0]
    assert early.x.equal(call.x[[0, 2]])
    assert early.condition["text"][:, 0, 0].tolist() == [0.0, 2.0]
    assert late.rows == (call.rows[1], call.rows[3])
    (below,) = stubs.asked
    assert below.condition.keys() == {"text", "mid", "own_0", "own_1"}
    assert below.condition["text"] is call.condition["text"]
    assert below.condition["mid"].tolist() == [900.25, 2 * 300.5, 700.5, 2 * 500.25]
    assert below.condition["own_0"].tolist() == [900.0, 0.0, 700.0, 0.0]
    assert below.condition["own_1"].tolist() == [0.0, 300.0, 0.0, 500.0]
    assert (below.x is call.x, below.t is call.t, below.rows) == (True, True, call.rows)


def test_a_side_network_that_guesses_has_nothing_for_the_negative_branch(
    stubbed: Callable[..., Stubs],
) -> None:
    stubs = stubbed({"guess_mode": True}, {}, guess=True)
    negative = (0, "negative", 900.0, 0, 4)
    call = call_of(negative, (0, "positive", 900.0, 0, 4), (1, "other", 100.0, 3, 4))
    stubs.network(call)
    assert [part.rows for _, part in stubs.calls] == [call.rows[1:]] * 2
    assert stubs.asked[0].condition["mid"].tolist() == [0.0, 2 * 900.25, 2 * 100.5]
    stubs.network(call_of(negative))
    assert len(stubs.calls) == 2
    assert "mid" not in stubs.asked[1].condition


def test_nothing_is_copied_where_all_rows_are_asked(stubbed: Callable[..., Stubs]) -> None:
    stubs = stubbed({}, {"end": 0.5})
    call = call_of((0, "positive", 900.0, 0, 2), (1, "negative", 800.0, 0, 3))
    stubs.network(call)
    assert [(number, part is call) for number, part in stubs.calls] == [(0, True), (1, True)]
    assert stubs.asked[0].condition["own_0"] is call.t
    late = call_of((0, "positive", 900.0, 1, 2), (1, "negative", 800.0, 2, 3))
    stubs.network(late)
    assert [number for number, _ in stubs.calls] == [0, 1, 0]


def test_pictures_are_read_once_in_a_run_and_each_row_gets_its_images(
    stubbed: Callable[..., Stubs],
) -> None:
    """Whatever a condition holds, and for whichever of the networks that a guidance asks."""
    stubs = stubbed({}, {"start": 0.5})
    network, other = stubs.network, stubs.network
    assert [side.reads for side in stubs.sides] == [0, 0]
    rows = [(1, "positive"), (0, "positive"), (1, "negative")]
    for step in range(4):
        network(call_of(*((image, branch, 0.0, step, 4) for image, branch in rows)))
        other(call_of((1, "weak", 0.0, step, 4)))
        assert [side.reads for side in stubs.sides] == [1, step >= 2]
    first, second = (side.features for side in stubs.sides)
    assert [features.tolist() for features in first] == [[0.5, 0.25, 0.5], [0.5]] * 4
    assert [features.tolist() for features in second] == [[0.5, 0.25, 0.5], [0.5]] * 2
    assert all(later is earlier for later, earlier in zip(first[2:], first[:-2], strict=True))


def test_what_part_of_the_rows_are_asked_with_is_taken_once(stubbed: Callable[..., Stubs]) -> None:
    """But for what changes from call to call."""
    stubs = stubbed({"guess_mode": True}, {"end": 0.1})
    call = call_of((0, "negative", 0.0, 1, 4), (1, "positive", 0.0, 1, 4))
    for _ in range(3):
        stubs.network(call)
    texts = [part.condition["text"] for _, part in stubs.calls]
    assert texts[0].tolist() == [[[1.0, 1.0]] * 3]
    assert texts[0] is texts[1] is texts[2]
    for level in (5.0, 6.0):
        stubs.network(call._replace(condition={"text": torch.full((2, 3, 2), level)}))
        assert stubs.calls[-1][1].condition["text"].tolist() == [[[level, level]] * 3]


def test_weights_are_read_once_and_go_with_the_last_pipeline(
    monkeypatch: pytest.MonkeyPatch, folder: Path, edges: Path, pictures: list[Path]
) -> None:
    read: list[Path] = []
    real = ControlNetModel.from_pretrained.__func__

    def counted(cls: Any, path: Path, **options: Any) -> Any:
        read.append(path)
        return real(cls, path, **options)

    monkeypatch.setattr(ControlNetModel, "from_pretrained", classmethod(counted))
    own = shutil.copytree(edges, folder.parent / "own_edges")
    for _ in range(2):
        one = with_control(Pipeline.from_pretrained(folder, num_inference_steps=1), own)
        other = with_control(Pipeline.from_pretrained(folder, num_inference_steps=1), own)
        for pipe in (one, other, one):
            ours(pipe, pictures[0], num_inference_steps=1)
        del one, other, pipe
        gc.collect()
    assert len(read) == 2


def test_the_pipeline_without_control_stays_as_it_was(
    pipe: Pipeline, edges: Path, sketch: Path, pictures: list[Path]
) -> None:
    def free() -> torch.Tensor:
        found: torch.Tensor = pipe("a red star", seed=7, output_type="latent").images
        return found

    before = free()
    ours(with_control(pipe, edges, sketch), pictures[0])
    assert torch.equal(free(), before)


def test_an_image_depends_on_its_own_seed_and_pictures_alone(
    pipe: Pipeline, edges: Path, sketch: Path, pictures: list[Path]
) -> None:
    both = with_control(pipe, edges, {"path": str(sketch), "end": 0.5})
    together = ours(both, [[pictures[0], pictures[2]], [pictures[1], pictures[3]]])
    alone = both(
        "a blue circle",
        seed=4,
        num_inference_steps=STEPS,
        guidance_scale=4.0,
        control_image=[[pictures[1], pictures[3]]],
        output_type="latent",
    ).images
    assert apart(together[1:], alone) < 1e-5


def test_an_inpainting_network_takes_control_too(
    place: Path, edges: Path, pictures: list[Path]
) -> None:
    painted = tiny.write_stable_diffusion(
        place / "inpaint", pipeline="StableDiffusionInpaintPipeline", in_channels=9
    )
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:12, 4:12] = 1
    peer = StableDiffusionControlNetInpaintPipeline.from_pretrained(
        painted, controlnet=ControlNetModel.from_pretrained(edges)
    )
    expected = theirs(
        peer,
        opened(*pictures[1:3]),
        mask_image=[Image.fromarray((mask[0] * 255).to(torch.uint8).numpy())] * 2,
        control_image=[Image.open(pictures[0])] * 2,
        strength=1.0,
        controlnet_conditioning_scale=1.0,
        height=16,
        width=16,
    )
    pipe = with_control(Pipeline.from_pretrained(painted), edges, others=("text", "mask"))
    found = ours(pipe, pictures[0], image=pictures[1:3], mask=mask)
    assert apart(found, expected) < 1e-5


def test_a_region_of_the_whole_picture_changes_nothing(
    pipe: Pipeline, edges: Path, sketch: Path, pictures: list[Path]
) -> None:
    both = with_control(pipe, edges, sketch)
    expected = ours(both, pictures[0])
    control = both.recipe["conditioning"][1]
    whole = [[{"prompt": prompt, "box": [0, 0, 1, 1]}] for prompt in PROMPTS]
    for order in (["regions", control], [control, "regions"]):
        found = ours(pipe.replace(conditioning=order), pictures[0], regions=whole)
        assert apart(found, expected) < 1e-5


def change(folder: Path, **config: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))


def without_weights(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def pickled(folder: Path) -> None:
    next(folder.glob("*.safetensors")).rename(folder / "diffusion_pytorch_model.bin")


def cut_off(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: change(folder, cross_attention_dim=64), "its cross_attention_dim is 64"),
        (lambda folder: change(folder, block_out_channels=[32, 32]), "the network's \\[16, 32\\]"),
        (lambda folder: change(folder, in_channels=16), "latents of 16 channels"),
        (
            lambda folder: change(folder, conditioning_embedding_out_channels=[8, 16, 32]),
            "shrinks its picture by 4 and the autoencoder by 2",
        ),
        (lambda folder: change(folder, _class_name="FluxControlNetModel"), "is a FluxControlNet"),
        (lambda folder: (folder / "config.json").unlink(), "lacks .*config.json"),
        (without_weights, "has no weights"),
        (pickled, "pickled weights"),
        (cut_off, "cut off or damaged"),
    ],
)
def test_a_controlnet_that_does_not_fit_is_refused_before_weights_are_read(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pipe: Pipeline,
    edges: Path,
    damage: Callable[[Path], Any],
    told: str,
) -> None:
    monkeypatch.setattr(ControlNetModel, "from_pretrained", None)
    own = shutil.copytree(edges, tmp_path / "own")
    damage(own)
    with pytest.raises(LdmError, match=told):
        with_control(pipe, own)


def test_a_side_network_of_another_family_is_refused(
    tmp_path: Path, pipe: Pipeline, sdxl: Path
) -> None:
    net = tiny.write_controlnet(tmp_path / "sdxl", sdxl)
    with pytest.raises(LdmError, match="was made for another kind of model") as error:
        with_control(pipe, net)
    assert "addition_embed_type is text_time and the network's None" in str(error.value)
    wide = tiny.write_t2i_adapter(tmp_path / "wide", channels=[16, 64])
    with pytest.raises(LdmError, match="16 at 2 pixels, 64 at 4 pixels and the network takes 16"):
        with_control(pipe, wide)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"start": 0.5, "end": 0.5}, "start before it ends"),
        ({"end": 1.5}, "start before it ends"),
        ({"weight": float("inf")}, "is inf, beyond all that is computed with"),
        ({"weight": "much"}, "weight .* should be a number"),
        ({"guess_mode": 1}, "true or false"),
        ({"wieght": 1.0}, "Did you mean 'weight'"),
        ({"path": "./nowhere"}, "there is no folder './nowhere'"),
        ({"path": None}, "needs the path"),
    ],
)
def test_options_that_cannot_be_are_refused(
    pipe: Pipeline, edges: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(LdmError, match=told):
        with_control(pipe, {"path": str(edges), **options})


def test_no_models_a_file_and_a_family_without_the_ability_are_refused(
    tmp_path: Path, pipe: Pipeline, edges: Path
) -> None:
    with pytest.raises(LdmError, match="has no models"):
        with_control(pipe)
    with pytest.raises(LdmError, match="is a file"):
        with_control(pipe, next(edges.glob("*.safetensors")))
    other = Pipeline.from_pretrained(tiny.FOLDERS["DiT"].write(tmp_path / "dit"))
    with pytest.raises(LdmError, match="cannot be conditioned by 'control'"):
        with_control(other, edges, others=("class_label",))


def test_pictures_that_do_not_fit_are_refused_before_sampling(
    tmp_path: Path, pipe: Pipeline, edges: Path, depth: Path, pictures: list[Path]
) -> None:
    large = tmp_path / "large.png"
    Image.new("RGB", (32, 16)).save(large)
    one, both = with_control(pipe, edges), with_control(pipe, edges, depth)
    with pytest.raises(LdmError, match="is 32x16 pixels and 16x16 is to be made"):
        ours(one, large)
    with pytest.raises(LdmError, match="3 pictures in control_image, and there are 2"):
        ours(both, [[pictures[0]] * 3] * 2)
    with pytest.raises(LdmError, match="cannot be read"):
        ours(one, "./nowhere.png")
    with pytest.raises(LdmError, match="needs 'control_image'"):
        one("a red star")
    with pytest.raises(LdmError, match="no control model here reads a control_mask"):
        ours(one, pictures[0], control_mask=pictures[0])
    small = with_control(
        Pipeline.from_pretrained(tiny.write_stable_diffusion_xl(tmp_path / "sdxl")),
        tiny.write_t2i_adapter(
            tmp_path / "sketch", adapter_type="full_adapter_xl", downscale_factor=4
        ),
        others=("text", "size"),
    )
    Image.new("RGB", (18, 16)).save(large)
    with pytest.raises(LdmError, match=r"is 18x16 pixels, and the control model .* multiples of 4"):
        ours(small, large, width=18)


def test_a_grey_picture_is_read_where_the_model_reads_grey(
    place: Path, folder: Path, pipe: Pipeline, pictures: list[Path]
) -> None:
    net = tiny.write_t2i_adapter(place / "grey", in_channels=1)
    grey = [Image.open(file).convert("L") for file in pictures[:2]]
    peer = StableDiffusionAdapterPipeline.from_pretrained(
        folder, adapter=T2IAdapter.from_pretrained(net)
    )
    expected = theirs(peer, grey)
    assert apart(ours(with_control(pipe, net), pictures[:2]), expected) < 1e-5


def test_the_command_line_and_replay(
    ldm: Any, tmp_path: Path, folder: Path, edges: Path, pictures: list[Path]
) -> None:
    models = f'[{{ path = "{edges}", weight = 0.5, end = 0.8 }}]'
    setting = f'conditioning=["text", {{ name = "control", models = {models} }}]'
    common = ["--model", folder, "--steps", "2", "--seed", "7", "--json", "--set", setting]
    image = f"control_image={os.path.relpath(pictures[0])}"  # is named in full in the manifest
    code, out, err = ldm("generate", "a red star", *common, "--input", image)
    assert code == 0, err
    record = json.loads(out)
    assert record["inputs"]["control_image"] == str(pictures[0])
    code, out, err = ldm("replay", "--allow-files", record["path"], "--json")
    assert code == 0, err
    assert json.loads(out)["max_difference"] == 0
    code, _, err = ldm("generate", "a red star", *common)
    assert code != 0
    assert "needs --input control_image=VALUE" in err
