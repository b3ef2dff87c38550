"""What is not finite is named where it first appeared, and the other images are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ldm_core import Pipeline, chain
from ldm_core.contracts import (
    Bound,
    Call,
    Conditioning,
    Denoise,
    Evaluation,
    Grid,
    Guidance,
    Medium,
    Network,
    Run,
    RunHooks,
)
from ldm_core.errors import LdmWarning, NotFiniteError
from ldm_core.media.pixels import from_pixels
from ldm_core.media.png import read_png
from ldm_core.run.output import Output
from ldm_plugins.guidance.classifier_free import classifier_free
from ldm_plugins.schedulers.euler import euler

SEEDS = [3, 4, 5]
LOST = 1
STEP = 2  # from 0


def poisoned(values: Tensor, number: float = torch.nan, image: int = LOST) -> Tensor:
    values = values.clone()
    values[(image, *(0 for _ in values.shape[1:]))] = number
    return values


class Poison(Conditioning):
    """Does something to one image in each run.

    Args:
        place: to the ``network``'s answer for it at a step, in the negative branch or ``every
            branch``; to what comes ``around`` the denoiser; to its last x, at the ``finish``.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    def encode(self, run: Run, branches: Sequence[str]) -> Any:
        return {}

    def bind(self, run: Run) -> RunHooks:
        return Hooks(self.place, run.grid)


class Hooks(RunHooks):
    def __init__(self, place: str, grid: Grid) -> None:
        self.place, self.grid = place, grid

    def network(self, network: Network) -> Network:
        def asked(call: Call) -> Tensor:
            answer = network(call).clone()
            for number, row in enumerate(call.rows):
                hit = row.branch == "negative" or self.place == "every branch"
                if hit and (row.image, row.step) == (LOST, STEP):
                    answer[number] = torch.inf
            return answer

        return asked if self.place in ("network", "every branch") else network

    def denoise(self, denoise: Denoise) -> Denoise:
        def around(x: Tensor, point: Any) -> Tensor:
            x0 = denoise(x, point)
            return poisoned(x0) if point == self.grid[STEP] else x0

        return around if self.place == "around" else denoise

    def finish(self, x: Tensor) -> Tensor:
        return poisoned(x) if self.place == "finish" else x


class BadText(Conditioning):
    """Another condition beside the prompt's, of NaN for one image."""

    def encode(self, run: Run, branches: Sequence[str]) -> Any:
        class_labels = torch.zeros(len(SEEDS), 1)
        return {"negative": {"extra": poisoned(class_labels)}, "positive": {"extra": class_labels}}

    def bind(self, run: Run) -> RunHooks:
        class Adds(RunHooks):
            def network(self, network: Network) -> Network:
                def asked(call: Call) -> Tensor:
                    condition = dict(call.condition)
                    extra = condition.pop("extra")
                    return network(call._replace(condition=condition)) + extra[:, :, None, None]

                return asked

        return Adds()


class BadGuidance(Guidance):
    def bind(self, run: Run) -> Bound:
        inner = classifier_free().bind(run)

        def combine(outputs: Mapping[str, Tensor], at: Evaluation) -> Tensor:
            made = inner.combine(outputs, at)
            return poisoned(made, -torch.inf) if at.point == run.grid[STEP] else made

        return replace(inner, combine=combine)


def plain_euler(x: Tensor, grid: Grid, denoise: Denoise, noise: Any) -> Tensor:
    return euler(x, grid, denoise, noise)


def bad_scheduler(x: Tensor, grid: Grid, denoise: Denoise, noise: Any) -> Tensor:
    x = poisoned(euler(x, grid[: STEP + 1], denoise, noise))
    return euler(x, grid[STEP:], denoise, noise)


def bad_end(x: Tensor, grid: Grid, denoise: Denoise, noise: Any) -> Tensor:
    return poisoned(euler(x, grid, denoise, noise))


def bad_decoder(pipe: Pipeline) -> Callable[..., Any]:
    inner = pipe.composition.decoder

    def decode(model: Any, x0: Tensor) -> Any:
        data = inner.decode(model, x0)
        return poisoned(data) if len(data) == len(SEEDS) else data

    return decode


