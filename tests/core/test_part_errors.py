"""What a library raises while it computes a part names the part and the model's folder; what other
code raises, the machine or the person, is left as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from ldm_core import Pipeline
from ldm_core.cli.ends import ended
from ldm_core.errors import LdmError, MachineError
from ldm_core.run.part_errors import computing


@pytest.fixture
def own(tmp_path: Path) -> Pipeline:
    """A pipeline that no other test has."""
    tiny.write_stable_diffusion(tmp_path / "m")
    return Pipeline.from_pretrained(str(tmp_path / "m"), num_inference_steps=1, device="cpu")


def test_a_config_that_no_weight_contradicts_is_a_matter_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    tiny.write_stable_diffusion(folder)
    file = folder / "unet" / "config.json"
    # the network then asks for classes, and reads them without weights
    file.write_text(json.dumps({**json.loads(file.read_text()), "class_embed_type": "identity"}))
    pipe = Pipeline.from_pretrained(str(folder), num_inference_steps=1, device="cpu")
    with pytest.raises(LdmError, match=r"^the unet \(UNet2DConditionModel\) in .*m cannot") as e:
        pipe("a star", seed=1)
    assert isinstance(e.value.__cause__, ValueError)
    assert "class_labels" in str(e.value)
    assert ended(e.value) == 2


NORMS = {
    "vae": "decoder.conv_norm_out",
    "text_encoder": "final_layer_norm",
    "unet": "conv_norm_out",
}


@pytest.mark.parametrize("part", NORMS)
def test_each_part_is_named(own: Pipeline, part: str) -> None:
    module = own.model.parts[part].module
    norm = next(m for name, m in module.named_modules() if name.endswith(NORMS[part]))
    norm.weight = torch.nn.Parameter(torch.ones(1, 3))
    with pytest.raises(LdmError, match=rf"^the {part} \({type(module).__name__}\) in .*m cannot"):
        own("a star", seed=1)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mine"),
        KeyboardInterrupt(),
    ],
    ids=["its own", "the person"],
)
def test_what_a_callers_hook_raises_within_a_part_is_left(
    pipe: Pipeline, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    hook = pipe.model.parts["unet"].module.register_forward_pre_hook(fail)
    try:
        with pytest.raises(type(error)) as raised:
            pipe("a star", seed=1)
    finally:
        hook.remove()
    assert raised.value is error


def test_what_a_scheduler_asks_for_in_vain_is_the_schedulers(pipe: Pipeline) -> None:
    def wrong(x: Tensor, grid: Any, denoise: Any, noise: Any) -> Any:
        return denoise(x[:, :3], grid[0])  # too few channels

    with pytest.raises(
        LdmError, match=r"a scheduler asks .* it asked of a tensor of \(1, 3, 8, 8\)"
    ):
        pipe.replace(scheduler=wrong)("a star", seed=1)


def test_too_little_memory_within_a_part_is_the_machines(own: Pipeline) -> None:
    own.model.parts["unet"].module.conv_norm_out = torch.nn.ConstantPad1d((2**46, 0), 0.0)
    with pytest.raises(MachineError, match=r"for a single image: .* allocate memory"):
        own("a star", seed=1)


def test_an_error_outside_every_part_is_left(pipe: Pipeline) -> None:
    with pytest.raises(ZeroDivisionError), computing(pipe.model):
        _ = 1 / 0
