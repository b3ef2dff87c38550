"""A run walked once on shapes alone: what it will take beside weights, before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from ldm_core.composition.composition import Composition
from ldm_core.contracts import (
    Converter,
    Kernel,
    Model,
    Phase,
    Place,
    Plan,
    Request,
    Run,
    first_of,
)
from ldm_core.contracts.attention import dtype_name
from ldm_core.errors import LdmError, PartError
from ldm_core.run.attention import in_force
from ldm_core.run.memory.live_bytes import Allocator, LiveBytes, Peak, Unit, bytes_of, key_of
from ldm_core.run.memory.repeats import walked_once
from ldm_core.run.sampling import Sampling
from ldm_core.values import brief, is_whole

META = torch.device("meta")


@dataclass(frozen=True)
class Walk:
    """What a run takes.

    Attributes:
        weights: bytes of each part as it is kept, by its name.
        roles: of those parts.
        decoding: while the decoder decodes, in each of several ways, by the part that computes.
        before: until then, likewise.
    """

    weights: Mapping[str, int]
    roles: Mapping[str, str]
    before: Mapping[str, Peak]
    decoding: Mapping[str, Mapping[str, Peak]]


class Fused(TorchFunctionMode):
    """Torch's own attention as its fused kernels take memory: the result, and a number a row.

    On the device ``meta`` torch would take the formula that makes the matrix of all scores.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        return self._result(*args[:3], **(kwargs or {}))

    def _result(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        heads, rows = query.shape[:-2], query.shape[-2]
        sums = query.new_empty((*heads, rows), dtype=torch.float32)
        if len(heads) == 2:  # laid out with the heads of a row side by side
            out = query.new_empty((heads[0], rows, heads[1], value.shape[-1])).transpose(1, 2)
        else:
            out = query.new_empty((*heads, rows, value.shape[-1]))
        del sums
        return out


def walk(
    composition: Composition,
    place: Place,
    plan: Plan,
    decoding: Mapping[str, Sequence[Converter]],
    allocator: Allocator,
) -> Walk:
    """Walk the first step of a plan, and decode, on shapes.

    Args:
        place: where it will be; its types are those of the weights and of what is computed.
        plan: one batch.
        decoding: converters of the autoencoder for each way of decoding, by the way's name.
        allocator: of the device.
    Raises:
        LdmError: a config makes no such component.
    """
    kernel = composition.attention.on(place.device.type, dtype_name(place.compute_dtype))
    composition = replace(composition, attention=on_shapes(kernel))
    model = shaped(composition, place, (Phase.LAYOUT, Phase.COMPILE))
    modules = {name: part.module for name, part in model.parts.items() if is_module(part.module)}
    weights = {name: _read(composition, model, name) for name in modules}
    units = _units(modules, weights)
    live = LiveBytes(units, allocator)
    latents: Tensor
    with torch.no_grad(), _kernel(composition), live:
        latents = _sampled(composition, model, plan)
    ways = {}
    for name, converters in decoding.items():
        other = model
        try:
            for converter in converters:
                other = converter.convert(other)
        except LdmError:  # its tiles are no whole numbers of latents: not a way of this model's
            continue
        ways[name] = _decoded(composition, other, latents, plan.request, units, allocator)
    roles = {name: model.parts[name].role for name in modules}
    return Walk(weights, roles, live.peaks, ways)


def shaped(composition: Composition, place: Place, phases: Sequence[Phase]) -> Model:
    """The model of a composition without numbers, its converters of some phases applied.

    Raises:
        LdmError: a config makes no such component.
    """
    model = composition.family.load(composition.info, replace(place, device=META, later=()))
    for converter in composition.converters:
        # what acts while weights are read, such as quantisation, does nothing on shapes
        if converter.phase in phases and converter.reading is None:
            model = converter.convert(model)
    return model


def on_shapes(kernel: Kernel) -> Kernel:
    """A kernel as it takes memory where nothing is computed: one that is fused in the hands of
    `Fused`, any other as it is."""
    if kernel.native:
        return kernel
    members = [
        replace(member, call=_torchs if member.fused else member.call, devices=None, dtypes=None)
        for member in kernel.members or (kernel,)
    ]
    return first_of(members)


def _torchs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def is_module(thing: Any) -> bool:
    """Whether a part has weights."""
    return isinstance(thing, nn.Module)


def _sampled(composition: Composition, model: Model, plan: Plan) -> Tensor:
    """The last x, on shapes; one step alone is taken."""
    sampling = begun(composition, model, plan)
    x = sampling.x
    if len(plan.grid) > 1:
        denoise = sampling.denoiser()
        for point in _different(plan, composition):
            x = torch.empty_like(denoise(x, point))
    return x


def begun(composition: Composition, model: Model, plan: Plan) -> Sampling:
    """A run of a plan at its first x, on shapes. What keeps something from one call to the next, or
    walks by a program of its own, does nothing there: each call is computed whole."""
    converters = [c for c in composition.converters if not (c.phase is Phase.CACHE or c.by_table)]
    composition = replace(composition, converters=tuple(converters))
    shape = composition.info.latents.shape(plan.request.extent)
    images = len(plan.request.seeds)

    def noise() -> Tensor:
        return torch.empty((images, *shape), device=META)

    def to_latents(data: Tensor) -> Tensor:
        return composition.encoder(model, data.to(META), noise).to(META)

    run = Run(model, plan.request, plan.grid, noise, to_latents, 1.0, composition.scheduler)
    return Sampling(composition, run)


def _different(plan: Plan, composition: Composition) -> list[Any]:
    """The first point, and the middle one, where a guidance may ask for other branches; and the
    first one where another of the model's networks answers."""
    grid, boundary = plan.grid[:-1], composition.info.boundary
    other = [point for point in grid if boundary is not None and point.t < boundary]
    return [grid[0], grid[len(grid) // 2], *other[:1]]


def _decoded(
    composition: Composition,
    model: Model,
    latents: Tensor,
    request: Request,
    units: Mapping[int, Unit],
    allocator: Allocator,
) -> Mapping[str, Peak]:
    live = LiveBytes(units, allocator)
    modules = [part.module for part in model.parts.values() if part.role == "autoencoder"]
    repeats = walked_once(filter(is_module, modules), live)
    with torch.no_grad(), _kernel(composition), live, repeats:
        medium = composition.decoder.medium(model, latents, request)
        live.elsewhere()
        shown = medium.data.float()
        pixels = ((shown + 1) / 2).clamp(0, 1)
        del shown, pixels
    return live.peaks


@contextmanager
def _kernel(composition: Composition) -> Iterator[None]:
    with Fused(), in_force(composition.attention):
        yield


def _read(composition: Composition, model: Model, name: str) -> int:
    """Bytes of a part's weights as they are read."""
    sizes = [bytes_of(_kept(model.parts[name].module))]
    for converter in composition.converters:
        with composition.owners.blamed(converter, "while the memory of a run was foreseen"):
            kept = converter.kept_bytes(model, name)
            if not (kept is None or is_whole(kept)):
                what = "a converter's kept_bytes are a number or None"
                raise PartError(converter, f"{what}, not {brief(kept)}.")
        sizes += [kept] if kept else []
    return min(sizes)


def _kept(module: nn.Module, recurse: bool = True) -> list[Tensor]:
    """What a module keeps: its parameters and buffers, the narrow ones of such as are widened."""
    tensors = [*module.parameters(recurse), *module.buffers(recurse)]
    return [inner for tensor in tensors for inner in inner_of(tensor)]


def inner_of(tensor: Tensor) -> list[Tensor]:
    """The plain tensors that a tensor is made of."""
    if type(tensor) in (Tensor, nn.Parameter):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return [inner for name in names for inner in inner_of(tensor.__dict__[name])]


def _units(modules: Mapping[str, nn.Module], weights: Mapping[str, int]) -> dict[int, Unit]:
    units: dict[int, Unit] = {}
    for name, module in modules.items():
        sizes, share = [], weights[name] / (bytes_of(_kept(module)) or 1)
        for layer in module.modules():
            inner = _kept(layer, recurse=False)
            size = int(bytes_of(inner) * share)
            sizes.append(size)
            for tensor in inner:
                units[key_of(tensor)] = Unit(name, {"part": weights[name], "layer": size})
        second = sorted(sizes)[-2:]
        for key, unit in units.items():
            if unit.part == name:
                # which layer comes next is not known here: the largest but for itself
                other = second[0] if unit.held["layer"] == second[-1] else second[-1]
                units[key] = Unit(name, {**unit.held, "two": unit.held["layer"] + other})
    return units
