"""What a run gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldm_core.errors import LdmError, MachineError, NotFiniteError, PluginError
from ldm_core.media.kinds import noun


@dataclass(frozen=True)
class Failure:
    """An image that did not come out finite, and is not among the others.

    Attributes:
        index: its place among all images that were asked for.
        what: where the first numbers came from that were not finite, in words, such as
            ``guidance``.
        step: of the walk, from 1, in which that was; None before the first and after the last.
        steps: how many there are.
        hint: what may be the cause, and what may help.
        manifest: of what was asked for.
        kind: of medium.
    """

    index: int
    seed: int
    what: str
    step: int | None
    steps: int
    hint: str
    manifest: dict[str, Any]
    kind: str = "image"

    @property
    def message(self) -> str:
        """What is wrong, in a sentence."""
        what = self.kind if self.kind == "image" else noun(self.kind)
        where = "" if self.step is None else f" at step {self.step} of {self.steps}"
        return (
            f"the {what} of seed {self.seed} came out not finite (NaN or infinite); the first such "
            f"numbers came from {self.what}{where}."
        )


@dataclass(frozen=True)
class Output:
    """What a run gives.

    Attributes:
        images: a list of PIL images, or an array or tensor, by the run's ``output_type``; of video
            and sound what `ldm_core.media.shown.shown` says, under this name too. Those alone that
            are finite.
        seeds, manifests: one for each image.
        kind: of medium: ``image``, ``video``, ``audio``, ...
        rate: frames or samples a second, of video and sound.
        beside: what belongs to it, such as the sound of a video, one entry an image too.
        failures: one for each image that was asked for and is not finite.
        evaluations: how often the denoiser was asked for each image; None where that is not known,
            or is not the same for all.
    """

    images: Any
    seeds: list[int]
    manifests: list[dict[str, Any]]
    kind: str = "image"
    rate: float | None = None
    beside: tuple[Output, ...] = ()
    failures: tuple[Failure, ...] = ()
    evaluations: int | None = None

    def __repr__(self) -> str:
        from ldm_core.run.notebook import output_in_line

        return f"<Output: {output_in_line(self)}>"

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows of pictures: one, or a contact sheet."""
        from ldm_core.run.notebook import as_png

        return as_png(self)

    def _repr_html_(self) -> str | None:
        """What a notebook shows of videos and sounds: something that plays them."""
        from ldm_core.run.notebook import as_players

        return as_players(self)

    def save(self, folder: str | Path, format: str | None = None) -> list[Path]:
        """Write each image into a file with its manifest, as the command line does; no file that
        is there is ever written over: the new one gets a number.

        Args:
            folder: is made where it is not there.
            format: name of a writer, such as ``webp``; where None, ``png`` for pictures.
        Returns:
            The files, one for each image.
        Raises:
            LdmError: the images are arrays or tensors, or there is no such writer for them.
            MachineError: the folder cannot be written to.

        Example::

            paths = pipe("a red star", seed=7).save("pictures")
        """
        from ldm_core.run.saving import save_output

        return save_output(self, folder, format)

    def copied(self) -> Output:
        """One whose images and manifests are its own, for whoever may change them."""
        return replace(
            self,
            images=_copied(self.images),
            seeds=list(self.seeds),
            manifests=deepcopy(self.manifests),
            beside=tuple(one.copied() for one in self.beside),
        )

    @property
    def asked(self) -> int:
        """How many images were asked for."""
        return len(self.seeds) + len(self.failures)

    @property
    def indices(self) -> list[int]:
        """The place of each image among all that were asked for."""
        failed = {failure.index for failure in self.failures}
        return [index for index in range(self.asked) if index not in failed]

    def complete(self) -> Output:
        """The output, once it is seen that nothing that was asked for is missing.

        Raises:
            NotFiniteError: some images are not finite; it holds the others.
        """
        if not self.failures:
            return self
        first, count = self.failures[0], len(self.failures)
        more = f" So did {count} of {self.asked} images." if count > 1 else ""
        raise NotFiniteError(first.message + more, first.hint, self, self.failures)

    def only(self, index: int) -> Output:
        """One image alone of those that were asked for, by its place among them."""
        failures = tuple(replace(f, index=0) for f in self.failures if f.index == index)
        at = [self.indices.index(index)] if not failures else []
        part = slice(at[0], at[0] + 1) if at else slice(0, 0)
        return replace(
            self,
            images=self.images[part],
            seeds=self.seeds[part],
            manifests=self.manifests[part],
            beside=tuple(replace(b, images=b.images[part]) for b in self.beside),
            failures=failures,
        )

    @classmethod
    def gathered(cls, outputs: Iterable[Output]) -> Output:
        """Outputs as they are made, as one, once it is seen that nothing is missing.

        Raises:
            NotFiniteError: some images are not finite; it holds the others.
            MachineError, PluginError: the machine refuses to go on, or another package's plugin
                fails; it holds what was made before.
        """
        parts: list[Output] = []
        try:
            for output in outputs:
                parts.append(output)
        except (MachineError, PluginError) as error:
            if isinstance(error.output, Output):  # of the last, which failed after it was made
                parts.append(error.output)
            error.output = cls.join(parts) if parts else None
            raise
        return cls.join(parts).complete()

    @classmethod
    def join(cls, parts: Sequence[Output]) -> Output:
        """Several outputs as one, all of one kind and output type.

        Raises:
            LdmError: there are none.
        """
        if not parts:
            raise LdmError("nothing was made: every image that was asked for was left out.")
        failures: list[Failure] = []
        before = 0
        for part in parts:
            failures += [replace(one, index=before + one.index) for one in part.failures]
            before += part.asked
        full = [part for part in parts if part.seeds] or list(parts[:1])
        first = full[0]
        beside = zip(*(part.beside for part in full), strict=True)
        evaluations = {part.evaluations for part in parts}
        return cls(
            _joined([part.images for part in full]),
            [seed for part in full for seed in part.seeds],
            [manifest for part in full for manifest in part.manifests],
            first.kind,
            first.rate,
            tuple(cls.join(others) for others in beside),
            tuple(failures),
            evaluations.pop() if len(evaluations) == 1 else None,
        )


def _joined(batches: Sequence[Any]) -> Any:
    if isinstance(batches[0], list):
        return [image for batch in batches for image in batch]
    if isinstance(batches[0], Tensor):
        return torch.cat(list(batches))
    return np.concatenate(batches)


def _copied(images: Any) -> Any:
    if isinstance(images, list):
        return [_copied(one) for one in images]
    return images.clone() if isinstance(images, Tensor) else images.copy()
