"""What an attention kernel must do: equal torch's own, in all that it says it takes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.contracts import Kernel
from ldm_core.contracts.attention import dtype_name, mask_kind

T = TypeVar("T")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TIMES = 4.0
"""How many times torch's own error in a type a kernel's may be."""
LOSSY = 0.1
"""What the error of one that says it is not lossless may be, of values of deviation one."""
HEADS = (8, 16, 40, 64, 80, 128)
SEQUENCES = ((1, 1), (7, 7), (64, 64), (100, 100), (1100, 77), (50, 77), (33, 5), (3, 4200))
"""Numbers of queries and of keys: self, cross, long and short."""
BEYOND_EXP = 120.0
"""A score of which float32 holds no exponential."""
LONGEST = 25.0
"""Seconds after which a kernel is asked no more, such as one that is compiled for each shape."""


@dataclass(frozen=True)
class Case:
    """What a kernel is asked."""

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float

    @property
    def words(self) -> str:
        mask = "no mask" if self.mask is None else f"a {mask_kind(self.mask)} mask"
        return (
            f"{dtype_name(self.q.dtype)}, q {tuple(self.q.shape)}, {self.k.shape[2]} keys, {mask}"
        )

    def exact(self) -> Tensor:
        """softmax(q·kᵀ·scale + mask)·v in float64, by the formula."""
        scores = self.q.double() @ self.k.double().transpose(-1, -2) * self.scale
        if self.mask is not None:
            hidden = self.mask.dtype == torch.bool
            scores = (
                scores.masked_fill(~self.mask, -math.inf) if hidden else scores + self.mask.double()
            )
        return scores.softmax(-1) @ self.v.double()


@check("attention")
def tolerance(subject: Subject) -> str:
    """In each type that it takes it is as near to exact attention as torch's own, but for a factor
    of four; for sizes of heads, lengths, masks and scales of every kind that it takes."""
    kernel, device = _here(subject)
    worst: dict[str, float] = {}
    left: list[str] = []
    takes = [d for d in DTYPES if kernel.why_not(device, dtype_name(d)) is None]
    assert takes, "it takes none of float32, bfloat16 and float16"
    by_type = zip(*(_cases(kernel, device, dtype) for dtype in takes), strict=True)
    for case in _in_time(chain.from_iterable(by_type), left):
        _compare(kernel, case, worst)
    return ", ".join([*(f"{name} {error:.1g}" for name, error in worst.items()), *left])


@check("attention")
def not_contiguous(subject: Subject) -> str:
    """Tensors whose heads are columns, as layers have them, are computed as any other."""
    kernel, device = _here(subject)
    worst: dict[str, float] = {}
    left: list[str] = []
    dtype = _a_type(kernel, device)
    for width in _in_time(_widths(kernel)[:3], left):
        generator = torch.Generator().manual_seed(0)
        packed = torch.randn((2, 31, 3 * 2 * width), generator=generator).to(device, dtype)
        q, k, v = (t.reshape(2, 31, 2, width).transpose(1, 2) for t in packed.chunk(3, -1))
        assert not q.is_contiguous()
        _compare(kernel, Case(q, k, v, None, width**-0.5), worst)
    return ", ".join([f"{max(worst.values()):.1g} off", *left])


@check("attention")
def masks(subject: Subject) -> str:
    """Masks of the kinds that it takes hide and add as torch's do, of full shape or spread over
    the batch, the heads and the queries."""
    kernel, device = _here(subject)
    kinds = _mask_kinds(kernel)
    if not kinds:
        raise NotApplicable("it says that it takes no masks")
    worst: dict[str, float] = {}
    left: list[str] = []
    for case in _in_time(_masked(kernel, device, _a_type(kernel, device)), left):
        _compare(kernel, case, worst)
    return ", ".join([f"{' and '.join(kinds)}: {max(worst.values()):.1g} off", *left])


def _mask_kinds(kernel: Kernel) -> tuple[str, ...]:
    return ("boolean", "additive") if kernel.masks is None else tuple(kernel.masks)


def _masked(kernel: Kernel, device: str, dtype: torch.dtype) -> Iterator[Case]:
    """Questions with masks of the kinds that it takes."""
    width = _widths(kernel)[0]
    generator = torch.Generator().manual_seed(1)
    shape = (2, 3, 20, 24)
    q = torch.randn((2, 3, 20, width), generator=generator).to(device, dtype)
    k, v = (torch.randn((2, 3, 24, width), generator=generator).to(device, dtype) for _ in "kv")
    spreads = (shape, (2, 1, 20, 24), (1, 1, 20, 24), (2, 1, 1, 24), (1, 3, 20, 24))
    for spread, kind in product(spreads, _mask_kinds(kernel)):
        mask = torch.randn(spread, generator=generator).to(device, dtype)
        if kind == "boolean":
            mask = mask > -0.5
            mask[..., 0] = True
        yield Case(q.clone(), k.clone(), v.clone(), mask, width**-0.5)


@check("attention")
def large_scores(subject: Subject) -> str:
    """Scores of which no type holds the exponential are weighed like any other, as softmax does
    less the largest, and one head is computed as several are."""
    kernel, device = _here(subject)
    dtype, width = _a_type(kernel, device), _widths(kernel)[0]
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn((1, 1, 20, width), generator=generator) for _ in "qkv")
    worst: dict[str, float] = {}

    def asked(*tensors: Tensor) -> Case:
        q, k, v = (t.clone().to(device, dtype) for t in tensors)
        return Case(q, k, v, None, width**-0.5)

    one = asked(q, k, v)
    _compare(kernel, one, worst)
    q[..., 0] = k[..., 0] = math.sqrt(BEYOND_EXP) * width**0.25
    case = asked(q, k, v)
    exact, out = case.exact(), _ask(kernel, case)
    assert bool(out.isfinite().all()), (
        f"it gives numbers that are not finite where scores are about {BEYOND_EXP:g}"
    )
    error = float((out.double() - exact).abs().max())
    assert error <= LOSSY or dtype != torch.float32 or not kernel.lossless, (
        f"it is {error:.2g} away from exact attention where scores are about {BEYOND_EXP:g}"
    )
    return f"{error:.1g} off"


@check("attention")
def writes_nothing(subject: Subject) -> str:
    """It writes into none of its tensors, and gives the same answer to the same question."""
    kernel, device = _here(subject)
    count = 0
    dtype = _a_type(kernel, device)
    cases = chain(_masked(kernel, device, dtype), _cases(kernel, device, dtype))
    for case in _in_time(cases, []):
        tensors = [t for t in (case.q, case.k, case.v, case.mask) if t is not None]
        copies = [t.clone() for t in tensors]
        first = _ask(kernel, case).clone()
        assert all(t.equal(c) for t, c in zip(tensors, copies, strict=True)), (
            f"it writes into a tensor that it is given ({case.words})"
        )
        if kernel.lossless:
            assert first.equal(_ask(kernel, case)), f"asked again, it answers else ({case.words})"
        count += 1
    return f"{count} questions"


def _in_time(questions: Iterable[T], left: list[str]) -> Iterator[T]:
    """As many as there is time for; where that is not all of them, `left` takes how many."""
    began = time.perf_counter()
    for count, question in enumerate(questions):
        if time.perf_counter() - began > LONGEST:
            left.append(f"the first {count} questions alone, for want of time")
            return
        yield question


def _here(subject: Subject) -> tuple[Kernel, str]:
    """The kernel, and the device on which it can be seen here.

    Raises:
        NotApplicable: there is none.
    """
    kernel: Kernel = subject.made()
    able = [member for member in kernel.members or (kernel,) if not member.lacks]
    if not able:
        raise NotApplicable(f"needs {kernel.lacks or kernel.members[0].lacks}, which is not here")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        if any(one.devices is None or device in one.devices for one in able):
            return kernel, device
    raise NotApplicable(f"it runs on {', '.join(able[0].devices or ())}, and this machine has none")


def _a_type(kernel: Kernel, device: str) -> torch.dtype:
    names = [d for d in DTYPES if kernel.why_not(device, dtype_name(d)) is None]
    if kernel.members:
        return torch.float32
    assert names, "it takes none of float32, bfloat16 and float16"
    return names[0]


def _widths(kernel: Kernel) -> list[int]:
    """Of heads that it takes."""
    if kernel.head_sizes is None:
        return list(HEADS)
    return [w for w in HEADS if w in kernel.head_sizes] or list(kernel.head_sizes[:3])


def _cases(kernel: Kernel, device: str, dtype: torch.dtype) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(2)
    widths = _widths(kernel)
    sizes = [(widths[0], *lengths) for lengths in SEQUENCES]
    sizes += [(width, *SEQUENCES[-1]) for width in widths[1:]]
    for width, queries, keys in sizes:

        def draw(length: int, width: int = width) -> Tensor:
            drawn = torch.randn((2, 2, length, width), generator=generator)
            return drawn.to(device, dtype)

        scale = width**-0.5 if queries != keys else 0.3 * width**-0.5
        yield Case(draw(queries), draw(keys), draw(keys), None, scale)


def _ask(kernel: Kernel, case: Case) -> Tensor:
    with torch.no_grad():
        return kernel.attend(case.q, case.k, case.v, case.mask, case.scale)


def _compare(kernel: Kernel, case: Case, worst: dict[str, float]) -> None:
    """See that a kernel is as near to exact as torch is; `worst` takes its error, by type."""
    exact = case.exact()
    torchs = scaled_dot_product_attention(
        case.q, case.k, case.v, attn_mask=case.mask, scale=case.scale
    )
    out = _ask(kernel, case)
    assert isinstance(out, Tensor), f"it gives {type(out).__name__} ({case.words})"
    assert out.shape == exact.shape, (
        f"it gives a shape of {tuple(out.shape)} for {tuple(exact.shape)} ({case.words})"
    )
    assert out.dtype == case.q.dtype, f"it gives {out.dtype} ({case.words})"
    error, own = (float((t.double() - exact).abs().max()) for t in (out, torchs))
    name = dtype_name(case.q.dtype)
    worst[name] = max(worst.get(name, 0.0), error)
    least = float(torch.finfo(case.q.dtype).eps) * float(exact.abs().max())
    allowed = TIMES * max(own, least) if kernel.lossless else LOSSY
    assert error <= allowed, (
        f"it is {error:.2g} away from exact attention, and torch's own {own:.2g} ({case.words})"
    )