def cases(pipe: Pipeline) -> dict[str, tuple[dict[str, Any], str, int | None]]:
    def beside(part: Conditioning) -> dict[str, Any]:
        return {"conditioning": ["text", part]}

    return {
        "network": (beside(Poison("network")), "the network's answer (negative)", STEP + 1),
        "condition": (beside(BadText()), "the conditions of the negative branch ('extra'", None),
        "guidance": ({"guidance": BadGuidance()}, "guidance", STEP + 1),
        "around": (beside(Poison("around")), "what surrounds the denoiser", STEP + 1),
        "finish": (beside(Poison("finish")), "what the conditioning makes of the last x", None),
        "scheduler": ({"scheduler": bad_scheduler}, "the scheduler", STEP),
        "end": ({"scheduler": bad_end}, "the scheduler", 4),
        "decoder": ({"decoder": bad_decoder(pipe)}, "the decoder", None),
    }


@pytest.mark.parametrize("output_type", ["pil", "np", "pt", "latent"])
@pytest.mark.parametrize(
    "case",
    ["network", "condition", "guidance", "around", "finish", "scheduler", "end", "decoder"],
)
def test_one_is_named_and_the_others_are_what_they_were(
    pipe: Pipeline, case: str, output_type: str
) -> None:
    if case == "decoder" and output_type == "latent":
        pytest.skip("nothing is decoded")
    changes, what, step = cases(pipe)[case]
    sound: dict[str, Any] = {"scheduler": plain_euler} if "scheduler" in changes else {}
    call: dict[str, Any] = {"seed": SEEDS, "output_type": output_type}
    prompts = ["a red star", "a blue circle", "a"]
    right = pipe.replace(**sound)(prompts, **call)
    with pytest.raises(NotFiniteError, match=f"the image of seed {SEEDS[LOST]} ") as caught:
        pipe.replace(**sound | changes)(prompts, **call)
    [failure] = caught.value.failures
    assert (failure.index, failure.seed) == (LOST, SEEDS[LOST])
    assert failure.what.startswith(what)
    assert (failure.step, failure.steps) == (step, 4)
    assert failure.manifest["inputs"]["prompt"] == "a blue circle"
    output = caught.value.output
    assert (output.seeds, output.indices) == ([3, 5], [0, 2])
    assert [m["inputs"]["prompt"] for m in output.manifests] == ["a red star", "a"]
    for kept, index in zip(output.images, (0, 2), strict=True):
        expected = right.images[index]
        assert np.array_equal(np.asarray(kept), np.asarray(expected)), index


@pytest.mark.parametrize(
    "guidance",
    [
        "adaptive_projected",
        "cfg_pp",
        "cfg_zero_star",
        "dynamic_threshold",
        "perturbed_attention",
        "smoothed_energy",
        {"name": "classifier_free", "rescale": 0.7},
    ],
    ids=str,
)
def test_no_guidance_spreads_it_to_other_images(pipe: Pipeline, guidance: Any) -> None:
    chosen = pipe.replace(guidance=guidance, conditioning=["text", Poison("every branch")])
    sound = pipe.replace(guidance=guidance)("a", seed=SEEDS, output_type="latent")
    with pytest.raises(NotFiniteError) as caught:
        chosen("a", seed=SEEDS, output_type="latent")
    assert [(f.seed, f.step) for f in caught.value.failures] == [(4, STEP + 1)]
    assert caught.value.output.images.equal(sound.images[[0, 2]])


@pytest.mark.parametrize("scheduler", ["unipc", "heun", "dpmpp_2m_sde", "torchdiffeq:dopri5"])
def test_no_scheduler_spreads_it_to_other_images(pipe: Pipeline, scheduler: str) -> None:
    """An adaptive one takes the steps that the other images want."""
    chosen = pipe.replace(scheduler=scheduler)
    sound = chosen("a", seed=SEEDS, output_type="latent").images[[0, 2]]
    bad = chosen.replace(conditioning=["text", Poison("network")])
    with pytest.raises(NotFiniteError) as caught:
        bad("a", seed=SEEDS, output_type="latent")
    assert [f.seed for f in caught.value.failures] == [4]
    made = caught.value.output.images
    assert (made - sound).abs().max() <= (0.1 * sound.abs().max() if ":" in scheduler else 0)


