"""What a call takes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ldm_core.arguments import argument, check_fields
from ldm_core.composition.limits import check_images
from ldm_core.composition.spread import is_one_each
from ldm_core.contracts import Extent, FrameRate, Seed, Step
from ldm_core.contracts.latents import AtLeastOne
from ldm_core.contracts.record import check_takes
from ldm_core.errors import LdmError
from ldm_core.run.skipping import Skip

Inputs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CallArguments:
    """What a call of a pipeline takes.

    Attributes:
        inputs: what the conditioning reads, such as ``prompt``: a value, or a list with one for
            each image.
        seed: of the first image, the next ones counting up; or one for each image, which also says
            how many where no input is a list; random where None. An image depends on its own seed
            alone.
        num_images_per_prompt: images of each prompt, one after the other.
        num_inference_steps: the recipe's where None.
        guidance_scale: sets the guidance's option ``scale``.
        frame_rate: of a video, in frames a second; the model's where None.
        extent: how large; the recipe's or the model's along axes that are not named.
        batch_size: images computed at once; all of them where None.
        output_type: ``pil``, ``np`` (batch, height, width, channels), ``pt`` (batch, channels,
            height, width) or ``latent`` (batch, channels, ...).
        on_step: called after each evaluation of the denoiser.
        skip: asked of each image, before the first is made, with what its manifest would be; one
            that is to be left out, such as one that is there already, is not made.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    seed: Seed | Sequence[Seed] | None = None
    num_images_per_prompt: AtLeastOne = 1
    num_inference_steps: AtLeastOne | None = None
    guidance_scale: float | None = None
    frame_rate: FrameRate | None = None
    extent: Extent = field(default_factory=dict)
    batch_size: AtLeastOne | None = None
    output_type: str = "pil"
    on_step: Callable[[Step], None] | None = None
    skip: Skip | None = None

    def __post_init__(self) -> None:
        check_fields(self, "a call")
        if self.on_step is not None:
            check_takes(self.on_step, ("step",), "on_step")

    @classmethod
    def of(cls, axes: Sequence[str], /, **arguments: Any) -> CallArguments:
        """Arguments by name, as a person gives them: those of a call, lengths of the model's axes
        (``width``), and inputs. One that is None is as one that is left out.

        Args:
            axes: of the model's latents.
        Raises:
            LdmError: a length or an input is given twice, or an argument is of another type or out
                of range.
        """
        own = {f.name for f in fields(cls)} - {"inputs", "extent"}
        sides = {*axes, "width", "height"}
        values = {name: value for name, value in arguments.items() if value is not None}
        extent = {name: value for name, value in values.items() if name in sides}
        inputs = {n: v for n, v in values.items() if n not in own | sides | {"extent", "inputs"}}
        for key, several, kind in (("extent", extent, Extent), ("inputs", inputs, Inputs)):
            table = argument(key, kind, values.get(key, {}), "a call")
            for name in several.keys() & table.keys():
                raise LdmError(f"{name} is given twice, by its name and in '{key}'; give it once.")
            several |= table
        extent = {name: argument(name, int, value, "a call") for name, value in extent.items()}
        return cls(
            inputs=inputs,
            extent=extent,
            **{name: value for name, value in values.items() if name in own},
        )

    def with_inputs(self, **inputs: Any) -> CallArguments:
        """The call with further inputs, or others in their place."""
        return replace(self, inputs={**self.inputs, **inputs})

    def images(self) -> tuple[list[int], dict[str, Any]]:
        """The seed of each image, and the inputs, lists of which have one entry an image.

        Raises:
            LdmError: lists of different lengths, or an empty one.
        """
        each, seed = self.num_images_per_prompt, self.seed
        check_images(each)
        lengths = {len(v) for v in self.inputs.values() if is_one_each(v)}
        if len(lengths) > 1:
            raise LdmError(f"inputs have different lengths: {sorted(lengths)}.")
        several = len(seed) if isinstance(seed, Sequence) and each == 1 else 1
        count = (lengths.pop() if lengths else several) * each
        if count == 0:
            empty = [name for name, value in self.inputs.items() if is_one_each(value)] or ["seed"]
            raise LdmError(f"the list of '{empty[0]}' is empty; there is nothing to make.")
        check_images(count)
        spread = {
            name: [entry for entry in value for _ in range(each)] if is_one_each(value) else value
            for name, value in self.inputs.items()
        }
        return seeds_for(count, seed), spread


def seeds_for(count: int, seed: int | Sequence[int] | None) -> list[int]:
    """One seed for each of so many images.

    Args:
        seed: of the first, the next ones counting up; or one for each; random where None.
    Raises:
        LdmError: there are more or fewer.
    """
    if seed is None:
        return [secrets.randbelow(2**32) for _ in range(count)]
    if isinstance(seed, int):
        return [seed + i for i in range(count)]
    if len(seed) != count:
        raise LdmError(f"{len(seed)} seeds for {count} images.")
    return list(seed)
