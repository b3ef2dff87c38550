"""Where weights lie: every placement draws what a model whose weights never move draws, on copies
that go with their pipeline."""

from __future__ import annotations

import gc
import tempfile
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import UserCpuOffloadHook
from torch import nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.contracts import Converter, Part, PartInfo, Phase, Step
from ldm_core.errors import LdmWarning
from ldm_core.model.modules import movable_copy
from ldm_core.model.place import resolve
from ldm_core.model.stored_weight import StoredWeight, stored
from ldm_plugins.converters.shared.offload_folder import warn_of_memory
from ldm_plugins.converters.shared.placement import pieces
from peers import apart
from tiny.covering import by_turns, each_on_each, quick_among, some_of

KINDS = {**tiny.FOLDERS, **tiny.MORE_FOLDERS}
DISK = {"name": "group_offload", "to": "disk"}
PLACEMENTS: dict[str, Any] = {
    "model_offload": "model_offload",
    "sequential_offload": "sequential_offload",
    "group_offload to memory": "group_offload",
    "group_offload to disk": DISK,
    "device_map": {"name": "device_map", "devices": ["cpu:0", "cpu:1"]},
    "whole": "whole",
}
LATENTS: dict[str, Any] = {"seed": [1, 2], "output_type": "latent", "num_inference_steps": 2}
CALL: dict[str, Any] = {**LATENTS, "prompt": ["a red star", "a blue circle"]}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*saves no memory here:ldm_core.errors.LdmWarning"),
    pytest.mark.usefixtures("small_references"),
]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders for weights are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=PLACEMENTS)
def placement(request: pytest.FixtureRequest) -> Any:
    return PLACEMENTS[request.param]


def modules(pipe: Pipeline) -> list[nn.Module]:
    """All modules of a pipeline's parts."""
    parts = (part.module for part in pipe.model.parts.values())
    return [inner for p in parts if isinstance(p, nn.Module) for inner in p.modules()]


def hooks(inside: list[nn.Module]) -> int:
    """How many of the modules are called by something around them: hooks of Accelerate, of
    Diffusers and of torch, and methods that were exchanged."""
    own = ("forward", "encode", "decode", "_hf_hook", "_old_forward", "_diffusers_hook", "to")
    torchs = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return sum(
        any(name in vars(module) for name in own) or any(vars(module)[name] for name in torchs)
        for module in inside
    )


TABLES = {"QwenEmbedRope"}
"""Modules of angles and no weights, which Diffusers keeps in a cache of its own once they were
called."""


def memory(pipe: Pipeline) -> dict[int, int]:
    """Where each parameter and buffer of a pipeline's parts lies, by its identity."""
    tensors = chain(*(chain(m.parameters(False), m.buffers(False)) for m in modules(pipe)))
    return {id(tensor): tensor.data_ptr() for tensor in tensors}


def folders(inside: Path) -> list[Path]:
    """Those for weights that wait."""
    return list(inside.glob(".ldm-*"))


