"""How far a training is, for a person or for a program."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from ldm_core.media.json_text import json_text
from ldm_pipelines.training.settings import TrainingSettings


@dataclass(frozen=True)
class Telling:
    """Says it: in lines on the standard error stream, or as JSON objects on the standard output;
    the latter tell what was written too.

    Attributes:
        main: this process is the one of several that says it.
    """

    settings: TrainingSettings
    main: bool

    def begins(self, first: int, processes: int) -> None:
        """The run begins after this step."""
        steps = self.settings.steps
        words = f"from step {first} to {steps}, {processes} processes"
        self._tell("started", words, step=first, steps=steps, processes=processes)

    def goes_on(self, done: int, loss: float, seconds: float) -> None:
        """So many steps are done; the mean loss since the last time, and seconds of a step."""
        steps = self.settings.steps
        words = f"step {done}/{steps}  loss {loss:.4f}  {seconds:.3f} s/step"
        self._tell("step", words, step=done, steps=steps, loss=loss, seconds_per_step=seconds)

    def stops(self, done: int) -> None:
        """A signal ended it."""
        steps = self.settings.steps
        words = f"stopped after step {done}/{steps}; the same run goes on from there"
        self._tell("stopped", words, step=done, steps=steps)

    def wrote(self) -> None:
        """What was trained is written."""
        path = self.settings.out / self.settings.result
        self._tell("finished", "", path=str(path), steps=self.settings.steps)

    def _tell(self, event: str, words: str, **values: object) -> None:
        if not self.main:
            return
        if self.settings.json:
            if event != "step" or not self.settings.quiet:
                print(json_text({"event": event, **values}), flush=True)
        elif words and not self.settings.quiet:
            print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
