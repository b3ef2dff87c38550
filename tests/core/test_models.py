"""Model folders: found by name, checked before any weight is read, hashed by content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmError
from ldm_core.model.files import find_model, model_hash
from ldm_core.model.lora import find_loras
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
    refuses("sd15.safetensors", "no folder or file 'sd15.safetensors'")
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


WEIGHTS = {
    "full": ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"],
    "full in shards": [
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "text_encoder/model.safetensors",
    ],
    "fp16 alone": [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
    ],
    "bf16 alone": [
        "unet/diffusion_pytorch_model.bf16.safetensors",
        "text_encoder/model.bf16.safetensors",
    ],
    "fp16 in shards": [
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
        "text_encoder/model-00001-of-00001.fp16.safetensors",
        "text_encoder/model.safetensors.index.fp16.json",
    ],
    "each as it is": [
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.fp16.safetensors",
    ],
}
CONFIGS = ["model_index.json", "unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"]
ELSE = [
    "v1-5.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/openvino_model.xml",
    "text_encoders/t5xxl.safetensors",
    "safety_checker/model.safetensors",
    "README.md",
]


class PlayedHub:
    """The Hub's library on a repository of these files, by the library's own filter."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names
        self.fetched: list[str] = []
        self.revisions: set[str | None] = set()

    def file(self, hub_id: str, name: str, revision: str | None = None) -> str:
        self.revisions.add(revision)
        if name not in self.names:
            raise huggingface_hub.errors.EntryNotFoundError(name)
        self.fetched.append(name)
        return str(self.folder / name)

    def info(self, hub_id: str, revision: str | None = None, **more: Any) -> Any:
        self.revisions.add(revision)
        return Mock(siblings=[Mock(rfilename=name) for name in self.names])

    def snapshot(self, hub_id: str, revision: str | None = None, **patterns: Any) -> str:
        self.revisions.add(revision)
        chosen = huggingface_hub.utils.filter_repo_objects(self.names, **patterns)
        self.fetched = list(chosen)
        return str(self.folder)


def played(monkeypatch: pytest.MonkeyPatch, folder: Path, names: list[str]) -> PlayedHub:
    hub = PlayedHub(folder, names)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.file)
    monkeypatch.setattr(huggingface_hub, "model_info", hub.info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot)
    return hub


