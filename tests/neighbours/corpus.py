"""Packages that are wrong, each in one way, and what is to come of using them.

Written from the contracts' words alone: what a package may do wrong that is listed, imported,
chosen by name or run beside others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent

VERSION = "1.2"
HEAD = "from ldm_core import hookimpl\nldm_api_version = 2\n"
IMPORTS = (
    "import torch\n"
    "from itertools import pairwise\n"
    "from ldm_core import contracts\n"
    "from ldm_core.numerics.moves import move\n"
)


@dataclass(frozen=True)
class Use:
    """A command that uses what is wrong, after ``ldm``.

    Attributes:
        code: its exit code.
        says: what its message has, beside the package's name and version.
        blames: the message names the package and its version.
        makes: a picture comes of it all the same.
    """

    words: str
    code: int = 1
    says: tuple[str, ...] = ()
    blames: bool = True
    makes: bool = False


@dataclass(frozen=True)
class Wrong:
    """A package that is wrong.

    Attributes:
        module: the source of its one module, which its entry point ``it`` names.
        told: listing the plugins says that it is not loaded, or what is wrong with it.
        use: what uses it.
        more: other files, by their paths beside the module.
        metadata: in place of its METADATA file; None for no such file.
        entry: the value of its entry point.
        entry_name: and its name.
    """

    name: str
    module: str
    told: bool = False
    use: Use | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    metadata: str | None = ""
    entry: str = ""
    entry_name: str = "it"

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")


GENERATE = "generate star --steps 4 --seed 1"
WALK = """
    for here, there in pairwise(grid):
        x = move(x, denoise(x, here), here, there)
"""


def hooked(*bodies: str, **hooks: str) -> str:
    """A plugin module with these bodies of hooks, by the hook's name."""
    text = "\n".join(map(dedent, bodies))
    for name, body in hooks.items():
        text += f"\n@hookimpl\ndef {name}(register):\n    {body}\n"
    return HEAD + text


def offering(kind: str, source: str, hook: str = "", name: str = "mine") -> tuple[str, str]:
    """A plugin module that offers ``parts:it`` under a name, and the source of ``parts``."""
    hook = hook or f"ldm_{kind}s"
    return (
        hooked(**{hook: f'register("{name}", __name__ + ".parts:it")'}),
        IMPORTS + dedent(source),
    )


def part(
    name: str, kind: str, source: str, use: Use | None, hook: str = "", told: bool = False
) -> Wrong:
    """A package with one part, in a module of its own that is imported when it is used."""
    hook = hook or f"ldm_{kind}s"
    module = hooked(**{hook: f'register("mine", "{name.replace("-", "_")}_parts:it")'})
    source = IMPORTS + dedent(source)
    return Wrong(name, module, told, use, {f"{name.replace('-', '_')}_parts.py": source})


def scheduler(name: str, source: str, code: int = 1, says: tuple[str, ...] = ()) -> Wrong:
    use = Use(f"{GENERATE} --scheduler mine", code, ("scheduler", "mine", *says))
    return part(name, "scheduler", source, use)


def walk(name: str, end: str) -> Wrong:
    """A scheduler that walks as Euler does, and then ends so."""
    return scheduler(name, f"def it(x, grid, denoise, noise):{WALK}    {end}")


def guidance(name: str, combine: str, branches: str = '("negative", "positive")') -> Wrong:
    source = f"""
    class It(contracts.Guidance):
        def bind(self, run):
            def combine(outputs, at):
                {combine}
            return contracts.Bound(lambda point: {branches}, combine)
    def it():
        return It()
    """
    use = Use(f"{GENERATE} --guidance mine", 1, ("guidance", "mine"))
    return part(name, "guidance", source, use, "ldm_guidance")


def wrapper(name: str, source: str) -> Wrong:
    use = Use(f"{GENERATE} --set denoisers=['mine']", 1, ("denoiser", "mine"))
    return part(name, "denoiser", source, use, "ldm_denoisers")


def spacing(name: str, body: str) -> Wrong:
    source = f"def it(schedule, steps):\n    {body}\n"
    return part(name, "spacing", source, Use(f"{GENERATE} --spacing mine", 1, ("spacing", "mine")))


def attention(name: str, body: str) -> Wrong:
    source = f"def it(q, k, v, mask, scale):\n    {body}\n"
    use = Use(f"{GENERATE} --attention mine", 1, ("attention", "mine"))
    return part(name, "attention", source, use, "ldm_attention")


def decoder(name: str, body: str) -> Wrong:
    source = f"def it(model, x0):\n    {body}\n"
    return part(
        name, "decoder", source, Use(f"{GENERATE} --set decoder=mine", 1, ("decoder", "mine"))
    )


