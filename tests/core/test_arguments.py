"""Wrong values of the Python API: refused where they are handed over, by the argument's name, and
before any weight is read; what is right stays taken."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ldm_core import LdmError, Pipeline, chain
from ldm_core.arguments import checks_arguments
from ldm_core.composition.compose import compose
from ldm_core.contracts import (
    Axis,
    Bound,
    Decoder,
    Encoder,
    Input,
    Kernel,
    LatentSpace,
    Medium,
    Model,
    Observer,
    Scheduler,
    Spacing,
    Wrapper,
    Writer,
    encodes,
    goes_with,
    of_order,
    runs_on,
    starts_with,
    writes,
)
from ldm_core.plugins.registry import Registry, installed
from ldm_pipelines.augment import augment
from ldm_pipelines.blend import blend
from ldm_pipelines.features import features
from ldm_pipelines.image_to_image import image_to_image
from ldm_pipelines.inpaint import inpaint
from ldm_pipelines.interpolate import interpolate
from ldm_pipelines.invert import invert
from ldm_pipelines.outpaint import outpaint
from ldm_pipelines.restore import restore
from ldm_pipelines.text_to_image import text_to_image
from ldm_pipelines.upscale import upscale

NAN, INF = float("nan"), float("inf")
RED = Image.new("RGB", (16, 16), "red")
WHITE = Image.new("L", (16, 16), 255)


class Odd:
    """Of which nothing can be shown."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


def generator() -> Iterator[int]:
    yield 1


async def coroutine(*_: Any) -> None: ...


def walk(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
    return x


NO_NUMBERS: list[Any] = [
    "3",
    b"3",
    True,
    np.True_,
    torch.tensor(True),
    [],
    [1],
    {1},
    {},
    generator(),
    Odd(),
    Odd,
    len,
    1j,
    np.zeros(2),
    torch.zeros(2),
    ...,
    sys,
]
NO_WHOLE_NUMBERS: list[Any] = [*NO_NUMBERS, 1.5, 2.0, NAN, INF, np.float32(1), 10**40, 10**5000]
NO_TEXT: list[Any] = [3, 1.5, b"a", True, [b"a"], [1], {"a"}, {}, {"a": 1}, generator(), Odd(), Odd]
NO_TABLES: list[Any] = [3, "a", b"a", [1], {1}, {1: 2}, Odd(), len, True]
NO_FUNCTIONS: list[Any] = [3, "len", b"len", [], {}, True, NAN, torch.zeros(1), Odd()]
NO_PICTURES: list[Any] = [3, b"a.png", None, True, {}, {1}, Odd(), len, 1j]
NO_TENSORS: list[Any] = [None, 3, "x", [1.0], np.zeros((1, 4, 8, 8)), Odd(), RED]

CALL: dict[str, list[Any]] = {
    "seed": [
        *[v for v in NO_WHOLE_NUMBERS if type(v) is not list],
        -1,
        2**63,
        [1, "2"],
        [True],
        [[1]],
        range(10**12),
    ],
    "num_images_per_prompt": [*NO_WHOLE_NUMBERS, 0, -1, 10**12],
    "num_inference_steps": [*NO_WHOLE_NUMBERS, 0, -1],
    "batch_size": [*NO_WHOLE_NUMBERS, 0, -1],
    "width": [*NO_WHOLE_NUMBERS],
    "height": [*NO_WHOLE_NUMBERS],
    "guidance_scale": [*NO_NUMBERS, NAN, INF, 10**400, np.float32("nan"), -1],
    "output_type": [*NO_TEXT, "jpeg", ""],
    "on_step": [*NO_FUNCTIONS, lambda: None, lambda a, b: None, coroutine],
    "inputs": [*NO_TABLES, {"seed": 1}, {"batch_size": 1}, {"on_step": 1}, {"inputs": 1}],
    "extent": [*NO_TABLES, {"width": "16"}, {"width": 16.0}],
    "prompt": [*NO_TEXT, ["a", None], [], "a\0b", "\ud800", "a" * 10**7, itertools.repeat("a")],
    "negative_prompt": [*NO_TEXT, "a\0b"],
    "nonsense": [1, "a", Odd()],
    "self": [1],
    "axes": [1],
    "cls": [1],
    "__class__": [1],
}
CHOICES: dict[str, list[Any]] = {
    **{
        hook: [
            3,
            b"ddim",
            {"name": 3},
            {1: 2},
            {None: 1},
            {1},
            [1],
            np.zeros(2),
            Odd(),
            dict,
            int,
            sys,
            True,
            "nope",
        ]
        for hook in ("scheduler", "spacing", "guidance", "attention", "encoder", "decoder")
    },
    "guidance ": [lambda d, p: d, lambda: None, object()],
    "scheduler ": [lambda d, p: d, lambda: None, coroutine, {"name": "ddim", "eta": True}],
    "spacing ": [lambda a: a, generator],
    "attention ": [lambda q: q, lambda: None],
    "encoder ": [lambda a: a],
    "decoder ": [lambda a: a],
    "conditioning": [lambda a: a, 3, [3], [None], {"name": 3}, [{}], Odd()],
    "denoisers": [lambda: None, lambda a, b: a, 3, [3], [None], [{}], {1}],
    "observers": [lambda a, b: a, generator, 3, [3], [None], [{}], {1}],
    "converters": [lambda a: a, object(), 3, [3], [None], [{}], {1}],
    "loras": [3, [3], [None], {"scale": 1}, {"path": 3}, {"path": "a", "scale": True}, "a" * 5000],
    "num_inference_steps": [*NO_WHOLE_NUMBERS, 0],
    "width": [*NO_WHOLE_NUMBERS, 0, 15],
    "extent": [*NO_TABLES, {"width": 15}, {"frames": 3}],
    "device": [3, b"cpu", [], "nope"],
    "dtype": [3, torch.float32, [], "nope"],
    "nonsense": [1],
}
"""A space behind a hook sets further values of it apart."""


@pytest.fixture(scope="module")
def unread(folder: Path) -> Pipeline:
    """A pipeline whose weights must not be read."""

    def refuse(load: Callable[[], Model]) -> Model:
        raise AssertionError("weights were read")

    choices = {"model": str(folder), "num_inference_steps": 2}
    return Pipeline.from_composition(compose(choices, installed()), refuse)


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name.strip()}-{place}")
        for name, values in table.items()
        for place, value in enumerate(values)
    ]