@pytest.mark.parametrize("held", WEIGHTS)
def test_only_what_the_index_names_is_fetched(
    held: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the files of a repository like Stable Diffusion 3's; a half precision where there is no
    full one."""
    worse = WEIGHTS["fp16 alone"] if held.startswith("full") else []
    hub = played(monkeypatch, folder, [*CONFIGS, *WEIGHTS[held], *worse, *ELSE])
    assert find_model("owner/model", installed()) == folder
    assert sorted(hub.fetched) == sorted([*CONFIGS, *WEIGHTS[held]])
    find_model("owner/model", installed(), weights=False)
    assert sorted(hub.fetched) == sorted(CONFIGS)


@pytest.mark.parametrize("revision", ["v1.5", "fp16", "0123abc", "refs/pr/3", "my/branch"])
def test_a_revision_is_asked_of_the_hub_at_every_turn(
    revision: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = played(monkeypatch, folder, [*CONFIGS, *WEIGHTS["full"]])
    find_model(f"owner/model@{revision}", installed())
    assert hub.revisions == {revision}


def test_a_repository_without_safetensors_says_what_it_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, folder, [*CONFIGS, "unet/diffusion_pytorch_model.bin"])
    refuses("owner/model", r"unet has no safetensors weights.*diffusion_pytorch_model.bin")


def test_without_the_network_it_is_what_the_cache_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = played(monkeypatch, folder, CONFIGS)

    def unreachable(*args: Any, **options: Any) -> None:
        raise huggingface_hub.errors.OfflineModeIsEnabled("no network")

    def cached(hub_id: str, local_files_only: bool = False, **more: Any) -> str:
        assert local_files_only, "the network is asked"
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert find_model("owner/model", installed()) == folder
    assert hub.fetched == []


def test_what_the_hub_answers_is_said_though_the_cache_holds_something(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, folder, CONFIGS)

    def gated(*args: Any, **options: Any) -> None:
        raise huggingface_hub.errors.GatedRepoError("accept its licence", response=Mock())

    monkeypatch.setattr(huggingface_hub, "model_info", gated)
    with pytest.raises(LdmError, match="accept its licence"):
        find_model("owner/model", installed())


def shards(folder: Path, variant: str | None, legacy: bool = False) -> None:
    """The network's weights in several files, as Diffusers saves them, or named as it once did."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    (folder / UNET).unlink()
    unet.save_pretrained(folder / "unet", variant=variant, max_shard_size="60KB")
    if legacy:
        index = next((folder / "unet").glob("*.index.*json"))
        old = rf"\.{variant}(-\d+-of-\d+)"
        index.write_text(re.sub(old, rf"\1.{variant}", index.read_text()))
        for file in (folder / "unet").glob("*-of-*"):
            file.rename(file.with_name(re.sub(old, rf"\1.{variant}", file.name)))


@pytest.mark.parametrize(
    ("variant", "legacy"),
    [(None, False), ("fp16", False), ("fp16", True), ("bf16", False), ("bf16", True)],
)
def test_weights_in_shards_are_read(
    variant: str | None, legacy: bool, folder: Path, copied: Path
) -> None:
    shards(copied, variant, legacy)
    weights, whole = (
        Pipeline.from_pretrained(f).model.parts["unet"].module.state_dict()
        for f in (copied, folder)
    )
    assert weights.keys() == whole.keys()
    assert all(torch.equal(weights[name], whole[name]) for name in whole)


def test_bfloat16_files_alone_are_read_and_full_ones_come_first(copied: Path) -> None:
    file = copied / UNET
    full = load_file(file)
    doubled = {name: (tensor * 2).bfloat16() for name, tensor in full.items()}
    save_file(doubled, file.with_suffix(".bf16.safetensors"), metadata={"format": "pt"})
    for times in (1, 2):
        bias = Pipeline.from_pretrained(copied).model.parts["unet"].module.conv_out.bias
        expected = full["conv_out.bias"] if times == 1 else doubled["conv_out.bias"].float()
        assert torch.equal(bias, expected)
        file.unlink(missing_ok=True)


def test_a_shard_that_is_missing_or_of_another_model(copied: Path) -> None:
    shards(copied, None)
    part = next((copied / "unet").glob("*00002-of*"))
    state = load_file(part)
    save_file({"another": torch.zeros(1)}, part)
    refuses(copied, f"{part.name} lacks {min(state)}|{part.name} lacks .*, which")
    part.unlink()
    refuses(copied, f"lacks {part.name}, one of the")
    next((copied / "unet").glob("*.index.json")).unlink()
    refuses(copied, "and no index of them")


def test_a_variant_that_is_not_read_is_named(copied: Path) -> None:
    (copied / UNET).rename((copied / UNET).with_suffix(".non_ema.safetensors"))
    refuses(copied, r"no weights under a name that is read: .*non_ema")


class MovingHub:
    """Repositories whose branches lie at commits, as in the Hub's cache without the network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.branches: dict[str | None, str] = {}

    def snapshot(self, hub_id: str, revision: str | None = None, **more: Any) -> str:
        return str(self.root / "snapshots" / self.branches.get(revision, str(revision)))

    def file(self, hub_id: str, name: str, revision: str | None = None, **more: Any) -> str:
        return str(Path(self.snapshot(hub_id, revision)) / name)

    def info(self, hub_id: str, **more: Any) -> None:
        raise huggingface_hub.errors.OfflineModeIsEnabled("no network")


@pytest.fixture
def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHub:
    hub = MovingHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.file)
    monkeypatch.setattr(huggingface_hub, "model_info", hub.info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot)
    return hub


def test_a_picture_of_a_branch_is_replayed_at_its_commit(ldm: Any, moving: MovingHub) -> None:
    first, second = "a" * 40, "b" * 40
    tiny.write_stable_diffusion(moving.root / "snapshots" / first)
    other = tiny.write_stable_diffusion(moving.root / "snapshots" / second)
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: 1.1 * v for k, v in load_file(weights).items()}, weights, {"format": "pt"})
    moving.branches["main"] = first
    run = ("generate", "a red star", "--model", "o/m@main", "--steps", 1, "--seed", 1)
    code, out, _ = ldm(*run)
    assert code == 0
    moving.branches["main"] = second
    code, again, err = ldm("replay", out.strip())
    asked = f"the manifest asks for o/m@{first} of the Hub, from its cache\n"
    assert (code, err) == (0, asked)
    assert "pixel for pixel" in again
    assert ldm(*run)[1] != out
    assert "pixel for pixel" not in ldm("replay", out.strip(), "--model", "o/m@main")[1]


def test_a_lora_in_the_cache_is_found_without_the_network(moving: MovingHub) -> None:
    folder = moving.root / "snapshots" / "c"
    folder.mkdir(parents=True)
    pair = {
        "unet.x.lora.down.weight": torch.zeros(1, 2),
        "unet.x.lora.up.weight": torch.zeros(2, 1),
    }
    save_file(pair, folder / "any.safetensors")
    moving.branches[None] = "c"
    (lora,) = find_loras([{"path": "o/l", "scale": 1.0}])
    assert lora.file == folder / "any.safetensors"
