"""Whatever a model folder names, nothing in it is unpickled: by every loader, and every command."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.io import wavfile
from typer.main import get_command

import tiny
from audited import audited
from ldm_core import LdmError, Pipeline
from ldm_core.cli.main import make_app
from ldm_core.composition.compose import compose
from ldm_core.model.files import model_hash
from ldm_core.plugins.registry import installed
from ldm_pipelines.training.folder import read_autoencoder
from ldm_pipelines.training.warm_start import take_weights
from tiny.single_file import write_single_file

UNPICKLED: list[Any] = []
CALL: dict[str, Any] = {"seed": 1, "num_inference_steps": 2, "output_type": "latent"}


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        UNPICKLED.append(args)


@pytest.fixture(autouse=True)
def no_pickles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever unpickles errs, and is heard of even where that error is caught."""

    def refuse(*args: Any, **options: Any) -> NoReturn:
        UNPICKLED.append(args)
        raise AssertionError("something is unpickled")

    class Refusing(pickle.Unpickler):  # libraries make classes of it when they are imported
        __init__ = refuse  # type: ignore[assignment]

    for module, name in (
        (torch, "load"),
        (torch.serialization, "load"),
        (pickle, "load"),
        (pickle, "loads"),
    ):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(pickle, "Unpickler", Refusing)
    UNPICKLED.clear()
    with audited(_hear):
        yield
    assert UNPICKLED == []


class Mark:
    """A pickle that makes a folder when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.place),)


def decoy(component: Path, index: str | None = None, target: str = "w.bin") -> None:
    """An index in a component's folder that names a pickle, beside the component's own weights."""
    (component / "w.bin").write_bytes(pickle.dumps(Mark(component / "unpickled")))
    own = next(component.glob("*.safetensors"))
    table = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(load_file(own), target)}
    stem = own.name.removesuffix(".safetensors")
    (component / (index or f"{stem}.safetensors.index.json")).write_text(json.dumps(table))
    if index is None:  # the libraries prefer different ones of the two
        own.rename(component / f"{stem}-00001-of-00001.safetensors")


def weighty(folder: Path) -> list[Path]:
    return sorted({file.parent for file in folder.rglob("*.safetensors")})


@pytest.mark.parametrize("kind", ["Stable Diffusion", "SDXL", "LDM", "LDM text", "DiT"])
def test_an_index_that_names_a_pickle_is_refused_in_every_component(
    kind: str, tmp_path: Path
) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    for component in weighty(folder):
        before = {file: file.read_bytes() for file in component.iterdir()}
        decoy(component)
        with pytest.raises(LdmError, match=r"names w\.bin, a pickled file"):
            Pipeline.from_pretrained(folder)
        assert not (component / "unpickled").exists()
        for file in component.iterdir():
            file.unlink()
        for file, content in before.items():
            file.write_bytes(content)
    Pipeline.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["PixArt alpha", "SD 3", "Flux dev", "DDPM"])
def test_so_it_is_in_transformers_and_t5(kind: str, tmp_path: Path) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    for component in weighty(folder):
        decoy(component)
        with pytest.raises(LdmError, match=r"names w\.bin, a pickled file"):
            compose({"model": str(folder)}, installed())
        (component / "w.bin").unlink()
        for index in component.glob("*.index.json"):
            index.unlink()
        part = next(component.glob("*-of-*.safetensors"))
        part.rename(component / part.name.replace("-00001-of-00001", ""))


@pytest.mark.parametrize(
    ("index", "other"),
    [
        ("diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json"),
        ("model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"),
        ("diffusion_pytorch_model.safetensors.index.json", "model.safetensors"),
    ],
)
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_two_indexes_of_which_one_is_clean(part: str, index: str, other: str, copied: Path) -> None:
    component = copied / part
    own = next(component.glob("*.safetensors"))
    decoy(component, index)
    if other.endswith(".json"):
        table = {"metadata": {}, "weight_map": dict.fromkeys(load_file(own), own.name)}
        (component / other).write_text(json.dumps(table))
    elif not (component / other).exists():
        own.rename(component / other)
    with pytest.raises(LdmError, match=r"under two names|a pickled file"):
        Pipeline.from_pretrained(copied)


@pytest.mark.parametrize(
    "target",
    ["../w.safetensors", "/tmp/w.safetensors", "a/w.safetensors", ".w.safetensors", "w.txt", ""],
)
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_an_index_names_files_beside_it_alone(target: str, part: str, copied: Path) -> None:
    decoy(copied / part, target=target)
    with pytest.raises(LdmError, match="should name safetensors files beside it"):
        Pipeline.from_pretrained(copied)


def test_a_part_that_is_a_link_out_of_the_folder(copied: Path, tmp_path: Path) -> None:
    component = copied / "unet"
    decoy(component, target="part.safetensors")
    part = next(component.glob("*-of-*.safetensors"))
    elsewhere = part.rename(tmp_path / "other.safetensors")
    (component / "part.safetensors").symlink_to(elsewhere)
    with pytest.raises(LdmError, match="outside of its folder"):
        Pipeline.from_pretrained(copied)


def test_parts_that_are_links_as_in_the_hubs_cache_are_read(
    copied: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    copied.rename(snapshot)
    decoy(snapshot / "unet", target="diffusion_pytorch_model-00001-of-00001.safetensors")
    (tmp_path / "models--a--b" / "blobs").mkdir()
    for number, file in enumerate(sorted((snapshot / "unet").glob("*-of-*.safetensors"))):
        blob = file.rename(tmp_path / "models--a--b" / "blobs" / str(number))
        file.symlink_to(blob)
    (snapshot / "unet" / "w.bin").unlink()
    ours = Pipeline.from_pretrained(snapshot)("a red star", **CALL).images
    assert torch.equal(ours, pipe("a red star", **CALL).images)


def test_tensors_that_an_index_does_not_place(copied: Path) -> None:
    name = "diffusion_pytorch_model-00001-of-00001.safetensors"
    decoy(copied / "unet", target=name)
    part = copied / "unet" / name
    save_file({**load_file(part), "more": torch.zeros(1)}, part)
    with pytest.raises(LdmError, match=r"has more, which .* does not put there"):
        compose({"model": str(copied)}, installed())


def test_the_hash_is_of_the_parts_and_the_index_that_are_read(copied: Path) -> None:
    name = "diffusion_pytorch_model-00001-of-00001.safetensors"
    decoy(copied / "unet", target=name)
    hashes = [model_hash(copied)]
    for file in (copied / "unet" / name, next((copied / "unet").glob("*.index.json"))):
        file.write_bytes(file.read_bytes() + b" ")
        hashes.append(model_hash(copied))
    assert len(set(hashes)) == 3


def loaders(folder: Path, place: Path) -> dict[str, Callable[[], Any]]:
    """What reads weights beside the model's own, each from a folder in `place`."""
    control = ["text", {"name": "control", "models": [str(place)]}]
    prompt = {"name": "image_prompt", "path": str(place.with_name("ip.safetensors"))}
    encoder = {**prompt, "image_encoder": str(place)}
    picture = torch.zeros(3, 16, 16)
    return {
        "control": lambda: Pipeline.from_pretrained(folder, conditioning=control)(
            "a star", control_image=picture, **CALL
        ),
        "image_encoder": lambda: Pipeline.from_pretrained(folder, conditioning=["text", encoder])(
            "a star", prompt_image=picture, **CALL
        ),
        "autoguidance": lambda: Pipeline.from_pretrained(
            folder, guidance={"name": "autoguidance", "model": str(place)}
        )("a star", **CALL),
        "autoencoder of a training": lambda: read_autoencoder(place),
        "start of a training": lambda: take_weights(
            AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")), place, "vae"
        ),
    }


