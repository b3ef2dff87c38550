"""Lists of plugins that may be imported: by whose they are, whatever they call themselves, and
before anything of them runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import packages
from ldm_core.composition.admitted import admitted
from ldm_core.composition.compose import compose
from ldm_core.composition.recipe import as_layer, lay, override
from ldm_core.errors import LdmError, LdmWarning, PluginError
from ldm_core.jobs.processes import environment, this_command
from ldm_core.plugins import discovery, trust
from ldm_core.plugins.registry import Registry, installed
from ldm_core.plugins.trust import Names, Rules

RAN = "import os\nopen(os.environ['LDM_TEST_RAN'], 'a').write(__name__ + ' ')\n"
OFFERS = """
from ldm_core import hookimpl
ldm_api = ">=2,<3"

@hookimpl
def ldm_schedulers(register):
    register("{name}", lambda x, grid, denoise, noise: x)
"""
EVIL = RAN + OFFERS.format(name="evil")
SOUND = OFFERS.format(name="sound")


class Site:
    """A folder with packages on the path of this process.

    Attributes:
        folder: where they are installed.
        ran: the modules that were imported and say so.
    """

    def __init__(self, folder: Path, ran: Path) -> None:
        self.folder = folder
        self._ran = ran

    @property
    def ran(self) -> list[str]:
        text = self._ran.read_text() if self._ran.exists() else ""
        return [*dict.fromkeys(text.split())]  # in a copy of the process too

    def install(self, name: str, text: str, **more: Any) -> Path:
        """A package of one module, which is its plugin."""
        module = more.pop("module", name.lower().replace("-", "_"))
        entry = more.pop("entry", "plugin")
        return packages.install(
            self.folder,
            name,
            modules={f"{module}.py": text},
            entry_points={"ldm": {entry: module}},
            **more,
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    ran = tmp_path / "ran"
    monkeypatch.setenv("LDM_TEST_RAN", str(ran))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    discovery.once.cache_clear()
    before = set(sys.modules)
    yield Site(tmp_path / "site", ran)
    for name in set(sys.modules) - before:
        file = sys.modules[name].__dict__.get("__file__") or ""
        if str(tmp_path) in file:
            del sys.modules[name]
    trust.hold_to(Rules())
    discovery.name_files([])
    discovery.once.cache_clear()


def listed(monkeypatch: pytest.MonkeyPatch, allow: str = "", deny: str = "") -> Registry:
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", allow)
    monkeypatch.setenv("LDM_DISABLE_PLUGINS", deny)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LdmWarning)
        return installed()


def names(registry: Registry) -> set[str]:
    return {p.id for p in registry.plugins if p.distribution != "ldm-core"}


Ways = dict[str, Callable[[Site], Any]]


def called_as_ours(site: Site) -> None:
    site.install("ldm-evil", EVIL, entry="ldm-core")


def called_as_allowed(site: Site) -> None:
    site.install("ldm-evil", EVIL, entry="ldm-sound")


def called_as_a_pair(site: Site) -> None:
    site.install("ldm-evil", EVIL, entry="ldm-sound:plugin")


def another_ldm_core(site: Site) -> None:
    site.install("ldm-core", EVIL, version="99.0", module="evil_core", entry="plugins")


def another_spelling_of_ldm_core(site: Site) -> None:
    site.install("LDM.Core", EVIL, version="99.0", module="evil_core", entry="more")


def a_second_folder_of_metadata(site: Site) -> None:
    """A package that brings metadata in the name of the one that is allowed."""
    folder = site.install("ldm-sound", EVIL, version="9.0", module="ldm_evil_sound", entry="more")
    lines = [f"{folder.name}/{name},," for name in ("METADATA", "entry_points.txt", "RECORD")]
    packages.install(site.folder, "ldm-evil", record="\n".join([*lines, "ldm_evil_sound.py,,", ""]))


def metadata_of_nobody_else(site: Site) -> None:
    """The same, of a name that is allowed and not installed."""
    folder = site.install("ldm-absent", EVIL, module="ldm_evil_absent")
    lines = [f"{folder.name}/METADATA,,", f"{folder.name}/RECORD,,", "ldm_evil_absent.py,,"]
    packages.install(site.folder, "ldm-evil", record="\n".join([*lines, ""]))


def a_name_that_is_not_its_folders(site: Site) -> None:
    site.install("ldm-evil", EVIL, metadata="Metadata-Version: 2.1\nName: ldm-sound\nVersion: 1\n")


def a_name_with_a_kelvin_sign(site: Site) -> None:
    """Which is a k in lower case, and no letter of a package's name."""
    text = "Metadata-Version: 2.1\nName: ldm-\u212aind\nVersion: 1\n"
    site.install("ldm-\u212aind", EVIL, module="ldm_kelvin", metadata=text)


