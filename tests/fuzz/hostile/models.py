"""Weights of a stranger: files that lie, indexes that name others, and pickles."""

from __future__ import annotations

import json
from typing import Any

from fuzz.case import HERE, MODELS, Case
from fuzz.hostile import blobs
from fuzz.shelf import SD, asked

UNET = "m/unet/diffusion_pytorch_model.safetensors"
VAE = "m/vae/diffusion_pytorch_model.safetensors"
TEXT = "m/text_encoder/model.safetensors"
RUN = ["generate", *asked(SD), "--model", "m"]
KNOWN = ["generate", *asked(SD), "--model", f"{MODELS}/{SD}"]
EVIL: list[list[Any]] = [["text", "m/evil.py", blobs.CODE], ["text", "m/unet/evil.py", blobs.CODE]]


def model(note: str, *steps: list[Any], codes: tuple[int, ...] = (2,)) -> Case:
    return Case("hostile", [["copy", "m", SD], *EVIL, *steps], RUN, codes=codes, note=note)


def index(file: str, name: str, *steps: list[Any]) -> list[list[Any]]:
    """Shards whose index names another file for its first tensor."""
    return [["shards", file, [[0, name]]], *steps]


def pickled(note: str, file: str) -> Case:
    """An index that names a pickle beside shards that look whole."""
    folder = file.rpartition("/")[0]
    return model(note, *index(file, "w.bin", blobs.step(f"{folder}/w.bin", blobs.PICKLE)))


