"""One package whose parts misbehave, each in one way, while they are in use."""

from __future__ import annotations

from collections.abc import Sequence

from neighbours.corpus import GENERATE, IMPORTS, Use, Wrong, hooked

CONVERTER = (
    "from dataclasses import replace\n"
    "class it(contracts.Converter):\n"
    "    phase, lossless = contracts.Phase.LAYOUT, True\n"
)
CONDITIONING = "class it(contracts.Conditioning):\n"
HOOKS = CONDITIONING + (
    "    def bind(self, run):\n        return Hooks()\n"
    "class Hooks(contracts.RunHooks):\n"
    "    def network(self, network):\n"
)
EULER = (
    "def it(x, grid, denoise, noise):\n"
    "    for here, there in pairwise(grid):\n"
    "        x = move(x, (x - denoise(x, here)) / here.sigma, here, there)\n"
)
OBSERVER = (
    "from contextlib import contextmanager\n"
    "@contextmanager\n"
    "def it(grid):\n"
)  # fmt: skip
COMMAND = (
    "from typing import Any\n"
    "from ldm_core import Pipeline\n"
    "from ldm_core.run.in_batches import in_batches\n"
)

PARTS: Sequence[tuple[str, str, str, str]] = [
    # kind, name, source, what the one line says beside the name and the package
    ("converter", "reader-none", f"{CONVERTER}    def loading(self, part): return None",
     "a table by names"),
    ("converter", "reader-number", f"{CONVERTER}    def loading(self, part): return {{3: 3}}",
     "a table by names"),
    ("converter", "reader-unknown", f"{CONVERTER}    def loading(self, part): return {{'nope': 3}}",
     "'nope'"),
    ("converter", "no-module", f"{CONVERTER}    def part(self, part):\n"
     "        return replace(part, module=None) if part.role == 'network' else part",
     "'unet'"),
    ("converter", "role", f"{CONVERTER}    def part(self, part): return replace(part, role='x')",
     "the role 'x'"),
    ("converter", "device", f"{CONVERTER}    def part(self, part):\n"
     "        return replace(part, device=torch.device('meta'))", "'meta'"),
    ("converter", "type", f"{CONVERTER}    def part(self, part):\n"
     "        return replace(part, dtype=torch.int8)", "int8"),
    ("converter", "network-none", f"{CONVERTER}    def convert(self, model):\n"
     "        return replace(model, network=None)", "network is called"),
    ("converter", "network-shape", f"{CONVERTER}    def convert(self, model):\n"
     "        return replace(model, network=lambda call: call.x[:1, :1])", "at step 1 of 4"),
    ("converter", "no-parts", f"{CONVERTER}    def convert(self, model):\n"
     "        return replace(model, parts={})", "keeps each part"),
    ("conditioning", "type-text", f"{CONDITIONING}    inputs = {{'z': contracts.Input('No')}}",
     "should be a type"),
    ("conditioning", "default", f"{CONDITIONING}    inputs = {{'z': contracts.Input(int, 'no')}}",
     "'no', which does not fit"),
    ("conditioning", "inputs", f"{CONDITIONING}    def check(self, request):\n"
     "        request.inputs.clear()", "while it saw to the inputs"),
    ("conditioning", "parts", f"{CONDITIONING}    def adapt(self, model):\n"
     "        model.parts.clear()\n        return model", "before the first step"),
    ("conditioning", "no-rows", f"{HOOKS}        return lambda c: network(c._replace(x=c.x[:0]))",
     "at step 1 of 4"),
    ("conditioning", "few-rows", f"{HOOKS}        return lambda c: network(c._replace(t=c.t[:1]))",
     "at step 1 of 4"),
    ("scheduler", "forges-part",
     "from ldm_core.errors import PartError\n"
     "def it(x, grid, denoise, noise): raise PartError(object(), 'forged')", "forged"),
    ("scheduler", "forges-plugin",
     "from ldm_core.errors import PluginError\n"
     "def it(x, grid, denoise, noise): raise PluginError('the other', 'now', ValueError())",
     "the other"),
    ("scheduler", "forges-end",
     "from ldm_core.run.finite import AllLost\n"
     "def it(x, grid, denoise, noise): raise AllLost", "AllLost"),
    ("scheduler", "forges-stop",
     "class Mine(KeyboardInterrupt): ...\n"
     "def it(x, grid, denoise, noise): raise Mine", "Mine"),
    ("observer", "fails-twice",
     "class Mine(contracts.RunObserver):\n"
     "    def step(self, step): raise ValueError('first')\n"
     "    def fail(self, error): raise SystemExit(0)\n"
     "@contracts.sees_run\ndef it(run): return Mine()", "SystemExit"),
    ("decoder", "two", "def it(model, x0): return torch.zeros(1, 2, 64, 64)", "gave 2"),
    ("decoder", "seven", "def it(model, x0): return torch.zeros(1, 7, 64, 64)", "gave 7"),
    ("writer", "suffix-none", "@contracts.writes('image', '')\ndef it(shown, manifest, path): ...",
     "begins with a dot"),
    ("writer", "suffix-folder",
     "@contracts.writes('image', '.a/b')\ndef it(shown, manifest, path): ...", "names no folder"),
    ("observer", "writes", f"{OBSERVER}    yield lambda step: step.x0.zero_()",
     "at step 1 of 4"),
    ("observer", "shallow", f"{OBSERVER}    import sys\n    def tell(step):\n"
     "        frame, deep = sys._getframe(), 8\n"
     "        while frame := frame.f_back: deep += 1\n"
     "        sys.setrecursionlimit(deep)\n    yield tell", "RecursionError"),
    ("scheduler", "forgets", "import sys\ndef it(x, grid, denoise, noise):\n"
     "    torch.Tensor.add_ = None\n"
     "    for n in ('os', 'torch', 'warnings'): del sys.modules[n]\n"
     "    return denoise(x, grid[0])", "at step 1 of 4"),
    ("command", "seed", f"{COMMAND}@in_batches\n"
     "def it(pipe: Pipeline, prompt: str, *, seed: int = 4, **call: Any):\n"
     "    '''One.'''\n    yield from pipe.batches(prompt, **call)", "'seed'"),
    ("command", "no-images", f"{COMMAND}@in_batches\n"
     "def it(pipe: Pipeline, prompt: str, **call: Any):\n"
     "    '''One.'''\n    for output in pipe.batches(prompt, num_inference_steps=1, **call):\n"
     "        output.images.clear()\n        yield output", "0 images"),
    ("command", "no-json", f"{COMMAND}@in_batches\n"
     "def it(pipe: Pipeline, prompt: str, **call: Any):\n"
     "    '''One.'''\n    for output in pipe.batches(prompt, num_inference_steps=1, **call):\n"
     "        output.manifests[0]['seed'] = object()\n        yield output", "of JSON"),
]  # fmt: skip

