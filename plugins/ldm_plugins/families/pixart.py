"""PixArt-alpha and PixArt-sigma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import Sizes, Span, TextAbility
from ldm_core.model.files import read_index
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOWS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300, "PixArtSigmaPAGPipeline": 300}
"""T5 tokens that each network takes."""
MICRO_CONDITIONS = ("resolution", "aspect_ratio")


class PixArt(DiffusersFolder):
    """Text-to-image with a diffusion transformer that reads T5 (Chen et al. 2023, arXiv:2310.00426,
    and 2024, arXiv:2403.04692): folders of PixArtAlphaPipeline and PixArtSigmaPipeline."""

    pipelines = tuple(WINDOWS)
    components: ClassVar = {
        # alpha's folders name the network by the class that it has left since
        "transformer": Component(("PixArtTransformer2DModel", "Transformer2DModel"), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("T5EncoderModel",), "text"),
        "tokenizer": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = transformer.get("in_channels", 4)
        folder.check_channels(channels, "; only plain text-to-image models are known")
        returned = transformer.get("out_channels", 8) or channels
        if returned not in (channels, 2 * channels):
            raise folder.error(
                f"the network returns {returned} channels; {channels} were expected, or "
                f"{2 * channels} with a variance."
            )
        width = transformer.get("caption_channels") or transformer.get("cross_attention_dim", 1152)
        folder.check_width(width, folder.config("text_encoder").get("d_model", 512), "T5")
        abilities = ["text", "size"] if _takes_sizes(transformer) else ["text"]
        return folder.info(
            "pixart",
            read_scheduler(folder.scheduler),
            channels=channels,
            sample=sample_size(transformer, 128),
            patch=transformer.get("patch_size", 2),
            steps=20,
            guidance={"name": "classifier_free", "scale": 4.5},
            abilities=[*abilities, "max_sequence_length"],
            needs=frozenset(abilities),
            conditioning=abilities,
            learned_variance=returned == 2 * channels,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            sizes = {key: call.condition.get(key) for key in MICRO_CONDITIONS}
            output: Tensor = transformer.module(
                call.x.to(device, dtype),
                encoder_hidden_states=call.condition["text"].to(device, dtype),
                encoder_attention_mask=call.condition["text_mask"].to(device),
                timestep=call.t.to(device),
                added_cond_kwargs={k: v if v is None else v.to(device) for k, v in sizes.items()},
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        window = WINDOWS[read_index(info.folder)["_class_name"]]
        t5 = T5Text(parts["text_encoder"], parts["tokenizer"].module, window)
        abilities: dict[str, Any] = {"text": PixArtText(t5, device)}
        if "size" in info.abilities:
            abilities["size"] = MicroConditioning(device)
        return Model(info, network, abilities, parts, place)


def _takes_sizes(transformer: Mapping[str, Any]) -> bool:
    """Whether the network takes micro-conditions; folders that do not say do at 1024 pixels."""
    stated = transformer.get("use_additional_conditions")
    return bool(stated) if stated is not None else transformer.get("sample_size", 128) == 128


class MicroConditioning:
    """Sizes as the network's conditions: ``resolution``, of the original picture, and
    ``aspect_ratio``, of what was cut out of it (after Podell et al. 2023, arXiv:2307.01952,
    Section 2.2)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def encode(self, sizes: Sequence[Sizes]) -> Condition:
        """(pictures, 2) height and width, and (pictures, 1) height over width, float32."""
        import torch

        resolution = torch.tensor([s.original for s in sizes], dtype=torch.float32)
        ratio = torch.tensor([[s.target[0] / s.target[1]] for s in sizes], dtype=torch.float32)
        each = zip(MICRO_CONDITIONS, (resolution, ratio), strict=True)
        return {key: value.to(self._device) for key, value in each}


class PixArtText(TextAbility):
    """T5's states, key ``text``, and which of them are words, key ``text_mask``; in small
    letters, as the networks were trained on.

    Args:
        device: where the condition goes.
    """

    joins_windows = True
    any_length = frozenset({"text", "text_mask"})

    def __init__(self, t5: T5Text, device: torch.device) -> None:
        self._t5 = t5
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width) and (texts, window)."""
        states, mask = self._t5.masked_states([_plain(text or "") for text in texts])
        return {"text": states.to(self._device), "text_mask": mask.to(self._device)}

    def windowed(self, length: int) -> TextAbility:
        return PixArtText(self._t5.windowed(length), self._device)

    def overflow(self, text: str) -> str:
        return self._t5.overflow(_plain(text))

    def tokens(self, text: str) -> Mapping[str, Sequence[Span]]:
        ahead = len(text) - len(text.lstrip())
        spans = [(start + ahead, end + ahead) for start, end in self._t5.spans(_plain(text))]
        return {"text": spans, "text_mask": spans}


def _plain(text: str) -> str:
    return text.lower().strip()
