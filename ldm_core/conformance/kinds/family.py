"""Checks of model families; most need a folder of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ldm_core.conformance.checks import NotApplicable, Subject, check
from ldm_core.conformance.family_folders import (
    ODD_INDICES,
    damaged,
    diffusers_pictures,
    imported_to_inspect,
    pipeline_classes,
)
from ldm_core.conformance.grounds import (
    Ground,
    apart,
    folders_of,
    on_folder,
    only_refusals,
    quietly,
    see,
    see_each_alone,
    see_latents,
    see_no_other_randomness,
    see_runs_apart,
    tried,
)
from ldm_core.contracts import POSITIVE, Call, Family, ModelInfo, Part, Row, Unequal
from ldm_core.contracts.abilities import TextAbility
from ldm_core.model.files import read_index
from ldm_core.plugins.options import with_options
from ldm_core.plugins.registry import Plugin
from ldm_core.run.decoding import decoder_for

ROLES = ("network", "autoencoder", "text", "decoder", "side", "other")

FAR = 1e-3
"""How far pictures, of a range of 1, may be from those of Diffusers' own pipeline."""
WORDS = 2000


@check("family")
def matches_alone(subject: Subject) -> str:
    """It claims no folder that another installed family claims, nor one that is no model's; asked
    of any `model_index.json` it says yes or no."""
    family = _family(subject.plugin)
    for index in ODD_INDICES:
        see(not _claims(family, index), f"it claims a folder whose model_index.json says {index}")
    others = _others(subject)
    claims = []
    for name in pipeline_classes():
        index = {"_class_name": name}
        if _claims(family, index):
            claims.append(name)
            _see_alone(others, index, name)
    if subject.model is not None:
        index = read_index(subject.model)
        if _claims(family, index):
            _see_alone(others, index, subject.model.name)
    shown = ", ".join(claims[:3]) + (f" and {len(claims) - 3} more" if len(claims) > 3 else "")
    return f"claims {shown or 'none'} of Diffusers' pipelines"


@check("family")
def inspects_without_torch(subject: Subject) -> str:
    """A folder's JSON files are read without torch and the like, in a process of its own."""
    folder = _folder(subject)
    target = subject.plugin.target
    if not isinstance(target, str):
        raise NotApplicable("is registered by a function, not as 'package.module:name'")
    names = imported_to_inspect(target, folder)
    see(not names, f"inspect imports {', '.join(names)}; imports belong into load")
    return "without torch"


@check("family")
def inspects(subject: Subject) -> str:
    """What a folder says is a `ModelInfo` whose default extent fits its latents, and whose defaults
    are plugins that are there."""
    folder = _folder(subject)
    info = _family(subject.plugin).inspect(str(folder), folder, read_index(folder))
    see(isinstance(info, ModelInfo), f"inspect gave a {type(info).__name__}, no ModelInfo")
    see(info.folder == folder, f"it says that the folder is {info.folder}, and it is {folder}")
    info.latents.check(info.default_extent, info.default_extent)
    missing = info.needs - info.abilities
    see(not missing, f"it needs {', '.join(sorted(missing))}, which are none of its abilities")
    parts = _ground(subject).pipe.composition
    return f"{info.prediction_type.name}, {len(parts.recipe)} defaults"


@check("family")
def refuses_damaged_folders(subject: Subject) -> str:
    """A folder with a JSON file that is missing or wrong is refused by an `LdmError`, or read; it
    does not fail otherwise."""
    family, folder = _family(subject.plugin), _folder(subject)
    tries = refused = 0
    with damaged(folder) as copies:
        for words, copy in copies:
            with only_refusals(f"of a folder {words}"):
                info, refusal = tried(_inspect, family, copy)
            tries += 1
            refused += bool(refusal)
            see(
                refusal or isinstance(info, ModelInfo),
                f"of a folder {words} inspect gave a {type(info).__name__}",
            )
    return f"refuses {refused} of {tries} damaged copies"


