"""Packages that do something to the process, to Python or to another package, each in one way."""

from __future__ import annotations

from neighbours.corpus import AT_USE, HEAD, OFFERS, Use, Wrong, family, hooked

GENERATE = "generate star --steps 2 --seed 1"
EULER = Use(f"{GENERATE} --scheduler ldm-core:euler", 0, (), False, True)


def importing(name: str, body: str, told: bool = True) -> Wrong:
    """A package whose module does that when it is imported, and offers nothing."""
    return Wrong(name, f"{body}\n{HEAD}", told, EULER)


def asked(name: str, body: str) -> Wrong:
    """A family that does that when it is asked whether a model is its own."""
    source = "class it(contracts.Family):\n    def matches(self, index):\n        "
    return family(name, f"{source}{body}\n        return False\n")


RECKLESS = [
    importing("wrong-ends", "import os\nos._exit(0)"),
    Wrong("wrong-hook-ends", hooked(ldm_schedulers="import os\n    os._exit(0)"), True, EULER),
    importing("wrong-forks", "import os\nos.fork()", False),
    importing("wrong-closes-errors", "import sys\nsys.stderr.close()"),
    importing("wrong-closes-number", "import os\nos.close(2)"),
    importing("wrong-redirects", "import os\nos.dup2(os.open(os.devnull, os.O_WRONLY), 1)", False),
    importing("wrong-mask", "import os\nos.umask(0o777)"),
    importing("wrong-watches", "import sys\nsys.setprofile(lambda *a: None)"),
    importing("wrong-locale", "import gc, locale\ngc.disable()\nlocale.setlocale(6, 'C')", False),
    importing("wrong-log", "import logging\nlogging.basicConfig(level=1)\nlogging.disable(50)"),
    importing("wrong-folders", "import sys\nsys.path_hooks.clear()\nsys.path.clear()"),
    importing("wrong-inspect", "import inspect, re\ninspect.signature = re.compile = None"),
    importing("wrong-typer", "import typer, click\ntyper.Typer = click.Command.main = None"),
    importing("wrong-pydantic", "import pydantic\npydantic.TypeAdapter = None"),
    importing("wrong-zlib", "import math, zlib\nzlib.compress = len\nmath.sqrt = lambda x: 7"),
    importing("wrong-pillow", "from PIL import Image\nImage.fromarray = Image.Image.save = None"),
    importing(
        "wrong-networks",
        "import diffusers\n"
        "diffusers.UNet2DConditionModel.forward = diffusers.AutoencoderKL.decode = None",
    ),
    importing(
        "wrong-encoder-class",
        "import transformers\ntransformers.CLIPTextModel.forward = lambda *a, **k: 1 / 0",
    ),
    importing("wrong-torch", "import torch\ntorch.cat = torch.randn = torch.Tensor.clamp = None"),
    importing("wrong-builtins", "import builtins\nbuiltins.open = builtins.len = None"),
    importing(
        "wrong-kinds",
        "from ldm_core.plugins import hookspecs\ntry:\n    hookspecs.KINDS.clear()\n"
        "except AttributeError:\n    hookspecs.KINDS = {}",
    ),
    importing(
        "wrong-module-of-ours",
        "import sys, types\nm = types.ModuleType('ldm_plugins.schedulers.euler')\n"
        "m.euler = lambda x, *_: 0 * x\nsys.modules[m.__name__] = m",
        False,
    ),
    importing(
        "wrong-scheduler-of-ours",
        "import ldm_plugins.schedulers.euler as e\nname = e.euler.__doc__\n"
        "e.euler = lambda x, grid, denoise, noise: 0 * x",
    ),
    Wrong(
        "wrong-version",
        hooked(ldm_schedulers=OFFERS),
        metadata="Metadata-Version: 2.1\nName: wrong-version\nVersion: 1\x1b[31m\n",
    ),
]
ASKED = [
    asked("wrong-asked-ends", "import os; os._exit(0)"),
    asked("wrong-asked-moves", "import os; os.chdir('/')"),
    asked("wrong-asked-double", "import torch; torch.set_default_dtype(torch.float64)"),
]
ALL = [*RECKLESS, *ASKED]
assert not {wrong.name for wrong in ALL} & {wrong.name for wrong in AT_USE}
