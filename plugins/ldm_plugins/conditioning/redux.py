"""Pictures as words of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    FileName,
    Input,
    ModelInfo,
    Request,
    Run,
    Unequal,
    concatenate,
)
from ldm_core.contracts.abilities import PictureTokensAbility
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.pictures import (
    different,
    in_eight_bits,
    read_picture,
    several,
)
from ldm_plugins.conditioning.shared.prompts import TooLong
from ldm_plugins.conditioning.shared.redux_folder import find_redux
from ldm_plugins.conditioning.text import Text

if TYPE_CHECKING:
    from torch import Tensor

NAME = "prompt_image"
PICTURES = Input(
    Path | list[Path], REQUIRED, help="a picture of any size, or several, to vary: files"
)
PROMPT = Input(str | None, None, help="what the picture should show beside that; nothing by itself")


def redux(
    *,
    path: FileName,
    scale: float = 1.0,
    pooled_scale: float = 1.0,
    too_long: TooLong = "warn",
    weights: bool = True,
) -> Redux:
    """Variations of a picture, which the network reads as words behind the prompt: FLUX.1 Redux
    (Black Forest Labs 2024).

    Does all that ``text`` does, and takes its place. Reads a ``prompt_image`` for each image, of
    any size: a file, PIL image, tensor (channels, height, width) or array (height, width,
    channels); or a list of several, whose states are summed, each with the prompt's before it.
    Without a ``prompt`` the text's states are zeros, as in Diffusers where no text encoder is
    loaded. The negative prompt is text alone.

    Args:
        path: folder of a FluxPriorReduxPipeline.
        scale: factor of the states of each picture and of the text before it.
        pooled_scale: factor of what is said of the text as a whole.
        too_long, weights: as in ``text``.
    """
    return Redux(too_long, weights, path=path, scale=scale, pooled_scale=pooled_scale)


@dataclass(frozen=True)
class Redux(Text):
    """
    Attributes:
        folder: once the model is known.
    """

    path: str = ""
    scale: float = 1.0
    pooled_scale: float = 1.0
    folder: Path | None = None

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {**super().inputs, "prompt": PROMPT, NAME: PICTURES}

    def fit(self, info: ModelInfo) -> Redux:
        if "picture_tokens" not in info.abilities:
            raise LdmError(
                f"the model '{info.source}' (family {info.family}) reads no pictures as words of "
                "a prompt, as Flux does; the conditioning 'redux' is not for it."
            )
        fitted = super().fit(info)
        assert isinstance(fitted, Redux)
        return replace(fitted, folder=find_redux(self.path, info))

    def files(self) -> Sequence[Path]:
        return () if self.folder is None else (self.folder,)

    def check(self, request: Request) -> None:
        super().check(request)
        each = [several(entry) for entry in request.inputs[NAME]]
        if not all(each):
            raise LdmError(f"an image has no {NAME}; each needs one picture or several.")
        for (picture,) in different([p for pictures in each for p in pictures]):
            read_picture(NAME, picture)

    def check_prompt(self, name: str, entry: Any) -> None:
        if entry is not None:
            super().check_prompt(name, entry)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        conditions = super().encode(run, branches)
        words = None
        for branch in branches:
            if branch != "negative":
                words = self._words(run) if words is None else words
                each = zip(_rows(conditions[branch]), self._silent(run), words, strict=True)
                conditions = {**conditions, branch: _together([self._beside(*e) for e in each])}
        return conditions

    def _silent(self, run: Run) -> list[bool]:
        return [prompt is None for prompt in run.request.inputs["prompt"]]

    def _words(self, run: Run) -> list[Tensor]:
        """The states of each image's pictures, (pictures, tokens, width)."""
        assert self.folder is not None
        ability: PictureTokensAbility = run.model.abilities["picture_tokens"]
        each = [several(entry) for entry in run.request.inputs[NAME]]
        once = {id(picture): picture for pictures in each for picture in pictures}
        states = ability.states(self.folder, [in_eight_bits(NAME, p) for p in once.values()])
        places = {key: place for place, key in enumerate(once)}
        return [states[[places[id(picture)] for picture in pictures]] for pictures in each]

    def _beside(self, text: Condition, silent: bool, words: Tensor) -> Condition:
        """A text's condition, of a single row, with the states of pictures behind it, as
        FluxPriorReduxPipeline sums them."""
        import torch

        said = {key: value * 0 if silent else value for key, value in text.items()}
        count = len(words)
        states = torch.cat([said["text"] * count, words.sum(0, keepdim=True)], dim=1)
        pooled = said["pooled"] * count * self.pooled_scale
        return {**said, "text": states * self.scale, "pooled": pooled}


def _rows(condition: Condition | Unequal) -> list[Condition]:
    if isinstance(condition, Unequal):
        return list(condition.each)
    count = len(next(iter(condition.values())))
    return [{key: value[i : i + 1] for key, value in condition.items()} for i in range(count)]


def _together(rows: Sequence[Condition]) -> Condition | Unequal:
    """Conditions of single rows as one, where they are of one shape."""
    if len({tuple((key, value.shape) for key, value in row.items()) for row in rows}) > 1:
        return Unequal(tuple(rows))
    return concatenate(rows)
