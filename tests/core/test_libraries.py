"""What Diffusers and Transformers log while they work for a pipeline is said as ours, or dropped
for a reason."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import transformers

from forked import Server, output_of
from ldm_core import Pipeline
from ldm_core.errors import LdmWarning
from ldm_core.model.libraries import DROPPED, heard, loading, reason_to_drop
from ldm_core.run.call import CallArguments
from tiny.folders import FOLDERS

MAIN = "from ldm_core.cli import main; main()"
OURS = {
    "the size of the picture was ignored",
    "The config attributes {'colour': 3} were passed to UNet2DConditionModel, but are not expected "
    "and will be ignored. Please verify your config.json configuration file.",
    "The following generation flags are not valid and may be ignored: ['temperature'].",
}
SAMPLES = {
    "CLIPTextModel LOAD REPORT from: /somewhere": "by name",
    "Token indices sequence length is longer than the specified maximum sequence length": "cut off",
    "No LoRA keys associated to CLIPTextModel found with the prefix='text_encoder'.": "counted",
    "Already found a `peft_config` attribute in the model.": "side by side",
    "`torch_dtype` is deprecated! Use `dtype` instead!": "the calls that we make",
    "Cannot initialize model with `low_cpu_mem_usage` for now": "memory",
    "There are modules in UNet2DConditionModel that should be kept in float32: [].": "empty",
    "You are trying to set torch_dtype to torch.float32 for integer quantization, but only "
    "bfloat16 is supported right now.": "tried before",
    "The config attributes {'block_out_channels': [64, 64]} were passed to AutoencoderTiny, but "
    "are not expected and will be ignored.": "itself",
    "Unable to import `torchao` Tensor objects.": "which are not read",
    "Device 1 is not available, available devices are [0]": "not chosen",
    "It seems like some layers were not executed during the forward pass. This may": "later",
    "Using a slow image processor as `use_fast` is unset": "resize alike",
}


@pytest.fixture(autouse=True)
def as_they_are_by_themselves() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("diffusers", "transformers")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
@pytest.mark.parametrize("text", sorted(OURS))
def test_what_matters_is_said_with_the_part(library: str, text: str, capfd: Any) -> None:
    logger = logging.getLogger(f"{library}.somewhere")
    for level in (logging.WARNING, logging.ERROR):
        logging.getLogger(library).setLevel(level)  # as a person may have set it
        with pytest.warns(LdmWarning) as caught, loading("the unet"):
            logger.warning(text)
        assert [str(w.message) for w in caught] == [f"the unet: {text}"]
    assert logging.getLogger(library).level == logging.ERROR
    logging.getLogger(library).setLevel(logging.WARNING)
    with pytest.warns(LdmWarning, match=f"^{library} says: "), heard():
        logger.warning(text)
    assert capfd.readouterr().err == ""


def test_each_pattern_that_is_dropped_has_a_sample_and_a_reason(capfd: Any) -> None:
    reasons = [reason_to_drop(text) for text in SAMPLES]
    assert sorted(map(str, reasons)) == sorted(DROPPED.values())
    for (text, word), reason in zip(SAMPLES.items(), reasons, strict=True):
        assert word in str(reason)
        with warnings.catch_warnings(record=True) as caught, loading("a part"):
            logging.getLogger("transformers").warning(text)
        assert not caught
    assert not any(map(reason_to_drop, OURS))
    assert capfd.readouterr().err == ""


def test_outside_a_pipeline_and_in_other_threads_they_speak_for_themselves(capfd: Any) -> None:
    logging.getLogger("diffusers").setLevel(logging.WARNING)
    logger = logging.getLogger("diffusers.models")
    said: list[Any] = []
    with warnings.catch_warnings(record=True) as caught, heard():
        thread = threading.Thread(target=lambda: said.append(logger.warning("of another thread")))
        thread.start()
        thread.join()
    logger.warning("after")
    assert not caught
    assert said == [None]


def test_warnings_of_python_reach_the_person_too() -> None:
    place = {"registry": {}, "lineno": 1}
    theirs = str(Path(diffusers.__file__).parent / "models" / "unet.py")
    peft = str(Path(transformers.__file__).parent.parent / "peft" / "tuners.py")
    several = ((theirs, UserWarning), (peft, UserWarning), (theirs, FutureWarning))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with loading("the unet"):
            for file, kind in several:
                warnings.warn_explicit("the layers were ignored", kind, filename=file, **place)
    ours = [str(w.message) for w in caught if issubclass(w.category, LdmWarning)]
    assert ours == ["the unet: the layers were ignored"] * 2
    assert len(caught) == 2


def _with_strange_config(folder: Path) -> Path:
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": 3}))
    return folder


def test_a_config_attribute_that_is_ignored_is_said(copied: Path) -> None:
    """Diffusers logs it, and goes on."""
    with pytest.warns(LdmWarning, match=r"the unet \(UNet2DConditionModel\) in .*'colour'"):
        Pipeline.from_pretrained(_with_strange_config(copied))


def test_the_command_line_says_it(server: Server, copied: Path, tmp_path: Path) -> None:
    words = ["generate", "a", "--model", str(_with_strange_config(copied)), "--steps", "1"]
    (tmp_path / "run").mkdir()
    pid = server.start([*words, "--json"], tmp_path / "run")
    code = server.wait(pid)
    out, err = output_of(tmp_path / "run", pid)
    assert code == 0, err
    assert "'colour'" in json.loads(out)["warnings"][0]
    [line] = [line for line in err.splitlines() if line]
    assert line.startswith("warning: the unet (UNet2DConditionModel)")


@pytest.mark.parametrize("kind", FOLDERS)
def test_an_ordinary_run_of_every_family_says_nothing(
    kind: str, tmp_path: Path, capfd: Any
) -> None:
    folder = FOLDERS[kind].write(tmp_path / "model")
    inputs = FOLDERS[kind].inputs_in(tmp_path)
    logging.getLogger("transformers").setLevel(logging.WARNING)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LdmWarning)
        pipe = Pipeline.from_pretrained(folder, num_inference_steps=2)
        call = CallArguments.of(pipe.axes, seed=[1, 2], **inputs)
        outputs = list(pipe.batches_of(call))
    assert sum(len(output.images) for output in outputs) == 2
    assert "WARNING" not in capfd.readouterr().err


def test_their_bars_rest_while_a_part_is_read_and_are_as_they_were_after(folder: Path) -> None:
    """Transformers tells a hook of each bar, and with what it would be drawn."""
    from transformers.utils import logging as bars

    made: list[type] = []

    def hook(factory: Any, args: Any, kwargs: Any) -> Any:
        made.append(factory)
        return factory(*args, **kwargs)

    before = bars.set_tqdm_hook(hook)
    was = bars.is_progress_bar_enabled(), diffusers.utils.logging.is_progress_bar_enabled()
    bars.enable_progress_bar()
    try:
        Pipeline.from_pretrained(folder)
        assert made
        assert {*made} == {bars.EmptyTqdm}
        assert bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        with loading("x"):
            pass
        assert not bars.is_progress_bar_enabled()
    finally:
        bars.set_tqdm_hook(before)
        (bars.enable_progress_bar if was[0] else bars.disable_progress_bar)()
    assert diffusers.utils.logging.is_progress_bar_enabled() == was[1]
