"""The contract of families: what a model folder says, the model itself, and who knows its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.arguments import check_fields
from ldm_core.contracts.latents import Extent, LatentShape, LatentSpace
from ldm_core.contracts.network import Network
from ldm_core.contracts.place import Part, PartInfo, Place
from ldm_core.contracts.read_only import ReadOnly
from ldm_core.contracts.sound_abilities import SoundCodes
from ldm_core.errors import LdmError
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.prediction import PredictionType, as_prediction_type
from ldm_core.values import brief

if TYPE_CHECKING:
    import torch


def nothing_more(scheduler: str, spacing: str | None) -> Mapping[str, Any]:
    """Of a model that says nothing of other schedulers than its own."""
    return {}


def nothing_handed(steps: int, latent: LatentShape) -> Mapping[str, Any]:
    """Of a model whose pipeline hands on the number of steps alone."""
    return {}


def seen_at_any_size(width: int, height: int) -> None:
    """Of a model that sees reference pictures of any sizes, or none at all."""


def _as_names(several: Any) -> Any:
    """Names as a set, whatever they stand in; anything else as it is."""
    plain = isinstance(several, list | tuple | Set)
    return frozenset(several) if plain and all(isinstance(n, str) for n in several) else several


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder says before any weight is read.

    Attributes:
        family: the name of its family.
        source: the model as a person named it, for messages.
        folder: where its JSON files lie.
        noise_schedule: of its training.
        prediction_type: the record, or the name of one that needs no family of its own.
        latents: how an extent becomes a latent's shape.
        default_extent: what is drawn where nothing is chosen.
        abilities: what the network can be conditioned by.
        defaults: the lowest layer of a recipe: what the folder and its family choose.
        learned_variance: the network predicts a variance too, see `Network`.
        square: the network takes square latents alone.
        image_channels: of the pictures that it draws; 1 is grey, 3 is red, green and blue.
        classes: what each class is called, by its number: several names with commas between,
            empty where it has none. Empty for a model without classes.
        needs: the abilities without which the network cannot be called.
        file: the single file that holds the weights, where they are not in the folder.
        wide_parts: those that compute in float32 where the others compute in float16, whose numbers
            theirs outgrow.
        scheduler_config: settings of the folder's own scheduler, in Diffusers' words.
        goes_with: ``goes_with(scheduler, spacing)``, the layer of a recipe that goes with a
            scheduler that a person names in place of the model's: its options, a spacing, wrappers.
            By the ids of plugins, of the spacing only where one is named. Empty where the model
            knows nothing of that scheduler; its own layer then stays.
        parts: its components with weights, before they are read; empty of a family that does not
            say.
        family_id: the full id of the plugin that is its family, which recognition fills in. Short
            names among its defaults are those of that plugin's package first, see
            `ldm_core.composition.short_names`.
        rate: frames or samples a second of what it draws; None of pictures.
        boundary: the training timestep below which another of its networks answers; None of a model
            of which one network answers everywhere.
        audio_channels: of the sound that it makes; None where it makes none or does not say.
        most_references: as many reference pictures an image may have; None without a limit.
        data_dependent: the network looks into what it is given to know how much to compute, such as
            how many tokens of a caption are words, so that no one program stands for it.
        check_reference: ``check_reference(width, height)`` raises `LdmError` for the size of a
            reference picture that the network cannot see.
        components: folders of components that lie elsewhere than in its own, by name, see
            `Family.of_components`; what finds the family fills them in.
        handed: ``handed(steps, latent)``, what its pipeline in Diffusers hands to the scheduler
            beside the number of steps: ``sigmas`` and ``mu``.
        sound_codes: of the codes that its sounds can be made of; None of a model without any.
    """

    family: str
    source: str
    folder: Path
    noise_schedule: NoiseSchedule
    prediction_type: PredictionType
    latents: LatentSpace
    default_extent: Extent
    abilities: frozenset[str]
    defaults: Mapping[str, Any]
    learned_variance: bool = False
    square: bool = False
    image_channels: int = 3
    classes: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    file: Path | None = None
    wide_parts: frozenset[str] = frozenset()
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    goes_with: Callable[[str, str | None], Mapping[str, Any]] = nothing_more
    handed: Callable[[int, LatentShape], Mapping[str, Any]] = nothing_handed
    parts: tuple[PartInfo, ...] = ()
    family_id: str = ""
    rate: float | None = None
    boundary: float | None = None
    audio_channels: int | None = None
    most_references: int | None = None
    data_dependent: bool = False
    check_reference: Callable[[int, int], None] = seen_at_any_size
    components: Mapping[str, Path] = field(default_factory=dict)
    sound_codes: SoundCodes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prediction_type", as_prediction_type(self.prediction_type))
        object.__setattr__(self, "abilities", _as_names(self.abilities))
        object.__setattr__(self, "needs", _as_names(self.needs))
        object.__setattr__(self, "wide_parts", _as_names(self.wide_parts))
        check_fields(self)


