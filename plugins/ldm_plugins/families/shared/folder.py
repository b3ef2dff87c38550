"""The JSON files of a model folder, each read once, and what families ask of them alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ldm_core.contracts import LatentSpace, ModelInfo
from ldm_core.errors import LdmError
from ldm_core.model.files import read_json
from ldm_plugins.families.shared.scheduler_config import FolderScheduler, with_stated
from ldm_plugins.families.shared.scheduler_types import check_scheduler
from ldm_plugins.shared.autoencoder_config import factor, latent_channels
from ldm_plugins.shared.codecs import codec_of
from ldm_plugins.shared.config_types import check_component


class Folder:
    """A model folder in Diffusers' format.

    Args:
        source: the model as a person named it, for messages.
        index: its ``model_index.json``.
        autoencoder: the component that is one; None where the model draws pixels.
        stated: what the weights say of the scheduler's settings, in place of its config.
    """

    def __init__(
        self,
        source: str,
        path: Path,
        index: Mapping[str, Any],
        autoencoder: str | None,
        stated: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.source = source
        self.path = path
        self.index = index
        self._autoencoder = autoencoder
        self._stated = stated
        self._read: dict[Path, dict[str, Any]] = {}

    @property
    def pipeline(self) -> str:
        """Diffusers' class for the folder."""
        return str(self.index["_class_name"])

    def class_of(self, component: str) -> str | None:
        """The class of a component in the index; None where the folder lacks it."""
        return class_of(self.index, component)

    def config(self, component: str) -> dict[str, Any]:
        """A component's ``config.json``; `LdmError` where it is missing or broken."""
        return self._json(self.path / component / "config.json", check_component)

    @property
    def scheduler(self) -> dict[str, Any]:
        """The ``scheduler_config.json``, but for what the weights say themselves."""
        file = self.path / "scheduler" / "scheduler_config.json"
        config = self._json(file, check_scheduler)
        return with_stated(config, self._stated)

    @property
    def autoencoder(self) -> dict[str, Any]:
        """The autoencoder's config; empty where the model draws pixels."""
        return {} if self._autoencoder is None else self.config(self._autoencoder)

    @property
    def codec(self) -> str:
        """The encoder and decoder that go with the autoencoder."""
        cls = None if self._autoencoder is None else self.class_of(self._autoencoder)
        return codec_of(cls)

    @property
    def latent_channels(self) -> int:
        """Of the autoencoder's latents; of a vector-quantised one's, those of its codes."""
        return latent_channels(self.autoencoder, self.codec)

    @property
    def factor(self) -> int:
        """By how much the autoencoder shrinks each side; 1 where the model draws pixels."""
        return 1 if self._autoencoder is None else factor(self.autoencoder, self.codec)

    def error(self, message: str, hint: str = "") -> LdmError:
        """What is wrong with the folder."""
        return LdmError(f"'{self.source}': {message}", hint)

    def check_channels(self, channels: int, more: str = "") -> None:
        """See that the network takes the autoencoder's latents.

        Args:
            more: what to say beyond that.
        """
        gives = self.latent_channels
        if channels != gives and self.codec == "vq":
            raise self.error(
                f"the network takes {channels} channels, and the autoencoder's codes have "
                f"{gives}{more}."
            )
        if channels != gives:
            raise self.error(
                f"the network takes {channels} channels and the autoencoder gives {gives}{more}."
            )

    def check_width(self, takes: int, gives: int, encoder: str = "the text encoder") -> None:
        """See that the network takes a text encoder's hidden states."""
        if takes != gives:
            raise self.error(
                f"the network takes text states of width {takes}, and {encoder} gives {gives}."
            )

    def learns_variance(self, channels: int, returned: int) -> bool:
        """Whether a network that takes so many channels predicts a variance too.

        Raises:
            LdmError: it returns neither like x, nor x and a variance.
        """
        if returned not in (channels, 2 * channels):
            raise self.error(
                f"the network takes {channels} channels and returns {returned}; it should return "
                f"{channels}, or {2 * channels} where it predicts a variance too."
            )
        return returned == 2 * channels

    def class_names(self, count: int) -> tuple[str, ...]:
        """What ``id2label`` in the index calls each of so many classes; empty where it says
        nothing."""
        labels = self.index.get("id2label")
        names: Mapping[str, Any] = labels if isinstance(labels, Mapping) else {}
        return tuple(str(names.get(str(number), "")) for number in range(count))

    def info(
        self,
        family: str,
        scheduler: FolderScheduler,
        *,
        channels: int,
        sample: tuple[int, ...],
        steps: int,
        guidance: str | Mapping[str, Any],
        abilities: Iterable[str],
        conditioning: Sequence[str | Mapping[str, Any]],
        patch: int = 1,
        most: int | None = None,
        latents: LatentSpace | None = None,
        encoder: Mapping[str, Any] = MappingProxyType({}),
        **more: Any,
    ) -> ModelInfo:
        """What a model is, with what all families choose alike.

        Args:
            channels: of its latents.
            sample: the places, such as (height, width), of the latents that it draws where nothing
                is chosen.
            steps, guidance, conditioning: its defaults, as a recipe has them.
            patch: the sides of a latent must be multiples of it.
            most: the longest side of a latent.
            latents: of what is no picture, such as a video; a picture's by the above where None.
            encoder: options of the encoder, such as that it takes a posterior's mean.
            more: other fields of `ModelInfo`.
        """
        self._check_statistics()
        if latents is None:
            latents = LatentSpace.of_picture(channels, stride=self.factor, patch=patch, most=most)
        return ModelInfo(
            family=family,
            source=self.source,
            folder=self.path,
            noise_schedule=scheduler.noise_schedule,
            prediction_type=scheduler.prediction_type,
            latents=latents,
            default_extent=latents.extent((channels, *sample)),
            abilities=frozenset(abilities),
            scheduler_config=scheduler.config,
            goes_with=scheduler.goes_with,
            handed=scheduler.handed,
            defaults={
                "num_inference_steps": steps,
                "guidance": guidance,
                "conditioning": list(conditioning),
                "attention": "native",
                "encoder": {"name": self.codec, **encoder} if encoder else self.codec,
                "decoder": self.codec,
                **scheduler.recipe,
            },
            **more,
        )

    def _check_statistics(self) -> None:
        """See that the autoencoder has a mean and a deviation of each of its latents' channels,
        where it has any."""
        for name in ("latents_mean", "latents_std"):
            numbers = self.autoencoder.get(name)
            if isinstance(numbers, list) and len(numbers) != self.latent_channels:
                raise self.error(
                    f"the autoencoder's {name} has {len(numbers)} numbers, and its latents have "
                    f"{self.latent_channels} channels."
                )

    def _json(self, path: Path, check: Callable[[dict[str, Any], Path], None]) -> dict[str, Any]:
        if path not in self._read:
            table = read_json(path)
            check(table, path)
            self._read[path] = table
        return self._read[path]


def class_of(index: Mapping[str, Any], component: str) -> str | None:
    """The class of a component in a ``model_index.json``; None where the folder lacks it."""
    entry = index.get(component)
    cls = entry[1] if isinstance(entry, list | tuple) and len(entry) == 2 else entry
    return str(cls) if cls is not None else None


def sample_size(config: Mapping[str, Any], default: int) -> tuple[int, int]:
    """(height, width) of a network's ``sample_size``, one number or (height, width)."""
    sample = config.get("sample_size") or default
    height, width = sample if isinstance(sample, list | tuple) else (sample, sample)
    return height, width
