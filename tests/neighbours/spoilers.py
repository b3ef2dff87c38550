"""Packages that change what others use, each in one way: what is said of each, and nothing comes of
any for the others."""

from __future__ import annotations

from neighbours.corpus import HEAD, IMPORTS, WALK, Use, Wrong, hooked

GENERATE = "generate star --steps 2 --seed 1"


def importing(name: str, body: str) -> Wrong:
    """A package whose module does that when it is imported."""
    return Wrong(f"spoils-{name}", f"{body}\n{HEAD}")


def false(module: str) -> tuple[Wrong, str]:
    """A package that has a module of another's name answer anything."""
    return (
        importing(
            module.replace(".", "-").replace("_", "-").lower(),
            f"import sys, types\nm = types.ModuleType({module!r})\n"
            f"m.__getattr__ = lambda name: (lambda *a, **k: None)\nsys.modules[{module!r}] = m",
        ),
        f"it put modules of its own in the place of those of others ({module})",
    )


PUT_BACK = "that was put back"
VICTIM = Wrong(
    "victim",
    hooked("def target(): return 'victim_parts:it'\n", ldm_schedulers='register("hurt", target())'),
    more={
        "victim_parts.py": IMPORTS
        + f"def it(x, grid, denoise, noise):\n    '''Euler.'''{WALK}    return x\n"
    },
)
"""A right package, which others spoil."""
GELU = "torch's own torch.nn.functional.gelu"
AT_IMPORT: list[tuple[Wrong, str]] = [
    # what the list says of it
    *(
        false(module)
        for module in (
            *("torch", "diffusers", "transformers", "safetensors", "numpy", "PIL", "pluggy"),
            *("ldm_core.recipe", "ldm_core.contracts", "ldm_plugins.schedulers.euler"),
        )
    ),
    (
        importing(
            "object",
            "import sys\nclass Any:\n    def __getattr__(self, name): return self\n"
            "sys.modules['torch.nn'] = Any()",
        ),
        "in the place of those of others (torch.nn)",
    ),
    (
        importing("nothing", "import sys\nsys.modules['torch.nn.functional'] = None"),
        "in the place of those of others (torch.nn.functional)",
    ),
    (
        Wrong("spoils-ships-torch", HEAD, more={"torch/__init__.py": "raise SystemExit"}),
        "it brings modules of 'torch', which is another package's",
    ),
    (
        Wrong("spoils-ships-ours", HEAD, more={"ldm_core/extra.py": ""}),
        "it brings modules of 'ldm_core', which is another package's",
    ),
    (
        Wrong("spoils-starts", HEAD, more={"spoils_starts.pth": "import sys\n"}),
        "has Python run its code at each start, by spoils_starts.pth",
    ),
    (
        importing("constant", "import ldm_core.composition.recipe as r\nr.STAGES = ()"),
        "ldm_core.composition.recipe.STAGES",
    ),
    (
        importing("error", "import ldm_core.errors as e\ne.LdmError = ValueError"),
        "ldm_core.errors.LdmError",
    ),
    (
        importing(
            "method",
            "from ldm_core.plugins.registry import Registry\nRegistry.__init__ = lambda s: None",
        ),
        "ldm_core.plugins.registry.Registry.__init__",
    ),
    (
        importing(
            "code",
            "import ldm_core.plugins.names as n\ndef other(kind, name, package): return name\n"
            "n.check_name.__code__ = other.__code__",
        ),
        "the code of ldm_core.plugins.names.check_name",
    ),
    (
        importing("defaults", "import ldm_core.media.names as n\nn._taken.__defaults__ = (1,) * 9"),
        "ldm_core.media.names._taken takes by default",
    ),
    (
        importing(
            "table",
            "from ldm_core.numerics.prediction import PREDICTION_TYPES as P\nP.pop('epsilon')",
        ),
        "what ldm_core.numerics.prediction.PREDICTION_TYPES holds",
    ),
    *(
        (importing(name, f"import torch.nn.functional as F\nimport torch\nF.gelu = {new}"), GELU)
        for name, new in {
            "exchanged": "F.relu",
            "decorated": "torch.no_grad()(lambda x, *a, **k: x)",
        }.items()
    ),
    (
        importing("builtin", "import ldm_core.composition.recipe as r\nr.len = lambda x: 0"),
        "ldm_core.composition.recipe.len",
    ),
    (
        importing("builtins", "import ldm_core.composition.recipe as r\nr.__builtins__ = {}"),
        "ldm_core.composition.recipe.__builtins__",
    ),
    (
        importing(
            "attribute",
            "from ldm_core.contracts import Medium\nMedium.__getattr__ = lambda s, n: 1",
        ),
        "ldm_core.contracts.medium.Medium.__getattr__",
    ),
    (
        importing("neighbour", "import victim_parts\nvictim_parts.it = lambda *a: 1 / 0"),
        "victim_parts.it",
    ),
    (
        importing("neighbours-module", "import victim\nvictim.target = lambda: 'a.b:c'"),
        "victim.target",
    ),
    (
        importing(
            "neighbours-code",
            "import victim_parts\ndef other(x, grid, denoise, noise): return 0 * x\n"
            "victim_parts.it.__code__ = other.__code__",
        ),
        "the code of victim_parts.it",
    ),
    (
        importing(
            "audits",
            "import sys\ndef hear(event, about):\n    if event == 'open': raise RuntimeError\n"
            "sys.addaudithook(hear)",
        ),
        "an audit hook, which was not added",
    ),
    (
        importing("codec", "import codecs\ncodecs.register_error('strict', lambda e: ('', e.end))"),
        "what is made of letters that do not fit",
    ),
    (
        importing("copies", "import copyreg\ncopyreg.dispatch_table.clear()"),
        "what copyreg.dispatch_table holds",
    ),
    (
        importing("hooks", "import threading\nthreading.excepthook = lambda what: None"),
        "threading.excepthook",
    ),
]

