"""Starts of the page that cannot be, and starts where others are in the way: a sentence, or it works."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sseg import SSegError, checkpoint
from sseg.app import main, starting
from tests.conftest import ROOT


def started(*options, **environment):
    """What the command says on stderr, once it has ended with exit code 2."""
    command = [sys.executable, str(ROOT / "app.py"), *options]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    return one_line(done.stderr)


def one_line(text):
    [line] = text.strip().splitlines()
    assert "Traceback" not in line and line.endswith(".")
    return line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "99999"], "no port 99999"),
        (["--port", "-4"], "no port -4"),
        (["--port", "0"], "no port 0"),
        (["--host", "192.0.2.1"], '"192.0.2.1" is no address of this machine'),
        (["--host", "2001:db8::1"], '"2001:db8::1"'),
        (["--host", "no such machine"], 'no machine "no such machine"'),
        (["--host", "x" * 300], "There is no machine"),
        (["--host", "a..b"], 'no machine "a..b"'),
    ],
)
def test_a_place_where_nothing_can_listen_ends_the_start_with_one_sentence(options, says, capsys):
    assert main(options) == 2
    said = capsys.readouterr()
    assert said.out == "" and says in one_line(said.err)


def test_a_port_that_is_taken_ends_the_start_with_one_sentence(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["--port", port]) == 2
    assert f"Port {port} is taken" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("kind", ["bundled", "folder"])
def test_weights_of_categories_alone_end_the_start_with_one_sentence(kind):
    name, folder = next(iter(checkpoint.bundled(checkpoint.PLUS).items()))
    said = started("--weights", name if kind == "bundled" else str(folder))
    assert "S-Seg+" in said and "Compare" in said


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, and nothing that says where uploads go."""
    monkeypatch.delenv(starting.UPLOADS, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def own_folder(monkeypatch):
    monkeypatch.setenv(starting.UPLOADS, "")
    starting.keep_files_apart()
    folder = Path(os.environ[starting.UPLOADS])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.getuid()
    return folder


def test_files_are_kept_in_a_folder_of_ones_own(temporary, monkeypatch):
    first = own_folder(monkeypatch)
    assert first.parent == temporary and own_folder(monkeypatch) == first
    first.chmod(0o777)
    assert own_folder(monkeypatch) == first


@pytest.mark.parametrize("way", ["file", "link", "owner"])
def test_somebody_elses_folder_of_that_name_is_not_used(temporary, monkeypatch, way):
    taken, elsewhere = own_folder(monkeypatch), temporary / "elsewhere"
    elsewhere.mkdir()
    if way == "owner":
        if os.getuid():
            pytest.skip("only root can give a folder to somebody else")
        os.chown(taken, 65_534, 65_534)
    else:
        shutil.rmtree(taken)
        taken.write_text("") if way == "file" else taken.symlink_to(elsewhere)
    assert own_folder(monkeypatch) not in (taken, elsewhere)
    assert not list(elsewhere.iterdir())


def test_a_folder_that_was_named_is_used_or_one_sentence(temporary, monkeypatch):
    monkeypatch.setenv(starting.UPLOADS, str(temporary / "named" / "deep"))
    starting.keep_files_apart()
    assert os.environ[starting.UPLOADS] == str(temporary / "named" / "deep")
    (temporary / "file").write_text("")
    monkeypatch.setenv(starting.UPLOADS, str(temporary / "file"))
    with pytest.raises(SSegError, match="GRADIO_TEMP_DIR cannot be written"):
        starting.keep_files_apart()
