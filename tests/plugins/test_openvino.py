"""Networks and decoders as programs of OpenVINO: what is drawn is what torch draws."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import FrozenDict
from torch import nn

import tiny
from ldm_core import LdmError, Pipeline
from ldm_core.composition.compose import compose
from ldm_core.errors import LdmWarning
from ldm_core.plugins.registry import installed
from ldm_plugins.converters.openvino import OpenVino
from ldm_plugins.converters.shared import graph_cache, graphs, programs
from ldm_plugins.converters.shared.programs import Programs
from ldm_plugins.converters.shared.structure import structure
from peers import apart
from tiny.lora import write_lora

pytest.importorskip("openvino")

CALL: dict[str, Any] = {"num_inference_steps": 2}
TEXT = {"prompt": ["a red star", "a blue circle"], "seed": [1, 2], **CALL}
FAR = 1e-4


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of the modules that are converted."""
    classes: list[str] = []
    own = graphs.converted

    def counted(module: Any, arguments: Any) -> Any:
        classes.append(type(module).__name__)
        return own(module, arguments)

    monkeypatch.setattr(graph_cache.graphs, "converted", counted)
    return classes


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


def compiled(cache: Path, **options: Any) -> dict[str, Any]:
    return {"name": "openvino", "cache": str(cache), **options}


def both(pipe: Pipeline, converters: list[Any], **call: Any) -> float:
    """How far latents and pictures with the converters are from those without."""
    other = pipe.replace(converters=converters)
    return max(
        apart(other(**call, output_type=kind).images, pipe(**call, output_type=kind).images)
        for kind in ("latent", "np")
    )


QUICK = ("Stable Diffusion", "LDM", "DiT", "SD 3", "Flux dev")
EVERY = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in tiny.FOLDERS
]


