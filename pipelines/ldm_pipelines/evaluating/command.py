"""``ldm evaluate``; cheap to import."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ldm_core.contracts import FileName, InputPath
from ldm_core.errors import LdmError


def evaluate_command(
    pictures: InputPath,
    *,
    against: InputPath | None = None,
    metrics: list[str] | None = None,
    model: FileName | None = None,
    reconstruction: bool = False,
    pair: Literal["name", "seed", "order"] = "name",
    batch_size: Annotated[int, Field(ge=1)] = 16,
    device: str = "auto",
    resamples: Annotated[int, Field(ge=0, le=100_000)] | None = None,
    skip_bad: bool = False,
    each: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Measure pictures: against others, against their prompts, or against what a model's
    autoencoder makes of them.

    Figures have a 95 % interval by the bootstrap over pictures, whose draws are the same each time.

    Args:
        pictures: A folder of pictures, in folders within it too; or a picture.
        against: The folder, or picture, to compare with.
        metrics: Names with commas between, such as psnr,ssim; with options as
            kid:features=latents:shapes;subsets=10; repeatable. psnr and ssim where left out and
            there is something to compare with.
        model: The model of --reconstruction.
        reconstruction: Encode and decode each picture by the model's autoencoder, and compare with
            the picture itself.
        pair: How pictures find those to compare with: by the name of the file, by the seed and
            inputs of their manifests, or by their order.
        batch_size: Pictures computed at once.
        device: Where to compute: auto, cpu, cuda, cuda:1 or mps.
        resamples: For the intervals; each metric's own number where left out, none with 0.
        skip_bad: Leave out pictures that cannot be read or paired, and say so.
        each: Also print the figure of each picture.
        quiet: Show no progress.
        json: Print JSON.
    """
    from ldm_core.cli.asking import hub_for
    from ldm_core.cli.choices import prepare_libraries
    from ldm_core.cli.tables import print_table
    from ldm_core.media.json_text import json_text
    from ldm_core.model.hub_permission import hub_permission
    from ldm_pipelines.evaluating.choices import names_in, parse
    from ldm_pipelines.evaluating.evaluate import evaluate
    from ldm_pipelines.evaluating.reconstruction import reconstruct

    if metrics is None and (against is not None or reconstruction):
        metrics = ["psnr,ssim"]
    if metrics is None:
        raise LdmError(
            "say what to measure: --metrics, or --against FOLDER.",
            "`ldm plugins list --kind metric` shows the metrics.",
        )
    if reconstruction != (model is not None):
        raise LdmError("--reconstruction is by a --model, and a --model is for --reconstruction.")
    if reconstruction and against is not None:
        raise LdmError(
            "a reconstruction is compared with the pictures themselves; leave --against out."
        )
    tables = parse(metrics)
    prepare_libraries()
    typed = [*names_in(tables), *([] if model is None else [model])]
    with hub_permission(hub_for(typed)):
        if model is not None:
            table = reconstruct(
                pictures, model=model, metrics=tables, batch_size=batch_size, device=device,
                resamples=resamples, skip_bad=skip_bad, progress=not (quiet or json),
            )  # fmt: skip
        else:
            table = evaluate(
                pictures, against=against, metrics=tables, pair_by=pair, batch_size=batch_size,
                device=device, resamples=resamples, skip_bad=skip_bad,
                progress=not (quiet or json),
            )  # fmt: skip
    if json:
        figures = table.as_json()
        if each:
            for one, row in zip(table, figures["figures"], strict=True):
                row["each"] = one.each_as_json()
        print(json_text(figures, 2))
        return
    print_table(*table.columns())
    if each:
        for one in table:
            for name, value in one.each.items():
                print(f"{one.metric}\t{name}\t{value:.6g}")