def observer(name: str, source: str) -> Wrong:
    use = Use(f"{GENERATE} --set observers=['mine']", 1, ("observer", "mine"))
    return part(name, "observer", source, use)


def converter(name: str, body: str) -> Wrong:
    source = f"""
    class It(contracts.Converter):
        phase, lossless = contracts.Phase.CACHE, True
        {body}
    def it():
        return It()
    """
    use = Use(f"{GENERATE} --set converters=['mine']", 1, ("converter", "mine"))
    return part(name, "converter", source, use)


def conditioning(name: str, source: str) -> Wrong:
    use = Use(f"{GENERATE} --set conditioning=['text','mine']", 1, ("conditioning", "mine"))
    return part(name, "conditioning", source, use, "ldm_conditioning")


def family(name: str, source: str, told: bool = False) -> Wrong:
    return part(name, "family", source, None, "ldm_families", told)


def bound(name: str, answer: str) -> Wrong:
    """A guidance that binds to that."""
    source = f"""
    class It(contracts.Guidance):
        def bind(self, run):
            one = lambda outputs, at: outputs["positive"]
            return {answer}
    def it():
        return It()
    """
    use = Use(f"{GENERATE} --guidance mine", 1, ("guidance", "mine"))
    return part(name, "guidance", source, use, "ldm_guidance")


def saying(name: str, kind: str, body: str) -> Wrong:
    """A guidance or conditioning that says that of itself."""
    source = f"class It(contracts.{kind.title()}):\n    {body}\ndef it(): return It()"
    chosen = "guidance=mine" if kind == "guidance" else "conditioning=['text','mine']"
    use = Use(f"{GENERATE} --set {chosen}", 1, (kind, "mine"))
    return part(name, kind, source, use, f"ldm_{kind}")


def command(name: str, source: str, use: Use | None, offered: str = "mine") -> Wrong:
    module = hooked(ldm_commands=f'register("{offered}", "{name.replace("-", "_")}_parts:it")')
    return Wrong(name, module, False, use, {f"{name.replace('-', '_')}_parts.py": dedent(source)})


USE = Use(f"{GENERATE} --scheduler mine", 2, ("mine",))
OFFERS = 'register("mine", "nowhere.at_all:it")'

AT_IMPORT = [
    Wrong("wrong-import-error", "import nothing_of_the_name", True, USE),
    Wrong("wrong-value-error", "raise ValueError('not me')", True, USE),
    Wrong("wrong-exit", "import sys\nsys.exit(5)", True, USE),
    Wrong("wrong-exit-zero", "raise SystemExit", True, USE),
    Wrong("wrong-syntax", "def (:", True, USE),
    Wrong("wrong-base", "class Mine(BaseException): pass\nraise Mine('all')", True, USE),
    Wrong("wrong-recursion", "def f(): f()\nf()", True, USE),
    Wrong(
        "wrong-words",
        "class Mine(Exception):\n    def __str__(self): raise KeyError\nraise Mine()",
        True,
        USE,
    ),
    Wrong("wrong-prints", "print('[]')\n" + HEAD),
    Wrong("wrong-writes", "import os\nos.write(1, b'[]')\n" + HEAD),
    Wrong("wrong-mutes", "import os, sys\nsys.stdout = open(os.devnull, 'w')\n" + HEAD),
    Wrong("wrong-closes", "import sys\nsys.stdout.close()\n" + HEAD),
    Wrong("wrong-moves", "import os\nos.chdir('/')\n" + HEAD),
    Wrong(
        "wrong-moves-away",
        "import os, tempfile\nplace = tempfile.mkdtemp()\nos.chdir(place)\nos.rmdir(place)\n"
        + HEAD,
        True,
    ),
    Wrong(
        "wrong-path",
        "import sys\nclass Any(str):\n    __hash__ = None\n"
        "    def __eq__(self, other): raise SystemExit(0)\nsys.path.append(Any('a'))\n" + HEAD,
        True,
    ),
    Wrong("wrong-alarm", "import signal\nsignal.alarm(1)\n" + HEAD, True),
    Wrong(
        "wrong-finalizer", "class Any:\n    def __del__(self): raise KeyError\nAny()\n" + HEAD, True
    ),
    Wrong(
        "wrong-warns",
        "import warnings\nwarnings.simplefilter('error')\n"
        "warnings.showwarning = lambda *a, **k: None\n" + HEAD,
    ),
    Wrong(
        "wrong-signals",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HEAD,
    ),
    Wrong("wrong-double", "import torch\ntorch.set_default_dtype(torch.float64)\n" + HEAD),
    Wrong(
        "wrong-object",
        f"{HEAD}class Any:\n    def __getattribute__(self, name): raise SystemExit(0)\n"
        "    def __eq__(self, other): raise SystemExit(0)\n    __hash__ = None\n"
        "class Kind(type):\n    __getattribute__ = __eq__ = Any.__eq__\n    __hash__ = None\n"
        "any = Any()\nclass It(metaclass=Kind): pass\n",
    ),
    Wrong("wrong-seed", "import torch\ntorch.manual_seed(5)\n" + HEAD),
]

