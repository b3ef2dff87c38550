"""Regions: answers for several prompts, blended by where each holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Axis, Call, LatentSpace, Row, Unequal, concatenate
from ldm_core.contracts.abilities import TextAbility
from ldm_core.media.manifest import recipe_of
from ldm_core.plugins.registry import installed
from ldm_core.run.sampling import Sampling
from peers import apart

LEFT, RIGHT, ALL = [0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]
TEXT = [name for name, kind in tiny.FOLDERS.items() if "prompt" in kind.inputs and not kind.painted]


@pytest.fixture(scope="module")
def regional(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder, num_inference_steps=4, conditioning="regions")


def latents(pipe: Pipeline, seed: int = 1, **inputs: Any) -> Tensor:
    made: Tensor = pipe(seed=seed, output_type="latent", **inputs).images
    return made


def mean_of_text(call: Call) -> Tensor:
    """A network that says the mean of its prompt's states everywhere."""
    assert len(call.x) == len(call.t) == len(call.rows) == len(call.condition["text"])
    return call.condition["text"].mean(dim=(1, 2))[:, None, None, None].expand_as(call.x)


def first_call(sampling: Sampling, branches: Sequence[str] = ("positive",)) -> Call:
    """What the network is asked at the first point, all images of each branch."""
    run, conditions = sampling.run, sampling.conditions()
    images, point, steps = len(run.request.seeds), run.grid[0], len(run.grid) - 1
    return Call(
        torch.cat([sampling.x] * len(branches)),
        torch.full((images * len(branches),), point.t),
        concatenate([conditions[branch] for branch in branches]),
        tuple(Row(i, branch, point, 0, steps) for branch in branches for i in range(images)),
    )


def stub_answer(pipe: Pipeline, inputs: dict[str, Any], prompts: list[str]) -> list[Tensor]:
    """What a regional network says where the one below says the mean of its prompt's states, and
    those means."""
    pipe = pipe.replace(guidance="none")
    sampling = pipe.start(pipe.composition.plan(inputs, [1]))
    (conditioning,) = pipe.composition.conditioning
    network = conditioning.bind(sampling.run).network(mean_of_text)
    answer: Tensor = network(first_call(sampling))
    states = pipe.model.abilities["text"].encode(prompts)["text"]
    return [answer[0], *states.mean(dim=(1, 2))]


@pytest.mark.parametrize("family", TEXT)
def test_a_region_of_everything_is_the_plain_prompt(family: str, tmp_path: Path) -> None:
    kind = tiny.FOLDERS[family]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path), num_inference_steps=3)
    names = [choice["name"] for choice in pipe.recipe["conditioning"] if choice["name"] != "text"]
    ours = pipe.replace(conditioning=["regions", *names])
    size = {key: kind.inputs[key] for key in ("width", "height") if key in kind.inputs}
    everything = [{"prompt": "a blue circle", "box": ALL}]
    made = latents(ours, prompt="a red star", regions=everything, **size)
    assert apart(made, latents(pipe, prompt="a blue circle", **size)) < 1e-5
    none = latents(ours, prompt="a red star", **size)
    assert none.equal(latents(pipe, prompt="a red star", **size))
    assert apart(none, made) > 1e-4


def test_two_halves_have_each_their_own(regional: Pipeline) -> None:
    prompts = ["a red circle", "a blue star"]
    boxes = zip(prompts, (LEFT, RIGHT), strict=True)
    given = [{"prompt": prompt, "box": box} for prompt, box in boxes]
    answer, red, blue = stub_answer(regional, {"prompt": "a", "regions": given}, prompts)
    expected = torch.cat([red.expand(4, 8, 4), blue.expand(4, 8, 4)], dim=-1)
    torch.testing.assert_close(answer, expected)