class Read(nn.Module):
    """Weights that are read, and not by a call of what holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def test_what_is_read_without_a_call_stays_on_the_device() -> None:
    layer, inner, read = nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2)]), Read()
    module = nn.ModuleDict({"layer": layer, "read": read, "inner": inner})
    device = torch.device("cpu")
    assert [*pieces(module, device, whole=())] == [layer, inner]
    assert [*pieces(module, device, whole=("ModuleList",))] == [layer]
    assert [*pieces(layer, device, whole=())] == [layer]


@pytest.mark.parametrize(
    ("name", "kind"),
    [*each_on_each(PLACEMENTS, step=3), *by_turns(PLACEMENTS, tiny.MORE_FOLDERS, 11)],
)
def test_every_family_draws_the_same(pipes: Any, kind: str, name: str, tmp_path: Path) -> None:
    placement = PLACEMENTS[name]
    pipe = pipes(kind)
    call = {**LATENTS, **KINDS[kind].inputs_in(tmp_path)}
    before, where, hooked = pipe(**call), memory(pipe), hooks(modules(pipe))
    placed = pipe.replace(converters=[placement])
    after = placed(**call)
    assert apart(after.images, before.images) < 1e-5
    shown, expected = placed.decode(after), pipe.decode(before)
    assert float((shown - expected).abs().max()) < 1e-5
    if pipe.composition.encoder.kind == "image":
        expected = expected.clamp(-1, 1) / 2 + 0.5
    if kind != "AudioLDM 2":  # whose folder does not say how sounds are read
        assert apart(placed.encode(expected), pipe.encode(expected)) < 1e-5
    assert (hooks(modules(placed)) > hooked) == (placement != "whole")
    shared = set(modules(pipe))
    copies = [weakref.ref(module) for module in modules(placed) if module not in shared]
    assert bool(copies) == (placement != "whole")
    del placed
    gc.collect()
    left = [module for copy in copies if (module := copy()) is not None]
    assert {type(module).__name__ for module in left} <= TABLES
    assert not [weight for module in left for weight in module.parameters()]
    del left
    assert hooks(modules(pipe)) == hooked
    assert memory(pipe) == where


def in_two_threads(two: list[Pipeline], call: dict[str, Any]) -> list[torch.Tensor]:
    """The latents of two pipelines that step side by side."""
    turn = threading.Barrier(2, timeout=300)

    def take_turns(step: Step) -> None:
        turn.wait()

    def draw(one: Pipeline) -> torch.Tensor:
        images: torch.Tensor = one(**call, on_step=take_turns).images
        return images

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(draw, two))


PAIRS = (
    ("model_offload", "sequential_offload"),
    ("group_offload to disk", "whole"),
    ("group_offload to memory", "device_map"),
)
"""Every placement once."""


@pytest.mark.parametrize(
    "kind", [*quick_among(tiny.FOLDERS, ()), *some_of(tiny.MORE_FOLDERS, 0, 12)]
)
def test_two_placements_of_every_family_in_two_threads(
    pipes: Any, kind: str, tmp_path: Path
) -> None:
    pipe = pipes(kind)
    call = {**LATENTS, **KINDS[kind].inputs_in(tmp_path)}
    for pair in PAIRS:
        two = [pipe.replace(converters=[PLACEMENTS[name]]) for name in pair]
        expected = [one(**call).images for one in two]
        assert all(map(torch.equal, in_two_threads(two, call), expected))


@pytest.mark.parametrize("kind", ["Stable Diffusion", "LDM", "Flux dev"])
def test_pictures_are_encoded(pipes: Any, kind: str, placement: Any) -> None:
    pipe = pipes(kind)
    sides = [axis.stride * 4 for axis in pipe.composition.info.latents.axes]
    picture = torch.rand(1, 3, *sides)
    placed = pipe.replace(converters=[placement])
    assert placed.encode(picture, seed=3).equal(pipe.encode(picture, seed=3))


@pytest.mark.parametrize("pair", [*combinations(PLACEMENTS, 2)], ids=" and ".join)
def test_two_pipelines_on_one_set_of_weights_in_two_threads(
    pipes: Any, pair: tuple[str, str]
) -> None:
    pipe = pipes("Stable Diffusion")
    two = [pipe.replace(converters=[PLACEMENTS[name]]) for name in pair]
    expected = [one(**CALL).images for one in two]
    assert all(map(torch.equal, in_two_threads(two, CALL), expected))


def test_one_pipeline_in_several_threads(pipes: Any, placement: Any) -> None:
    """Hooks exchange the weights of the modules that all threads call."""
    placed = pipes("Stable Diffusion").replace(converters=[placement])
    calls = [{**CALL, "seed": [seed, seed + 10]} for seed in range(4)]
    expected = [placed(**call).images for call in calls]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda call: placed(**call).images, calls))
    assert all(map(torch.equal, together, expected))


def test_nothing_is_left_when_the_pipeline_goes(
    pipes: Any, placement: Any, temporary: Path
) -> None:
    pipe = pipes("Stable Diffusion")
    pipe(**CALL)  # Transformers' encoders put hooks of their own on themselves then
    where, hooked = memory(pipe), hooks(modules(pipe))
    placed = pipe.replace(converters=[placement])
    placed(**CALL)
    assert len(folders(temporary)) == (placement is DISK)
    shared = set(modules(pipe))
    copies = [weakref.ref(module) for module in modules(placed) if module not in shared]
    assert bool(copies) == (placement != "whole")
    del placed
    gc.collect()
    assert [copy for copy in copies if copy() is not None] == []
    assert folders(temporary) == []
    assert hooks(modules(pipe)) == hooked
    assert memory(pipe) == where


def test_weights_are_put_beside_lora_control_pictures_and_altered_networks(
    folder: Path, placement: Any, tmp_path: Path
) -> None:
    """All that makes another network of a network, or brings one that is read later."""
    from PIL import Image

    control = tiny.write_controlnet(tmp_path / "control", folder)
    encoder = tiny.write_image_encoder(tmp_path / "encoder")
    adapter = tiny.write_ip_adapter(tmp_path / "ip.safetensors", folder)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    pipe = Pipeline.from_pretrained(
        folder,
        num_inference_steps=2,
        guidance={"name": "perturbed_attention", "scale": 2.0},
        conditioning=[
            "text",
            {"name": "control", "models": [str(control)]},
            {"name": "image_prompt", "path": str(adapter), "image_encoder": str(encoder)},
        ],
    )
    call = {**CALL, "control_image": str(picture), "prompt_image": str(picture)}
    expected = pipe(**call).images
    placed = pipe.replace(converters=[placement])
    for _ in range(2):
        assert apart(placed(**call).images, expected) < 1e-5
    assert pipe(**call).images.equal(expected)


def test_another_network_that_guides_is_placed_too(
    pipes: Any, placement: Any, folder: Path, temporary: Path
) -> None:
    weak = {"name": "autoguidance", "model": str(folder), "scale": 2.0}
    pipe = pipes("SD v-prediction").replace(guidance=weak)
    expected = pipe(**CALL).images
    placed = pipe.replace(converters=[placement])
    images = placed(**CALL).images
    assert apart(images, expected) < 1e-5
    del placed
    gc.collect()
    gc.collect()  # the other network goes when the first one has
    assert folders(temporary) == []


@pytest.fixture(scope="module")
def half(folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(folder, dtype="bfloat16", compute_dtype="float32", device="cpu")


@pytest.mark.parametrize("name", [name for name in PLACEMENTS if name != "group_offload to disk"])
def test_weights_that_are_kept_narrow_stay_so(half: Pipeline, name: str) -> None:
    pipe = half
    placed = pipe.replace(converters=[PLACEMENTS[name]])
    assert placed(**CALL).images.equal(pipe(**CALL).images)
    weights = [w for m in modules(placed) for w in m.parameters(False) if w.ndim > 1]
    assert {type(weight) for weight in weights} == {StoredWeight}


def test_narrow_weights_are_not_written_to_files(folder: Path) -> None:
    reads: list[Any] = []
    choices: dict[str, Any] = {"dtype": "bfloat16", "device": "cpu"}
    with pytest.raises(LdmError, match="kept in bfloat16 and computed with in float32"):
        Pipeline.from_pretrained(folder, **choices, converters=[DISK, Reads(reads)])
    assert reads == []
    choices |= {"converters": [DISK], "compute_dtype": "bfloat16"}
    narrow = Pipeline.from_pretrained(folder, **choices)
    plain = narrow.replace(converters=[])
    assert narrow(**CALL).images.equal(plain(**CALL).images)


class Narrow(Converter):
    """Keeps the network's weights as tensors of a kind of their own, as quantised ones are."""

    phase = Phase.LAYOUT
    lossless = True

    def part(self, part: Part) -> Part:
        if part.role != "network":
            return part
        narrow: Any = movable_copy(part.module).bfloat16()
        return replace(part, module=stored(narrow, torch.float32))


