"""The parts of making a first picture, in processor seconds: one line of JSON.

Each part is done before what needs it, in one process, so that nothing is counted twice. As in
``ldm generate``, garbage is not searched for before the weights are there.
"""

# ruff: noqa: E402, F401

import gc
import time

MARKS = [("", 0.0), ("interpreter", time.process_time())]
gc.disable()


def done(part: str) -> None:
    MARKS.append((part, time.process_time()))


import typer.main

done("typer")
import pydantic

pydantic.TypeAdapter(int).validate_python(1)
done("pydantic")
import numpy
from PIL import Image

done("numpy and pillow")
import json
from itertools import pairwise
from pathlib import Path

import ldm_core.cli.commands
from ldm_core.cli.choices import prepare_libraries
from ldm_core.composition.compose import compose
from ldm_core.media.png import write_png
from ldm_core.model import own_program
from ldm_core.plugins.registry import installed

own_program.begins()
composition = compose({"model": "shapes", "num_inference_steps": 4, "device": "cpu"}, installed())
own_program.makes_only(composition.plugins)
done("our modules, and composing")
prepare_libraries()
import torch

done("torch")
import ldm_core.cli.writing
from ldm_core.run.pipeline import Pipeline

done("our modules that run")
from ldm_plugins.shared.classes import find_class

for name in ("UNet2DConditionModel", "AutoencoderKL", "CLIPTextModel", "CLIPTokenizer"):
    find_class(name)
done("classes of Diffusers and Transformers")
pipe = Pipeline.from_composition(composition)
abilities = pipe.model.abilities
gc.freeze()
gc.enable()
done("reading weights")
PROMPT = "a large red circle on a blue background"
abilities["text"].encode([PROMPT, None])
done("text encoding")
latents = pipe(PROMPT, seed=7, output_type="latent").images
done("steps, encoding again")
pipe.medium(latents)
done("decoding")
write_png(Image.new("RGB", (64, 64)), {}, Path("parts.png"))
done("writing")
print(json.dumps({part: now - before for (_, before), (part, now) in pairwise(MARKS)}))