@pytest.mark.parametrize(
    "case", ["network", "condition", "guidance", "around", "finish", "scheduler", "end", "decoder"]
)
def test_where_looking_would_wait_it_is_found_at_the_end(
    pipe: Pipeline, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: sizes are kept until the run is done, and say the same."""
    changes, what, step = cases(pipe)[case]
    monkeypatch.setattr("ldm_core.run.finite._at_once", lambda values: False)
    with pytest.raises(NotFiniteError) as caught:
        pipe.replace(**changes)(["a red star", "a blue circle", "a"], seed=SEEDS)
    [failure] = caught.value.failures
    assert failure.what.startswith(what)
    assert (failure.index, failure.step, failure.steps) == (LOST, step, 4)


def test_each_batch_keeps_its_own_and_places_count_through(pipe: Pipeline) -> None:
    bad = pipe.replace(conditioning=["text", Poison("network")])
    outputs = list(bad.batches("a", seed=[7, 8, 9, 10, 11], batch_size=2))
    assert [output.seeds for output in outputs] == [[7], [9], [11]]
    joined = Output.join(outputs)
    assert [(f.index, f.seed) for f in joined.failures] == [(1, 8), (3, 10)]
    assert joined.indices == [0, 2, 4]
    lost = pipe.replace(decoder=lambda model, x0: torch.full((len(x0), 3, 16, 16), torch.nan))
    parts = [*lost.batches("a", seed=1, output_type="np"), *pipe.batches("a", output_type="np")]
    assert Output.join(parts).images.shape == (1, 16, 16, 3)


def test_a_walk_in_which_nothing_is_left_ends(pipe: Pipeline) -> None:
    calls = []

    def network(call: Call) -> Tensor:
        calls.append(call.rows[0].step)
        return torch.full_like(call.x, torch.nan)

    class Nothing(Poison):
        def bind(self, run: Run) -> RunHooks:
            hooks = RunHooks()
            hooks.network = lambda _: network  # type: ignore[method-assign]
            return hooks

    with pytest.raises(NotFiniteError) as caught:
        pipe.replace(conditioning=["text", Nothing("")])("a", seed=SEEDS)
    assert calls == [0]
    assert [f.what for f in caught.value.failures] == ["the network's answer (negative)"] * 3
    assert caught.value.output.images == []
    assert "So did 3 of 3 images" in caught.value.message


@pytest.fixture
def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights go bad after they were looked at."""
    from ldm_plugins.families.shared import component

    monkeypatch.setattr(component, "check_finite", lambda what, tensors: None)
    monkeypatch.setattr(component, "check_finite_as_read", lambda what, tensors, files: None)


@pytest.mark.usefixtures("unlooked")
def test_weights_that_are_not_finite_are_named(copied: Path) -> None:
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"][0, 0, 0, 0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    pipe = Pipeline.from_pretrained(copied, num_inference_steps=3)
    with pytest.raises(NotFiniteError, match=r"'conv_out.weight' of the unet") as caught:
        pipe("a", seed=1)
    assert caught.value.failures[0].step == 1
    for steps in (pipe.stream("a", seed=1), chain(pipe, pipe, at=0.5).stream("a", seed=1)):
        with pytest.raises(NotFiniteError, match=r"at step 1 of 3"):
            list(steps)


def test_a_chain_counts_steps_through(pipe: Pipeline) -> None:
    """Its second pipeline goes wrong at its own third step, which is the chain's fifth."""
    bad = pipe.replace(conditioning=["text", Poison("network")])
    both = chain(pipe, bad, at=0.5)
    with pytest.raises(NotFiniteError) as caught:
        both("a", seed=SEEDS, num_inference_steps=8)
    [failure] = caught.value.failures
    assert (failure.step, failure.steps) == (4 + STEP + 1, 8)
    assert [len(m["chain"]) for m in caught.value.output.manifests] == [2, 2]
    assert len(failure.manifest["chain"]) == 2


@pytest.mark.parametrize("scale", [1e30, 1e38])
def test_guidance_out_of_all_bounds_is_the_likely_cause(pipe: Pipeline, scale: float) -> None:
    with pytest.raises(NotFiniteError, match=r"a guidance scale of 1e\+3[08] is far beyond"):
        pipe("a", seed=1, guidance_scale=scale)


def test_half_precision_is_the_likely_cause(pipe: Pipeline, folder: Path) -> None:
    half = Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype="bfloat16")
    bad = half.replace(scheduler=bad_end)
    with pytest.raises(NotFiniteError, match=r"compute in bfloat16, .* compute_dtype='float32'"):
        bad("a", seed=SEEDS, num_inference_steps=3)


