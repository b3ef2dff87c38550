"""Write reference/plugins.md: the plugins that ship, with their options, from the registry."""

from __future__ import annotations

import re
from pathlib import Path

from ldm_core.cli.inputs import flags_of
from ldm_core.cli.plugin_details import input_type, inputs_of
from ldm_core.contracts import Input
from ldm_core.plugins.hookspecs import KINDS
from ldm_core.plugins.options import REQUIRED, Option
from ldm_core.plugins.registry import Plugin, installed

PAGE = Path(__file__).parent / "reference" / "plugins.md"
HEAD = """# Plugins

What comes with `ldm-core`, by hook point. `ldm plugins list` shows what is installed, other
packages' plugins among it, and `ldm plugins show NAME` describes one. This page is written by
`docs/make_plugin_table.py`."""
INPUTS = """Inputs are flags of the command line and arguments of a call; where one is for each
image, a single value serves all of them. Some models read more, such as aesthetic scores: `ldm
explain` shows a model's own.
"""


def make_page(distribution: str = "ldm-core") -> str:
    """The page in Markdown: a table for each kind, and one of the models."""
    parts = [HEAD]
    for kind, hook in KINDS.items():
        plugins = [p for p in installed().of_kind(kind) if p.distribution == distribution]
        if not plugins:
            continue
        parts.append(
            f"\n## {kind.capitalize()}\n\n"
            f"Hook: [`{hook}`](hooks.md#ldm_core.plugins.hookspecs.{hook}).\n"
        )
        if kind == "command":
            parts.append("Their options are in the [command line](command-line.md).\n")
            parts.append("| command | what it does |\n| --- | --- |")
            parts += [f"| `ldm {p.name}` | {_about(p)} |" for p in plugins]
        elif kind == "conditioning":
            parts.append(INPUTS)
            parts.append("| name | what it does | inputs | options |\n| --- | --- | --- | --- |")
            parts += [
                f"| `{p.name}` | {_about(p)} | {_inputs(p)} | {_options(p)} |" for p in plugins
            ]
        else:
            parts.append("| name | what it does | options |\n| --- | --- | --- |")
            parts += [f"| `{p.name}` | {_about(p)} | {_options(p)} |" for p in plugins]
    models = [model for model in installed().models if model.distribution == distribution]
    parts.append(
        "\n## Model\n\nHook: [`ldm_models`](hooks.md#ldm_core.plugins.hookspecs.ldm_models).\n"
    )
    parts.append("| name | what it draws |\n| --- | --- |")
    parts += [f"| `{m.name}` | {m.made_for} |" for m in sorted(models, key=lambda m: m.name)]
    return "\n".join(parts) + "\n"


def _about(plugin: Plugin) -> str:
    """The first paragraph of the docstring, its papers linked."""
    text = " ".join(plugin.doc.partition("\n\n")[0].split()).replace("``", "`")
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[\g<0>](https://arxiv.org/abs/\1)", text)


def _options(plugin: Plugin) -> str:
    return "<br>".join(_option(option) for option in plugin.options.values()) or "none"


def _inputs(plugin: Plugin) -> str:
    inputs = inputs_of(plugin)
    if inputs is None:
        return "they depend on its options"
    flags = zip(flags_of(inputs), inputs.values(), strict=True)
    return "<br>".join(_input(flag, one) for flag, one in flags) or "none"


def _input(flag: str, one: Input) -> str:
    default = "required" if one.required else f"`{one.default!r}`"
    serves = "each image" if one.each else "all images"
    text = f"`{flag}` ({input_type(one)}, {default}, one for {serves}): {one.help}"
    return text.replace("|", "\\|")


def _option(option: Option) -> str:
    default = "required" if option.default is REQUIRED else f"`{option.default!r}`"
    kind = option.type_name.replace("|", "\\|")
    return f"`{option.name}` ({kind}, {default}): {option.help}"


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
