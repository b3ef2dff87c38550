"""The kit's checks of encoders and decoders: each catches what is wrong, and none what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from checking import checks, outcome, outcomes, shipped, some_slow, subject
from ldm_core.conformance.checks import Subject
from ldm_core.contracts import Medium, decodes, encodes
from ldm_core.errors import LdmError
from ldm_core.plugins.registry import ShippedModel, installed


def autoencoder(model: Any) -> Any:
    return model.parts["vae"].module


def encode(model: Any, data: Any, noise: Any) -> Any:
    """The mean of the posterior."""
    vae = autoencoder(model)
    return vae.encode(data).latent_dist.mean * vae.config.scaling_factor


def decode(model: Any, x0: Any) -> Any:
    """Pixels of the KL-autoencoder."""
    vae = autoencoder(model)
    return vae.decode(x0 / vae.config.scaling_factor).sample


def encoder(change: Callable[[Any, Any], Any]) -> Any:
    def other(model: Any, data: Any, noise: Any) -> Any:
        return change(encode(model, data, noise), data)

    return other


def decoder(change: Callable[[Any, Any], Any]) -> Any:
    def other(model: Any, x0: Any) -> Any:
        return change(decode(model, x0), x0)

    return other


def drawing(model: Any, data: Any, noise: Any) -> Any:
    vae = autoencoder(model)
    return vae.encode(data).latent_dist.sample() * vae.config.scaling_factor


def writing(model: Any, data: Any, noise: Any) -> Any:
    return encode(model, data.mul_(0.9), noise)


ENCODERS: dict[str, tuple[Any, str]] = {
    "half the size": (encoder(lambda z, data: z[..., ::2, ::2]), "latents"),
    "half": (encoder(lambda z, data: z.half()), "latents"),
    "not finite": (encoder(lambda z, data: z / 0), "latents"),
    "no tensor": (encoder(lambda z, data: [z]), "latents"),
    "takes sound": (encodes("audio")(encode), "kind"),
    "another scaling factor": (encoder(lambda z, data: z * 0.18215), "spread"),
    "moved": (encoder(lambda z, data: z + 2 * z.std()), "spread"),
    "mirrored": (encoder(lambda z, data: z.flip(-1)), "round_trip"),
    "a norm of the batch": (encoder(lambda z, data: z / z.std()), "each_alone"),
    "draws by itself": (drawing, "no_other_randomness"),
    "writes into the data": (writing, "writes_nothing"),
}
DECODERS: dict[str, tuple[Any, str]] = {
    "another kind than declared": (
        decodes("video")(lambda model, x0: Medium("image", decode(model, x0))),
        "kind",
    ),
    "not of its kind": (decoder(lambda data, x0: data.mean(1)), "kind"),
    "no tensor": (decoder(lambda data, x0: data.tolist()), "kind"),
    "half the size": (decoder(lambda data, x0: data[..., ::2, ::2]), "pictures"),
    "grey": (decoder(lambda data, x0: data[:, :1]), "pictures"),
    "half": (decoder(lambda data, x0: data.half()), "pictures"),
    "bytes": (decoder(lambda data, x0: data * 127.5 + 127.5), "round_trip"),
    "mirrored": (decoder(lambda data, x0: data.flip(-1)), "round_trip"),
    "a norm of the batch": (decoder(lambda data, x0: data / data.std()), "each_alone"),
    "noise of its own": (
        decoder(lambda data, x0: data + 0.1 * torch.randn_like(data)),
        "no_other_randomness",
    ),
    "writes into the latents": (
        decoder(lambda data, x0: data + 0 * x0.mul_(2).sum()),
        "writes_nothing",
    ),
}
BOTH = {"encoder": ENCODERS, "decoder": DECODERS}


@pytest.fixture(scope="module")
def shapes() -> Path:
    """The model that ships, whose autoencoder was trained."""
    return next(model.folder for model in installed().models if model.name == "shapes")


@pytest.mark.parametrize(
    ("kind", "name"), [(k, name) for k, table in BOTH.items() for name in table]
)
def test_what_is_wrong_is_caught(kind: str, name: str, shapes: Path) -> None:
    target, check = BOTH[kind][name]
    assert outcome(subject(kind, target, shapes), check).startswith("failed")


@pytest.mark.parametrize("kind", BOTH)
def test_every_check_catches_something(kind: str) -> None:
    assert {check for _, check in BOTH[kind].values()} == checks(kind).keys()


@pytest.mark.parametrize(("kind", "target"), [("encoder", encode), ("decoder", decode)])
def test_what_is_right_passes_all(kind: str, target: Any, shapes: Path) -> None:
    said = outcomes(subject(kind, target, shapes))
    assert all(word.startswith("passed") for word in said.values()), said


def of_package(kind: str, target: Any, *folders: Path) -> Subject:
    """One of a package that ships these models, as long as ldm-core's are there too."""
    plugin = subject(kind, target)
    theirs = [ShippedModel(f.parent.name, f, "tests", "ldm-mine", "0.1") for f in folders]
    plugin.registry.models = [*plugin.registry.models, *theirs]
    return plugin


