"""What a scheduler may neither read nor leave behind: checks of `kinds.scheduler`."""

from __future__ import annotations

import random

import numpy as np
import torch

from ldm_core.conformance.checks import Subject, check
from ldm_core.conformance.package.state import state
from ldm_core.conformance.traces import untouched
from ldm_core.conformance.walks import SEEDS, SHAPES, Walked, apart, runs


@check("scheduler")
def global_seed(subject: Subject) -> str:
    """Noise comes from ``noise()`` alone: under another global seed it ends at the same x, and it
    leaves the global streams where they are."""

    def see(walked: Walked, steps: int) -> None:
        ends = []
        kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            for seed in (2, 1, 1):
                random.seed(seed)
                np.random.seed(seed)
                torch.manual_seed(seed)
                before = state()["random_state"]
                ends.append(walked.run(steps))
                drawn = state()["random_state"] != before
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])
            torch.set_rng_state(kept[2])
        other, first, again = ends
        assert other.equal(first) or not first.equal(again), (
            f"under another global seed it ends {apart(other, first):.2g} away; it may draw from "
            "noise() alone"
        )
        assert not drawn, "it draws from a global random stream; it may draw from noise() alone"

    return runs(subject, (5,), see)


@check("scheduler")
def repeats(subject: Subject) -> str:
    """It keeps nothing from one walk to the next: walked again it ends at the same x."""

    def see(walked: Walked, steps: int) -> None:
        first = walked.run(steps)
        walked.run(3, SHAPES[0], SEEDS[:1])
        again = walked.run(steps)
        assert first.equal(again), (
            f"walked once more it ends {apart(first, again):.2g} away; it keeps something between"
        )

    return runs(subject, (5,), see)


@check("scheduler")
def shared_state(subject: Subject) -> str:
    """It leaves what all code of a process shares as it was: random streams, torch's settings,
    whether gradients are kept, hooks and threads."""

    def see(walked: Walked, steps: int) -> None:
        with untouched():
            walked.run(steps)

    return runs(subject, (5,), see)
