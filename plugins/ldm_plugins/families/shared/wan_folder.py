"""What the JSON files of Wan's folders say, and whether they fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_core.contracts import Axis, LatentSpace
from ldm_plugins.families.shared.folder import Folder

CHANNELS = 16  # where a config does not say
PATCH = (1, 2, 2)
POSITIONS = 1024  # along each axis
DOWNSAMPLING = (False, True, True)
STRIDE = 4  # frames; the autoencoder's class goes through a video by so many
STATISTICS = ("latents_mean", "latents_std")
TAKES = ("in_channels", "out_channels", "text_dim", "image_dim", "patch_size", "pos_embed_seq_len")


def latent_space(folder: Folder, transformer: Mapping[str, Any]) -> LatentSpace:
    """The latents of the folder's autoencoder, as the network can place them.

    Raises:
        LdmError: the autoencoder's config contradicts itself.
    """
    vae = folder.config("vae")
    channels, pixels = vae.get("z_dim", CHANNELS), vae.get("patch_size") or 1
    halvings = vae.get("temperal_downsample", DOWNSAMPLING)
    levels = len(vae.get("dim_mult", (1, 2, 4, 4))) - 1
    strides = (2 ** sum(halvings), 2**levels * pixels)
    stated = (vae.get("scale_factor_temporal", 4), vae.get("scale_factor_spatial", 8))
    if len(halvings) != levels or strides[0] != STRIDE or strides != stated:
        raise folder.error(
            f"the autoencoder's blocks shrink a video by {strides[0]} in time and {strides[1]} in "
            f"space; its config says {stated[0]} and {stated[1]}, and {STRIDE} in time is what its "
            "class can do."
        )
    for name in STATISTICS:
        if name in vae and len(vae[name]) != channels:
            raise folder.error(
                f"the autoencoder has {channels} channels, and its {name} {len(vae[name])} numbers."
            )
    colours = 3 * pixels**2
    if {vae.get("in_channels", 3), vae.get("out_channels", 3)} != {colours}:
        raise folder.error(
            f"the autoencoder should take and give {colours} channels, the colours of {pixels}x"
            f"{pixels} pixels."
        )
    patch, positions = transformer.get("patch_size", PATCH), transformer.get("rope_max_seq_len")
    if not isinstance(patch, list | tuple) or len(patch) != 3:
        raise folder.error(f"the network's patch_size should be three numbers, not {patch!r}.")
    most = [side * (positions or POSITIONS) for side in patch]
    return LatentSpace(
        channels,
        (
            Axis("frames", strides[0], patch[0], causal=True, most=most[0]),
            Axis("height", strides[1], patch[1], most=most[1]),
            Axis("width", strides[1], patch[2], most=most[2]),
        ),
    )


def check_networks(folder: Folder) -> float | None:
    """The timestep below which the second network answers; None where the first one does
    everywhere.

    Raises:
        LdmError: there is a share and no second network, or the other way round, or the two take
            different things.
    """
    boundary = folder.index.get("boundary_ratio")
    second = folder.class_of("transformer_2") is not None
    if second is not (boundary is not None):
        raise folder.error(
            "model_index.json should name a transformer_2 and a boundary_ratio below which it "
            f"answers, or neither; it has the {'first' if second else 'second'} alone."
        )
    if boundary is None:
        return None
    if isinstance(boundary, bool) or not 0 < boundary < 1:
        raise folder.error(f"the boundary_ratio should lie between 0 and 1, not {boundary!r}.")
    one, other = (folder.config(name) for name in ("transformer", "transformer_2"))
    for key in TAKES:
        if one.get(key) != other.get(key):
            raise folder.error(
                f"the two networks should take the same, and their {key} differ: {one.get(key)} "
                f"and {other.get(key)}."
            )
    return float(boundary * folder.scheduler.get("num_train_timesteps", 1000))


def frames_shown(
    folder: Folder, transformer: Mapping[str, Any], channels: int, tokenwise: bool
) -> list[str]:
    """The abilities that say which frames the network is shown.

    Args:
        channels: of the autoencoder's latents.
        tokenwise: the network takes a timestep for each token, and so can be shown frames in the
            place of x.
    Raises:
        LdmError: the network takes or returns other channels, or sees pictures that nothing
            encodes for it.
    """
    takes, dim = transformer.get("in_channels", CHANNELS), transformer.get("image_dim")
    returns = transformer.get("out_channels", CHANNELS) or takes
    if takes not in (channels, 2 * channels + STRIDE) or returns != channels:
        raise folder.error(
            f"the network takes {takes} channels and returns {returns}; with the autoencoder's "
            f"{channels} it should take {channels}, or {2 * channels + STRIDE} where it is shown "
            f"frames, and return {channels}."
        )
    if takes == channels:
        if dim is not None:
            raise folder.error("the network sees pictures by CLIP and takes no channels of them.")
        return ["first_frame"] if tokenwise else []
    if tokenwise:
        raise folder.error("a network that is shown frames as channels takes one timestep.")
    if dim is None:
        return ["first_frame", "last_frame"]
    _check_image_encoder(folder, dim)
    positions, tokens = transformer.get("pos_embed_seq_len"), _tokens(folder)
    if positions is None:
        return ["first_frame"]
    if positions != 2 * tokens:
        raise folder.error(
            f"the network has positions for {positions} tokens of pictures; those of a first and a "
            f"last frame are {2 * tokens}."
        )
    return ["first_and_last_frame"]


def _check_image_encoder(folder: Folder, width: int) -> None:
    if folder.class_of("image_encoder") is None:
        raise folder.error(
            "the network sees pictures by CLIP, and the folder has no image_encoder."
        )
    gives = folder.config("image_encoder").get("hidden_size", 768)
    if gives != width:
        raise folder.error(
            f"the network takes pictures of width {width} from CLIP, which gives {gives}."
        )


def _tokens(folder: Folder) -> int:
    """How many states CLIP has of a picture."""
    encoder = folder.config("image_encoder")
    return int((encoder.get("image_size", 224) // encoder.get("patch_size", 32)) ** 2 + 1)
