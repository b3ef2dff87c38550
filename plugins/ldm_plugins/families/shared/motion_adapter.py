"""Motion adapters: AnimateDiff's layers that attend along the frames, in a folder by themselves.

Stable Diffusion 1's UNet takes them between its own (Guo et al. 2023, arXiv:2307.04725).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Part, PartInfo, Place
from ldm_core.errors import LdmError
from ldm_core.model.configs import read_config
from ldm_core.model.loading import reading
from ldm_core.model.weight_files import check_weights
from ldm_plugins.families.shared.folder import Folder, class_of
from ldm_plugins.families.stable_diffusion import STEPS_AND_SCALE
from ldm_plugins.shared.config_types import check_component
from ldm_plugins.shared.quiet import quiet

if TYPE_CHECKING:
    from torch import nn

ADAPTER = "motion_adapter"
CLASS = "MotionAdapter"
PLAIN: Mapping[str, Any] = {
    "use_linear_projection": False,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_time_scale_shift": "default",
    "class_embed_type": None,
    "num_class_embeds": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "dual_cross_attention": False,
    "only_cross_attention": False,
}
"""What Stable Diffusion 1's UNet has of these, and others, such as that of Stable Diffusion 2, of
which some would be left out without a word, have not."""


def is_adapted(index: Mapping[str, Any]) -> bool:
    """Whether an index is a Stable Diffusion folder's with a motion adapter beside it."""
    return index.get("_class_name") in [*STEPS_AND_SCALE] and class_of(index, ADAPTER) is not None


def check_adapter(path: Path, folder: Folder) -> Mapping[str, Any]:
    """The config of an adapter that fits the network of a model folder.

    Raises:
        LdmError: it is none, its weights are not there, or the network is another than its own.
    """
    config = read_config(path)
    if config.get("_class_name") != CLASS:
        raise LdmError(
            f"the component {ADAPTER} in {path} is a {config.get('_class_name')}, and should be a "
            f"{CLASS}, as Diffusers saves one."
        )
    check_component(config, path / "config.json")
    check_weights(path, [""])
    unet = folder.config("unet")
    for key, usual in PLAIN.items():
        if unet.get(key, usual) != usual:
            raise folder.error(
                f"motion adapters are made for the network of Stable Diffusion 1, whose {key} is "
                f"{usual!r}, and this one's is {unet[key]!r}."
            )
    if isinstance(unet.get("attention_head_dim", 8), list):
        raise folder.error(
            "motion adapters are made for the network of Stable Diffusion 1, which has as many "
            "heads in every block, and this one has another number in each, as Stable Diffusion 2."
        )
    if config.get("conv_in_channels") is not None:
        raise LdmError(
            f"the motion adapter in {path} has a first layer of its own (conv_in_channels, as "
            "PIA's has), which is not known here."
        )
    widths = list(unet.get("block_out_channels", (320, 640, 1280, 1280)))
    for key, adapters, networks in (
        ("widths", list(config.get("block_out_channels", (320, 640, 1280, 1280))), widths),
        (
            "layers in each block",
            _each(config.get("motion_layers_per_block", 2), widths),
            _each(unet.get("layers_per_block", 2), widths),
        ),
        (
            "groups of each norm",
            config.get("motion_norm_num_groups", 32),
            unet.get("norm_num_groups", 32),
        ),
    ):
        if adapters != networks:
            raise folder.error(
                f"the motion adapter in {path} is of another network: its {key} are {adapters}, "
                f"and those of this one {networks}."
            )
    return config


def _each(value: Any, blocks: list[int]) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * len(blocks)


def check_place(place: Place) -> None:
    """See that the weights are read as numbers, which alone can be put together.

    Raises:
        LdmError: a converter has them read in another form.
    """
    if place.loading(PartInfo("unet", "UNetMotionModel", "network")):
        raise LdmError(
            "a network that is put together with a motion adapter cannot be quantised while it is "
            "read.",
            "save the two with Diffusers' AnimateDiffPipeline, and name that folder as the model.",
        )


def with_motion(unet: Part, adapter: Part) -> nn.Module:
    """A UNet and an adapter as one network.

    Raises:
        LdmError: weights do not fit, or have no place in it.
    """
    import torch
    from diffusers import UNetMotionModel

    what = "the network with its motion adapter"
    where = next(unet.module.parameters()).device
    with reading(what), quiet(what), torch.device(where):
        whole = UNetMotionModel.from_unet2d(unet.module, adapter.module)
    own = {*unet.module.state_dict(), *adapter.module.state_dict()}
    if unread := own ^ {*whole.state_dict()}:
        raise LdmError(f"{what} would lack, or leave out, {len(unread)} tensors: {min(unread)}.")
    module: nn.Module = whole.eval().requires_grad_(False)
    return module