def test_where_regions_overlap_their_weights_decide(regional: Pipeline, tmp_path: Path) -> None:
    """A mask of a third of grey, a box in pixels that covers half of some latents, and the rest of
    the picture, which the prompt has."""
    Image.new("L", (16, 16), 85).save(tmp_path / "grey.png")
    prompts = ["a red circle", "a blue star", "a"]
    given = [
        {"prompt": prompts[0], "mask": str(tmp_path / "grey.png"), "weight": 3},
        {"prompt": prompts[1], "box": [0, 0, 7, 16]},
    ]
    answer, red, blue, base = stub_answer(regional, {"prompt": "a", "regions": given}, prompts)
    inside = torch.tensor([1, 1, 1, 0.5, 0, 0, 0, 0])
    rest = (1 - 1 / 3 - inside).clamp(min=0)
    expected = (3 * red / 3 + inside * blue + rest * base) / (1 + inside + rest)
    torch.testing.assert_close(answer, expected.expand(4, 8, 8))


def test_the_prompt_may_hold_beside_its_regions(regional: Pipeline) -> None:
    ours = regional.replace(conditioning=[{"name": "regions", "base": 0.25}])
    given = [{"prompt": "a red circle", "box": LEFT}]
    answer, red, base = stub_answer(ours, {"prompt": "a", "regions": given}, ["a red circle", "a"])
    left = (red + 0.25 * base) / 1.25
    expected = torch.cat([left.expand(4, 8, 4), base.expand(4, 8, 4)], dim=-1)
    torch.testing.assert_close(answer, expected)


def test_the_negative_prompt_holds_everywhere(regional: Pipeline, pipe: Pipeline) -> None:
    call = {"negative_prompt": "green", "guidance_scale": 5.0}
    everything = [{"prompt": "a blue circle", "box": ALL}]
    made = latents(regional, prompt="a red star", regions=everything, **call)
    assert apart(made, latents(pipe, prompt="a blue circle", **call)) < 1e-5


def test_each_image_has_its_own_regions_or_all_have_the_same(regional: Pipeline) -> None:
    own = [
        [{"prompt": "a red circle", "box": LEFT}, {"prompt": "a star", "box": RIGHT}],
        [{"prompt": "a blue star", "box": [8, 0, 16, 8]}],
    ]
    together = latents(regional, prompt="a red star", regions=own, seed=[5, 6])
    for index, seed in enumerate((5, 6)):
        alone = latents(regional, prompt="a red star", regions=own[index], seed=seed)
        assert apart(alone[0], together[index]) < 1e-5
    shared = latents(regional, prompt="a red star", regions=own[0], seed=[5, 6])
    assert apart(shared[0], together[0]) < 1e-5
    assert apart(shared[1], together[1]) > 1e-3


def test_each_row_says_whose_it_is(regional: Pipeline) -> None:
    """What is asked of a region is of its image, at its row's point, and under another branch than
    the image's own prompt; the negative prompt has no regions."""
    own = [
        [{"prompt": "a red circle", "box": LEFT}, {"prompt": "a star", "box": RIGHT}],
        [{"prompt": "a blue star", "box": LEFT}],
    ]
    inputs = {"prompt": "a red star", "negative_prompt": "green", "regions": own}
    sampling = regional.start(regional.composition.plan(inputs, [1, 2]))
    (conditioning,) = regional.composition.conditioning
    calls: list[Call] = []

    def network(call: Call) -> Tensor:
        calls.append(call)
        return mean_of_text(call)

    call = first_call(sampling, ("negative", "positive"))
    other = sampling.run.grid[2]
    late = tuple(row._replace(point=other, step=2) if row.image else row for row in call.rows)
    call = call._replace(rows=late, t=torch.tensor([row.point.t for row in late]))
    answer = conditioning.bind(sampling.run).network(network)(call)
    (whole,) = calls
    assert whole.rows[:4] == call.rows
    assert [(row.image, row.point, row.step, row.steps) for row in whole.rows[4:]] == [
        (row.image, row.point, row.step, row.steps) for row in (late[2], late[2], late[3])
    ]
    assert whole.t.tolist() == [row.point.t for row in whole.rows]
    assert [x.tolist() for x in whole.x[4:]] == [sampling.x[i].tolist() for i in (0, 0, 1)]
    assert "negative" not in {row.branch for row in whole.rows[4:]}
    assert len({(row.image, row.branch) for row in whole.rows}) == 7
    assert answer[:2].equal(mean_of_text(call)[:2])


