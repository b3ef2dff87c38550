"""The parts of a model in every family: their roles, where and in which type each computes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from guided import ask
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Call, Model, Part, Row, take
from ldm_core.model import reading
from ldm_core.model.files import read_index
from ldm_core.plugins.registry import installed
from ldm_core.run.weights import Weights
from peers import apart

META = torch.device("meta")
"""A device on which tensors have shapes alone: what reaches another is an error."""


ROLES = {
    "network": (
        *("UNet2DModel", "UNet2DConditionModel", "DiTTransformer2DModel"),
        *("PixArtTransformer2DModel", "SD3Transformer2DModel", "FluxTransformer2DModel"),
    ),
    "autoencoder": ("AutoencoderKL", "VQModel"),
    "text": ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "LDMBertModel"),
}


@pytest.fixture(scope="module", params=tiny.FOLDERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder_of_kind(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.FOLDERS[kind].write(tmp_path_factory.mktemp("kind"))


@pytest.fixture(scope="module")
def pipe_of_kind(folder_of_kind: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder_of_kind)


def with_model(pipe: Pipeline, model: Model) -> Pipeline:
    weights = Weights.of(model)
    return dataclasses.replace(pipe, weights=weights, unconverted=weights)


def moved(model: Model, device: torch.device, *roles: str) -> Model:
    """The model with copies of the parts of these roles on another device."""
    others = {
        name: dataclasses.replace(part, module=copy.deepcopy(part.module).to(device), device=device)
        for name, part in model.parts.items()
        if part.role in roles
    }
    return model.replaced(others)


def start(pipe: Pipeline, kind: str, folder: Path) -> Any:
    inputs = dict(tiny.FOLDERS[kind].inputs_in(folder))
    extent = {name: inputs.pop(name) for name in ("width", "height") if name in inputs}
    return pipe.start(pipe.composition.plan(inputs, [1, 2], extent, 5))


def test_every_part_has_the_role_that_its_class_says(pipe_of_kind: Pipeline) -> None:
    roles = {}
    for name, part in pipe_of_kind.model.parts.items():
        cls = type(part.module).__name__
        roles[name] = part.role
        assert part.role == next((role for role in ROLES if cls in ROLES[role]), "other"), name
        assert (part.role == "other") == (not isinstance(part.module, torch.nn.Module))
    assert list(roles.values()).count("network") == 1


def test_the_files_of_a_folder_are_read_once(
    kind: str, folder_of_kind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more by what looks at the weights, or the tokenizer, that they belong to."""
    name = Pipeline.from_pretrained(folder_of_kind).composition.info.family
    family = installed().find("family", name).loaded()
    index = read_index(folder_of_kind)
    reads: Counter[Path] = Counter()
    read_bytes = reading.read_bytes

    def counting(path: Path, *args: Any, **options: Any) -> bytes:
        reads[path] += 1
        return read_bytes(path, *args, **options)

    monkeypatch.setattr(reading, "read_bytes", counting)
    family.inspect(str(folder_of_kind), folder_of_kind, index)
    assert reads
    assert set(reads.values()) <= {1, 2}, reads


@torch.no_grad()
def test_rows_of_a_call_may_lie_at_different_points(
    kind: str, pipe_of_kind: Pipeline, tmp_path: Path
) -> None:
    sampling = start(pipe_of_kind, kind, tmp_path)
    condition, network = sampling.conditions()["positive"], pipe_of_kind.model.network
    points = sampling.run.grid[1], sampling.run.grid[3]
    rows = tuple(Row(i, "positive", point, 0, 1) for i, point in enumerate(points))
    t = torch.tensor([point.t for point in points])
    together = network(Call(sampling.x, t, condition, rows))
    alone = [ask(network, sampling.x[[i]], points[i], take(condition, [i])) for i in (0, 1)]
    assert apart(together, torch.cat(alone)) < 1e-5
    assert apart(together, ask(network, sampling.x, points[0], condition)) > 1e-5


@torch.no_grad()
def test_conditions_go_where_the_network_is(
    kind: str, pipe_of_kind: Pipeline, tmp_path: Path
) -> None:
    if tiny.FOLDERS[kind].painted:
        pytest.skip("a picture that is encoded from where the network is has no values there")
    pipe = with_model(pipe_of_kind, moved(pipe_of_kind.model, META, "network"))
    assert pipe.model.latents_device == META
    sampling = start(pipe, kind, tmp_path)
    condition = sampling.conditions()["positive"]
    assert {sampling.x.device, *(value.device for value in condition.values())} == {META}
    point = sampling.run.grid[0]
    rows = tuple(Row(image, "positive", point, 0, 1) for image in (0, 1))
    call = Call(sampling.x, torch.full((2,), point.t, device=META), condition, rows)
    found = pipe.model.network(call)
    assert (found.device, found.dtype) == (META, torch.float32)
    expected = pipe.composition.info.latents.shape(sampling.run.request.extent)
    assert found.shape[2:] == expected[1:]


