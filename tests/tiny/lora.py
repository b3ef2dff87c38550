"""LoRA with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
FILE = "pytorch_lora_weights.safetensors"


def write_lora(
    cls: Any, model: Path, folder: Path, targets: dict[str, list[str]], seed: int
) -> Path:
    """A LoRA with random weights, written by Diffusers."""
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = cls.from_pretrained(model)
    torch.manual_seed(seed)
    layers = {}
    for part, modules in targets.items():
        module = getattr(pipeline, part)
        module.add_adapter(
            LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, target_modules=modules)
        )
        layers[f"{part}_lora_layers"] = get_peft_model_state_dict(module)
    cls.save_lora_weights(folder, **layers)
    return folder / FILE
