"""Two pipelines with different kernels in two threads, on one set of weights."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
import torch

from ldm_core import Pipeline
from ldm_core.contracts import Step
from ldm_core.run.attention import as_in_context, in_force
from ldm_plugins.attention.chunked import chunked

CALL: dict[str, Any] = {"num_inference_steps": 4, "output_type": "latent"}


class Kernel:
    """Attention that counts its calls and remembers in which threads they were made."""

    def __init__(self) -> None:
        self.calls = 0
        self.threads: set[int] = set()

    def __call__(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        self.calls += 1
        self.threads.add(threading.get_ident())
        return self.compute(q, k, v, mask, scale)

    def compute(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale
        )


class Chunked(Kernel):
    def compute(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        return chunked(q, k, v, mask, scale, key_chunk=3)


class Averaging(Kernel):
    """Not attention at all: a layer that it reached is seen to give something else."""

    def compute(self, q: Any, k: Any, v: Any, mask: Any, scale: float) -> Any:
        return v.mean(dim=-2, keepdim=True).expand(*q.shape[:-1], -1).contiguous()


@pytest.mark.parametrize("other", [Chunked, Averaging])
def test_each_thread_has_its_own_kernel_and_its_own_images(
    pipe: Pipeline, other: type[Kernel]
) -> None:
    kinds = (Kernel, other)
    alone = [kind() for kind in kinds]
    pipes = [pipe.replace(attention=kernel) for kernel in alone]
    expected = [p("a red star", seed=7, **CALL).images for p in pipes]
    together = [kind() for kind in kinds]
    turn = threading.Barrier(2, timeout=300)

    def draw(kernel: Kernel) -> Any:
        def meet(step: Step) -> None:
            turn.wait()  # both are between two steps of theirs, so the runs do overlap

        return pipe.replace(attention=kernel)("a red star", seed=7, on_step=meet, **CALL).images

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(draw, together))
    for image, same in zip(found, expected, strict=True):
        assert image.equal(same)
    assert not found[0].equal(found[1])
    for kernel, before in zip(together, alone, strict=True):
        assert kernel.calls == before.calls > 0
        assert len(kernel.threads) == 1
    assert together[0].threads != together[1].threads


def test_a_kernel_in_force_in_one_thread_is_not_in_another(pipe: Pipeline) -> None:
    kernel = Averaging()
    expected = pipe("a red star", seed=7, **CALL).images
    with in_force(kernel), ThreadPoolExecutor(1) as threads:
        found = threads.submit(lambda: pipe("a red star", seed=7, **CALL).images).result()
    assert kernel.calls == 0
    assert found.equal(expected)


def test_runs_of_two_threads_on_one_pipeline_do_not_mix(pipe: Pipeline) -> None:
    """Noise, conditions and a scheduler's history belong to a run."""
    made = pipe.replace(scheduler="dpmpp_2m_sde")
    seeds = [1, 2, 3, 4]
    expected = [made(f"star {seed}", seed=seed, **CALL).images for seed in seeds]
    with ThreadPoolExecutor(4) as threads:
        found = list(
            threads.map(lambda seed: made(f"star {seed}", seed=seed, **CALL).images, seeds)
        )
    assert all(image.equal(same) for image, same in zip(found, expected, strict=True))


def test_threads_share_a_tokenizer(pipe: Pipeline) -> None:
    """A fast tokenizer keeps its padding as a state, which measuring a prompt takes away."""
    ability = pipe.model.abilities["text"]
    prompts = ["a red star", "a large blue circle on a green background"]
    right = ability.encode(prompts)["text"]
    stop = threading.Event()

    def measure() -> None:
        while not stop.is_set():
            ability.overflow(prompts[1])

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    found = [ability.encode(prompts)["text"] for _ in range(200)]
    stop.set()
    for thread in threads:
        thread.join()
    assert all(states.equal(right) for states in found)


def test_a_thread_that_works_for_another_enters_all_of_its_kernels() -> None:
    """One within the other, as guidance has an attention of its own around the pipeline's."""
    outer, inner = Kernel(), Kernel()
    q = torch.zeros(1, 1, 2, 4)

    def attend() -> None:
        with as_in_context():
            torch.nn.functional.scaled_dot_product_attention(q, q, q)
        torch.nn.functional.scaled_dot_product_attention(q, q, q)  # outside of it again

    with in_force(outer), in_force(inner):
        context = copy_context()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(context.run, attend).result()
    assert (outer.calls, inner.calls) == (1, 1)
    with in_force(outer):
        attend()
    assert (outer.calls, inner.calls) == (4, 1)
