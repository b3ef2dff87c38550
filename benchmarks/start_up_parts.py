"""The parts of making a first picture, in processor seconds: one line of JSON.

Each part is done before what needs it, in one process, so that nothing is counted twice.
"""

import time

MARKS = [("", time.process_time())]


def done(part: str) -> None:
    MARKS.append((part, time.process_time()))


done("interpreter")
import typer.main  # noqa: E402
import typer.rich_utils  # noqa: E402, F401

done("typer and rich")
import pydantic  # noqa: E402

pydantic.TypeAdapter(int).validate_python(1)
done("pydantic")
import numpy  # noqa: E402, F401
from PIL import Image  # noqa: E402

done("numpy and pillow")
import ldm_core.cli  # noqa: E402, F401
from ldm_core.cli.choices import prepare_libraries  # noqa: E402
from ldm_core.composition.compose import compose  # noqa: E402
from ldm_core.media.png import write_png  # noqa: E402
from ldm_core.plugins.registry import installed  # noqa: E402

composition = compose({"model": "shapes", "num_inference_steps": 4, "device": "cpu"}, installed())
done("our modules")
prepare_libraries()
import torch  # noqa: E402, F401

done("torch")
from ldm_plugins.shared.classes import find_class  # noqa: E402

for name in ("UNet2DConditionModel", "AutoencoderKL"):
    find_class(name)
done("Diffusers' classes")
for name in ("CLIPTextModel", "CLIPTokenizer"):
    find_class(name)
done("Transformers' classes")
from ldm_core.run.pipeline import Pipeline  # noqa: E402

pipe = Pipeline.from_composition(composition)
done("our modules that run")
abilities = pipe.model.abilities
done("reading weights")
texts = abilities["text"].encode(["a large red circle on a blue background", None])
done("text encoding")
call = {"seed": 7, "output_type": "latent"}
latents = pipe("a large red circle on a blue background", **call).images
done("steps, and encoding again")
medium = pipe.medium(latents)
done("decoding")
import json  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

write_png(Image.new("RGB", (64, 64)), {}, Path("parts.png"))
done("writing")
print(json.dumps({part: now - before for (_, before), (part, now) in pairwise(MARKS)}))
