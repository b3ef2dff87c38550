"""Flux, and the models that were made of it to edit, to fill and to follow pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, Model, ModelInfo, Part, Place
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.flow_scheduler_config import read_flow_scheduler
from ldm_plugins.families.shared.flux_text import FluxText
from ldm_plugins.families.shared.flux_tokens import (
    PATCH,
    check_tokens,
    pack,
    positions,
    unpack,
)
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.network_times import network_times
from ldm_plugins.families.shared.picture_tokens import PictureTokens
from ldm_plugins.families.shared.reference_latents import KontextReferences
from ldm_plugins.families.shared.rotary import check_axes
from ldm_plugins.families.shared.seen_pictures import told_of_pictures
from ldm_plugins.families.shared.t5_text import T5Text
from ldm_plugins.families.shared.transformer_image_prompts import FluxImagePrompts
from ldm_plugins.families.shared.transformer_sides import (
    BLOCK,
    SINGLE,
    TransformerSides,
    residuals_of,
)

if TYPE_CHECKING:
    from torch import Tensor

LATENT_SIZE = 128  # of a square picture of the trained size; the folder does not say it
WINDOW = 512  # T5 tokens
SCALES = {
    "FluxPipeline": 3.5,
    "FluxImg2ImgPipeline": 7.0,
    "FluxInpaintPipeline": 7.0,
    "FluxControlNetPipeline": 7.0,
    "FluxControlNetImg2ImgPipeline": 7.0,
    "FluxControlNetInpaintPipeline": 7.0,
    "FluxKontextPipeline": 3.5,
    "FluxKontextInpaintPipeline": 3.5,
    "FluxFillPipeline": 30.0,
    "FluxControlPipeline": 3.5,
    "FluxControlImg2ImgPipeline": 7.0,
    "FluxControlInpaintPipeline": 7.0,
}
"""The scale that each class takes that Diffusers may have saved such a model from."""
STEPS = {"FluxFillPipeline": 50}
"""The steps of those that do not take 28."""
TASKS = {
    "FluxKontextPipeline": "reference",
    "FluxKontextInpaintPipeline": "reference",
    "FluxFillPipeline": "inpainting",
    "FluxControlPipeline": "control_channels",
    "FluxControlImg2ImgPipeline": "control_channels",
    "FluxControlInpaintPipeline": "control_channels",
}
"""The ability that the networks of these classes have beyond text."""
CONDITIONING = {
    "reference": "reference",
    "inpainting": "mask",
    "control_channels": "control_channels",
}
"""The conditioning of each."""


class Flux(DiffusersFolder):
    """Text-to-image with a rectified-flow transformer, distilled to take its guidance as a number
    (dev) or none (schnell) (Black Forest Labs 2024): folders of FluxPipeline and of its classes
    for other tasks. Kontext sees a reference picture (Labs et al. 2025, arXiv:2506.15742); Fill
    takes a mask and a masked picture as more channels, Canny and Depth a control picture."""

    pipelines = tuple(SCALES)
    components: ClassVar = {
        "transformer": Component(("FluxTransformer2DModel",), "network"),
        "vae": Component(("AutoencoderKL", "AutoencoderTiny"), "autoencoder"),
        "text_encoder": Component(("CLIPTextModel",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "text_encoder_2": Component(("T5EncoderModel",), "text"),
        "tokenizer_2": Component(("T5Tokenizer",), "other"),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        transformer = folder.config("transformer")
        task = TASKS.get(folder.pipeline)
        own = folder.latent_channels * PATCH**2
        mask = (folder.factor * PATCH) ** 2
        more = {"control_channels": own, "inpainting": own + mask}
        check_tokens(folder, more.get(task or "", 0))
        t5, clip = (folder.config(name) for name in ("text_encoder_2", "text_encoder"))
        for name, takes, gives in (
            ("T5", transformer.get("joint_attention_dim", 4096), t5.get("d_model", 512)),
            ("CLIP", transformer.get("pooled_projection_dim", 768), clip.get("hidden_size", 512)),
        ):
            if takes != gives:
                raise folder.error(
                    f"the network takes text states of width {takes} from {name}, which gives "
                    f"{gives}."
                )
        check_axes(folder, (16, 56, 56))
        guided = bool(transformer.get("guidance_embeds", False))
        tasks = [] if task is None else [task]
        abilities = [
            "text",
            "prompt_2",
            "max_sequence_length",
            "picture_tokens",
            "image_prompt",
            *tasks,
            *(["guidance_embeds"] if guided else []),
        ]
        if task == "inpainting":
            abilities.append("pixel_mask")
        return folder.info(
            "flux",
            read_flow_scheduler(folder.scheduler, base="trailing", patch=PATCH),
            channels=folder.latent_channels,
            sample=(LATENT_SIZE, LATENT_SIZE),
            patch=PATCH,
            steps=STEPS.get(folder.pipeline, 28),
            guidance={"name": "embedded", "scale": SCALES[folder.pipeline]} if guided else "none",
            abilities=[*abilities, "control"],
            needs=frozenset({"text", *tasks} - {"reference"}),
            conditioning=["text", *(CONDITIONING[name] for name in tasks)],
            most_references=1 if task == "reference" else None,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        transformer = parts["transformer"]
        device, dtype = transformer.device, transformer.dtype
        guided = "guidance_embeds" in info.abilities
        blocks = {
            "controlnet_block_samples": (BLOCK, len(transformer.module.transformer_blocks)),
            "controlnet_single_block_samples": (
                SINGLE,
                len(transformer.module.single_transformer_blocks),
            ),
        }

        def network(call: Call) -> Tensor:
            x, condition = call.x, call.condition
            states = condition["text"].to(device, dtype)
            rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
            tokens = pack(torch.cat([x, *_more_channels(condition, x)], dim=1))
            places = positions(rows, columns, device)
            seen = condition.get("reference")
            if seen is not None:
                sides = seen.shape[-2] // PATCH, seen.shape[-1] // PATCH
                # before the picture's, whose tokens are the last to whoever looks at attention
                tokens = torch.cat([pack(seen).to(tokens.device), tokens], dim=1)
                places = torch.cat([positions(*sides, device, picture=1), places])
            guidance = condition.get("guidance")
            if guidance is None and guided:
                guidance = torch.ones(len(x))
            output: Tensor = transformer.module(
                hidden_states=tokens.to(device, dtype),
                timestep=network_times(call, device),
                guidance=None if guidance is None else guidance.to(device),
                encoder_hidden_states=states,
                pooled_projections=condition["pooled"].to(device, dtype),
                txt_ids=torch.zeros(states.shape[1], 3, device=device),
                img_ids=places,
                **residuals_of(condition, transformer, blocks),
                **told_of_pictures(condition, transformer),
                return_dict=False,
            )[0]
            drawn = output[:, -rows * columns :].to(x.device, torch.float32)
            return unpack(drawn, rows, columns)

        text = FluxText(
            ClipEncoder(parts["text_encoder"], parts["tokenizer"].module),
            T5Text(parts["text_encoder_2"], parts["tokenizer_2"].module, WINDOW),
            device,
        )
        abilities: dict[str, Any] = dict.fromkeys(info.abilities, True)
        abilities |= {
            "text": text,
            "control": TransformerSides(place, parts),
            "picture_tokens": PictureTokens(place, device),
            "image_prompt": FluxImagePrompts(place, device),
        }
        if "reference" in info.abilities:
            abilities["reference"] = KontextReferences(parts["vae"], PATCH, device)
        return Model(info, network, abilities, parts, place)


def _more_channels(condition: Condition, x: Tensor) -> list[Tensor]:
    """What a network takes beside x, channel by channel: the latents of a control picture, or those
    of a masked one and the mask's pixels of each latent."""
    from torch.nn.functional import pixel_unshuffle

    if "control" in condition:
        return [condition["control"].to(x.device)]
    if "mask" not in condition:
        return []
    mask = condition["mask"].to(x.device)
    pixels = pixel_unshuffle(mask, mask.shape[-1] // x.shape[-1])
    return [condition["masked_image"].to(x.device), pixels]
