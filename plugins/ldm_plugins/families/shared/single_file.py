"""Models in one safetensors or GGUF file, named as their authors' own code names the weights.

Diffusers' converters read them. The configs and tokenizers, and the weights of components that the
file does not hold, come from a folder in Diffusers' format.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ldm_core.contracts import Part, PartInfo, Place
from ldm_core.errors import LdmError, LdmWarning
from ldm_core.model.configs import check_kinds, read_config
from ldm_core.model.gguf_header import read_header_of_weights
from ldm_core.model.loading import Size, check_finite, no_larger, reading
from ldm_core.model.weight_files import check_weights
from ldm_plugins.families.shared.checkpoint import (
    check_count,
    check_texts,
    read_tensors,
    warn_of_unread,
)
from ldm_plugins.families.shared.component import in_place
from ldm_plugins.families.shared.folder import Folder
from ldm_plugins.families.shared.gguf_file import (
    gguf_options,
    is_gguf,
    numbers_of,
    read_gguf,
    unpack_outside_of_linear_layers,
)
from ldm_plugins.families.shared.single_file_facts import FACTS, NETWORK
from ldm_plugins.families.shared.single_file_facts import Shapes as Shapes
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.quiet import quiet

NETWORKS = {
    "AuraFlowTransformer2DModel": ("double_layers.",),
    "HiDreamImageTransformer2DModel": (f"{NETWORK}double_stream_blocks.", "double_stream_blocks."),
    "HunyuanVideoTransformer3DModel": ("txt_in.individual_token_refiner.",),
    "LTXVideoTransformer3DModel": (f"{NETWORK}patchify_proj.", "patchify_proj."),
    "LTX2VideoTransformer3DModel": (f"{NETWORK}audio_patchify_proj.", "audio_patchify_proj."),
    "Lumina2Transformer2DModel": (f"{NETWORK}cap_embedder.", "cap_embedder."),
    "SanaTransformer2DModel": ("y_embedder.",),
    "StableCascadeUNet": ("effnet_mapper.",),
    "WanTransformer3DModel": (f"{NETWORK}head.modulation", "head.modulation"),
    "Krea2Transformer2DModel": (f"{NETWORK}txtfusion.", "txtfusion."),
    "QwenImageTransformer2DModel": ("txt_norm.",),
    "UNet2DConditionModel": (f"{NETWORK}input_blocks.",),
    "SD3Transformer2DModel": (f"{NETWORK}joint_blocks.", "joint_blocks."),
    "FluxTransformer2DModel": (f"{NETWORK}double_blocks.", "double_blocks."),
    "ZImageTransformer2DModel": (f"{NETWORK}noise_refiner.", "noise_refiner."),
    "ChromaTransformer2DModel": (
        f"{NETWORK}distilled_guidance_layer.",
        "distilled_guidance_layer.",
    ),
    "Flux2Transformer2DModel": (
        f"{NETWORK}double_stream_modulation_img.",
        "double_stream_modulation_img.",
    ),
}
OVERLAPPING = ("HunyuanVideoTransformer3DModel", "LTX2VideoTransformer3DModel")
"""Those of `TWINS` that have weights of the names of another network too."""
TWINS = (
    *OVERLAPPING,
    "HiDreamImageTransformer2DModel",
    "Krea2Transformer2DModel",
    "QwenImageTransformer2DModel",
    "SanaTransformer2DModel",
    "StableCascadeUNet",
    "WanTransformer3DModel",
    "ZImageTransformer2DModel",
)
"""Networks of which there are models, such as a distilled one, one that edits or one of another
size, that no tensor tells apart, so that a file says nothing of the configs that go with it."""
DEV = "black-forest-labs/FLUX.1-dev"
CLIP = "text_model.embeddings.position_embedding.weight"
OTHERS = {
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": (
        f"cond_stage_model.transformer.{CLIP}",
        "cond_stage_model.model.token_embedding.weight",
        f"conditioner.embedders.0.transformer.{CLIP}",
        f"text_encoders.clip_l.transformer.{CLIP}",
    ),
    "text_encoder_2": (
        "conditioner.embedders.1.model.positional_embedding",
        "conditioner.embedders.0.model.text_projection",
        f"text_encoders.clip_g.transformer.{CLIP}",
    ),
    "T5EncoderModel": ("text_encoders.t5xxl.transformer.shared.weight",),
}
"""How the names of a component's weights begin, by its class or else by its own name."""
COUNTED = {"network": (NETWORK,), "autoencoder": OTHERS["vae"]}
"""The roles whose weights all begin alike, and nothing else does."""