def test_conditions_are_joined_once_for_the_rows_of_a_run(regional: Pipeline) -> None:
    """At every step the network gets the same tensors; but what another part makes anew for each
    call, such as residuals, is joined at each."""
    own = [[{"prompt": "a red circle", "box": LEFT}], [{"prompt": "a blue star", "box": RIGHT}]]
    inputs = {"prompt": ["a red star", "a"], "negative_prompt": "green", "regions": own}
    sampling = regional.start(regional.composition.plan(inputs, [1, 2]))
    (conditioning,) = regional.composition.conditioning
    calls: list[Call] = []

    def network(call: Call) -> Tensor:
        calls.append(call)
        return mean_of_text(call)

    ours = conditioning.bind(sampling.run).network(network)
    both = first_call(sampling, ("negative", "positive"))
    positive = first_call(sampling)
    for step in range(4):
        for call in (both, positive):
            residual = torch.tensor([10.0 * step + row for row in range(len(call.rows))])
            rows = tuple(row._replace(step=step) for row in call.rows)
            condition = {**call.condition, "residual": residual}
            ours(call._replace(condition=condition, rows=rows))
    texts = [call.condition["text"] for call in calls]
    assert [len(text) for text in texts] == [6, 4] * 4
    assert all(text is texts[number % 2] for number, text in enumerate(texts))
    states = regional.model.abilities["text"].encode(
        ["green", "green", "a red star", "a", "a red circle", "a blue star"]
    )["text"]
    torch.testing.assert_close(texts[0], states)
    torch.testing.assert_close(texts[1], states[2:])
    for step, (wide, narrow) in enumerate(zip(calls[::2], calls[1::2], strict=True)):
        places = (wide.condition["residual"] - 10 * step, narrow.condition["residual"] - 10 * step)
        assert [p.tolist() for p in places] == [[0, 1, 2, 3, 2, 3], [0, 1, 0, 1]]
        assert {row.step for row in (*wide.rows, *narrow.rows)} == {step}


class Captions(TextAbility):
    """A state for each word, so that captions differ in length: how many letters it has."""

    def encode(self, texts: Sequence[str | None]) -> Unequal:
        words = [(text or "").split() or [""] for text in texts]
        lengths = [torch.tensor([[float(len(word))] for word in each]) for each in words]
        return Unequal(tuple({"text": states[None]} for states in lengths))

    def overflow(self, text: str) -> str:
        return ""


def test_captions_of_differing_length_are_asked_apart(regional: Pipeline) -> None:
    sampling = regional.start(regional.composition.plan({"prompt": "a"}, [1]))
    model = replace(sampling.run.model, abilities={"text": Captions()})
    given = [{"prompt": "ab abcd", "box": LEFT}, {"prompt": "abcdef", "box": RIGHT}]
    request = replace(
        sampling.run.request,
        inputs={"prompt": ["a"], "negative_prompt": [None], "regions": [given]},
    )
    run = replace(sampling.run, model=model, request=request)
    (conditioning,) = regional.composition.conditioning
    call = first_call(sampling)._replace(condition=conditioning.encode(run, ["p"])["p"])
    answer = conditioning.bind(run).network(mean_of_text)(call)
    expected = torch.cat([torch.full((4, 8, 4), 3.0), torch.full((4, 8, 4), 6.0)], dim=-1)
    torch.testing.assert_close(answer[0], expected)


def test_a_model_that_draws_no_pictures_is_refused(regional: Pipeline) -> None:
    sound = LatentSpace(4, (Axis("samples", 8),))
    info = replace(regional.composition.info, latents=sound, default_extent={"samples": 64})
    (conditioning,) = regional.composition.conditioning
    with pytest.raises(LdmError, match=r"'regions' is for models that draw pictures.* samples"):
        conditioning.fit(info)


def test_regions_are_weighted_prompts_and_may_be_long(regional: Pipeline) -> None:
    long = "a large red circle and a small blue star on a green background"
    chunked = regional.replace(conditioning=[{"name": "regions", "too_long": "chunk"}])
    everything = [{"prompt": f"({long}:1.5)", "box": ALL}]
    plain = chunked.replace(conditioning=[{"name": "text", "too_long": "chunk"}])
    made = latents(chunked, prompt="a", regions=everything)
    assert apart(made, latents(plain, prompt=f"({long}:1.5)")) < 1e-5
    assert apart(made, latents(plain, prompt=long)) > 1e-3


