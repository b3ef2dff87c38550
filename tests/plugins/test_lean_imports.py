"""Networks imported without the libraries' indexes and optional packages: of the same classes, and
with the same pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import transformers
from PIL import Image

import tiny
from ldm_core import Pipeline
from ldm_core.composition.compose import compose
from ldm_core.plugins.registry import Plugin, installed
from ldm_plugins.shared import classes
from ldm_plugins.shared.classes import HOMES, find_class
from ldm_plugins.shared.lean_imports import can_spare

ALONE = """
import json, sys
import numpy as np
from ldm_core.composition.compose import compose
from ldm_core.model import own_program
from ldm_core.plugins.registry import installed

own_program.begins()
registry = installed()
{before}
for number, (folder, inputs) in enumerate(json.loads(sys.argv[1])):
    composition = compose({{"model": folder, "num_inference_steps": 2, "device": "cpu"}}, registry)
    own_program.makes_only(composition.plugins)
    from ldm_core.run.pipeline import Pipeline

    pipe = Pipeline.from_composition(composition)
    np.save(f"{{number}}.npy", pipe(**inputs, seed=1, output_type="np").images)
{after}
"""
UNREAD = {"torchao", "peft", "gguf", "scipy", "sympy", "diffusers.pipelines"}
STILL_ALONE = "assert own_program.only() is not None, 'an import failed, and all was imported'"
CHECKS = f"""
{STILL_ALONE}
print(sorted(n for n in {sorted(UNREAD)} if sys.modules.get(n) is not None))
print("torch._dynamo.eval_frame" in sys.modules)
"""
ASKED_LATER = """
import transformers, diffusers
from diffusers.models.transformers import FluxTransformer2DModel
assert FluxTransformer2DModel is diffusers.FluxTransformer2DModel
assert transformers.CLIPTextModel is sys.modules[
    "transformers.models.clip.modeling_clip"].CLIPTextModel
from transformers.models.bert.modeling_bert import BertModel
assert transformers.BertModel is BertModel
assert not hasattr(transformers, "NoSuchModel")
assert not hasattr(diffusers.models.unets, "NoSuchModel")
import scipy.special
import torch
assert torch._dynamo.is_compiling() is False
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


def alone(runs: list[Any], at: Path, before: str = "", after: str = CHECKS) -> list[str]:
    """The lines that a program prints which makes these runs and no others."""
    code = ALONE.format(before=before, after=after)
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(runs)], capture_output=True, text=True, cwd=at
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, dict[str, Any]]]:
    """Of a tiny folder of each kind: where it is, and what it is called with."""
    at = tmp_path_factory.mktemp("models")
    folders = {n: kind.write(at / n.replace(" ", "-")) for n, kind in tiny.FOLDERS.items()}
    return {n: (str(at), dict(tiny.FOLDERS[n].inputs_in(at))) for n, at in folders.items()}