def no_name(site: Site) -> None:
    site.install("ldm-evil", EVIL, metadata="Metadata-Version: 2.1\nVersion: 1\n")


def no_metadata(site: Site) -> None:
    site.install("ldm-evil", EVIL, metadata="")


def a_module_of_anothers(site: Site) -> None:
    """The allowed package names the module of one that is not."""
    packages.install(site.folder, "ldm-evil", modules={"ldm_evil.py": EVIL})
    packages.install(site.folder, "ldm-kind", entry_points={"ldm": {"x": "ldm_evil"}})


def a_nested_module_of_anothers(site: Site) -> None:
    modules = {
        "ldm_evil/__init__.py": RAN,
        "ldm_evil/deep/__init__.py": "",
        "ldm_evil/deep/x.py": EVIL,
    }
    packages.install(site.folder, "ldm-evil", modules=modules)
    packages.install(site.folder, "ldm-kind", entry_points={"ldm": {"x": "ldm_evil.deep.x"}})


def a_file_that_another_overwrote(site: Site) -> None:
    """Both wrote it down; what lies there has the hash of the one that is not allowed."""
    packages.install(
        site.folder,
        "ldm-kind",
        modules={"both.py": SOUND},
        entry_points={"ldm": {"x": "both"}},
    )
    packages.install(site.folder, "ldm-evil", modules={"both.py": EVIL})


def a_module_that_hides_the_allowed_one(site: Site) -> None:
    """The same name, earlier on the path, from a package that is not allowed."""
    packages.install(site.folder, "ldm-evil", modules={"hidden.py": EVIL})
    later = site.folder.parent / "later"
    packages.install(
        later, "ldm-kind", modules={"hidden.py": SOUND}, entry_points={"ldm": {"x": "hidden"}}
    )
    sys.path.append(str(later))


def a_module_within_ours(site: Site) -> None:
    packages.install(site.folder, "ldm-kind", entry_points={"ldm": {"x": "ldm_plugins.plugin"}})


def pythons_own_module(site: Site) -> None:
    packages.install(site.folder, "ldm-kind", entry_points={"ldm": {"x": "this"}})


def a_plugins_file(site: Site) -> None:
    file = site.folder / "evil_file.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(EVIL)
    discovery.name_files([file])


def a_plugins_file_called_as_allowed(site: Site) -> None:
    file = site.folder / "ldm_sound.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(EVIL)
    discovery.name_files([file])


def the_distribution_local(site: Site) -> None:
    site.install("local", EVIL, module="evil_local")


def a_name_with_a_cyrillic_letter(site: Site) -> None:
    """Which looks like that of the allowed one."""
    text = "Metadata-Version: 2.1\nName: ldm-s\u043eund\nVersion: 1\n"
    site.install("ldm-s\u043eund", EVIL, module="ldm_cyrillic", metadata=text)


def a_name_with_invisible_letters(site: Site) -> None:
    text = "Metadata-Version: 2.1\nName: ldm-sound\u200b\nVersion: 1\n"
    site.install("ldm-sound\u200b", EVIL, module="ldm_invisible", metadata=text)


def a_name_in_wide_letters(site: Site) -> None:
    """Which NFKC makes those of the allowed one."""
    wide = "ldm-\uff53ound"
    site.install(wide, EVIL, module="ldm_wide", metadata=f"Metadata-Version: 2.1\nName: {wide}\n")


def two_names(site: Site) -> None:
    text = "Metadata-Version: 2.1\nName: ldm-evil\nName: ldm-sound\nVersion: 1\n"
    site.install("ldm-evil", EVIL, metadata=text)