ALSO = {
    "guidance_scale": ["the scale of"],
    "output_type": ["output type"],
    "inputs": ["is an argument of the call and no input"],
    "extent": ["does not fit this model", "draws no 'frames'"],
}
"""What else says which argument is meant."""


def refused(call: Callable[[], Any], *names: str) -> None:
    """See that a call is refused by an argument's name, in a message of a few lines."""
    with pytest.raises(LdmError) as caught:
        call()
    message = str(caught.value)
    assert any(name in message for name in names), message
    assert len(message) < 2000


@pytest.mark.parametrize(("name", "value"), cases(CALL))
@pytest.mark.parametrize("way", ["batches", "stream", "__call__"])
def test_a_calls_arguments(unread: Pipeline, way: str, name: str, value: Any) -> None:
    ways = {"batches": unread.batches, "stream": unread.stream, "__call__": unread}
    refused(lambda: ways[way](**{"prompt": "a", name: value}), name, *ALSO.get(name, []))


@pytest.mark.parametrize(("name", "value"), cases(CHOICES))
def test_a_replaced_choice(unread: Pipeline, name: str, value: Any) -> None:
    hook = name.strip()
    refused(
        lambda: unread.replace(**{hook: value}), hook, hook.removesuffix("s"), *ALSO.get(hook, [])
    )


@pytest.mark.parametrize(("name", "value"), cases({**CHOICES, "model": [3, b"a", [], "no", "a\0"]}))
def test_a_choice_of_a_new_pipeline(folder: Path, name: str, value: Any) -> None:
    hook = name.strip()
    call = partial(Pipeline.from_pretrained, **{"model": folder, hook: value})
    refused(call, hook, hook.removesuffix("s"), *ALSO.get(hook, []))


