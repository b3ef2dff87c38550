"""The hook points: what a plugin package may offer. This page is a plugin author's whole contract.

A plugin is a module named by an entry point of the group ``ldm``. It states the hook API it was
written for and implements any of the hooks below::

    from ldm_core import hookimpl

    ldm_api_version = 2

    @hookimpl
    def ldm_schedulers(register):
        register("my_scheduler", "my_package.my_module:my_scheduler")

Every hook is called once, when plugins are listed. ``register(name, target)`` takes a callable or,
better, a lazy ``"package.module:attribute"`` that is imported when the plugin is used; lists read
its docstring from the source. Keep heavy imports (torch, diffusers) inside the functions of that
module.

A target is the thing itself, a function with the positional parameters of its contract in
`ldm_core.contracts`, or a factory without positional parameters that returns the thing. Either
way its keyword-only parameters are its options: name, type and default are the schema by which
recipes are checked, and the docstring is the help text. What a part can say of itself beyond its
function, its traits, is declared by decorators, such as `ldm_core.contracts.starts_with`, which
make a record of the function, or by deriving from a base class.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pluggy

API_VERSION = 2

hookspec = pluggy.HookspecMarker("ldm")
hookimpl = pluggy.HookimplMarker("ldm")


class Register(Protocol):
    """``register(name, target)``, once for each thing offered."""

    def __call__(self, name: str, target: Callable[..., Any] | str) -> None: ...


class RegisterModel(Protocol):
    """``register(name, folder, made_for)``, once for each model that the package ships."""

    def __call__(self, name: str, folder: Path, made_for: str) -> None: ...


@hookspec
def ldm_schedulers(register: Register) -> None:
    """Offer schedulers: walk a noisy latent along a grid of points.

    Contract: ``scheduler(x, grid, denoise, noise, *, options) -> x``, see
    `ldm_core.contracts.scheduler`. ``denoise(x, point)`` estimates x0; noise comes from
    ``noise()`` alone, so that an image depends on its seed alone. How x starts, points of its own,
    the order and the like are traits of `ldm_core.contracts.Scheduler`.
    """


@hookspec
def ldm_spacings(register: Register) -> None:
    """Offer spacings: choose the points that a run visits.

    Contract: ``spacing(schedule, steps, *, options) -> points``, see `ldm_core.contracts.spacing`:
    points with strictly falling noise, the end point last. One marked by
    `ldm_core.contracts.sees_latent` gets the latent's shape as well.
    """


@hookspec
def ldm_guidance(register: Register) -> None:
    """Offer guidance: combine the network's answers for several conditions into one.

    Contract: a factory ``guidance(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Guidance`. Branches that it does not name at a point are not computed there.
    """


@hookspec
def ldm_conditioning(register: Register) -> None:
    """Offer conditionings: turn what a person gives into what the network takes.

    Contract: a factory ``conditioning(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Conditioning`; it declares its inputs, and names the ability that it needs
    of the model's family.
    """


@hookspec
def ldm_attention(register: Register) -> None:
    """Offer attention kernels, in force for the calls of one pipeline.

    Contract: ``attention(q, k, v, mask, scale, *, options) -> out``, see
    `ldm_core.contracts.attention`. One for some devices, types, head sizes or masks alone says so
    by `ldm_core.contracts.runs_on`; a factory whose package is missing gives its kernel with
    `ldm_core.contracts.lacking`.
    """


@hookspec
def ldm_denoisers(register: Register) -> None:
    """Offer denoiser wrappers: change what surrounds the network.

    Contract: ``wrap(denoise, *, options) -> denoise``, where ``denoise(x, point) -> x0``.
    """


@hookspec
def ldm_encoders(register: Register) -> None:
    """Offer encoders: data to latents.

    Contract: ``encode(model, data, noise, *, options) -> x0``, see
    `ldm_core.contracts.autoencoder`.
    """


@hookspec
def ldm_decoders(register: Register) -> None:
    """Offer decoders: latents to data.

    Contract: ``decode(model, x0, *, options) -> data``, pixels of pictures or a
    `ldm_core.contracts.Medium`, see `ldm_core.contracts.autoencoder`.
    """


@hookspec
def ldm_families(register: Register) -> None:
    """Offer families: know one kind of model folder.

    Contract: a factory ``family()`` that returns an object of a class made from
    `ldm_core.contracts.Family`. All are asked whether a folder is theirs. Of several that claim it,
    that of the package which ships the model has it, or else ldm's own; any others are an error.
    """


@hookspec
def ldm_converters(register: Register) -> None:
    """Offer converters: make another model of a model, such as one with a LoRA.

    Contract: a factory ``converter(*, options)`` that returns an object of a class made from
    `ldm_core.contracts.Converter`. A recipe lists them as ``converters``; their phase decides the
    order.
    """


@hookspec
def ldm_writers(register: Register) -> None:
    """Offer writers: file formats of what is drawn.

    Contract: ``write(shown, manifest, path)``, marked by `ldm_core.contracts.writes` with the kind
    of medium and the suffix of its files, see `ldm_core.contracts.medium`.
    """


@hookspec
def ldm_observers(register: Register) -> None:
    """Offer observers: hear of each evaluation of the denoiser.

    Contract: ``observer(grid, *, options)``, a context manager that yields a function of a
    `ldm_core.contracts.Step`, see `ldm_core.contracts.observer`.
    """


@hookspec
def ldm_models(register: RegisterModel) -> None:
    """Offer models that the package ships: ``register(name, folder, made_for)``.

    ``folder`` holds a model in Diffusers' folder format with safetensors weights, and may hold an
    ``ldm.toml``, a recipe with the model's own defaults; ``made_for`` says in a few words what
    the model draws.
    """


@hookspec
def ldm_commands(register: Register) -> None:
    """Offer sub-commands: ``register("train denoiser", target)`` adds ``ldm train denoiser``.

    The target is a function whose positional parameters become arguments of the command (``*names``
    any number of them) and whose keyword-only ones become options, helped by the ``Args:`` of its
    docstring. Of a type such as ``Path | Image`` the command line reads the first.

    A function whose first parameter is annotated ``Pipeline`` is given one, made of the choices
    that all runs share (model, scheduler, device, ...), whose weights are read when they are first
    needed. One marked by `ldm_core.run.in_batches.in_batches` also takes ``**call``, to hand to the
    pipeline, gets seed, batch size and the other inputs, and yields one `Output` a batch, which the
    command writes as it comes; any other returns the paths of the files that it wrote. Where a
    manifest has a ``finish``, it also gets the call, so that ``ldm replay`` can repeat it. A replay
    leaves out what is annotated `ldm_core.contracts.OutputPath`, asks before it reads what is
    `ldm_core.contracts.InputPath`, and refuses a plain ``Path``, of which neither is said.
    """


KINDS = {
    "scheduler": "ldm_schedulers",
    "spacing": "ldm_spacings",
    "guidance": "ldm_guidance",
    "conditioning": "ldm_conditioning",
    "attention": "ldm_attention",
    "denoiser": "ldm_denoisers",
    "encoder": "ldm_encoders",
    "decoder": "ldm_decoders",
    "family": "ldm_families",
    "converter": "ldm_converters",
    "writer": "ldm_writers",
    "observer": "ldm_observers",
    "command": "ldm_commands",
}
"""Each kind of plugin with the hook that offers it. Models, which are folders, stand apart."""