AT_HOOKS = [
    Wrong("wrong-hook", hooked(ldm_schedulers="raise RuntimeError('not now')"), True, USE),
    Wrong("wrong-hook-exit", hooked(ldm_schedulers="raise SystemExit(3)"), True, USE),
    Wrong("wrong-hook-prints", hooked(ldm_schedulers="print('[]')")),
    Wrong("wrong-hook-name", hooked(ldm_sheduler="pass"), True, USE),
    Wrong("wrong-hook-takes", HEAD + "@hookimpl\ndef ldm_schedulers(registry): pass", True, USE),
    Wrong("wrong-hook-any", HEAD + "@hookimpl\ndef ldm_schedulers(*given): pass", True, USE),
    Wrong("wrong-wraps", HEAD + "@hookimpl(wrapper=True)\ndef ldm_schedulers(): return (yield)"),
    Wrong(
        "wrong-swallows",
        HEAD + "@hookimpl(wrapper=True)\ndef ldm_schedulers():\n    yield\n    return []",
    ),
    Wrong("wrong-none", hooked(ldm_schedulers='register(None, "a.b:c")'), True),
    Wrong("wrong-empty", hooked(ldm_schedulers='register("", "a.b:c")'), True),
    Wrong("wrong-blank", hooked(ldm_schedulers='register("  ", "a.b:c")'), True),
    Wrong("wrong-number", hooked(ldm_schedulers='register(3, factory="a.b:c")'), True),
    Wrong(
        "wrong-many",
        hooked(ldm_schedulers='[register(f"m{i}", "a.b:c") for i in range(1001)]'),
        True,
    ),
    Wrong("wrong-line", hooked(ldm_schedulers='register("a\\nb", "a.b:c")'), True),
    Wrong("wrong-escape", hooked(ldm_schedulers='register("\\x1b[31m", "a.b:c")'), True),
    Wrong("wrong-space", hooked(ldm_schedulers='register("a b", "a.b:c")'), True),
    Wrong("wrong-flag", hooked(ldm_schedulers='register("--help", "a.b:c")'), True),
    Wrong("wrong-target", hooked(ldm_schedulers='register("mine", 3)'), True),
    Wrong("wrong-target-text", hooked(ldm_schedulers='register("mine", "here")'), True),
    Wrong(
        "wrong-twice",
        hooked(ldm_schedulers='[register("mine", "a.b:c"), register("mine", "a.b:d")]'),
        True,
    ),
    Wrong("wrong-silent", "from ldm_core import hookimpl", True),
    Wrong("wrong-newer", HEAD.replace("2", "99"), True),
    Wrong("wrong-api", "ldm_api_version = object()", True),
    Wrong("wrong-api-text", "ldm_api = 'two'", True),
    Wrong(
        "wrong-later",
        HEAD + "import atexit\n@hookimpl\ndef ldm_schedulers(register):\n"
        "    atexit.register(register, 'late', 'a.b:c')\n",
    ),
]

AT_METADATA = [
    Wrong("wrong-no-metadata", HEAD, metadata=None),
    Wrong("wrong-no-version", HEAD, metadata="Metadata-Version: 2.1\nName: wrong-no-version\n"),
    Wrong("wrong-no-name", HEAD, metadata="Metadata-Version: 2.1\nVersion: 1.2\n"),
    Wrong("wrong-bytes", HEAD, metadata="\udcff\udcfe"),
    Wrong("wrong-entry", HEAD, True, entry="nowhere.at_all"),
    Wrong("wrong-entry-name", HEAD, True, entry="wrong_entry_name:nothing"),
    Wrong("wrong-entry-form", HEAD, True, entry="not a module!"),
    Wrong("wrong-entry-thing", HEAD + "thing = None\n", True, entry="wrong_entry_thing:thing"),
    Wrong("wrong-label", HEAD, entry_name="ldm-core"),
]