def test_weights_of_a_kind_of_their_own_are_moved_but_not_written(
    pipes: Any, placement: Any
) -> None:
    pipe = pipes("Stable Diffusion")
    if placement is DISK:
        with pytest.raises(LdmError, match="weights of the kind StoredWeight cannot wait in files"):
            pipe.replace(converters=[Narrow(), placement])
        return
    expected = pipe.replace(converters=[Narrow()])(**CALL).images
    assert pipe.replace(converters=[Narrow(), placement])(**CALL).images.equal(expected)


def test_quantised_weights_are_moved_too(pipes: Any, placement: Any) -> None:
    quantization = pytest.importorskip("torchao.quantization")

    class Quantised(Converter):
        phase = Phase.LAYOUT
        lossless = False

        def part(self, part: Part) -> Part:
            if part.role != "network":
                return part
            module = movable_copy(part.module)
            quantization.quantize_(module, quantization.Int8WeightOnlyConfig())
            return replace(part, module=module)

    if placement is DISK:
        pytest.skip("they cannot wait in files")
    pipe = pipes("Stable Diffusion")
    expected = pipe.replace(converters=[Quantised()])(**CALL).images
    assert not expected.equal(pipe(**CALL).images)
    placed = pipe.replace(converters=[Quantised(), placement])
    for _ in range(2):
        assert placed(**CALL).images.equal(expected)


