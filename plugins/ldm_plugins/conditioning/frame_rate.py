"""How fast the frames of a video follow one another, for networks that are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ldm_core.contracts import Condition, Conditioning, Run


def frame_rate() -> Conditioning:
    """Tell the network the frame rate that a call asks for, in frames a second; the model's own
    where it says none. So a network moves things as far from frame to frame as fits it."""
    return FrameRate()


class FrameRate(Conditioning):
    @property
    def ability(self) -> str:
        return "frame_rate"

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``frame_rate``, (batch,) frames a second, for all branches."""
        import torch

        asked = run.request.frame_rate
        rate = run.model.info.rate if asked is None else asked
        assert rate is not None  # a model with this ability has one
        rates = torch.full((len(run.request.seeds),), float(rate), device=run.device)
        return {branch: {"frame_rate": rates} for branch in branches}
