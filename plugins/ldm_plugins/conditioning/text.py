"""Text prompts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ldm_core.contracts import Condition, Conditioning, Request, Run, TextAbility
from ldm_core.errors import LdmError, LdmWarning

if TYPE_CHECKING:
    pass


def text(*, too_long: Literal["warn", "error"] = "warn") -> Conditioning:
    """A prompt and a negative prompt for each image.

    Args:
        too_long: what to do about words beyond the text encoder's window: say which are left out
            ("warn"), or refuse ("error").
    """
    return Text(too_long)


@dataclass(frozen=True)
class Text:
    too_long: Literal["warn", "error"]
    ability: str = "text"

    @property
    def inputs(self) -> Mapping[str, Any]:
        return {"prompt": ..., "negative_prompt": None}

    def check(self, request: Request) -> None:
        for name in self.inputs:
            for entry in request.inputs[name]:
                if not (isinstance(entry, str) or (entry is None and name != "prompt")):
                    raise LdmError(f"a {name} should be text, not {entry!r}.")
        if any(not prompt.strip() for prompt in request.inputs["prompt"]):
            raise LdmError("the prompt is empty; say what the picture should show.")

    def encode(self, run: Run, branches: Sequence[str]) -> Mapping[str, Condition]:
        ability: TextAbility = run.model.abilities["text"]
        conditions = {}
        for branch in branches:
            name = "negative_prompt" if branch == "negative" else "prompt"
            texts = run.request.inputs[name]
            different = list(dict.fromkeys(texts))
            for entry in different:
                self._report_overflow(entry or "", ability.overflow(entry or ""))
            encoded = ability.encode(different)
            rows = [different.index(entry) for entry in texts]
            conditions[branch] = {key: value[rows] for key, value in encoded.items()}
        return conditions

    def _report_overflow(self, prompt: str, lost: str) -> None:
        if not lost:
            return
        message = f"the prompt is longer than the text encoder's window; '{lost}' is left out"
        if self.too_long == "error":
            raise LdmError(message.replace("is left out", "does not fit") + f": '{prompt}'")
        warnings.warn(f"{message}: '{prompt}'", LdmWarning, stacklevel=2)
