"""Arguments of other programs: whoever is given one says what it is here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ldm_core import LdmError
from ldm_core.composition.recipe import as_layer
from ldm_pipelines.features import features
from ldm_pipelines.image_to_image import image_to_image


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("sampler_name", "It is an argument of A1111 and ComfyUI. Here, it is scheduler."),
        ("cfg_scale", "A recipe has it as guidance = { scale = 4.0 }."),
        ("torch_dtype", "Here, it is dtype."),
        ("seed", "a call says it."),
        ("schedular", "Did you mean 'scheduler'?"),
    ],
)
def test_a_recipe_is_told_what_its_key_is_here(ldm: Any, key: str, words: str) -> None:
    with pytest.raises(LdmError, match=re.escape(words)):
        as_layer({key: "x"})
    Path("r.toml").write_text(f'{key} = "x"\n')
    code, out, err = ldm("generate", "a", "--recipe", "r.toml")
    assert (code, out, words in err) == (2, "", True)


def test_every_function_is_told_what_an_argument_is_here(pipe: Any, tmp_path: Path) -> None:
    """Those that hand on to a call, and those that do not."""
    with pytest.raises(LdmError, match="Here, it is seed"):
        image_to_image(pipe, Image.new("RGB", (16, 16)), "a", generator=1)
    with pytest.raises(LdmError, match="Here, it is seed"):
        features(pipe, tmp_path, out=tmp_path / "f.safetensors", generator=1)