VOICES: dict[str, tuple[str, str]] = {
    # what an observer does at a step by which others are heard no more, and what is said of it
    "mutes": ("import os, sys\nsys.stdout = open(os.devnull, 'w')", "another standard output"),
    "mutes-errors": (
        "import os, sys\nsys.stderr = open(os.devnull, 'w')",
        "another standard error stream",
    ),
    "method": ("import sys\nsys.stderr.write = len", "what the standard error stream does"),
    "descriptor": (
        "import os\nos.dup2(os.open(os.devnull, os.O_WRONLY), 2)",
        "where the standard error stream leads",
    ),
    "log": ("import logging\nlogging.disable(50)", "what is logged"),
    "handlers": (
        "import logging\nlogging.root.addHandler(logging.NullHandler())",
        "what is logged",
    ),
    "filters": (
        "import warnings\nwarnings.simplefilter('ignore')",
        "how warnings and errors are shown",
    ),
    "shown": (
        "import warnings\nclass Any:\n    def __eq__(self, other): raise SystemExit(0)\n"
        "    def __call__(self, *a, **k): pass\nwarnings.showwarning = Any()",
        "how warnings and errors are shown",
    ),
    "signals": (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
        "what signals do",
    ),
}
OBSERVED: dict[str, tuple[str, str]] = {
    # what else it does, and what is said of it
    "ours": (
        "import ldm_core.run.output as o\no.Output.save = lambda *a, **k: None",
        "ldm_core.run.output.Output.save",
    ),
    "constant": (
        "import ldm_core.media.writers as w\nw.LdmError = None",
        "ldm_core.media.writers.LdmError",
    ),
    "layer": (
        "torch.nn.functional.silu = lambda x, *a, **k: x",
        "torch.nn.functional.silu",
    ),
    "decorated": (
        "torch.nn.functional.mish = torch.no_grad()(lambda x, *a, **k: x)",
        "torch.nn.functional.mish",
    ),
    "network": (
        "import diffusers\ndiffusers.AutoencoderKL.decode = lambda *a, **k: 1 / 0",
        ".AutoencoderKL.decode",
    ),
    "other": ("import victim_parts\nvictim_parts.it = None", "victim_parts.it"),
    "text": ("import json\njson.dumps = lambda *a, **k: '{}'", "json.dumps"),
    "builtins": ("import builtins\nbuiltins.hex = None", "builtins.hex"),
    "module": (
        "import sys, types\nsys.modules['PIL.Image'] = types.ModuleType('PIL.Image')",
        "the module PIL.Image",
    ),
    "every-module": (
        "torch.nn.modules.module.register_module_forward_hook(lambda *a: None)",
        "what hears of each module's calls",
    ),
    "modes": (
        "from torch.overrides import TorchFunctionMode\nclass M(TorchFunctionMode):\n"
        "    def __torch_function__(self, f, types, a=(), k=None): return f(*a, **(k or {}))\n"
        "held.append(M())\nheld[0].__enter__()",
        "what hears of each call of torch",
    ),
    "type": ("torch.set_default_dtype(torch.float64)", "torch's default type"),
    "threads": ("torch.set_num_threads(3)", "how many threads torch has"),
    "variables": (
        "import os\nos.environ['OMP_NUM_THREADS'] = '7'\nos.environ['TRITON_OF_TORCH'] = ''",
        "the environment (OMP_NUM_THREADS)",
    ),
    "rights": ("import os\nos.umask(0o007)", "the rights of new files"),
    "finders": ("import sys\nsys.meta_path.clear()", "how modules are looked for"),
    "depth": ("import sys\nsys.setrecursionlimit(5000)", "the recursion limit"),
    "audits": ("import sys\nsys.addaudithook(lambda *a: 1 / 0)", "an audit hook"),
    "alarms": ("import signal\nsignal.alarm(1000)", "the timer that sends SIGALRM"),
    "nothing": ("import sys\nsys.modules['tomllib'] = None", "the module tomllib"),
    "finalizer": (
        "class D:\n    def __del__(self): raise SystemExit(7)\nD()",
        "tell.D.__del__ of the observer 'finalizer'",
    ),
    "callback": (
        "import weakref\ndef gone(ref): raise KeyError\none = set()\n"
        "ref = weakref.ref(one, gone)\ndel one",
        "tell.gone of the observer 'callback'",
    ),
}
ALL = VOICES | OBSERVED
OBSERVER = (
    "from contextlib import contextmanager\nheld = []\n@contextmanager\ndef it(grid):\n"
    "    def tell(step):\n        {}\n    yield tell\n"
)


