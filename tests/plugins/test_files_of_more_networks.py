"""Networks in one file of families whose other components lie in a folder: what Diffusers' own
``from_single_file`` makes of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from peers import apart
from tiny.published_networks import write_ltx_2_file, write_network

NETWORK = "model.diffusion_model."
KINDS = {
    "AuraFlow": ("aura_flow", "", diffusers.AuraFlowTransformer2DModel),
    "HiDream": ("hidream", "", diffusers.HiDreamImageTransformer2DModel),
    "HunyuanVideo": ("hunyuan_video", "", diffusers.HunyuanVideoTransformer3DModel),
    "HunyuanVideo of one stream": ("hunyuan_video", "", diffusers.HunyuanVideoTransformer3DModel),
    "LTX-Video": ("ltx_video", NETWORK, diffusers.LTXVideoTransformer3DModel),
    "LTX-2": ("ltx_2", NETWORK, diffusers.LTX2VideoTransformer3DModel),
    "Lumina 2": ("lumina_2", "", diffusers.Lumina2Transformer2DModel),
    "Sana": ("sana", "", diffusers.SanaTransformer2DModel),
    "Stable Cascade": ("stable_cascade", "", diffusers.StableCascadeUNet),
    "Wan 2.1": ("wan", "", diffusers.WanTransformer3DModel),
}
SIZES: dict[str, dict[str, Any]] = {
    "HunyuanVideo": {"num_single_layers": 0},
    "HunyuanVideo of one stream": {
        **{"num_attention_heads": 24, "attention_head_dim": 128, "rope_axes_dim": (16, 56, 56)},
        **{"num_layers": 0, "num_single_layers": 1, "mlp_ratio": 0.01},
    },
    "Lumina 2": {
        "hidden_size": 2304,
        "num_attention_heads": 24,
        "num_kv_heads": 8,
        "axes_dim_rope": (32, 32, 32),
        "ffn_dim_multiplier": 0.001,
    },
}
"""What Diffusers' converters take for granted: the published width of Lumina 2, and of HunyuanVideo
where it has blocks of one stream."""
WRITERS = {
    "HunyuanVideo": tiny.write_hunyuan_video,
    "HunyuanVideo of one stream": tiny.write_hunyuan_video,
    "Lumina 2": tiny.write_lumina_2,
}
HEAVY = ("Lumina 2", "HunyuanVideo of one stream")
FURTHER = ("LTX-Video", "Wan 2.1")
"""Those that are drawn with too; the others are held by their weights."""


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if k in HEAVY else k for k in KINDS]
)
def test_it_is_what_diffusers_reads(tmp_path: Path, kind: str) -> None:
    names, start, cls = KINDS[kind]
    written = tiny.MORE_FOLDERS[kind.removesuffix(" of one stream")]
    write: Any = WRITERS.get(kind, written.write)
    folder = write(tmp_path / "folder", **SIZES.get(kind, {}))
    part = "decoder" if kind == "Stable Cascade" else "transformer"
    file = write_network(names, folder, tmp_path / "model.safetensors", start, part)
    ours = Pipeline.from_pretrained(file, model_config=folder)
    found = ours.model.parts[part].module.state_dict()
    theirs = cls.from_single_file(
        str(file), config=str(folder), subfolder=part, local_files_only=True
    ).state_dict()
    own = cls.from_pretrained(folder / part).state_dict()
    assert found.keys() == theirs.keys() == own.keys()
    assert all(found[name].equal(theirs[name]) for name in found)
    assert all(found[name].equal(own[name]) for name in found)
    if kind in FURTHER:
        call: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "output_type": "latent"}
        inputs = {n: v[0] if isinstance(v, list) else v for n, v in written.inputs.items()}
        drawn, expected = (
            pipe(**inputs, **call).images for pipe in (ours, Pipeline.from_pretrained(folder))
        )
        assert apart(drawn, expected) < 1e-5


def test_what_says_too_little_is_refused(tmp_path: Path) -> None:
    """Without configs, with those of two networks, and with those of another size."""
    folder = tiny.MORE_FOLDERS["Wan 2.1"].write(tmp_path / "wan")
    file = write_network("wan", folder, tmp_path / "wan.safetensors")
    with pytest.raises(LdmError, match=r"--model-config FOLDER"):
        compose({"model": str(file)})
    two = tiny.MORE_FOLDERS["Wan 2.2"].write(tmp_path / "two")
    with pytest.raises(LdmError, match=r"holds one network, and .* transformer and transformer_2"):
        compose({"model": str(file), "model_config": str(two)})
    weights = {"patchify_proj.weight": torch.zeros(1), "transformer_blocks.7.a": torch.zeros(1)}
    save_file(weights, tmp_path / "ltx.safetensors")
    ltx = tiny.MORE_FOLDERS["LTX-Video"].write(tmp_path / "ltx")
    with pytest.raises(LdmError, match="its network has num_layers = 1"):
        compose({"model": str(tmp_path / "ltx.safetensors"), "model_config": str(ltx)})


def test_a_file_of_ltx_2_has_its_autoencoder_too(tmp_path: Path) -> None:
    """Read as Diffusers reads it; what else is in the file is said to be unread."""
    folder = tiny.write_ltx_2(tmp_path / "folder")
    file = write_ltx_2_file(folder, tmp_path / "ltx-2.safetensors")
    weights = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.warns(LdmWarning, match="has 2 tensors that are not read, such as model.diffusion"):
        ours = Pipeline.from_pretrained(file, model_config=folder)
    found = ours.model.parts["vae"].module.state_dict()
    theirs = diffusers.AutoencoderKLLTX2Video.from_single_file(
        str(file), config=str(folder), subfolder="vae", local_files_only=True
    ).state_dict()
    assert found.keys() == theirs.keys() == weights.keys()
    assert all(found[name].equal(theirs[name]) for name in found)
    assert all(found[name].equal(weights[name]) for name in found)


@pytest.mark.parametrize(
    ("names", "other"),
    [
        ({"txt_in.individual_token_refiner.blocks.0.a", "double_blocks.0.a"}, "Flux"),
        ({"audio_patchify_proj.weight", "patchify_proj.weight"}, "LTX-Video"),
    ],
)
def test_files_whose_names_are_anothers_too_are_not_taken_for_it(
    tmp_path: Path, names: set[str], other: str
) -> None:
    """No configs are guessed: Diffusers would take them of the text-to-video model, or the base."""
    file = tmp_path / f"{other}.safetensors"
    save_file({name: torch.zeros(1, 1) for name in names}, file)
    with pytest.raises(LdmError, match="no installed family knows the weights"):
        compose({"model": str(file)})