def test_every_kind_of_model_makes_the_same_picture(
    runs: dict[str, tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    alone(list(runs.values()), tmp_path, after=STILL_ALONE)
    for number, (folder, inputs) in enumerate(runs.values()):
        pipe = Pipeline.from_pretrained(folder, num_inference_steps=2, device="cpu")
        images = pipe(**inputs, seed=1, output_type="np").images
        np.testing.assert_array_equal(np.load(tmp_path / f"{number}.npy"), images)


def test_what_nobody_asks_for_is_not_imported(folder: Path, tmp_path: Path) -> None:
    printed = alone([(str(folder), {"prompt": "a star"})], tmp_path, after=CHECKS + ASKED_LATER)
    assert printed == ["[]", "False"]


def test_where_it_fails_all_is_imported(folder: Path, tmp_path: Path) -> None:
    """As where a version of a library needs a package that is taken for optional."""
    before = (
        "from ldm_plugins.shared import lean_imports\n"
        "lean_imports.ABSENT = (*lean_imports.ABSENT, 'huggingface_hub')"
    )
    after = (
        "from diffusers.utils import is_peft_available\n"
        "print(own_program.only(), is_peft_available(), 'huggingface_hub' in sys.modules)"
    )
    printed = alone([(str(folder), {"prompt": "a star"})], tmp_path, before, after)
    assert printed == ["None True True"]


@pytest.mark.parametrize("name", HOMES)
def test_a_class_is_the_one_that_its_library_offers(name: str) -> None:
    """One that moves is found all the same, and here it is said that it has moved."""
    library = transformers if HOMES[name].startswith("transformers") else diffusers
    assert vars(sys.modules[find_class(name).__module__])[name] is find_class(name)
    assert find_class(name) is getattr(library, name)
    assert find_class(name).__module__ == HOMES[name]


def test_tokenizers_are_the_fast_ones() -> None:
    assert find_class("CLIPTokenizer") is transformers.CLIPTokenizerFast


@pytest.mark.parametrize(
    "home", ["diffusers.no_such_module", "no_such_library.at_all", "diffusers.models.resnet"]
)
def test_a_class_that_has_moved_is_found(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(classes.HOMES, "VQModel", home)
    assert find_class("VQModel") is diffusers.VQModel


@pytest.mark.parametrize(
    ("choices", "can"),
    [
        ({}, True),
        ({"scheduler": "dpmpp_2m", "spacing": "karras"}, True),
        ({"scheduler": "diffusers:LMSDiscreteScheduler"}, False),
        ({"guidance": "perturbed_attention"}, False),
        ({"converters": ["vae_tiling"]}, False),
    ],
    ids=str,
)
def test_only_what_needs_no_optional_package_is_spared(
    choices: dict[str, Any], can: bool, folder: Path
) -> None:
    assert can_spare(compose({"model": str(folder), **choices}, installed()).plugins) is can


def test_a_package_of_others_may_need_anything() -> None:
    assert not can_spare([Plugin("scheduler", "theirs", "their-package", "1", "a.b:c")])


def test_in_a_program_of_others_everything_is_imported(folder: Path, tmp_path: Path) -> None:
    """One that has torch when it begins."""
    after = "print(own_program.only(), type(sys.modules['transformers']).__name__)"
    runs = [(str(folder), {"prompt": "a star"})]
    printed = alone(runs, tmp_path, "import torch; own_program.begins()", after)
    assert printed == ["None _LazyModule"]


@pytest.mark.parametrize("words", [["a star"], ["--prompts", "lines.txt"]], ids=["one", "job"])
def test_generate_is_such_a_program(
    words: list[str], folder: Path, pipe: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a star\n")
    code = (
        "import sys; from ldm_core.cli import main\n"
        f"sys.argv = ['ldm', 'generate', *{words}, '--seed', '1', '--model', {str(folder)!r},"
        " '--steps', '4', '--out', 'made']\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "import gc; print(gc.isenabled(), type(sys.modules['transformers']).__name__)\n"
        f"print(sorted(n for n in {sorted(UNREAD)} if sys.modules.get(n) is not None))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[1:] == ["True Index", "[]"]
    (path,) = (tmp_path / "made").glob("*.png")
    assert Image.open(path).tobytes() == pipe("a star", seed=1).images[0].tobytes()


IN_A_PROGRAM = """
import sys, threading
import torch
from ldm_plugins.shared.classes import find_class
find_class("UNet2DConditionModel")
assert "diffusers.models.transformers.transformer_flux" not in sys.modules
seen = []
def look():
    import diffusers
    from diffusers.models.transformers import SD3Transformer2DModel
    from diffusers.hooks import HookRegistry
    seen.append((SD3Transformer2DModel, diffusers.SD3Transformer2DModel, HookRegistry))
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join(120)
assert len(seen) == 4 and len({*seen}) == 1 and seen[0][0] is seen[0][1], seen
names = {}
exec("from diffusers.models.autoencoders import *", names)
import diffusers.models.unets
print("AutoencoderKL" in names, "UNet1DModel" in dir(diffusers.models.unets))
print(diffusers.utils.is_torchao_available(), "peft" in sys.modules)
print("diffusers.schedulers.scheduling_dpmsolver_multistep" in sys.modules,
      "scipy.stats" in sys.modules)
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
DPMSolverMultistepScheduler(use_beta_sigmas=True).set_timesteps(4)
import scipy.stats
print(scipy.stats is sys.modules["scipy.stats"], scipy.stats.norm(1, 2).mean())
"""


def test_in_a_program_of_others_networks_are_imported_as_they_are_asked_for() -> None:
    """And by several threads at once, by ``import *`` and by ``dir``; nothing is taken for
    absent."""
    run = subprocess.run([sys.executable, "-c", IN_A_PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-4:] == ["True True", "True True", "True False", "True 1.0"]


SCIPY = """
import pickle, sys, threading
from ldm_plugins.shared.lean_imports import looked_at_later
import scipy
with looked_at_later():
    import scipy.stats
    import scipy.stats as held
    assert "scipy.stats._stats_py" not in sys.modules
assert "scipy.stats" not in sys.modules and "stats" not in vars(scipy)
seen = []
def look():
    from scipy.stats import beta
    import scipy.stats.qmc
    seen.append((scipy.stats, beta, held.beta, scipy.stats.qmc.Sobol))
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
assert len(seen) == 4 and len({id(module) for module, *_ in seen}) == 1, seen
assert all(beta is scipy.stats.beta is other for _, beta, other, _ in seen)
assert scipy.stats is sys.modules["scipy.stats"] and type(scipy.stats).__name__ == "module"
assert pickle.loads(pickle.dumps(held.norm(1, 2))).mean() == 1
assert not hasattr(held, "no_such_name")
with looked_at_later():  # once it is there it is left alone
    import scipy.stats as again
assert again is scipy.stats
"""
EAGER = """
import sys
from ldm_plugins.shared.lean_imports import looked_at_later
with looked_at_later():
    from scipy.stats import norm
    import scipy.stats
    assert scipy.stats.norm is norm and scipy.stats is sys.modules["scipy.stats"]
"""


@pytest.mark.parametrize("code", [SCIPY, EAGER], ids=["later", "at once"])
def test_a_package_that_is_looked_at_later_is_the_same_package(code: str) -> None:
    """By whatever road, in several threads at once."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
