"""Pictures and pieces of video anywhere in a video of LTX-Video: at its beginning in the place of
x's latents, elsewhere as more tokens that say when they are seen (HaCohen et al. 2024,
arXiv:2501.00103, Section 2.5; Diffusers, pipelines/ltx/pipeline_ltx_condition.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ldm_core.contracts import Call, Denoise, Network, Run, RunHooks, Unequal
from ldm_core.contracts.abilities import Keyframe
from ldm_core.contracts.latents import Axis
from ldm_core.numerics.point import Point

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIGMAS, PLACES, TOKENS = "keyframe_sigmas", "keyframe_places", "keyframe_tokens"
"""Keys of the condition: how noisy each token is at most, those of x last; where the further ones
lie, in frames and pixels; and these themselves, which `Shown` adds at each call."""
PREFIX = 2
"""Latents of a piece of video within the video that are tokens of their own; the rest is x's."""
EPS = 1e-6


class Kept(NamedTuple):
    """What a keyframe has of x.

    Attributes:
        start, stop: places of x in time that begin from it.
        ahead: places of the keyframe that are not x's.
    """

    start: int
    stop: int
    ahead: int


def kept(keyframe: Keyframe, axis: Axis) -> Kept:
    """Where a keyframe lies on an axis of time."""
    places = axis.places(keyframe.frames)
    if keyframe.frame == 0:
        return Kept(0, places, 0)
    ahead = min(places, PREFIX)
    start = keyframe.frame // axis.stride + ahead
    return Kept(start, start + places - ahead, ahead)


class LTXKeyframes:
    """Ability ``keyframes``, see `ldm_core.contracts.abilities.KeyframesAbility`.

    Args:
        strides: frames, rows and columns that share a latent.
        device: where the condition goes.
    """

    def __init__(self, strides: Sequence[float], device: torch.device) -> None:
        self._strides = strides
        self._device = device

    def encode(self, run: Run, keyframes: Sequence[Sequence[Keyframe]]) -> Unequal:
        """``keyframe_sigmas`` (1, tokens) and ``keyframe_places`` (1, 3, further tokens) of each
        video."""
        import torch

        axis, (count, *sides) = _time(run)
        rows = []
        for each in keyframes:
            sigmas, where = torch.ones(count), [torch.zeros(3, 0)]
            for keyframe in each:
                place = kept(keyframe, axis)
                sigmas[place.start : place.stop] = 1 - keyframe.strength
                if place.ahead:
                    within = grid((place.ahead, *sides), self._strides)
                    within[0] += keyframe.frame
                    where.append(within)
            places = torch.cat(where, dim=1)[None]
            of_x = sigmas.repeat_interleave(sides[0] * sides[1])
            noisy = torch.cat([torch.zeros(places.shape[2]), of_x])[None]
            condition = {SIGMAS: noisy, PLACES: places}
            rows.append({key: value.to(self._device) for key, value in condition.items()})
        return Unequal(tuple(rows))

    def bind(
        self, run: Run, keyframes: Sequence[Sequence[Keyframe]], noise_scale: float
    ) -> RunHooks:
        return Shown(run, keyframes, noise_scale)


def grid(
    sizes: Sequence[int], strides: Sequence[float], device: torch.device | None = None
) -> Tensor:
    """Where the tokens of a video lie, (3, tokens): in frames and pixels, the first frame being one
    alone.

    Args:
        sizes: the latent's frames, height and width; strides alike.
    """
    import torch

    axes = [torch.arange(size, device=device) * by for size, by in zip(sizes, strides, strict=True)]
    axes[0] = (axes[0] + 1 - strides[0]).clamp(min=0)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


