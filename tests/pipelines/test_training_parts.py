"""The small parts of training, against closed forms and hand-worked numbers."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm_core.errors import LdmError
from ldm_pipelines.training.ahead import Ahead
from ldm_pipelines.training.autoencoder import DrawnBatches
from ldm_pipelines.training.data import DigitsSource, ShapesSource, step_rng
from ldm_pipelines.training.ema import Ema
from ldm_pipelines.training.losses import (
    add_noise,
    denoising_loss,
    kl_to_standard_normal,
    reconstruction_loss,
    reparameterise,
)
from ldm_pipelines.training.schedule import learning_rate_factor
from ldm_pipelines.training.settings import (
    AutoencoderSettings,
    DenoiserSettings,
    TransformerSettings,
)
from ldm_pipelines.training.timesteps import draw_timesteps
from ldm_pipelines.training.tokenizer import build_tokenizer, first_fragment, word_merges, words_of


def test_kl_agrees_with_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 4, 2, 2, generator=generator)
    log_variance = torch.randn(3, 4, 2, 2, generator=generator)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected = torch.distributions.kl_divergence(posterior, standard).sum((1, 2, 3))
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_kl_of_a_shifted_unit_normal_is_half_the_square_of_the_shift():
    mean = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert kl_to_standard_normal(mean, torch.zeros(2, 2)).tolist() == [4.5, 2.0]


def test_reparameterised_samples_have_the_posteriors_moments_and_gradients():
    mean = torch.full((1,), 2.0, requires_grad=True)
    log_variance = torch.full((1,), math.log(9.0), requires_grad=True)
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    samples = reparameterise(mean, log_variance, noise)
    assert samples.mean().item() == pytest.approx(2.0, abs=0.03)
    assert samples.std().item() == pytest.approx(3.0, abs=0.03)
    reparameterise(mean, log_variance, torch.tensor([0.5])).backward()
    assert mean.grad.item() == 1.0
    assert log_variance.grad.item() == pytest.approx(0.5 * 3.0 * 0.5)  # d/dl exp(l/2)·noise


def test_reconstruction_loss_by_hand():
    assert reconstruction_loss(torch.zeros(1, 2), torch.tensor([[3.0, -1.0]])).item() == 2 + 5


def test_noise_is_added_and_scored_by_hand():
    x0, noise = torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 0.5]])
    alpha, sigma = torch.tensor([[0.6]]), torch.tensor([[0.8]])
    torch.testing.assert_close(add_noise(x0, noise, alpha, sigma), torch.tensor([[-0.2, 1.6]]))
    assert denoising_loss(noise, x0).item() == pytest.approx((4 + 2.25) / 2)


def test_v_loss_weighs_the_x0_error_by_snr_plus_one():
    """Salimans & Ho 2022: ||v - v'||² = (alpha²/sigma² + 1) ||x0 - x0'||² at the same x."""
    from ldm_core.numerics.prediction import training_target

    x0, noise, guess = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(1))
    alpha, sigma = torch.tensor(0.8), torch.tensor(0.6)
    x = add_noise(x0, noise, alpha, sigma)
    guessed_noise = (x - alpha * guess) / sigma
    loss = denoising_loss(
        training_target("v_prediction", guess, guessed_noise, alpha, sigma),
        training_target("v_prediction", x0, noise, alpha, sigma),
    )
    expected = (0.64 / 0.36 + 1) * (guess - x0).square().mean()
    torch.testing.assert_close(loss, expected)


def test_learning_rate_rises_then_follows_a_cosine():
    at = [learning_rate_factor(s, steps=110, warmup=10) for s in range(110)]
    assert at[0] == pytest.approx(0.1)
    assert at[9] == at[10] == 1.0
    assert at[60] == pytest.approx(0.5)
    assert 0 < at[109] < 0.001
    assert at[10:] == sorted(at[10:], reverse=True)


def test_average_follows_by_hand():
    weights = {"w": torch.tensor([0.0])}
    ema = Ema(weights, decay=0.5)
    weights["w"].fill_(1.0)
    ema.update(weights, step=0)  # decay (1 + 0) / (10 + 0) = 0.1
    assert ema.average["w"].item() == pytest.approx(0.9)
    ema.update(weights, step=1000)
    assert ema.average["w"].item() == pytest.approx(0.95)


def test_timesteps_cover_everything_and_dwell_in_the_middle():
    rng = np.random.default_rng(0)
    drawn = np.concatenate([draw_timesteps(rng, 64, 1000) for _ in range(400)])
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    # Half uniform, half in [250, 900): shares 0.5·0.25, 0.5·0.65 + 0.5 and 0.5·0.1.
    shares = np.histogram(drawn, [0, 250, 900, 1000])[0] / len(drawn)
    assert shares == pytest.approx([0.125, 0.825, 0.05], abs=0.005)


@pytest.mark.parametrize("source", [ShapesSource(), DigitsSource()])
def test_data_depends_on_seed_step_and_process_alone(source):
    def draw(*key):
        pictures, captions = source.draw(step_rng(*key), 4)
        return tuple(captions), pictures.tobytes()

    assert draw(0, 5, 1) == draw(0, 5, 1)
    assert len({draw(0, 5, 1), draw(1, 5, 1), draw(0, 6, 1), draw(0, 5, 0)}) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_draw_what_this_one_would(workers):
    settings = AutoencoderSettings(out=Path("out"), batch_size=3, steps=7, crop_steps=3, seed=4)
    here = DrawnBatches(ShapesSource(), settings, rank=1)
    ahead = Ahead(here, settings.steps, workers)
    before = torch.get_rng_state()
    for step in (0, 1, 2, 3, 5, 6, 2):
        for drawn, expected in zip(ahead(step), here(step), strict=True):
            assert torch.equal(drawn, expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_commonest_neighbours_are_joined_first():
    merges, fragments = word_merges(["at", "cat", "ca"])
    assert merges == [("a", "t</w>"), ("c", "at</w>"), ("c", "a</w>")]
    assert fragments == ["a", "t</w>", "c", "a</w>", "at</w>", "cat</w>", "ca</w>"]


def test_words_are_split_as_clip_splits_them():
    assert words_of(["A red dog's 12 cats.", "red!"]) == sorted(
        ["a", "red", "dog", "'s", "1", "2", "cats", ".", "!"]
    )
    tokenizer = build_tokenizer(words_of(["Ünder 猫, twice"]), 20)
    assert len(tokenizer("twice ünder 猫").input_ids) == 3 + 2


def test_tokenizer_knows_whole_words_and_survives_others(tmp_path):
    from transformers import CLIPTokenizer

    words = words_of(ShapesSource().texts())
    tokenizer = build_tokenizer(words, 20)
    captions = ShapesSource().draw(np.random.default_rng(0), 200)[1]
    for caption in captions:
        ids = tokenizer(caption).input_ids
        assert len(ids) == len(caption.split()) + 2 <= 20
        assert max(ids) < first_fragment(words)
        assert tokenizer.decode(ids[1:-1]) == caption
    strange = ["a grey zebra", "猫", "Ünder RED!", ""]
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    for text in [*strange, *captions[:20]]:
        assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.unk_token_id in loaded("猫").input_ids
    assert loaded("").input_ids == [loaded.bos_token_id, loaded.eos_token_id]
    assert loaded.model_max_length == 20


@pytest.mark.parametrize(
    ("settings", "course"),
    [
        (
            AutoencoderSettings(out=Path("out")),
            {
                "data": "shapes", "resolution": 64, "steps": 5000, "crop_steps": 2500,
                "batch_size": 32, "learning_rate": 0.002, "warmup": 100, "kl_weight": 0.005,
                "latent_channels": 4, "mixed_precision": "bf16", "seed": 0, "processes": 3,
            },
        ),
        (
            DenoiserSettings(out=Path("out"), autoencoder=Path("vae"), resume=False),
            {
                "data": "shapes", "resolution": 64, "steps": 11000, "batch_size": 64,
                "learning_rate": 0.001, "warmup": 200, "max_tokens": 20, "pool_size": 4096,
                "pool_steps": 1000, "mixed_precision": "bf16", "seed": 0, "processes": 3,
            },
        ),
        (
            TransformerSettings(out=Path("out"), autoencoder=Path("vae"), checkpoint_seconds=1.0),
            {
                "data": "digits", "resolution": 32, "width": 96, "layers": 6, "steps": 12000,
                "batch_size": 128, "learning_rate": 0.001, "warmup": 200, "ema_decay": 0.999,
                "pool_size": 4096, "pool_steps": 500, "mixed_precision": "no", "seed": 0,
                "processes": 3,
            },
        ),
    ],
)  # fmt: skip
def test_checkpoints_of_earlier_releases_stay_acceptable(settings, course):
    """A setting that is renamed, added or taken away here has every old checkpoint refused.

    But for one that is None: a checkpoint that lacks it agrees with it.
    """
    assert {k: v for k, v in settings.course(3).items() if v is not None} == course


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (AutoencoderSettings, {"steps": 0}, "steps, .* must be at least 1\\n  steps is 0"),
        (AutoencoderSettings, {"latent_channels": 0}, "latent_channels must be at least 1"),
        (AutoencoderSettings, {"num_workers": -1}, "num_workers must not be negative"),
        (DenoiserSettings, {"batch_size": -1}, "must be at least 1\\n  batch_size is -1"),
        (DenoiserSettings, {"pool_steps": 0}, "pool_steps must be at least 1"),
        (DenoiserSettings, {"max_tokens": 1}, "max_tokens must be at least 2"),
        (DenoiserSettings, {"mixed_precision": "fp8"}, "must be 'no' or 'bf16', not 'fp8'"),
        (TransformerSettings, {"pool_size": 0}, "must be at least 1\\n  pool_size is 0"),
        (TransformerSettings, {"layers": 0}, "must be at least 1\\n  layers is 0"),
        (TransformerSettings, {"width": 30}, "width must be a multiple of 4"),
        (TransformerSettings, {"width": -4}, "must be at least 1\\n  width is -4"),
        (TransformerSettings, {"seed": -1}, "seed must not be negative"),
        (TransformerSettings, {"learning_rate": -0.1}, "learning_rate must not be negative"),
        (AutoencoderSettings, {"steps": 10**9}, "steps must be at most 100,000,000"),
        (DenoiserSettings, {"batch_size": 10**9}, "would take at least .* of memory, and .* free"),
        (DenoiserSettings, {"resolution": 10**9}, "would take at least .* of memory, and .* free"),
    ],
)
def test_settings_that_no_run_can_have_are_refused_plainly(kind, values, message):
    places = {} if kind is AutoencoderSettings else {"autoencoder": Path("vae")}
    with pytest.raises(LdmError, match=message):
        kind(out=Path("out"), **places, **values)


def test_the_commands_can_be_listed_without_torch():
    code = (
        "import sys, ldm_pipelines.training.commands\n"
        "assert not {'torch', 'diffusers', 'accelerate', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
