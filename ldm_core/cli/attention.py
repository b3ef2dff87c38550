"""The layers of attention, as ``ldm explain`` tells of them."""

from __future__ import annotations

from typing import Any

import typer

from ldm_core.cli.tables import print_table
from ldm_core.composition.composition import Composition
from ldm_core.contracts.attention import dtype_name
from ldm_core.model import place as placement


def describe_attention(composition: Composition) -> dict[str, Any]:
    """Which layers of attention there are, and which kernel computes each, as plain data.

    Raises:
        LdmError: the kernel cannot run here, cannot compute a layer, or would reach none.
    """
    from ldm_core.run.attention_layers import attention_layers, check_taken

    where = placement.resolve(composition.recipe)
    device, dtype = where.device.type, dtype_name(where.compute_dtype)
    chosen = composition.attention
    kernel = chosen.on(device, dtype)
    layers = attention_layers(composition, where)
    check_taken(layers, kernel, where)
    reasons = [(m.label, m.why_not(device, dtype)) for m in chosen.members or (chosen,)]
    rows = []
    for layer, count in layers.counts.items():
        taker = kernel.taker(layer.head_size, layer.mask)
        rows.append(
            {
                "part": layer.part,
                "layers": count,
                "kind": layer.kind,
                "heads": layer.heads,
                "head_size": layer.head_size,
                "queries": layer.queries,
                "keys": layer.keys,
                "mask": layer.mask,
                "kernel": None if taker is None else taker.label,
            }
        )
    return {
        "kernels": [name for name, reason in reasons if reason is None],
        "left_out": [{"name": name, "reason": reason} for name, reason in reasons if reason],
        "network_layers": sum(layers.of(name) for name in layers.networks),
        "layers": rows,
        "without": {n: cls for n, cls in layers.parts.items() if not layers.of(n)},
    }


def print_attention(report: dict[str, Any]) -> None:
    """The same as a table."""
    typer.echo(f"\nattention: {report['network_layers']} layers in a call of the network")
    for entry in report["left_out"]:
        typer.echo(f"left out: the attention '{entry['name']}' {entry['reason']}")
    head = ("part", "layers", "", "heads", "queries", "keys", "mask", "computed by")
    rows = [
        (
            row["part"],
            str(row["layers"]),
            row["kind"],
            f"{row['heads']} of {row['head_size']}",
            str(row["queries"]),
            str(row["keys"]),
            row["mask"] or "none",
            row["kernel"],
        )
        for row in report["layers"]
    ]
    print_table(head, rows)
    for name, cls in report["without"].items():
        typer.echo(f"no layer of the {name} ({cls}) ends in torch's attention")
