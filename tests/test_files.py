"""Whole or not at all, and readable by a server's own user."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import WorkbenchError
from engine.files import read_json, whole_folder, write_text

ROOT = Path(__file__).resolve().parents[1]


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "new") as building:
        (building / "file.txt").write_text("content")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "file.txt").read_text() == "content"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_failure_leaves_nothing_behind_and_the_former_folder_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file.txt").write_text("former")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "kept") as building:
        (building / "file.txt").write_text("half")
        raise RuntimeError("stopped")
    assert (tmp_path / "kept" / "file.txt").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


KILLED = """
import os, signal, sys
from pathlib import Path
from engine.files import whole_folder
with whole_folder(Path(sys.argv[1])) as building:
    (building / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, monkeypatch):
    target = tmp_path / "kept"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(target)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    with whole_folder(target):
        assert len(list(tmp_path.iterdir())) == 2  # too young to be called left behind
    monkeypatch.setattr("engine.files.LEFT_BEHIND", 0)
    with whole_folder(target):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_a_living_process_writes_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.files.LEFT_BEHIND", 0)
    with whole_folder(tmp_path / "kept") as first:
        (first / "file.txt").write_text("slow")
        with whole_folder(tmp_path / "kept") as second:
            assert first.exists() and second.exists()
        shutil.rmtree(tmp_path / "kept")
    assert (tmp_path / "kept" / "file.txt").read_text() == "slow"


def test_a_folder_moved_aside_by_a_killed_process_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.files.LEFT_BEHIND", 0)
    former = tmp_path / ".kept.0123abcd.former"
    former.mkdir()
    (former / "file.txt").write_text("former")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "kept"):
        raise RuntimeError("stopped")
    assert (tmp_path / "kept" / "file.txt").read_text() == "former"


def test_others_may_read_what_was_private(tmp_path):
    with whole_folder(tmp_path / "new") as building:
        (building / "inner").mkdir(mode=0o700)
        (building / "inner" / "weights").write_text("")
        (building / "inner" / "weights").chmod(0o600)
    assert (tmp_path / "new" / "inner").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "new" / "inner" / "weights").stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced_at_once(tmp_path):
    (tmp_path / "card.md").write_text("former")
    write_text(tmp_path / "card.md", "new")
    assert (tmp_path / "card.md").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["card.md"]


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_json_that_is_none_is_named_with_the_fix(tmp_path, content):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WorkbenchError, match="start again") as error:
        read_json(path, "start again")
    assert str(path) in str(error.value)