def holds(shapes: Shapes, component: str, cls: str) -> bool:
    """Whether a file with these tensors has the weights of this component."""
    starts = _starts(component, cls)
    return bool(starts) and any(name.startswith(starts) for name in shapes)


def _starts(component: str, cls: str) -> tuple[str, ...]:
    return NETWORKS.get(cls) or OTHERS.get(cls) or OTHERS.get(component, ())


def default_config(shapes: Shapes) -> str | None:
    """Hub id of the folder that Diffusers takes the configs of such a file from."""
    if not any(holds(shapes, "", cls) for cls in NETWORKS if cls not in TWINS):
        return None
    if any(holds(shapes, "", cls) for cls in OVERLAPPING):
        return None
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    tensors = {name: SimpleNamespace(shape=shape) for name, shape in shapes.items()}
    try:
        usual = str(fetch_diffusers_config(tensors)["pretrained_model_name_or_path"])
    except (LookupError, UnboundLocalError, ValueError):  # sizes that Diffusers does not know
        return None
    if usual == DEV:
        warnings.warn(
            f"the file is taken for {DEV}, from whose weights no tensor tells those of FLUX.1 "
            "Kontext; for that one give the folder with its own configs: --model-config FOLDER.",
            LdmWarning,
            stacklevel=2,
        )
    return usual


def check_file(folder: Folder, shapes: Shapes, weighty: Sequence[PartInfo]) -> None:
    """See that a file and the configs are of one model, and that no weights are missing.

    Args:
        folder: with the configs.
        weighty: the components that have weights.
    Raises:
        LdmError: the file is of another kind of model, or what it lacks is not in the folder.
    """
    give = "give the folder with its own configs: --model-config FOLDER."
    source = f"'{folder.source}'"
    alike = [p for p in weighty if p.role == "network" and holds(shapes, p.name, p.cls)]
    if len(alike) > 1:
        raise LdmError(
            f"{source} holds one network, and {folder.path} describes "
            f"{' and '.join(part.name for part in alike)}, which share the way.",
            "give the folder with both of them as the model.",
        )
    for part in weighty:
        if holds(shapes, part.name, part.cls):
            check_config(folder, shapes, part)
        elif part.role == "network":
            raise LdmError(f"{source} holds no {part.cls}, which {folder.path} describes; {give}")
        else:
            try:
                check_weights(folder.path, [part.name])
            except LdmError as error:
                raise LdmError(
                    f"{source} holds no {part.name} ({part.cls}), so it must lie beside the "
                    f"configs: {error}"
                ) from None
    starts = {start for kind in OTHERS for start in OTHERS[kind] if kind != "vae"}
    texts = [part for part in weighty if part.role == "text"]
    taken = {start for part in texts for start in _starts(part.name, part.cls)}
    check_texts(folder.source, shapes, starts, taken)
    warn_of_unread(folder.source, shapes)


def check_config(folder: Folder, shapes: Shapes, part: PartInfo) -> None:
    """See that a network's config says of it what the shapes of its weights say."""
    for key, (default, read) in FACTS.get(part.cls, {}).items():
        stated, true = folder.config(part.name).get(key, default), read(shapes)
        if stated != true:
            raise LdmError(
                f"'{folder.source}' does not fit the configs: its network has {key} = {true}, and "
                f"{folder.path / part.name / 'config.json'} says {stated}; give the folder with "
                "its own: --model-config FOLDER."
            )


