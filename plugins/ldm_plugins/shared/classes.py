"""Classes of Diffusers and Transformers by their names."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from ldm_core.errors import LdmError
from ldm_core.model.own_program import may_do_more, only, uncollected
from ldm_plugins.shared.lean_imports import (
    LISTS,
    NETWORKS,
    as_if_absent,
    can_spare,
    forget,
    import_diffusers,
    indexes_later,
    looked_at_later,
)

UNETS, TRANSFORMERS = "diffusers.models.unets", "diffusers.models.transformers"
AUTOENCODERS, TEXTS = "diffusers.models.autoencoders", "transformers.models"
HOMES = {
    "UNet2DConditionModel": f"{UNETS}.unet_2d_condition",
    "UNet2DModel": f"{UNETS}.unet_2d",
    "DiTTransformer2DModel": f"{TRANSFORMERS}.dit_transformer_2d",
    "FluxTransformer2DModel": f"{TRANSFORMERS}.transformer_flux",
    "PixArtTransformer2DModel": f"{TRANSFORMERS}.pixart_transformer_2d",
    "QwenImageTransformer2DModel": f"{TRANSFORMERS}.transformer_qwenimage",
    "Krea2Transformer2DModel": f"{TRANSFORMERS}.transformer_krea2",
    "SD3Transformer2DModel": f"{TRANSFORMERS}.transformer_sd3",
    "ZImageTransformer2DModel": f"{TRANSFORMERS}.transformer_z_image",
    "Transformer2DModel": f"{TRANSFORMERS}.transformer_2d",
    "AutoencoderKL": f"{AUTOENCODERS}.autoencoder_kl",
    "AutoencoderKLQwenImage": f"{AUTOENCODERS}.autoencoder_kl_qwenimage",
    "AutoencoderTiny": f"{AUTOENCODERS}.autoencoder_tiny",
    "VQModel": f"{AUTOENCODERS}.vq_model",
    "CLIPTextModel": f"{TEXTS}.clip.modeling_clip",
    "CLIPTextModelWithProjection": f"{TEXTS}.clip.modeling_clip",
    "CLIPTokenizer": f"{TEXTS}.clip.tokenization_clip",
    "T5EncoderModel": f"{TEXTS}.t5.modeling_t5",
    "Qwen2_5_VLForConditionalGeneration": f"{TEXTS}.qwen2_5_vl.modeling_qwen2_5_vl",
    "Qwen3VLModel": f"{TEXTS}.qwen3_vl.modeling_qwen3_vl",
    "Qwen2Tokenizer": f"{TEXTS}.qwen2.tokenization_qwen2",
    "ModelMixin": "diffusers.models.modeling_utils",
}
"""The modules of classes that every folder has, which spare the libraries' indexes of all that
there is; a class that has moved is looked up there."""
BESIDE_A_PIPELINE = {
    "LDMBertModel": "diffusers.pipelines.latent_diffusion",
    **dict.fromkeys(
        ("AceStepConditionEncoder", "AceStepAudioTokenizer", "AceStepAudioTokenDetokenizer"),
        "diffusers.pipelines.ace_step",
    ),
    "AudioLDM2ProjectionModel": "diffusers.pipelines.audioldm2",
    "AudioLDM2UNet2DConditionModel": "diffusers.pipelines.audioldm2",
    "PaellaVQModel": "diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model",
    "ReduxImageEncoder": "diffusers.pipelines.flux",
    "StableUnCLIPImageNormalizer": "diffusers.pipelines.stable_diffusion",
    "UnCLIPTextProjModel": "diffusers.pipelines.deprecated.unclip",
    "StableAudioProjectionModel": "diffusers.pipelines.stable_audio",
    "StableAudio3DurationEmbedder": "diffusers.pipelines.stable_audio_3",
    "ChatGLMModel": "diffusers.pipelines.kolors",
    "ChatGLMTokenizer": "diffusers.pipelines.kolors",
    **dict.fromkeys(
        ("LTX2TextConnectors", "LTX2Vocoder", "LTX2VocoderWithBWE", "LTX2LatentUpsamplerModel"),
        "diffusers.pipelines.ltx2",
    ),
}
"""Classes that a library does not offer at its top, with the module that has them."""


def find_class(name: str) -> Any:
    """A class of Diffusers or Transformers; tokenizers in their fast form where there is one.

    Raises:
        LdmError: neither has it.
    """
    plugins = only()
    with uncollected():
        if plugins is None or not can_spare(plugins):
            with looked_at_later():
                indexes_later(NETWORKS)
                return _found(name)
        before = {*sys.modules}
        try:
            with as_if_absent():
                indexes_later(LISTS)
                import_diffusers()
                indexes_later(NETWORKS)
                return _found(name)
        except Exception:  # a version that needs more: import it all, as anyone does
            may_do_more()
            forget(before)
            return _found(name)


def _found(name: str) -> Any:
    home = HOMES.get(name)
    try:
        if home is not None:
            return vars(import_module(home))[name]
    except KeyError:
        pass
    except ModuleNotFoundError as error:
        if error.name is None or not f"{home}.".startswith(f"{error.name}."):
            raise
    names = [name if name.endswith("Fast") else f"{name}Fast", name] if "Token" in name else [name]
    for library in ("diffusers", "transformers", *filter(None, [BESIDE_A_PIPELINE.get(name)])):
        for candidate in names:
            cls = getattr(import_module(library), candidate, None)
            if cls is not None:
                return cls
    raise LdmError(f"neither diffusers nor transformers has a class {name}.")
