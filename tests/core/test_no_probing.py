"""No part is asked for an attribute by its name in a string: a trait that is found by name is one
that a wrapper drops in silence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBES = {"getattr", "hasattr", "setattr", "delattr"}
FOREIGN = {
    "ldm_core/conformance/declared.py": {"check_options", "expected_failures"},
    "ldm_core/plugins/earlier.py": {
        "bind",
        "embedded_scale",
        "for_model",
        "inputs",
        "networks",
        "own_grid",
    },
    "ldm_core/model/own_thread.py": {
        "ModelMixin",
        "PreTrainedModel",
        "TORCH_INIT_FUNCTIONS",
        "_init_on_device",
        "_set_default_torch_dtype",
        "_skip",
    },
    "ldm_core/plugins/contents.py": {"__file__", "__module__", "__name__"},
    "ldm_core/plugins/inside.py": {"_copy_dispatch", "_deepcopy_dispatch"},
    "ldm_core/plugins/itself.py": {"f'__{name}__'"},
    "ldm_core/plugins/arrivals.py": {"__file__", "__path__", "__spec__"},
    "ldm_core/plugins/hook_api.py": {"ldm_api", "ldm_api_version"},
    "ldm_core/plugins/ownership.py": {"_path"},
    "ldm_core/plugins/inherited.py": {"_data"},
    "ldm_core/errors.py": {"__class__", "__notes__"},
    "plugins/ldm_plugins/converters/shared/compilation.py": {"forward"},
    "plugins/ldm_plugins/schedulers/shared/diffusers_classes.py": {"_backends", "step"},
    "plugins/ldm_plugins/schedulers/shared/diffusers_walk.py": {
        "counter",
        "final_alpha_cumprod",
        "init_noise_sigma",
        "order",
        "scale_model_input",
        "set_begin_index",
        "sigmas",
        "sigmas_interpol",
    },
}
"""What is probed is no part of ours: a module that offers plugins, a part that was written for an
earlier hook API, an object or class of another library, Python's exceptions among them."""


def files() -> list[Path]:
    return [p for top in ("ldm_core", "plugins", "pipelines") for p in (ROOT / top).rglob("*.py")]


def probed(tree: ast.AST) -> Iterator[str]:
    """The names that are asked for by a string, and protocols that ask so behind `isinstance`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=probe), args=[_, name, *_]) if probe in PROBES:
                yield from text_of(name)
            case ast.Subscript(value=names, slice=name) if lists_attributes(names):
                yield from text_of(name)
            case ast.Call(func=ast.Attribute(value=names), args=[name, *_]) if lists_attributes(
                names
            ):
                yield from text_of(name)
            case ast.Compare(left=name, ops=[ast.In() | ast.NotIn()], comparators=[names]):
                yield from text_of(name) if lists_attributes(names) else []
        if isinstance(node, ast.Name | ast.Attribute):
            word = node.id if isinstance(node, ast.Name) else node.attr
            if word == "runtime_checkable":
                yield word


def text_of(name: ast.expr) -> list[str]:
    """What a literal string says; nothing for what only a run can tell."""
    match name:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr():
            return [ast.unparse(name)]
    return []


def lists_attributes(names: ast.expr) -> bool:
    """Whether an expression stands for the attributes of something, or their names."""
    match names:
        case ast.Call(func=ast.Name(id="vars" | "dir"), args=[_]):
            return True
        case ast.Attribute(attr="__dict__"):
            return True
    return False


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_part_is_probed_by_a_string(path: Path) -> None:
    allowed = FOREIGN.get(path.relative_to(ROOT).as_posix(), set())
    names = set(probed(ast.parse(path.read_text())))
    assert names <= allowed, f"{path} probes {sorted(names - allowed)}"


def test_what_is_allowed_is_there() -> None:
    for name, allowed in FOREIGN.items():
        assert set(probed(ast.parse((ROOT / name).read_text()))) >= allowed, name


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('setattr(x, "start", 1); getattr(x, name); hasattr(x, f"{a}_b")', ["start", "f'{a}_b'"]),
        ('vars(x)["start"]; vars(x)[name]; vars(x)[f"{a}_b"]', ["start", "f'{a}_b'"]),
        ('vars(type(x)).get("start"); vars(x).pop("order", None)', ["start", "order"]),
        ('x.y.__dict__["start"] = 1; x.__dict__.get("order")', ["start", "order"]),
        (
            '"start" in vars(x); "order" not in x.__dict__; "fit" in dir(x)',
            ["start", "order", "fit"],
        ),
        ('x["start"]; x.get("start"); "start" in x; {**vars(x)}; sorted(dir(x)); dir()["a"]', []),
        ("@typing.runtime_checkable\nclass Walk: ...", ["runtime_checkable"]),
    ],
)
def test_the_test_sees_a_probe(line: str, names: list[str]) -> None:
    assert list(probed(ast.parse(line))) == names