PICTURES: list[tuple[Any, dict[str, Any], dict[str, list[Any]]]] = [
    (image_to_image, {"image": RED}, {"image": NO_PICTURES, "strength": [*NO_NUMBERS, NAN, 2, -1]}),
    (
        inpaint,
        {"image": RED, "mask": WHITE},
        {
            "image": NO_PICTURES,
            "mask": [3, {}, Odd(), True],
            "strength": [NAN, "1", 2],
            "paste": [1, "no", None],
        },
    ),
    (inpaint, {"image": RED}, {"mask_box": [3, b"0,0,1,1", [1], {1}, [1.5, 0, 3, 3], Odd()]}),
    (outpaint, {"image": RED}, {"left": [*NO_WHOLE_NUMBERS, -8], "top": [-1, True]}),
    (
        upscale,
        {"image": RED},
        {
            "image": NO_PICTURES,
            "factor": [*NO_NUMBERS, NAN, INF, 1, -2],
            "by": ["light", 3, None],
            "strength": [NAN, True, "x"],
        },
    ),
    (
        interpolate,
        {"seeds": [1, 2]},
        {
            "num_images": [1, True, "3", 2.5],
            "milliseconds": [0, True, None],
            "film": [3, b"a.gif"],
        },
    ),
    (
        interpolate,
        {},
        {
            "seeds": [3, "12", {1, 2}, [1, "2"], [1, -1], [True, False]],
            "images": [3, RED, [RED, 3], b"a"],
        },
    ),
    (
        blend,
        {"first": RED, "second": RED},
        {
            "first": NO_PICTURES,
            "second": NO_PICTURES,
            "weight": [*NO_NUMBERS, NAN, 2],
            "mask": [3, {}],
            "nonsense": [1],
        },
    ),
    (
        invert,
        {"image": RED},
        {
            "image": NO_PICTURES,
            "prompt": [3, b"a"],
            "iterations": [0, True, 1.5],
            "strength": [0, NAN, "1"],
        },
    ),
    (restore, {"image": RED}, {"noise": [*NO_NUMBERS, NAN, -1], "strength": [NAN, 2, True]}),
]


@pytest.mark.parametrize(
    ("function", "base", "name", "value"),
    [
        pytest.param(f, base, name, value, id=f"{f.__name__}-{name}-{place}")
        for f, base, table in PICTURES
        for name, values in table.items()
        for place, value in enumerate(values)
    ],
)
def test_a_functions_arguments_are_refused_at_the_call(
    unread: Pipeline, function: Any, base: dict[str, Any], name: str, value: Any
) -> None:
    prompt = {} if function in (invert, interpolate) else {"prompt": "a"}
    refused(lambda: function.batches(unread, **{**prompt, **base, name: value}), name)


@pytest.mark.parametrize("name", ["seed", "on_step", "batch_size", "output_type", "guidance_scale"])
@pytest.mark.parametrize(
    "function", [text_to_image, image_to_image, blend, upscale, restore, invert]
)
def test_functions_take_what_a_call_takes(unread: Pipeline, function: Any, name: str) -> None:
    pictures = {blend: 2, text_to_image: 0}.get(function, 1)
    words = [] if function is invert else ["a"]
    refused(lambda: function.batches(unread, *[RED] * pictures, *words, **{name: Odd()}), name)
    refused(lambda: function.batches("shapes", *[RED] * pictures, *words), "pipe")


def test_commands_of_files(unread: Pipeline, tmp_path: Path) -> None:
    for value in (3, b"a", None, True, [], Odd()):
        refused(lambda value=value: augment(unread, out=value, classes=["1"]), "out")
        refused(lambda value=value: features(unread, value, out=tmp_path / "a"), "folder")
    for value in (0, True, "8", 1.5):
        refused(
            partial(features, unread, tmp_path, out=tmp_path / "a", batch_size=value), "batch_size"
        )
    refused(lambda: augment(unread, out=tmp_path / "o", classes="star"), "classes")
    refused(lambda: augment(unread, out=tmp_path / "o", clases=["1"]), "Did you mean 'classes'")


def test_pipelines_in_parts(pipe: Pipeline) -> None:
    plan = pipe.composition.plan({"prompt": "a"}, [1])
    run = pipe.start(plan)
    for value in NO_TENSORS:
        refused(lambda value=value: pipe.decode(value), "latents")
        refused(lambda value=value: pipe.medium(value), "latents")
        refused(lambda value=value: run.walk(value), "x")
        refused(lambda value=value: pipe.resume(plan, value, plan.grid[1]), "x")
        refused(lambda value=value: pipe.output(value, plan.request), "latents")
    for value in (torch.zeros(4, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 8, 8).int()):
        refused(lambda value=value: pipe.decode(value), "latents")
        refused(lambda value=value: run.walk(value), "x")
    for value in (3, None, "plan", {}, plan.request, Odd()):
        refused(lambda value=value: pipe.start(value), "plan")
        refused(lambda value=value: pipe.sample(value), "plan")
        refused(lambda value=value: pipe.resume(plan, run.x, value), "point")
    for value in (3, "noise", torch.zeros(1), lambda a: a):
        refused(lambda value=value: pipe.start(plan, value), "noise")
    for value in [*NO_WHOLE_NUMBERS, -1]:
        refused(lambda value=value: run.walk(run.x, start=value), "start")
        refused(lambda value=value: pipe.composition.grid(value), "steps")
    refused(lambda: run.walk(run.x, on_step=3), "on_step")
    refused(lambda: run.walk(run.x, on_step=lambda: None), "on_step")
    refused(lambda: pipe.output(run.x, plan.request, "jpeg"), "output type")
    for value in CALL["seed"]:
        refused(lambda value=value: pipe.encode(RED, seed=value), "seed")
        refused(lambda value=value: pipe.composition.plan({"prompt": "a"}, value), "seed")