def test_what_an_encoder_gives_is_finite(pipe: Pipeline) -> None:
    inner = pipe.composition.encoder

    def encode(model: Any, data: Tensor, noise: Any) -> Tensor:
        return poisoned(inner.encode(model, data, noise), image=len(data) - 1)

    bad = pipe.replace(encoder=encode)
    pictures = torch.rand(3, 3, 16, 16)
    with pytest.raises(NotFiniteError, match="of entry 2 of 3") as caught:
        bad.encode(pictures)
    assert caught.value.output.equal(pipe.encode(pictures)[:2])
    from_picture = bad.replace(conditioning=["text", "image"])
    with pytest.raises(NotFiniteError) as caught:
        from_picture("a", seed=1, image=pictures[0], strength=0.5)
    assert caught.value.failures[0].what == "the encoder's latents"


def test_a_decoder_says_what_is_not_finite(pipe: Pipeline) -> None:
    bad = pipe.replace(decoder=bad_decoder(pipe))
    with pytest.warns(LdmWarning, match=r"the decoder gave images .* entry 1 of 3"):
        pixels = bad.decode(torch.zeros(3, 4, 8, 8))
    assert pixels.flatten(1).isfinite().all(1).tolist() == [True, False, True]
    with pytest.raises(NotFiniteError, match="make no image"):
        from_pixels(pixels, "pil")


def test_what_belongs_to_a_medium_is_finite_too(pipe: Pipeline) -> None:
    def decode(model: Any, x0: Tensor) -> Medium:
        sound = torch.zeros(len(x0), 1, 8)
        beside = Medium("audio", poisoned(sound), rate=8)
        return Medium("image", torch.zeros(len(x0), 3, 16, 16), beside=(beside,))

    with pytest.raises(NotFiniteError) as caught:
        pipe.replace(decoder=decode)("a", seed=SEEDS)
    assert [f.seed for f in caught.value.failures] == [4]
    assert [len(b.images) for b in caught.value.output.beside] == [2]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"scheduler": lambda x, grid, denoise, noise: x * 1e9}, "the final latents have a root"),
        ({"guidance": {"scale": 1e9}, "denoisers": ["clip_x0"]}, "estimates of x0 on the way"),
    ],
    ids=["the end", "clipped"],
)
def test_a_picture_of_black_and_white_alone_is_said(
    pipe: Pipeline, change: dict[str, Any], what: str
) -> None:
    with pytest.warns(LdmWarning, match=what):
        out = pipe.replace(**change)("a", seed=1, output_type="latent")
    assert out.images.isfinite().all()


@pytest.fixture
def bad_folder(copied: Path, unlooked: None) -> Path:
    """A model that draws the words of `prompts` except those that hold one token, whose embedding
    is not finite."""
    file = copied / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    name = next(n for n in weights if n.endswith("token_embedding.weight"))
    from transformers import CLIPTokenizer

    tokens = CLIPTokenizer.from_pretrained(copied / "tokenizer")("z").input_ids
    plain = CLIPTokenizer.from_pretrained(copied / "tokenizer")("a").input_ids
    weights[name][[t for t in tokens if t not in plain]] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    return copied


def test_the_command_line_writes_the_others_and_ends_with_1(
    ldm: Any, bad_folder: Path, tmp_path: Path
) -> None:
    arguments = ["--model", bad_folder, "--seed", 1, "--steps", 2, "--batch-size", 2]
    code, out, err = ldm("generate", "a", "z", "a", *arguments)
    assert code == 1
    assert len(out.splitlines()) == 2
    assert err.count("error:") == 1
    assert "the image of seed 2 came out not finite" in err
    assert "the conditions of the positive branch ('text', of prompt" in err
    assert "token_embedding.weight' of the text_encoder" in err
    assert sorted(read_png(p)[1]["seed"] for p in (tmp_path / "pictures").iterdir()) == [1, 3]

    code, out, err = ldm("generate", "a", "z", *arguments, "--json", "--out", "second")
    assert code == 1
    right, wrong = map(json.loads, out.splitlines())
    assert (right["seed"], "error" in right) == (1, False)
    assert (wrong["seed"], wrong["prompt"]) == (2, "z")
    assert "not finite" in wrong["error"]
    assert (wrong["step"], wrong["steps"]) == (None, 2)
    code, out, err = ldm("generate", "z", *arguments, "--out", "third")
    assert (code, out) == (1, "")
    assert not [*(tmp_path / "third").iterdir()]


