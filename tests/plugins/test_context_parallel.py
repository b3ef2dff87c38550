"""A picture's tokens in two processes: the latents are those of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tiny
from ldm_core import LdmError, Pipeline

PROGRAM = """
import sys
import torch
from ldm_core import LdmError, Pipeline

torch.accelerator.device_count = lambda: 1  # Diffusers asks for one; processors serve as well
call = dict(prompt="a red star", seed=3, num_inference_steps=3, output_type="latent")
alone = Pipeline.from_pretrained(sys.argv[1], device="cpu")
both = alone.replace(converters=["context_parallel"])
size = dict(width=64, height=64)
a, b, again = (pipe(**call, **size).images for pipe in (alone, both, alone))
try:
    both(**call, width=12, height=4)
    refused = ""
except LdmError as error:
    refused = str(error)
rank = torch.distributed.get_rank()
with open(f"{sys.argv[2]}/{rank}", "w") as file:
    print((a - b).abs().max().item(), a.equal(again), refused, file=file)
"""


def test_two_processes_draw_the_same_as_one(tmp_path: Path) -> None:
    folder = tiny.write_flux(tmp_path / "flux")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(program), str(folder), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for rank in ("0", "1"):
        apart, left_alone, refused = (tmp_path / rank).read_text().split(" ", 2)
        assert float(apart) < 1e-5
        assert left_alone == "True"
        assert "the 1 x 3 tokens of this size cannot be shared equally" in refused


def test_one_process_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(LdmError, match="two processes or more"):
        Pipeline.from_pretrained(folder, converters=["context_parallel"])


@pytest.mark.parametrize("processes", ["2", "3"])
def test_what_cannot_be_shared_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    flux = tiny.write_flux(tmp_path / "flux")
    choices = {"device": "cpu", "converters": ["context_parallel"]}
    reason = "needs a GPU" if processes == "2" else "has 2 heads of attention"
    with pytest.raises(LdmError, match=reason):
        Pipeline.from_pretrained(flux, **choices)
    with pytest.raises(LdmError, match="no plan of context parallelism"):
        Pipeline.from_pretrained(folder, **choices)