def test_chains_and_compositions(pipe: Pipeline) -> None:
    for value in (3, None, "shapes", [pipe], Odd()):
        refused(lambda value=value: chain(value, pipe), "first")
        refused(lambda value=value: chain(pipe, value), "then")
        refused(lambda value=value: Pipeline.from_composition(value), "composition")
        refused(lambda value=value: compose(value, installed()), "chosen")
        if value is not None:  # the plugins of the installed packages
            refused(lambda value=value: compose({"model": "shapes"}, value), "registry")
    for value in [*NO_NUMBERS, 0, 1, NAN]:
        refused(lambda value=value: chain(pipe, pipe, at=value), "'at'", "at a share", "changes at")
    for value in (3, b"a", [1], {1: 2}, {"nonsense": 1}, Odd()):
        refused(lambda value=value: Pipeline.from_pretrained("shapes", recipe=value), "recipe")


CONTRACTS: list[tuple[Any, dict[str, Any], dict[str, list[Any]]]] = [
    (
        Scheduler,
        {"walk": walk},
        {
            "walk": [*NO_FUNCTIONS, dict, lambda a: a, coroutine],
            "start": [*NO_FUNCTIONS, lambda a: a],
            "order": ["1", True, NAN, 0, -1, [1]],
            "stochastic": [1, "yes", None],
            "points": [3, "karras", lambda: 0],
            "fit": [3, lambda: 0],
        },
    ),
    (
        Kernel,
        {"call": lambda q, k, v, mask, scale: v},
        {"devices": ["cuda", 3, {"cuda"}, [1]], "native": [1]},
    ),
    (Encoder, {"encode": lambda m, d, n: d}, {"encode": NO_FUNCTIONS, "kind": [3, None, b"image"]}),
    (Decoder, {"decode": lambda m, x: x}, {"decode": [*NO_FUNCTIONS, lambda: 0], "kind": [3]}),
    (Wrapper, {}, {"wrap": [*NO_FUNCTIONS, generator, lambda: 0]}),
    (Observer, {}, {"watch": [*NO_FUNCTIONS, lambda: 0]}),
    (
        Spacing,
        {"choose": lambda s, n: []},
        {"choose": NO_FUNCTIONS, "sees_latent": [1, np.zeros(2)]},
    ),
    (
        Input,
        {},
        {
            "type": [3, "str", Odd()],
            "each": [1, "no"],
            "help": [3, None],
            "file_keys": ["mask", [1]],
        },
    ),
    (
        Axis,
        {"name": "height", "stride": 8},
        {"name": [3, None], "stride": [*NO_WHOLE_NUMBERS, 0], "causal": [1]},
    ),
    (LatentSpace, {"channels": 4, "axes": ()}, {"channels": [0, "4", True], "axes": [3, "a", [3]]}),
    (
        Writer,
        {"write": lambda a, b, c: None, "kind": "image", "suffix": ".x"},
        {"suffix": [3, "png", None], "kind": [3], "holds_manifest": [1]},
    ),
    (
        Medium,
        {"kind": "image", "data": torch.zeros(1)},
        {"kind": [3], "data": NO_TENSORS, "rate": ["1", NAN], "beside": [3]},
    ),
    (
        Bound,
        {"branches": len, "combine": lambda a, b: a},
        {"branches": [3, lambda: 0], "combine": [3, len]},
    ),
]


@pytest.mark.parametrize(
    ("contract", "base", "name", "value"),
    [
        pytest.param(contract, base, name, value, id=f"{contract.__name__}-{name}-{place}")
        for contract, base, table in CONTRACTS
        for name, values in table.items()
        for place, value in enumerate(values)
    ],
)
def test_what_plugin_authors_make(contract: Any, base: Any, name: str, value: Any) -> None:
    refused(lambda: contract(**{**base, name: value}), name, f"a {contract.__name__} is made of")


def test_what_plugin_authors_say() -> None:
    for value in (3, "x", None, lambda: 0):
        refused(lambda value=value: starts_with(value)(walk), "rule", "start")
    for value in ("2", True, NAN, 0, None):
        refused(lambda value=value: of_order(value)(walk), "order")
    refused(lambda: goes_with(3), "spacing")
    refused(lambda: runs_on(3), "devices")
    refused(lambda: encodes(3), "kind")
    refused(lambda: writes("image", 3), "suffix")
    for name, target in ((3, walk), ("", walk), ("a\nb", walk), ("a", 3), ("a", "no colon")):
        refused(lambda name=name, target=target: _registered(name, target), "name", "target")
    refused(lambda: installed().find("scheduler", None), "name")


