"""Programs of OpenVINO that are kept: what the next start reads, and when it must not."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ldm_core import Pipeline
from ldm_core.errors import LdmWarning
from ldm_plugins.converters.shared import kept_programs
from ldm_plugins.converters.shared.graph_cache import put_in_place
from ldm_plugins.converters.shared.mapped_weights import in_one_file
from ldm_plugins.converters.shared.programs import Programs
from peers import apart
from tiny.lora import write_lora

pytest.importorskip("openvino")

FAR = 1e-5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_with(0, tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def first(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first start leaves."""
    cache = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_programs, "LEAST", 1)
        assert error(network_of(saved), cache) < FAR
    return cache


@pytest.fixture
def cache(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "cache"))


def saved_with(seed: int, folder: Path) -> Path:
    torch.manual_seed(seed)
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(64,),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    network.save_pretrained(folder)
    return folder


def network_of(folder: Path) -> Any:
    network: Any = UNet2DModel.from_pretrained(folder)
    return network.eval().requires_grad_(False)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether what was compiled was kept. The networks here are smaller than those that would be
    for what it saves."""
    kept: list[bool] = []
    own = kept_programs._keep

    def counted(*args: Any) -> bool:
        kept.append(own(*args))
        return kept[-1]

    monkeypatch.setattr(kept_programs, "LEAST", 1)
    monkeypatch.setattr(kept_programs, "_keep", counted)
    return kept


@torch.no_grad()
def error(network: Any, cache: Path, rows: int = 1, dtype: str = "float32") -> float:
    """How far a new start's answer is from torch's."""
    x = torch.randn(rows, 3, 8, 8, generator=torch.Generator().manual_seed(rows))
    (own,) = network(x, torch.tensor(500.0), return_dict=False)
    programs = Programs(network, dtype, cache)
    return apart(programs(x, torch.tensor(500.0), return_dict=False)[0], own)


def test_the_next_start_reads_what_the_first_kept(
    saved: Path, cache: Path, compilations: list[bool]
) -> None:
    assert error(network_of(saved), cache) < FAR
    assert compilations == []
    assert error(network_of(saved), cache, rows=2) < FAR
    assert 1e-7 < error(network_of(saved), cache, dtype="bfloat16") < 0.03
    assert compilations == [True] * 2
    assert error(network_of(saved), cache, rows=2) < FAR
    assert compilations == [True] * 2
    programs = [*cache.rglob("program.bin")]
    assert len(programs) == 3
    weights = (saved / "diffusion_pytorch_model.safetensors").stat().st_size
    assert max(program.stat().st_size for program in programs) < weights


def test_other_numbers_are_another_program(
    saved: Path, cache: Path, tmp_path: Path, compilations: list[bool]
) -> None:
    """Of another file, or a weight that has left the file."""
    other = saved_with(1, tmp_path / "other")

    def replaced() -> Any:
        network = network_of(saved)
        network.conv_in.weight = nn.Parameter(network.conv_in.weight * 1.1, requires_grad=False)
        return network

    for _ in range(2):
        for network in (network_of(saved), network_of(other), replaced()):
            assert error(network, cache) < FAR
    assert compilations == [True] * 2


def test_weights_that_were_written_to_are_not_taken_for_the_files(
    saved: Path, cache: Path, compilations: list[bool]
) -> None:
    network = network_of(saved)
    network.conv_out.weight.data.view(-1)[0] += 1  # of which no counter of torch's tells
    assert in_one_file(dict(network.named_parameters())) is None
    assert error(network, cache) < FAR
    assert compilations == []


def test_a_file_that_was_replaced_is_not_taken_for_the_weights(
    cache: Path, tmp_path: Path, compilations: list[bool]
) -> None:
    folder = saved_with(0, tmp_path / "network")
    assert error(network_of(folder), cache) < FAR  # a copy's program is the same
    network = network_of(folder)
    other = saved_with(1, tmp_path / "other") / "diffusion_pytorch_model.safetensors"
    other.rename(folder / other.name)
    assert error(network, cache) < FAR
    assert compilations == []
    assert error(network_of(folder), cache) < FAR
    assert compilations == [True]


@pytest.mark.parametrize("what", ["bit", "empty", "list", "missing"])
def test_a_damaged_program_is_made_anew(
    saved: Path, cache: Path, compilations: list[bool], what: str
) -> None:
    (program,) = cache.rglob("program.bin")
    data = bytearray(program.read_bytes())
    data[len(data) // 2] ^= 1
    if what == "missing":
        program.unlink()
        assert error(network_of(saved), cache) < FAR
    else:
        damaged = program.with_name("about.json") if what == "list" else program
        damaged.write_bytes({"empty": b"", "list": b"[]"}.get(what, bytes(data)))
        with pytest.warns(LdmWarning, match="program in .* cannot be read, and is made anew"):
            assert error(network_of(saved), cache) < FAR
    assert error(network_of(saved), cache) < FAR
    assert compilations == [True]


def test_the_ones_used_last_stay(
    saved: Path,
    cache: Path,
    tmp_path: Path,
    compilations: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each file so many, and of all in so many bytes."""
    monkeypatch.setattr(kept_programs, "MOST", 2)
    for rows in (2, 1, 3, 1):
        assert error(network_of(saved), cache, rows) < FAR
    assert compilations == [True] * 2
    assert len([*cache.rglob("program.bin")]) == 2
    assert error(network_of(saved), cache, 2) < FAR
    assert compilations == [True] * 3
    others = [saved_with(seed, tmp_path / str(seed)) for seed in (1, 2)]
    for other in (*others, saved, *others):
        assert error(network_of(other), cache) < FAR
    assert compilations == [True] * 5
    assert len([*cache.rglob("program.bin")]) == 4
    size = max(file.stat().st_size for file in cache.rglob("program.bin"))
    monkeypatch.setattr(kept_programs, "BYTES", 2.5 * size)
    assert error(network_of(others[0]), cache, 2) < FAR
    assert len([*cache.rglob("program.bin")]) == 2
    assert error(network_of(others[1]), cache) < FAR
    assert compilations == [True] * 6
    monkeypatch.setattr(kept_programs, "BYTES", 1)
    assert error(network_of(others[0]), cache, 3) < FAR
    assert len([*cache.rglob("program.bin")]) == 1


