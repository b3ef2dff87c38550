"""A transformer whose deep part can be left out: of its blocks, all behind the first few.

What these blocks add to the picture's tokens is kept, and added in the calls in which they are not
computed (as for one step in Chen et al. 2024, arXiv:2406.01125, and behind the first block in
first-block caches).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ldm_core.errors import LdmError
from ldm_plugins.converters.shared.kept_features import Frame, current
from ldm_plugins.converters.shared.reclassed import reclass
from ldm_plugins.converters.shared.transformer_blocks import NETWORKS, Answer

if TYPE_CHECKING:
    from torch import Tensor


class Place(NamedTuple):
    """Of a block of the deep part.

    Attributes:
        first, last: it is the first of them, the last.
        answer: what it gives.
        text_first: where text and picture are one sequence by then, the picture's tokens are the
            last ones; else the first ones.
        owner: one thing for each network, and for the copies that are made of it: of another one's
            features it makes nothing.
    """

    first: bool
    last: bool
    answer: Answer
    text_first: bool
    owner: object


def check_depth(config: Mapping[str, Any], depth: int, wrong: str) -> None:
    """See in a transformer's config that it has blocks behind the first so many.

    Raises:
        LdmError: it has not, or is of a class that is not known.
    """
    cls = config.get("_class_name")
    if cls not in NETWORKS:
        raise LdmError(f"{wrong}: it does not know the blocks of the network, a {cls}.")
    count = sum(config.get(stack.key) or 0 for stack in NETWORKS[cls].stacks)
    if depth >= count:
        raise LdmError(
            f"{wrong}: the network has {count} blocks, so depth is at most {count - 1}, not "
            f"{depth}."
        )


def cache_transformer(transformer: Any, depth: int) -> None:
    """Let the blocks of a transformer, which is one's own copy, heed the frame of a call.

    Args:
        depth: how many of the first blocks are computed in every call.
    """
    network, owner = NETWORKS[transformer.config["_class_name"]], object()
    blocks = [
        (block, stack.answer)
        for stack in network.stacks
        for block in transformer.get_submodule(stack.name).children()
    ]
    for number, (block, answer) in enumerate(blocks[depth:], start=depth):
        reclass(block, Block)
        last = number == len(blocks) - 1
        block.kept_place = Place(number == depth, last, answer, network.text_first, owner)


class Block:
    """A block of the deep part."""

    kept_place: Place

    def forward(self, *args: Any, **options: Any) -> Any:
        frame, place = current(), self.kept_place
        if frame is None:
            return super().forward(*args, **options)  # type: ignore[misc]
        if place.first:
            frame.entry = [*_states(place.answer, args, options)]
        if frame.reuses and frame.owner is place.owner:
            states = [*_states(place.answer, args, options)]
            if place.last:
                states = [*_with_features(frame, states, place)]
            return _answer(place.answer, states, args, options)
        answer = super().forward(*args, **options)  # type: ignore[misc]
        if place.last and frame.entry is not None:
            given = answer[place.answer.picture] if place.answer.several else answer
            after = [*answer] if place.answer.both else [given]
            pairs = zip(frame.entry, after, strict=True)
            added = [_picture(states, len(e[0]), place) - e for e, states in pairs]
            frame.leave(_joined(added), place.owner)
        return answer


def _states(answer: Answer, args: tuple[Any, ...], options: Mapping[str, Any]) -> Iterator[Tensor]:
    """What of a block's arguments its answer takes further: of the picture, and of a sound that
    goes with it."""
    yield args[0] if args else options["hidden_states"]
    if answer.both:
        yield args[1] if len(args) > 1 else options["audio_hidden_states"]


def _answer(
    answer: Answer, states: list[Tensor], args: tuple[Any, ...], options: Mapping[str, Any]
) -> Any:
    """What a block gives that leaves its states as they are."""
    if answer.both:
        return tuple(states)
    if not answer.several:
        return states[0]
    named = "encoder_hidden_states"
    text = options[named] if named in options else args[1]
    return (states[0], text) if answer.picture == 0 else (text, states[0])


def _picture(states: Tensor, tokens: int, place: Place) -> Tensor:
    """Of (rows, tokens, channels) those of the picture."""
    return states[:, -tokens:] if place.text_first else states[:, :tokens]


def _with_features(frame: Frame, states: list[Tensor], place: Place) -> Iterator[Tensor]:
    """What came into the deep part and what it added, with the text's tokens where they are in one
    sequence with the picture's by then."""
    import torch

    assert frame.entry is not None
    assert frame.features is not None
    for entry, added, now in zip(
        frame.entry, _parted(frame.features, frame.entry), states, strict=True
    ):
        whole, others = entry + added, now.shape[1] - entry.shape[1]
        if others and place.text_first:
            whole = torch.cat([now[:, :others], whole], dim=1)
        elif others:
            whole = torch.cat([whole, now[:, -others:]], dim=1)
        yield whole


def _joined(added: list[Tensor]) -> Tensor:
    """As one tensor, (rows, tokens, channels), or (rows, values) of several."""
    import torch

    return added[0] if len(added) == 1 else torch.cat([one.flatten(1) for one in added], dim=1)


def _parted(features: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """As it was before it was joined. Rows of captions of other lengths may have more tokens, or
    fewer, behind their own."""
    import torch

    if len(like) > 1:
        parts = torch.split(features, [one[0].numel() for one in like], dim=1)
        return [part.view_as(one) for part, one in zip(parts, like, strict=True)]
    missing = like[0].shape[1] - features.shape[1]
    if missing > 0:
        return [torch.nn.functional.pad(features, (0, 0, 0, missing))]
    return [features[:, : like[0].shape[1]]]
