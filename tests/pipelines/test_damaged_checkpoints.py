"""A checkpoint that is not what was written is never gone on from, and two trainings never share
a folder."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ldm_core.errors import LdmError, MachineError
from ldm_core.media.held import LOCK, held
from ldm_pipelines.training import checkpoint
from ldm_pipelines.training.commands import alone
from ldm_pipelines.training.ema import Ema

SETTINGS = {"steps": 9, "learning_rate": 0.1}
TENSORS = ("weights.safetensors", "optimizer.safetensors", "average.safetensors")
FILES = (*TENSORS, "state.json")


class Run:
    """A small network with its optimizer, some updates on."""

    def __init__(self, updates: int = 2) -> None:
        torch.manual_seed(updates)
        self.module = nn.Conv2d(3, 2, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=0.1, fused=True)
        self.ema = Ema(dict(self.module.named_parameters()), 0.9)
        for step in range(updates):
            self.module(torch.ones(1, 3, 5, 5)).square().mean().backward()
            self.optimizer.step()
            self.ema.update(dict(self.module.named_parameters()), step)

    def save(self, folder: Path, step: int) -> None:
        checkpoint.save(folder, step=step, **self.parts())

    def restore(self, folder: Path) -> int:
        return checkpoint.restore(folder, **self.parts())

    def parts(self) -> dict[str, Any]:
        own = {"module": self.module, "optimizer": self.optimizer, "ema": self.ema}
        return {"settings": SETTINGS, **own}

    def tensors(self) -> list[Tensor]:
        states = sorted(self.optimizer.state_dict()["state"].items())
        kept = [state[name] for _, state in states for name in sorted(state)]
        every = [*self.module.state_dict().values(), *kept, *self.ema.average.values()]
        return [value.clone() for value in every]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def tensors(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    """A file whose tensors are others, as if it had been written so."""

    def damage(path: Path) -> None:
        several = load_file(path)
        change(several)
        save_file(several, path)
        state = json.loads((path.parent / "state.json").read_text())
        del state["sha256"]  # as of a checkpoint of an earlier release
        (path.parent / "state.json").write_text(json.dumps(state))

    return damage


def first(several: dict[str, Tensor]) -> str:
    return next(name for name, value in sorted(several.items()) if value.ndim > 1)


def other_shape(several: dict[str, Tensor]) -> None:
    several[first(several)] = torch.zeros(1, 2)


def other_type(several: dict[str, Tensor]) -> None:
    several[first(several)] = several[first(several)].half()


def not_finite(several: dict[str, Tensor]) -> None:
    several[first(several)].view(-1)[0] = float("nan")


def one_less(several: dict[str, Tensor]) -> None:
    del several[first(several)]


def one_more(several: dict[str, Tensor]) -> None:
    several["7.exp_avg"] = torch.zeros(2)


CASES = [(file, damage) for file in FILES for damage in (cut, gone, empty, garbage, folder)]
CASES += [(file, one_bit) for file in TENSORS]
CASES += [
    (file, tensors(change))
    for file in TENSORS
    for change in (other_shape, other_type, not_finite, one_less, one_more)
]


@pytest.mark.parametrize(("name", "damage"), CASES)
@pytest.mark.parametrize("whole_before", [False, True])
def test_a_damaged_file_is_named_and_nothing_is_taken_over(
    tmp_path: Path, name: str, damage: Callable[[Path], None], whole_before: bool
) -> None:
    place, fresh = tmp_path / "checkpoint", Run(1)
    Run(3).save(place, 3)
    if whole_before:
        shutil.copytree(place, tmp_path / "checkpoint.old")
    before = fresh.tensors()
    damage(place / name)
    with pytest.raises(LdmError) as error:
        fresh.restore(place)
    said = str(error.value)
    assert said.startswith(f"the checkpoint's file '{place / name}' is damaged: ")
    assert "--no-resume" in said
    assert ("rename 'checkpoint.old' to 'checkpoint'" in said) == whole_before
    assert all(map(torch.equal, before, fresh.tensors()))
    if whole_before:
        shutil.rmtree(place)
        (tmp_path / "checkpoint.old").rename(place)
        assert fresh.restore(place) == 3


STATES: list[Any] = [
    {"step": -1},
    {"step": 10},
    {"step": 1.5},
    {"step": True},
    {"step": "3"},
    {"step": None},
    {"settings": None},
    {"settings": [1]},
    {"settings": "x"},
    {"sha256": 3},
    {"sha256": {"weights.safetensors": 3}},
]


@pytest.mark.parametrize("change", STATES, ids=str)
def test_a_state_of_wrong_types_is_damage(tmp_path: Path, change: dict[str, Any]) -> None:
    place = tmp_path / "checkpoint"
    Run(3).save(place, 3)
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps({**state, **change}))
    with pytest.raises(LdmError, match=r"the checkpoint's file .* is damaged"):
        Run(1).restore(place)


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, "\ud800", '{"step": 1e999}'])
def test_a_state_that_is_no_table_is_damage(tmp_path: Path, text: str) -> None:
    place = tmp_path / "checkpoint"
    Run(3).save(place, 3)
    (place / "state.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(LdmError, match=r"state.json' is damaged"):
        Run(1).restore(place)


def test_a_whole_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    run, other = Run(3), Run(1)
    run.save(tmp_path / "checkpoint", 3)
    assert other.restore(tmp_path / "checkpoint") == 3
    assert all(map(torch.equal, run.tensors(), other.tensors()))


@pytest.mark.parametrize("file", FILES)
def test_a_full_disk_leaves_the_checkpoint_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    place = tmp_path / "checkpoint"
    Run(2).save(place, 2)
    write, text = checkpoint.save_file, Path.write_text

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        if path.name == file:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(tensors, path)

    def full_text(self: Path, *data: Any, **more: Any) -> int:
        if self.name == file:
            raise OSError(28, "No space left on device")
        return text(self, *data, **more)

    monkeypatch.setattr(checkpoint, "save_file", full)
    monkeypatch.setattr(Path, "write_text", full_text)
    with pytest.raises(MachineError, match="cannot be written: No space left on device"):
        Run(3).save(place, 3)
    monkeypatch.undo()
    assert Run(1).restore(place) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_two_trainings_never_share_a_folder(ldm: Any, tmp_path: Path) -> None:
    run = ("train", "autoencoder", "--resolution", 16, "--steps", 1, "--out", "out")
    with held(tmp_path / "out"):
        code, _, err = ldm(*run)
    assert code == 2
    assert f"another run is writing into 'out': process {os.getpid()} on " in err
    assert not (tmp_path / "out").exists()


def test_a_start_removes_what_kills_left(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    Run(2).save(place, 2)
    for name in ("checkpoint.new", "checkpoint.old", ".ldm-0123456789abcdef.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(b"half")
    (tmp_path / LOCK).write_text("process 1 on nowhere\n")
    with alone(tmp_path):
        checkpoint.tidy(place)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Run(1).restore(place) == 2
