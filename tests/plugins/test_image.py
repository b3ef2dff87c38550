"""Image-to-image: against Diffusers' pipelines on the same weights and noise, and its ends."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.contracts import Axis, Conditioning, LatentSpace, Run, RunHooks
from ldm_core.errors import LdmWarning
from ldm_core.media.manifest import recipe_of
from ldm_core.plugins.registry import installed
from ldm_plugins.conditioning.image import image
from ldm_plugins.conditioning.mask import mask
from peers import COUNTERPARTS, distance_to_peer
from tiny.covering import one_of_each, some_of


def with_image(pipe: Pipeline) -> Pipeline:
    names = [choice["name"] for choice in pipe.recipe.get("conditioning", [])]
    return pipe.replace(conditioning=[*names, "image"])


def latents(pipe: Pipeline, seed: int = 1, **inputs: Any) -> torch.Tensor:
    made: torch.Tensor = pipe(seed=seed, output_type="latent", **inputs).images
    return made


def pictures(count: int = 2, width: int = 16, height: int = 16) -> list[Image.Image]:
    shape = (count, height, width, 3)
    random = np.random.default_rng(0)
    return [Image.fromarray(p) for p in random.integers(0, 256, shape, dtype=np.uint8)]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind that Diffusers starts from pictures in a way of its own."""
    root = tmp_path_factory.mktemp("kinds")
    names = {"SD": "Stable Diffusion", "SDXL": "SDXL", "SD 3": "SD 3"}
    return {short: tiny.FOLDERS[name].write(root / short) for short, name in names.items()}


PEERS = {
    "SD": diffusers.StableDiffusionImg2ImgPipeline,
    "SDXL": diffusers.StableDiffusionXLImg2ImgPipeline,
    "SD 3": diffusers.StableDiffusion3Img2ImgPipeline,
}


@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
@pytest.mark.parametrize("scheduler", ["ddim", "euler", "dpmpp_2m"])
@pytest.mark.parametrize("kind", some_of(["SD", "SDXL"], 0, 2))
def test_image_to_image_is_that_of_diffusers(
    kinds: dict[str, Path], kind: str, scheduler: str, strength: float
) -> None:
    theirs = PEERS[kind].from_pretrained(kinds[kind])
    peer = COUNTERPARTS[scheduler]
    settings = {**peer.settings, "timestep_spacing": "trailing"}
    if scheduler == "ddim":
        settings["set_alpha_to_one"] = False
    theirs.scheduler = getattr(diffusers, peer.cls).from_config(theirs.scheduler.config, **settings)
    spacing = {"name": "trailing", "final": "sigma_min" if scheduler == "ddim" else "zero"}
    ours = Pipeline.from_pretrained(kinds[kind], scheduler=peer.choice, spacing=spacing)
    ours = with_image(ours)
    call = {"image": pictures(), "strength": strength, "num_inference_steps": 10}
    assert distance_to_peer(ours, theirs, **call) < 1e-5


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_flow_models_start_from_pictures_as_in_diffusers(
    kinds: dict[str, Path], strength: float
) -> None:
    theirs = PEERS["SD 3"].from_pretrained(kinds["SD 3"])
    ours = with_image(Pipeline.from_pretrained(kinds["SD 3"]))
    call = {"image": pictures(), "strength": strength}
    assert distance_to_peer(ours, theirs, **call) < 1e-5


def test_a_strength_that_leaves_noise_alone_is_said_to(kinds: dict[str, Path]) -> None:
    """Few steps of a flow model are rounded up to all of them, as Diffusers does."""
    pipe = with_image(Pipeline.from_pretrained(kinds["SD 3"], num_inference_steps=4))
    for strength, nothing in ((0.9, True), (0.75, False), (1.0, False)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LdmWarning)
            call: dict[str, Any] = {"seed": 1, "strength": strength, "output_type": "latent"}
            drawn = [pipe("a star", image=one, **call).images for one in pictures()]
        assert drawn[0].equal(drawn[1]) == (strength > 0.75)
        said = [str(warning.message) for warning in caught]
        assert len(said) == 2 * nothing
        assert all("nothing of the picture. To begin from it, at most 0.75" in t for t in said)


@pytest.mark.parametrize("family", one_of_each())
def test_every_family_starts_from_a_picture(family: str, tmp_path: Path) -> None:
    """Without a step the latents are the encoded picture, with one they have moved."""
    kind = tiny.FOLDERS[family]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path))
    inputs = kind.inputs_in(tmp_path)
    pipe = pipe if kind.painted else with_image(pipe)
    own = pipe.model.info.default_extent
    size = (inputs.get(side, own[side]) for side in ("width", "height"))
    (picture,) = pictures(1, *size)
    inputs = {**inputs, "image": picture, "num_inference_steps": 4}
    seeds = {"seed": [1, 2]}
    still = latents(pipe, strength=0, **seeds, **inputs)
    torch.testing.assert_close(still, pipe.encode([picture] * 2, **seeds))
    moved = latents(pipe, strength=0.5, **seeds, **inputs)
    assert moved.isfinite().all()
    assert not moved.allclose(still, rtol=1e-2)


