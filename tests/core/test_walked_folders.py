"""A folder that cannot be looked into is an error, and not an empty one."""

import errno
import os

import pytest

from ldm_core.contracts.files import files_in
from ldm_core.jobs.folder import JobFolder
from ldm_core.media.manifest_files import _hash
from ldm_pipelines.folders import files_under

WAYS = {
    "files": lambda folder: list(files_in(folder)),
    "pictures": lambda folder: files_under(folder, {".png"}),
    "hash": _hash,
    "job": lambda folder: JobFolder(folder).has_pictures({"suffix": ".png"}),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shut").mkdir()
    for name in ("a.txt", "shut/b.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_shut_is_said(folder, monkeypatch, way, number):
    way(folder)
    plain = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("shut"):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OSError, match="shut"):
        way(folder)


def test_all_files_are_found(folder):
    assert {file.relative_to(folder).as_posix() for file in files_in(folder)} == {
        "a.txt",
        "shut/b.png",
    }
