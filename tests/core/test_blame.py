"""What goes wrong with another package's plugin is told as its failure, by name, package, version
and place, and takes nothing that was made before with it."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest
import torch

import wrong_parts
from ldm_core import Pipeline
from ldm_core.contracts import Axis, LatentSpace, Step
from ldm_core.errors import LdmError, LdmWarning, MachineError, NotFiniteError, PluginError
from ldm_core.plugins.blame import culprit
from ldm_core.plugins.options import check_declared, read_options
from ldm_core.plugins.registry import Plugin, Registry, installed
from ldm_core.run.denoiser import Denoiser
from third_party import Toy, folder_in, pipeline
from tiny.covering import some_of

KEYS = {"denoiser": "denoisers", "conditioning": "conditioning", "converter": "converters"}
KEYS |= {"observer": "observers"}


@pytest.fixture(autouse=True)
def none_called() -> None:
    wrong_parts.CALLS.update(dict.fromkeys(wrong_parts.CALLS, 0))


@pytest.fixture(scope="module")
def registry() -> Registry:
    both = Registry()
    both.plugins += installed().plugins
    both.models += installed().models
    both.add(wrong_parts, "ldm-wrong", "1.2")
    return both


@pytest.fixture(scope="module")
def right(folder: Path, registry: Registry) -> Pipeline:
    return Pipeline.from_pretrained(folder, registry=registry, num_inference_steps=3)


def choice(kind: str, **options: Any) -> dict[str, Any]:
    """The choice of the wrong part of a kind."""
    table = {"name": "ldm-wrong:wrong", **options}
    if kind == "conditioning":
        return {"conditioning": ["text", table]}
    return {KEYS.get(kind, kind): [table] if kind in KEYS else table}


def whose(kind: str) -> str:
    return f"the {kind} 'wrong' of the package ldm-wrong 1.2"


def draw(pipe: Pipeline, **more: Any) -> Any:
    return pipe("a red star", seed=1, output_type="pt", **more)


PARTS = [kind for kind in wrong_parts.OFFERED if kind not in ("encoder", "writer")]


@pytest.mark.parametrize("kind", PARTS)
def test_a_right_part_raises_no_alarm(right: Pipeline, kind: str) -> None:
    """Seen to draw what it should, so that what is told of the others is of their faults."""
    pictures = draw(right.replace(**choice(kind))).images
    assert pictures.isfinite().all()
    if kind in ("denoiser", "converter", "observer", "conditioning"):
        assert torch.equal(pictures, draw(right).images)


MADE, FITTED = "while it was made", "while it was fitted to the model"
BEFORE, AFTER = "before the first step", "after the last step"
MOMENTS = [
    ("scheduler", "step2", "at step 2 of 3"),
    ("scheduler", "end", "at step 3 of 3"),
    ("spacing", "points", "while it chose the points of a run"),
    ("guidance", "made", MADE),
    ("guidance", "fit", FITTED),
    ("guidance", "bind", BEFORE),
    ("guidance", "branches", BEFORE),
    ("guidance", "combine", "at step 1 of 3"),
    ("conditioning", "inputs", "while it was seen beside the other parts"),
    ("conditioning", "fit", FITTED),
    ("conditioning", "check", "while it saw to the inputs"),
    ("conditioning", "cut", "while it chose the part of the way"),
    ("conditioning", "adapt", BEFORE),
    ("conditioning", "encode", "while it encoded the conditions"),
    ("conditioning", "bind", BEFORE),
    ("conditioning", "start", BEFORE),
    ("conditioning", "network", BEFORE),
    ("conditioning", "answer", "at step 1 of 3"),
    ("conditioning", "denoise", BEFORE),
    ("conditioning", "x0", "at step 1 of 3"),
    ("conditioning", "finish", AFTER),
    ("attention", "attend", "while it encoded the conditions"),
    ("denoiser", "wrap", BEFORE),
    ("denoiser", "x0", "at step 1 of 3"),
    ("decoder", "decode", "while latents were decoded"),
    ("converter", "fit", FITTED),
    ("converter", "beside", "while it was seen beside the other parts"),
    ("converter", "within", "while it was seen beside the other parts"),
    ("converter", "prepare", "while the weights were loaded"),
    ("converter", "convert", "while the model was converted"),
    ("converter", "bind", BEFORE),
    ("converter", "answer", "at step 1 of 3"),
    ("observer", "watch", "as a run began"),
    ("observer", "enter", "as a run began"),
    ("observer", "tell", "at step 1 of 3"),
    ("observer", "exit", "as a run ended"),
]


@pytest.mark.parametrize(
    ("how", "kind", "at", "doing"),
    [
        *some_of([("ValueError", *moment) for moment in MOMENTS], 0, 2),
        *some_of([("exit", *moment) for moment in MOMENTS], 1, 2),
    ],
)
def test_what_is_raised_is_the_plugins_failure(
    right: Pipeline, kind: str, at: str, doing: str, how: str
) -> None:
    what = "ValueError: a bad value" if how == "ValueError" else "SystemExit: 7"
    with pytest.raises(PluginError) as failure:
        draw(right.replace(**choice(kind, at=at, how=how)))
    assert failure.value.message == f"{whose(kind)} failed {doing}: {what}"
    assert (failure.value.plugin, failure.value.doing) == (whose(kind), doing)
    assert type(failure.value.__cause__) is {"ValueError": ValueError, "exit": SystemExit}[how]


GIVEN = [
    ("scheduler", "ask_all", "nowhere", "asks the denoiser for x0 at a point of a noise schedule"),
    ("scheduler", "end", "none", "gave None for an x of"),
    ("scheduler", "end", "shape", "gave a tensor of (1, 4, 8, 7) for an x of (1, 4, 8, 8)"),
    ("scheduler", "end", "half", "gave a tensor of (1, 4, 8, 8) float16"),
    ("scheduler", "ask", "shape", "it asked of a tensor of (1, 4, 8, 7)"),
    ("spacing", "points", "none", "it should give points"),
    ("guidance", "fit", "none", "fitted to a model a guidance is a guidance, not None"),
    ("guidance", "bind", "none", "of the kind Bound, and it gave None"),
    ("guidance", "branches", "list", "in a tuple"),
    ("guidance", "branches", "none", "in a tuple"),
    ("guidance", "branches", "strange", "asks for a branch 'strange', of which its inputs say"),
    ("guidance", "combine", "none", "it gave None"),
    ("guidance", "combine", "shape", "it gave a tensor of (1, 4, 8, 7)"),
    ("conditioning", "inputs", "none", "a table of Input, not None"),
    ("conditioning", "fit", "none", "not None"),
    ("conditioning", "cut", "none", "not None"),
    ("conditioning", "adapt", "none", "of the kind Model, and it gave None"),
    ("conditioning", "encode", "none", "it gave None"),
    ("conditioning", "rows", "none", "of [7] rows for a run of 1 images"),
    ("conditioning", "bind", "none", "of the kind RunHooks, and it gave None"),
    ("conditioning", "start", "text", "the first x is a tensor of (1, 4, 8, 8), and not 'text'"),
    ("conditioning", "network", "none", "no network"),
    ("conditioning", "answer", "none", "it gave None"),
    ("conditioning", "answer", "shape", "it gave a tensor of (2, 4, 8, 7)"),
    ("conditioning", "denoise", "none", "no denoiser"),
    ("conditioning", "x0", "shape", "it gave a tensor of (1, 4, 8, 7)"),
    ("conditioning", "finish", "none", "it gave None"),
    ("attention", "attend", "none", "it gave None"),
    ("attention", "attend", "shape", "it gave (1, "),
    ("denoiser", "wrap", "none", "no denoiser"),
    ("denoiser", "x0", "none", "it gave None"),
    ("denoiser", "x0", "shape", "it gave a tensor of (1, 4, 8, 7)"),
    ("denoiser", "x0", "half", "it gave a tensor of (1, 4, 8, 8) float16"),
    ("denoiser", "ask", "shape", "it asked of a tensor of (1, 4, 8, 7)"),
    ("decoder", "decode", "none", "not None"),
    ("decoder", "decode", "list", "a decoder gives a tensor or a Medium, not"),
    ("converter", "fit", "none", "not None"),
    ("converter", "loading", "none", "not None"),
    ("converter", "convert", "none", "a Model of a Model, and it gave None"),
    ("converter", "bind", "none", "it gave None"),
    ("observer", "watch", "none", "should give a context manager"),
    ("observer", "yield", "none", "a function of a step, and it gave None"),
]


@pytest.mark.parametrize(("kind", "at", "how", "said"), GIVEN)
def test_what_comes_back_is_looked_at(
    folder: Path, right: Pipeline, registry: Registry, kind: str, at: str, how: str, said: str
) -> None:
    def run() -> None:
        table = choice(kind, at=at, how=how)
        if at == "loading":
            Pipeline.from_pretrained(folder, registry=registry, **table)
        draw(right.replace(**table))

    with pytest.raises(PluginError) as failure:
        run()
    assert failure.value.message.startswith(f"{whose(kind)} failed ")
    assert said in failure.value.message


@pytest.mark.parametrize(
    ("kind", "at", "place"),
    [
        ("scheduler", "end", "{whose} at step 3 of 3."),
        ("guidance", "combine", "{whose} at step 1 of 3."),
        ("denoiser", "x0", "what surrounds the denoiser, where {whose} had a share at step 1 of"),
        ("conditioning", "answer", "network's answer (negative), where {whose} had a share at st"),
        ("decoder", "decode", "{whose}."),
    ],
)
def test_numbers_that_are_not_finite_name_the_plugin(
    right: Pipeline, kind: str, at: str, place: str
) -> None:
    with pytest.raises(NotFiniteError) as failure:
        draw(right.replace(**choice(kind, at=at, how="nan")))
    assert f"the first such numbers came from {place.format(whose=whose(kind))}" in str(
        failure.value
    ).replace("from the network's", "from network's")


def test_what_no_decoder_can_show_is_the_schedulers(right: Pipeline) -> None:
    with (
        pytest.raises(NotFiniteError, match=f"numbers came from {whose('scheduler')}"),
        pytest.warns(LdmWarning, match="the final latents have a root mean square"),
    ):
        draw(right.replace(**choice("scheduler", at="end", how="huge")))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("large", "numbers of a root mean square of 200"),
        ("small", "images of 8x8, and .* of 16x16"),
    ],
)
def test_pictures_that_can_be_shown_and_are_strange_are_said(
    right: Pipeline, how: str, said: str
) -> None:
    with pytest.warns(LdmWarning, match=f"{whose('decoder')} gave {said}"):
        draw(right.replace(**choice("decoder", at="decode", how=how)))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("KeyError", "KeyError: 'missing'"),
        ("AssertionError", "AssertionError"),
        ("StopIteration", "StopIteration: 3"),
        ("Mute", "Mute"),
        ("Own", "Own: own"),
        ("OutOfMemoryError", "OutOfMemoryError: memory, it says"),
        ("group", "ExceptionGroup: several (2 sub-exceptions)"),
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
        ("FileNotFoundError", "FileNotFoundError: [Errno 2] No such file: 'settings.json'"),
        ("long", f"RuntimeError: {'x' * 300}…"),
    ],
)
@pytest.mark.parametrize(("kind", "at"), [("scheduler", "step2"), ("conditioning", "encode")])
def test_any_error_is_told_in_one_line(
    right: Pipeline, kind: str, at: str, how: str, said: str
) -> None:
    with pytest.raises(PluginError) as failure:
        draw(right.replace(**choice(kind, at=at, how=how)))
    assert f": {said}" in failure.value.message
    assert "\n" not in failure.value.message


@pytest.mark.parametrize(
    ("kind", "at", "doing"),
    [moment for moment in MOMENTS if moment[:2] != ("attention", "attend")],
)
def test_bad_input_that_a_plugin_is_told_of_names_it(
    right: Pipeline, kind: str, at: str, doing: str
) -> None:
    """Once, and as it said it, wherever it is."""
    with pytest.raises(LdmError) as bad:
        draw(right.replace(**choice(kind, at=at, how="LdmError")))
    assert not isinstance(bad.value, PluginError)
    said = bad.value.message.removeprefix(f"{whose(kind)}, ")
    assert said.partition(": ")[2] == "so few steps are too few."
    assert bad.value.hint == "take more."
    if kind == "scheduler":
        assert said.startswith(doing)


@pytest.mark.parametrize(("kind", "at"), [("scheduler", "step2"), ("conditioning", "encode")])
def test_memory_that_does_not_suffice_in_a_plugin_is_the_machines_and_names_it(
    right: Pipeline, kind: str, at: str
) -> None:
    with pytest.raises(MachineError) as refusal:
        draw(right.replace(**choice(kind, at=at, how="MemoryError")))
    assert "there is none left" in refusal.value.message
    assert whose(kind) in refusal.value.message


@pytest.mark.parametrize(("kind", "at"), [("scheduler", "step2"), ("conditioning", "encode")])
def test_an_interrupt_stays_one(right: Pipeline, kind: str, at: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        draw(right.replace(**choice(kind, at=at, how="interrupt")))


@pytest.mark.parametrize(
    ("kind", "at"), [("scheduler", "step2"), ("decoder", "decode"), ("scheduler", "end")]
)
@pytest.mark.parametrize("how", ["ValueError", "none"])
def test_pictures_made_before_are_kept(right: Pipeline, kind: str, at: str, how: str) -> None:
    pipe = right.replace(**choice(kind, at=at, how=how, call=2))
    if (at, how) == ("step2", "none"):
        at, pipe = "end", right.replace(**choice(kind, at="end", how=how, call=2))
    with pytest.raises(PluginError) as failure:
        draw(pipe, num_images_per_prompt=3, batch_size=1)
    assert failure.value.output.seeds == [1]
    assert failure.value.output.images.isfinite().all()


def test_an_observer_that_swallows_errors_ends_no_run_in_silence(right: Pipeline) -> None:
    both = choice("observer", at="swallow") | choice("scheduler", at="step2", how="ValueError")
    with pytest.raises(PluginError, match=r"scheduler 'wrong' .* at step 2 of 3: ValueError"):
        draw(right.replace(**both))


def test_what_a_caller_raises_is_the_callers(right: Pipeline) -> None:
    """Also within a plugin's frames, which call the denoiser that tells of each step."""

    def on_step(step: Step) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw(right.replace(**choice("scheduler")), on_step=on_step)