def observer(name: str) -> str:
    return OBSERVER.format("\n        ".join(ALL[name][0].splitlines()))


MEANWHILE = Wrong(
    "spoils-meanwhile",
    hooked(
        ldm_observers="\n    ".join(
            f'register("{name}", "spoils_{name.replace("-", "_")}:it")' for name in ALL
        ),
        ldm_schedulers='register("imported", "spoils_imported:it")\n'
        '    register("made", "spoils_made:it")',
    ),
    more={
        **{f"spoils_{name.replace('-', '_')}.py": IMPORTS + observer(name) for name in ALL},
        "spoils_imported.py": "import ldm_core.media.writers as w\n"
        "w.named_writer = lambda *a, **k: None\n"
        "import ldm_plugins.schedulers.euler as e\nit = e.euler\n",
        "spoils_made.py": "import ldm_core.media.writers as w\n"
        "import ldm_plugins.schedulers.euler as e\n"
        "def it(*, eta: float = 1.0):\n    w.named_writer = None\n    return e.euler\n",
    },
)
"""One package whose observers change something at a step, and whose schedulers while they are
imported, or made."""
MADE = {
    "imported": Use(f"{GENERATE} --scheduler imported", 0, ("named_writer",), True, True),
    "made": Use(f"{GENERATE} --scheduler made", 0, ("named_writer",), True, True),
}
LATE = importing(
    "late",
    "import threading\n"
    "from ldm_core.plugins import discovery\n"
    "def later():\n"
    "    import ldm_core.contracts as c\n"
    "    while discovery.is_listing(): pass\n"
    "    c.Medium = None\n"
    "threading.Thread(target=later).start()",
)
"""A package whose thread waits until it is imported."""