AT_USE = [
    Wrong(
        "wrong-gone", hooked(ldm_schedulers=OFFERS), False,
        Use(f"{GENERATE} --scheduler mine", 1, ("scheduler", "mine", "nowhere")),
    ),
    scheduler("wrong-attribute", "pass"),
    scheduler("wrong-no-call", "it = 3"),
    scheduler("wrong-async", "async def it(x, grid, denoise, noise): return x"),
    scheduler("wrong-generator", "def it(x, grid, denoise, noise): yield x"),
    scheduler("wrong-few", "def it(x, grid): return x"),
    scheduler("wrong-many", "def it(x, grid, denoise, noise, more): return x"),
    scheduler("wrong-no-star", f"def it(x, grid, denoise, noise, eta=0.5):\n{WALK}\n    return x"),
    scheduler("wrong-default", "def it(x, grid, denoise, noise, *, eta: int = 'a'): return x"),
    scheduler("wrong-annotation", "def it(x, grid, denoise, noise, *, eta: Nothing = 1): return x"),
    scheduler("wrong-factory", "def it(*, eta: float = 1.0):\n    raise ValueError('no')"),
    scheduler("wrong-factory-exit", "def it(*, eta: float = 1.0):\n    raise SystemExit(0)"),
    scheduler("wrong-factory-none", "def it(*, eta: float = 1.0): pass"),
    scheduler("wrong-module", "raise OSError('none of mine')"),
    scheduler("wrong-module-exit", "raise SystemExit(0)"),
    scheduler(
        "wrong-fit",
        "from dataclasses import replace\ndef walk(x, grid, denoise, noise): return x\n"
        "def fit(info): raise KeyError('beta')\n"
        "it = contracts.Scheduler(walk, fit=fit)",
    ),
    scheduler(
        "wrong-step",
        "def it(x, grid, denoise, noise):\n    for i, (here, there) in enumerate(pairwise(grid)):\n"
        "        x = move(x, denoise(x, here), here, there)\n"
        "        if i == 1: raise ValueError('I am lost')\n    return x",
        says=("2 of 4", "I am lost"),
    ),
    scheduler("wrong-walk-exit", "def it(x, grid, denoise, noise): raise SystemExit(0)"),
    scheduler("wrong-walk-stop", "def it(x, grid, denoise, noise): raise StopIteration"),
    scheduler("wrong-walk-base",
              "class Mine(BaseException): pass\n"
              "def it(x, grid, denoise, noise): raise Mine('all')"),
    scheduler("wrong-walk-words",
              "class Mine(Exception):\n    def __str__(self): raise KeyError\n"
              "def it(x, grid, denoise, noise): raise Mine"),
    scheduler("wrong-walk-words-exit",
              "class Mine(Exception):\n    def __str__(self): raise SystemExit(3)\n"
              "    __repr__ = __str__\n"
              "def it(x, grid, denoise, noise): raise Mine"),
    scheduler("wrong-walk-cause",
              "class Mine(Exception):\n    @property\n"
              "    def __cause__(self): raise ValueError('no')\n"
              "    __context__ = __suppress_context__ = __cause__\n"
              "def it(x, grid, denoise, noise): raise Mine"),
    scheduler("wrong-walk-closes", "def it(x, grid, denoise, noise): raise GeneratorExit"),
    walk("wrong-walk-sparse", "return x.to_sparse()"),
    walk("wrong-walk-nested", "return torch.nested.nested_tensor([*x])"),
    scheduler("wrong-walk-asks-meta",
              "def it(x, grid, denoise, noise): return denoise(x.to('meta'), grid[0])"),
    walk("wrong-walk-pair", "return (x, x)"),
    scheduler("wrong-walk-deep", "def it(x, *rest): return it(x, *rest)"),
    walk("wrong-walk-none", "pass"),
    walk("wrong-walk-shape", "return x[:, :2]"),
    walk("wrong-walk-double", "return x.double()"),
    scheduler("wrong-walk-class",
              "class Mine(Exception):\n    __class__ = property(lambda self: exit(0))\n"
              "def it(x, grid, denoise, noise): raise Mine"),
    scheduler("wrong-walk-number",
              "class Mine(OSError):\n    errno = property(lambda self: exit(0))\n"
              "def it(x, grid, denoise, noise): raise Mine(2, 'no')"),
    walk("wrong-walk-proxy",
         "class It:\n        def __getattribute__(self, name): return getattr(x, name)\n"
         "    return It()"),
    walk("wrong-walk-array", "return x.numpy()"),
    walk("wrong-walk-meta", "return x.to('meta')"),
    walk("wrong-walk-nan", "return x * torch.nan"),
    scheduler(
        "wrong-walk-asks", "def it(x, grid, denoise, noise): return denoise(x[..., :3], grid[0])"
    ),
    scheduler("wrong-walk-point", "def it(x, grid, denoise, noise): return denoise(x, 7)"),
    spacing("wrong-spacing", "raise ValueError('no')"),
    spacing("wrong-spacing-none", "pass"),
    spacing("wrong-spacing-rises", "return [schedule.at(t) for t in (1.0, 500.0, 900.0)]"),
    spacing("wrong-spacing-text", "return ['a'] * (steps + 1)"),
    spacing("wrong-spacing-long", "return [schedule.at(float(t)) for t in range(900, 0, -1)]"),
    guidance("wrong-combine", "raise KeyError('positive')"),
    guidance("wrong-combine-exit", "raise SystemExit(0)"),
    guidance("wrong-combine-none", "return None"),
    guidance("wrong-combine-meta", "return outputs['positive'].to('meta')"),
    guidance("wrong-combine-half", "return outputs['positive'].half()"),
    guidance("wrong-combine-shape", "return outputs['positive'][:, :1]"),
    guidance("wrong-combine-writes", "at.x.zero_(); return outputs['positive']"),
    guidance("wrong-combine-nan", "return outputs['positive'] * torch.nan"),
    guidance("wrong-branch", "return outputs['positve']", '("negative", "positve")'),
    guidance("wrong-branch-text", "return outputs['p']", '"positive"'),
    part("wrong-bind", "guidance",
         "class It(contracts.Guidance):\n"
         "    def bind(self, run): return None\ndef it(): return It()",
         Use(f"{GENERATE} --guidance mine", 1, ("guidance", "mine")), "ldm_guidance"),
    part("wrong-class", "guidance", "def it(): return object()",
         Use(f"{GENERATE} --guidance mine", 1, ("guidance", "mine")), "ldm_guidance"),
    wrapper("wrong-wrapper", "def it(denoise): raise ValueError('no')"),
    wrapper("wrong-wrapper-none", "def it(denoise): pass"),
    wrapper("wrong-wrapped",
            "def it(denoise):\n    def f(x, p): raise ValueError('no')\n    return f"),
    wrapper("wrong-wrapped-none", "def it(denoise): return lambda x, p: None"),
    wrapper("wrong-wrapped-shape", "def it(denoise): return lambda x, p: denoise(x, p)[:, :1]"),
    wrapper("wrong-wrapped-exit",
            "def it(denoise):\n    def f(x, p): raise SystemExit(0)\n    return f"),
    attention("wrong-kernel", "raise ValueError('no')"),
    attention("wrong-kernel-none", "return None"),
    attention("wrong-kernel-half", "return q.half()"),
    attention("wrong-kernel-meta", "return q.to('meta')"),
    attention("wrong-kernel-shape", "return q[:, :, :1]"),
    attention("wrong-kernel-nan", "return q * torch.nan"),
    decoder("wrong-decoder", "raise ValueError('no')"),
    decoder("wrong-decoder-exit", "raise SystemExit(0)"),
    decoder("wrong-decoder-none", "return None"),
    decoder("wrong-decoder-meta", "return torch.zeros(len(x0), 3, 16, 16, device='meta')"),
    decoder("wrong-decoder-empty", "return torch.zeros(len(x0), 3, 0, 16)"),
    decoder("wrong-decoder-medium", "return contracts.Medium('image', None)"),
    decoder("wrong-decoder-flat", "return x0.flatten()"),
    decoder("wrong-decoder-few", "return torch.zeros(0, 3, 8, 8)"),
    decoder("wrong-decoder-writes", "x0.zero_(); return torch.zeros(len(x0), 3, 16, 16)"),
    decoder("wrong-decoder-nan", "return torch.full((len(x0), 3, 16, 16), torch.nan)"),
    decoder("wrong-decoder-kind", "return contracts.Medium('sound', x0)"),
    observer("wrong-observer", "def it(grid): raise ValueError('no')"),
    observer("wrong-observer-none", "def it(grid): return None"),
    observer("wrong-observed",
             "from contextlib import contextmanager\n@contextmanager\ndef it(grid):\n"
             "    def tell(step): raise ValueError('no')\n    yield tell"),
    observer("wrong-observer-end",
             "from contextlib import contextmanager\n@contextmanager\ndef it(grid):\n"
             "    yield lambda step: None\n    raise ValueError('no')"),
    converter("wrong-converter", "def convert(self, model): raise ValueError('no')"),
    converter("wrong-phase", "phase = 'CACHE'"),
    converter("wrong-phase-number", "phase = 99"),
    converter("wrong-phase-none", "del phase"),
    converter("wrong-lossless", "lossless = 'yes'"),
    converter("wrong-lossless-none", "del lossless"),
    converter("wrong-plain", "plain = 'no'"),
    converter("wrong-by-table", "by_table = True"),
    converter("wrong-converter-files", "def files(self): return 'abc'"),
    converter("wrong-converter-files-three", "def files(self): return [3]"),
    bound("wrong-bound-few", "contracts.Bound(lambda: (), one)"),
    bound("wrong-bound-networks",
          "contracts.Bound(lambda p: ('positive',), one, networks={'positive': 3})"),
    bound("wrong-bound-inputs",
          "contracts.Bound(lambda p: ('positive', 'a'), one, inputs={'a': 'x'})"),
    bound("wrong-bound-nothing",
          "contracts.Bound(lambda p: ('positive', 'a'), one, inputs={'a': {'nothing': ['x']}})"),
    saying("wrong-scale", "guidance", "embedded_scale = 'seven'"),
    saying("wrong-neutral", "guidance", "neutral = 3"),
    saying("wrong-files", "guidance", "def files(self): return 'abc'"),
    saying("wrong-files-three", "guidance", "def files(self): return [3]"),
    saying("wrong-files-gone", "conditioning",
           "def files(self):\n        from pathlib import Path\n        return [Path('/no/x')]"),
    saying("wrong-inputs-number", "conditioning", "inputs = {3: contracts.Input()}"),
    saying("wrong-inputs-seed", "conditioning", "inputs = {'seed': contracts.Input()}"),
    saying("wrong-inputs-prompt", "conditioning", "inputs = {'prompt': contracts.Input(int)}"),
    saying("wrong-encode-branch", "conditioning",
           "def encode(self, run, branches): return {'x': {}}"),
    converter("wrong-converter-none", "def convert(self, model): return None"),
    converter("wrong-converter-fit", "def fit(self, info, place): raise KeyError('a')"),
    converter("wrong-converter-fit-none", "def fit(self, info, place): return None"),
    converter("wrong-converter-bind", "def bind(self, run): raise SystemExit(0)"),
    converter("wrong-converter-part", "def part(self, part): return 5"),
    conditioning("wrong-conditioning",
                 "class It(contracts.Conditioning):\n"
                 "    def bind(self, run): raise ValueError('no')\ndef it(): return It()"),
    conditioning("wrong-encode",
                 "class It(contracts.Conditioning):\n"
                 "    def encode(self, *args): raise ValueError('no')\ndef it(): return It()"),
    conditioning("wrong-inputs",
                 "class It(contracts.Conditioning):\n"
                 "    inputs = ['prompt']\ndef it(): return It()"),
    conditioning("wrong-adapt",
                 "class It(contracts.Conditioning):\n"
                 "    def adapt(self, model): return None\ndef it(): return It()"),
    part("wrong-writer", "writer",
         "@contracts.writes('image', '.mine')\n"
         "def it(shown, manifest, path): raise ValueError('no')",
         Use(f"{GENERATE} --format mine", 1, ("writer", "mine"))),
    part("wrong-writer-folder", "writer",
         "@contracts.writes('image', '.mine')\n"
         "def it(shown, manifest, path): path.unlink(); path.mkdir()",
         Use(f"{GENERATE} --format mine", 1, ("writer", "mine"))),
    part("wrong-writer-none", "writer",
         "@contracts.writes('image', '.mine')\ndef it(shown, manifest, path): pass",
         Use(f"{GENERATE} --format mine", 1, ("writer", "mine"))),
]  # fmt: skip

