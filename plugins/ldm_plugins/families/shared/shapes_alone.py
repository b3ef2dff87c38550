"""Networks that look at numbers to know how much to compute, where there are shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def as_much_as_can_be(
    like: Tensor, answers: Mapping[Any, Callable[[Tensor], Any]]
) -> Iterator[None]:
    """Answer what a network asks of its numbers where tensors have none, as while memory is
    planned.

    Args:
        like: a tensor of the network's; where it has numbers, nothing is done.
        answers: what methods of `torch.Tensor` give for a tensor without numbers: what leads to the
            most memory.
    """
    from torch.overrides import TorchFunctionMode

    class Answering(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in answers and args[0].is_meta:
                return answers[func](args[0])
            return func(*args, **(kwargs or {}))

    if not like.is_meta:
        yield
        return
    with Answering():
        yield
