"""Outputs batch by batch: the one way that all that makes many goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ldm_core.contracts import Step
from ldm_core.errors import LdmError
from ldm_core.run.call import CallArguments
from ldm_core.run.output import Output
from ldm_core.run.stream import Stream


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
        self, /, prompt: str | Sequence[str] | None = None, **arguments: Any
    ) -> Iterator[Output]:
        """A call whose batches are looped over; arguments as of a call. Nothing is kept of a batch
        that is handed on, so there can be as many as there is time for.

        Raises:
            LdmError: bad input, before any sampling.
        """
        return self.batches_of(CallArguments.of(self.axes, prompt=prompt, **arguments))

    def __call__(
        self,
        /,
        prompt: str | Sequence[str] | None = None,
        *,
        seed: int | Sequence[int] | None = None,
        num_images_per_prompt: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        frame_rate: float | None = None,
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
            frame_rate: of a video, in frames a second; the model's where None.
            batch_size: images computed at once; all of them where None.
            output_type: ``pil``, ``np`` (batch, height, width, 3), ``pt`` (batch, 3, height,
                width) or ``latent`` (batch, channels, ...).
            on_step: called after each evaluation of the denoiser.
            inputs: what else the conditioning reads, such as ``negative_prompt``; and lengths of
                other axes, such as ``frames``.
        Raises:
            LdmError: bad input, before any sampling.
            NotFiniteError: images came out not finite; it holds the others, and says where.
            MachineError: memory does not suffice for a single image; it holds those before. Where
                it does not for a batch, the batch is halved, and a warning says so.
            PluginError: a plugin of another package fails; it holds the images before.
        """
        arguments = {
            name: value for name, value in locals().items() if name not in ("self", "inputs")
        }
        return Output.gathered(self.batches(**arguments, **inputs))

    def stream(self, /, prompt: str | Sequence[str] | None = None, **arguments: Any) -> Stream:
        """A call whose steps are looped over: ``for step in pipe.stream("a star", seed=7): ...``.

        Args:
            prompt, arguments: of a call, ``on_step`` apart; the images are the same.
        Raises:
            LdmError: bad input, before any sampling.
        """
        if "on_step" in arguments:
            raise LdmError("a stream takes no 'on_step': loop over its steps.")
        tellers: list[Callable[[Step], None]] = []
        batches = self.batches(prompt, **arguments, on_step=lambda step: tellers[0](step))

        def run(on_step: Callable[[Step], None]) -> Output:
            tellers.append(on_step)
            return Output.gathered(batches)

        return Stream(run)