def test_a_strength_takes_the_end_of_the_grid(pipe: Pipeline) -> None:
    ours = with_image(pipe)
    whole = ours.composition.grid(8)
    for strength, steps in ((1, 8), (0.99, 7), (0.5, 4), (0.125, 1), (0, 0)):
        inputs = {"prompt": "a red star", "image": pictures(1)[0], "strength": strength}
        plan = ours.composition.plan(inputs, [1], num_inference_steps=8)
        assert ours.start(plan).run.grid == whole[8 - steps :]


def test_a_class_of_diffusers_starts_part_way_where_it_can(folder: Path) -> None:
    """Its own points are cut as any others; a class that counts its calls says that it cannot."""
    theirs = PEERS["SD"].from_pretrained(folder)
    theirs.scheduler = diffusers.UniPCMultistepScheduler.from_config(theirs.scheduler.config)
    ours = with_image(Pipeline.from_pretrained(folder))
    ours = ours.replace(scheduler="diffusers:UniPCMultistepScheduler")
    call = {"image": pictures(), "strength": 0.6, "num_inference_steps": 10}
    assert distance_to_peer(ours, theirs, **call) < 1e-5
    counting = ours.replace(scheduler="diffusers:PNDMScheduler")
    with pytest.raises(LdmError, match="can only begin at its first timestep"):
        latents(counting, prompt="a red star", image=pictures(1)[0], strength=0.5)


def test_an_image_depends_on_its_own_seed_and_picture_alone(pipe: Pipeline) -> None:
    ours, many = with_image(pipe), pictures()
    together = latents(ours, prompt="a red star", image=many, seed=[5, 6])
    for index, (picture, seed) in enumerate(zip(many, (5, 6), strict=True)):
        alone = latents(ours, prompt="a red star", image=picture, seed=seed)
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)


def test_x_starts_as_the_picture_with_the_noise_of_the_first_point(pipe: Pipeline) -> None:
    """The autoencoder draws first, then the noise is drawn, from the seed of the image."""
    ours, (picture,) = with_image(pipe), pictures(1)
    inputs = {"prompt": "a red star", "image": picture, "strength": 0.5}
    sampling = ours.start(ours.composition.plan(inputs, [7]))
    noise = ours.noise([7], {"height": 16, "width": 16})
    x0 = ours.composition.encoder(ours.model, _pixels(picture), noise)
    point = sampling.run.grid[0]
    expected = point.alpha * x0 + point.sigma * noise()
    torch.testing.assert_close(sampling.x, expected)


def _pixels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1


def test_a_picture_is_made_again_from_its_manifest(pipe: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    pictures(1)[0].save(file)
    made = with_image(pipe)("a red star", seed=1, image=file, strength=0.5)
    manifest = json.loads(json.dumps(made.manifests[0]))
    again = Pipeline.from_pretrained(**recipe_of(manifest))(
        seed=manifest["seed"], **manifest["inputs"]
    )
    assert again.images[0].tobytes() == made.images[0].tobytes()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "needs 'image'"),
        ({"image": pictures(1, width=24)[0]}, "image is 24x16 pixels and 16x16 is to be made"),
        ({"strength": 1.5}, "strength should be a number from 0 to 1, not 1.5"),
        ({"strength": -0.1}, "strength should be a number from 0 to 1, not -0.1"),
        ({"strength": float("nan")}, "strength should be a number from 0 to 1, not nan"),
        ({"strength": "much"}, "strength should be a number from 0 to 1, not 'much'"),
        ({"strength": True}, "strength should be a number from 0 to 1, not True"),
        ({"strength": [0.5, 0.6]}, "the same for all images of a run, not 0.5, 0.6"),
        ({"strength": 0.2}, "a strength of 0.2 is less than one of the 4 steps; at least 0.25 is"),
    ],
)
def test_what_cannot_be_used_is_refused_before_weights_are_read(
    folder: Path, inputs: dict[str, Any], message: str
) -> None:
    chosen = {"model": str(folder), "conditioning": ["text", "image"], "num_inference_steps": 4}
    composition = compose(chosen, installed())
    given = {"prompt": "a red star", **({"image": pictures(1)[0]} if inputs else {}), **inputs}
    with pytest.raises(LdmError, match=message):
        composition.plan(given, [1, 2])


class StartsGrey(Conditioning):
    """Starts from zeros, whatever the picture."""

    def bind(self, run: Run) -> RunHooks:
        class Grey(RunHooks):
            def start(self) -> torch.Tensor:
                return torch.zeros(len(run.request.seeds), 4, 8, 8)

        return Grey()


def test_only_one_conditioning_says_where_the_picture_starts(pipe: Pipeline) -> None:
    both = pipe.replace(conditioning=["text", "image", StartsGrey()])
    with pytest.raises(LdmError, match="both say where the picture starts"):
        latents(both, prompt="a red star", image=pictures(1)[0])


def test_image_and_mask_mean_different_things_by_a_strength(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match=r"'strength' .* different things .*default 0\.8 and 1\.0"):
        pipe.replace(conditioning=["text", "image", "mask"])


def test_a_model_that_draws_no_pictures_starts_from_none(pipe: Pipeline) -> None:
    sound = LatentSpace(4, (Axis("samples", 8),))
    info = replace(pipe.composition.info, latents=sound, default_extent={"samples": 64})
    for part in (image(), mask()):
        with pytest.raises(LdmError, match=r"is for models that draw pictures.* draws samples"):
            part.fit(info)
