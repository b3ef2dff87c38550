"""Requests whose inputs are completed by the model before a batch begins."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from ldm_core.contracts import Plan, Request
from ldm_core.errors import PartError
from ldm_core.model.libraries import heard
from ldm_core.run.attention import in_force
from ldm_core.run.guards import made_by
from ldm_core.run.part_errors import computing
from ldm_core.run.tf32 import tf32_in_force

if TYPE_CHECKING:
    from ldm_core.run.pipeline import Pipeline

WHEN = "while it completed a request"


@torch.no_grad()
def completed(pipe: Pipeline, plan: Plan) -> Plan:
    """A plan with the inputs that its conditionings fill in; see `Conditioning.complete`.

    Raises:
        PartError: one changed something else of the request.
    """
    parts, request = pipe.composition, plan.request
    for part in parts.conditioning:
        tf32 = tf32_in_force(parts.recipe)
        with in_force(parts.attention), tf32, heard(), computing(pipe.model):
            gives = "a request that is completed is a Request"
            make = partial(part.complete, pipe.model, request)
            made = made_by(parts.owners, part, WHEN, Request, gives, make)
        if made is request:
            continue
        lengths = {len(values) for values in made.inputs.values()}
        same = replace(made, inputs=request.inputs) == request
        if not same or made.inputs.keys() != request.inputs.keys() or lengths > {len(made.seeds)}:
            with parts.owners.blamed(part, WHEN):
                raise PartError(part, "it changed more of the request than values of its inputs.")
        request = made
    return plan if request is plan.request else replace(plan, request=request)
