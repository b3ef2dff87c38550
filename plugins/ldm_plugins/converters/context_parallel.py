"""One picture's tokens on several devices at once."""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ldm_core.contracts import Converter, Model, ModelInfo, Part, Phase, PlaceNames, Run, RunHooks
from ldm_core.errors import LdmError
from ldm_core.model.files import read_index, read_json
from ldm_core.model.modules import shallow_copy
from ldm_plugins.converters.shared.placement import stay_at_home
from ldm_plugins.shared.classes import find_class
from ldm_plugins.shared.quiet import quiet

START = "start the same program once for each device: torchrun --nproc-per-node 2 program.py"


def context_parallel() -> Converter:
    """Cut each picture into as many parts as there are processes; each computes one on a device of
    its own, and attention exchanges heads for tokens, by Diffusers' context parallelism with
    Ulysses attention (Jacobs et al. 2023, arXiv:2309.14509).

    All processes make the same call, with the same seed, and all get the same pictures.
    """
    return ContextParallel()


@dataclass(frozen=True)
class ContextParallel(Converter):
    """
    Attributes:
        processes: how many there are, once that is known.
    """

    processes: int = 1
    phase = Phase.PLACEMENT
    lossless = True

    def fit(self, info: ModelInfo, place: PlaceNames) -> Converter:
        processes = _processes()
        if processes < 2:
            raise LdmError("context_parallel needs two processes or more, and this is one.", START)
        return replace(self, processes=processes)

    def beside(self, others: Sequence[Converter]) -> None:
        stay_at_home("context_parallel", others)

    def prepare(self, info: ModelInfo) -> None:
        import torch

        for name, config in _networks(info).items():
            heads = config.get("num_attention_heads", 24)
            if heads % self.processes:
                raise LdmError(
                    f"the {name} of '{info.source}' has {heads} heads of attention, which cannot "
                    f"be shared among {self.processes} processes; start a number that divides them."
                )
        if not torch.accelerator.device_count():
            raise LdmError(
                "context_parallel needs a GPU for each process, as Diffusers' does, and there is "
                "none."
            )

    def convert(self, model: Model) -> Model:
        import torch

        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group()
            atexit.register(_leave)
        if (size := torch.distributed.get_world_size()) != self.processes:
            raise LdmError(f"there were {self.processes} processes, and the group has {size}.")
        return super().convert(model)

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        from diffusers import ContextParallelConfig

        module: Any = shallow_copy(part.module)
        with quiet("context_parallel"):
            module.enable_parallelism(config=ContextParallelConfig(ulysses_degree=self.processes))
        return replace(part, module=module)

    def bind(self, run: Run) -> RunHooks:
        latents, extent = run.model.info.latents, run.request.extent
        sides = [axis.places(extent[axis.name]) // axis.unit for axis in latents.axes]
        if math.prod(sides) % self.processes:
            named = " x ".join(map(str, sides))
            raise LdmError(
                f"the {named} tokens of this size cannot be shared equally among {self.processes} "
                "processes; choose another size."
            )
        return RunHooks()


def _processes() -> int:
    """How many a launcher started, or joined the group that this process is in."""
    try:
        started = int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 1
    return started


def _networks(info: ModelInfo) -> dict[str, Mapping[str, Any]]:
    """The configs of the model's networks that Diffusers has a plan for, by their names.

    Raises:
        LdmError: it has none for them.
    """
    from diffusers import ModelMixin

    networks: dict[str, Mapping[str, Any]] = {}
    for name, entry in read_index(info.folder).items():
        if not isinstance(entry, list | tuple) or len(entry) != 2 or entry[0] != "diffusers":
            continue
        cls: Any = find_class(str(entry[1]))
        if issubclass(cls, ModelMixin) and cls._cp_plan is not None:
            networks[name] = read_json(info.folder / name / "config.json")
    if not networks:
        raise LdmError(
            f"Diffusers has no plan of context parallelism for the network of '{info.source}' "
            f"(family {info.family}).",
            "cfg_parallel takes every model: it shares the branches of guidance among two devices.",
        )
    return networks


def _leave() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
