"""What a package changes of what others use is said to be its doing, and put back, at its import
and while its parts are used."""

from __future__ import annotations

import numpy as np
import pytest

from neighbours.corpus import RIGHT
from neighbours.spoilers import AT_IMPORT, LATE, MADE, MEANWHILE, OBSERVED, VICTIM, VOICES
from neighbours.test_neighbours import WORDS, Bench, check_use, check_words, lay_out, listed
from neighbours.test_neighbours import bench as bench


def test_whoever_changes_what_others_use_at_its_import_is_named(bench: Bench) -> None:
    """All in one process: what one leaves would be the next one's."""
    sites = [lay_out(bench.place, wrong) for wrong in (VICTIM, RIGHT, *(w for w, _ in AT_IMPORT))]
    ended = bench.run(["plugins", "list", "--json"], *sites)
    check_words(ended, "list")
    assert ended.code == 0, ended.err
    own = {("scheduler", "hurt", VICTIM.name), ("scheduler", "mine", RIGHT.name)}
    assert listed(ended) >= bench.plugins | own
    for wrong, words in AT_IMPORT:
        lines = [line for line in ended.err.splitlines() if f" {wrong.name} 1.2" in line]
        assert any(words in line for line in lines), (wrong.name, words, lines)
    assert f"{VICTIM.name} 1.2" not in ended.err
    assert f"{RIGHT.name} 1.2" not in ended.err
    plain = bench.run([*WORDS, "--scheduler", "hurt"], sites[0])
    ended = bench.run([*WORDS, "--scheduler", "hurt"], *sites)
    assert ended.code == 0, ended.err
    assert np.array_equal(ended.pictures[0], plain.pictures[0])


@pytest.mark.parametrize("several", [*([name] for name in VOICES), [*OBSERVED]], ids="-".join)
def test_whoever_changes_what_others_use_at_a_step_is_named(
    bench: Bench, several: list[str]
) -> None:
    site, other = lay_out(bench.place, MEANWHILE), lay_out(bench.place, VICTIM)
    chosen = ",".join(f'"{name}"' for name in several)
    words = [*WORDS, "--set", f"observers=[{chosen}]"]
    ended = bench.run(words, site, other)
    check_words(ended, "generate")
    assert ended.code == 0, ended.err
    assert len(ended.pictures) == 1
    assert ended.out.count("\n") == 1, ended.out
    for name in several:
        what = (VOICES | OBSERVED)[name][1]
        said = [line for line in ended.err.splitlines() if what in line]
        assert any(MEANWHILE.name in line for line in said), (name, ended.err)


@pytest.mark.parametrize("name", MADE)
def test_whoever_changes_what_others_use_when_it_is_made_is_named(bench: Bench, name: str) -> None:
    check_use(bench, MEANWHILE, MADE[name], lay_out(bench.place, MEANWHILE))


def test_what_is_changed_late_harms_no_list_and_is_told_where_it_is_seen(bench: Bench) -> None:
    """As by a thread that was left at an import: it may come after the last look."""
    site = lay_out(bench.place, LATE)
    ended = bench.run(["plugins", "list", "--json"], site)
    assert ended.code == 0, ended.err
    assert listed(ended) == bench.plugins
    said = [line for line in ended.err.splitlines() if "changed" in line]
    words = ("(ldm_core.contracts.Medium)", "what the package spoils-late 1.2 left behind at its")
    assert all(word in line for line in said for word in words), said
    assert all(line.endswith("it is put back.") for line in said)
