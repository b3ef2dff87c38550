"""What a process has once for all, looked at before and after another package's code runs."""

from __future__ import annotations

import os
import warnings

import pytest

from ldm_core.errors import PutBackWarning
from ldm_core.plugins import folder
from ldm_core.plugins.folder import kept_folder


def one() -> str:
    return "the scheduler 'one' of the package ldm-one 1.0"


def other() -> str:
    return "the guidance 'other' of the package ldm-other 1.0"


def test_calls_of_one_package_within_each_other_are_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And those of another within them too, each after its own; and anew once all have ended."""
    seen: list[str] = []
    once = folder._kept_once

    def counted(whose):  # type: ignore[no-untyped-def]
        seen.append(whose())
        return once(whose)

    monkeypatch.setattr(folder, "_kept_once", counted)
    with kept_folder(one), kept_folder(one), kept_folder(other), kept_folder(one):
        pass
    with pytest.raises(KeyError), kept_folder(one):
        raise KeyError
    with kept_folder(one):
        pass
    assert seen == [one(), other(), one(), one()]


def test_what_a_call_within_another_changes_is_put_back_when_the_outer_one_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "before")
    with warnings.catch_warnings(record=True) as heard, kept_folder(one):
        warnings.simplefilter("always", PutBackWarning)
        with kept_folder(one):
            os.environ["MINE"] = "after"
        assert (os.environ["MINE"], heard) == ("after", [])
    assert os.environ["MINE"] == "before"
    (told,) = heard
    assert str(told.message) == f"the environment (MINE) was changed by {one()}; it is put back."


def test_variables_that_torch_sets_when_it_is_used_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    new = ("TORCH_MINE", "_TORCHINDUCTOR_MINE", "TRITON_MINE")
    monkeypatch.setenv("TORCH_OLD", "before")
    for name in new:
        monkeypatch.setenv(name, "")
        del os.environ[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with kept_folder(one):
            os.environ.update(dict.fromkeys(new, "1"))
    assert all(os.environ[name] == "1" for name in new)
    with pytest.warns(PutBackWarning, match="TORCH_OLD"), kept_folder(one):
        os.environ["TORCH_OLD"] = "after"  # which a person may have set
    assert os.environ["TORCH_OLD"] == "before"