class Shown(RunHooks):
    """A run that begins from keyframes where they are x's, and whose network sees the others.

    Until it is as noisy as a keyframe of x leaves it, a place of x is shown to the network as it
    began, and goes straight there; what is kept whole is never denoised. Before each evaluation,
    what is kept whole is noised a little, by the square of sigma, so that things move.

    Args:
        keyframes: of each video.
        noise_scale: how much of that noise there is.
    """

    def __init__(
        self, run: Run, keyframes: Sequence[Sequence[Keyframe]], noise_scale: float
    ) -> None:
        import torch

        self._run = run
        self._scale = noise_scale
        self._fresh = False
        self._noise: Tensor | None = None  # of the last evaluation, times its share
        self._more: Tensor | None = None
        axis, sizes = _time(run)
        channels, videos = run.model.info.latents.channels, len(keyframes)
        self._of_x = torch.ones(videos, 1, sizes[0], 1, 1, device=run.device)
        self._given = torch.zeros(videos, channels, *sizes, device=run.device)
        self._strength = torch.zeros_like(self._of_x)
        self._tokens = []
        encoded: dict[int, Tensor] = {}
        for video, each in enumerate(keyframes):
            ahead = [torch.zeros(channels, 0, *sizes[1:], device=run.device)]
            for keyframe in each:
                if id(keyframe) not in encoded:
                    encoded[id(keyframe)] = _latents(run, keyframe)
                latents, place = encoded[id(keyframe)], kept(keyframe, axis)
                ahead.append(latents[:, : place.ahead])
                part = video, slice(None), slice(place.start, place.stop)
                rest = latents[:, place.ahead :]
                self._of_x[part] *= 1 - keyframe.strength
                self._given[part] = torch.lerp(self._given[part], rest, keyframe.strength)
                self._strength[part] = keyframe.strength
            self._tokens.append(torch.cat(ahead, dim=1))
        self._whole = self._strength > 1 - EPS
        self._ends = [point.sigma for point in run.grid]
        self._began: Tensor | None = None
        self._aim: Tensor | None = None

    def start(self) -> None:
        self._fresh = True

    def network(self, network: Network) -> Network:
        import torch

        if not any(tokens.shape[1] for tokens in self._tokens):
            return network

        def seeing(call: Call) -> Tensor:
            tokens = torch.stack([self._seen(row.image) for row in call.rows])
            condition = {**call.condition, TOKENS: tokens.flatten(2).transpose(1, 2)}
            return network(call._replace(condition=condition))

        return seeing

    def _seen(self, video: int) -> Tensor:
        """The further tokens of a video, (channels, places, height, width)."""
        tokens = self._tokens[video]
        return tokens if self._more is None else tokens + self._more[video, :, : tokens.shape[1]]

    def denoise(self, denoise: Denoise) -> Denoise:
        import torch

        def shown(x: Tensor, point: Point) -> Tensor:
            if self._began is None or self._aim is None:
                self._began, self._aim = self._way(x, point)
            waits = point.sigma > 1 - self._strength + EPS
            seen = torch.where(waits, self._began, x)
            if self._scale:
                share = self._scale * point.sigma**2
                self._noise, self._more = (share * self._run.noise() for _ in range(2))
                seen = torch.where(self._whole, seen + self._noise, seen)
            return torch.where(waits, self._aim, denoise(seen, point))

        return shown

    def finish(self, x: Tensor) -> Tensor:
        """x with the noise of the last evaluation in what is kept whole, as Diffusers leaves it."""
        import torch

        return x if self._noise is None else torch.where(self._whole, x + self._noise, x)

    def _way(self, x: Tensor, point: Point) -> tuple[Tensor, Tensor]:
        """What each place of x begins as, and the x0 with which any scheduler arrives at that by
        the first point that is no noisier: x there is r·x + (1 - r)·x0, with r the share of sigma
        that is left."""
        import torch

        here = point.sigma
        left = torch.zeros_like(self._strength)
        for sigma in self._ends:  # noisiest first
            fits = (sigma <= 1 - self._strength + EPS) & (left == 0)
            left = torch.where(fits, left.new_tensor(sigma), left)
        if not self._fresh and here < 1:  # x is on its way there from noise alone
            done = (1 - here) / (1 - left)
            x = (x - done * self._given) / (here + done * (self._of_x - left))
            here = 1.0
        ratio = (left / here).clamp(max=1 - EPS)
        began = self._of_x * x + self._given
        return began, ((self._of_x - ratio) * x + self._given) / (1 - ratio)


def _time(run: Run) -> tuple[Axis, Sequence[int]]:
    """The axis of time, and the sizes of a latent: frames, height and width."""
    space = run.model.info.latents
    return space.axis("frames"), space.shape(run.request.extent)[1:]


def _latents(run: Run, keyframe: Keyframe) -> Tensor:
    """(channels, places, height, width)."""
    return run.to_latents(keyframe.read()[None])[0].to(run.device)
