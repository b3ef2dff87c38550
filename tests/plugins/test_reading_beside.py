"""What a thread that reads a model leaves to the others: torch as it was.

A reader is held while it builds a network; what another thread makes then is what torch makes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ldm_core import Pipeline
from ldm_core.model.own_dtype import OwnDtype
from ldm_core.model.own_thread import protect, registering
from tiny.lora import write_lora

INIT, REGISTER = dict(vars(nn.init)), nn.Module.register_parameter
TIMEOUT = 60


@contextmanager
def held_while(read: Callable[[], Any], gives: str) -> Iterator[Any]:
    """A thread that reads, held where a module of a class is given a part; once the block ends it
    goes on, and what it read is in the list that the block gets."""
    reached, go_on = threading.Event(), threading.Event()
    read_then: list[Any] = []

    def hold(parent: nn.Module, name: str, child: Any) -> None:
        if gives in (type(parent).__name__, name) and not reached.is_set():
            reached.set()
            assert go_on.wait(TIMEOUT)

    def reader() -> Any:
        with registering(hold):
            return read()

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(reader)
        try:
            while not reached.wait(0.05):
                assert not answer.done(), answer.result()
            yield read_then
        finally:
            go_on.set()
        read_then.append(answer.result())


def made() -> list[Tensor]:
    """What this thread makes of torch, from first weights to numbers of no type that is said."""
    torch.manual_seed(0)
    layer, mean = nn.Linear(3, 4), nn.BatchNorm1d(3)
    layer.extra = nn.Parameter(torch.ones(2))
    values = [torch.tensor(0.1), torch.arange(3) / 3, torch.zeros(2), torch.randn(2)]
    return [*layer.parameters(), *mean.parameters(), *mean.buffers(), *values]


def is_as_usual(usual: list[Tensor]) -> None:
    for now, then in zip(made(), usual, strict=True):
        assert now.dtype is then.dtype
        assert not now.is_meta
        assert now.equal(then)
    assert nn.Module.register_parameter is REGISTER
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize("gives", ["UNet2DConditionModel", "CLIPTextModel", "AutoencoderKL"])
def test_what_is_made_while_a_model_is_read(folder: Path, gives: str) -> None:
    usual = made()
    half = {"dtype": "bfloat16", "compute_dtype": "bfloat16"}
    with held_while(lambda: Pipeline.from_pretrained(folder, **half), gives) as read:
        is_as_usual(usual)
    assert {weight.dtype for weight in weights_of(read[0])} == {torch.bfloat16}
    assert not any(weight.is_meta for weight in weights_of(read[0]))
    assert vars(nn.init) == INIT


def weights_of(pipe: Pipeline) -> list[Tensor]:
    modules = [part.module for part in pipe.model.parts.values()]
    return [w for m in modules if isinstance(m, nn.Module) for w in m.parameters()]


def test_what_is_made_while_a_lora_is_put_into_a_network(
    pipe: Pipeline, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline

    usual = made()
    file = write_lora(StableDiffusionPipeline, folder, tmp_path, {"unet": ["to_q"]}, seed=1)
    with held_while(lambda: pipe.replace(loras=[str(file)]), "lora_A") as read:
        is_as_usual(usual)
    assert not any(weight.is_meta for weight in weights_of(read[0]))


def test_two_who_read_by_diffusers_at_once(folder: Path) -> None:
    """Without a lock of ours, each begins before the other ends, and ends in the order in which it
    began: what the second would put back is then the first's."""
    from diffusers import UNet2DConditionModel

    protect()
    usual = made()

    def read() -> Any:
        return UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float16)

    with held_while(read, "UNet2DConditionModel") as first:
        second = held_while(read, "UNet2DConditionModel")
        read_then = second.__enter__()
        is_as_usual(usual)
    is_as_usual(usual)
    second.__exit__(None, None, None)
    is_as_usual(usual)
    assert vars(nn.init) == INIT
    for network in (*first, *read_then):
        assert {w.dtype for w in network.parameters()} == {torch.float16}
        assert not any(w.is_meta for w in network.parameters())


MADE: list[Callable[[], Any]] = [
    lambda: torch.empty(2).dtype,
    lambda: torch.linspace(0, 1, 7),
    lambda: torch.arange(0, 1, 0.3),
    lambda: torch.arange(5),
    lambda: torch.tensor([0.1, 2]),
    lambda: torch.tensor([1, 2]),
    lambda: torch.tensor(torch.ones(2, dtype=torch.float64)).dtype,
    lambda: torch.full((2,), 0.1),
    lambda: torch.full((2,), 1),
    lambda: 1.0 / (10000 ** (torch.arange(0, 8, 2) / 8)),
    lambda: torch.arange(3) * 0.1 + torch.arange(3),
    lambda: torch.arange(3).float() / 3,
    lambda: torch.arange(3, dtype=torch.float32).sqrt(),
    lambda: torch.arange(3).sqrt(),
    lambda: torch.outer(torch.arange(3), torch.arange(2) / 3),
    lambda: nn.Linear(2, 2).weight.dtype,
    lambda: nn.Embedding(2, 2, dtype=torch.float32).weight.dtype,
]


@pytest.mark.parametrize("number", range(len(MADE)))
@pytest.mark.filterwarnings("ignore:To copy construct")
def test_a_type_of_a_threads_own_is_torchs_default_there(number: int) -> None:
    with OwnDtype(torch.bfloat16):
        own = MADE[number]()
        with OwnDtype(torch.float32):
            within = MADE[number]()
    torch.set_default_dtype(torch.bfloat16)
    try:
        expected = MADE[number]()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in ((own, expected), (within, MADE[number]())):
        if isinstance(other, Tensor):
            assert one.dtype is other.dtype
            torch.testing.assert_close(one, other)
        else:
            assert one is other