@check("family")
def parts(subject: Subject) -> str:
    """The model is made of named parts with roles, frozen, in the place that it was told, and those
    that `inspect` spoke of."""
    ground = _ground(subject)
    model = ground.pipe.model
    see(model.info.family, "the model's info names no family")
    for name, part in model.parts.items():
        see(isinstance(part, Part), f"the part '{name}' is a {type(part).__name__}, no Part")
        see(part.role in ROLES, f"the part '{name}' has the role '{part.role}', none of {ROLES}")
        if isinstance(part.module, torch.nn.Module):
            see(not part.module.training, f"the part '{name}' is in training, not in eval()")
            free = [n for n, p in part.module.named_parameters() if p.requires_grad]
            see(not free, f"the weights {free[:1]} of '{name}' are not frozen; see Place.put")
    see(model.part("network"), "no part has the role 'network'")
    for spoken in model.info.parts:
        own = model.parts.get(spoken.name)
        see(own, f"inspect spoke of a part '{spoken.name}', which the model has not")
        see(own and own.role == spoken.role, f"the part '{spoken.name}' has two roles")
    lacking = model.info.abilities - model.abilities.keys()
    roles = ", ".join(f"{name} ({part.role})" for name, part in model.parts.items())
    return roles + (f"; without an object for {', '.join(sorted(lacking))}" if lacking else "")


@check("family")
def batch(subject: Subject) -> str:
    """Each image of a batch is what it is alone, and so is each row of a call, whose rows may lie
    at different points."""
    ground = _ground(subject)
    return f"within {max(see_each_alone(ground), _see_rows_alone(ground)):.1g}"


def _see_rows_alone(ground: Ground) -> float:
    """See that the network answers rows at different points as it answers each alone; how far they
    lie apart at most."""
    worst = 0.0
    with quietly(), torch.no_grad():
        sampling = ground.start()
        condition, grid = next(iter(sampling.conditions().values())), sampling.run.grid
        if isinstance(condition, Unequal):
            return worst
        points = [grid[i % (len(grid) - 1)] for i in range(len(sampling.x))]
        rows = tuple(
            Row(i, POSITIVE, p, grid.index(p), len(grid) - 1) for i, p in enumerate(points)
        )
        t = torch.tensor([float(point.t) for point in points]).to(sampling.x)
        call = Call(sampling.x, t, condition, rows)
        together = sampling.run.model.network(call)
        for i, row in enumerate(rows):
            own = {key: value[i : i + 1] for key, value in condition.items()}
            one = Call(sampling.x[i : i + 1], t[i : i + 1], own, (row,))
            distance = apart(together[i : i + 1], sampling.run.model.network(one))
            worst = max(worst, distance)
            see(
                distance <= FAR,
                f"row {i + 1} of a call whose rows lie at different points is answered otherwise "
                f"alone (by {distance:.2g}): each row has its own timestep, call.t (rows,)",
            )
    return worst


@check("family")
def same_seed(subject: Subject) -> None:
    """The same seeds give the same latents: again, and under another global seed."""
    ground = _ground(subject)
    see_no_other_randomness(ground)
    see_runs_apart(ground)


@check("family")
def half_precision(subject: Subject) -> str:
    """Computed in bfloat16 the latents are finite; how far they move is said."""
    expected = _ground(subject).draw([0])
    half = _ground(subject, dtype="bfloat16", compute_dtype="bfloat16")
    drawn = half.draw([0])
    see_latents(drawn, half, 1)
    return f"latents move by {apart(drawn, expected):.2g}"


@check("family")
def as_diffusers(subject: Subject) -> str:
    """With nothing chosen a folder gives the picture that Diffusers' own pipeline gives, where
    Diffusers has its class."""
    ground, folder = _ground(subject), _folder(subject)
    medium = ground.pipe.composition.decoder.kind
    if medium not in ("image", "video"):
        raise NotApplicable(f"it draws {medium}, and pictures are compared")
    name = read_index(folder).get("_class_name")
    theirs = torch.as_tensor(diffusers_pictures(folder, ground, str(name)))
    with quietly(), torch.no_grad():
        plain = ground.plain()
        data = decoder_for(ground.pipe, plain.plan([0]).request)(plain.draw([0])).data
    ours = (data / 2 + 0.5).clamp(0, 1).movedim(1, -1)
    see(ours.shape == theirs.shape, f"pictures of {tuple(ours.shape)}, not {tuple(theirs.shape)}")
    distance = float((ours - theirs).abs().max())
    see(
        distance <= FAR,
        f"its picture differs by {distance:.2g}, of a range of 1, from that of Diffusers' {name}",
    )
    return f"within {distance:.1g} of Diffusers' {name}"