class Reads(Converter):
    """Hears of each part that is read.

    Attributes:
        names: takes their names.
    """

    phase = Phase.CACHE
    lossless = True

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def loading(self, part: PartInfo) -> dict[str, Any]:
        self.names.append(part.name)
        return {}


class Packed(Reads):
    plain = False


WRONG: dict[str, tuple[list[Any], str]] = {
    "a misspelt part": ([{"name": "model_offload", "parts": ["unett"]}], "mean 'unet'"),
    "a part without weights": ([{"name": "whole", "parts": ["tokenizer"]}], "no such part"),
    "no part": ([{"name": "whole", "parts": []}], "at least one"),
    "two of all": (["model_offload", "group_offload"], "both act on unet, vae, text_encoder"),
    "a name and its role": (
        [
            {"name": "model_offload", "parts": ["unet"]},
            {"name": "whole", "parts": ["network", "vae"]},
        ],
        "both act on unet",
    ),
    "one twice": ([DISK, DISK], "'group_offload' and 'group_offload'"),
    "a folder, and no files": ([{"name": "group_offload", "folder": "."}], "keeps weights in mem"),
    "a folder that is not there": ([{**DISK, "folder": "no/such"}], "no folder 'no/such'"),
    "packed weights in files": ([DISK, Packed([])], "Packed keeps weights in a form"),
    "one device": ([{"name": "device_map", "devices": ["cuda:0"]}], "two or more different"),
    "one device twice": (
        [{"name": "device_map", "devices": ["cuda"] * 2}],
        "two or more different",
    ),
    "the processor alone": (["device_map"], "and the device is cpu"),
    "no such device": (
        [{"name": "device_map", "devices": ["gpu", "cpu"]}],
        "no device named 'gpu'",
    ),
    "a device that is absent": (
        [{"name": "device_map", "devices": ["cpu", "xpu:7"]}],
        "'xpu:7' is not available",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_before_weights_are_read(folder: Path, case: str) -> None:
    converters, message = WRONG[case]
    reads: list[str] = []
    with pytest.raises(LdmError, match=message):
        Pipeline.from_pretrained(folder, device="cpu", converters=[*converters, Reads(reads)])
    assert reads == []


def test_parts_may_lie_in_different_places(folder: Path, temporary: Path) -> None:
    converters = [
        {**DISK, "parts": ["network"]},
        {"name": "model_offload", "parts": ["text_encoder", "autoencoder"]},
        {"name": "whole", "parts": ["side"]},
    ]
    pipe = Pipeline.from_pretrained(folder, converters=converters)
    assert pipe(**CALL).images.equal(pipe.replace(converters=[])(**CALL).images)
    unet = pipe.model.parts["unet"].module
    assert all(weight.isnan().all() for weight in unet.parameters())
    assert not any(w.isnan().any() for w in pipe.model.parts["vae"].module.parameters())
    (made,) = folders(temporary)
    written = sum(file.stat().st_size for file in made.rglob("*.safetensors"))
    weights = sum(weight.nbytes for weight in chain(unet.parameters(), unet.buffers()))
    assert weights <= written < weights + 1024 * len(list(unet.modules()))


def test_parts_of_one_role_may_lie_in_different_places(pipes: Any) -> None:
    pipe = pipes("SDXL")
    converters = [
        {**DISK, "parts": ["text_encoder"]},
        {"name": "sequential_offload", "parts": ["text_encoder_2", "vae"]},
    ]
    placed = pipe.replace(converters=converters)
    assert placed(**CALL).images.equal(pipe(**CALL).images)
    parts = placed.model.parts
    assert [name for name, part in parts.items() if part.beneath is None] == [
        name for name in parts if name not in ("text_encoder", "text_encoder_2", "vae")
    ]


def test_text_encoders_that_alone_take_turns_leave_before_the_network(
    pipes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, the last one too, which no other of them sends away."""
    pipe = pipes("SDXL").replace(converters=[{"name": "model_offload", "parts": ["text"]}])
    names = {id(part.module): name for name, part in pipe.model.parts.items()}
    events: list[str] = []
    away = UserCpuOffloadHook.offload

    def noted(hook: Any) -> None:
        events.append(names[id(hook.model)])
        away(hook)

    monkeypatch.setattr(UserCpuOffloadHook, "offload", noted)
    unet = pipe.model.parts["unet"].module
    handle = unet.register_forward_pre_hook(lambda *_: events.append("unet"))
    pipe(**CALL)
    handle.remove()
    before = events[: events.index("unet")]
    assert {*before} == {"text_encoder", "text_encoder_2"}
    assert before[-1] == "text_encoder_2"


def test_a_second_placement_is_refused_where_the_family_names_no_parts(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion")
    info = replace(pipe.composition.info, parts=())
    silent = replace(pipe, composition=replace(pipe.composition, info=info))
    converters = [
        {"name": "model_offload", "parts": ["unet"]},
        {"name": "sequential_offload", "parts": ["network"]},
    ]
    with pytest.raises(LdmError, match="'sequential_offload' and 'another' would both act on unet"):
        silent.replace(converters=converters)
    with pytest.raises(LdmError, match="no such part"):
        silent.replace(converters=[{"name": "whole", "parts": ["unett"]}])


def test_files_are_where_they_are_asked_for(folder: Path, tmp_path: Path) -> None:
    named = tmp_path / "fast"
    named.mkdir()
    pipe = Pipeline.from_pretrained(folder, converters=[{**DISK, "folder": str(named)}])
    assert len(list(named.iterdir())) == 1
    before = pipe(**CALL).images
    # a network with other layers, of the same tensors, waits in the same files
    files = set(named.rglob("*"))
    pipe.replace(guidance="perturbed_attention")(**CALL)
    assert set(named.rglob("*")) == files
    images = pipe(**CALL).images
    assert images.equal(before)
    del pipe
    gc.collect()
    assert list(named.iterdir()) == []


def test_a_weight_that_waits_in_a_file_is_no_number(pipes: Any) -> None:
    """What reads it without calling its layer gets no picture that looks right."""
    pipe = pipes("Stable Diffusion").replace(converters=[DISK])
    unet = pipe.model.parts["unet"].module
    assert unet.conv_in.weight.isnan().all()
    assert unet.conv_in.weight.untyped_storage().nbytes() == 4
    assert unet.conv_in(torch.zeros(1, 4, 8, 8)).isfinite().all()


def test_weights_that_wait_are_not_blamed_for_a_picture(pipes: Any) -> None:
    pipe = pipes("Stable Diffusion").replace(converters=[DISK])
    with pytest.raises(LdmError, match="not finite") as caught:
        pipe(**CALL, guidance_scale=1e38)
    said = f"{caught.value.message} {caught.value.hint}"
    assert "a guidance scale of 1e+38" in said
    assert "the weights hold" not in said


def test_too_little_room_on_the_disk_is_said(
    pipes: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    with pytest.raises(LdmError, match=r"GiB are to wait in files in .*, where 0\.00 GiB are free"):
        pipes("Stable Diffusion").replace(converters=[DISK])
    gc.collect()
    assert folders(temporary) == []


@pytest.mark.parametrize(("kind", "said"), [("tmpfs", True), ("ext4", False)])
def test_files_that_lie_in_memory_are_said(tmp_path: Path, kind: str, said: bool) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / ext4 rw 0 0\nother {tmp_path.resolve()} {kind} rw 0 0\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_memory(tmp_path, mounts)
    assert [warning.category for warning in caught] == [LdmWarning] * said


def test_offloaded_weights_are_not_moved_to_the_device_as_a_whole(folder: Path) -> None:
    composition = Pipeline.from_pretrained(folder, converters=["model_offload"]).composition
    place = replace(
        resolve({"device": "cpu"}),
        device=torch.device("meta"),
        reads_to=lambda part: torch.device("cpu") if part.role != "text" else None,
    )
    model = composition.family.load(composition.info, place)
    devices = {
        name: part.module.device.type
        for name, part in model.parts.items()
        if isinstance(part.module, nn.Module)
    }
    assert devices == {"unet": "cpu", "vae": "cpu", "text_encoder": "meta"}
    assert {part.device.type for part in model.parts.values()} == {"meta"}


@pytest.mark.parametrize("name", ["model_offload", "sequential_offload", "group_offload", "whole"])
def test_weights_are_read_to_where_they_wait(folder: Path, name: str) -> None:
    pipe = Pipeline.from_pretrained(folder, converters=[{"name": name, "parts": ["unet"]}])
    place = pipe.unconverted.model.place
    roles = [part.role for part in pipe.composition.info.parts if place.reads_to(part) is not None]
    assert roles == ([] if name == "whole" else ["network"])


def test_a_copy_moves_alone() -> None:
    layer = nn.Linear(3, 3)
    tied = nn.Sequential(layer, nn.BatchNorm1d(3), layer)
    tied[2].weight = layer.weight
    copy: Any = movable_copy(tied)
    assert copy[0].weight is copy[2].weight
    assert copy[0].weight is not layer.weight
    assert copy[0].weight.data_ptr() == layer.weight.data_ptr()
    copy.double()
    assert {tensor.dtype for tensor in tied.parameters()} == {torch.float32}
    assert tied[1].running_mean.dtype == torch.float32
    narrow = stored(nn.Linear(3, 3).requires_grad_(False).bfloat16(), torch.float32)
    assert type(movable_copy(narrow).weight) is StoredWeight


def test_weights_that_know_more_than_their_numbers_are_not_copied() -> None:
    class Odd(nn.Parameter):
        pass

    module = nn.Linear(2, 2)
    module.weight = Odd(module.weight.detach())
    with pytest.raises(LdmError, match="weights of the kind Odd cannot be moved"):
        movable_copy(module)


def test_a_part_that_is_altered_is_placed_again() -> None:
    linear = nn.Linear(2, 2)
    part = Part(linear, "network", torch.device("cpu"), torch.float32)
    assert part.altered(lambda module: nn.Sequential(module)).module[0] is linear
    placed = replace(part, module=nn.Identity(), beneath=part, place=lambda p: replace(p, role="x"))
    other = placed.altered(lambda module: nn.Sequential(module))
    assert (other.module[0], other.role) == (linear, "x")