WRITERS = [
    part(f"wrong-writer-{name}", "writer",
         f"@contracts.writes({marks})\ndef it(shown, manifest, path): path.write_bytes(b'x')",
         Use(f"{GENERATE} --format mine", 1, ("writer", "mine", says)))
    for name, marks, says in [
        ("kind", "None, '.mine'", "'kind'"),
        ("ending", "'image', '. '", "suffix"),
        ("extra", "'image', '.mine', needs=('no_module',), extra='x]; rm y'", "extra"),
    ]
]  # fmt: skip
TEXT = """
class It(contracts.Conditioning):
    ability, inputs = "text", {{"prompt": contracts.Input(str, ..., help="what is drawn")}}
    def encode(self, run, branches):
        text = run.model.abilities["text"].encode(run.request.inputs["prompt"])
        return {}
def it(): return It()
"""


def encoder_of_text(name: str, answer: str, says: str) -> Wrong:
    """A conditioning that alone speaks for the prompt."""
    use = Use(f"{GENERATE} --set conditioning=['mine']", 1, ("conditioning", "mine", says))
    return part(name, "conditioning", TEXT.format(answer), use, "ldm_conditioning")


AT_USE += [
    *WRITERS,
    encoder_of_text("wrong-text-branch", "{'positive': text}", "of 'negative' it gave none"),
    encoder_of_text("wrong-text-key", "{b: {'txt': text['text']} for b in branches}", "'txt'"),
    encoder_of_text("wrong-text-nothing", "{}", "step 1 of 4"),
    encoder_of_text(
        "wrong-text-shape", "{b: {'text': text['text'][..., :5]} for b in branches}", "5) float32"
    ),
    conditioning(
        "wrong-text-twice",
        "class it(contracts.Conditioning):\n    def encode(self, run, branches):\n"
        "        return {b: {'text': torch.zeros(1, 3, 5)} for b in branches}",
    ),
    scheduler(
        "wrong-goes-with",
        "def it(x, grid, denoise, noise): return x\nit = contracts.goes_with('nowhere')(it)",
        says=("by the spacing that goes with it", "nowhere"),
    ),
    part(
        "wrong-writer-link",
        "writer",
        "@contracts.writes('image', '.mine')\ndef it(shown, manifest, path):\n"
        "    path.unlink()\n    path.symlink_to(__file__)",
        Use(f"{GENERATE} --format mine", 1, ("writer", "mine", "a link")),
    ),
    part(
        "wrong-writer-manifest",
        "writer",
        "@contracts.writes('image', '.mine')\ndef it(shown, manifest, path):\n"
        "    path.write_bytes(b'x')\n    manifest['seed'] = 99",
        Use(f"{GENERATE} --format mine", 1, ("writer", "mine", "the manifest as it is")),
    ),
    decoder(
        "wrong-decoder-rate",
        "return contracts.Medium('image', torch.zeros(len(x0), 3, 16, 16), beside=("
        "contracts.Medium('audio', torch.zeros(len(x0), 1, 9)),))",
    ),
    saying("wrong-inputs-letters", "conditioning", "inputs = {'pr\\u043empt': contracts.Input()}"),
    saying("wrong-inputs-self", "conditioning", "inputs = {'self': contracts.Input()}"),
]

