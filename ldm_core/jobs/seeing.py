"""A job's pictures seen as they form: each under the name of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldm_core.jobs.batching import Picture
from ldm_core.run.preview import observer_of
from ldm_core.run.showing import Showing

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline


@dataclass(frozen=True)
class Seen:
    """Shows what one process of a job makes."""

    showing: Showing

    def on(self, pipe: Pipeline, pictures: Sequence[Picture]) -> Pipeline:
        """A pipeline that is watched while it makes these pictures.

        Raises:
            LdmError: of its model nothing can be shown so.
        """
        named = [(picture.seed, picture.name) for picture in pictures]
        others = pipe.composition.chosen.get("observers", [])
        return pipe.replace(observers=[*others, observer_of(self.showing, named)])
