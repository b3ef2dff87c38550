"""What a call takes."""

from __future__ import annotations

import operator
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any

from ldm_core.composition.composition import is_one_each
from ldm_core.composition.limits import MOST_IMAGES, check_images
from ldm_core.contracts import Extent, Step
from ldm_core.errors import LdmError
from ldm_core.run.skipping import Skip

WHOLE = ("num_images_per_prompt", "num_inference_steps", "batch_size")
"""Arguments of a call that are whole numbers, beside seeds and lengths."""


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
        extent: how large; the recipe's or the model's along axes that are not named.
        batch_size: images computed at once; all of them where None.
        output_type: ``pil``, ``np`` (batch, height, width, channels), ``pt`` (batch, channels,
            height, width) or ``latent`` (batch, channels, ...).
        on_step: called after each evaluation of the denoiser.
        skip: asked of each image, before the first is made, with what its manifest would be; one
            that is to be left out, such as one that is there already, is not made.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    seed: int | Sequence[int] | None = None
    num_images_per_prompt: int = 1
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    extent: Extent = field(default_factory=dict)
    batch_size: int | None = None
    output_type: str = "pil"
    on_step: Callable[[Step], None] | None = None
    skip: Skip | None = None

    @classmethod
    def of(cls, axes: Sequence[str], **arguments: Any) -> CallArguments:
        """Arguments by name, as a person gives them: those of a call, lengths of the model's axes
        (``width``), and inputs.

        Args:
            axes: of the model's latents.
        Raises:
            LdmError: a length or an input is given twice, or a number is not whole.
        """
        own = {f.name for f in fields(cls)} - {"inputs", "extent"}
        sides = {*axes, "width", "height"}
        values = {name: value for name, value in arguments.items() if value is not None}
        extent = {name: value for name, value in values.items() if name in sides}
        inputs = {n: v for n, v in values.items() if n not in own | sides | {"extent", "inputs"}}
        for key, several in (("extent", extent), ("inputs", inputs)):
            for name in several.keys() & values.get(key, {}).keys():
                raise LdmError(f"{name} is given twice, by its name and in '{key}'; give it once.")
        numbers: dict[str, Any] = {n: whole(n, values[n]) for n in WHOLE if n in values}
        if "seed" in values:
            numbers["seed"] = whole_seed(values["seed"])
        lengths = {**values.get("extent", {}), **extent}
        return cls(
            inputs={**values.get("inputs", {}), **inputs},
            extent={name: whole(name, length) for name, length in lengths.items()},
            **{name: value for name, value in values.items() if name in own - numbers.keys()},
            **numbers,
        )

    def with_inputs(self, **inputs: Any) -> CallArguments:
        """The call with further inputs, or others in their place."""
        return replace(self, inputs={**self.inputs, **inputs})

    def images(self) -> tuple[list[int], dict[str, Any]]:
        """The seed of each image, and the inputs, lists of which have one entry an image.

        Raises:
            LdmError: lists of different lengths, or an empty one, or a number that is too small.
        """
        each = self.num_images_per_prompt
        if each < 1:
            raise LdmError(f"num_images_per_prompt must be at least 1, not {each}")
        check_images(each)
        if self.batch_size is not None and self.batch_size < 1:
            raise LdmError(f"batch_size must be at least 1, not {self.batch_size}.")
        lengths = {len(v) for v in self.inputs.values() if is_one_each(v)}
        if len(lengths) > 1:
            raise LdmError(f"inputs have different lengths: {sorted(lengths)}.")
        seed = None if self.seed is None else whole_seed(self.seed)
        several = len(seed) if isinstance(seed, list) and each == 1 else 1
        count = (lengths.pop() if lengths else several) * each
        if count == 0:
            raise LdmError("the list of prompts is empty; there is nothing to make.")
        check_images(count)
        spread = {
            name: [entry for entry in value for _ in range(each)] if is_one_each(value) else value
            for name, value in self.inputs.items()
        }
        return seeds_for(count, seed), spread


def whole(name: str, value: Any) -> int:
    """A whole number of Python, also of one of NumPy or torch.

    Raises:
        LdmError: it is something else, such as 2.0 or True.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise LdmError(f"the {name} must be a whole number, not {value!r}.") from None


def whole_seed(seed: Any) -> int | list[int]:
    """A seed, or several in an order, as `whole` numbers: a list, a range, an array or tensor."""
    try:
        return whole("seed", seed)
    except LdmError:
        if not isinstance(seed, Iterable) or isinstance(seed, str | bytes | Mapping | Set):
            raise
        several = list(islice(seed, MOST_IMAGES + 1))
        check_images(len(several))
        return [whole("seed", one) for one in several]


def seeds_for(count: int, seed: int | Sequence[int] | None) -> list[int]:
    """One seed for each of so many images.

    Args:
        seed: of the first, the next ones counting up; or one for each; random where None.
    Raises:
        LdmError: there are more or fewer.
    """
    seed = None if seed is None else whole_seed(seed)
    if seed is None:
        return [secrets.randbelow(2**32) for _ in range(count)]
    if isinstance(seed, int):
        return [seed + i for i in range(count)]
    if len(seed) != count:
        raise LdmError(f"{len(seed)} seeds for {count} images.")
    return list(seed)
