"""The model's own guidance, where a guidance is added to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldm_core.contracts import Guidance, ModelInfo
from ldm_core.errors import LdmError
from ldm_plugins.guidance.classifier_free import classifier_free
from ldm_plugins.guidance.embedded import embedded
from ldm_plugins.guidance.none import none

BY_NAME: Mapping[str, Callable[..., Guidance]] = {
    "none": none,
    "classifier_free": classifier_free,
    "embedded": embedded,
}


class ModelsOwn(Guidance):
    """The guidance that the model's family chooses, once it is fitted to a model."""

    def fit(self, info: ModelInfo) -> Guidance:
        own: Any = info.defaults.get("guidance", "none")
        options = {"name": own} if isinstance(own, str) else dict(own)
        name = options.pop("name")
        if name not in BY_NAME:
            raise LdmError(
                f"the model '{info.source}' has a guidance of its own, '{name}'; say what this one "
                "is to be added to, as in beside = 'none'."
            )
        return BY_NAME[name](**options).fit(info)
