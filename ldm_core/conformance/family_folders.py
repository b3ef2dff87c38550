"""Model folders for checks of families: what names there are, damaged copies, reading in a process
of its own, and Diffusers' own pictures of a folder."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ldm_core.conformance.checks import NotApplicable
from ldm_core.conformance.grounds import SEEDS, Ground
from ldm_core.model.files import INDEX

ODD_INDICES: Sequence[Mapping[str, Any]] = (
    {},
    {"_class_name": "NoSuchPipeline"},
    {"_class_name": ""},
    {"_class_name": None},
    {"_class_name": 3},
    {"_class_name": ["StableDiffusionPipeline"]},
    {"_class_name": "NoSuchPipeline", "unet": ["diffusers", "UNet2DConditionModel"]},
    {"_class_name": "NoSuchPipeline", "transformer": ["diffusers", "SomeTransformer2DModel"]},
)
"""What a ``model_index.json`` may say that is of no model, or is damaged."""
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "safetensors")
INSPECT = """
import importlib, json, sys
from pathlib import Path
sys.path[:] = json.loads(sys.argv[1])
module, _, name = sys.argv[2].partition(":")
before = set(sys.modules)
family = vars(importlib.import_module(module))[name]()
folder = Path(sys.argv[3])
family.inspect(str(folder), folder, json.loads((folder / sys.argv[4]).read_text()))
print()
print(json.dumps([name for name in json.loads(sys.argv[5]) if name in set(sys.modules) - before]))
"""


def pipeline_classes() -> list[str]:
    """The names of Diffusers' pipelines, read from its source; none where it is not installed."""
    home = find_spec("diffusers")
    if home is None or home.origin is None:
        return []
    text = Path(home.origin).read_text(encoding="utf-8")
    return sorted({*re.findall(r'"(\w+Pipeline)"', text)})


def imported_to_inspect(target: str, folder: Path) -> list[str]:
    """Which heavy packages a family imports to read a folder's JSON files, in a process of its own.

    Raises:
        AssertionError: it fails there.
    """
    words = [json.dumps(sys.path), target, str(folder), INDEX, json.dumps(HEAVY)]
    command = [sys.executable, "-P", "-c", INSPECT, *words]
    done = subprocess.run(  # noqa: S603 - this program itself
        command, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise AssertionError(f"inspect failed in a process of its own: {_last_line(done.stderr)}")
    names: list[str] = json.loads(_last_line(done.stdout))
    return names


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "nothing was said"


@contextmanager
def damaged(folder: Path) -> Iterator[Iterator[tuple[str, Path]]]:
    """Copies of a folder, each with one JSON file that is missing or wrong, with what is the matter
    with it. All other files are links to the folder's own."""
    with TemporaryDirectory(prefix="ldm-check-") as place:
        yield _damages(folder, Path(place) / "model")


def _damages(folder: Path, copy: Path) -> Iterator[tuple[str, Path]]:
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    for file in files:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        (copy / file).symlink_to((folder / file).resolve())
    for file in (file for file in files if file.suffix == ".json"):
        try:
            content = json.loads((folder / file).read_text(encoding="utf-8"))
        except ValueError:
            continue
        (copy / file).unlink()
        yield f"without {file}", copy
        for words, text in _wrong(content):
            (copy / file).write_text(text, encoding="utf-8")
            yield f"with {file} {words}", copy
        (copy / file).unlink()
        (copy / file).symlink_to((folder / file).resolve())


def _wrong(content: Any) -> Iterator[tuple[str, str]]:
    """Other texts of a JSON file, with what they are."""
    yield "cut off", "{"
    yield "that is a list", "[]"
    yield "that says nothing", "{}"
    if isinstance(content, dict):
        yield "whose values are all null", json.dumps(dict.fromkeys(content))
        kept = {key: value for key, value in content.items() if key.startswith("_")}
        yield "whose values are all text", json.dumps({**dict.fromkeys(content, "text"), **kept})


def diffusers_pictures(folder: Path, ground: Ground, cls: str) -> Any:
    """What Diffusers' own pipeline draws of the ground's first image, (1, height, width, channels)
    in [0, 1], of a video with its frames before the height.

    Raises:
        NotApplicable: Diffusers is not here, has no such class, or needs more than there is.
    """
    import torch

    if find_spec("diffusers") is None:
        raise NotApplicable("Diffusers is not installed")
    kind = _class_of_diffusers(cls)
    if kind is None:
        raise NotApplicable(f"Diffusers has no class {cls}")
    try:
        pipe = kind.from_pretrained(folder)
    except ImportError as error:
        said = next(iter(str(error).strip().splitlines()), "a library is missing")
        raise NotApplicable(f"Diffusers cannot read it here: {said}") from None
    pipe.set_progress_bar_config(disable=True)
    takes = inspect.signature(pipe.__call__).parameters
    guidance = ground.pipe.recipe.get("guidance")  # a folder may say its own
    scale = guidance.get("scale") if isinstance(guidance, Mapping) else None
    extent = ground.pipe.composition.extent()
    offers: dict[str, Any] = {
        "prompt": _first(ground, "prompt"),
        "class_labels": _first(ground, "class_label"),
        "batch_size": 1 if "prompt" not in takes and "class_labels" not in takes else None,
        "num_inference_steps": ground.steps,
        "guidance_scale": scale,
        "generator": [torch.Generator().manual_seed(SEEDS[0])],
        "output_type": "np",
        "use_resolution_binning": False,
        "num_frames": extent.get("frames"),
        **extent,
    }
    given = {key: value for key, value in offers.items() if key in takes and value is not None}
    lacking = [
        name
        for name, one in takes.items()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD and name not in given
    ]
    if lacking or not {"generator", "output_type"} <= takes.keys():
        raise NotApplicable(f"Diffusers' {cls} needs {', '.join(lacking) or 'no generator'}")
    with torch.no_grad():
        return pipe(**given)[0]


def _class_of_diffusers(cls: str) -> Any:
    """A class of Diffusers, which imports most of them when they are asked for."""
    try:
        return getattr(importlib.import_module("diffusers"), cls)
    except AttributeError:
        return None


def _first(ground: Ground, name: str) -> Any:
    values = ground.inputs.get(name)
    return None if values is None else [values[0]]
