"""Packages of one module, which does something wrong."""

from __future__ import annotations

from pathlib import Path

import packages

HEAD = "from ldm_core import hookimpl\nldm_api = '>=2,<3'\n"


def install(site: Path, name: str, text: str) -> None:
    module = f"wrong_{name}"
    packages.install(
        site, f"ldm-{name}", modules={f"{module}.py": text}, entry_points={"ldm": {"x": module}}
    )
