"""How long a sound is, for networks that are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ldm_core.contracts import Condition, Conditioning, Input, Request, Run
from ldm_core.contracts.sound_abilities import DurationAbility
from ldm_core.errors import LdmError
from ldm_core.values import brief, is_number

INPUTS = {
    "seconds_start": Input(
        float, 0.0, help="where in the whole sound, in seconds, what is made begins"
    ),
    "seconds_total": Input(
        float | None,
        None,
        help="how long the whole sound is, in seconds; as what is made where it is left out",
    ),
}


def duration() -> Conditioning:
    """Tell the network which part of how long a sound it makes (Evans et al. 2024,
    arXiv:2402.04825, Section 3.1): ``seconds_start`` (0), and ``seconds_total``, which is the end
    of what is made where it is left out.

    How many samples are made is another matter (``samples``). A network that was trained on windows
    of one length falls silent behind ``seconds_total``; asked for fewer samples than its window it
    makes a shorter one.
    """
    return Duration()


class Duration(Conditioning):
    @property
    def ability(self) -> str:
        return "duration"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        values = (request.inputs[name] for name in INPUTS)
        for start, total in zip(*values, strict=True):
            if not is_number(start) or start < 0:
                raise LdmError(f"seconds_start should be at least 0, not {brief(start)}.")
            if total is not None and (not is_number(total) or total <= start):
                raise LdmError(
                    f"seconds_total should be a number beyond seconds_start, {start:g}, not "
                    f"{brief(total)}."
                )

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        ability: DurationAbility = run.model.abilities["duration"]
        request, rate = run.request, run.model.info.rate
        assert rate is not None  # a model with this ability has one
        made = max(request.extent.values()) / rate
        starts, totals = (request.inputs[name] for name in INPUTS)
        condition = ability.encode(
            [
                (start, start + made if total is None else total)
                for start, total in zip(starts, totals, strict=True)
            ]
        )
        return dict.fromkeys(branches, condition)