def test_a_data_set_lists_what_is_there(ldm: Any, bad_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("prompt\na\nz\na\n")
    code, _, err = ldm(
        "augment", "--model", bad_folder, "--steps", 2, "--table", "table.csv", "--out", "data"
    )
    assert code == 1
    assert "1 of 3 pictures are missing" in err
    lines = (tmp_path / "data" / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(line)["file_name"] for line in lines] == ["000000.png", "000002.png"]
    assert sorted(p.name for p in (tmp_path / "data").glob("*.png")) == ["000000.png", "000002.png"]


@pytest.fixture
def bad_encoder(copied: Path, unlooked: None) -> Path:
    file = copied / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["encoder.conv_in.bias"][0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    return copied


@pytest.mark.parametrize(
    "command",
    [
        ["image-to-image", "p.png", "a"],
        ["inpaint", "p.png", "a", "--mask-box", "0,0,8,8"],
        ["outpaint", "p.png", "a", "--right", "16"],
        ["upscale", "p.png", "a"],
        ["restore", "p.png", "a", "--strength", "0.5"],
        ["blend", "p.png", "p.png", "a"],
        ["invert", "p.png"],
        ["interpolate", "--images", "p.png", "--images", "p.png"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_makes_a_picture_of_what_is_not_finite(
    ldm: Any, bad_encoder: Path, tmp_path: Path, command: list[str]
) -> None:
    Image.new("RGB", (16, 16), "red").save(tmp_path / "p.png")
    code, out, err = ldm(*command, "--model", bad_encoder, "--steps", 2, "--json", "--seed", 7)
    assert code == 1, err
    assert "'encoder.conv_in.bias' of the vae" in err
    assert [json.loads(line)["seed"] for line in out.splitlines()] == [7]
    assert not [*tmp_path.glob("pictures/*.png")]


def test_features_keeps_the_files_that_are_right(
    ldm: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for name, colour in (("a", "red"), ("b", "black"), ("c", "blue")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "in" / f"{name}.png")
    right = AutoencoderKL.encode

    def encode(module: Any, data: Tensor) -> Any:
        answer = right(module, data)
        answer.latent_dist.mean[data.flatten(1).amax(1) == -1] = torch.nan
        return answer

    monkeypatch.setattr(AutoencoderKL, "encode", encode)
    command = ("features", "in", "--model", folder, "--out")
    code, out, err = ldm(*command, "f.safetensors")
    assert (code, out) == (1, "")
    assert "of b.png; 'f.safetensors' holds the other 2" in " ".join(err.split())
    assert sorted(load_file(tmp_path / "f.safetensors")) == ["a.png", "c.png"]
    (tmp_path / "in" / "a.png").unlink()
    (tmp_path / "in" / "c.png").unlink()
    code, out, err = ldm(*command, "none.safetensors")
    assert (code, out) == (1, "")
    assert "of every file; nothing is written" in " ".join(err.split())
    assert not (tmp_path / "none.safetensors").exists()


@pytest.mark.usefixtures("unlooked")
def test_replay_of_a_model_that_became_bad_writes_nothing(
    ldm: Any, copied: Path, tmp_path: Path
) -> None:
    code, out, _ = ldm("generate", "a", "--model", copied, "--steps", 2, "--seed", 1)
    assert code == 0
    file = copied / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.bias"][0] = torch.inf
    save_file(weights, file, metadata={"format": "pt"})
    code, _, err = ldm("replay", out.strip(), "--out", "again", "--allow-files")
    assert code == 1
    assert "'conv_out.bias' of the unet" in err
    assert not [*(tmp_path / "again").iterdir()]
