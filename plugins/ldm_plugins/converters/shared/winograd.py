"""Convolutions in a graph of OpenVINO by Winograd's algorithm, with half the multiplications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

TILE = 4
INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
"""F(4, 3): four neighbouring sums of three products each, by six products. Source: Lavin & Gray
2015, arXiv:1509.09308, section 4.3."""

PLACES, MANY_PLACES = 1024, 4096
"""Of all rows of a call together, at least: for kernels of few numbers, and for any."""
FEW = 2**20
"""Numbers of kernels that are transformed, at each start, in a few milliseconds. More cost a second
for 80 million, with the memory for them, and in some calls of few places do not pay."""
DEPTH = 32
"""Channels and filters together, as their harmonic mean's half, at least."""


class Layer(NamedTuple):
    """Sizes of a convolution whose answer is as high and wide as what it is given."""

    rows: int
    channels: int
    height: int
    width: int
    filters: int

    @property
    def pays(self) -> bool:
        """Whether it takes less time by six sums of products of a column than by nine.

        Before and after, columns are multiplied by matrices of their height, which is cheap beside
        channels times filters. Measured: from 0.6 to 0.85 of the layer's time where this holds.
        """
        depth = self.channels * self.filters / (self.channels + self.filters)
        few = 9 * self.channels * self.filters <= FEW
        places = self.rows * self.height * self.width
        return places >= (PLACES if few else MANY_PLACES) and depth >= max(DEPTH, self.height)


def arrange(model: Any) -> None:
    """Write the convolutions of a graph in float32 by Winograd's algorithm where that pays: those
    of 3x3 numbers, in steps of one, over a border of one zero. The graph's sizes are known.

    The algorithm is used along the height alone, where transforming what is given and what comes
    out is one product with a matrix each, and rounding stays that of a convolution, about; along
    the width remain convolutions of 1x3 numbers, one for each of six transformed rows of a kernel.
    """
    for node in [*_convolutions(model)]:
        layer = _layer(node)
        if layer is not None and layer.pays:
            node.output(0).replace(_rewritten(node, layer))
    model.validate_nodes_and_infer_types()


def matrices(height: int) -> tuple[Matrix, Matrix]:
    """Of a column of places to what the kernels' transformed rows are multiplied with, (6, tiles,
    height), and of the products' sums to the column of answers, (height, 6, tiles).

    Zeros around the column, and answers of the last tile that lie beyond it, are left out.
    """
    import numpy as np

    tiles, products = -(-height // TILE), len(INPUT)
    before = np.zeros((products, tiles, height), np.float32)
    after = np.zeros((height, products, tiles), np.float32)
    for tile in range(tiles):
        for number, factors in enumerate(np.transpose(INPUT)):
            if 0 <= (place := TILE * tile + number - 1) < height:
                before[:, tile, place] = factors
        for number, factors in enumerate(OUTPUT):
            if (place := TILE * tile + number) < height:
                after[place, :, tile] = factors
    return before, after


def _rewritten(node: Any, layer: Layer) -> Any:
    """The output of other nodes that give what a convolution gives, (rows, filters, height, width).

    Rows of the batch lie inside those of the picture, so that either matrix multiplies once.
    """
    import numpy as np
    from openvino import opset13 as ops

    rows, channels, height, width, filters = layer
    before, after = matrices(height)
    products, tiles = before.shape[:2]
    weights = node.input_value(1).get_node().data  # (filters, channels, 3, 3)
    kernels = np.tensordot(
        np.asarray(KERNEL, np.float32), weights, (1, 2)
    )  # (6, filters, channels, 3)

    def reshaped(value: Any, *sizes: int) -> Any:
        return ops.reshape(value, ops.constant(np.asarray(sizes, np.int64)), False)

    def ordered(value: Any, *axes: int) -> Any:
        return ops.transpose(value, ops.constant(np.asarray(axes, np.int64)))

    x = reshaped(ordered(node.input_value(0), 0, 2, 3, 1), rows, height, width * channels)
    columns = reshaped(ordered(x, 1, 0, 2), height, rows * width * channels)
    transformed = ops.matmul(ops.constant(before.reshape(-1, height)), columns, False, False)
    parts = ops.split(transformed, ops.constant(np.asarray(0)), products)
    sums = []
    for part, kernel in zip(parts.outputs(), kernels, strict=True):
        lines = ordered(reshaped(part, tiles * rows, 1, width, channels), 0, 3, 1, 2)
        across = ops.constant(kernel[:, :, None], shared_memory=True)
        y = ops.convolution(lines, across, [1, 1], [0, 1], [0, 1], [1, 1])
        sums.append(reshaped(ordered(y, 0, 2, 3, 1), tiles, rows * width * filters))
    together = ops.concat(sums, 0)
    y = ops.matmul(ops.constant(after.reshape(height, -1)), together, False, False)
    y = ordered(reshaped(y, height, rows, width * filters), 1, 0, 2)
    return ordered(reshaped(y, rows, height, width, filters), 0, 3, 1, 2).output(0)


def _layer(node: Any) -> Layer | None:
    """Sizes of a convolution that can be so written; None of another."""
    x, weight = node.input_value(0).get_partial_shape(), node.input_value(1)
    chosen = node.get_attributes()
    fixed = weight.get_node().get_type_name() == "Constant" and not x.is_dynamic
    if not fixed or [*weight.get_shape()][2:] != [3, 3] or chosen["auto_pad"] != "explicit":
        return None
    steps = ("strides", "dilations", "pads_begin", "pads_end")
    if any([*chosen[name]] != [1, 1] for name in steps):
        return None
    rows, channels, height, width = x.to_shape()
    return Layer(rows, channels, height, width, weight.get_shape()[0])


def _convolutions(model: Any) -> Iterator[Any]:
    return (node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution")