FAMILY = """
class It(contracts.Family):
    def matches(self, index): {matches}
    def inspect(self, source, folder, index): {inspect}
    def load(self, info, place): raise ValueError('no')
def it(): return It()
"""
AT_FAMILIES = [
    Wrong("wrong-family-gone", hooked(ldm_families=OFFERS)),
    family("wrong-family-factory", "def it(): raise ValueError('no')"),
    family("wrong-family-exit", "def it(): raise SystemExit(0)"),
    family("wrong-family-takes", "def it(model): return model"),
    family("wrong-family-class", "def it(): return object()"),
    family("wrong-family-matches", FAMILY.format(matches="raise KeyError('x')", inspect="pass")),
    family("wrong-matches-exit", FAMILY.format(matches="raise SystemExit(0)", inspect="pass")),
    family(
        "wrong-matches-machine", FAMILY.format(matches="raise OSError(28, 'full')", inspect="pass")
    ),
    family("wrong-matches-memory", FAMILY.format(matches="raise MemoryError", inspect="pass")),
    family(
        "wrong-matches-opens",
        "from ldm_core import Pipeline\n"
        + FAMILY.format(matches="return Pipeline.from_pretrained('shapes')", inspect="pass"),
    ),
    family("wrong-matches-text", FAMILY.format(matches="return 'no'", inspect="pass")),
    family("wrong-matches-all", FAMILY.format(matches="return True", inspect="pass")),
]

