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
    "ldm_core/plugins/registry.py": {"ldm_api_version"},
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
"""What is probed is no part of ours: a module that offers plugins, an object or class of another
library."""


def files() -> list[Path]:
    return [p for top in ("ldm_core", "plugins", "pipelines") for p in (ROOT / top).rglob("*.py")]


def probed(tree: ast.AST) -> Iterator[str]:
    """The names that are asked for by a string, and protocols that ask so behind `isinstance`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=probe), args=[_, ast.Constant(value=name), *_]):
                yield from [str(name)] if probe in PROBES else []
            case ast.Call(func=ast.Name(id=probe), args=[_, ast.JoinedStr() as name, *_]):
                yield from [ast.unparse(name)] if probe in PROBES else []
        if isinstance(node, ast.Name | ast.Attribute):
            word = node.id if isinstance(node, ast.Name) else node.attr
            if word == "runtime_checkable":
                yield word


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_part_is_probed_by_a_string(path: Path) -> None:
    allowed = FOREIGN.get(path.relative_to(ROOT).as_posix(), set())
    names = set(probed(ast.parse(path.read_text())))
    assert names <= allowed, f"{path} probes {sorted(names - allowed)}"


def test_what_is_allowed_is_there() -> None:
    for name, allowed in FOREIGN.items():
        assert set(probed(ast.parse((ROOT / name).read_text()))) >= allowed, name


def test_the_test_sees_a_probe() -> None:
    tree = ast.parse('setattr(x, "start", 1); getattr(x, name); hasattr(x, f"{a}_b")')
    assert list(probed(tree)) == ["start", "f'{a}_b'"]
