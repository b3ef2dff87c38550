"""Write how-to/coming-from.md: names of other programs and what they are here, from the tables."""

from __future__ import annotations

from pathlib import Path

from ldm_core.plugins.elsewhere import NameElsewhere, Table, tables_of
from ldm_core.plugins.elsewhere_words import flags_of
from ldm_core.plugins.registry import installed

PAGE = Path(__file__).parent / "how-to" / "coming-from.md"
HEAD = """# Coming from Diffusers, A1111, ComfyUI

What others call samplers, schedules and arguments, and what they are here. `ldm plugins find NAME`
looks a name up, however it is written:

```bash
ldm plugins find "DPM++ 2M Karras"
ldm plugins find "DPMSolverMultistepScheduler use_karras_sigmas=True"
ldm plugins find generator
```

A sampler of A1111 or ComfyUI is a *scheduler* here, and what they call a schedule or scheduler is a
*spacing*. An error says it too: `--scheduler euler_a` is answered by `--scheduler euler_ancestral`.
`ldm show PICTURE` reads what A1111 and ComfyUI wrote into a picture: see the
[command line](../reference/command-line.md#ldm-show).

A seed is another everywhere: each program draws its noise in its own way, so that the same seed and
settings give another picture, of the same kind.

A package brings names of its own by a file `ldm_names.toml` in its import package, of the form of
`ldm_plugins/ldm_names.toml`. It is read when a name is looked up.

This page is written by `docs/make_names_page.py`."""
WORDS = {"scheduler": "Samplers", "spacing": "Schedules", "argument": "Arguments"}


def make_page() -> str:
    """The page in Markdown: a section for each program, a table for each kind."""
    parts = [HEAD]
    tables, _ = tables_of(installed())
    for table in tables:
        own = Table(
            table.key,
            table.title,
            table.asks,
            tuple(name for name in table.names if name.package == "ldm-core"),
        )
        if own.names:
            parts.append(f"\n## {own.title}\n\n{own.asks}")
            parts += [_section(own, kind) for kind in WORDS]
    return "\n".join(part for part in parts if part) + "\n"


def _section(table: Table, kind: str) -> str:
    names = [name for name in table.names if name.kind == kind]
    if not names:
        return ""
    rows = [f"| {_code(n.name)} | {_here(n)} | {_differs(n)} |" for n in names]
    rows += [f"| {_code(n.name, words)} | {_code(flags_of(use))} | |"
             for n in names if table.key == "diffusers" and kind == "scheduler"
             for words, use in n.settings.items() if flags_of(use) and "sigmas" not in words
             and "spacing" not in words]  # fmt: skip
    head = "\n| there | here | what differs |\n| --- | --- | --- |"
    return "\n".join([f"\n### {WORDS[kind]} of {table.title}", head, *rows])


def _code(*words: str) -> str:
    text = " ".join(words)
    return f"`{text}`" if text else ""


def _here(name: NameElsewhere) -> str:
    if name.kind == "argument":
        return _code(name.instead) if name.instead else "none"
    flags = flags_of(name.use)
    near = "nearest: " if name.missing and flags else ""
    return f"{near}{_code(flags)}" if flags else "that of the sampler" if name.note else "none"


def _differs(name: NameElsewhere) -> str:
    words = [name.missing, name.note]
    if name.automatic and "spacing" not in name.use:
        words.append(
            f"Where no schedule is chosen, it goes there with: `--spacing {name.automatic}`."
        )
    return " ".join(filter(None, words)).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(make_page())