@dataclass(frozen=True)
class Model:
    """A loaded model: shared, never changed, by every pipeline made from it.

    Attributes:
        info: what its folder said.
        network: what answers a call.
        abilities: by name, see `ldm_core.contracts.abilities`.
        parts: its components, by their names in the folder.
        place: where parts are put that are read later, such as a side network.
        remake: ``remake(parts, place)``, the model that other parts make, such as a UNet with
            layers left out.
        normalisation: what tells its latents from others of their shape, such as the factor by
            which they are scaled.
    """

    info: ModelInfo
    network: Network
    abilities: Mapping[str, Any]
    parts: Mapping[str, Part] = field(repr=False)
    place: Place
    remake: Callable[[Mapping[str, Part], Place], Model] | None = field(default=None, repr=False)
    normalisation: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", ReadOnly(self.parts))

    @property
    def components(self) -> dict[str, Any]:
        """The modules of its parts, as a pipeline of Diffusers names them."""
        return {name: part.module for name, part in self.parts.items()}

    def part(self, role: str) -> Part | None:
        """The first part of a role; None where the model has none."""
        return next((part for part in self.parts.values() if part.role == role), None)

    @property
    def latents_device(self) -> torch.device:
        """Where latents and conditions are: where the network computes."""
        network = self.part("network")
        return self.place.device if network is None else network.device

    def replaced(self, changes: Mapping[str, Part], place: Place | None = None) -> Model:
        """The model with other parts in place of some of its own; it is left as it was.

        Raises:
            LdmError: its family cannot make it of other parts.
        """
        if self.remake is None:
            raise LdmError(
                f"the model '{self.info.source}' (family {self.info.family}) cannot be made of "
                "other parts."
            )
        return self.remake({**self.parts, **changes}, place or self.place)


class Family(ABC):
    """Knows one kind of model folder."""

    @abstractmethod
    def matches(self, index: Mapping[str, Any]) -> bool:
        """Whether a folder with this ``model_index.json`` is of the family."""

    @abstractmethod
    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        """Read the folder's JSON files, no weights; raise `LdmError` where they do not fit."""

    @abstractmethod
    def load(self, info: ModelInfo, place: Place) -> Model:
        """Read the weights; `Place.put` puts each component in its place."""

    def at_rate(self, model: Model, info: ModelInfo) -> Model:
        """A model whose latents are those of another frame rate, see `LatentSpace.at_rate`; it
        shares weights with the given one and leaves it as it was.

        Args:
            model: loaded and converted.
            info: the model's, with these latents.
        """
        return replace(model, info=info)

    def default_config(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Hub id of the folder whose configs go with a single safetensors file of these tensors,
        named as their authors' own code names the weights; None where the file is not known."""
        return None

    def of_file(self, file: Path, shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
        """The family, with the weights in this file and all else in the folder; None where it
        reads folders alone."""
        return None

    def of_components(self, components: Mapping[str, Path]) -> Family | None:
        """The family, with these components, by name, of folders of their own and all else in the
        model's; None where it takes none of these names. `matches` and `inspect` are given an index
        in which they stand beside the folder's own."""
        return None


def as_family(part: Any) -> Family:
    """A family, once it is seen to be one; `LdmError` for anything else."""
    if isinstance(part, Family):
        return part
    raise LdmError(
        f"a family is an object of a class made from ldm_core.contracts.Family, not {brief(part)}."
    )


@dataclass(frozen=True)
class OtherModel:
    """Another model, as the value of an option that names one; found when composing.

    Attributes:
        info: what its folder said.
        load: reads its weights, in a place.
    """

    info: ModelInfo
    load: Callable[[Place], Model]
