"""Read the autoencoder and write the trained model as a folder in Diffusers' format."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError, NotFiniteError

SCHEDULE: dict[str, Any] = {  # Rombach et al. 2022, arXiv:2112.10752, as their released models
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
PREDICTION = "v_prediction"


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which at the end takes the place of `folder` and what was there.

    A symbolic link of that name is replaced itself, and what it points to stays as it is.
    """
    from ldm_core.media.partial import partial_folder, to_disk

    folder.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(folder.parent) as fresh, partial_folder(folder.parent) as earlier:
        yield fresh
        for file in fresh.rglob("*"):
            if file.is_file():
                to_disk(file)
        with suppress(FileNotFoundError):
            folder.rename(earlier / folder.name)
        fresh.rename(folder)


def fingerprint(folder: Path, part: str = "*") -> str:
    """SHA-256 over the weights of a part of a model folder, or of all, in hexadecimal.

    Raises:
        LdmError: there are none.
    """
    from ldm_core.model.files import file_hash  # it is not needed to list the commands
    from ldm_core.model.weight_files import find_weights

    digest = hashlib.sha256()
    components = (place for place in folder.glob(part) if (place / "config.json").is_file())
    parts = sorted(place for place in components if any(place.glob("*.safetensors")))
    if not parts:
        raise LdmError(f"no weights (*.safetensors) in {folder / part}.")
    for place in parts:
        for name in sorted(find_weights(place).names):
            digest.update(file_hash(place / name).encode())
    return digest.hexdigest()


def read_autoencoder(folder: Path) -> Any:
    """The autoencoder that ``ldm train autoencoder`` left in ``folder/vae``, float32, frozen.

    Raises:
        LdmError: there is none, or it is not whole; a pickled one is never read.
    """
    import torch
    from diffusers import AutoencoderKL

    from ldm_core.model.from_folder import read_module
    from ldm_core.model.loading import check_finite

    if not (folder / "vae" / "config.json").exists():
        raise LdmError(
            f"no autoencoder in {folder / 'vae'}; "
            f"make one with `ldm train autoencoder --out {folder}`"
        )
    what = f"the autoencoder in {folder / 'vae'}"
    vae = read_module(what, folder / "vae", AutoencoderKL, True, torch_dtype=torch.float32)
    check_finite(what, vae.state_dict())
    return vae.eval().requires_grad_(False)


def write_stable_diffusion(
    folder: Path, autoencoder: Path, text_encoder: Any, tokenizer: Any, unet: Any
) -> None:
    """Write float16 safetensors that `diffusers.StableDiffusionPipeline` loads, all at once.

    Args:
        folder: where the model is to lie; an old one is replaced.
        autoencoder: folder whose ``vae`` is copied.
    Raises:
        LdmError: a weight does not fit into float16.
    """
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    networks = {"text_encoder": text_encoder, "unet": unet}
    _write_folder(folder, autoencoder, networks, index, tokenizer)


def write_dit(folder: Path, autoencoder: Path, transformer: Any, labels: Sequence[str]) -> None:
    """Write float16 safetensors that `diffusers.DiTPipeline` loads, all at once.

    Args:
        labels: names of the classes, in order.
        folder, autoencoder: as in `write_stable_diffusion`.
    Raises:
        LdmError: a weight does not fit into float16.
    """
    index = {
        "_class_name": "DiTPipeline",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "transformer": ["diffusers", "DiTTransformer2DModel"],
    }
    _write_folder(folder, autoencoder, {"transformer": transformer}, index)


def write_animatediff(
    folder: Path,
    autoencoder: Path,
    text_encoder: Any,
    tokenizer: Any,
    unet: Any,
    schedule: Mapping[str, Any],
) -> None:
    """Write float16 safetensors that `diffusers.AnimateDiffPipeline` loads, all at once.

    Args:
        schedule: the betas of the training, in the words of a scheduler's config.
        folder, autoencoder: as in `write_stable_diffusion`.
    Raises:
        LdmError: a weight does not fit into float16.
    """
    index = {
        "_class_name": "AnimateDiffPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "motion_adapter": [None, None],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNetMotionModel"],
    }
    networks = {"text_encoder": text_encoder, "unet": unet}
    _write_folder(folder, autoencoder, networks, index, tokenizer, schedule)


def _write_folder(
    folder: Path,
    autoencoder: Path,
    networks: Mapping[str, Any],
    index: Mapping[str, Any],
    tokenizer: Any = None,
    schedule: Mapping[str, Any] = SCHEDULE,
) -> None:
    import diffusers

    with new_folder(folder) as fresh:
        for name, network in networks.items():
            halved(network).save_pretrained(fresh / name)
            if name == "text_encoder":
                load_as_float32(fresh / name / "config.json")
        shutil.copytree(autoencoder / "vae", fresh / "vae")
        if tokenizer is not None:
            tokenizer.save_pretrained(fresh / "tokenizer")
        diffusers.DDIMScheduler(
            **schedule,
            prediction_type=PREDICTION,
            timestep_spacing="trailing",
            clip_sample=False,
            set_alpha_to_one=True,
            steps_offset=1,
        ).save_pretrained(fresh / "scheduler")
        whole = {
            **index,
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", "DDIMScheduler"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        (fresh / "model_index.json").write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")


def halved(network: Any) -> Any:
    """A network in float16, on the CPU.

    Raises:
        NotFiniteError: a weight is not finite, or too large for that.
    """
    network = network.to("cpu").half()
    for name, weight in network.state_dict().items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise NotFiniteError(
                f"'{name}' does not fit into float16; no model is written.",
                "the training has diverged; a smaller learning rate may help.",
            )
    return network


def load_as_float32(config: Path) -> None:
    """Have Transformers load in float32, as Diffusers does, and not in the stored float16."""
    settings = json.loads(config.read_text())
    settings["dtype"] = "float32"
    config.write_text(json.dumps(settings, indent=2) + "\n")
