"""A small decoder in the place of the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Phase, PlaceNames
from ldm_core.contracts.files import FileName
from ldm_core.errors import LdmError
from ldm_core.model.component_folder import component_folder
from ldm_core.model.configs import read_config
from ldm_core.model.files import class_name
from ldm_core.model.from_folder import read_module
from ldm_core.model.loading import check_finite
from ldm_core.model.weight_files import check_weights, find_weights
from ldm_plugins.converters.shared.decoding import check_has_pieces, check_is_plain
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.quiet import quiet

CLASS = "AutoencoderTiny"
PART = "tiny_decoder"
CHANNELS = 4  # of the latents, where a config does not say


def tiny_decoder(*, path: FileName) -> Converter:
    """Decode with a small autoencoder that was trained to decode the same latents, such as a TAESD:
    in a fraction of time and memory, and with less detail. Pictures are encoded by the model's own.

    Args:
        path: folder or Hub id of an AutoencoderTiny.
    """
    return TinyDecoder(path)


@dataclass(frozen=True)
class TinyDecoder(Converter):
    """
    Attributes:
        path: as a person named it.
        folder: where it is.
    """

    path: str
    folder: Path | None = None
    phase = Phase.WEIGHTS
    lossless = False

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        check_has_pieces(info, PART)
        check_is_plain(info, PART)
        folder = component_folder(self.path, "decoder")
        _check(self.path, folder, info)
        return TinyDecoder(self.path, folder)

    def files(self) -> Sequence[Path]:
        assert self.folder is not None
        names = ("config.json", *find_weights(self.folder).names)
        return [self.folder / name for name in names]

    def convert(self, model: Model) -> Model:
        assert self.folder is not None
        what, place = f"the decoder ({CLASS}) in {self.folder}", model.place
        with quiet(what):
            module = read_module(
                what, self.folder, find_class(CLASS), True, torch_dtype=place.dtype
            )
        check_finite(what, module.state_dict())
        part = Part(place.put(module), "decoder", place.device, place.dtype)
        for later in place.later:
            part = later(part)
        return model.replaced({PART: part})


def _check(source: str, folder: Path, info: ModelInfo) -> None:
    """See that a folder has whole weights of a decoder for a model's latents; reads no weights."""
    config = read_config(folder)
    check_component(config, folder / "config.json")
    if (cls := class_name(config)) != CLASS:
        raise LdmError(f"the decoder '{source}' is a {cls}, and should be an {CLASS}.")
    check_weights(folder, [""])
    blocks = config.get("num_decoder_blocks") or [3, 3, 3, 1]
    grows = int(config.get("upsampling_scaling_factor") or 2) ** (len(blocks) - 1)
    misfits = [
        f"it has {theirs} {what} and the model {ours}"
        for what, theirs, ours in (
            ("latent channels", config.get("latent_channels", CHANNELS), info.latents.channels),
            ("pixels a side for a latent", grows, info.latents.axis("height").stride),
            ("image channels", config.get("out_channels", 3), info.image_channels),
        )
        if theirs != ours
    ]
    if misfits:
        raise LdmError(
            f"the decoder '{source}' does not fit the latents of '{info.source}' (family "
            f"{info.family}): {'; '.join(misfits)}."
        )
