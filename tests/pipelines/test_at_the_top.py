"""What `ldm_pipelines` has at its top: the functions themselves, imported when asked for."""

from __future__ import annotations

import sys

import pytest

import ldm_pipelines
from ldm_pipelines.comparing.calling import compare
from ldm_pipelines.convergence.measuring import converge
from ldm_pipelines.evaluating.evaluate import evaluate
from ldm_pipelines.evaluating.reconstruction import reconstruct


def test_the_top_has_what_measures() -> None:
    own = (compare, converge, evaluate, reconstruct)
    assert [getattr(ldm_pipelines, name) for name in ldm_pipelines.__all__] == [*own]
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        _ = ldm_pipelines.compair
    assert sys.modules["ldm_pipelines"] is ldm_pipelines
