"""What code under check may not change for the others of its process while it is used."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module

from ldm_core.conformance.package.state import changes, put_back_into, state

SHARED = ("random_state", "default_dtype", "torch_settings")
"""What of `state` a call may not change either, beside hooks and threads."""
HOOKS: Mapping[str, Any] = {
    "forward hooks": module._global_forward_hooks,
    "forward pre-hooks": module._global_forward_pre_hooks,
}


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Under this seed of Python's, NumPy's and torch's own generators, which are then as before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def untouched(where: str = "") -> Iterator[None]:
    """See that what all code of a process shares is the same after as before; random streams begin
    where nobody would seed them, and all is put back.

    Args:
        where: for the message, as ``on a toy model``.
    Raises:
        AssertionError: what has changed.
    """
    with global_seed(90210), torch.no_grad():
        before, hooks, threads = state(), {k: {*v} for k, v in HOOKS.items()}, _threads()
        said: list[str] = []
        try:
            with put_back_into(said):
                yield
            after = state()
            left = {k: {*v} - hooks[k] for k, v in HOOKS.items()}
            more = _threads() - threads
        finally:
            _put_back(hooks)
    said[:0] = [text for name, text in changes(before, after).items() if name in SHARED]
    said += [
        f"{len(keys)} global {name} of modules are left" for name, keys in left.items() if keys
    ]
    said += [f"the thread {thread.name} is left" for thread in more]
    assert not said, f"{where} it changes what all share: {'; '.join(said)}".strip()


def _put_back(hooks: Mapping[str, set[Any]]) -> None:
    for name, kept in hooks.items():
        for key in {*HOOKS[name]} - kept:
            del HOOKS[name][key]


def _threads() -> set[threading.Thread]:
    """Those that live, but for the one of tqdm's progress bars."""
    return {t for t in threading.enumerate() if type(t).__name__ != "TMonitor"}
