"""FLUX.2."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, LatentSpace, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.prompt_writer import PromptWriter
from ldm_plugins.families.shared.reference_latents import Flux2References, check_sides
from ldm_plugins.families.shared.rotary import check_axes
from ldm_plugins.families.shared.template_text import TemplateText
from ldm_plugins.shared.packed_statistics import SIDE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOKENS = 64  # of a side of the picture of the trained size; the folder does not say it
WINDOW = 512
FEW = 4  # steps of a distilled klein, as its authors take
SCALES = {"Flux2Pipeline": 4.0, "Flux2KleinPipeline": 4.0, "Flux2KleinInpaintPipeline": 8.0}
"""The scale that each class takes that Diffusers may have saved such a model from."""
MISTRAL, QWEN = "Mistral3ForConditionalGeneration", "Qwen3ForCausalLM"
LAYERS = {MISTRAL: (10, 20, 30), QWEN: (9, 18, 27)}
"""The layers of each text encoder whose states the network reads."""
SYSTEM = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing "
    "on object relationships, object\nattribution and actions without speculation."
)
"""What Mistral is told before a prompt, as in training (Black Forest Labs 2025)."""
TEMPERATURE = 0.15
"""Of prompts that are written out, as its authors recommend."""
APART = 10
"""The first place of a reference picture's tokens, and of the next one's after it."""


class Flux2(DiffusersFolder):
    """Text-to-image and editing by several pictures with a rectified-flow transformer that reads
    layers of a language model (Black Forest Labs 2025): folders of Flux2Pipeline (dev), distilled
    to take its guidance as a number, and of Flux2KleinPipeline, which takes a negative prompt, or
    is distilled to take neither."""

    pipelines = tuple(SCALES)
    components: ClassVar = {
        "transformer": Component(("Flux2Transformer2DModel",), "network"),
        "vae": Component(("AutoencoderKLFlux2",), "autoencoder"),
        "text_encoder": Component((MISTRAL, QWEN), "text"),
        "tokenizer": Component(("PixtralProcessor", "LlamaTokenizer", "Qwen2Tokenizer"), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        channels = folder.latent_channels * SIDE**2
        takes = transformer.get("in_channels", 128)
        if takes != channels:
            raise folder.error(
                f"the network takes {takes} channels a token, and 2x2 latents of the "
                f"autoencoder's {folder.latent_channels} channels make {channels}."
            )
        patch = folder.autoencoder.get("patch_size") or [SIDE, SIDE]
        if patch != [SIDE, SIDE]:
            raise folder.error(f"the autoencoder's patches are {patch}, and not 2x2.")
        _check_text(folder)
        check_axes(folder, (32, 32, 32, 32))
        guided = folder.pipeline == "Flux2Pipeline" and transformer.get("guidance_embeds", True)
        name = "embedded" if guided else "classifier_free"
        guidance: Any = {"name": name, "scale": SCALES[folder.pipeline]}
        distilled = bool(folder.index.get("is_distilled"))
        if distilled or (folder.pipeline == "Flux2Pipeline" and not guided):
            guidance = "none"
        abilities = ["text", "reference"]
        known = [
            *abilities,
            "max_sequence_length",
            *(["upsampling"] if folder.class_of("text_encoder") == MISTRAL else []),
        ]
        return folder.info(
            "flux_2",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=1, of_steps=True),
            channels=channels,
            latents=LatentSpace.of_picture(channels, stride=folder.factor * SIDE),
            sample=(TOKENS, TOKENS),
            steps=FEW if distilled else 50,
            guidance=guidance,
            abilities=[*known, "guidance_embeds"] if guided else known,
            needs=frozenset({"text"}),
            conditioning=abilities,
            check_reference=check_sides,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        guided = "guidance_embeds" in info.abilities

        def network(call: Call) -> Tensor:
            x, condition = call.x, call.condition
            states = condition["text"].to(device, dtype)
            names = takewhile(lambda key: key in condition, (f"reference_{n}" for n in count()))
            seen = [condition[name].to(x.device) for name in names]
            # x last, where whoever looks at attention expects the picture's tokens
            numbers, pictures = [*range(1, len(seen) + 1), 0], [*seen, x]
            guidance = condition.get("guidance")
            if guidance is None and guided:
                guidance = torch.ones(len(x))
            each = zip(numbers, pictures, strict=True)
            ids = [_places(APART * number, picture, device) for number, picture in each]
            output: Tensor = transformer.module(
                hidden_states=torch.cat([_tokens(p) for p in pictures], dim=1).to(device, dtype),
                timestep=network_times(call, device),
                guidance=guidance.to(device) if guided and guidance is not None else None,
                encoder_hidden_states=states,
                txt_ids=_words(states.shape[1], device)[None],
                img_ids=torch.cat(ids)[None],
                return_dict=False,
            )[0]
            drawn = output[:, -x.shape[-2] * x.shape[-1] :].to(x.device, torch.float32)
            return drawn.transpose(1, 2).reshape(x.shape)

        abilities: dict[str, Any] = dict.fromkeys(info.abilities, True)
        abilities["text"] = _text(parts, device)
        abilities["reference"] = Flux2References(parts["vae"], device)
        if "upsampling" in info.abilities:
            encoder, tokenizer = parts["text_encoder"], parts["tokenizer"].module
            abilities["upsampling"] = PromptWriter(encoder, tokenizer, _to_writer, TEMPERATURE)
        return Model(info, network, abilities, parts, place)


def _check_text(folder: Folder) -> None:
    """See that the text encoder has the layers that the network reads, and their width."""
    cls = str(folder.class_of("text_encoder"))
    config = folder.config("text_encoder")
    config = config.get("text_config", config)
    layers, depth = LAYERS[cls], config.get("num_hidden_layers", 0)
    if depth < max(layers):
        raise folder.error(
            f"the network reads the layers {', '.join(map(str, layers))} of the text encoder, "
            f"which has {depth}."
        )
    width = folder.config("transformer").get("joint_attention_dim", 15360)
    gives = config.get("hidden_size", 0) * len(layers)
    folder.check_width(width, gives, f"the text encoder's {len(layers)} layers together")


def _text(parts: Mapping[str, Part], device: torch.device) -> TemplateText:
    """What encodes prompts, by the class of the text encoder."""
    encoder, tokenizer = parts["text_encoder"], parts["tokenizer"].module
    cls = encoder.module.config.architectures[0]
    if cls == QWEN:
        options = {"add_generation_prompt": True, "enable_thinking": False}
        return TemplateText(encoder, tokenizer, LAYERS[QWEN], _to_qwen, options, WINDOW, device)
    options = {"add_generation_prompt": False}
    return TemplateText(encoder, tokenizer, LAYERS[MISTRAL], _to_mistral, options, WINDOW, device)


def _to_qwen(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _to_writer(text: str, system: str) -> list[dict[str, Any]]:
    """What its authors tell it to do stands in the place of what a person would."""
    from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE_UPSAMPLING_T2I

    return _to_mistral(text, SYSTEM_MESSAGE_UPSAMPLING_T2I)


def _to_mistral(text: str, system: str = SYSTEM) -> list[dict[str, Any]]:
    both = {"system": system, "user": text.replace("[IMG]", "")}
    return [
        {"role": role, "content": [{"type": "text", "text": said}]} for role, said in both.items()
    ]


def _tokens(latents: Tensor) -> Tensor:
    """(batch, channels, height, width) to (batch, height · width, channels)."""
    return latents.flatten(2).transpose(1, 2)


def _places(picture: int, latents: Tensor, device: torch.device) -> Tensor:
    """(height · width, 4): the picture, row, column and 0 of each token, row by row; 0 is the
    picture that is drawn."""
    import torch

    rows, columns = (torch.arange(side, device=device) for side in latents.shape[-2:])
    one = torch.tensor([picture], device=device)
    return torch.cartesian_prod(one, rows, columns, torch.zeros_like(one))


def _words(count: int, device: torch.device) -> Tensor:
    """(count, 4): 0, 0, 0 and the number of each token of the text."""
    import torch

    return torch.nn.functional.pad(torch.arange(count, device=device)[:, None], (3, 0))