def read_file(
    file: Path, folder: Path, inside: Sequence[PartInfo], place: Place
) -> dict[str, Part]:
    """Components out of a file, frozen and in their place.

    Args:
        inside: those to read.
    Raises:
        LdmError: weights are missing or of other shapes than the configs say.
    """
    with reading(f"'{file}'"):
        checkpoint = read_gguf(file) if is_gguf(file) else read_tensors(file, place.dtype)
    check_finite(f"'{file}'", checkpoint)
    header = read_header_of_weights(file)
    size = Size.of({file.name: header})
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.items()}
    if is_gguf(file):
        shapes = dict(header.shapes)
    parts = {}
    for info in inside:
        config = folder / info.name
        what, wrong = f"the {info.name} in '{file}'", f"does not fit the config in {config}"
        lacks = f"'{file}' lacks some weights of the {info.name} that {config} describes"
        cls, described = find_class(info.cls), read_config(config)
        if "_class_name" in described:
            check_kinds(described, cls, config / "config.json")
        options = {"torch_dtype": place.dtype, **_loading(file, cls, info, place)}
        try:
            with reading(what, wrong=wrong), quiet(what), no_larger(what, size):
                module = _converter(cls)(
                    checkpoint=dict(checkpoint),  # converters take out of it what they use
                    config=str(folder),
                    subfolder=info.name,
                    local_files_only=True,
                    **options,
                )
        except LdmError as error:
            # of torch, where a tensor is still without data
            if isinstance(error.__cause__, NotImplementedError):
                raise LdmError(f"{lacks}.") from error.__cause__
            raise
        if missing := _missing(module):
            raise LdmError(f"{lacks}, such as {missing[0]}.")
        if is_gguf(file):
            unpack_outside_of_linear_layers(module, options["torch_dtype"])
        for start in COUNTED.get(info.role, ()):
            if any(name.startswith(start) for name in shapes):
                tensors = module.state_dict().values()
                places = sum(numbers_of(t) if is_gguf(file) else t.numel() for t in tensors)
                check_count(f"the {info.name} in '{file}'", shapes, start, places)
        check_finite(what, module.state_dict())
        parts[info.name] = in_place(place.put(module, info), info, place, options["torch_dtype"])
    return parts


def _loading(file: Path, cls: Any, info: PartInfo, place: Place) -> Mapping[str, Any]:
    """What converters say of the reading of a component, where its class takes it: those of
    Transformers are made out of a file as they are."""
    from diffusers.loaders import FromOriginalModelMixin

    if is_gguf(file):
        if not issubclass(cls, FromOriginalModelMixin):
            raise LdmError(
                f"'{file}' holds the {info.name} ({info.cls}), which Diffusers reads out of no "
                "GGUF file.",
                "take its tensors out of the file, so that the one beside the configs is used.",
            )
        return gguf_options(place)
    if not issubclass(cls, FromOriginalModelMixin):
        return {}
    options = dict(place.loading(info))
    if (devices := options.pop("device_map", None)) is not None:
        options["device"] = devices[""]  # the only one that a single file is read to
    return options


def _missing(module: Any) -> list[str]:
    """The parameters that are still without data."""
    return [name for name, tensor in module.named_parameters() if tensor.is_meta]


def _converter(cls: Any) -> Callable[..., Any]:
    """What makes a component of a class out of a checkpoint."""
    from diffusers.loaders import FromOriginalModelMixin, single_file_utils

    if issubclass(cls, FromOriginalModelMixin):
        return lambda checkpoint, **options: cls.from_single_file(checkpoint, **options)
    if cls.__name__.startswith("T5"):
        return partial(single_file_utils.create_diffusers_t5_model_from_checkpoint, cls)
    return partial(single_file_utils.create_diffusers_clip_model_from_ldm, cls)