def test_parts_made_in_python_keep_their_errors(right: Pipeline) -> None:
    def broken(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        raise ZeroDivisionError

    def short(x: Any, grid: Any, denoise: Any, noise: Any) -> Any:
        return x[..., :-1]

    with pytest.raises(ZeroDivisionError):
        draw(right.replace(scheduler=broken))
    with pytest.raises(LdmError, match="the scheduler gave a tensor of") as own:
        draw(right.replace(scheduler=short))
    assert not isinstance(own.value, PluginError)


def test_what_another_part_raises_within_a_plugin_is_not_the_plugins(right: Pipeline) -> None:
    """A scheduler calls the denoiser, and is not to blame for what is in there."""

    def wrap(denoise: Any) -> Any:
        def wrapped(x: Any, point: Any) -> Any:
            raise ZeroDivisionError

        return wrapped

    with pytest.raises(ZeroDivisionError):
        draw(right.replace(**choice("scheduler"), denoisers=[wrap]))
    both = choice("scheduler") | choice("denoiser", at="x0", how="KeyError")
    with pytest.raises(PluginError, match="the denoiser 'wrong'"):
        draw(right.replace(**both))


def test_a_part_without_a_frame_of_its_own_is_named(right: Pipeline, registry: Registry) -> None:
    """Such as one that is written in C."""
    other = Registry()
    theirs = Plugin("scheduler", "c", "ldm-c", "3", operator.call)
    other.plugins += [*registry.plugins, theirs]
    model = {"model": str(right.composition.info.folder), "num_inference_steps": 2}
    pipe = Pipeline.from_pretrained(recipe={**model, "scheduler": "c"}, registry=other)
    with pytest.raises(PluginError, match=r"scheduler 'c' .* at step 1 of 2: TypeError"):
        draw(pipe)


def test_a_familys_network_is_looked_at(tmp_path: Path) -> None:
    """Its function is of no plugin's package here, as one of a library that a package uses."""
    answers: list[Any] = []

    def network(call: Any) -> Any:
        answers.append(len(answers))
        if len(answers) == 2:
            raise KeyError("weights")
        return call.x if len(answers) < 4 else call.x[..., :-1]

    latents = LatentSpace(2, (Axis("height", 1), Axis("width", 1)))
    toy = Toy(network, latents, {"height": 8, "width": 8})
    pipe = pipeline(toy, folder_in(tmp_path), {"decoder": "pixels"})
    whose = "the family 'toy' of the package ldm-toy 1.0"
    with pytest.raises(PluginError, match=f"{whose} failed at step 2 of 3: KeyError: 'weights'"):
        pipe(seed=1, num_inference_steps=3, output_type="latent")
    with pytest.raises(PluginError, match=rf"{whose} failed at step 2 of 3: .* \(1, 2, 8, 7\)"):
        pipe(seed=1, num_inference_steps=3, output_type="latent")


@pytest.mark.parametrize("kind", ["conditioning", "converter"])
def test_the_network_beneath_a_plugin_is_not_the_plugins(right: Pipeline, kind: str) -> None:
    def attend(q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        if q.shape[-2] in (64, 16):  # in the network; a text has more
            raise ZeroDivisionError
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)

    with pytest.raises(ZeroDivisionError):
        draw(right.replace(**choice(kind, at="answer"), attention=attend))


def test_a_stream_tells_it_too(right: Pipeline) -> None:
    pipe = right.replace(**choice("scheduler", at="step2", how="ValueError"))
    heard = []
    stream = iter(pipe.stream("a star", seed=1))
    heard += [next(stream).index, next(stream).index]
    with pytest.raises(PluginError, match="at step 2 of 3"):
        next(stream)
    assert heard == [0, 1]


def test_an_encoder_is_looked_at(right: Pipeline) -> None:
    picture = torch.zeros(1, 3, 16, 16)
    assert right.replace(**choice("encoder")).encode(picture).shape == (1, 4, 8, 8)
    for how, said in [
        ("ValueError", "failed while data was encoded: ValueError"),
        ("none", "gave None for data of"),
        ("shape", "gave (1, 4, 8, 7) for data of"),
    ]:
        with pytest.raises(PluginError, match=whose("encoder")) as failure:
            right.replace(**choice("encoder", at="encode", how=how)).encode(picture)
        assert said in failure.value.message
    with pytest.raises(NotFiniteError, match=f"{whose('encoder')} gave numbers"):
        right.replace(**choice("encoder", at="encode", how="nan")).encode(picture)


def test_shipped_parts_are_not_looked_at_at_each_step(right: Pipeline) -> None:
    """They are tested, and a step of theirs costs what it did."""
    plan = right.composition.plan({"prompt": "a star"}, [1])
    assert type(right.start(plan).denoiser()) is Denoiser
    theirs = right.replace(**choice("denoiser"))
    assert type(theirs.start(plan).denoiser()) is not Denoiser


def before_the_star(x, grid, denoise, noise, strength=1.0):  # type: ignore[no-untyped-def]
    """An option that is none."""


def of_another_type(x, grid, denoise, noise, *, strength: float = "much"):  # type: ignore[no-untyped-def]
    """A default that does not fit."""


def of_no_type(x, grid, denoise, noise, *, n: 3 = 4):  # type: ignore[no-untyped-def,valid-type]
    """An annotation that says nothing."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (of_no_type, "its option 'n' is annotated 3, which is no type"),
        (before_the_star, r"'strength' has a default and stands before the '\*'"),
        (of_another_type, "default of its option 'strength' is 'much', and should be"),
    ],
)
def test_options_that_cannot_be_set_are_refused(
    right: Pipeline, registry: Registry, function: Any, said: str
) -> None:
    theirs = Plugin("scheduler", "odd", "ldm-odd", "2", function)
    other = Registry()
    other.plugins += [*registry.plugins, theirs]
    recipe = {"model": str(right.composition.info.folder), "scheduler": "odd"}
    with pytest.raises(PluginError, match=said):
        Pipeline.from_pretrained(recipe=recipe, registry=other)


def test_no_shipped_plugin_declares_options_so() -> None:
    for plugin in installed().plugins:
        if plugin.distribution == "ldm-core" and plugin.kind != "command":
            check_declared(plugin.kind, plugin.loaded, read_options(plugin.loaded))


def test_an_error_of_ours_is_nobodys() -> None:
    euler: Any = installed().find("scheduler", "euler").loaded
    with pytest.raises(TypeError) as own:
        euler(None, (None, None), None, None)
    assert culprit(own.value, None, installed().plugins) is None