def for_sound(model: Any, x0: Any) -> Any:
    raise AssertionError("called on pictures")


@pytest.mark.parametrize(("kind", "target"), [("encoder", encode), ("decoder", decode)])
def test_without_a_folder_there_is_nothing_to_see(kind: str, target: Any) -> None:
    plugin = subject(kind, target)
    plugin.registry.models = []
    assert {*outcomes(plugin).values()} == {"skipped: needs --model FOLDER"}


def test_a_model_that_its_package_ships_serves() -> None:
    said = outcomes(shipped("encoder", "autoencoder_kl"))
    assert all(word.startswith("passed") for word in said.values()), said


def refusing(half: Any) -> Any:
    """The same, of a model with an autoencoder of its own, as it says."""

    def other(model: Any, *data: Any) -> Any:
        if "vae" not in model.parts:
            raise LdmError("it needs a KL-autoencoder")
        return half(model, *data)

    return other


def normed(half: Any) -> Any:
    """With a norm of the batch."""

    def other(*data: Any) -> Any:
        z = refusing(half)(*data)
        return z / z.std()

    return other


@pytest.mark.parametrize(("kind", "half"), [("encoder", encode), ("decoder", decode)])
def test_a_model_that_it_refuses_hides_no_other(kind: str, half: Any, folders: Any) -> None:
    """Its package's other model, or else one of ldm-core's, shows what is wrong."""
    pixels = folders("DDPM")
    said = outcome(of_package(kind, refusing(half), pixels), "round_trip")
    assert said.startswith("passed"), said
    for others in ([], [pixels], [pixels, folders("Stable Diffusion")]):
        said = outcome(of_package(kind, normed(half), *others), "each_alone")
        assert said.startswith("failed"), said


@pytest.mark.parametrize(("kind", "target"), [("encoder", encode), ("decoder", decode)])
def test_one_that_refuses_all_is_told_to_name_a_folder(kind: str, target: Any) -> None:
    def none(model: Any, *data: Any) -> Any:
        raise LdmError("it is for no such model")

    said = {*outcomes(of_package(kind, none)).values()}
    assert all(s.startswith("skipped: refuses ") for s in said), said
    ends = "it is for no such model, and no other of 4 that ship takes it; give --model FOLDER"
    assert all(s.endswith(ends) for s in said), said


def test_what_is_of_sound_is_not_held_against_pictures_that_nobody_named() -> None:
    said = {*outcomes(of_package("decoder", decodes("audio")(for_sound))).values()}
    assert all("is of the kind 'audio'" in s and s.startswith("skipped") for s in said), said


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", ["autoencoder_kl", "pixels", "vq"])
@pytest.mark.parametrize("model", some_slow(["Stable Diffusion", "LDM", "DDPM"], ("DDPM",)))
def test_no_shipped_half_raises_an_alarm(kind: str, name: str, model: str, folders: Any) -> None:
    said = outcomes(shipped(kind, name, folders(model)))
    assert not [word for word in said.values() if word.startswith("failed")], said
    own = {"Stable Diffusion": "autoencoder_kl", "LDM": "vq", "DDPM": "pixels"}[model]
    if name == own:
        assert all(word.startswith("passed") for word in said.values()), said


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny.FOLDERS[kind].write(tmp_path_factory.mktemp("kind") / "model")
        return made[kind]

    return folder
