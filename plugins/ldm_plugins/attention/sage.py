"""SageAttention, in 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from ldm_core.contracts import FileName, Kernel, lacking, runs_on
from ldm_plugins.attention.shared.from_hub import check_repository, function_of

if TYPE_CHECKING:
    from torch import Tensor

NAME = "sage"
FUNCTION = "sageattn"
REPOSITORIES = {"SageAttention/sage-attention": 3}
"""Of the Hub, with the version of the kernel there."""


def sage(*, hub: FileName | None = None) -> Kernel:
    """SageAttention 2 (Zhang et al. 2024, arXiv:2411.10958): queries and keys in 8 bits, in half
    precision on CUDA. What is drawn differs a little. It takes no masks, so name another kernel
    behind it.

    Needs the package sageattention, or a kernel from the Hub, which is a program.

    Args:
        hub: SageAttention/sage-attention, to take it from there by the package kernels.
    """
    if hub is not None:
        check_repository(hub, REPOSITORIES, NAME)
        return _kernel(lambda: function_of(hub, REPOSITORIES[hub], FUNCTION))
    kernel = _kernel(_installed)
    if find_spec("sageattention") is not None:
        return kernel
    return lacking(
        kernel,
        "the package sageattention and a CUDA device",
        "pip install sageattention; or name a kernel of the Hub: "
        "--set attention.hub=SageAttention/sage-attention",
    )


def _installed() -> Callable[..., Any]:
    function: Callable[..., Any] = import_module("sageattention").__dict__[FUNCTION]
    return function


def _kernel(load: Callable[[], Callable[..., Any]]) -> Kernel:
    limits = runs_on(
        "cuda",
        dtypes=("float16", "bfloat16"),
        head_sizes=(64, 96, 128),
        masks=(),
        lossless=False,
        fused=True,
    )
    return replace(limits(Sage(load)), name=NAME)


@dataclass(frozen=True)
class Sage:
    """
    Attributes:
        load: gives the package's function, at the first call.
    """

    load: Callable[[], Callable[..., Any]]

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        attend = self.load()
        return cast("Tensor", attend(q, k, v, tensor_layout="HND", sm_scale=scale))
