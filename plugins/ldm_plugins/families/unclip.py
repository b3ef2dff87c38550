"""unCLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ldm_core.contracts import Call, Condition, LatentSpace, Model, ModelInfo, Part, Place, Run
from ldm_core.contracts.abilities import TextAbility
from ldm_plugins.families.shared.clip_text import ClipEncoder
from ldm_plugins.families.shared.component import Component
from ldm_plugins.families.shared.diffusers_folder import DiffusersFolder
from ldm_plugins.families.shared.embedding_prior import EmbeddingPrior, UnclipText, check_prior
from ldm_plugins.families.shared.enlarger import NAMES, Enlarger, factor_of
from ldm_plugins.families.shared.folder import Folder, sample_size
from ldm_plugins.families.shared.picture_eyes import PictureEyes
from ldm_plugins.families.shared.scheduler_config import read_scheduler
from ldm_plugins.families.shared.unclip_scheduler_config import read_unclip_scheduler

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

NAME = "picture_embedding"
NOTHING = "learned_classifier_free_guidance_embeddings"
VARIATION = "UnCLIPImageVariationPipeline"


class Unclip(DiffusersFolder):
    """Text-to-image, or variations of a picture, by what CLIP sees in it: a prior draws that of the
    text, a UNet draws small pixels of it, and a decoder four times as many (Ramesh et al. 2022,
    arXiv:2204.06125): folders of UnCLIPPipeline and UnCLIPImageVariationPipeline.

    The small pixels are what is sampled; the decoder `super_resolution` makes the picture of them.
    """

    pipelines = ("UnCLIPPipeline", VARIATION)
    components: ClassVar = {
        "decoder": Component(("UNet2DConditionModel",), "network"),
        **dict.fromkeys(NAMES, Component(("UNet2DModel",), "autoencoder")),
        "text_proj": Component(("UnCLIPTextProjModel",), "side"),
        "text_encoder": Component(("CLIPTextModelWithProjection",), "text"),
        "tokenizer": Component(("CLIPTokenizer",), "other"),
        "prior": Component(("PriorTransformer",), "side", optional=True),
        "image_encoder": Component(("CLIPVisionModelWithProjection",), "side", optional=True),
    }

    def describe(self, folder: Folder) -> ModelInfo:
        decoder, told = folder.config("decoder"), folder.config("text_proj")
        channels = decoder.get("in_channels", 4)
        learned = folder.learns_variance(channels, decoder.get("out_channels", 4))
        width = told.get("clip_embeddings_dim", 768)
        _check_text(folder, width)
        eye = "image_encoder" if folder.pipeline == VARIATION else "prior"
        if folder.class_of(eye) is None:
            raise folder.error(f"a {folder.pipeline} has a {eye}, and this folder has none.")
        if eye == "prior":
            check_prior(folder, "text_encoder", width)
            read_unclip_scheduler(folder.path / "prior_scheduler")
        else:
            gives = folder.config(eye).get("projection_dim", 512)
            if gives != width:
                raise folder.error(f"{eye} gives vectors of {gives}, and {width} are read.")
        small = sample_size(decoder, 64)
        unit = 2 ** (len(decoder.get("block_out_channels", (320, 640, 1280, 1280))) - 1)
        read_unclip_scheduler(folder.path / "super_res_scheduler")
        factor = factor_of(folder, channels, small)
        needs = ["text", NAME]
        return folder.info(
            "unclip",
            read_scheduler(read_unclip_scheduler(folder.path / "decoder_scheduler")),
            channels=channels,
            sample=small,
            latents=LatentSpace.of_picture(channels, factor, unit),
            steps=25,
            guidance={"name": "classifier_free", "scale": 8.0},
            abilities=[
                *needs,
                "super_resolution",
                *(["embedding_prior"] if eye == "prior" else []),
            ],
            needs=frozenset(needs),
            conditioning=needs,
            learned_variance=learned,
        )

    def build(self, info: ModelInfo, parts: Mapping[str, Part], place: Place) -> Model:
        import torch

        decoder, told = parts["decoder"], parts["text_proj"]
        device, dtype = decoder.device, decoder.dtype

        def network(call: Call) -> Tensor:
            condition = {k: v.to(told.device) for k, v in call.condition.items()}
            states, times = told.module(
                image_embeddings=condition[NAME].to(told.dtype),
                prompt_embeds=condition["pooled"].to(told.dtype),
                text_encoder_hidden_states=condition["text"].to(told.dtype),
                do_classifier_free_guidance=False,
            )
            more = states.shape[1] - condition["text_mask"].shape[1]
            mask = torch.nn.functional.pad(condition["text_mask"], (more, 0), value=1)
            output: Tensor = decoder.module(
                call.x.to(device, dtype),
                call.t.to(device),
                encoder_hidden_states=states.to(device, dtype),
                class_labels=times.to(device, dtype),
                attention_mask=mask.to(device),
                return_dict=False,
            )[0]
            return output.to(call.x.device, torch.float32)

        clip = ClipEncoder(parts["text_encoder"], parts["tokenizer"].module)
        prior, eyes = None, None
        if "embedding_prior" in info.abilities:
            config = read_unclip_scheduler(info.folder / "prior_scheduler")
            prior = EmbeddingPrior(parts["prior"], config, clip, device)
        else:
            eyes = PictureEyes(parts["image_encoder"], info.folder / "feature_extractor", device)
        abilities: dict[str, Any] = {
            "text": UnclipText(clip, device),
            NAME: Embeddings(told, prior, eyes),
            "super_resolution": Enlarger(
                parts,
                read_unclip_scheduler(info.folder / "super_res_scheduler"),
                info.latents.axis("height").stride,
            ),
        }
        return Model(info, network, abilities, parts, place)


def _check_text(folder: Folder, width: int) -> None:
    """See that what makes a condition of text and picture fits the encoder and the network."""
    decoder, told = folder.config("decoder"), folder.config("text_proj")
    clip = folder.config("text_encoder")
    gives = {clip.get("hidden_size", 512), clip.get("projection_dim", 512)}
    if gives != {width}:
        raise folder.error(
            f"text_proj reads vectors of {width}, and the text encoder gives some of "
            f"{' and '.join(map(str, sorted(gives)))}."
        )
    takes = (decoder.get("cross_attention_dim", 1280), decoder["block_out_channels"][0] * 4)
    makes = (told.get("cross_attention_dim"), told.get("time_embed_dim"))
    if takes != makes or decoder.get("class_embed_type") != "identity":
        raise folder.error(
            f"the network takes states and a time of the widths {takes}, and text_proj makes "
            f"{makes}; its class_embed_type should be identity."
        )


class Embeddings:
    """What CLIP sees in a picture, key ``picture_embedding`` (batch, width); of no picture the
    vector that was learnt for it.

    Args:
        told: the part that has this vector.
        prior, eyes: of which the model has one.
    """

    def __init__(self, told: Part, prior: EmbeddingPrior | None, eyes: PictureEyes | None) -> None:
        self._told = told
        self._prior = prior
        self._eyes = eyes

    def seen(self, pictures: Sequence[Image]) -> Tensor:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._eyes is not None
        return self._eyes(pictures)

    def prior_text(self) -> TextAbility:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._prior is not None
        return self._prior.text

    def drawn(
        self, run: Run, texts: Sequence[Condition], steps: int, guidance_scale: float
    ) -> Tensor:
        """See `ldm_core.contracts.picture_embedding.PictureEmbeddingAbility`."""
        assert self._prior is not None
        return self._prior.drawn(run, texts, steps, guidance_scale)

    def encode(self, run: Run, embeddings: Tensor, noise_levels: Sequence[int | None]) -> Condition:
        """As they are."""
        return {NAME: embeddings}

    def silent(self, condition: Condition) -> Condition:
        """The learnt vector, in each row."""
        nothing = dict(self._told.at_rest.named_parameters())[NOTHING]
        given = condition[NAME]
        return {NAME: nothing.to(given).expand_as(given)}
