"""Tiny FLUX.2 folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny.folder import write_configs

QWEN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n"
    "</think>\n\n{% endif %}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% set said = m['content'][0]['text'] %}"
    "{% if m['role'] == 'system' %}[SYSTEM_PROMPT]{{ said }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{{ said }}[/INST]{% endif %}{% endfor %}"
)


def write_flux_2(
    folder: Path, pipeline: str = "Flux2KleinPipeline", distilled: bool = False, **network: Any
) -> Path:
    """A FLUX.2 folder: 16 channels for 4x4 pixels; its own pictures are 256x256. Its reference
    pictures have 64 pixels a side at least, as those of the real one.

    Args:
        pipeline: dev's class or klein's.
        distilled: klein takes no negative prompt.
        network: over the network's config.
    """
    import torch
    from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

    torch.manual_seed(0)
    dev = pipeline == "Flux2Pipeline"
    config: dict[str, Any] = {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 24,
        "timestep_guidance_channels": 32,
        "axes_dims_rope": (4, 4, 4, 4),
        "guidance_embeds": dev,
    }
    Flux2Transformer2DModel(**{**config, **network}).save_pretrained(folder / "transformer")
    autoencoder = AutoencoderKLFlux2(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    autoencoder.bn.running_mean.copy_(torch.randn(16) / 4)
    autoencoder.bn.running_var.copy_(torch.rand(16) + 0.1)
    autoencoder.save_pretrained(folder / "vae")
    text, tokenizer = (_write_mistral if dev else _write_qwen)(folder)
    write_configs(
        folder,
        pipeline,
        {
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": 3.0,
            "use_dynamic_shifting": True,
            "time_shift_type": "exponential",
        },
        {
            **({} if dev else {"is_distilled": distilled}),
            "text_encoder": ["transformers", text],
            "tokenizer": ["transformers", tokenizer],
            "transformer": ["diffusers", "Flux2Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKLFlux2"],
        },
    )
    return folder


def _write_qwen(folder: Path) -> tuple[str, str]:
    from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = [*special, *_letters()]
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)},
        extra_special_tokens=special[1:],
    )
    tokenizer.chat_template = QWEN
    tokenizer.save_pretrained(folder / "tokenizer")
    config = Qwen3Config(
        vocab_size=300,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=28,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder / "text_encoder")
    return "Qwen3ForCausalLM", "Qwen2TokenizerFast"


def _write_mistral(folder: Path) -> tuple[str, str]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        Mistral3Config,
        Mistral3ForConditionalGeneration,
        MistralConfig,
        PixtralVisionConfig,
        PreTrainedTokenizerFast,
    )

    words = ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]"]
    vocabulary = ["<unk>", "<s>", "</s>", "<pad>", *words, *_letters()]
    backend = Tokenizer(models.BPE({token: n for n, token in enumerate(vocabulary)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=words,
    )
    tokenizer.chat_template = MISTRAL
    tokenizer.save_pretrained(folder / "tokenizer")
    text = MistralConfig(
        vocab_size=300,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=31,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
    vision = PixtralVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=16,
        patch_size=8,
    )
    config = Mistral3Config(text_config=text, vision_config=vision)
    Mistral3ForConditionalGeneration(config).save_pretrained(folder / "text_encoder")
    return "Mistral3ForConditionalGeneration", "PixtralProcessor"


def _letters() -> list[str]:
    """The symbols that stand for bytes."""
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


NAMES = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_guidance_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_guidance_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_guidance_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_guidance_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "double_stream_modulation_img.linear": "double_stream_modulation_img.lin",
    "double_stream_modulation_txt.linear": "double_stream_modulation_txt.lin",
    "single_stream_modulation.linear": "single_stream_modulation.lin",
    "proj_out": "final_layer.linear",
    "single_transformer_blocks.0.attn.to_qkv_mlp_proj": "single_blocks.0.linear1",
    "single_transformer_blocks.0.attn.to_out": "single_blocks.0.linear2",
    "single_transformer_blocks.0.attn.norm_q": "single_blocks.0.norm.query_norm",
    "single_transformer_blocks.0.attn.norm_k": "single_blocks.0.norm.key_norm",
    "transformer_blocks.0.attn.norm_q": "double_blocks.0.img_attn.norm.query_norm",
    "transformer_blocks.0.attn.norm_k": "double_blocks.0.img_attn.norm.key_norm",
    "transformer_blocks.0.attn.norm_added_q": "double_blocks.0.txt_attn.norm.query_norm",
    "transformer_blocks.0.attn.norm_added_k": "double_blocks.0.txt_attn.norm.key_norm",
    "transformer_blocks.0.attn.to_out.0": "double_blocks.0.img_attn.proj",
    "transformer_blocks.0.attn.to_add_out": "double_blocks.0.txt_attn.proj",
    "transformer_blocks.0.ff.linear_in": "double_blocks.0.img_mlp.0",
    "transformer_blocks.0.ff.linear_out": "double_blocks.0.img_mlp.2",
    "transformer_blocks.0.ff_context.linear_in": "double_blocks.0.txt_mlp.0",
    "transformer_blocks.0.ff_context.linear_out": "double_blocks.0.txt_mlp.2",
}
"""The network's layers in Diffusers and in its authors' code; those of no name here are joined."""


def write_flux_2_file(folder: Path, file: Path) -> Path:
    """The network's weights in one file, as its authors name them."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    published = {}
    for of, names in (
        ("img", ("to_q", "to_k", "to_v")),
        ("txt", ("add_q_proj", "add_k_proj", "add_v_proj")),
    ):
        each = [weights.pop(f"transformer_blocks.0.attn.{name}.weight") for name in names]
        published[f"double_blocks.0.{of}_attn.qkv.weight"] = torch.cat(each)
    scale, shift = weights.pop("norm_out.linear.weight").chunk(2)
    published["final_layer.adaLN_modulation.1.weight"] = torch.cat([shift, scale])
    for name, tensor in weights.items():
        layer = NAMES[name.removesuffix(".weight")]
        published[f"{layer}.{'scale' if layer.endswith('_norm') else 'weight'}"] = tensor
    save_file(published, file)
    return file
