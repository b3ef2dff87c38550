"""A converter: it makes another model of a model."""

from __future__ import annotations

from dataclasses import replace

from ldm_core.contracts import Converter, Part, Phase


def int8() -> Converter:
    """Keep the weights of the network's linear layers in 8 bits, a scale for each row.

    A layer's weights are widened when it computes.
    """
    return Int8()


class Int8(Converter):
    """Puts an `Int8Linear` in the place of each linear layer of the network."""

    phase = Phase.LAYOUT
    lossless = False

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        import torch
        from ldm_core.model.modules import shallow_copy

        from .int8_layer import Int8Linear

        network = shallow_copy(part.module)
        for module in list(network.modules()):
            for name, layer in list(module.named_children()):
                if type(layer) is torch.nn.Linear:
                    module.register_module(name, Int8Linear(layer))
        return replace(part, module=network)
