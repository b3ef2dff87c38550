"""The contract of families: what a model folder says, the model itself, and who knows its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ldm_core.model.place import Place
from ldm_core.numerics.noise_schedule import NoiseSchedule
from ldm_core.numerics.point import Point
from ldm_core.numerics.prediction import PredictionType

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Condition = Mapping[str, "Tensor"]
"""What a network takes beside x and t, by the family's own keys; batch first in each tensor."""


class Network(Protocol):
    """``network(x, point, condition) -> output``, float32 in and out, of the family's own type.

    A network that also predicts a variance (`ModelInfo.learned_variance`) returns twice x's
    channels, the second half being the variance.
    """

    def __call__(self, x: Tensor, point: Point, condition: Condition) -> Tensor: ...


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder says before any weight is read.

    Attributes:
        latent_channels, scale_factor: what `latent_shape` is made of; the autoencoder shrinks each
            side by the factor.
        patch: both sides of a latent must be multiples of it.
        learned_variance: the network predicts a variance too, see `Network`.
        square: the network takes square latents alone.
        image_channels: of the pictures that it draws; 1 is grey, 3 is red, green and blue.
        classes: what each class is called, by its number: several names with commas between,
            empty where it has none. Empty for a model without classes.
        needs: the abilities without which the network cannot be called.
        file: the single file that holds the weights, where they are not in the folder.
        scheduler_config: settings of the folder's own scheduler, in Diffusers' words.
        defaults: the lowest layer of a recipe: what the folder and its family choose.
    """

    family: str
    source: str
    folder: Path
    noise_schedule: NoiseSchedule
    prediction_type: PredictionType
    latent_channels: int
    scale_factor: int
    default_size: tuple[int, int]
    abilities: frozenset[str]
    defaults: Mapping[str, Any]
    learned_variance: bool = False
    patch: int = 1
    square: bool = False
    image_channels: int = 3
    classes: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    file: Path | None = None
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """The shape of one image's latent, without the batch."""
        return (self.latent_channels, height // self.scale_factor, width // self.scale_factor)


@dataclass(frozen=True)
class Model:
    """A loaded model: shared, never changed, by every pipeline made from it.

    Attributes:
        place: where its components are, and in which precision.
        base: the same model without LoRA, where this one has some; the weights are shared.
        remake: the model that other components make, such as a UNet with layers left out.
        latent_space: what tells its latents from others of their shape, such as the factor by
            which they are scaled.
    """

    info: ModelInfo
    network: Network
    abilities: Mapping[str, Any]
    components: Mapping[str, Any] = field(repr=False)
    place: Place
    base: Model | None = field(default=None, repr=False)
    remake: Callable[[Mapping[str, Any]], Model] | None = field(default=None, repr=False)
    latent_space: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.place.device


class Family(Protocol):
    """Knows one kind of model folder.

    One that also has the methods of `TakesLora` or `TakesFile` can do what these say.
    """

    def matches(self, index: Mapping[str, Any]) -> bool:
        """Whether a folder with this ``model_index.json`` is of the family."""
        ...

    def inspect(self, source: str, folder: Path, index: Mapping[str, Any]) -> ModelInfo:
        """Read the folder's JSON files, no weights; raise `LdmError` where they do not fit."""
        ...

    def load(self, info: ModelInfo, place: Place) -> Model:
        """Read the weights; `Place.put` puts each component in its place."""
        ...


@dataclass(frozen=True)
class Lora:
    """A LoRA file (Hu et al. 2021, arXiv:2106.09685), found and whole.

    Attributes:
        source: as a person named it: a path or a Hub id.
        scale: factor of its change to the weights; 1 is as it was trained.
    """

    source: str
    file: Path
    scale: float


@runtime_checkable
class TakesLora(Protocol):
    """What a family has beside `Family` whose models take LoRA."""

    def adapter(self, info: ModelInfo, loras: Sequence[Lora]) -> Callable[[Model], Model]:
        """See, before weights are read, that these can be put on such a model.

        Returns:
            ``put(model) -> Model``: another model on the same weights, with the LoRA on,
            that leaves the given one as it was.
        Raises:
            LdmError: the model takes none or a package is missing; from ``put``, too, where a file
                does not fit the model.
        """
        ...


@runtime_checkable
class TakesFile(Protocol):
    """What a family has beside `Family` whose models may lie in one safetensors file, named as
    their authors' own code names the weights."""

    def default_config(self, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
        """Hub id of the folder whose configs go with a file of these tensors; None where the file
        is not known."""
        ...

    def of_file(self, file: Path, shapes: Mapping[str, tuple[int, ...]]) -> Family:
        """The family, with the weights in this file and all else in the folder."""
        ...
