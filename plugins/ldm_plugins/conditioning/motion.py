"""How much moves in a video that begins with a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm_core.contracts import Condition, Conditioning, Input, Request, Run
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_number

INPUTS = {
    "motion_bucket_id": Input(
        float, 127.0, help="how much is to move, from 0 to 255 in training; more is more"
    ),
    "noise_aug_strength": Input(
        float, 0.02, help="noise added to the picture; the more, the less the video keeps to it"
    ),
}
LIMITS = {"motion_bucket_id": 10_000.0, "noise_aug_strength": 1_000.0}


def motion() -> Conditioning:
    """Micro-conditioning on motion (Blattmann et al. 2023, arXiv:2311.15127, Appendix D): the
    network is told for each video how much is to move, ``motion_bucket_id`` (127), and how much
    noise was added to the picture that it goes on from, ``noise_aug_strength`` (0.02), which is
    drawn from the video's seed. What the frames' rate is, the conditioning ``frame_rate`` says."""
    return Motion()


class Motion(Conditioning):
    @property
    def ability(self) -> str:
        return "motion"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        for name, most in LIMITS.items():
            for value in request.inputs[name]:
                check_between(name, value, most)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``motion``, (batch, 2), motion and noise, for all branches."""
        import torch

        rows = zip(*(run.request.inputs[name] for name in INPUTS), strict=True)
        told = torch.tensor([*rows], dtype=torch.float32, device=run.device)
        return {branch: {"motion": told} for branch in branches}


def check_between(name: str, value: Any, most: float) -> None:
    """Raise `LdmError` for what is no number from 0 to `most`."""
    if not is_number(value) or not 0 <= value <= most:
        raise LdmError(f"{name} should be a number from 0 to {most:g}, not {brief(value)}.")
