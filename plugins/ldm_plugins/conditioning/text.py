"""Text prompts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ldm_core.contracts import Conditioning, Request, Run
from ldm_core.contracts.abilities import TextAbility
from ldm_core.contracts.family import Condition
from ldm_core.errors import LdmError, LdmWarning
from ldm_plugins.conditioning.shared.weighted_prompt import WeightedText, read_weights, unweighted

if TYPE_CHECKING:
    from torch import Tensor

MOST_WINDOWS = 100
TooLong = Literal["warn", "error", "chunk"]


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
class Text:
    too_long: TooLong
    weights: bool
    ability: str = "text"

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"prompt": ..., "negative_prompt": None}

    def check(self, request: Request) -> None:
        for name in ("prompt", "negative_prompt"):
            for entry in dict.fromkeys(request.inputs[name]):
                self.check_prompt(name, entry)

    def check_prompt(self, name: str, entry: Any) -> None:
        """Raise `LdmError` for what is no prompt; None is the lack of one."""
        if entry is None and name == "negative_prompt":
            return
        if not isinstance(entry, str):
            raise LdmError(f"a {name} should be text, not {entry!r}.")
        if not self.read(entry).text.strip() and name == "prompt":
            raise LdmError("the prompt is empty; say what the picture should show.")

    def read(self, entry: str) -> WeightedText:
        """What a prompt says, with its weights."""
        return read_weights(entry) if self.weights else unweighted(entry)

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        encoder = Prompts(self, run.model.abilities["text"], self.texts(run.request))
        conditions = {}
        for branch in branches:
            name = "negative_prompt" if branch == "negative" else "prompt"
            conditions[branch] = encoder(run.request.inputs[name])
        return conditions

    def texts(self, request: Request) -> list[str | None]:
        """Every text that a network may be told in one batch."""
        return [*request.inputs["prompt"], *request.inputs["negative_prompt"]]


class Prompts:
    """Encodes the prompts of one run.

    Args:
        texts: all that the run may tell the network, which takes conditions of one length only.
    """

    def __init__(self, how: Text, ability: TextAbility, texts: Sequence[str | None]) -> None:
        self._how = how
        self._ability = ability
        self._empty: Condition | None = None
        counts = [len(self._windows(entry)) for entry in dict.fromkeys(texts)]
        self._count = math.lcm(*counts) if how.too_long == "chunk" else 1
        if self._count > 1 and not getattr(ability, "side_by_side", False):
            raise LdmError(
                "this model reads one window of text, and a prompt needs "
                f"{max(counts)}; choose the option too_long = \"warn\" of 'text', or say less."
            )
        if self._count > MOST_WINDOWS:
            several = ", ".join(map(str, sorted(set(counts))))
            raise LdmError(
                f"prompts of {several} windows do not go together in one batch, where each would "
                f"be seen as {self._count} of them; choose a smaller batch_size, or say less."
            )

    def __call__(self, texts: Sequence[str | None]) -> Condition:
        """The network's condition for each text; equal ones are encoded once."""
        different = list(dict.fromkeys(texts))
        encoded = self._encode(different)
        rows = [different.index(entry) for entry in texts]
        return {key: value[rows] for key, value in encoded.items()}

    def _encode(self, texts: Sequence[str | None]) -> Condition:
        import torch

        windows = [self._windows(entry) for entry in texts]
        if self._how.too_long != "chunk":
            for entry in texts:
                self._report_overflow(entry)
        # To see each window as often is to see each once: attention's softmax does not change.
        rows = [part * (self._count // len(part)) for part in windows]
        columns = [self._window(list(column)) for column in zip(*rows, strict=True)]
        if self._count == 1:
            return columns[0]
        along = self._tokens("")
        return {
            key: torch.cat([column[key] for column in columns], dim=1) if key in along else value
            for key, value in columns[0].items()
        }

    def _window(self, texts: Sequence[WeightedText | None]) -> Condition:
        """The condition of texts of one window each, as their words weigh."""
        encoded = self._ability.encode([None if t is None else t.text for t in texts])
        weighed = {i: t for i, t in enumerate(texts) if t is not None and not t.plain}
        if not weighed:
            return encoded
        if self._empty is None:
            self._empty = self._ability.encode([""])
        found = dict(encoded)
        for row, entry in weighed.items():
            for key, spans in self._tokens(entry.text).items():
                if found[key].is_floating_point():
                    weights = [entry.of(*span) for span in spans]
                    found[key] = _weigh(found[key], row, weights, self._empty[key][0])
        return found

    def _tokens(self, text: str) -> Mapping[str, Sequence[tuple[int, int]]]:
        tokens = getattr(self._ability, "tokens", None)
        if tokens is None:
            raise LdmError(
                "the words of this model's prompts cannot be weighed: its text encoder does not "
                "say which of its states stand for which words.",
                r"write \( and \), or set the option weights = false of 'text', for plain text.",
            )
        found: Mapping[str, Sequence[tuple[int, int]]] = tokens(text)
        return found

    def _windows(self, entry: str | None) -> list[WeightedText | None]:
        """A prompt in parts that fit the window; as it is where it is not to be parted."""
        if entry is None:
            return [None]
        rest = self._how.read(entry)
        if self._how.too_long != "chunk":
            return [rest]
        rest = rest.stripped()
        found: list[WeightedText | None] = []
        while lost := self._ability.overflow(rest.text):
            fits = len(rest.text) - len(lost)
            if not rest.text[:fits].strip():
                raise LdmError(
                    f"the text encoder's window is too small for this as one word: '{rest.text}'."
                )
            found.append(rest[:fits].stripped())
            rest = rest[fits:]
        return [*found, rest]

    def _report_overflow(self, entry: str | None) -> None:
        text = self._how.read(entry or "").text
        lost = self._ability.overflow(text)
        if not lost:
            return
        message = f"the prompt is longer than the text encoder's window; '{lost}' is left out"
        if self._how.too_long == "error":
            raise LdmError(message.replace("is left out", "does not fit") + f": '{entry}'")
        warnings.warn(f"{message}: '{entry}'", LdmWarning, stacklevel=2)


def _weigh(states: Tensor, row: int, weights: Sequence[float], empty: Tensor) -> Tensor:
    """States (texts, tokens, width) of which one row is led from the empty text's, (tokens,
    width), past its own where a weight is above 1."""
    import torch

    share = torch.tensor(weights, dtype=states.dtype, device=states.device)[:, None]
    weighed = states.clone()
    # lerp gives a token of weight 1 back bit for bit
    weighed[row] = torch.lerp(empty, states[row], share)
    return weighed
