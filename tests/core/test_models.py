"""Model folders: found by name, checked before any weight is read, hashed by content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.model.files import find_model, model_hash
from ldm_core.plugins.registry import installed

UNET = "unet/diffusion_pytorch_model.safetensors"


def refuses(model: Path | str, message: str) -> None:
    with pytest.raises(LdmError, match=message):
        compose({"model": str(model)}, installed())


def test_truncated_weights(copied: Path) -> None:
    file = copied / UNET
    file.write_bytes(file.read_bytes()[:-1000])
    refuses(copied, "cut off or damaged")


def test_weights_cut_in_the_header(copied: Path) -> None:
    (copied / UNET).write_bytes((copied / UNET).read_bytes()[:100])
    refuses(copied, "cut off")


def test_a_broken_header(copied: Path) -> None:
    data = bytearray((copied / UNET).read_bytes())
    data[8:12] = b"\x00\xff{{"
    (copied / UNET).write_bytes(data)
    refuses(copied, "broken safetensors header")


def test_pickled_weights(copied: Path) -> None:
    (copied / UNET).rename(copied / "unet" / "diffusion_pytorch_model.bin")
    refuses(copied, "pickled weights")


def test_no_weights(copied: Path) -> None:
    (copied / UNET).unlink()
    refuses(copied, "has no weights")


def test_a_missing_component(copied: Path) -> None:
    (copied / "vae" / "config.json").unlink()
    refuses(copied, "lacks vae/config.json")


def test_broken_json(copied: Path) -> None:
    (copied / "model_index.json").write_text("{")
    refuses(copied, "cannot be read as JSON")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    refuses(tmp_path, "no model_index.json")


def test_a_model_of_another_family(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))
    refuses(copied, r"(?s)OtherPipeline.*plugins list --kind family")


def test_another_network_class(copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    index["unet"] = ["diffusers", "UNet3DConditionModel"]
    (copied / "model_index.json").write_text(json.dumps(index))
    refuses(copied, "unet should be a UNet2DConditionModel")


def test_a_network_and_a_text_encoder_that_do_not_fit(copied: Path) -> None:
    config = json.loads((copied / "text_encoder" / "config.json").read_text())
    (copied / "text_encoder" / "config.json").write_text(json.dumps({**config, "hidden_size": 48}))
    refuses(copied, "width 32.*gives 48")


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    refuses("./nowhere", "no folder or file './nowhere'")
    file = tmp_path / "model.txt"
    file.write_bytes(b"")
    refuses(file, "a file of another kind")


def test_a_hub_id_without_the_hub() -> None:
    refuses("nobody/nothing", "no folder here, and the Hub did not give it")


def test_the_hash_is_of_contents_and_not_of_the_place(folder: Path, copied: Path) -> None:
    assert model_hash(folder) == model_hash(copied)
    config = copied / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert model_hash(folder) != model_hash(copied)


def test_weights_in_half_precision_alone_are_read(copied: Path) -> None:
    (copied / UNET).rename(copied / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert Pipeline.from_pretrained(copied).model.parts["unet"].module is not None


def test_only_what_the_index_names_is_fetched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the Hub library's own filter, on the files of a repository like Stable Diffusion 3's."""
    asked: dict[str, Any] = {}

    def snapshot_download(hub_id: str, **patterns: Any) -> str:
        asked.update(patterns)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, name: str(folder / name))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert find_model("owner/model", installed()) == folder
    wanted = [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "text_encoder/model.safetensors",
    ]
    others = [
        "v1-5.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/model.fp16-00001-of-00002.safetensors",
        "text_encoders/t5xxl.safetensors",
        "safety_checker/model.safetensors",
        "README.md",
    ]
    found = huggingface_hub.utils.filter_repo_objects(wanted + others, **asked)
    assert list(found) == wanted
    find_model("owner/model", installed(), weights=False)
    found = huggingface_hub.utils.filter_repo_objects(wanted + others, **asked)
    assert list(found) == [name for name in wanted if not name.endswith(".safetensors")]
