"""A run whose caller goes through it step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue

import torch

from ldm_core.contracts import Step
from ldm_core.errors import LdmError
from ldm_core.run.output import Output


class Stream:
    """The steps of one run, each handed over before the next one is computed.

    A scheduler is a plain function that calls the denoiser, so the run has a thread of its own,
    which waits while the caller looks at a step: the two take turns, and nothing is computed that
    was not asked for. The run sees the caller's context variables and CUDA device; it enters the
    pipeline's attention kernel itself, but not torch's other modes of the caller's thread, such as
    autocast. Leaving the loop early, or `close`, ends the run and its thread, and what the run
    raises is raised in the loop.

    Example::

        stream = pipe.stream("a red star", seed=7)
        for step in stream:
            print(step.index, step.point.ratio, step.x0.std())
        picture = stream.output.images[0]

    Args:
        call: ``call(on_step=tell)`` makes the output and tells of each step.
    """

    def __init__(self, call: Callable[..., Output]) -> None:
        self._call = call
        self._begun = self._closed = False
        self._output: Output | None = None
        self._thread: threading.Thread | None = None
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._events: SimpleQueue[Step | Output | BaseException] = SimpleQueue()

    @property
    def output(self) -> Output:
        """What the run gave.

        Raises:
            LdmError: it has not come to its end.
        """
        if self._output is None:
            raise LdmError("the run has not come to its end; loop over all of its steps first.")
        return self._output

    def __iter__(self) -> Iterator[Step]:
        """The steps, once.

        Raises:
            LdmError: the run has begun already.
        """
        if self._begun:
            raise LdmError("a stream can be looped over once; start another one.")
        self._begun = True
        return self._steps()

    def close(self) -> None:
        """End the run, once the evaluation under way is done, and wait for its thread."""
        self._begun = self._closed = True
        if self._thread is not None:
            self._turns.put(False)
            self._thread.join()

    def _steps(self) -> Iterator[Step]:
        on_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        device = torch.cuda.current_device() if on_cuda else None
        work = partial(copy_context().run, _work, self._call, device, self._turns, self._events)
        self._thread = threading.Thread(target=work, name="ldm-stream", daemon=True)
        self._thread.start()
        try:
            while not self._closed:
                self._turns.put(True)
                event = self._events.get()
                if isinstance(event, Step):
                    yield event
                elif isinstance(event, BaseException):
                    raise event
                else:
                    self._output = event
                    break
        except _Stopped:
            return
        finally:
            self.close()


class _Stopped(BaseException):
    """Unwinds a run that nobody wants to go on; no `Exception`, so that nothing on the way takes
    it for a failure."""


def _work(
    call: Callable[..., Output],
    device: int | None,
    turns: SimpleQueue[bool],
    events: SimpleQueue[Step | Output | BaseException],
) -> None:
    """The thread of a run; it does not hold the stream, which can so be forgotten and closed."""

    def await_turn() -> None:
        if not turns.get():
            raise _Stopped

    def tell(step: Step) -> None:
        events.put(step)
        await_turn()

    try:
        await_turn()
        with nullcontext() if device is None else torch.cuda.device(device):
            events.put(call(on_step=tell))
    except BaseException as error:
        events.put(error)