def test_a_picture_is_made_again_from_its_manifest(
    regional: Pipeline, ldm: Any, tmp_path: Path
) -> None:
    given = [{"prompt": "a red circle", "box": LEFT}, {"prompt": "a blue star", "box": RIGHT}]
    made = regional("a star", seed=1, regions=given)
    manifest = json.loads(json.dumps(made.manifests[0]))
    assert manifest["inputs"]["regions"] == given
    again = Pipeline.from_pretrained(**recipe_of(manifest))(
        seed=manifest["seed"], **manifest["inputs"]
    )
    assert again.images[0].tobytes() == made.images[0].tobytes()
    picture = [{"prompt": "a red circle", "mask": Image.new("L", (16, 16), 255)}]
    manifest = json.loads(json.dumps(regional("a star", seed=1, regions=picture).manifests[0]))
    with pytest.raises(LdmError, match=r"PIL\.Image\.Image for its 'regions'.* as a file"):
        recipe_of(manifest)


def test_regions_on_the_command_line(ldm: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "regional.toml").write_text('conditioning = ["regions"]\n')
    arguments = ["generate", "a star", "--model", folder, "--recipe", tmp_path / "regional.toml"]
    regions = 'regions=[{prompt="a red circle",box=[0,0,0.5,1]},{prompt="a",box=[8,0,16,16]}]'
    arguments += ["--steps", "2", "--seed", "3", "--num-images", "2", "--input", regions, "--json"]
    code, out, err = ldm(*arguments)
    assert code == 0, err
    made = [json.loads(line) for line in out.splitlines()]
    assert [len(one["inputs"]["regions"]) for one in made] == [2, 2]
    code, out, err = ldm("replay", "--allow-files", made[1]["path"], "--json")
    assert code == 0, err
    assert json.loads(out)["verdict"] == "the same picture, pixel for pixel"


def black(width: int = 16) -> Image.Image:
    return Image.new("L", (width, 16))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("left", "a region should be a table such as"),
        ({"box": ALL}, "needs a prompt, and a box or a mask"),
        ({"prompt": "a"}, "needs a prompt, and a box or a mask"),
        ({"prompt": "a", "box": ALL, "mask": "x.png"}, "needs a prompt, and a box or a mask"),
        ({"prompt": "a", "box": ALL, "wieght": 2}, "a region has no 'wieght'.*'weight'"),
        ({"prompt": "a", "box": ALL, "weight": 0}, "weight of a region should be .* not 0"),
        ({"prompt": "( :2)", "box": ALL}, "the prompt is empty"),
        ({"prompt": 3, "box": ALL}, "a prompt should be text, not 3"),
        ({"prompt": "a", "box": [0, 0, 1]}, "four numbers, left, top, right and bottom"),
        ({"prompt": "a", "box": "0,0,1,1"}, "four numbers, left, top, right and bottom"),
        ({"prompt": "a", "box": [0, 0, 17, 16]}, "outside the picture of 16x16 pixels"),
        ({"prompt": "a", "box": [-0.1, 0, 0.5, 1]}, "outside the picture of 16x16 pixels"),
        ({"prompt": "a", "box": [0.5, 0, 0.5, 1]}, "of a region is empty"),
        ({"prompt": "a", "mask": "none.png"}, "mask of a region 'none.png' cannot be read"),
        ({"prompt": "a", "mask": black()}, "mask of a region is empty"),
        ({"prompt": "a", "mask": black(24)}, "is 24x16 pixels and 16x16 is to be made"),
    ],
)
def test_a_region_that_does_not_fit_is_refused_before_weights_are_read(
    folder: Path, region: Any, message: str
) -> None:
    composition = compose({"model": str(folder), "conditioning": ["regions"]}, installed())
    with pytest.raises(LdmError, match=message):
        composition.plan({"prompt": "a red star", "regions": [[region]]}, [1])
