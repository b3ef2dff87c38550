"""Write reference/checks.md: the checks that `ldm plugins check` makes, from their docstrings."""

from __future__ import annotations

from pathlib import Path

from ldm_core.conformance.checks import Check
from ldm_core.conformance.kinds import checks_of_kind
from ldm_core.conformance.package import checks as package_checks
from ldm_core.plugins.hookspecs import KINDS

PAGE = Path(__file__).parent / "reference" / "checks.md"
HEAD = """# Checks of plugins

What `ldm plugins check`, `pytest --ldm-check` and `parametrize_with_checks` see
([Check a plugin](../how-to/check-a-plugin.md)). A check passes with a figure, fails with a
reason, or has nothing to see and says why. Those of schedulers and spacings are made on six
paths: vp, flow and ve, vp with scaled-linear betas, with the squared cosine, and with zero
terminal SNR; flow and the last start where the signal is zero. Each kind has two more: `made`,
that the target is imported and gives a part of its kind with the options of `check_options`, and
`leaves_no_trace`, that using it changed nothing that all code of a process shares. This page is
written by `docs/make_check_table.py`.
"""


def make_page() -> str:
    """The page as it should be."""
    parts = [HEAD]
    kinds = [(package_checks.KIND, "package")]
    kinds += [(kind, kind) for kind in (*KINDS, "model")]
    for kind, title in kinds:
        checks = checks_of_kind(kind)
        if checks:
            rows = [f"| `{check.name}` | {_said(check)} |" for check in checks]
            parts.append(
                "\n".join((f"\n## {title}\n", "| check | what it sees |", "| --- | --- |", *rows))
            )
    return "\n".join(parts) + "\n"


def _said(check: Check) -> str:
    return " ".join(check.doc.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(make_page())