OTHERS: Sequence[tuple[str, str, str]] = [
    ("scheduler", "moves",
     EULER + "    import os\n    os.chdir('/')\n    os.umask(0o777)\n    return x\n"),
    ("scheduler", "interrupted",
     "import signal\n"
     "def it(x, grid, denoise, noise):\n"
     "    try:\n        signal.raise_signal(signal.SIGINT)\n"
     "    except KeyboardInterrupt as stop:\n"
     "        raise BaseExceptionGroup('several', [ValueError(), stop])\n"),
    ("observer", "prints", OBSERVER + "    yield print\n"),
    ("command", "says", "import sys\ndef it():\n    '''One.'''\n    sys.exit('no such luck')\n"),
]  # fmt: skip

FLAGS = {
    "scheduler": "--scheduler {}",
    "writer": "--format {}",
    "decoder": "--set decoder={}",
    "conditioning": '--set conditioning=["text","{}"]',
    "converter": '--set converters=["{}"]',
    "observer": '--set observers=["{}"]',
}
PLURAL = {"conditioning": "conditioning"}


def words(kind: str, name: str) -> str:
    """The command that uses a part."""
    if kind == "command":
        return f"{name} star"
    model = "--model shapes " if name.startswith("reader") else ""  # which is not yet read
    return f"{GENERATE} {model}{FLAGS[kind].format(name)}"


def module(name: str) -> str:
    """The module of a part's source."""
    return f"misbehaved_{name.replace('-', '_')}"


_EVERY = [*((kind, name, source) for kind, name, source, _ in PARTS), *OTHERS]

MISBEHAVED = Wrong(
    "misbehaved",
    hooked(
        **{
            f"ldm_{PLURAL.get(kind, kind + 's')}": "\n    ".join(
                f'register("{name}", "{module(name)}:it")' for k, name, _ in _EVERY if k == kind
            )
            for kind in dict.fromkeys(kind for kind, _, _ in _EVERY)
        }
    ),
    more={f"{module(name)}.py": IMPORTS + source for _, name, source in _EVERY},
)
USES = [
    Use(words(kind, name), 1, (f"the {kind} '{name}' of the package misbehaved", says))
    for kind, name, _, says in PARTS
]