@torch.no_grad()
def test_what_a_part_gets_goes_where_the_part_is(kind: str, pipe_of_kind: Pipeline) -> None:
    """Text to the text encoders, latents to the autoencoder, which are elsewhere than x."""
    there = moved(pipe_of_kind.model, META, "text", "autoencoder")
    seen: dict[str, set[torch.device]] = {}

    def note(name: str) -> Any:
        def hook(module: Any, args: Any) -> None:
            seen.setdefault(name, set()).update(a.device for a in args if torch.is_tensor(a))

        return hook

    for name, part in there.parts.items():
        if part.device == META:
            for layer in part.module.modules():
                layer.register_forward_pre_hook(note(name))
    text, autoencoder = there.abilities.get("text"), there.part("autoencoder")
    # no values come back from there
    with contextlib.suppress(NotImplementedError, RuntimeError):
        if text is not None:
            text.encode(["a red star"])
    with contextlib.suppress(NotImplementedError, RuntimeError):
        if autoencoder is not None:
            shape = there.info.latents.shape(there.info.default_extent)
            with_model(pipe_of_kind, there).decode(torch.zeros(1, *shape))
    assert all(devices == {META} for devices in seen.values())
    assert {there.parts[name].role for name in seen} == {
        *(["text"] if text is not None else []),
        *(["autoencoder"] if autoencoder is not None else []),
    }


def controlled(folder: Path, net: Path, dtype: str, **choices: Any) -> Pipeline:
    conditioning = ["text", {"name": "control", "models": [str(net)]}]
    return Pipeline.from_pretrained(folder, dtype=dtype, conditioning=conditioning, **choices)


def side_part(pipe: Pipeline, net: Path) -> Part:
    part: Part = pipe.model.abilities["control"]._parts.read(net, "ControlNetModel")
    return part


def test_a_side_network_is_kept_as_the_models_own_parts_are(folder: Path, tmp_path: Path) -> None:
    """In half precision, computing in float32: as float32 does on the same weights."""
    import diffusers

    net = tiny.write_controlnet(tmp_path / "net", folder)
    rounded = diffusers.ControlNetModel.from_pretrained(net, torch_dtype=torch.bfloat16)
    rounded.to(torch.float32).save_pretrained(tmp_path / "rounded")
    kept = controlled(folder, net, "bfloat16")
    exact = controlled(folder, tmp_path / "rounded", "float32")
    for part in exact.model.parts.values():
        if isinstance(part.module, torch.nn.Module):
            for weight in part.module.state_dict().values():
                if weight.is_floating_point():
                    weight.copy_(weight.to(torch.bfloat16))
    call: dict[str, Any] = {"seed": 3, "num_inference_steps": 3, "output_type": "latent"}
    call["control_image"] = Image.new("RGB", (16, 16), "red")
    found, expected = (p("a red star", **call).images for p in (kept, exact))
    assert apart(found, expected) < 1e-5
    assert side_part(kept, net).dtype == torch.float32
    low = controlled(folder, net, "bfloat16", compute_dtype="bfloat16")
    assert side_part(low, net).dtype == torch.bfloat16


def test_models_share_a_side_network_whatever_is_made_of_it(folder: Path, tmp_path: Path) -> None:
    net = tiny.write_controlnet(tmp_path / "net", folder)
    kept = [controlled(folder, net, "bfloat16") for _ in range(2)]
    low = controlled(folder, net, "bfloat16", compute_dtype="bfloat16")
    matrices = [side_part(p, net).module.conv_in.weight for p in (*kept, low)]
    storages = [getattr(m, "stored", m) for m in matrices]
    assert {s.dtype for s in storages} == {torch.bfloat16}
    assert len({s.data_ptr() for s in storages}) == 1
    module = weakref.ref(side_part(low, net).module)  # as it was read
    del kept, low, matrices, storages
    gc.collect()
    assert module() is None


def test_a_model_of_pixels_has_no_autoencoder(tmp_path: Path) -> None:
    folder = tiny.write_ddpm(tmp_path)
    with pytest.raises(LdmError, match=r"has no autoencoder.*'pixels'"):
        Pipeline.from_pretrained(folder, decoder="autoencoder_kl")
