"""Every family with every scheduler: it runs, or refuses with a reason.

Run as a program, this file writes the page that its test holds to be current; with families named
behind it, their columns alone are tried anew.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.plugins.registry import installed
from tiny.covering import by_turns, each_on_each

pytestmark = pytest.mark.usefixtures("small_references")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "families-and-schedulers.md"
HEAD = """# Families and schedulers

Each family was tried with each scheduler, nothing else chosen, on a small model of the real classes
with random weights. ✓: it runs and the latents are finite. A number: it refuses, for the reason
below. A test writes this page, and holds it to be current.
"""
KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS, **tiny.OTHER_FOLDERS}
Ready = tuple[Pipeline, dict[str, Any]]
"""A pipeline and the inputs of two images."""
TEXT = {"prompt": ["a red star", "a blue circle"]}
ACROSS = 14
"""Families in one table."""
MORE: dict[str, Any] = {
    "switch": {"name": "switch", "first": "euler_ancestral", "then": "dpmpp_2m", "at": 0.5},
    "diffusers:UniPCMultistepScheduler": "diffusers:UniPCMultistepScheduler",
    "diffusers:FlowMatchEulerDiscreteScheduler": "diffusers:FlowMatchEulerDiscreteScheduler",
    "torchdiffeq:rk4": "torchdiffeq:rk4",
    "torchdiffeq:dopri5": "torchdiffeq:dopri5",
}
"""Composite schedulers with what they need, and some of each set."""
STEPS = 4


def by_an_adapter(at: Path) -> Ready:
    """Videos by a folder of Stable Diffusion and a motion adapter beside it."""
    adapter = tiny.write_motion_adapter(at / "adapter")
    folder = tiny.write_stable_diffusion(at / "model")
    pipe = Pipeline.from_pretrained(folder, components={"motion_adapter": adapter})
    return pipe, {**TEXT, "frames": 4, "height": 16, "width": 16}


def second_stage(at: Path) -> Ready:
    """Videos that go on from smaller ones, over a part of the way."""
    upsampler = tiny.write_latent_upsampler(at / "upsampler")
    pipe = Pipeline.from_pretrained(
        tiny.write_ltx_2(at / "model"),
        conditioning=["text", {"name": "upsampled_latents", "upsampler": str(upsampler)}],
        guidance="none",
        spacing={"name": "explicit", "timesteps": [909.375, 725.0, 573.4375, 421.875]},
    )
    small = {"frames": 9, "height": 32, "width": 32}
    shape = pipe.model.info.latents.shape(small)
    latents = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]
    large = {"frames": 9, "height": 64, "width": 64, "frame_rate": 24}
    return pipe, {**TEXT, "small_latents": latents, **large}


FURTHER: dict[str, Callable[[Path], Ready]] = {
    "AnimateDiff by an adapter": by_an_adapter,
    "LTX-2, its second stage": second_stage,
}
"""Kinds that are put together of folders."""
ALL = (*KINDS, *FURTHER)


def schedulers() -> dict[str, Any]:
    names = [p.name for p in installed().of_kind("scheduler") if p.distribution == "ldm-core"]
    return {n: n for n in sorted(names) if not n.endswith(":")} | MORE


def cell(pipe: Pipeline, scheduler: Any, inputs: dict[str, Any]) -> str:
    """ "✓", or why the pair is refused."""
    try:
        changed = pipe.replace(scheduler=scheduler)
        made = changed(
            seed=[1, 2], num_inference_steps=STEPS, output_type="latent", **inputs
        ).images
    except LdmError as refusal:
        return str(refusal).splitlines()[0]
    assert made.shape[0] == 2
    if not made.isfinite().all():
        return "not finite"
    return "✓"


def ready(family: str, at: Path) -> Ready:
    """A kind, written into a folder."""
    if family in FURTHER:
        return FURTHER[family](at)
    folder = KINDS[family].write(at / "model")
    return Pipeline.from_pretrained(folder), KINDS[family].inputs_in(at)


def row(pipe: Pipeline, inputs: dict[str, Any]) -> dict[str, str]:
    return {name: cell(pipe, choice, inputs) for name, choice in schedulers().items()}


def make_page(rows: dict[str, dict[str, str]]) -> str:
    """The table with the schedulers down and the families across, and the reasons below."""
    reasons: list[str] = []

    def mark(result: str) -> str:
        if result == "✓":
            return result
        if result not in reasons:
            reasons.append(result)
        return str(reasons.index(result) + 1)

    lines = [HEAD]
    for start in range(0, len(rows), ACROSS):
        some = dict(list(rows.items())[start : start + ACROSS])
        lines += [f"| | {' | '.join(some)} |", "| --- |" + " :-: |" * len(some)]
        for scheduler in schedulers():
            cells = " | ".join(mark(row[scheduler]) for row in some.values())
            lines.append(f"| `{scheduler}` | {cells} |")
        lines.append("")
    lines += [f"{i}. {reason}" for i, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def general(reason: str, folder: Path) -> str:
    """A refusal without the path of the folder that was tried."""
    return reason.replace(str(folder), "MODEL")


@cache
def cells() -> dict[tuple[str, str], str]:
    """What the page says, by scheduler and family."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    reasons = dict(line.split(". ", 1) for line in lines if line[:1].isdigit())
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    found: dict[tuple[str, str], str] = {}
    families: list[str] = []
    for first, *others in table:
        if not first:
            families = others
        elif first != "---":
            pairs = zip(families, others, strict=True)
            found |= {(first.strip("`"), family): reasons.get(c, c) for family, c in pairs}
    return found


def test_the_page_has_every_pair() -> None:
    assert {*cells()} == {(name, family) for name in schedulers() for family in ALL}


@pytest.mark.parametrize(
    ("scheduler", "family"),
    [
        *each_on_each(schedulers()),
        *by_turns(schedulers(), [*tiny.MORE_FOLDERS, *tiny.OTHER_FOLDERS, *FURTHER]),
    ],
)
def test_a_family_runs_or_refuses_as_the_page_says(
    scheduler: str, family: str, pipes: Any, tmp_path: Path
) -> None:
    if family in FURTHER:
        pipe, inputs = ready(family, tmp_path)
    else:
        pipe, inputs = pipes(family), KINDS[family].inputs_in(tmp_path)
    torch.manual_seed(0)
    result = cell(pipe, schedulers()[scheduler], inputs)
    assert result != "not finite"
    assert general(result, pipe.model.info.folder) == cells()[scheduler, family]


def main(*families: str) -> None:
    rows = {}
    for family in ALL:
        if families and family not in families:
            rows[family] = {name: cells()[name, family] for name in schedulers()}
            continue
        with tempfile.TemporaryDirectory() as temporary:
            pipe, inputs = ready(family, Path(temporary))
            found, folder = row(pipe, inputs), pipe.model.info.folder
            rows[family] = {name: general(result, folder) for name, result in found.items()}
        refused = {k: v for k, v in rows[family].items() if v != "✓"}
        print(family, refused, file=sys.stderr, flush=True)
    PAGE.write_text(make_page(rows), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
