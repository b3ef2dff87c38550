"""What a call takes, and outputs batch by batch: the one way that all that makes many goes."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import update_wrapper
from typing import Any

from ldm_core.composition.composition import is_one_each
from ldm_core.contracts import Extent, Step
from ldm_core.errors import LdmError
from ldm_core.run.output import Output
from ldm_core.run.stream import Stream


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

    @classmethod
    def of(cls, axes: Sequence[str], **arguments: Any) -> CallArguments:
        """Arguments by name, as a person gives them: those of a call, lengths of the model's axes
        (``width``), and inputs.

        Args:
            axes: of the model's latents.
        """
        own = {f.name for f in fields(cls)} - {"inputs", "extent"}
        sides = {*axes, "width", "height"}
        values = {name: value for name, value in arguments.items() if value is not None}
        extent = {name: value for name, value in values.items() if name in sides}
        inputs = {n: v for n, v in values.items() if n not in own | sides | {"extent", "inputs"}}
        return cls(
            inputs={**values.get("inputs", {}), **inputs},
            extent={**values.get("extent", {}), **extent},
            **{name: value for name, value in values.items() if name in own},
        )

    def images(self) -> tuple[list[int], dict[str, Any]]:
        """The seed of each image, and the inputs, lists of which have one entry an image.

        Raises:
            LdmError: lists of different lengths, or an empty one, or a number that is too small.
        """
        each = self.num_images_per_prompt
        if each < 1:
            raise LdmError(f"num_images_per_prompt must be at least 1, not {each}")
        if self.batch_size is not None and self.batch_size < 1:
            raise LdmError(f"batch_size must be at least 1, not {self.batch_size}.")
        lengths = {len(v) for v in self.inputs.values() if is_one_each(v)}
        if len(lengths) > 1:
            raise LdmError(f"inputs have different lengths: {sorted(lengths)}.")
        several = len(self.seed) if isinstance(self.seed, list | tuple) and each == 1 else 1
        count = (lengths.pop() if lengths else several) * each
        if count == 0:
            raise LdmError("the list of prompts is empty; there is nothing to make.")
        spread = {
            name: [entry for entry in value for _ in range(each)] if is_one_each(value) else value
            for name, value in self.inputs.items()
        }
        return seeds_for(count, self.seed), spread


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


class Generates(ABC):
    """What makes images of a call: a pipeline, or a chain of them."""

    @property
    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """Of what is drawn: the names of its lengths, such as height and width."""

    @abstractmethod
    def batches_of(self, call: CallArguments) -> Iterator[Output]:
        """One output a batch, each handed on as soon as it is made and not kept. All that can be
        checked is checked before the first."""

    def batches(
        self, prompt: str | Sequence[str] | None = None, **arguments: Any
    ) -> Iterator[Output]:
        """A call whose batches are looped over; arguments as of a call. Nothing is kept of a batch
        that is handed on, so there can be as many as there is time for.

        Raises:
            LdmError: bad input, before any sampling.
        """
        return self.batches_of(CallArguments.of(self.axes, prompt=prompt, **arguments))

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        batch_size: int | None = None,
        output_type: str = "pil",
        on_step: Callable[[Step], None] | None = None,
        **inputs: Any,
    ) -> Output:
        """Make images.

        Args:
            prompt: one, or one for each image.
            seed: of the first image, the next ones counting up; or one for each image, which also
                says how many where no input is a list; random where None. An image depends on its
                own seed alone.
            num_images_per_prompt: images of each prompt, one after the other.
            guidance_scale: sets the guidance's option ``scale``.
            batch_size: images computed at once; all of them where None.
            output_type: ``pil``, ``np`` (batch, height, width, 3), ``pt`` (batch, 3, height,
                width) or ``latent`` (batch, channels, ...).
            on_step: called after each evaluation of the denoiser.
            inputs: what else the conditioning reads, such as ``negative_prompt``; and lengths of
                other axes, such as ``frames``.
        Raises:
            LdmError: bad input, before any sampling.
        """
        arguments = {
            name: value for name, value in locals().items() if name not in ("self", "inputs")
        }
        return Output.join(list(self.batches(**arguments, **inputs)))

    def stream(self, *prompt: Any, **arguments: Any) -> Stream:
        """A call whose steps are looped over: ``for step in pipe.stream("a star", seed=7): ...``.

        Args:
            prompt, arguments: of a call, ``on_step`` apart; the images are the same.
        """
        if "on_step" in arguments:
            raise LdmError("a stream takes no 'on_step': loop over its steps.")
        return Stream(lambda on_step: self(*prompt, **arguments, on_step=on_step))


class InBatches:
    """A function of a pipeline that yields outputs, made by `in_batches`. Called, it returns them
    as one; `batches` yields them."""

    def __init__(self, batches: Callable[..., Iterator[Output]]) -> None:
        self.batches = batches
        update_wrapper(self, batches)

    def __call__(self, *args: Any, **arguments: Any) -> Output:
        return Output.join(list(self.batches(*args, **arguments)))


def in_batches(function: Callable[..., Iterator[Output]]) -> InBatches:
    """Make a pipeline's function of a generator of outputs: called from Python it returns one
    `Output`, and the command line writes each as it comes."""
    return InBatches(function)


def with_inputs(call: CallArguments, **inputs: Any) -> CallArguments:
    """A call with further inputs, or others in their place."""
    return replace(call, inputs={**call.inputs, **inputs})
