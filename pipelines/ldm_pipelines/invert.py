"""``ldm invert``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ldm_core.contracts import Denoise, Grid, Noise, Plan
from ldm_core.errors import LdmError
from ldm_core.run.in_batches import in_batches
from ldm_core.values import brief
from ldm_pipelines.parts import (
    Picture,
    arguments,
    channels_of,
    check_shown_as,
    finished,
    first_seed,
    guided,
    open_picture,
    scaled,
    unguided,
    with_size,
)
from ldm_pipelines.timed import check_makes

if TYPE_CHECKING:
    from torch import Tensor

    from ldm_core.run.finite import Finiteness
    from ldm_core.run.output import Output
    from ldm_core.run.pipeline import Pipeline

RECONSTRUCTED = "walked from the noise that the picture was inverted to"


def ddim_inverse(
    x: Tensor, grid: Grid, denoise: Denoise, noise: Noise, *, iterations: int = 3
) -> Tensor:
    """The way back of DDIM with eta = 0 (Song et al. 2021, arXiv:2010.02502, Section 5.3): x at
    the grid's end to x at its start.

    Each step of DDIM, ``there`` from ``here``, is an equation for x here; it is solved by fixed
    point from the noise estimate at ``there`` (Pan et al. 2023, arXiv:2309.04907, Section 3.1).
    One iteration is the plain inversion of Song et al.

    Args:
        iterations: evaluations of the network for each step.
    """
    for here, there in reversed(list(pairwise(grid))):
        guess = here.alpha / there.alpha * x
        for _ in range(iterations):
            noise_in_x = (guess - here.alpha * denoise(guess, here)) / here.sigma
            x0 = (x - there.sigma * noise_in_x) / there.alpha
            guess = here.alpha * x0 + here.sigma * noise_in_x
        x = guess
    return x


@in_batches
def invert(
    pipe: Pipeline,
    image: Picture,
    prompt: str = "",
    *,
    edit: str | None = None,
    strength: float = 1.0,
    iterations: Annotated[int, Field(ge=1, le=100)] = 3,
    **call: Any,
) -> Iterator[Output]:
    """Find the noise that a picture comes from, make it again from there, and with another prompt
    edit it (Song et al. 2021, arXiv:2010.02502; Mokady et al. 2022, arXiv:2211.09794).

    Inversion and reconstruction are without guidance; the edit is with the pipeline's own. The
    first picture is the reconstruction, the second, where asked for, the edit.

    Args:
        image: The picture; it is scaled to --size where that is given.
        prompt: What the picture shows, where the model takes a prompt.
        edit: What it should show instead.
        strength: Share of the way to noise that is walked, above 0 to 1; less keeps more of the
            picture in the edit.
        iterations: Evaluations of the network for each step back.
    """
    if not 0 < strength <= 1:
        raise LdmError(f"the strength should be above 0 and at most 1, not {strength!r}.")
    if not 1 <= iterations <= 100:
        raise LdmError(f"the iterations should be from 1 to 100, not {brief(iterations)}.")
    check_makes(pipe, "image", "invert")
    whole = arguments(pipe, call)
    if whole.num_images_per_prompt != 1:
        raise LdmError("an inversion has no chance in it, so it makes one picture.")
    pipe = guided(pipe, whole)
    check_shown_as(pipe, whole)
    picture, size = scaled(pipe, image, whole)
    whole = with_size(whole, size)
    if "scheduler" not in pipe.composition.chosen:
        pipe = pipe.replace(scheduler={"name": "ldm-core:ddim", "eta": 0.0})
    seed = first_seed(whole)

    def plan(text: str) -> Plan:
        takes_text = "prompt" in pipe.composition.inputs
        inputs = {**whole.inputs, "prompt": text} if takes_text else whole.inputs
        steps, frame_rate = whole.num_inference_steps, whole.frame_rate
        return pipe.composition.plan(inputs, [seed], whole.extent, steps, frame_rate)

    if (prompt or edit) and "prompt" not in pipe.composition.inputs:
        raise LdmError(f"the model '{pipe.composition.info.source}' takes no prompt.")
    source = plan(prompt)
    edited = None if edit is None else plan(edit)
    if int(source.request.num_inference_steps * strength) == 0:
        raise LdmError(f"a strength of {strength:g} is less than one of the steps.")
    plain = unguided(pipe)
    back = plain.replace(scheduler={"name": ddim_inverse, "iterations": iterations})
    # both ways walk the same points, those of the scheduler that makes the picture again
    first = len(source.grid) - 1 - int((len(source.grid) - 1) * strength)

    def walked(pipe: Pipeline, plan: Plan, title: str, x: Tensor, before: Finiteness) -> Output:
        run = pipe.start(plan)
        latents = run.walk(x, start=first, on_step=whole.on_step)
        walks = [before, run.finite]
        output = pipe.output(latents, plan.request, whole.output_type, walks)
        return finished(output, [title], RECONSTRUCTED)

    def outputs() -> Iterator[Output]:
        x0 = pipe.encode(open_picture(picture, channels_of(pipe)), seed=seed)
        inverted: list[tuple[Tensor, Finiteness]] = []

        def reconstruction(plan: Plan) -> Output:
            inversion = back.start(plan)
            x = inversion.walk(x0, start=first, on_step=whole.on_step)
            inverted[:] = [(x, inversion.finite)]
            return walked(plain, plan, prompt or "reconstruction", *inverted[0])

        yield from plain.within_memory([source], reconstruction)
        if edited is not None:
            yield from pipe.within_memory(
                [edited], lambda plan: walked(pipe, plan, str(edit), *inverted[0])
            )

    return outputs()
