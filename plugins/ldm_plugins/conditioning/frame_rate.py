"""How fast the frames of a video follow one another, for networks that are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ldm_core.contracts import Condition, Conditioning, Run
from ldm_plugins.shared.video_and_sound import SOUND_PLACES, VideoAndSound

Speed = Annotated[float, Field(ge=0.01, le=100)]


def frame_rate(*, motion_speed: Speed = 1.0) -> Conditioning:
    """Tell the network the frame rate that a call asks for, in frames a second; the model's own
    where it says none. So a network moves things as far from frame to frame as fits it, and one
    that draws a sound beside the video draws it as long.

    Args:
        motion_speed: the network is told the rate over this, so that below 1 what moves is slower,
            as LTX-2's LoRA for slow motion was trained with 0.2; the video keeps its rate.
    """
    return FrameRate(motion_speed)


@dataclass(frozen=True)
class FrameRate(Conditioning):
    motion_speed: float = 1.0

    @property
    def ability(self) -> str:
        return "frame_rate"

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        """``frame_rate``, (batch,) frames a second, for all branches; and ``sound_places`` (batch,
        places), of as many as a sound beside the video has, whose shape alone counts."""
        import torch

        asked = run.request.frame_rate
        rate = run.model.info.rate if asked is None else asked
        assert rate is not None  # a model with this ability has one
        rates = torch.full((len(run.request.seeds),), rate / self.motion_speed, device=run.device)
        condition = {"frame_rate": rates}
        space = run.model.info.latents
        if isinstance(space, VideoAndSound):
            frames = space.axis("frames").places(run.request.extent["frames"])
            condition[SOUND_PLACES] = rates.new_zeros(len(rates), space.sound_places(frames))
        return dict.fromkeys(branches, condition)