RUNS = "from ldm_core.contracts import Pipeline\n"
AT_COMMANDS = [
    command("wrong-command", "def it():\n    '''One.'''\n    raise ValueError('no')",
            Use("mine", 1, ("command", "mine"))),
    command("wrong-command-exit", "def it():\n    '''One.'''\n    raise SystemExit(0)",
            Use("mine", 0, (), False)),
    command("wrong-command-gone", "", Use("mine", 1, ("command", "mine"))),
    command("wrong-command-module", "raise OSError('no')", Use("mine", 1, ("command", "mine"))),
    command("wrong-command-checking",
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from nowhere import Thing\n"
            "def it(a: Thing):\n    '''One.'''", Use("mine x", 1, ("command", "mine"))),
    command("wrong-command-type", "class Thing: pass\ndef it(a: Thing):\n    '''One.'''",
            Use("mine x", 2, ("Thing",), False)),
    command("wrong-command-yields", "def it():\n    '''One.'''\n    yield 1",
            Use("mine", 1, ("command", "mine"))),
    command("wrong-command-async", "async def it():\n    '''One.'''",
            Use("mine", 1, ("command", "mine"))),
    command("wrong-command-words", "def it(**more):\n    '''One.'''",
            None),
    command("wrong-command-default", "def it(*, a: int = 'x'):\n    '''One.'''",
            Use("mine", 1, ("command", "mine"))),
    command("wrong-command-prints", "print('[]')\ndef it():\n    '''One.'''", None),
    command("wrong-takes-generate", "def it():\n    '''One.'''\n    print('taken')",
            None, "generate"),
    command("wrong-takes-plugins", "def it():\n    '''One.'''\n    print('taken')",
            None, "plugins"),
    command("wrong-takes-list", "def it():\n    '''One.'''\n    print('taken')",
            None, "plugins list"),
    command("wrong-takes-replay", "def it():\n    '''One.'''\n    print('taken')",
            None, "replay"),
    command("wrong-takes-inpaint", "def it():\n    '''One.'''\n    print('taken')",
            None, "inpaint"),
    command("wrong-flag-command", "def it():\n    '''One.'''", None, "--version"),
]  # fmt: skip

