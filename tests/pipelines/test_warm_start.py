"""A training that starts from a model's weights."""

from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from ldm_core import Pipeline
from ldm_core.errors import LdmError, LdmWarning
from ldm_pipelines.training import autoencoder, commands
from ldm_pipelines.training.settings import (
    AutoencoderSettings,
    DenoiserSettings,
    TransformerSettings,
)
from ldm_pipelines.training.transformer import build_transformer

# No learning: what is written is what the run began with, or its average over some updates.
STILL = {"learning_rate": 0.0, "steps": 2, "warmup": 1, "batch_size": 2, "mixed_precision": "no"}
POOL = {"pool_size": 4, "pool_steps": 2}
WEIGHTS = {
    "vae": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
    "text_encoder": "model",
}


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(autoencoder, "STATISTICS_PICTURES", 32)


@pytest.fixture(scope="module")
def model():
    return Pipeline.from_pretrained("shapes").model.info.folder


def weights(folder, part):
    return load_file(folder / part / f"{WEIGHTS[part]}.safetensors")


def changed(model, tmp_path, file, **entries):
    """A copy of the model whose `file` says something else."""
    shutil.copytree(model, tmp_path / "changed")
    path = tmp_path / "changed" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))
    return tmp_path / "changed"


def test_the_denoiser_starts_from_the_models_weights(model, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LdmWarning)
        commands.train_denoiser(
            DenoiserSettings(autoencoder=model, from_model=model, out=tmp_path, **STILL, **POOL)
        )
    for part in ("unet", "text_encoder"):
        stored, written = weights(model, part), weights(tmp_path / "model", part)
        assert stored.keys() == written.keys()
        assert all(torch.equal(stored[name], written[name]) for name in stored)


def test_the_autoencoder_starts_from_the_models_weights(model, tmp_path):
    """What is written has its latents standardised again, which leaves reconstructions alone."""
    from diffusers import AutoencoderKL

    commands.train_autoencoder(
        AutoencoderSettings(from_model=model, out=tmp_path, crop_steps=1, **STILL)
    )
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before, after = (
        AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        for folder in (model, tmp_path)
    )
    with torch.no_grad():
        expected, seen = before(picture).sample, after(picture).sample
    assert (seen - expected).norm() < 2e-2 * expected.norm()


def test_going_on_from_a_model_is_repeatable_and_not_the_run_from_nothing(model, tmp_path):
    def run(out, **settings):
        learning = {**STILL, "learning_rate": 1e-3, **settings}
        commands.train_denoiser(
            DenoiserSettings(autoencoder=model, out=tmp_path / out, **learning, **POOL)
        )
        return weights(tmp_path / out / "model", "unet")

    first, again = (run(out, from_model=model) for out in ("first", "again"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    anew, stored = run("anew"), weights(model, "unet")
    assert any(not torch.equal(first[name], stored[name]) for name in first)
    name = "mid_block.resnets.0.conv1.weight"
    assert (first[name] - stored[name]).float().norm() < 0.1 * (
        anew[name] - stored[name]
    ).float().norm()
    with pytest.raises(LdmError, match=r"weights_at_the_start was '\w{64}', now '\w{64}'"):
        run("first", from_model=tmp_path / "anew" / "model")
    with pytest.raises(LdmError, match=r"weights_at_the_start was None, now '\w{64}'"):
        run("anew", from_model=model)
    with pytest.raises(LdmError, match=r"weights_at_the_start was '\w{64}', now None"):
        run("first")


@pytest.mark.parametrize(
    ("file", "entries", "message"),
    [
        ("unet/config.json", {"block_out_channels": [128, 64]}, r"is \[128, 64\], not \[128, 96\]"),
        ("unet/config.json", {"_class_name": "UNet2DModel"}, "class UNet2DModel, not UNet2DCond"),
        ("text_encoder/config.json", {"num_attention_heads": 2}, "num_attention_heads is 2, not 4"),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "epsilon"},
            "teaches 'v_prediction'",
        ),
        ("scheduler/scheduler_config.json", {"beta_end": 0.02}, "has beta_end 0.02"),
    ],
)
def test_a_model_of_another_make_is_refused(model, tmp_path, file, entries, message):
    other = changed(model, tmp_path, file, **entries)
    with pytest.raises(LdmError, match=message):
        commands.train_denoiser(
            DenoiserSettings(
                autoencoder=model, from_model=other, out=tmp_path / "out", **STILL, **POOL
            )
        )
    assert not (tmp_path / "out").exists()


