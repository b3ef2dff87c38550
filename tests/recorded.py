"""Calls of the network that a run makes, kept."""

from __future__ import annotations

from torch import Tensor

from ldm_core.contracts import Call, Converter, Network, Phase, Run, RunHooks


class Recorder(Converter):
    """Keeps the calls of the network, as they come to the converters before it."""

    phase = Phase.PLACEMENT
    lossless = True

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def bind(self, run: Run) -> RunHooks:
        recorder = self

        class Recording(RunHooks):
            def network(self, network: Network) -> Network:
                def recorded(call: Call) -> Tensor:
                    recorder.calls.append(call)
                    return network(call)

                return recorded

        return Recording()
