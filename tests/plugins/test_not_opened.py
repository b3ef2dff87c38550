"""Pipeline classes of the installed Diffusers: a family opens each, or a page says why not."""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from pathlib import Path

import diffusers
import pytest

from ldm_core.composition.compose import compose
from ldm_core.composition.composition import OF_A_CALL
from ldm_core.errors import LdmError
from ldm_core.model.families import Families
from ldm_core.plugins.elsewhere import tables_of
from ldm_core.plugins.registry import installed

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "not-opened.md"
SOURCES = Path(diffusers.__file__).parent
CLASS = re.compile(r"^class (\w+Pipeline)\(", re.MULTILINE)


@cache
def classes() -> frozenset[str]:
    """As its source files have them, whether or not they can be imported here."""
    files = [
        f for room in ("pipelines", "modular_pipelines") for f in (SOURCES / room).rglob("*.py")
    ]
    return frozenset(name for file in files for name in CLASS.findall(file.read_text("utf-8")))


@cache
def opened() -> frozenset[str]:
    families = Families(installed())
    found = set()
    for name in classes():
        try:
            families.of("model", {"_class_name": name}, None)
        except LdmError:
            continue
        found.add(name)
    return frozenset(found)


def test_the_page_has_every_class_that_no_family_opens() -> None:
    page, _, taken = PAGE.read_text(encoding="utf-8").partition("## What is not taken")
    assert {*re.findall(r"`(\w+Pipeline)`", taken)} <= opened()
    listed = re.findall(r"`(\w+Pipeline)`", page)
    assert len(listed) == len({*listed})
    assert {*listed} == classes() - opened()
    assert {"FluxPipeline", "WanPipeline", "KolorsPipeline", "StableAudio3Pipeline"} <= opened()


def test_each_of_them_is_refused_by_name_and_reason_before_weights(
    tmp_path: Path,
) -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## What is not taken")[0]
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", table, re.MULTILINE)
    reasons = {name: why for names, why in rows for name in re.findall(r"`(\w+)`", names)}
    assert len(reasons) > 50
    for name in sorted(classes() - opened()):
        why = reasons.get(name, "")
        why = reasons.get(why.removeprefix("as "), why)
        said = f"no installed family knows .*: its {name} is of another kind"
        (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": name}))
        with pytest.raises(LdmError, match=f"{said}{re.escape(why and f': {why}')}\\."):
            compose({"model": str(tmp_path)}, installed())


def test_each_argument_of_those_that_open_is_one_here_or_said_to_be_of_diffusers() -> None:
    names = (name for table in tables_of(installed())[0] for name in table.names)
    told = {
        one
        for name in names
        if (name.source, name.kind) == ("Diffusers", "argument")
        for one in (name.name, *name.also)
    }
    ours = {*OF_A_CALL, "prompt", "negative_prompt", "self", "args", "kwargs"}
    for name in sorted(opened()):
        cls = getattr(diffusers, name, None)
        if cls and not name.endswith("ModularPipeline"):  # which take a state, and no arguments
            assert {*inspect.signature(cls.__call__).parameters} <= ours | told, name