def _registered(name: Any, target: Any) -> None:
    from ldm_core import hookimpl

    class Offers:
        ldm_api_version = 2

        @hookimpl
        def ldm_schedulers(self, register: Any) -> None:
            register(name, target)

    Registry().add(Offers())


RIGHT: list[dict[str, Any]] = [
    {"seed": np.int64(3), "width": np.int32(16), "batch_size": torch.tensor(1)},
    {"seed": [np.uint8(3)], "num_inference_steps": np.int16(2), "extent": {"height": np.int64(16)}},
    {"seed": (3,), "guidance_scale": np.float32(2.0)},
    {"seed": np.array([3]), "guidance_scale": torch.tensor(2.0)},
    {"seed": torch.tensor([3]), "guidance_scale": 2},
    {"seed": range(3, 4), "prompt": ("a",), "num_images_per_prompt": None, "output_type": None},
    {"seed": 3, "on_step": lambda *steps: None},
]


@pytest.mark.parametrize("call", RIGHT)
def test_numbers_of_numpy_and_torch_are_numbers(pipe: Pipeline, call: dict[str, Any]) -> None:
    same = {"seed": 3, "num_inference_steps": 2, "output_type": "pt"}
    scale = {"guidance_scale": 2.0} if "guidance_scale" in call else {}
    expected = pipe("a", **same, **scale).images
    output = pipe(**{"prompt": "a", **same, **call, "output_type": "pt"})
    assert output.images.equal(expected)
    assert output.seeds == [3]
    assert type(output.seeds[0]) is int


def test_choices_take_numbers_of_numpy_paths_and_tuples(folder: Path) -> None:
    made = Pipeline.from_pretrained(
        Path(folder),
        scheduler={"name": "ddim", "eta": np.float32(0.5)},
        num_inference_steps=np.int64(2),
        conditioning=("text",),
        width=np.uint8(16),
    )
    assert (made.recipe["num_inference_steps"], made.recipe["width"]) == (2, 16)
    assert made("a", seed=1, strength=None).manifests[0]["recipe"]["scheduler"]["eta"] == 0.5
    assert made.replace(denoisers=()).recipe["denoisers"] == []


def test_inputs_that_are_numbers_of_numpy_can_be_told_by_a_manifest(pipe: Pipeline) -> None:
    import json

    start = pipe.replace(conditioning=["text", "image"])
    output = start("a", image=RED, strength=np.float32(0.5), seed=1)
    assert json.loads(json.dumps(output.manifests[0]["inputs"]["strength"])) == 0.5


def test_an_unknown_argument_is_told_what_is_near() -> None:
    @checks_arguments
    def draw(prompt: str, *, strength: float = 1.0) -> float:
        return strength

    assert draw("a", strength=np.float64(2)) == 2
    refused(lambda: draw("a", strenght=2), "Did you mean 'strength'")
    refused(lambda: draw(), "'prompt'")
    refused(lambda: draw("a", "b"), "too many")
    refused(lambda: draw(3), "the argument 'prompt' of draw should be str, not 3")


def test_a_misspelt_argument_of_a_call_is_told_what_is_near(unread: Pipeline) -> None:
    refused(lambda: unread("a", num_inference_step=3), "Did you mean 'num_inference_steps'")
    refused(lambda: unread("a", heigth=3), "Did you mean 'height'")


def test_a_functions_call_is_heard_and_given_as_asked(pipe: Pipeline) -> None:
    """What the functions take beside their own: they took it and did nothing with it."""
    for function, base in (
        (upscale, ("a",)),
        (restore, ("a",)),
        (blend, (RED, "a")),
        (invert, ("a",)),
    ):
        steps: list[Any] = []
        call = {"seed": 1, "num_inference_steps": 4, "on_step": steps.append, "strength": 0.5}
        output = function(pipe, RED, *base, **call, output_type="pt")
        assert isinstance(output.images, torch.Tensor), function.__name__
        assert steps, function.__name__
        assert output.manifests[-1]["recipe"]["guidance"].get("scale") != 9
        guided = function(pipe, RED, *base, **call, guidance_scale=9.0)
        recipes = [manifest["recipe"]["guidance"] for manifest in guided.manifests]
        assert function is invert or recipes[-1]["scale"] == 9, function.__name__