@pytest.mark.parametrize(
    ("loader", "write"),
    [
        ("control", tiny.write_controlnet),
        ("control", lambda place, folder: tiny.write_t2i_adapter(place)),
        ("image_encoder", lambda place, folder: tiny.write_image_encoder(place)),
        ("autoguidance", lambda place, folder: tiny.write_stable_diffusion(place)),
        ("autoencoder of a training", lambda place, folder: tiny.write_stable_diffusion(place)),
        ("start of a training", lambda place, folder: tiny.write_stable_diffusion(place)),
    ],
)
def test_what_is_read_beside_the_model(
    loader: str, write: Callable[[Path, Path], Any], folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "other"
    write(place, folder)
    tiny.write_ip_adapter(tmp_path / "ip.safetensors", folder)
    loaders(folder, place)[loader]()
    component = place / "vae" if (place / "vae").is_dir() else place
    decoy(component)
    with pytest.raises(LdmError, match=r"names w\.bin, a pickled file"):
        loaders(folder, place)[loader]()
    for file in [*component.glob("*.index.json"), *component.glob("*-of-*.safetensors")]:
        file.unlink()
    (component / "w.bin").rename(component / "diffusion_pytorch_model.bin")
    with pytest.raises(LdmError, match="holds pickled weights"):
        loaders(folder, place)[loader]()
    assert not (component / "unpickled").exists()


@pytest.mark.parametrize("kind", list(tiny.FOLDERS))
def test_every_family_draws_without(kind: str, tmp_path: Path) -> None:
    folder = tiny.FOLDERS[kind].write(tmp_path / "model")
    inputs = tiny.FOLDERS[kind].inputs_in(folder)
    assert Pipeline.from_pretrained(folder)(**inputs, **CALL).images.isfinite().all()


def test_single_files_and_loras_are_read_without(folder: Path, tmp_path: Path) -> None:
    file = write_single_file(folder, tmp_path / "model.safetensors")
    Pipeline.from_pretrained(file, model_config=str(folder))("a red star", **CALL)
    layer = "unet.mid_block.attentions.0.proj_in"
    down, up = torch.ones(2, 32, 1, 1), torch.ones(32, 2, 1, 1)
    weights = {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    config = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    width = config["mid_block.attentions.0.proj_in.weight"].shape[0]
    weights[f"{layer}.lora_A.weight"] = torch.ones(2, width, 1, 1)
    weights[f"{layer}.lora_B.weight"] = torch.ones(width, 2, 1, 1)
    save_file(weights, tmp_path / "lora.safetensors")
    Pipeline.from_pretrained(folder, loras=[str(tmp_path / "lora.safetensors")])(
        "a red star", **CALL
    )
    for name in ("lora.pt", "lora.bin", "lora.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(Mark(tmp_path / "unpickled")))
        with pytest.raises(LdmError, match="pickled file"):
            Pipeline.from_pretrained(folder, loras=[str(tmp_path / name)])


COMMANDS: dict[str, list[str]] = {
    "generate": ["a star"],
    "explain": [],
    "tune": ["a star", "--only", "chunked"],
    "augment": ["--out", "set", "--table", "rows.csv"],
    "blend": ["photo.png", "photo.png", "a star"],
    "class-to-image": ["--class", "1"],
    "compare": ["a star", "--over", "steps=1"],
    "evaluate": ["photo.png", "--reconstruction"],
    "converge": ["a star", "--steps", "1,2", "--reference", "4"],
    "features": ["pictures", "--out", "features.safetensors"],
    "image-to-image": ["photo.png", "a star"],
    "inpaint": ["photo.png", "mask.png", "a star"],
    "interpolate": ["a star", "a circle"],
    "invert": ["photo.png", "a star"],
    "outpaint": ["photo.png", "a star", "--left", "8"],
    "restore": ["photo.png", "a star"],
    "audio-to-audio": ["sound.wav", "a star"],
    "image-to-video": ["photo.png", "a star"],
    "text-to-audio": ["a star"],
    "text-to-image": ["a star"],
    "text-to-video": ["a star"],
    "video-to-video": ["video.gif", "a star"],
    "two-stages": ["a star", "--upsampler", "photo.png"],
    "unconditional": [],
    "upscale": ["photo.png", "a star"],
}
OTHERS = {"replay", "show", "plugins", "models", "recipe", "train", "ui"}
"""Those that name no model themselves; `ldm train` is called below."""


def test_every_command_is_called_here() -> None:
    assert {*get_command(make_app()).commands} == {*COMMANDS, *OTHERS}  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_a_pickle(command: str, ldm: Any, copied: Path, tmp_path: Path) -> None:
    decoy(copied / "unet")
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    Image.new("L", (16, 16), 255).save(tmp_path / "mask.png")
    Image.new("P", (16, 16)).save(tmp_path / "video.gif")
    wavfile.write(tmp_path / "sound.wav", 8000, np.zeros(800, np.int16))
    (tmp_path / "rows.csv").write_text("prompt\na star\n")
    code, out, err = ldm(command, *COMMANDS[command], "--model", copied)
    assert code == 2
    assert "pickled file" in err + out


@pytest.mark.parametrize("option", ["--autoencoder", "--from-model"])
def test_no_training_reads_a_pickle(option: str, ldm: Any, copied: Path, folder: Path) -> None:
    if option == "--from-model":  # of the size that the command trains
        shutil.rmtree(copied)
        shutil.copytree(Pipeline.from_pretrained("shapes").composition.info.folder, copied)
        folder = copied
        decoy(copied / "unet")
    else:
        decoy(copied / "vae")
    names = {"--autoencoder": folder, "--from-model": folder, option: copied}
    values = [str(word) for pair in names.items() for word in pair]
    code, out, err = ldm("train", "denoiser", "--out", "trained", "--steps", "1", *values)
    assert code == 2
    assert "pickled" in err + out


def test_what_unpickles_is_heard_of(tmp_path: Path) -> None:
    for unpickle in (pickle.loads, lambda data: torch.load(tmp_path / "w.bin")):
        with pytest.raises(AssertionError, match="something is unpickled"):
            unpickle(pickle.dumps(1))
    assert len(UNPICKLED) == 2
    UNPICKLED.clear()