def a_name_that_goes_on_in_the_next_line(site: Site) -> None:
    text = "Metadata-Version: 2.1\nName: ldm-sound\n -evil\nVersion: 1\n"
    site.install("ldm-evil", EVIL, metadata=text)


def a_longer_name(site: Site) -> None:
    """With the allowed one's at its beginning."""
    site.install("ldm-sound-evil", EVIL)
    site.install("ldm-soundevil", EVIL)


def a_part_of_a_namespace(site: Site) -> None:
    """The allowed package names a module of another in a folder that both share."""
    for name in ("kind", "evil"):
        packages.install(
            site.folder,
            f"ldm-{name}",
            modules={f"ldm_space/{name}.py": SOUND if name == "kind" else EVIL},
            entry_points={"ldm": {"x": "ldm_space.evil"}} if name == "kind" else None,
        )


def a_link_to_anothers_module(site: Site) -> None:
    """In the allowed package's own folder, to the file of one that is not."""
    packages.install(site.folder, "ldm-evil", modules={"ldm_evil.py": EVIL})
    packages.install(
        site.folder,
        "ldm-kind",
        modules={"ldm_kind.py": SOUND},
        entry_points={"ldm": {"x": "ldm_kind"}},
    )
    (site.folder / "ldm_kind.py").unlink()
    (site.folder / "ldm_kind.py").symlink_to(site.folder / "ldm_evil.py")


def a_finder_of_modules(site: Site) -> None:
    """What an installed package put before all others, which gives its own in the allowed one's
    name."""
    packages.install(site.folder, "ldm-evil", modules={"ldm_evil.py": EVIL})
    packages.install(
        site.folder,
        "ldm-kind",
        modules={"ldm_kind.py": SOUND},
        entry_points={"ldm": {"x": "ldm_kind"}},
    )

    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name != "ldm_kind":
                return None
            return importlib.util.spec_from_file_location(name, site.folder / "ldm_evil.py")

    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]


def a_module_that_is_there_already(site: Site) -> None:
    """In the allowed one's name, as something that was imported before left it."""
    packages.install(
        site.folder,
        "ldm-kind",
        modules={"ldm_kind.py": SOUND},
        entry_points={"ldm": {"x": "ldm_kind"}},
    )
    packages.install(site.folder, "ldm-evil", modules={"ldm_evil.py": EVIL})
    spec = importlib.util.spec_from_file_location("ldm_kind", site.folder / "ldm_evil.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(
        compile(OFFERS.format(name="evil"), str(site.folder / "ldm_evil.py"), "exec"), vars(module)
    )
    sys.modules["ldm_kind"] = module


def an_archive_on_the_path(site: Site) -> None:
    """With metadata in the allowed one's name."""
    site.folder.mkdir(exist_ok=True)
    file = site.folder / "evil.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ldm_zipped.py", EVIL)
        about = "ldm_sound-9.dist-info"
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: ldm-sound\nVersion: 9\n"
        )
        archive.writestr(f"{about}/entry_points.txt", "[ldm]\nx = ldm_zipped\n")
    sys.path.append(str(file))


ROUND = [
    called_as_ours,
    called_as_allowed,
    called_as_a_pair,
    another_ldm_core,
    another_spelling_of_ldm_core,
    a_second_folder_of_metadata,
    metadata_of_nobody_else,
    a_name_that_is_not_its_folders,
    a_name_with_a_kelvin_sign,
    no_name,
    no_metadata,
    a_module_of_anothers,
    a_nested_module_of_anothers,
    a_file_that_another_overwrote,
    a_module_that_hides_the_allowed_one,
    a_module_within_ours,
    pythons_own_module,
    a_plugins_file,
    a_plugins_file_called_as_allowed,
    a_name_with_a_cyrillic_letter,
    a_name_with_invisible_letters,
    a_name_in_wide_letters,
    two_names,
    a_name_that_goes_on_in_the_next_line,
    a_longer_name,
    a_part_of_a_namespace,
    a_link_to_anothers_module,
    a_finder_of_modules,
    a_module_that_is_there_already,
    an_archive_on_the_path,
]
ALLOW = "ldm-core, LDM_Sound,ldm-kind,ldm.absent"


