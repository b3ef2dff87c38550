"""Another autoencoder in the place of the model's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ldm_core.contracts import Converter, Kernel, Model, ModelInfo, Part, Phase, PlaceNames
from ldm_core.contracts.files import FileName
from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.configs import read_config
from ldm_core.model.files import class_name
from ldm_core.model.from_folder import read_module
from ldm_core.model.loading import check_finite
from ldm_core.model.weight_files import check_weights, find_weights
from ldm_plugins.converters.shared.decoding import WHOLE, whole_alone
from ldm_plugins.converters.vae_slicing import VaeSlicing
from ldm_plugins.converters.vae_tiling import VaeTiling
from ldm_plugins.shared.autoencoder_config import factor, latent_channels
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.codecs import CODECS, check_class
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.quiet import quiet

NAME = "autoencoder"


def autoencoder(*, path: FileName) -> Converter:
    """Encode and decode with another autoencoder of the same latents: one that was trained on, as
    one that computes in float16, or one with another decoder, an AsymmetricAutoencoderKL or a
    ConsistencyDecoderVAE. Latents are normalised as its own config says.

    Args:
        path: folder or Hub id of the autoencoder.
    """
    return OtherAutoencoder(path)


@dataclass(frozen=True)
class OtherAutoencoder(Converter):
    """
    Attributes:
        path: as a person named it.
        folder: where it is.
        cls: its class.
        part: the name of the model's own.
    """

    path: str
    folder: Path = Path()
    cls: str = ""
    own: str = ""
    phase = Phase.WEIGHTS
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        parts = [part for part in info.parts if part.role == "autoencoder"]
        if len(parts) != 1:
            has = "several autoencoders" if parts else "none"
            raise LdmError(
                f"the converter '{NAME}' does not fit the model '{info.source}' (family "
                f"{info.family}): it has {has}."
            )
        folder = component_folder(self.path, NAME)
        config = read_config(folder)
        check_component(config, folder / "config.json")
        cls, own = class_name(config), parts[0]
        if CODECS.get(cls, ("",))[0] != CODECS[own.cls][0]:
            raise LdmError(
                f"the autoencoder '{self.path}' is a {cls}, and that of '{info.source}' (family "
                f"{info.family}) is a {own.cls}, whose latents it does not take.",
                "an AutoencoderTiny decodes them as 'tiny_decoder'."
                if cls == "AutoencoderTiny"
                else "",
            )
        check_weights(folder, [""])
        self._compare(info, config, read_config(info.folder / own.name))
        return replace(self, folder=folder, cls=cls, own=own.name)

    def beside(self, others: Sequence[Converter]) -> None:
        for other in others:
            if self.cls in WHOLE and isinstance(other, VaeSlicing | VaeTiling):
                raise whole_alone(self.cls)

    def within(self, recipe: Mapping[str, Any], attention: Kernel) -> None:
        for half in ("encoder", "decoder"):
            name = str(recipe[half].get("name")).rpartition(":")[2]
            if any(name in names for names in CODECS.values()):
                check_class(name, [self.cls], self.cls)

    def files(self) -> Sequence[Path]:
        names = ("config.json", *find_weights(self.folder).names)
        return [self.folder / name for name in names]

    def convert(self, model: Model) -> Model:
        import torch

        from ldm_core.model.stored_weight import compute_in

        what, place = f"the autoencoder ({self.cls}) in {self.folder}", model.place
        with quiet(what):
            module: Any = read_module(
                what, self.folder, find_class(self.cls), True, torch_dtype=place.dtype
            )
        check_finite(what, module.state_dict())
        module, dtype = place.put(module), place.dtype
        wide = read_config(self.folder).get("force_upcast") is True
        if wide and place.compute_dtype is torch.float16:
            compute_in(module, torch.float32)
            dtype = torch.float32
        part = Part(module, "autoencoder", place.device, dtype)
        for later in place.later:
            part = later(part)
        return model.replaced({self.own: part})

    def _compare(self, info: ModelInfo, config: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """See that the latents are those of the model's own autoencoder, by its config."""
        codec = CODECS[self.cls or class_name(config)][0]
        misfits = [
            f"it has {theirs} {what} and the model's own {ours}"
            for what, theirs, ours in (
                ("latent channels", latent_channels(config, codec), latent_channels(own, codec)),
                ("pixels a side for a latent", factor(config, codec), factor(own, codec)),
                ("image channels", _colours(config), _colours(own)),
            )
            if theirs != ours
        ]
        if misfits:
            raise LdmError(
                f"the autoencoder '{self.path}' does not fit the latents of '{info.source}' "
                f"(family {info.family}): {'; '.join(misfits)}."
            )


def _colours(config: Mapping[str, Any]) -> int:
    return int(config.get("out_channels") or 3)
