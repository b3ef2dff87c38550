"""Text prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldm_core.contracts import REQUIRED, Condition, Conditioning, Input, Request, Run, Unequal
from ldm_core.errors import LdmError
from ldm_core.values import brief
from ldm_plugins.conditioning.shared.prompts import Prompts, TooLong
from ldm_plugins.conditioning.shared.weighted_prompt import read_prompt

MOST_LETTERS = 100_000
INPUTS = {
    "prompt": Input(
        str, REQUIRED, help="what the picture should show; (words:1.3) weighs them, 1 being plain"
    ),
    "negative_prompt": Input(
        str | None, None, help="what guidance leads away from; the empty text where it is left out"
    ),
}


def text(*, too_long: TooLong = "warn", weights: bool = True) -> Conditioning:
    r"""A prompt and a negative prompt for each image, whose words may have weights.

    ``a (red:1.3) circle`` gives "red" the weight 1.3: its hidden states e become
    e0 + 1.3·(e - e0), where e0 are those of the empty text at the same places, as in the library
    compel. So 0 takes the words out, and 1 leaves them as they are. What the network is told
    of a text as a whole, such as CLIP's pooled state, is that of the words without weights.
    Parentheses without a number are text; ``\(`` and ``\)`` always are.

    Args:
        too_long: what to do about words beyond the text encoder's window: say which are left out
            ("warn"), refuse ("error"), or encode the text in as many windows as it takes, which the
            network then reads side by side ("chunk"). What it is told of the text as a whole is
            the first window's.
        weights: whether ``(words:1.3)`` is a weight; else it is text as any other.
    """
    return Text(too_long, weights)


@dataclass(frozen=True)
class Text(Conditioning):
    too_long: TooLong
    weights: bool

    @property
    def ability(self) -> str:
        return "text"

    @property
    def inputs(self) -> Mapping[str, Input]:
        return INPUTS

    def check(self, request: Request) -> None:
        for name in INPUTS:
            seen: set[str | None] = set()
            for entry in request.inputs[name]:
                if not isinstance(entry, str | None) or entry not in seen:
                    self.check_prompt(name, entry)
                    seen.add(entry)

    def check_prompt(self, name: str, entry: Any) -> None:
        """Raise `LdmError` for what is no prompt; None is the lack of one."""
        if entry is None and name == "negative_prompt":
            return
        if not isinstance(entry, str):
            raise LdmError(f"a {name} should be text, not {brief(entry)}.")
        try:
            entry.encode()
        except UnicodeEncodeError as error:
            raise LdmError(
                f"the {name} {brief(entry)} is no Unicode text: its letter {error.start + 1} is "
                "half of one, as of a file or terminal that is not UTF-8."
            ) from None
        if "\0" in entry:
            raise LdmError(
                f"the {name} {brief(entry)} holds the letter NUL, as of a file that is no text."
            )
        if len(entry) > MOST_LETTERS:
            raise LdmError(
                f"the {name} {brief(entry)} has {len(entry)} letters, and the longest that can be "
                f"read has {MOST_LETTERS}."
            )
        words = read_prompt(entry, self.weights).text
        if name == "prompt" and entry.strip() and not words.strip():
            raise LdmError(f"the prompt is empty but for a weight: '{entry}'.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition | Unequal]:
        prompts, inputs = self.prompts(run), run.request.inputs
        return {
            branch: prompts(inputs["negative_prompt" if branch == "negative" else "prompt"])
            for branch in branches
        }

    def prompts(self, run: Run) -> Prompts:
        """What encodes the texts of a run."""
        texts = self.texts(run.request)
        return Prompts(run.model.abilities["text"], texts, self.too_long, self.weights)

    def texts(self, request: Request) -> list[list[str | None]]:
        """Every text that the network may be asked under, image by image."""
        both = zip(request.inputs["prompt"], request.inputs["negative_prompt"], strict=True)
        return [list(texts) for texts in both]
