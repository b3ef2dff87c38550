"""What a new package holds of each kind of plugin, and the command that draws with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STAR = '"a large red star on a blue background" --seed 7'


@dataclass(frozen=True)
class Starter:
    """The beginning of a plugin of one kind.

    Attributes:
        about: what it is, for lists.
        target: its module and attribute within the package; empty of a model, which is a folder.
        draw: what follows ``ldm`` in the command that draws with it; ``{name}`` is the plugin's,
            ``{folder}`` that of the package.
        also: other files that it needs, in the package's folder.
        folder: of the model that goes with it, in the package; empty where none does.
        model: what that model is called; ``{name}`` as above.
        copied: id of the installed model that the folder begins as; empty where its files are
            among ``also``.
        made_for: what the model draws.
    """

    about: str
    draw: str
    target: str = ""
    also: tuple[str, ...] = ()
    folder: str = ""
    model: str = ""
    copied: str = ""
    made_for: str = ""


STARTERS: Mapping[str, Starter] = {
    "scheduler": Starter(
        "Ralston's second-order method",
        f"generate {STAR} --scheduler {{name}}",
        "ralston:ralston",
    ),
    "spacing": Starter(
        "timesteps that crowd at the clean end",
        f"generate {STAR} --spacing {{name}}",
        "power:power",
    ),
    "guidance": Starter(
        "classifier-free guidance on an interval of noise",
        f"generate {STAR} --guidance {{name}}",
        "interval:interval",
    ),
    "conditioning": Starter(
        "symmetrical pictures, each by a share of its own",
        f'generate {STAR} --set \'conditioning=["text", "{{name}}"]\' --mirror 0.8',
        "symmetry:symmetry",
    ),
    "attention": Starter(
        "softmax attention with the whole matrix of scores",
        f"generate {STAR} --attention {{name}}",
        "plain:plain",
    ),
    "denoiser": Starter(
        "dynamic thresholding of each x0 estimate",
        f"generate {STAR} --set 'denoisers=[\"{{name}}\"]'",
        "percentile:percentile",
    ),
    "encoder": Starter(
        "the mean of several draws from an autoencoder's posterior",
        'image-to-image {folder}/star.png "a large green star on a blue background" --seed 7 '
        "--set encoder={name}",
        "averages:averages",
        also=("star.png",),
    ),
    "decoder": Starter(
        "an autoencoder's pixels with stronger colours",
        f"generate {STAR} --set decoder={{name}}",
        "vivid:vivid",
    ),
    "family": Starter(
        "a kind of model that draws clouds and has a single weight",
        "generate --model {name}_clouds --seed 7",
        "clouds:Clouds",
        also=(
            "ldm_mine/clouds_network.py",
            "ldm_mine/models/clouds/model_index.json",
            "ldm_mine/models/clouds/network/clouds.safetensors",
        ),
        folder="clouds",
        model="{name}_clouds",
        made_for="clouds, 64x64",
    ),
    "converter": Starter(
        "linear layers with weights in 8 bits",
        f"generate {STAR} --set 'converters=[\"{{name}}\"]'",
        "int8:int8",
        also=("ldm_mine/int8_layer.py",),
    ),
    "writer": Starter(
        "pictures as TIFF",
        f"generate {STAR} --format {{name}}",
        "tiff:tiff",
    ),
    "observer": Starter(
        "a line for each step",
        f"generate {STAR} --set 'observers=[\"{{name}}\"]'",
        "norms:norms",
    ),
    "metric": Starter(
        "how colourful pictures are",
        "evaluate {folder}/star.png --metrics {name}",
        "colours:colours",
        also=("star.png",),
    ),
    "command": Starter(
        "one prompt by several schedulers",
        f"{{name}} {STAR} --schedulers ddim --schedulers heun",
        "compare:compare",
    ),
    "model": Starter(
        "a folder of weights, at first a copy of the digits that come with ldm",
        "generate --model {name} --class-label 3 --seed 7",
        folder="digits",
        model="{name}",
        copied="ldm-core:digits",
        made_for="handwritten digits by class, 32x32",
    ),
}
"""By kind, in the order of the hooks."""

WORDS: Mapping[str, str] = {"wrapper": "denoiser"}
"""What else a person may call a kind, with its name."""