@check("family")
def long_prompts(subject: Subject) -> str:
    """Of a prompt beyond the text encoder's window it says what is cut off, and of no other; each
    prompt is encoded as it is alone, and nothing at all is, too."""
    ability = _ground(subject).pipe.model.abilities.get("text")
    if ability is None:
        raise NotApplicable("reads no text")
    see(isinstance(ability, TextAbility), "its ability 'text' is no TextAbility")
    short, long = "a red star", "a red star " * WORDS
    see(ability.overflow(short) == "", f"it says that '{ability.overflow(short)}' is cut off")
    end = ability.overflow(long)
    see(end, f"it does not say that {3 * WORDS} words are beyond its window")
    see(long.strip().endswith(end.strip()), "what it says is cut off is not the prompt's end")
    texts = [short, long, None]
    with quietly(), torch.no_grad():
        together = ability.encode(texts)
        for place, text in enumerate(texts):
            alone = ability.encode([text])
            distance = _apart(together, place, alone)
            see(
                distance <= FAR, f"'{str(text)[:20]}' is encoded otherwise alone, by {distance:.2g}"
            )
    return f"{len(end.split())} of {3 * WORDS} words are said to be cut off"


def _apart(together: Any, place: int, alone: Any) -> float:
    """How far the condition of a text among others is from it alone."""
    one, other = (
        condition.each[at] if isinstance(condition, Unequal) else condition
        for condition, at in ((together, place), (alone, 0))
    )
    distance = 0.0
    for key, value in other.items():
        row = one[key] if isinstance(together, Unequal) else one[key][place : place + 1]
        same = row.shape == value.shape
        distance = max(distance, apart(row.float(), value.float()) if same else float("inf"))
    return distance


def _family(plugin: Plugin) -> Family:
    family = with_options(plugin.loaded, {})
    see(isinstance(family, Family), f"it is a {type(family).__name__}, no Family")
    assert isinstance(family, Family)
    return family


def _claims(family: Family, index: Mapping[str, Any]) -> bool:
    """Whether a family claims a folder with this index.

    Raises:
        AssertionError: it says neither yes nor no.
    """
    try:
        answer = family.matches(index)
    except Exception as error:
        raise AssertionError(
            f"asked of a model_index.json that says {dict(index)}, matches raises "
            f"{type(error).__name__}: {error}; every family is asked of every folder"
        ) from error
    see(type(answer) is bool, f"matches gave {answer!r}, neither True nor False")
    return answer


def _others(subject: Subject) -> list[tuple[str, Family]]:
    """The other installed families that can be made."""
    others = []
    for plugin in subject.registry.of_kind("family"):
        if plugin.id != subject.plugin.id:
            try:
                others.append((plugin.id, _family(plugin)))
            except Exception:  # noqa: S112 - another package's failure, of which its own check tells
                continue
    return others


def _see_alone(others: list[tuple[str, Family]], index: Mapping[str, Any], name: str) -> None:
    for other, family in others:
        try:
            claims = family.matches(index)
        except Exception:  # noqa: S112 - as above
            continue
        see(not claims, f"'{other}' claims {name} too, so that neither can be used")


def _inspect(family: Family, folder: Path) -> Any:
    return family.inspect(str(folder), folder, read_index(folder))


def _folder(subject: Subject) -> Path:
    """A model folder of the family.

    Raises:
        NotApplicable: none is named, nor does its package ship one.
    """
    family = _family(subject.plugin)
    for folder in folders_of(subject):
        if _claims(family, read_index(folder)):
            return folder.resolve()
    named = "" if subject.model is None else f"; {subject.model.name} is another family's"
    raise NotApplicable(f"needs --model FOLDER, a folder of its own{named}")


def _ground(subject: Subject, **choices: Any) -> Ground:
    """The folder as it is drawn from by itself."""
    return on_folder(replace(subject, model=_folder(subject)), **choices)