EVERY_KIND = (
    "scheduler", "spacing", "guidance", "conditioning", "attention", "denoiser", "encoder",
    "decoder", "family", "converter", "writer", "observer", "metric", "command",
)  # fmt: skip
EVERYTHING = HEAD + (
    "from ldm_core.plugins.hookspecs import KINDS\n"
    "import ldm_plugins.plugin, ldm_pipelines.plugin\n"
    "def _names(hook):\n"
    "    names = []\n"
    "    for module in (ldm_plugins.plugin, ldm_pipelines.plugin):\n"
    "        if hook in vars(module):\n"
    "            vars(module)[hook](register=lambda name, target: names.append(name))\n"
    "    return names\n"
) + "\n".join(
    f"@hookimpl\ndef {hook}(register):\n"
    f"    for name in _names('{hook}'):\n"
    "        register(name, 'nowhere.at_all:it')\n"
    for hook in (
        "ldm_schedulers", "ldm_spacings", "ldm_guidance", "ldm_conditioning", "ldm_attention",
        "ldm_denoisers", "ldm_encoders", "ldm_decoders", "ldm_converters", "ldm_writers",
        "ldm_observers", "ldm_metrics", "ldm_commands",
    )
)  # fmt: skip

CLASHES = [
    Wrong(
        "wrong-euler", hooked(ldm_schedulers='register("euler", "a.b:c")'), False,
        Use(f"{GENERATE} --scheduler euler", 2, ("wrong-euler:euler", "ldm-core:euler"), False),
    ),
    Wrong(
        "wrong-text", hooked(ldm_conditioning='register("text", "a.b:c")',
                             ldm_guidance='register("classifier_free", "a.b:c")'),
        False,
        Use(f"{GENERATE} --guidance ldm-core:classifier_free", 0, (), False, True),
    ),
    Wrong("wrong-everything", EVERYTHING, False,
          Use(f"{GENERATE} --scheduler ldm-core:euler", 0, (), False, True)),
    Wrong("wrong-colon", hooked(ldm_schedulers='register("ldm-core:euler", "a.b:c")'), True,
          Use(f"{GENERATE} --scheduler ldm-core:euler", 0, (), False, True)),
    Wrong("wrong-prefix", hooked(ldm_schedulers='register("diffusers:", "a.b:c")')),
    Wrong(
        "wrong-model",
        hooked("from pathlib import Path\n", ldm_models='register("shapes", Path("/"), "x")'),
        False,
        Use("generate star --model ldm-core:shapes --steps 1 --seed 1", 0, (), False, True),
    ),
    Wrong(
        "wrong-model-gone",
        hooked("from pathlib import Path\n", ldm_models='register("a", Path("/gone"), "x")'),
        False, Use("generate star --model a --steps 1", 1, ("model", "/gone")),
    ),
    Wrong("wrong-model-text", hooked(ldm_models='register("a", "/gone", "x")')),
    Wrong("wrong-model-none", hooked(ldm_models='register("a", None, "x")'), True),
]  # fmt: skip

WRONG = [
    *AT_IMPORT, *AT_HOOKS, *AT_METADATA, *AT_USE, *AT_FAMILIES, *AT_COMMANDS, *CLASHES
]  # fmt: skip

RIGHT = Wrong(
    "right-package",
    hooked(ldm_schedulers='register("mine", "right_package_parts:it")'),
    use=Use(f"{GENERATE} --scheduler mine", 0, (), False, True),
    more={
        "right_package_parts.py": IMPORTS
        + f"def it(x, grid, denoise, noise):\n    '''Euler.'''{WALK}    return x\n"
    },
)
"""The correct package, which raises no alarm."""
