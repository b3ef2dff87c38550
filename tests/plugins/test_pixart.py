"""The PixArt family: Diffusers' own pictures from the same folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import tiny
from guided import ask
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.plugins.registry import installed
from ldm_plugins.families.shared import t5_text
from peers import apart, distance_to_peer

ALPHA, SIGMA = "PixArtAlphaPipeline", "PixArtSigmaPipeline"
PLAIN = {"use_resolution_binning": False, "clean_caption": False}
SMALL = {"width": 24, "height": 16}
TRAILING = {"timestep_spacing": "trailing"}
LONG = " ".join(["large"] * 119)  # one token each, the end token makes 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_pixart(tmp_path_factory.mktemp("alpha"), scheduler=TRAILING)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder)


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_pixart(tmp_path_factory.mktemp("sized"), sample_size=128, scheduler=TRAILING)


def peer(folder: Path) -> Any:
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    return getattr(diffusers, name).from_pretrained(folder)


def latents(pipe: Pipeline, prompts: list[str], **call: Any) -> torch.Tensor:
    call = {"num_inference_steps": 2, "seed": 1, "output_type": "latent", **SMALL, **call}
    found: torch.Tensor = pipe(prompts, **call).images
    return found


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"negative_prompt": ["Green ", ""], "width": 32},
        {"guidance_scale": 1.0},
        {"prompt": ["  A RED Star", LONG]},
    ],
    ids=["plain", "negative prompt", "no guidance", "capitals and a full window"],
)
def test_nothing_chosen_gives_what_diffusers_gives(
    folder: Path, pipe: Pipeline, call: dict[str, Any]
) -> None:
    assert pipe.recipe["num_inference_steps"] == 20
    assert pipe.recipe["guidance"] == {"name": "classifier_free", "scale": 4.5}
    assert pipe.model.info.learned_variance
    assert "size" not in pipe.model.info.abilities
    assert distance_to_peer(pipe, peer(folder), their=PLAIN, **{**SMALL, **call}) < 1e-5


@pytest.mark.parametrize(
    ("variation", "scheduler"),
    [
        ({"pipeline": SIGMA}, {}),
        ({"pipeline": SIGMA, "sample_size": 128}, {}),
        ({"sample_size": 128}, {}),
        ({"out_channels": 4}, {}),
        ({}, {"prediction_type": "v_prediction"}),
        ({}, {"_class_name": "EulerDiscreteScheduler"}),
        ({}, {"timestep_spacing": "linspace"}),
    ],
    ids=["sigma", "large sigma", "micro-conditions", "no variance", "v", "euler", "linspace"],
)
def test_every_kind_of_folder_gives_what_diffusers_gives(
    tmp_path: Path, variation: dict[str, Any], scheduler: dict[str, Any]
) -> None:
    folder = tiny.write_pixart(tmp_path, scheduler={**TRAILING, **scheduler}, **variation)
    pipe = Pipeline.from_pretrained(folder)
    told = variation == {"sample_size": 128}
    assert pipe.model.info.abilities == (
        {"text", "max_sequence_length"} | ({"size"} if told else set())
    )
    assert pipe.model.info.learned_variance == ("out_channels" not in variation)
    assert distance_to_peer(pipe, peer(folder), their=PLAIN, **SMALL) < 1e-5


def test_the_size_is_told_as_diffusers_tells_it(sized: Path) -> None:
    """To a network that is told another size, another picture."""
    pipe = Pipeline.from_pretrained(sized)
    theirs = peer(sized)
    told = {}

    def note(name: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            told[name] = kwargs["added_cond_kwargs"]

        return hook

    for name, network in (
        ("ours", pipe.model.parts["transformer"].module),
        ("theirs", theirs.transformer),
    ):
        network.register_forward_pre_hook(note(name), with_kwargs=True)
    assert distance_to_peer(pipe, theirs, their=PLAIN, **SMALL) < 1e-5
    assert told["theirs"]["resolution"].tolist() == [[16, 24]] * 4
    for key, value in told["theirs"].items():
        assert told["ours"][key].equal(value)
    other = latents(pipe, ["a red star"], original_size="600x20")
    assert apart(other, latents(pipe, ["a red star"])) > 0.01
    assert told["ours"]["resolution"].tolist() == [[16, 24]] * 2


def test_sigma_reads_more_words_than_alpha(tmp_path: Path, pipe: Pipeline) -> None:
    sigma = Pipeline.from_pretrained(
        tiny.write_pixart(tmp_path, pipeline=SIGMA, scheduler=TRAILING)
    )
    prompt = f"{LONG} Red Star"
    with pytest.warns(LdmWarning, match="'red star' is left out"):
        latents(pipe, [prompt])
    assert sigma.model.abilities["text"].overflow(prompt) == ""
    assert sigma.model.abilities["text"].overflow(" ".join([prompt] * 3)).endswith("red star")


def test_padding_is_hidden_from_the_network(pipe: Pipeline) -> None:
    condition = pipe.model.abilities["text"].encode(["a red star", None])
    assert condition["text"].shape == (2, 120, 32)
    assert condition["text_mask"].sum(dim=1).tolist() == [4, 1]  # three words and the end
    states = condition["text"].clone()
    states[condition["text_mask"] == 0] = 100.0
    x, point = torch.randn(2, 4, 8, 8), pipe.composition.grid(4)[1]
    with torch.no_grad():
        found = ask(pipe.model.network, x, point, {**condition, "text": states})
        torch.testing.assert_close(found, ask(pipe.model.network, x, point, condition))


def test_another_attention_hides_the_padding_too(pipe: Pipeline) -> None:
    chunks = {"name": "chunked", "query_chunk": 7, "key_chunk": 50}
    other = latents(pipe.replace(attention=chunks), ["a red star"])
    assert not other.equal(latents(pipe, ["a red star"]))  # it was asked
    assert apart(other, latents(pipe, ["a red star"])) < 1e-5


def test_an_image_depends_on_its_own_prompt_and_seed(pipe: Pipeline) -> None:
    both = latents(pipe, ["a red star", "a blue circle"], seed=[5, 5])
    assert apart(both[0], both[1]) > 0.01
    for i, prompt in enumerate(["a red star", "a blue circle"]):
        assert apart(latents(pipe, [prompt], seed=5)[0], both[i]) < 1e-5


def test_a_size_that_does_not_fit_is_refused(pipe: Pipeline) -> None:
    with pytest.raises(LdmError, match="multiples of 4"):
        latents(pipe, ["a red star"], width=18)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "vae/config.json",
            {"latent_channels": 16},
            "takes 4 channels and the autoencoder gives 16",
        ),
        ("transformer/config.json", {"out_channels": 5}, "returns 5 channels; 4 were expected"),
        ("transformer/config.json", {"caption_channels": 64}, "width 64, and T5 gives 32"),
        ("model_index.json", {"text_encoder": [None, None]}, "text_encoder should be a T5Encoder"),
        (
            "model_index.json",
            {"vae": ["diffusers", "AutoencoderDC"]},
            "vae should be a AutoencoderKL",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_components_that_do_not_fit_are_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], message: str
) -> None:
    folder = tiny.write_pixart(tmp_path)
    edit(folder / file, **changes)
    with pytest.raises(LdmError, match=message):
        compose({"model": str(folder)}, installed())


@pytest.mark.parametrize("part", ["text_encoder", "tokenizer", "transformer"])
def test_a_missing_part_is_said(tmp_path: Path, part: str) -> None:
    folder = tiny.write_pixart(tmp_path)
    (folder / part).rename(tmp_path / "elsewhere")
    with pytest.raises(LdmError, match=f"lacks {part}/"):
        compose({"model": str(folder)}, installed())


def test_a_vocabulary_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PixArt's own folders have SentencePiece's file alone."""
    folder = tiny.write_pixart(tmp_path)
    vocabulary = folder / "tokenizer" / "tokenizer.json"
    vocabulary = vocabulary.rename(vocabulary.with_name("spiece.model"))
    monkeypatch.setattr(t5_text, "find_spec", lambda module: None)
    with pytest.raises(LdmError, match="can only be read with sentencepiece and protobuf, which"):
        compose({"model": str(folder)}, installed())
    monkeypatch.setattr(t5_text, "find_spec", lambda module: module)
    assert compose({"model": str(folder)}, installed()).info.family == "pixart"
    vocabulary.unlink()
    with pytest.raises(LdmError, match="has no vocabulary"):
        compose({"model": str(folder)}, installed())


def test_a_folder_that_names_the_networks_old_class_is_read(tmp_path: Path, pipe: Pipeline) -> None:
    """As PixArt's own folders do, which Diffusers has split a class out of since."""
    folder = tiny.write_pixart(tmp_path, scheduler=TRAILING)
    edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    edit(
        folder / "transformer" / "config.json",
        _class_name="Transformer2DModel",
        norm_type="ada_norm_single",
    )
    found = latents(Pipeline.from_pretrained(folder), ["a red star"])
    assert found.equal(latents(pipe, ["a red star"]))
