"""HiDream-I1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared import tokens
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.shapes_alone import as_much_as_can_be
from ldm_plugins.families.shared.t5_text import T5Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 128  # tokens, of each text encoder
CLIPS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


class HiDream(DiffusersFolder):
    """Text-to-image with a sparse rectified-flow transformer that reads two CLIPs, T5 and every
    layer of Llama (Cai et al. 2025, arXiv:2505.22705): folders of HiDreamImagePipeline."""

    pipelines = ("HiDreamImagePipeline",)
    components: ClassVar = {
        "transformer": Component(("HiDreamImageTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL",), "autoencoder"),
        "text_encoder": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "text_encoder_2": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer_2": Component(("CLIPTokenizer",), "other"),
        "text_encoder_3": Component(("T5EncoderModel",), "text"),
        "tokenizer_3": Component(("T5Tokenizer",), "other"),
        "text_encoder_4": Component(("LlamaForCausalLM", "LlamaModel"), "text"),
        "tokenizer_4": Component(("PreTrainedTokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels, patch = transformer.get("in_channels") or 64, transformer.get("patch_size") or 2
        folder.check_channels(channels)
        _check_text(folder, transformer)
        places = min(transformer.get("max_resolution", (128, 128)))
        return folder.info(
            "hidream",
            read_flow_scheduler(folder.scheduler, patch=patch),
            channels=channels,
            sample=(min(LATENT_SIZE, places),) * 2,
            patch=patch,
            most=places,
            steps=50,
            guidance={"name": "classifier_free", "scale": 5.0},
            abilities=["text", "prompt_2", "prompt_3", "prompt_4"],
            needs=frozenset({"text"}),
            conditioning=["text"],
            data_dependent=True,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype

        def network(call: Call) -> Tensor:
            each = {key: value.to(device, dtype) for key, value in call.condition.items()}

            def sizes(counts: Tensor) -> list[tuple[int, ...]]:
                patch = transformer.module.config.patch_size
                return [tuple(side // patch for side in call.x.shape[-2:])] * len(counts)

            answers: dict[Any, Any] = {  # one expert gets all tokens
                torch.Tensor.bincount: lambda chosen: torch.tensor([chosen.numel()]),
                torch.Tensor.unbind: sizes,
            }
            with as_much_as_can_be(each["t5"], answers):
                output: Tensor = transformer.module(
                    hidden_states=call.x.to(device, dtype),
                    timesteps=call.t.to(device),
                    encoder_hidden_states_t5=each["t5"],
                    encoder_hidden_states_llama3=each["llama"].transpose(0, 1),
                    pooled_embeds=each["pooled"],
                    return_dict=False,
                )[0]
            return -output.to(call.x.device, torch.float32)

        return Model(info, network, {"text": HiDreamText(parts, device)}, parts, place)


def _check_text(folder: Folder, transformer: Mapping[str, Any]) -> None:
    """See that the text encoders give what the network takes."""
    t5, llama = (folder.config(f"text_encoder_{number}") for number in (3, 4))
    takes = transformer.get("caption_channels") or (4096, 4096)
    folder.check_width(takes[0], t5.get("d_model", 512), "T5")
    folder.check_width(takes[1], llama.get("hidden_size", 4096), "Llama")
    pooled = sum(folder.config(name).get("projection_dim", 512) for name in CLIPS)
    if pooled != transformer.get("text_emb_dim", 2048):
        raise folder.error(
            f"the network takes pooled text of width {transformer.get('text_emb_dim', 2048)}, and "
            f"the two CLIPs together give {pooled}."
        )
    for name in CLIPS:
        if (positions := folder.config(name).get("max_position_embeddings", 77)) < WINDOW:
            raise folder.error(
                f"the {name} reads {positions} tokens, and {WINDOW} are to be read; its own CLIPs "
                "read 248."
            )
    layers = transformer.get("llama_layers") or ()
    blocks = transformer.get("num_layers", 16) + transformer.get("num_single_layers", 32)
    deepest = llama.get("num_hidden_layers", 32)
    if len(layers) != blocks or not all(0 <= layer < deepest for layer in layers):
        raise folder.error(
            f"the network's llama_layers should name one of Llama's {deepest} layers for each of "
            f"its {blocks} blocks, not {list(layers)}."
        )


class HiDreamText(TextAbility):
    """T5's states, key ``t5``, those behind each of Llama's layers, key ``llama``, and both CLIPs'
    projected summaries, key ``pooled``.

    Args:
        device: where the condition goes.
    """

    def __init__(self, parts: Mapping[str, Part], device: torch.device) -> None:
        self._clips = [(parts[name], parts[CLIPS[name]].module) for name in CLIPS]
        self._t5 = T5Text(parts["text_encoder_3"], parts["tokenizer_3"].module, WINDOW)
        self._llama = parts["text_encoder_4"]
        self._words = parts["tokenizer_4"].module
        self._words.pad_token = self._words.eos_token  # its folder may name none
        self._device = device

    def encode(self, texts: Sequence[str | None]) -> Condition:
        """(texts, window, width), (texts, layers, window, width) and (texts, both CLIPs'
        projections)."""
        import torch

        summaries = []
        for encoder, tokenizer in self._clips:
            read = tokens.tokenize(tokenizer, texts, WINDOW, encoder.device)
            summaries.append(encoder.module(read.input_ids).text_embeds.to(self._device))
        t5, _ = self._t5.masked_states(texts)
        read = tokens.tokenize(self._words, texts, WINDOW, self._llama.device)
        layers = self._llama.module(
            read.input_ids,
            attention_mask=read.attention_mask,
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states[1:]
        return {
            "t5": t5.to(self._device),
            "llama": torch.stack(layers, dim=1).to(self._device),
            "pooled": torch.cat(summaries, dim=-1),
        }

    def joined(self, conditions: Sequence[Condition]) -> Condition:
        """Of four conditions: each CLIP, T5 and Llama reads its own text."""
        import torch

        one, two, three, four = conditions
        width = self._clips[0][0].module.config.projection_dim
        pooled = [one["pooled"][:, :width], two["pooled"][:, width:]]
        return {"t5": three["t5"], "llama": four["llama"], "pooled": torch.cat(pooled, dim=-1)}

    def overflow(self, text: str) -> str:
        """What neither Llama nor T5 reads."""
        lost = self._t5.overflow(text), tokens.overflow(self._words, text, WINDOW)
        return min(lost, key=len)
