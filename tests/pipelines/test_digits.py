"""The handwritten digits, and the class-conditional model that is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from PIL import Image

from ldm_core import Pipeline
from ldm_core.errors import LdmError
from ldm_core.model.files import size_of
from ldm_pipelines.digits.data import Half, halves, to_cells, to_pictures, varied
from ldm_pipelines.digits.reader import fit_reader, nearest_distances
from ldm_pipelines.training.data import DigitsSource, step_rng


@pytest.fixture(scope="module")
def digits() -> Pipeline:
    return Pipeline.from_pretrained("digits")


@pytest.fixture(scope="module")
def folder(digits: Pipeline) -> Path:
    return digits.model.info.folder


def write_digits(pipe: Pipeline, each: int, seed: int) -> Half:
    """So many of each digit, with nothing chosen."""
    labels = np.repeat(np.arange(10), each)
    made = np.asarray(pipe(class_label=labels.tolist(), seed=seed, output_type="np").images)
    return Half(to_cells(np.round(made * 255).astype(np.uint8)), labels)


def test_the_halves_take_turns_and_share_nothing() -> None:
    from sklearn.datasets import load_digits

    training, test = halves()
    everything = load_digits()
    assert len(training.cells) + len(test.cells) == len(everything.images) == 1797
    assert np.array_equal(training.cells, everything.images[0::2])
    assert np.array_equal(test.labels, everything.target[1::2])
    assert nearest_distances(test.cells, training.cells).min() > 0


def test_pictures_hold_every_level_of_every_cell() -> None:
    cells = halves()[0].cells[:50]
    pictures = to_pictures(cells)
    assert pictures.shape == (50, 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(np.unique(pictures), np.round(np.arange(17) * 255 / 16))
    assert np.array_equal(np.round(to_cells(pictures)), cells)


def test_varied_digits_stay_legible_and_a_third_stay_as_they_are() -> None:
    training = halves()[0]
    changed = varied(training.cells, np.random.default_rng(0))
    still = (changed == training.cells).all(axis=(1, 2)).mean()
    assert 0.28 < still < 0.39
    assert changed.min() >= 0
    assert changed.max() <= 16
    read = fit_reader(training)
    assert (read(changed) == training.labels).mean() > 0.9


def test_training_sees_nothing_of_the_test_half() -> None:
    training, test = halves()
    pictures, labels = DigitsSource().draw(step_rng(0, 0, 0), 300)
    cells = to_cells(pictures)
    rounding = 0.5  # real digits differ by 1 level of one cell at least
    assert 0.25 < (nearest_distances(cells, training.cells) < rounding).mean() < 0.42
    assert nearest_distances(cells, test.cells).min() > rounding
    assert {int(label) for label in labels} == set(range(10))


def test_the_reader_reads_real_digits_that_it_never_saw() -> None:
    training, test = halves()
    assert (fit_reader(training)(test.cells) == test.labels).mean() >= 0.96


def test_nearest_distance_by_hand() -> None:
    cells = np.zeros((2, 8, 8))
    cells[1, 0, 0] = 10
    others = np.zeros((2, 8, 8))
    others[0, 0, :2] = 3, 4
    others[1, 0, 0] = 16
    assert nearest_distances(cells, others).tolist() == [5, 6]


def test_it_is_small_and_safe(folder: Path) -> None:
    assert size_of(folder) <= 6_000_000
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".md", ".toml"}
    assert (folder / "README.md").is_file()


def test_final_latents_are_those_of_dit_pipeline(
    digits: Pipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing chosen here; there, the model's own steps and scale."""
    theirs = DiTPipeline.from_pretrained(folder)
    theirs.set_progress_bar_config(disable=True)
    decoded: list[torch.Tensor] = []
    decode = theirs.vae.decode
    monkeypatch.setattr(theirs.vae, "decode", lambda z: decoded.append(z) or decode(z))
    generators = [torch.Generator().manual_seed(seed) for seed in range(3, 13)]
    call: dict[str, Any] = {"num_inference_steps": 20, "guidance_scale": 2.0}
    pictures = theirs(list(range(10)), generator=generators, output_type="np", **call).images
    names = [str(digit) for digit in range(10)]
    assert theirs.get_label_ids(names) == list(range(10))
    latents = digits(class_label=names, seed=3, output_type="latent").images
    assert (latents - decoded[0]).norm() < 1e-5 * latents.norm()
    found = digits(class_label=list(range(10)), seed=3, output_type="np").images
    assert np.linalg.norm(found - pictures) < 1e-5 * np.linalg.norm(pictures)


def test_other_classes_are_refused(digits: Pipeline) -> None:
    """The network has room for a thousand, of which it learnt ten."""
    with pytest.raises(LdmError, match="no class 10: this model's are numbered from 0 to 9"):
        digits(class_label=10)


def test_the_autoencoder_keeps_what_a_digit_says(digits: Pipeline) -> None:
    training, test = halves()
    vae = digits.model.parts["vae"].module
    pixels = torch.from_numpy(to_pictures(test.cells[:200])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode()
        decoded = vae.decode(latents).sample.clamp(-1, 1)
    assert latents.shape == (200, 4, 4, 4)
    levels = to_cells(((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    assert np.abs(levels - test.cells[:200]).mean() < 0.1
    read = fit_reader(training)
    assert np.array_equal(read(levels), read(test.cells[:200]))


def test_digits_are_read_as_asked(digits: Pipeline) -> None:
    made = write_digits(digits, each=5, seed=3)
    assert (fit_reader(halves()[0])(made.cells) == made.labels).mean() >= 0.9


def test_a_scale_of_zero_is_no_guidance_and_the_class_still_counts(digits: Pipeline) -> None:
    """As in `DiTPipeline`, where the scale must be above 1 to guide."""
    labels = np.repeat(np.arange(10), 6)
    choices: dict[str, Any] = {"guidance_scale": 0.0, "num_inference_steps": 10}
    made = digits(class_label=labels.tolist(), seed=5, output_type="np", **choices).images
    cells = to_cells(np.round(np.asarray(made) * 255).astype(np.uint8))
    assert (fit_reader(halves()[0])(cells) == labels).mean() >= 0.9


@pytest.mark.slow
def test_five_hundred_digits_are_legible_and_new(digits: Pipeline) -> None:
    training, test = halves()
    parts = [write_digits(digits, each=5, seed=1000 * i) for i in range(10)]
    made = Half(
        np.concatenate([part.cells for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    assert (fit_reader(training)(made.cells) == made.labels).mean() >= 0.95
    distance = nearest_distances(made.cells, training.cells).mean()
    assert distance >= 0.8 * nearest_distances(test.cells, training.cells).mean()


@pytest.mark.slow
def test_a_generated_data_set_teaches_reading_real_digits(ldm: Any) -> None:
    classes = [word for digit in range(10) for word in ("--classes", digit)]
    options = ["--num-images", 50, "--batch-size", 50, "--out", "data"]
    code, _, error = ldm("augment", "--model", "digits", *classes, *options)
    assert code == 0, error
    files = sorted(Path("data").glob("*/*.png"))
    assert len(files) == 500
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    made = Half(to_cells(pictures), np.array([int(file.parent.name) for file in files]))
    test = halves()[1]
    assert (fit_reader(made)(test.cells) == test.labels).mean() >= 0.85