OUTSIDE: list[Any] = ["copy", "outside/x.safetensors", "lora.safetensors"]
HUGE = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
LIES: dict[str, bytes] = {
    "a header longer than the file": (2**62).to_bytes(8, "little") + b"{}",
    "a header that is no JSON": blobs.tensors(b"not json"),
    "a header that nests without end": blobs.tensors(b"[" * 200_000),
    "a tensor larger than the file": blobs.tensors(HUGE, bytes(64)),
    "a shape past every number": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "offsets that run backwards": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)
    ),
    "offsets below nothing": blobs.tensors(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}
    ),
    "a type that is none": blobs.tensors(
        {"a": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a pickle": blobs.PICKLE,
    "nothing": b"",
}
WEIGHTS = [
    model(f"{place} that holds {note}", blobs.step(file, data))
    for place, file in {"a UNet": UNET, "a text encoder": TEXT}.items()
    for note, data in LIES.items()
]
INDEXES = [
    pickled("a pickle in a UNet's index", UNET),
    pickled("a pickle in an autoencoder's index", VAE),
    pickled("a pickle in a text encoder's index", TEXT),
    *[
        model(f"{note} in the index of {place}", *index(file, name, OUTSIDE))
        for place, file in {"a UNet": UNET, "a text encoder": TEXT}.items()
        for note, name in {
            "a file two folders up": "../../outside/x.safetensors",
            "a file by its full path": f"{HERE}/outside/x.safetensors",
            "the passwords": "/etc/passwd",
            "nothing": "",
            "the folder itself": ".",
            "a name with a NUL": "a\x00.safetensors",
        }.items()
    ],
    model("an index that is no table", *index(UNET, "x"), ["text", f"{UNET}.index.json", "[]"]),
    model(
        "an index of a list",
        *index(UNET, "x"),
        ["json", f"{UNET}.index.json", ["weight_map"], [["a", "b"]]],
    ),
]


def _decoy(note: str, copied: str, argv: list[str], folder: str, *steps: list[Any]) -> Case:
    """Every name of an index that a library or this package might read, one of them honest."""
    whole = f"{folder}/model.safetensors"
    shown = f"{folder}/diffusion_pytorch_model.safetensors"
    first = whole if "encoder" in folder or folder == "e" else shown
    lies = {"metadata": {}, "weight_map": {"a": "w.bin", "b": "w.bin"}}
    laid: list[list[Any]] = [
        ["copy", copied.partition(" ")[0], copied.partition(" ")[2]],
        ["text", f"{first}.index.json", json.dumps(lies)],
        blobs.step(f"{folder}/w.bin", blobs.PICKLE),
        ["copy", f"{folder}/decoy.safetensors", "lora.safetensors"],
    ]
    return Case("hostile", [*laid, *steps], argv, codes=(2,), note=note)


def _honest(name: str) -> str:
    """An index of a decoy that is whole."""
    tensor = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    return json.dumps({"metadata": {}, "weight_map": {tensor: name}})


CONTROL = [*KNOWN, "--control-image", "a.png"]
CONTROL += ["--set", 'conditioning=["text", {name="control", models=["c"]}]']
ENCODER = [*KNOWN, "--prompt-image", "a.png", "--set"]
ENCODER += [
    f'conditioning=["text", {{name="image_prompt", path="{MODELS}/ip-adapter.safetensors", '
    'image_encoder="e"}]'
]
"""Runs with a ControlNet ``c``, and an image encoder ``e``."""
DECOYS = [
    case
    for place, copied, folder, variant, argv in (
        ("a UNet", f"m {SD}", "m/unet", "", RUN),
        ("a text encoder", f"m {SD}", "m/text_encoder", ".fp16", RUN),
        ("a ControlNet", "c controlnet", "c", "", CONTROL),
        ("an image encoder", "e image-encoder", "e", ".fp16", ENCODER),
    )
    for case in (
        _decoy(
            f"an index beside {place} that is whole", copied, argv, folder, ["picture", "a.png", {}]
        ),
        _decoy(
            f"two indexes of {place}",
            copied,
            argv,
            folder,
            ["picture", "a.png", {}],
            ["copy", f"{folder}/model-00001-of-00001.safetensors", "lora.safetensors"],
            [
                "text",
                f"{folder}/model{variant}.safetensors.index.json",
                _honest("model-00001-of-00001.safetensors"),
            ],
        ),
    )
]


def _named(note: str, folder: str, name: str, places: dict[str, str], *, argv: list[str]) -> Case:
    """A config that names an index, as Transformers lets it, which no loader here should follow."""
    index = json.dumps({"metadata": {}, "weight_map": places})
    copied = ["copy", "m", SD] if folder.startswith("m/") else ["copy", "e", "image-encoder"]
    steps: list[list[Any]] = [
        copied,
        ["picture", "a.png", {}],
        ["json", f"{folder}/config.json", ["transformers_weights"], name],
        ["text", f"{folder}/{name}", index],
        blobs.step(f"{folder}/w.bin", blobs.PICKLE),
        OUTSIDE,
    ]
    return Case("hostile", steps, argv, codes=(0, 2), note=note)


NAMED = [
    _named(f"{place} whose config names an index of {what}", folder, name, {"a": file}, argv=argv)
    for place, folder, argv in (
        ("a text encoder", "m/text_encoder", RUN),
        ("an image encoder", "e", ENCODER),
    )
    for what, name, file in (
        ("a pickle", "evil.safetensors.index.json", "w.bin"),
        ("a file elsewhere", "evil.safetensors.index.json", "../../outside/x.safetensors"),
        ("a pickle, up the folders", "../evil.safetensors.index.json", "w.bin"),
    )
]
PICKLES = [
    model(
        "nothing but a pickle",
        ["gone", UNET],
        blobs.step("m/unet/diffusion_pytorch_model.bin", blobs.PICKLE),
    ),
    model(
        "nothing but a pickled text encoder",
        ["gone", TEXT],
        blobs.step("m/text_encoder/pytorch_model.bin", blobs.PICKLE),
    ),
    Case(
        "hostile",
        [blobs.step("m.ckpt", blobs.PICKLE)],
        ["generate", "a", "--model", "m.ckpt", "--model-config", f"{MODELS}/{SD}"],
        codes=(2,),
        note="a pickled checkpoint",
    ),
    Case(
        "hostile",
        [blobs.step("m.safetensors", blobs.PICKLE)],
        ["generate", "a", "--model", "m.safetensors", "--model-config", f"{MODELS}/{SD}"],
        codes=(2,),
        note="a pickled checkpoint by another name",
    ),
    Case(
        "hostile",
        [
            ["copy", "c", "controlnet"],
            ["shards", "c/diffusion_pytorch_model.safetensors", [[0, "w.bin"]]],
            blobs.step("c/w.bin", blobs.PICKLE),
            ["picture", "a.png", {}],
        ],
        [
            *KNOWN,
            "--control-image",
            "a.png",
            "--set",
            'conditioning=["text", {name="control", models=["c"]}]',
        ],
        codes=(2,),
        note="a pickle in a ControlNet's index",
    ),
    Case(
        "hostile",
        [
            ["copy", "e", "image-encoder"],
            ["shards", "e/model.safetensors", [[0, "w.bin"]]],
            blobs.step("e/w.bin", blobs.PICKLE),
            ["picture", "a.png", {}],
        ],
        [
            *KNOWN,
            "--prompt-image",
            "a.png",
            "--set",
            f'conditioning=["text", {{name="image_prompt", path="{MODELS}/ip-adapter.safetensors", '
            'image_encoder="e"}]',
        ],
        codes=(2,),
        note="a pickle in an image encoder's index",
    ),
    Case(
        "hostile",
        [blobs.step("i.bin", blobs.PICKLE), ["picture", "a.png", {}]],
        [
            *KNOWN,
            "--prompt-image",
            "a.png",
            "--set",
            'conditioning=["text", {name="image_prompt", path="i.bin", '
            f'image_encoder="{MODELS}/image-encoder"}}]',
        ],
        codes=(2,),
        note="a pickled IP-Adapter",
    ),
    Case(
        "hostile",
        [
            ["copy", "v", SD],
            ["gone", "v/vae/diffusion_pytorch_model.safetensors"],
            blobs.step("v/vae/diffusion_pytorch_model.bin", blobs.PICKLE),
        ],
        [
            "train",
            "denoiser",
            "--data",
            f"{MODELS}/data",
            "--autoencoder",
            "v",
            "--out",
            "run",
            "--resolution",
            "16",
            "--steps",
            "1",
        ],
        codes=(2,),
        note="a pickled autoencoder to train with",
    ),
    Case(
        "hostile",
        [
            ["copy", "m", SD],
            ["gone", UNET],
            blobs.step("m/unet/diffusion_pytorch_model.bin", blobs.PICKLE),
        ],
        [
            "train",
            "denoiser",
            "--data",
            f"{MODELS}/data",
            "--autoencoder",
            f"{MODELS}/{SD}",
            "--from-model",
            "m",
            "--out",
            "run",
            "--resolution",
            "16",
            "--steps",
            "1",
        ],
        codes=(2,),
        note="a pickled model to train on",
    ),
]
