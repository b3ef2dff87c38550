"""Pictures that the network sees while it draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ldm_core.contracts import (
    REQUIRED,
    Condition,
    Conditioning,
    Input,
    ModelInfo,
    Request,
    Run,
    Unequal,
)
from ldm_core.contracts.abilities import ReferenceAbility
from ldm_core.contracts.family import seen_at_any_size
from ldm_core.errors import LdmError
from ldm_plugins.conditioning.shared.pictures import different, read_picture, several
from ldm_plugins.conditioning.shared.references import NAME, REFERENCE, references_of


def reference() -> Conditioning:
    """Pictures beside the one that is drawn, for models that were trained to edit and to combine
    pictures: the network sees their latents at every step (Black Forest Labs 2025,
    arXiv:2506.15742, Section 3).

    Reads a ``reference`` for each image, of any size: a file, PIL image, tensor (channels, height,
    width) or array (height, width, channels); or a list of several, of which the images need not
    have the same number. Models whose text encoder sees pictures are shown them there too. It is
    the same under every branch of a guidance.
    """
    return Reference()


@dataclass(frozen=True)
class Reference(Conditioning):
    """
    Attributes:
        required: the model cannot do without.
        most: so many an image at most; None without a limit.
        check_sides: raises `LdmError` for a width and height that the model cannot see.
    """

    required: bool = False
    most: int | None = None
    check_sides: Callable[[int, int], None] = seen_at_any_size

    @property
    def ability(self) -> str:
        return NAME

    @property
    def inputs(self) -> Mapping[str, Input]:
        return {NAME: replace(REFERENCE, default=REQUIRED) if self.required else REFERENCE}

    def fit(self, info: ModelInfo) -> Reference:
        return replace(
            self,
            required=NAME in info.needs,
            most=info.most_references,
            check_sides=info.check_reference,
        )

    def check(self, request: Request) -> None:
        each = [several(entry) for entry in request.inputs[NAME]]
        for count in sorted({len(pictures) for pictures in each}):
            if self.required and not count:
                raise LdmError("this model draws from a reference picture, and an image has none.")
            if self.most is not None and count > self.most:
                raise LdmError(
                    f"this model sees {self.most} reference picture{'s' * (self.most > 1)} for an "
                    f"image at most, not {count}."
                )
        for (picture,) in different([p for pictures in each for p in pictures]):
            height, width = read_picture(NAME, picture).shape[:2]
            self.check_sides(width, height)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        references = references_of(run.request)
        if not any(references):
            return {}
        ability: ReferenceAbility = run.model.abilities[NAME]
        return dict.fromkeys(branches, ability.encode(references))
