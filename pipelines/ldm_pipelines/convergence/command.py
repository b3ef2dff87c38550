"""``ldm converge``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.composition.recipe import read_value
from ldm_core.contracts import OutputPath, Seed
from ldm_core.contracts.files import expanded
from ldm_core.errors import LdmError
from ldm_core.media.names import check_new, write_whole
from ldm_pipelines.convergence.stretches import Data, Spacing

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

PLOTS = (".png", ".svg", ".pdf")
MOST_STEPS = 100_000


def converge(
    pipe: Pipeline,
    *prompts: str,
    schedulers: list[str] | None = None,
    steps: str = "4:64",
    reference: Annotated[int, Field(ge=4, le=1_000_000)] | None = None,
    gaussian: Data | None = None,
    start: float | None = None,
    end: float | None = None,
    spacing: Spacing = "log-snr",
    input: list[str] | None = None,
    num_images: Annotated[int, Field(ge=1, le=64)] = 1,
    seed: Seed = 0,
    plot: OutputPath | None = None,
    table: OutputPath | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> Iterator[str]:
    """Measure how fast schedulers come to a fine solution, all from one start, and their orders.

    All walk the same points from the same x to the same end, whatever points and start each would
    take by itself; noise on the way is turned off. A model is walked on twice, if no end is said:
    the whole way, and its last stretch, where steps are short enough for orders to show.

    Args:
        prompts: What the network is told; an example where the model needs one and none is given.
        schedulers: Names with commas between, or a table as '{name = "unipc", order = 3}';
            repeatable (default: the pipeline's own).
        steps: Numbers of steps: 4:64 doubles and halves between, 4:64:12 goes by twelve, 4,8,16
            are those.
        reference: Steps of the fine walk that distances are to (default: 1000, and on Gaussian data
            the exact solution).
        gaussian: Gaussian data in place of the network, whose solution is known: on the model's
            "own" noise schedule, or on a "vp", "ve" or "flow" path.
        start: Log-SNR where all begin (default: the whole way's beginning; -4 on Gaussian data).
        end: Log-SNR where all end (default: the whole way's end; 4 on Gaussian data).
        spacing: What steps are even in: "log-snr", "timestep", or "karras" for (sigma/alpha)^(1/7).
        input: Another input of the model, as class_label=3; repeatable.
        num_images: Images whose distances are taken together.
        seed: Seed of the first of them; the next ones count up.
        plot: Also draw the curves: a .png, .svg or .pdf file.
        table: Also write a row for each walk: a .csv file.
        overwrite: Replace files of these names.
        quiet: Do not say what is being done.
        json: Print one JSON object.
    """
    plot, table = (None if path is None else expanded(path) for path in (plot, table))
    _check_file(plot, PLOTS, "plot", overwrite)
    _check_file(table, (".csv",), "table", overwrite)
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise LdmError(
            "plots need the package matplotlib, which is not installed.",
            "pip install 'ldm-core[plot]'",
        )
    if gaussian is not None and (prompts or input):
        raise LdmError("Gaussian data are told nothing; leave out prompts and --input.")
    counts, names = read_steps(steps), read_schedulers(schedulers or [])
    told = _inputs(prompts, input or [], num_images)

    from ldm_pipelines.convergence import measuring, report

    def tell(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    chosen = pipe.composition.chosen
    for key, why in (("scheduler", "--schedulers says"), ("spacing", "--spacing says")):
        if key in chosen and (names or key == "spacing"):
            tell(f"note: the {key} '{chosen[key]['name']}' has no part in this; {why} what has.")
    found = measuring.converge(
        pipe,
        names or None,
        steps=counts,
        reference=reference,
        gaussian=gaussian,
        first=start,
        last=end,
        spacing=spacing,
        inputs=told,
        num_images=num_images,
        seed=seed,
        tell=tell,
    )
    if table is not None:
        text = report.as_csv(found)
        write_whole(
            table, lambda path: path.write_text(text, encoding="utf-8"), overwrite=overwrite
        )
    if plot is not None:
        drawn, form = report.figure(found), plot.suffix.lower().removeprefix(".")
        write_whole(
            plot, lambda path: drawn.savefig(path, dpi=110, format=form), overwrite=overwrite
        )
    if json:
        yield report.as_json(found)
        return
    yield from report.lines(found)
    yield from (f"written: {path.resolve()}" for path in (table, plot) if path is not None)


def read_steps(text: str) -> list[int]:
    """Numbers of steps: ``4,8,16``, or ``4:64`` for 4, 6, 8, 12, ... 64, or ``4:64:12`` for those
    that are 12 apart.

    Raises:
        LdmError: it has another form.
    """
    words = text.replace(":", ",").split(",")
    if not all(word.strip().isdecimal() and len(word.strip()) < 7 for word in words):
        raise LdmError(
            f"'{text}' are no numbers of steps.", "4:64, 4:64:12 and 4,8,16 are examples."
        )
    numbers = [int(word) for word in words]
    if ":" not in text:
        return _rising(numbers, text)
    if "," in text or len(numbers) > 3:
        raise LdmError(
            f"'{text}' are no numbers of steps.", "4:64, 4:64:12 and 4,8,16 are examples."
        )
    first, last, *apart = numbers
    if not 1 <= first <= last or apart == [0]:
        raise LdmError(f"'{text}' are no numbers of steps: they rise, from 1 on.")
    if apart:
        return list(range(first, last + 1, apart[0]))
    found, count = set(), first
    while count <= last:  # twice as many, and half-way there
        found |= {count, count * 3 // 2} if count % 2 == 0 else {count}
        count *= 2
    return _rising(sorted(n for n in found | {last} if n <= last), text)


def _rising(numbers: list[int], text: str) -> list[int]:
    if not numbers or numbers[0] < 1 or sorted({*numbers}) != numbers:
        raise LdmError(f"'{text}' are no numbers of steps: they rise, from 1 on.")
    return numbers


def read_schedulers(texts: list[str]) -> list[Any]:
    """Names, and tables with options.

    Raises:
        LdmError: a table that is none.
    """
    found: list[Any] = []
    for text in texts:
        if not text.lstrip().startswith("{"):
            if "{" in text:
                raise LdmError(
                    f"'{text}' is no list of names: a table stands by itself.",
                    "--schedulers euler --schedulers '{name = \"unipc\", order = 3}'",
                )
            found += [name.strip() for name in text.split(",") if name.strip()]
            continue
        value = read_value(text)
        if not isinstance(value, dict):
            raise LdmError(
                f"'{text}' is no scheduler.", "a table is as '{name = \"unipc\", order = 3}'"
            )
        found.append(value)
    return found


def _check_file(path: Path | None, suffixes: tuple[str, ...], name: str, overwrite: bool) -> None:
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise LdmError(f"the {name} should end in {' or '.join(suffixes)}, not '{path.name}'.")
    if not path.absolute().parent.is_dir():
        raise LdmError(f"there is no folder '{path.absolute().parent}' for the {name}.")
    check_new(path, overwrite=overwrite, name=name)


def _inputs(prompts: tuple[str, ...], others: list[str], num_images: int) -> dict[str, Any]:
    """The inputs by name."""
    inputs: dict[str, Any] = {}
    for other in others:
        name, equals, text = other.partition("=")
        if not (equals and name.strip().isidentifier()) or name.strip() in inputs:
            raise LdmError(
                f"'{other}' should look like NAME=VALUE, each once.", "as in --input class_label=3"
            )
        inputs[name.strip()] = read_value(text)
    if prompts:
        if "prompt" in inputs:
            raise LdmError("'prompt' is given twice.", "leave out the one or the other.")
        inputs["prompt"] = [prompts[n % len(prompts)] for n in range(num_images)]
        if len(prompts) > num_images:
            raise LdmError(
                f"{len(prompts)} prompts for {num_images} images.", f"--num-images {len(prompts)}"
            )
    return inputs
