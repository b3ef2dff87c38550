"""Training runs from end to end, in the small."""

import contextlib
import dataclasses
import io
import json
import math
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from ldm_core.errors import LdmError, LdmWarning, NotFiniteError
from ldm_pipelines.training import autoencoder, checkpoint, commands, transformer
from ldm_pipelines.training.batches import Batches
from ldm_pipelines.training.data import FolderSource, ShapesSource, open_source
from ldm_pipelines.training.ema import Ema
from ldm_pipelines.training.loop import make_accelerator, train
from ldm_pipelines.training.pool import PoolOfStep
from ldm_pipelines.training.settings import (
    AutoencoderSettings,
    DenoiserSettings,
    PictureSettings,
    TransformerSettings,
)
from ldm_pipelines.training.telling import Telling

SMALL = {"warmup": 1, "batch_size": 2, "mixed_precision": "no"}


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(autoencoder, "STATISTICS_PICTURES", 32)


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    pictures, captions = ShapesSource().draw(np.random.default_rng(0), 3)
    lines = []
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        Image.fromarray(picture).resize((90, 70)).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


class Toy(nn.Module):
    """A regression: ``forward(x)`` is the squared error of a convolution against x's sum."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return (self.layer(x) - x.sum(1, keepdim=True)).square().mean()


class Killed(Exception):
    pass


def toy_run(
    folder,
    *,
    stop_at=None,
    steps=8,
    resume=True,
    learning_rate=0.1,
    batch_of_step=None,
    checkpoint_seconds=0.0,
):
    def plain(step):
        if step == stop_at:
            raise Killed
        return (torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(step)),)

    settings = PictureSettings(
        data="none",
        out=folder,
        resolution=16,
        steps=steps,
        batch_size=4,
        learning_rate=learning_rate,
        warmup=2,
        mixed_precision="no",
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
    )
    batches = batch_of_step or plain
    return train(settings, make_accelerator("no"), Toy(), batches, ema_decay=0.9)


def test_an_interrupted_run_takes_the_same_course(tmp_path):
    whole = toy_run(tmp_path / "whole")
    for stop_at in (3, 6):
        with pytest.raises(Killed):
            toy_run(tmp_path / "halting", stop_at=stop_at)
    resumed = toy_run(tmp_path / "halting")
    assert whole.keys() == resumed.keys() == {"layer.weight", "layer.bias"}
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name])


def test_a_batch_of_latents_is_the_same_whatever_was_asked_before():
    vae = autoencoder.build_autoencoder(4, seed=0).eval()

    def batches():
        pool = PoolOfStep(
            ShapesSource(),
            vae,
            lambda captions: torch.tensor([[len(c), len(c.split())] for c in captions]),
            size=8,
            refresh=2,
            seed=5,
            rank=1,
            device=torch.device("cpu"),
            context=contextlib.nullcontext,
        )
        return Batches(pool, torch.zeros(2, dtype=torch.int64), batch_size=4, seed=5, rank=1)

    going = batches()
    before = [going(step) for step in range(4)]
    for ours, fresh in zip(before[3], batches()(3), strict=True):
        assert torch.equal(ours, fresh)
    assert not torch.equal(before[2][0], before[3][0])


def test_a_kill_while_saving_leaves_a_checkpoint(tmp_path):
    with pytest.raises(Killed):
        toy_run(tmp_path, stop_at=3)
    kept = tmp_path / "checkpoint"
    (tmp_path / "checkpoint.new").mkdir()  # killed while writing
    kept.rename(tmp_path / "checkpoint.old")  # or between the two renames
    toy = Toy()
    optimizer = torch.optim.AdamW(toy.parameters())
    settings = {"steps": 8, "learning_rate": 0.1}
    assert checkpoint.restore(kept, settings=settings, module=toy, optimizer=optimizer) == 3
    assert toy_run(tmp_path).keys() == toy.state_dict().keys()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    toy_run(tmp_path, steps=2)
    with pytest.raises(LdmError, match=r"learning_rate was 0\.1, now 0\.2"):
        toy_run(tmp_path, steps=2, learning_rate=0.2)
    toy_run(tmp_path, steps=2, learning_rate=0.2, resume=False)


def test_nothing_is_pickled(tmp_path):
    toy_run(tmp_path, steps=2)
    suffixes = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert suffixes == {".safetensors", ".json"}


def test_standardising_leaves_reconstructions_alone():
    vae = autoencoder.build_autoencoder(4, seed=0).eval()
    drawn, _ = ShapesSource().draw(np.random.default_rng(0), 16)
    pictures = autoencoder.to_tensor(drawn, torch.device("cpu"))
    with torch.no_grad():
        before = vae.encode(pictures).latent_dist
        old = vae.decode(before.mode()).sample
        autoencoder.standardise_latents(vae, pictures)
        after = vae.encode(pictures).latent_dist
        torch.testing.assert_close(vae.decode(after.mode()).sample, old, atol=1e-4, rtol=1e-4)
    scale = (before.std / after.std).mean((0, 2, 3))
    torch.testing.assert_close(
        (before.mean - before.mean.mean((0, 2, 3), keepdim=True)) / scale[:, None, None],
        after.mean,
        atol=1e-4,
        rtol=1e-3,
    )
    second_moment = (after.mean.square() + after.var).mean((0, 2, 3))
    torch.testing.assert_close(second_moment, torch.ones(4), atol=0.01, rtol=0)


def test_crops_look_where_something_is():
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    picture[0, 10:30, 10:30] = 255
    crops = autoencoder.detailed_crops(picture, np.random.default_rng(0), tries=50)
    assert crops.shape == (1, 32, 32, 3)
    assert crops.std() > 100  # of at most 127.5, half black and half white


def test_both_commands_make_a_folder_that_diffusers_runs(tmp_path):
    from diffusers import StableDiffusionPipeline

    commands.train_autoencoder(
        AutoencoderSettings(out=tmp_path / "vae", steps=2, crop_steps=1, **SMALL)
    )
    commands.train_denoiser(
        DenoiserSettings(
            autoencoder=tmp_path / "vae",
            out=tmp_path / "out",
            steps=2,
            pool_size=4,
            pool_steps=1,
            **SMALL,
        )
    )
    model = tmp_path / "out" / "model"
    assert sum(p.stat().st_size for p in model.rglob("*") if p.is_file()) <= 16e6
    for file in model.rglob("*.safetensors"):
        assert {w.dtype for w in load_file(file).values()} == {torch.float16}
    pipe = StableDiffusionPipeline.from_pretrained(model)
    prompts = ["a red circle", "a grey zebra 猫"]
    images = pipe(prompts, num_inference_steps=1, guidance_scale=4.0, output_type="np").images
    assert images.shape == (2, 64, 64, 3)
    assert np.isfinite(images).all()


@pytest.fixture(scope="module")
def digits_autoencoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder")
    autoencoder.build_autoencoder(4, seed=0).save_pretrained(folder / "vae")
    return folder


def transformer_run(vae, out, **settings):
    small = {"width": 16, "layers": 2, "pool_size": 16, "pool_steps": 2, "checkpoint_seconds": 0.0}
    commands.train_transformer(
        TransformerSettings(autoencoder=vae, out=out, steps=5, **SMALL, **small, **settings)
    )
    return load_file(out / "model" / "transformer" / "diffusion_pytorch_model.safetensors")


def test_the_transformer_makes_a_folder_that_diffusers_runs(tmp_path, digits_autoencoder):
    from diffusers import DiTPipeline

    weights = transformer_run(digits_autoencoder, tmp_path)
    assert {w.dtype for w in weights.values()} == {torch.float16}
    pipe = DiTPipeline.from_pretrained(tmp_path / "model")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.get_label_ids(["0", "9"]) == [0, 9]
    images = pipe([0, 9], num_inference_steps=2, guidance_scale=2.0, output_type="np").images
    assert images.shape == (2, 32, 32, 3)
    assert np.isfinite(images).all()


def test_an_interrupted_transformer_takes_the_same_course(
    tmp_path, digits_autoencoder, monkeypatch
):
    whole = transformer_run(digits_autoencoder, tmp_path / "whole")
    draw = Batches.__call__

    def draw_until_killed(self, step):
        if step == 3:
            raise Killed
        return draw(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__call__", draw_until_killed)
        with pytest.raises(Killed):
            transformer_run(digits_autoencoder, tmp_path / "halting")
    state = json.loads((tmp_path / "halting" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 3
    resumed = transformer_run(digits_autoencoder, tmp_path / "halting")
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name
    other = transformer_run(digits_autoencoder, tmp_path / "other", seed=1)
    assert not all(torch.equal(weight, other[name]) for name, weight in whole.items())


def test_a_new_transformer_predicts_nothing_whatever_it_sees():
    """adaLN-Zero, Peebles & Xie 2022, section 3.2: the blocks are the identity at first."""
    network = transformer.build_transformer(4, 4, width=16, layers=2, seed=0)
    x = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 5, transformer.NULL_CLASS])
    assert network(x, torch.tensor([0, 500, 999]), class_labels=labels).sample.abs().max() == 0


def test_classes_are_the_texts_of_a_folder(tmp_path, digits_autoencoder, image_folder):
    transformer_run(digits_autoencoder, tmp_path, data=str(image_folder))
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    lines = (image_folder / "metadata.jsonl").read_text().splitlines()
    texts = {json.loads(line)["text"] for line in lines}
    assert index["id2label"] == {str(i): text for i, text in enumerate(sorted(texts))}


def test_unusable_settings_of_the_transformer_are_refused_plainly(tmp_path, digits_autoencoder):
    run = {"autoencoder": digits_autoencoder, "out": tmp_path}
    with pytest.raises(LdmError, match="multiple of 4"):
        TransformerSettings(width=30, **run)
    with pytest.raises(LdmError, match="digits come at 32 pixels, not 64"):
        commands.train_transformer(TransformerSettings(resolution=64, **run))
    with pytest.raises(LdmError, match="captions of shapes are no classes"):
        commands.train_transformer(TransformerSettings(data="shapes", resolution=64, **run))
    with pytest.raises(LdmError, match="ldm train autoencoder"):
        commands.train_transformer(TransformerSettings(autoencoder=tmp_path, out=tmp_path))


def test_a_folder_of_images_is_read_with_its_captions(image_folder):
    source = open_source(str(image_folder), resolution=32, need_captions=True)
    pictures, captions = source.draw(np.random.default_rng(0), 8)
    assert pictures.shape == (8, 32, 32, 3)
    assert all(caption.endswith(" background") for caption in captions)
    assert set(captions) <= set(source.texts())


def test_the_autoencoder_trains_on_a_folder(tmp_path, image_folder):
    commands.train_autoencoder(
        AutoencoderSettings(
            data=str(image_folder), resolution=32, out=tmp_path, steps=1, crop_steps=0, **SMALL
        )
    )
    assert (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").exists()


def test_unusable_data_is_refused_plainly(tmp_path, image_folder):
    with pytest.raises(LdmError, match="no folder"):
        open_source(str(tmp_path / "missing"))
    with pytest.raises(LdmError, match="no images"):
        open_source(str(tmp_path))
    with pytest.raises(LdmError, match="64 pixels, not 32"):
        open_source("shapes", resolution=32)
    with pytest.raises(LdmError, match="multiple of 16"):
        open_source(str(image_folder), resolution=50)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(LdmError, match=r"metadata\.jsonl is missing"):
        FolderSource(tmp_path, need_captions=True)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.png", "text": "b"}\n')
    with pytest.raises(LdmError, match=r"no line for a\.png"):
        FolderSource(tmp_path, need_captions=True)
    (tmp_path / "metadata.jsonl").write_text("{}\n")
    with pytest.raises(LdmError, match="line 1: need file_name and text"):
        FolderSource(tmp_path)
    (tmp_path / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "\xe9"}\n')
    with pytest.raises(LdmError, match=r"metadata\.jsonl' must be UTF-8"):
        FolderSource(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(LdmError, match=r"a\.png' cannot be read: it is no picture"):
        FolderSource(tmp_path)


def test_a_missing_autoencoder_is_refused_plainly(tmp_path):
    with pytest.raises(LdmError, match="ldm train autoencoder"):
        commands.train_denoiser(
            DenoiserSettings(autoencoder=tmp_path, out=tmp_path / "out", steps=1)
        )


@pytest.mark.slow
def test_two_processes_train_together(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from ldm_pipelines.training import autoencoder, commands\n"
        "from ldm_pipelines.training.settings import AutoencoderSettings\n"
        "autoencoder.STATISTICS_PICTURES = 32\n"
        "commands.train_autoencoder(\n"
        "    AutoencoderSettings(out=Path(sys.argv[1]), steps=2, crop_steps=2, warmup=1,\n"
        "                        batch_size=2, mixed_precision='no'))\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(script), str(tmp_path / "two")], check=True)
    state = json.loads((tmp_path / "two" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 2
    assert state["settings"]["processes"] == 2
    assert (tmp_path / "two" / "vae" / "config.json").exists()


def stopping(signum, step):
    """Batches of a toy run that are drawn until a signal comes, of the process itself."""

    def batch_of_step(number):
        if number == step:
            os.kill(os.getpid(), signum)
        return (torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(number)),)

    return batch_of_step


SIGNALS = {signal.SIGINT: (KeyboardInterrupt, None), signal.SIGTERM: (SystemExit, 143)}


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("within", ["a batch", "an update", "a checkpoint"])
def test_a_signal_loses_nothing_and_changes_nothing(tmp_path, monkeypatch, signum, within):
    """Wherever it comes: between steps, while the weights are changed, while they are written."""
    whole = toy_run(tmp_path / "whole")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    kind, code = SIGNALS[signum]
    seconds = 0.0 if within == "a checkpoint" else 1e9
    once = iter([signum])

    def send():
        for number in once:
            os.kill(os.getpid(), number)

    update, write = Ema.update, checkpoint.save_file

    def signalled_update(self, weights, step):
        if step == 4:
            send()
        update(self, weights, step)

    def signalled_write(tensors, path):
        if path.name == "optimizer.safetensors":
            send()
        write(tensors, path)

    step = 4 if within == "a batch" else None
    run = {"batch_of_step": stopping(signum, step), "checkpoint_seconds": seconds}
    with monkeypatch.context() as patch:
        if within == "an update":
            patch.setattr(Ema, "update", signalled_update)
        if within == "a checkpoint":
            patch.setattr(checkpoint, "save_file", signalled_write)
        with pytest.raises(kind) as ended:
            toy_run(tmp_path / "out", **run)
    assert code is None or ended.value.code == code
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    state = json.loads((tmp_path / "out" / "checkpoint" / "state.json").read_text())
    assert state["step"] == {"a batch": 4, "an update": 5, "a checkpoint": 1}[within]
    resumed = toy_run(tmp_path / "out")
    assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())


def test_a_run_that_is_stopped_at_once_keeps_the_checkpoint_of_another(tmp_path):
    toy_run(tmp_path, steps=2)
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path, batch_of_step=stopping(signal.SIGINT, 0), resume=False)
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 2


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_ends_with_the_code_of_its_signal(
    ldm, image_folder, tmp_path, monkeypatch, signum, code
):
    draw, drawn = FolderSource.draw, []

    def signalled(self, rng, count):
        drawn.append(count)
        if len(drawn) == 3:
            os.kill(os.getpid(), signum)
        return draw(self, rng, count)

    run = ("train", "autoencoder", "--data", image_folder, "--out", "out", "--resolution", 16)
    run += ("--steps", 4, "--crop-steps", 0, "--batch-size", 2, "--mixed-precision", "no")
    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "draw", signalled)
        assert ldm(*run)[0] == code
    assert json.loads(Path("out/checkpoint/state.json").read_text())["step"] == 2
    assert ldm(*run)[0] == 0
    assert ldm(*run[:5], "whole", *run[6:])[0] == 0
    one, other = (
        load_file(next(Path(out, "vae").glob("*.safetensors"))) for out in ("out", "whole")
    )
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_a_training_can_be_made_longer(tmp_path):
    """From the first step on that was not yet done, on the longer course, which is said."""
    short = toy_run(tmp_path, steps=4)
    with pytest.warns(LdmWarning, match="begun for 4 steps and goes on to 8: from step 4"):
        longer = toy_run(tmp_path, steps=8)
    assert not torch.equal(longer["layer.weight"], short["layer.weight"])
    state = json.loads((tmp_path / "checkpoint" / "state.json").read_text())
    assert (state["step"], state["settings"]["steps"]) == (8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = toy_run(tmp_path, steps=8)  # done, and nothing is left to do
    assert all(torch.equal(weight, again[name]) for name, weight in longer.items())
    with pytest.raises(LdmError, match=r"8 steps, more than the 4(?s:.*)--no-resume"):
        toy_run(tmp_path, steps=4)


def test_the_longer_course_has_the_learning_rate_of_its_length(tmp_path, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **options):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    toy_run(tmp_path, steps=4)
    with pytest.warns(LdmWarning):
        toy_run(tmp_path, steps=8)
    cosine = [0.1 * 0.5 * (1 + math.cos(math.pi * (n - 2) / 6)) for n in range(4, 8)]
    assert rates[4:] == pytest.approx(cosine)


def test_a_training_that_diverges_says_so_and_keeps_what_it_had(tmp_path):
    def batch_of_step(step):
        return (torch.full((4, 3, 5, 5), 1.0 if step < 3 else torch.nan),)

    with pytest.raises(NotFiniteError, match="diverged: between steps 1 and 4 the loss became nan"):
        toy_run(tmp_path, batch_of_step=batch_of_step)
    kept = load_file(tmp_path / "checkpoint" / "weights.safetensors")
    assert all(weight.isfinite().all() for weight in kept.values())


def test_the_last_update_is_looked_at_too(tmp_path, monkeypatch):
    """Its loss was finite; what it left is not."""
    update = torch.optim.AdamW.step

    def overflows(optimizer, *arguments):
        update(optimizer, *arguments)
        optimizer.param_groups[0]["params"][0].data[0] = torch.inf

    toy_run(tmp_path, steps=7)
    monkeypatch.setattr(torch.optim.AdamW, "step", overflows)
    with (
        pytest.warns(LdmWarning),
        pytest.raises(NotFiniteError, match=r"after step 8 'layer\.weight' holds numbers that are"),
    ):
        toy_run(tmp_path, steps=8)
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 7


def test_no_autoencoder_is_written_whose_weights_are_no_float16(
    ldm, image_folder, monkeypatch, tmp_path
):
    def too_large(autoencoder, pictures):
        autoencoder.decoder.conv_out.bias.data[0] = 70_000.0

    monkeypatch.setattr(autoencoder, "standardise_latents", too_large)
    words = [
        "--data",
        image_folder,
        "--steps",
        1,
        "--resolution",
        16,
        "--crop-steps",
        0,
        "--batch-size",
        2,
    ]
    code, out, err = ldm("train", "autoencoder", "--out", "o", "--mixed-precision", "no", *words)
    assert (code, out) == (1, ""), err
    assert "'decoder.conv_out.bias' does not fit into float16; no model is written" in err
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["checkpoint"]


def test_a_process_that_has_begun_in_one_precision_refuses_another() -> None:
    make_accelerator("no")
    with pytest.raises(LdmError, match="in the mixed_precision 'bf16' cannot begin here"):
        make_accelerator("bf16")


def test_its_lines_go_where_standard_error_is_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = PictureSettings(
        data="none",
        out=tmp_path,
        resolution=16,
        steps=4,
        batch_size=4,
        learning_rate=1e-3,
        warmup=2,
        mixed_precision="no",
    )
    telling = Telling(settings, main=True)
    now = io.StringIO()
    monkeypatch.setattr(sys, "stderr", now)
    telling.begins(0, 1)
    Telling(settings, main=False).begins(1, 2)
    Telling(dataclasses.replace(settings, quiet=True), main=True).begins(2, 3)
    assert now.getvalue().partition(" ")[2] == "from step 0 to 4, 1 processes\n"