def test_a_lora_on_a_kept_program(folder: Path, tmp_path: Path, compilations: list[bool]) -> None:
    """At its scale, in the next start, at another and without: what torch and Diffusers draw."""
    pytest.importorskip("peft")
    targets = {"unet": ["to_q", "to_v"]}
    file = write_lora(StableDiffusionPipeline, folder, tmp_path / "ink", targets, seed=1)
    openvino = {"name": "openvino", "cache": str(tmp_path / "cache"), "parts": ["network"]}
    call: dict[str, Any] = {"prompt": "a red star", "seed": 3, "num_inference_steps": 2}
    expected = {
        scale: diffusers_latents(folder, [(file, scale)] if scale else [], call)
        for scale in (None, 1.0, 0.3)
    }
    for scale, programs in ((1.0, 1), (1.0, 1), (0.3, 2), (None, 3), (0.3, 3)):
        loras = [f"{file}:{scale}"] if scale else []
        pipe = Pipeline.from_pretrained(folder, loras=loras, converters=[openvino])
        drawn = pipe(**call, output_type="latent").images
        assert apart(drawn, expected[scale]) < 1e-4, scale
        assert compilations == [True] * programs, scale
    assert apart(expected[1.0], expected[0.3]) > 1e-3


def diffusers_latents(folder: Path, loras: list[Any], call: dict[str, Any]) -> Tensor:
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    for file, scale in loras:
        pipeline.load_lora_weights(str(file), adapter_name="ink")
        pipeline.set_adapters(["ink"], [scale])
    found = pipeline(
        call["prompt"],
        num_inference_steps=call["num_inference_steps"],
        generator=[torch.Generator().manual_seed(call["seed"])],
        output_type="latent",
    ).images
    return torch.as_tensor(found)


def test_two_starts_at_once(saved: Path, cache: Path, compilations: list[bool]) -> None:
    errors: list[float] = []
    networks = [network_of(saved) for _ in range(2)]  # Diffusers' reading is for one thread alone
    starts = [
        threading.Thread(target=lambda own=own: errors.append(error(own, cache, 2)))
        for own in networks
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(errors) == 2
    assert max(errors) < FAR
    assert all(compilations)
    assert len([*cache.rglob("program.bin")]) == 2


def test_weights_elsewhere_are_not_kept(
    saved: Path, cache: Path, compilations: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are many, or all."""
    assert error(network_of(saved).to(torch.float64).to(torch.float32), cache) < FAR
    monkeypatch.setattr(kept_programs, "OTHERS", 2**10)
    network = network_of(saved)
    network.conv_in.weight = nn.Parameter(network.conv_in.weight * 1.1, requires_grad=False)
    assert error(network, cache) < FAR
    assert compilations == []


def test_one_that_was_put_in_place_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, folder = tmp_path / "part", tmp_path / "folder"
    part.mkdir()
    folder.mkdir()
    (folder / "about.json").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **options: None)  # it came after that
    put_in_place(part, folder)
    assert part.is_dir()
    (folder / "about.json").rename(folder / "else")
    with pytest.raises(OSError, match="not empty"):
        put_in_place(part, folder)


def test_where_weights_lie(tmp_path: Path) -> None:
    """As the file's own header says."""
    file = tmp_path / "a b.safetensors"
    tensors = {"a": torch.randn(3, 5), "b": torch.randn(7), "c": torch.ones(4, dtype=torch.int64)}
    save_file(tensors, file)
    loaded: dict[str, Tensor] = load_file(file)
    loaded["own"], loaded["turned"] = torch.randn(3), loaded["a"].T
    lie = in_one_file(loaded)
    assert lie is not None
    assert lie.file == file
    assert lie.offsets.keys() == {"a", "b"}
    data = file.read_bytes()
    for name, offset in lie.offsets.items():
        assert data[offset : offset + tensors[name].nbytes] == tensors[name].numpy().tobytes()
    file.rename(tmp_path / "elsewhere")
    assert not lie.there
    assert in_one_file({"own": torch.randn(3)}) is None
