"""What a model that ships must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ldm_core.composition.compose import compose
from ldm_core.conformance.checks import Subject, check
from ldm_core.conformance.grounds import on_folder, quietly, see_latents
from ldm_core.model.recognition import inspect_model
from ldm_core.run.decoding import decoder_for

UNPICKLED = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".msgpack", ".h5"})
"""Suffixes of weights that other programs read by running them, or that nothing here reads."""


@check("model")
def folder(subject: Subject) -> str:
    """Its folder is there, with a model index."""
    place = subject.plugin.loaded().folder
    assert place.is_dir(), f"its folder {place} is not there; does the package ship it?"
    assert (place / "model_index.json").is_file(), f"{place} has no model_index.json"
    files = [path for path in place.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return f"{len(files)} files, {size / 1e6:.1f} MB"


@check("model")
def safetensors_alone(subject: Subject) -> str:
    """Its weights are safetensors, and nothing in it is a program."""
    place = subject.plugin.loaded().folder
    files = [path for path in place.rglob("*") if path.is_file()]
    odd = [str(p.relative_to(place)) for p in files if p.suffix in {*UNPICKLED, ".py", ".so"}]
    assert not odd, f"it holds {', '.join(odd[:3])}; weights are safetensors alone"
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert weights, "it holds no safetensors"
    return f"{len(weights)} safetensors"


@check("model")
def recognised(subject: Subject) -> str:
    """One family, and no other, knows it."""
    info, _ = inspect_model(subject.plugin.id, subject.registry)
    return info.family


@check("model")
def composes(subject: Subject) -> str:
    """A pipeline of it is composed by its name, as it stands."""
    layer: Any = {"model": subject.plugin.id}
    composition = compose(layer, subject.registry)
    said = subject.plugin.loaded().made_for
    assert said.strip(), "it does not say what it draws"
    return str(composition.recipe["scheduler"]["name"])


@check("model")
def draws(subject: Subject) -> str:
    """Its weights are whole and fit what its files say of them: two steps with it come to finite
    latents, and those to finite data."""
    ground = on_folder(replace(subject, model=subject.plugin.loaded().folder))
    latents = ground.draw([0])
    see_latents(latents, ground, 1)
    with quietly(), torch.no_grad():
        medium = decoder_for(ground.pipe, ground.plan([0]).request)(latents)
    assert medium.data.isfinite().all(), "what its latents are decoded to is not finite"
    return f"{medium.kind} {tuple(medium.data.shape[1:])}"
