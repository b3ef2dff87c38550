"""Manifests as they are read: whoever wrote them, each field is seen to be what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ldm_core.contracts import FrameRate
from ldm_core.errors import LdmError
from ldm_core.media.json_text import where

FORMAT = 1
IN_TILES = "decoded_in_tiles"
"""The key of the side of the tiles, in latents, in which a picture was decoded because memory did
not suffice otherwise."""
IMPORTED = "imported"
"""The key of the packages whose plugins were imported, and have no part in the picture."""
RATE = "rate"
"""The key of the frames or samples a second of what came out."""
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    """Numbers are numbers here and text is text: nothing is converted, unlike on a command line."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class SavedLora(_Strict):
    """A LoRA of then."""

    path: str
    scale: float = 1.0
    scales: dict[str, Any] = {}
    component: str | None = None
    sha256: str


class Package(_Strict):
    """A package of then."""

    name: str
    version: str


class Command(_Strict):
    """How a ready-made pipeline was called.

    Attributes:
        name: the command's id.
        image: which of its pictures this is, the first being 0.
        files: the SHA-256 of each file that it names, by path.
    """

    name: str
    arguments: list[Any]
    options: dict[str, Any]
    image: Count
    files: dict[str, str] = {}


class Manifest(_Strict):
    """A manifest of this version; keys that are not known are passed over."""

    format: int
    seed: Count
    inputs: dict[str, Any]
    width: Length | None = None
    height: Length | None = None
    extent: dict[str, Length] = {}
    num_inference_steps: Count
    frame_rate: FrameRate | None = None
    recipe: dict[str, Any]
    model_revision: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")] | None = None
    model_sha256: str | None = None
    loras: list[SavedLora] = []
    converter_files: dict[str, str] = {}
    beside: dict[str, str] = {}
    option_files: dict[str, str] = {}
    input_files: dict[str, str] = {}
    family: str | None = None
    model_package: Package | None = None
    plugins: list[str] = []
    versions: dict[str, str]
    imported: dict[str, str] = {}
    pixels_sha256: str | None = None
    samples_sha256: str | None = None
    rate: Annotated[float, Field(gt=0)] | None = None
    decoded_in_tiles: Length | None = None
    encoded_sha256: str | None = None
    finish: str | None = None
    command: Command | None = None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The manifest in a table.

        Raises:
            LdmError: another format, or a field that is missing or of another type.
        """
        if "chain" in table:
            raise LdmError(
                "the image was made by a chain of pipelines, which is made again in Python: its "
                "manifest holds one of each pipeline, in their order, as 'chain'."
            )
        if table.get("format") != FORMAT or table.get("format") is True:
            raise LdmError(
                f"the manifest has format {table.get('format')!r:.60}; this version reads {FORMAT}."
            )
        try:
            manifest = cls.model_validate(dict(table))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            words = "is missing" if fault["type"] == "missing" else f"is wrong: {fault['msg']}"
            raise LdmError(f"the manifest is damaged: {where(fault['loc'])} {words}.") from None
        if not manifest.size:
            raise LdmError("the manifest is damaged: it says no width and height, and no extent.")
        return manifest

    @property
    def size(self) -> dict[str, int]:
        """How large what it describes is, along each axis."""
        sides = {"width": self.width, "height": self.height}
        return {**self.extent, **{k: v for k, v in sides.items() if v is not None}}

    @property
    def made_by(self) -> dict[str, str]:
        """The distribution of each plugin of then, by ``kind name``."""
        split = [entry.partition(" ") for entry in self.plugins]
        named = [(kind, *id.partition(":")[::2]) for kind, _, id in split]
        return {f"{kind} {name}": distribution for kind, distribution, name in named}
