"""Group normalisations in a graph of OpenVINO, written so that it computes them well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

NORMALIZATION = "GroupNormalization"


def arrange(model: Any, dtype: str) -> None:
    """Write the group normalisations of a graph as the arithmetic in a type wants them."""
    if dtype == "bfloat16":
        _spell_out(model)
    else:
        _distribute(model)


def _distribute(model: Any) -> None:
    """Write n·(a + b), where n is what a group normalisation gives, as n·a + n·b: OpenVINO (2026.4)
    fuses the former with what is added then, as in a network that is told of time by 1 + scale and
    a shift, and ends the process while it does."""
    from openvino import opset13

    for node in _normalizations(model):
        normal = node.output(0)
        for target in normal.get_target_inputs():
            product = target.get_node()
            if product.get_type_name() != "Multiply":
                continue
            factor = product.input(1 - target.get_index()).get_source_output().get_node()
            if factor.get_type_name() == "Add":
                parts = [
                    opset13.multiply(normal, entry.get_source_output()) for entry in factor.inputs()
                ]
                product.output(0).replace(opset13.add(*parts).output(0))


def _spell_out(model: Any) -> None:
    """Write group normalisations as means over places and then over the channels of a group.

    In bfloat16 OpenVINO (2026.4) computes them in memory that is sorted by channel, and sorts it by
    place again for each convolution; and what follows then works on one channel at a time, which is
    slow where it has few places. Means over places leave the sorting be.

    x is centred first, so that what is rounded is the size of its spread and not of its mean; the
    mean that rounding leaves is taken away too.
    """
    import numpy as np
    from openvino import opset13 as ops

    def number(value: Any, kind: Any = np.float32) -> Any:
        return ops.constant(np.asarray(value, kind))

    for node in _normalizations(model):
        x, weight, bias = (node.input_value(index) for index in range(3))
        chosen = node.get_attributes()
        groups, shape = int(chosen["num_groups"]), x.get_partial_shape()
        rank, channels = shape.rank.get_length(), shape[1].get_length()
        places = number(range(2, rank), np.int64)
        within = number([2], np.int64)
        grouped = [groups, channels // groups, 1]
        of_groups, of_one = number([0, *grouped], np.int64), number([1, *grouped], np.int64)
        of_channels = number([0, channels, *[1] * (rank - 2)], np.int64)

        def mean(value: Any, means: Sequence[Any] = (places, of_groups, within)) -> Any:
            """Of the channels of each group, (rows, groups, 1, 1)."""
            places, of_groups, within = means
            each = ops.reshape(ops.reduce_mean(value, places, True), of_groups, True)
            return ops.reduce_mean(each, within, True)

        def wide(value: Any, shape: Any = of_channels) -> Any:
            """Of each channel, beside x."""
            return ops.reshape(value, shape, True)

        all_channels = number(np.ones((1, 1, channels // groups, 1)))
        centred = ops.subtract(x, wide(ops.multiply(mean(x), all_channels)))
        left = mean(centred)
        variance = ops.subtract(mean(ops.multiply(centred, centred)), ops.multiply(left, left))
        deviation = ops.sqrt(ops.add(variance, number(float(chosen["epsilon"]))))
        scale = ops.divide(ops.reshape(weight, of_one, False), deviation)
        shift = ops.subtract(ops.reshape(bias, of_one, False), ops.multiply(left, scale))
        normal = ops.add(ops.multiply(centred, wide(scale)), wide(shift))
        node.output(0).replace(normal.output(0))
    model.validate_nodes_and_infer_types()


def _normalizations(model: Any) -> Iterator[Any]:
    return (node for node in model.get_ordered_ops() if node.get_type_name() == NORMALIZATION)