def test_missing_parts_and_another_architecture_are_refused(model, tmp_path):
    run = {"autoencoder": model, "out": tmp_path / "out", **STILL, **POOL}
    with pytest.raises(LdmError, match="no text_encoder in"):
        commands.train_denoiser(DenoiserSettings(from_model=tmp_path, **run))
    with pytest.raises(LdmError, match="no vae in"):
        commands.train_autoencoder(
            AutoencoderSettings(from_model=tmp_path, out=tmp_path / "out", crop_steps=1, **STILL)
        )
    with pytest.raises(LdmError, match="latent_channels is 4, not 8"):
        commands.train_autoencoder(
            AutoencoderSettings(
                from_model=model, out=tmp_path, latent_channels=8, crop_steps=1, **STILL
            )
        )
    with pytest.raises(LdmError, match="no transformer in"):
        commands.train_transformer(TransformerSettings(from_model=model, **run))


def test_captions_of_other_words_are_refused(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "other")
    file = copy / "tokenizer" / "tokenizer.json"
    table = json.loads(file.read_text())
    words = table["model"]["vocab"]
    words["star</w>"], words["ring</w>"] = words["ring</w>"], words["star</w>"]
    file.write_text(json.dumps(table))
    run = {"autoencoder": model, "out": tmp_path / "out", **STILL, **POOL}
    with pytest.raises(LdmError, match="have other words than those of"):
        commands.train_denoiser(DenoiserSettings(from_model=copy, **run))


def test_lacking_weights_are_refused(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "other")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_out.weight"]
    save_file(state, file, metadata={"format": "pt"})
    run = {"autoencoder": model, "out": tmp_path / "out", **STILL, **POOL}
    with pytest.raises(LdmError, match=r"lacks 1 of its weights, such as conv_out\.weight"):
        commands.train_denoiser(DenoiserSettings(from_model=copy, **run))


def test_latents_of_another_autoencoder_are_told(model, tmp_path):
    autoencoder.build_autoencoder(4, seed=9).save_pretrained(tmp_path / "vae")
    with pytest.warns(LdmWarning, match="not those from which the weights learnt"):
        commands.train_denoiser(
            DenoiserSettings(
                autoencoder=tmp_path, from_model=model, out=tmp_path / "out", **STILL, **POOL
            )
        )


def test_the_transformer_starts_from_the_models_weights(tmp_path):
    source = tmp_path / "source"
    autoencoder.build_autoencoder(4, seed=0).save_pretrained(source / "vae")
    small = {"width": 16, "layers": 1, **STILL, **POOL}
    first = {"autoencoder": source, "out": tmp_path / "first", "seed": 1}
    commands.train_transformer(TransformerSettings(**first, **{**small, "learning_rate": 0.1}))
    model = tmp_path / "first" / "model"
    commands.train_transformer(
        TransformerSettings(autoencoder=source, out=tmp_path / "second", from_model=model, **small)
    )
    stored, written = (
        load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
        for folder in (model, tmp_path / "second" / "model")
    )
    assert all(torch.equal(stored[name], written[name]) for name in stored)
    fresh = build_transformer(4, 4, width=16, layers=1, seed=0).half().state_dict()
    assert any(not torch.equal(stored[name], fresh[name]) for name in stored)


def test_a_training_goes_on_from_what_another_left_with_its_checkpoint(tmp_path):
    commands.train_autoencoder(AutoencoderSettings(out=tmp_path / "a", crop_steps=2, **STILL))
    assert (tmp_path / "a" / "checkpoint").is_dir()
    commands.train_autoencoder(
        AutoencoderSettings(
            out=tmp_path / "b", from_model=tmp_path / "a", decoder_only=True, crop_steps=2, **STILL
        )
    )
    first, second = weights(tmp_path / "a", "vae"), weights(tmp_path / "b", "vae")
    assert all(weight.equal(second[name]) for name, weight in first.items())


def test_the_decoder_alone_is_trained_where_its_latents_must_stay(tmp_path, model):
    learning = {**STILL, "learning_rate": 1e-3, "warmup": 0, "crop_steps": 2}
    commands.train_autoencoder(
        AutoencoderSettings(out=tmp_path, from_model=model, decoder_only=True, **learning)
    )
    before, after = weights(model, "vae"), weights(tmp_path, "vae")
    kept = {name for name in before if name.startswith(("encoder.", "quant_conv."))}
    assert kept
    assert all(before[name].equal(after[name]) for name in kept)
    assert not before["decoder.conv_in.weight"].equal(after["decoder.conv_in.weight"])
    with pytest.raises(LdmError, match="needs from_model"):
        AutoencoderSettings(out=tmp_path, decoder_only=True)
