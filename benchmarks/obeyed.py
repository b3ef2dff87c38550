"""What the benchmarks of obedience share: their flags, their figures and their report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Shares = dict[str, dict[str, float]]


def parser(doc: str, model: Path, seed: int) -> argparse.ArgumentParser:
    """The flags of one for a model that ships, whose steps and guidance are its own."""
    flags = argparse.ArgumentParser(description=doc.splitlines()[0])
    flags.add_argument("--model", type=Path, default=model)
    flags.add_argument("--steps", type=int)
    flags.add_argument("--guidance-scale", type=float)
    flags.add_argument("--seed", type=int, default=seed)
    flags.add_argument("--with", dest="library", choices=["ldm", "diffusers"], default="ldm")
    flags.add_argument("--json", type=Path)
    return flags


def choices(args: argparse.Namespace) -> dict[str, Any]:
    """Steps and guidance, where they are named."""
    named = {"num_inference_steps": args.steps, "guidance_scale": args.guidance_scale}
    return {name: value for name, value in named.items() if value is not None}


def shares(
    obeyed: Sequence[Sequence[bool]],
    words: Sequence[str],
    names: Sequence[str],
    of: str,
    together: Sequence[str] = (),
) -> Shares:
    """The share that obeys each word and all of them, of every prompt and of each name.

    Args:
        obeyed: whether each prompt's words were.
        words: what these are.
        names: of each prompt, such as its direction.
        of: what is counted.
        together: words of which the share that obeys all these is given too.
    """
    table, every = np.array(obeyed), np.array(names)
    columns = [words.index(word) for word in together]
    both = {" and ".join(together): lambda rows: table[rows][:, columns].all(1)} if together else {}
    rows_of = {"every": np.full(len(every), True)}
    rows_of |= {name: every == name for name in dict.fromkeys(names)}
    return {
        name: {
            **{word: float(table[rows, i].mean()) for i, word in enumerate(words)},
            **{what: float(right(rows).mean()) for what, right in both.items()},
            "all": float(table[rows].all(1).mean()),
            of: float(rows.sum()),
        }
        for name, rows in rows_of.items()
    }


def write(args: argparse.Namespace, machine: str, figures: Any) -> None:
    """The report, where a file is named for it."""
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "model")}
        report = {"machine": machine, "settings": settings, **figures}
        args.json.write_text(json.dumps(report, indent=2) + "\n")
