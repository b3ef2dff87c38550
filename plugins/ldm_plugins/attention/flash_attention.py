"""FlashAttention, by its own package or from the Hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ldm_core.contracts import FileName, Kernel, lacking, runs_on
from ldm_core.errors import LdmError
from ldm_plugins.attention.shared.from_hub import check_repository, function_of

if TYPE_CHECKING:
    from torch import Tensor

NAME = "flash_attention"
FUNCTION = "flash_attn_func"
MODULES = {2: "flash_attn", 3: "flash_attn_interface", 4: "flash_attn.cute"}
PACKAGES = {2: "flash-attn", 3: "flash-attn's folder hopper", 4: "flash-attn-4"}
REPOSITORIES = {
    "kernels-community/flash-attn2": (2, 3),
    "kernels-community/flash-attn3": (3, 1),
    "kernels-community/flash-attn4": (4, 0),
}
"""Of the Hub: which FlashAttention each has, and the version of the kernel there."""
HEADS = {2: 256, 3: 256, 4: 128}
"""The widest heads of each."""


def flash_attention(
    *, version: Literal[2, 3, 4] | None = None, hub: FileName | None = None
) -> Kernel:
    """FlashAttention 2, 3 or 4 (Dao 2023, arXiv:2307.08691; Shah et al. 2024, arXiv:2407.08608), in
    half precision on CUDA; it takes no masks, so name another kernel behind it.

    Needs a package, such as flash-attn, or a kernel from the Hub, which is a program.

    Args:
        version: 3 is for Hopper, 4 for Hopper and Blackwell; where nothing is said 3 where it is
            installed, or else 2.
        hub: kernels-community/flash-attn2, flash-attn3 or flash-attn4, to take it from there by the
            package kernels.
    """
    if hub is not None:
        check_repository(hub, {name: n for name, (_, n) in REPOSITORIES.items()}, NAME)
        number, revision = REPOSITORIES[hub]
        if version not in (None, number):
            raise LdmError(f"'{hub}' is FlashAttention {number}, not {version}.")
        return _kernel(number, lambda: function_of(hub, revision, FUNCTION))
    number = version or (3 if is_installed(MODULES[3]) else 2)
    kernel = _kernel(number, lambda: _installed(number))
    if is_installed(MODULES[number]):
        return kernel
    return lacking(
        kernel,
        f"the package {PACKAGES[number]} and a CUDA device",
        "flash-attn is built for one version of torch and CUDA: see its own instructions; or name "
        f"a kernel of the Hub: --set attention.hub=kernels-community/flash-attn{number}",
    )


def is_installed(module: str) -> bool:
    """Whether a module is there; nothing is imported, as a package would be for a module in it."""
    package, _, rest = module.partition(".")
    spec = find_spec(package)
    if spec is None or not rest:
        return spec is not None
    return any(
        Path(f, rest, "__init__.py").is_file() for f in spec.submodule_search_locations or ()
    )


def _installed(version: int) -> Callable[..., Any]:
    function: Callable[..., Any] = import_module(MODULES[version]).__dict__[FUNCTION]
    return function


def _kernel(version: int, load: Callable[[], Callable[..., Any]]) -> Kernel:
    limits = runs_on(
        "cuda",
        dtypes=("float16", "bfloat16"),
        head_sizes=tuple(range(8, HEADS[version] + 1, 8)),
        masks=(),
        fused=True,
    )
    return replace(limits(Flash(load)), name=NAME)


@dataclass(frozen=True)
class Flash:
    """
    Attributes:
        load: gives the package's function, at the first call.
    """

    load: Callable[[], Callable[..., Any]]

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        # (batch, heads, tokens, width) here, (batch, tokens, heads, width) there
        q, k, v = (tensor.transpose(1, 2) for tensor in (q, k, v))
        out = self.load()(q, k, v, softmax_scale=scale)
        if isinstance(out, tuple):  # with the logarithms of the sums, in versions 3 and 4
            out = out[0]
        return cast("Tensor", out.transpose(1, 2))