@pytest.mark.parametrize("name", EVERY)
def test_every_family_draws_the_same(name: str, tmp_path: Path, conversions: list[str]) -> None:
    kind = tiny.FOLDERS[name]
    folder = kind.write(tmp_path / "model")
    pipe = Pipeline.from_pretrained(folder, device="cpu")
    call = {**kind.inputs_in(folder), "seed": [1, 2], **CALL}
    plain = pipe(**call, output_type="latent").images
    other = pipe.replace(converters=[compiled(tmp_path / "graphs")])
    assert both(pipe, other.recipe["converters"], **call) < FAR
    first = list(conversions)
    assert 1 <= len(first) <= 2 + (name == "SDXL")
    # one image goes through the graph that was traced with two, of another pipeline too
    one = {k: v[:1] if isinstance(v, list) else v for k, v in call.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", LdmWarning)
        assert both(pipe, other.recipe["converters"], **one) < FAR
    assert conversions == first
    assert other.replace(converters=[])(**call, output_type="latent").images.equal(plain)


def test_two_pipelines_in_two_threads(pipe: Pipeline, cache: Path) -> None:
    pipes = [pipe.replace(converters=[compiled(cache)]) for _ in range(2)]
    pipes[1] = pipes[1].replace(scheduler="euler")
    alone = [p(**TEXT, output_type="latent").images for p in pipes]
    together: dict[tuple[int, int], torch.Tensor] = {}

    def draw(which: int, thread: int) -> None:
        together[which, thread] = pipes[which](**TEXT, output_type="latent").images

    threads = [threading.Thread(target=draw, args=(i % 2, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(together) == 4
    assert all(image.equal(alone[which]) for (which, _), image in together.items())


def test_a_lora_of_another_scale_is_another_graph(
    pipe: Pipeline, folder: Path, tmp_path: Path, cache: Path, conversions: list[str]
) -> None:
    from diffusers import StableDiffusionPipeline

    targets = {"unet": ["to_q", "to_v"]}
    file = write_lora(StableDiffusionPipeline, folder, tmp_path / "ink", targets, seed=1)
    drawn = []
    for scale in (1.0, 0.3, 1.0):
        with_it = pipe.replace(loras=[f"{file}:{scale}"])
        other = with_it.replace(converters=[compiled(cache)])
        latents = other(**TEXT, output_type="latent").images
        assert apart(latents, with_it(**TEXT, output_type="latent").images) < FAR
        drawn.append(latents)
    assert apart(drawn[0], drawn[1]) > 100 * FAR
    assert drawn[0].equal(drawn[2])
    assert conversions.count("UNet2DConditionModel") == 2


def picture() -> torch.Tensor:
    return torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_controlnet_beside_it(folder: Path, tmp_path: Path, cache: Path) -> None:
    control = tiny.write_controlnet(tmp_path / "control", folder)
    pipe = Pipeline.from_pretrained(
        folder, conditioning=["text", {"name": "control", "models": [str(control)]}]
    )
    parts = ["network", "side"]
    assert both(pipe, [compiled(cache, parts=parts)], **TEXT, control_image=picture()) < FAR


def test_an_image_prompt_in_it(
    folder: Path, tmp_path: Path, cache: Path, conversions: list[str]
) -> None:
    eyes = tiny.write_image_encoder(tmp_path / "eyes")
    adapter = tiny.write_ip_adapter(tmp_path / "adapter.safetensors", folder)
    look = {"name": "image_prompt", "path": str(adapter), "image_encoder": str(eyes)}
    pipe = Pipeline.from_pretrained(folder, conditioning=["text", look])
    assert both(pipe, [compiled(cache)], **TEXT, prompt_image=picture()) < FAR
    assert "UNet2DConditionModel" in conversions


def test_a_picture_to_start_from_and_another_size(
    pipe: Pipeline, cache: Path, conversions: list[str]
) -> None:
    begun = pipe.replace(conditioning=["text", "image"])
    assert both(begun, [compiled(cache)], **TEXT, image=picture(), strength=0.6) < FAR
    conversions.clear()
    size = {"width": 24, "height": 32}
    assert both(pipe, [compiled(cache)], **TEXT, **size) < FAR
    assert conversions == ["UNet2DConditionModel", "Decoder"]


def test_a_text_encoder_that_has_been_called_before(cache: Path) -> None:
    """Transformers puts hooks of its own on one at its first call."""
    pipe = Pipeline.from_pretrained("shapes", num_inference_steps=1, device="cpu")
    pipe("a red star", seed=1, output_type="latent")
    converters = [compiled(cache, parts=["text"])]
    assert both(pipe, converters, prompt="a red star", seed=1) < 1e-4


HOME = """
import os, sys
import openvino_telemetry.main as main
sent = []
main.Telemetry.__init__ = lambda *args, **options: sent.append(args)
from ldm_plugins.converters.shared.without_telemetry import import_openvino
core = import_openvino().Core()
import openvino_telemetry
assert core.available_devices and not sent, sent
assert not os.listdir(os.environ["HOME"])
"""


def test_it_does_not_report_itself(tmp_path: Path) -> None:
    """A home that stays empty, and a telemetry that is never made."""
    command = [sys.executable, "-c", HOME]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_tiles_and_slices_are_decoded_by_programs(pipe: Pipeline, cache: Path) -> None:
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for cut in ({"name": "vae_tiling", "size": 16}, {"name": "vae_slicing"}):
        plain = pipe.replace(converters=[cut])
        for converters in ([cut, compiled(cache)], [compiled(cache), cut]):
            other = pipe.replace(converters=converters)
            assert apart(other.decode(latents), plain.decode(latents)) < FAR


def test_networks_that_enlarge_are_compiled_whole(tmp_path: Path, conversions: list[str]) -> None:
    """unCLIP has two in the place of an autoencoder."""
    kind = tiny.MORE_FOLDERS["unCLIP"]
    pipe = Pipeline.from_pretrained(kind.write(tmp_path / "model"), device="cpu")
    chosen = {**compiled(tmp_path / "graphs"), "parts": ["autoencoder"]}
    call = {**kind.inputs_in(tmp_path), "num_inference_steps": 2, "seed": 1}
    assert both(pipe, [chosen], **call) < FAR
    assert conversions == ["UNet2DModel"] * len(conversions) != []


def test_an_autoencoder_without_a_decoder_is_refused(pipe: Pipeline, cache: Path) -> None:
    vae = replace(pipe.model.parts["vae"], module=nn.Linear(2, 2))
    with pytest.raises(LdmError, match="the Linear has no layer named decoder"):
        OpenVino("float32", ("autoencoder",), cache, lossless=True).part(vae)


@pytest.mark.parametrize("name", ["perturbed_attention", "smoothed_energy", "skip_layer"])
def test_an_altered_network_is_left_to_torch_and_that_is_said(
    pipe: Pipeline, cache: Path, name: str
) -> None:
    more = {"start": 0.0, "stop": 1.0} if name == "skip_layer" else {}
    chosen = pipe.replace(guidance={"name": name, **more})
    other = chosen.replace(converters=[compiled(cache)])
    with pytest.warns(LdmWarning, match="leaves the network to torch"):
        found = other(**TEXT, output_type="latent").images
    plain = pipe(**TEXT, output_type="latent").images
    assert apart(found, chosen(**TEXT, output_type="latent").images) < FAR
    assert apart(found, plain) > FAR  # the guidance acts


def test_bfloat16_is_near(pipe: Pipeline, cache: Path) -> None:
    try:
        other = pipe.replace(converters=[compiled(cache, dtype="bfloat16")])
    except LdmError as error:
        pytest.skip(error.message)
    latents = [p(**TEXT, output_type="latent").images for p in (other, pipe)]
    assert FAR < apart(*latents) < 0.1
    assert not other.composition.converters[0].lossless


def damaged(graph: Path, what: str) -> None:
    file = graph / {"bit": "graph.xml", "half": "graph.xml", "list": "about.json"}[what]
    data = bytearray(file.read_bytes())
    if what == "bit":
        data[len(data) // 2] ^= 1
    file.write_bytes({"half": data[: len(data) // 2], "list": b"[]"}.get(what, bytes(data)))


@pytest.mark.parametrize("what", ["bit", "half", "list", "missing"])
def test_a_damaged_graph_is_made_anew(
    pipe: Pipeline, tmp_path: Path, conversions: list[str], what: str
) -> None:
    chosen = [compiled(tmp_path, parts=["autoencoder"])]
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    first = pipe.replace(converters=chosen).decode(latents)
    (graph,) = tmp_path.iterdir()
    if what == "missing":
        (graph / "graph.bin").unlink()
        assert pipe.replace(converters=chosen).decode(latents).equal(first)
    else:
        damaged(graph, what)
        with pytest.warns(LdmWarning, match="cannot be read, and is made anew"):
            assert pipe.replace(converters=chosen).decode(latents).equal(first)
    assert conversions == ["Decoder"] * 2
    assert pipe.replace(converters=chosen).decode(latents).equal(first)
    assert conversions == ["Decoder"] * 2
    assert [path.name for path in tmp_path.iterdir()] == [graph.name]


def test_it_goes_on_where_nothing_can_be_kept(pipe: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    other = pipe.replace(converters=[compiled(tmp_path / "file", parts=["autoencoder"])])
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.warns(LdmWarning, match="is not kept in"):
        assert apart(other.decode(latents), pipe.decode(latents)) < FAR


def test_graphs_are_kept_without_weights(pipe: Pipeline, tmp_path: Path) -> None:
    pipe.replace(converters=[compiled(tmp_path, parts=["network"])])(**TEXT)
    kept = sum(file.stat().st_size for file in tmp_path.rglob("graph.bin"))
    unet = pipe.model.parts["unet"].module
    assert kept < 0.02 * sum(weight.nbytes for weight in unet.parameters())


def test_other_weights_of_one_structure_share_a_graph(
    folder: Path, pipe: Pipeline, cache: Path, conversions: list[str]
) -> None:
    """Whose numbers are attached when it is read."""
    pipe.replace(converters=[compiled(cache)])(**TEXT)
    conversions.clear()
    other = Pipeline.from_pretrained(folder)
    for weight in other.model.parts["unet"].module.parameters():
        weight.mul_(1.1)
    assert both(other, [compiled(cache)], **TEXT) < FAR
    assert conversions == []


def scale_shift() -> Any:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    network = UNet2DModel(
        sample_size=8,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        layers_per_block=1,
        **blocks,
    )
    return network.eval().requires_grad_(False)


SAY = """
from diffusers import UNet2DConditionModel
from ldm_plugins.converters.shared.structure import structure
print(structure(UNet2DConditionModel(block_out_channels=(32, 32), down_block_types=("DownBlock2D",
    "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))))
"""


@pytest.mark.slow
def test_a_structure_is_the_same_in_every_process() -> None:
    """Also where the order of sets is another."""
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", SAY], env=environment, capture_output=True, check=True
        )
        said.append(done.stdout)
    assert said[0] == said[1] != b""


def test_the_order_in_which_a_config_was_filled_says_nothing() -> None:
    network = scale_shift()
    before = structure(network)
    config = dict(network.config)
    config["_use_default_values"] = config["_use_default_values"][::-1]
    network._internal_dict = FrozenDict(config)
    assert structure(network) == before
    config["act_fn"] = "relu"
    network._internal_dict = FrozenDict(config)
    assert structure(network) != before


@pytest.mark.parametrize(("dtype", "far"), [("float32", 1e-5), ("bfloat16", 0.03)])
@torch.no_grad()
def test_a_network_that_is_told_of_time_by_scale_and_shift(
    cache: Path, dtype: str, far: float
) -> None:
    """OpenVINO would end the process, had the graph been left as it is."""
    network = scale_shift()
    programs = Programs(network, dtype, cache)
    for rows in (2, 1):
        x = torch.randn(rows, 3, 8, 8)
        call = (x, torch.full((rows,), 7.0))
        assert apart(programs(*call).sample, network(*call).sample) < far


@torch.no_grad()
def test_a_mean_far_from_zero_costs_a_norm_nothing_in_bfloat16(cache: Path) -> None:
    """No more than what torch's own norm loses where x alone is rounded."""
    torch.manual_seed(0)
    first, norm, last = nn.Conv2d(4, 16, 1), nn.GroupNorm(4, 16), nn.Conv2d(16, 4, 1)
    assert first.bias is not None
    first.bias += 30.0
    program = Programs(nn.Sequential(first, norm, last), "bfloat16", cache)
    for size in (4, 32):
        x = torch.randn(2, 4, size, size)
        exact, rounded = (last(norm(h)) for h in (first(x), first(x).bfloat16().float()))
        assert 0.01 < apart(program(x), exact) < 2 * apart(rounded, exact)


def test_what_a_program_cannot_do_is_refused(cache: Path) -> None:
    network = scale_shift()
    programs = Programs(network, "float32", cache)
    with pytest.raises(LdmError, match="a gradient is asked for"):
        programs(torch.randn(1, 3, 8, 8, requires_grad=True), torch.tensor([7.0]))
    with pytest.raises(LdmError, match="another converter cannot change"):
        copy.deepcopy(programs)


REFUSED = {
    "half precision": ({"dtype": "bfloat16"}, {}, "keeps them in bfloat16"),
    "cuda": ({"device": "cuda"}, {}, "this pipeline is on cuda"),
    "attention": ({"attention": "chunked"}, {}, "'chunked' cannot reach into a network"),
    "memory": ({"memory": "2GB"}, {}, "the plan for the recipe's memory does not know"),
    "no part": ({}, {"parts": []}, "needs at least one part"),
    "unknown part": ({}, {"parts": ["unett"]}, "Did you mean 'unet'"),
    "cache of no name": ({}, {"cache": ""}, "an empty text, which names none"),
    "cache that cannot be": ({}, {"cache": "a" * 300}, "is the name of no file"),
    "cache with NUL": ({}, {"cache": "a\0b"}, "is the name of no file"),
    "unknown dtype": ({}, {"dtype": "float16"}, "not in 'float16'"),
}
BESIDE: dict[str, tuple[Any, str]] = {
    "placement": ({"name": "group_offload", "to": "disk"}, "'group_offload' moves those of"),
    "quantised": ({"name": "quantize"}, "keeps those of the unet in fewer bits"),
    "two devices": ({"name": "cfg_parallel", "devices": ["cpu", "cpu"]}, "among devices"),
    "channels_last": ({"name": "channels_last"}, "arranges weights by itself"),
    "freeu": ({"name": "freeu"}, "cannot convert the Fourier transforms"),
    "twice": ({"name": "openvino", "parts": ["unet"]}, "both would compile network"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(folder: Path, case: str) -> None:
    choices, options, message = REFUSED[case]
    layer = {"model": str(folder), **choices, "converters": [{"name": "openvino", **options}]}
    with pytest.raises(LdmError) as refusal:
        compose(layer, installed())
    assert message in str(refusal.value)


@pytest.mark.parametrize("case", BESIDE)
def test_which_converters_do_not_stand_beside_it(folder: Path, case: str) -> None:
    other, message = BESIDE[case]
    for converters in (["openvino", other], [other, "openvino"]):
        with pytest.raises(LdmError) as refusal:
            compose({"model": str(folder), "converters": converters}, installed())
        assert message in str(refusal.value)


def test_which_converters_do(folder: Path, cache: Path) -> None:
    """Those that act on other parts."""
    others = ["whole", {"name": "quantize", "parts": ["text"]}]
    apart_from_it = compose(
        {"model": str(folder), "converters": [compiled(cache), *others]}, installed()
    )
    assert len(apart_from_it.converters) == 3
    whole = Pipeline.from_pretrained(folder, converters=["whole", compiled(cache)])
    assert len(whole(**TEXT).images) == 2


def test_layers_that_do_something_else_are_not_compiled(folder: Path, cache: Path) -> None:
    pipe = Pipeline.from_pretrained(folder)
    middle = pipe.model.parts["unet"].module.mid_block
    middle.register_forward_hook(lambda module, args, output: output)
    with pytest.raises(LdmError, match="changes what layers"):
        pipe.replace(converters=[compiled(cache)])


def test_a_program_that_gives_another_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO (2026.4) converts CogVideoX's network into another, apart by 0.6, and says
    nothing. One that has given torch's answer is not compared again at the next start."""
    pipe = Pipeline.from_pretrained(tiny.write_ddpm(tmp_path / "model"))
    own, check = programs.Program.__call__, Programs._check
    chosen, compared = [compiled(tmp_path / "graphs")], []

    def wrong(self: Any, tensors: Any) -> Any:
        (answer,) = own(self, tensors)
        return (answer * 1.1,)

    def counted(self: Any, *call: Any) -> None:
        compared.append(self)
        check(self, *call)

    monkeypatch.setattr(Programs, "_check", counted)
    with monkeypatch.context() as during:
        during.setattr(programs.Program, "__call__", wrong)
        for _ in range(2):
            with pytest.raises(LdmError, match=r"another answer than torch: .* apart by 0\.1,"):
                pipe.replace(converters=chosen)(seed=1, **CALL)
    for _ in range(2):
        assert pipe.replace(converters=chosen)(seed=1, **CALL).images
    assert len(compared) == 3
    assert pipe.replace(converters=chosen)(seed=[1, 2], **CALL).images  # of other shapes
    assert len(compared) == 4