@pytest.mark.parametrize("way", ROUND, ids=lambda way: way.__name__)
def test_no_way_leads_round_the_allow_list(
    way: Callable[[Site], None], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way is not a_plugins_file_called_as_allowed:
        site.install("ldm-sound", RAN + SOUND)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    way(site)
    if "file" in way.__name__ and "plugins" in way.__name__:
        with pytest.raises(LdmError, match="may not be imported"):
            listed(monkeypatch, allow=ALLOW)
        assert "evil_file" not in sys.modules
        assert site.ran in ([], ["ldm_sound"])
        return
    registry = listed(monkeypatch, allow=ALLOW)
    assert names(registry) == {"ldm-sound:sound"}
    assert registry.find("scheduler", "euler").version == installed_version()
    assert "pipelines" in {p.entry for p in registry.plugins}
    assert site.ran == ["ldm_sound"]


def installed_version() -> str:
    from importlib.metadata import distributions

    return next(
        d.version
        for d in distributions()
        if d.files and d.name == "ldm-core" and d.version != "99.0"
    )


def editable(site: Site) -> None:
    """By a ``.pth`` file, as hatchling and flit do it."""
    project = site.folder.parent / "project"
    (project / "src").mkdir(parents=True)
    (project / "pyproject.toml").write_text("")
    (project / "src" / "edited.py").write_text(SOUND)
    home = packages.install(
        site.folder,
        "ldm-right",
        modules={"_right.pth": str(project / "src")},
        entry_points={"ldm": {"x": "edited"}},
    )
    url = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (home / "direct_url.json").write_text(json.dumps(url))
    sys.path.append(str(project / "src"))


def in_a_namespace(site: Site) -> None:
    """Two distributions, of which each has a module of a package that neither has the head of."""
    for name in ("other", "right"):
        packages.install(
            site.folder,
            f"ldm-{name}",
            modules={f"shared_space/{name}/__init__.py": SOUND.replace("sound", name)},
            entry_points={"ldm": {"x": f"shared_space.{name}"}} if name == "right" else None,
        )


def without_a_record(site: Site) -> None:
    site.install("ldm-right", SOUND, record="")


def of_a_source_folder(site: Site) -> None:
    """What setuptools leaves beside the sources."""
    home = site.install("ldm-right", SOUND, record="")
    (home / "METADATA").rename(home / "PKG-INFO")
    home.rename(site.folder / "ldm_right.egg-info")


def edited_by_hand(site: Site) -> None:
    site.install("ldm-right", SOUND)
    (site.folder / "ldm_right.py").write_text(SOUND + "# mended\n")


def beside_an_older_copy(site: Site) -> None:
    """The system's, behind that of the environment."""
    site.install("ldm-right", SOUND)
    later = site.folder.parent / "later"
    Site(later, later).install("ldm-right", SOUND, version="0.9")
    sys.path.append(str(later))


RIGHT = [
    editable,
    in_a_namespace,
    without_a_record,
    of_a_source_folder,
    edited_by_hand,
    beside_an_older_copy,
]


@pytest.mark.parametrize("allow", ["", "ldm-core,ldm-right"])
@pytest.mark.parametrize("way", RIGHT, ids=lambda way: way.__name__)
def test_every_way_to_install_goes_on_working(
    way: Callable[[Site], None], allow: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    way(site)
    registry = listed(monkeypatch, allow=allow)
    assert {p.distribution for p in registry.plugins} == {"ldm-core", "ldm-right"}
    assert not registry.failures


def test_what_the_distribution_local_offers_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_distribution_local(site)
    registry = listed(monkeypatch)
    assert not names(registry)
    assert "--plugin" in str(registry.failures[0])


@pytest.mark.parametrize(
    "deny",
    ["ldm-evil", "LDM_evil", "ldm.Evil", " ldm--evil ", "ldm-evil:plugin", "LDM_EVIL : plugin"],
)
def test_what_is_denied_is_not_imported_however_it_is_spelt(
    deny: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("Ldm.Evil", EVIL)
    assert not names(listed(monkeypatch, deny=deny))
    assert site.ran == []


def test_both_variables_deny(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("ldm-evil", EVIL)
    monkeypatch.setenv("LDM_DENY_PLUGINS", "ldm-evil")
    assert not names(listed(monkeypatch))
    assert site.ran == []


@pytest.mark.parametrize("lists", [{"deny": "ldm-evil"}, {"allow": "ldm-core,ldm-lazy"}])
def test_what_is_left_out_is_not_imported_as_anothers_target(
    lists: Mapping[str, str], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("ldm-evil", EVIL)
    offers = OFFERS.format(name="lazy")
    site.install("ldm-lazy", re.sub(r"register\(.*\)", "register('lazy', 'ldm_evil:it')", offers))
    plugin = listed(monkeypatch, **lists).find("scheduler", "lazy")
    with pytest.raises(PluginError, match=r"lazy.*'ldm_evil:it' belongs to the package ldm-evil"):
        _ = plugin.loaded
    assert site.ran == []


@pytest.mark.parametrize(
    "name",
    ["plugin", ":plugin", "ldm-evil:", "ldm-evil:Plugin", "evil", "*", "ldm-*", "ldm-evi?",
     "ldm-evil:*", "ldm-evil==1.0", "ldm-\u0435vil"],
)  # fmt: skip
def test_a_name_that_means_nothing_is_said(
    name: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry point alone names nothing, since every package chooses its own."""
    site.install("ldm-evil", SOUND)
    monkeypatch.setenv("LDM_DISABLE_PLUGINS", name)
    said = re.escape(f"LDM_DISABLE_PLUGINS names '{name}'")
    with pytest.warns(LdmWarning, match=said):
        registry = installed()
    assert names(registry) == {"ldm-evil:sound"}


def test_every_command_says_so_once(site: Site, monkeypatch: pytest.MonkeyPatch, ldm: Any) -> None:
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", "ldm-core,ldm-cores")
    code, _, err = ldm("models", "list")
    assert (code, err.count("'ldm-cores'")) == (0, 1)
    assert "Did you mean 'ldm-core'?" in err


def test_a_list_of_commas_holds_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(monkeypatch, allow=" , ").plugins == []
    assert listed(monkeypatch, allow="  ").plugins


def test_a_recipe_and_the_environment_both_hold(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ldm: Any
) -> None:
    """On the command line, before anything is imported."""
    site.install("ldm-evil", EVIL)
    site.install("ldm-sound", RAN + SOUND)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'model = "shapes"\n[plugins]\nallow = ["ldm-core", "ldm-sound", "ldm-evil"]\n'
    )
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", "ldm-core,ldm-sound")
    for command in (["explain", "--recipe", recipe], ["recipe", "check", recipe]):
        assert ldm(*command)[0] == 0
        assert site.ran == ["ldm_sound"]
    recipe.write_text('model = "shapes"\n[plugins]\ndeny = ["ldm-sound"]\n')
    discovery.once.cache_clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = ldm("explain", "--recipe=~/r.toml", "--scheduler", "sound")
    assert code == 2
    assert "no scheduler named 'sound'" in err
    assert site.ran == ["ldm_sound"]


@pytest.mark.parametrize(
    ("below", "over", "both"),
    [
        ({"deny": ["a"]}, {"deny": ["b"]}, {"deny": ["a", "b"]}),
        ({"allow": ["a", "b"]}, {"allow": ["B", "c"]}, {"allow": ["b", "B"]}),
        ({"allow": ["a"]}, {"allow": ["a:x"]}, {"allow": ["a:x"]}),
        ({"allow": ["a:x"]}, {"allow": ["a:y"]}, {"allow": []}),
        ({"allow": ["a"]}, {"deny": ["b"]}, {"allow": ["a"], "deny": ["b"]}),
        ({"allow": ["a"]}, {}, {"allow": ["a"]}),
    ],
)
def test_layers_of_a_recipe_narrow_each_other(
    below: Mapping[str, Any], over: Mapping[str, Any], both: Mapping[str, Any]
) -> None:
    layers = [as_layer({"plugins": table}) for table in (below, over)]
    assert lay(*layers)["plugins"] == both


@pytest.mark.parametrize("table", [["a"], {"alow": []}, {"allow": "a"}, {"deny": [1]}, "a"])
def test_another_form_of_the_table_is_refused(table: Any) -> None:
    with pytest.raises(LdmError, match="plugins"):
        as_layer({"plugins": table})


def test_it_comes_too_late_by_set_and_in_a_replacement(pipe: Any) -> None:
    for setting in ("plugins={}", "plugins.deny=['ldm-x']"):
        with pytest.raises(LdmError, match="before any plugin"):
            override(setting)
    with pytest.raises(LdmError, match="when a pipeline is made"):
        pipe.replace(plugins={"deny": []})


def test_in_python_a_recipe_leaves_out_what_is_imported_already(
    site: Site, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    site.install("ldm-sound", SOUND)
    registry = listed(monkeypatch)
    choices = {"model": str(folder), "scheduler": "sound"}
    assert compose(choices, registry).plugins
    with (
        pytest.warns(LdmWarning, match="leaves out the plugins of ldm-sound"),
        pytest.raises(LdmError, match="no scheduler named 'sound'"),
    ):
        compose({**choices, "plugins": {"deny": ["ldm-sound"]}}, registry)


def test_in_python_a_recipe_is_read_before_anything_is_imported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("ldm-evil", EVIL)
    assert not names(admitted(None, as_layer({"plugins": {"deny": ["ldm-evil"]}})))
    assert site.ran == []
    assert names(admitted(None, {})) == {"ldm-evil:evil"}


def test_a_model_does_not_say_what_is_imported(copied: Path) -> None:
    (copied / "ldm.toml").write_text('[plugins]\nallow = ["ldm-core"]\n')
    with pytest.raises(LdmError, match="a model does not say"):
        compose({"model": str(copied)}, installed())


def test_a_file_is_named_and_nothing_else_of_its_folder(
    site: Site, tmp_path: Path, ldm: Any, folder: Path
) -> None:
    (tmp_path / "beside.py").write_text(EVIL)
    file = tmp_path / "of_mine.py"
    file.write_text(OFFERS.format(name="filed"))
    run = ("explain", "--model", folder, "--scheduler", "filed")
    assert ldm(*run)[0] == 2
    for argv in (("--plugin", file, *run), (*run, f"--plugin={file}", "--plugin", file)):
        code, out, err = ldm(*argv)
        assert (code, err) == (0, "")
        assert "filed" in out
    file.write_text("import beside\n" + OFFERS.format(name="filed"))
    sys.modules.pop("of_mine")
    discovery.once.cache_clear()
    code, _, err = ldm("--plugin", file, *run)
    assert (code, site.ran) == (1, [])
    assert f"the plugin {file} failed while it was imported: ModuleNotFoundError" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [("json.py", "call it otherwise"), ("my-own.py", "call it otherwise"), ("x.txt", "is none"),
     ("absent.py", "is none")],
)  # fmt: skip
def test_other_files_are_refused(
    name: str, said: str, site: Site, tmp_path: Path, ldm: Any
) -> None:
    if name != "absent.py":
        (tmp_path / name).write_text(SOUND)
    code, _, err = ldm("--plugin", tmp_path / name, "models", "list")
    assert code == 2
    assert said in err


def test_a_link_is_the_file_that_it_leads_to(
    site: Site, tmp_path: Path, ldm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no list is met by what a link is called."""
    (tmp_path / "linked_to.py").write_text(EVIL)
    (tmp_path / "allowed.py").symlink_to(tmp_path / "linked_to.py")
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", "ldm-core,local:allowed")
    code, _, err = ldm("--plugin", tmp_path / "allowed.py", "models", "list")
    assert (code, site.ran) == (2, [])
    assert "linked_to.py may not be imported" in err
    monkeypatch.setenv("LDM_ALLOW_PLUGINS", "ldm-core,local:linked_to")
    assert ldm("--plugin", tmp_path / "allowed.py", "models", "list")[0] == 0
    assert site.ran == ["linked_to"]


def test_a_folder_is_no_file_of_plugins(site: Site, tmp_path: Path, ldm: Any) -> None:
    for name in ("folder", "folder.py"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(EVIL)
        code, _, err = ldm("--plugin", tmp_path / name, "models", "list")
        assert (code, site.ran) == (2, [])
        assert "is none" in err


def test_a_file_that_ends_the_program_does_not(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "ends_it.py"
    file.write_text("import sys\nsys.exit(0)\n")
    discovery.name_files([file])
    with pytest.raises(PluginError, match="SystemExit: 0"):
        installed()


STDLIB = ("__future__", "typing", "dataclasses", "signal")
"""Modules of Python that the command line imports, and ``-m`` does not."""


def test_lists_hold_in_the_processes_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker runs the same command with the same environment, in a folder from which it imports
    nothing, whatever lies there."""
    evil = {f"{name}.py": RAN for name in ("typer", *STDLIB)} | {"ldm_evil.py": EVIL}
    packages.install(tmp_path, "ldm-evil", modules=evil, entry_points={"ldm": {"x": "ldm_evil"}})
    site = tmp_path / "site"
    packages.install(
        site, "ldm-other", modules={"ldm_other.py": EVIL}, entry_points={"ldm": {"x": "ldm_other"}}
    )
    recipe = tmp_path / "r.toml"
    recipe.write_text('model = "shapes"\n[plugins]\ndeny = ["ldm-other"]\n')
    ran = tmp_path / "ran"
    own = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = os.pathsep.join([*map(os.path.abspath, own), str(site), ""])
    variables = {**os.environ, "LDM_TEST_RAN": str(ran), "PYTHONPATH": path}
    monkeypatch.setattr(sys, "argv", ["ldm", "recipe", "check", str(recipe)])
    worker, listing = this_command(), ["-m", "ldm_core", "plugins", "list"]
    assert worker[1] == "-P"
    runs = [
        (worker[1:], environment(variables, 0, 2, 0), set()),
        (listing, {**variables, "LDM_DENY_PLUGINS": "ldm-other"}, set()),
        (listing, variables, {"ldm_other"}),
    ]
    for words, asked, imported in runs:
        run = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=asked, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        assert {*(ran.read_text() if ran.exists() else "").split()} == imported


@pytest.mark.slow
@pytest.mark.parametrize(
    "ways",
    [
        (["-m", "ldm_core"], ["--workers", "2"]),
        (["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "ldm_core"], []),
    ],
    ids=["workers", "torchrun"],
)
def test_what_is_denied_is_imported_in_no_process_that_makes_pictures(
    folder: Path, tmp_path: Path, ways: tuple[list[str], list[str]]
) -> None:
    """A file says how often the package was imported: by two processes at least where it may be,
    and never where the list is the environment's or a recipe's."""
    site, ran = tmp_path / "site", tmp_path / "ran"
    packages.install(
        site, "ldm-other", modules={"ldm_other.py": EVIL}, entry_points={"ldm": {"x": "ldm_other"}}
    )
    (tmp_path / "a.txt").write_text("a star\na moon\n")
    recipe = tmp_path / "r.toml"
    recipe.write_text('[plugins]\ndeny = ["LDM.other"]\n')
    own = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = os.pathsep.join([*map(os.path.abspath, own), str(site)])
    variables = {**os.environ, "LDM_TEST_RAN": str(ran), "PYTHONPATH": path}
    denied = {**variables, "LDM_DENY_PLUGINS": "ldm_other"}
    for name, more, asked in (
        ("by-all", [], variables),
        ("by-variable", [], denied),
        ("by-recipe", ["--recipe", str(recipe)], variables),
    ):
        run = ["generate", "--prompts", "a.txt", "--model", str(folder), "--steps", "1", "--out"]
        words = [*ways[0], *run, name, "--seed", "1", *ways[1], *more]
        end = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=asked, capture_output=True, text=True
        )
        assert end.returncode == 0, end.stderr
        assert len([*(tmp_path / name).glob("*.png")]) == 2
        imported = ran.read_text().split() if ran.exists() else []
        assert (len(imported) >= 2) == (asked is variables and not more), (name, imported)
        ran.unlink(missing_ok=True)


def test_rules_read_as_they_are_written() -> None:
    rules = Rules((Names(("a", "b:x"), "one"),), (Names(("A_a", "b:y"), "two"),))
    admitted = [(d, e) for d in ("a", "b", "a-a") for e in ("x", "y") if rules.admit(d, e)]
    assert admitted == [("a", "x"), ("a", "y"), ("b", "x")]
