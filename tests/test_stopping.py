"""Ctrl-C, in processes of their own: one line, and what was written stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.started import process


def interrupt(command, ready, cwd):
    """Exit code and stderr of a command that gets Ctrl-C once `ready(process)`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 100
    while not ready(running):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    return running.returncode, said.decode()


@pytest.mark.parametrize("command", ["segment", "pseudo-masks"])
def test_a_command_says_one_line_and_keeps_what_it_wrote(command, picture, tmp_path):
    files = [f"{number}.png" for number in range(3000)]
    picture.save(tmp_path / files[0])
    for name in files[1:]:
        os.link(tmp_path / files[0], tmp_path / name)
    words = ["--phrases", "dog, sky"] if command == "segment" else ["--features", "pixels"]
    start = [sys.executable, "-m", "sseg", command, *files, *words, "--out", "out"]
    done = tmp_path / "out" / "0.json"
    code, said = interrupt(start, lambda running: done.is_file() and running.stdout.readline(), tmp_path)
    assert code == 130 and said == "Stopped; what was written is kept.\n"
    assert done.read_text().endswith("}")


def test_the_page_says_one_line(loaded):
    with process("--weights", str(loaded[1].folder), streams=subprocess.PIPE) as (_, running):
        running.send_signal(signal.SIGINT)
        out, said = running.communicate(timeout=60)
        assert running.returncode in (0, 130)  # 130: the page answered, but the start was not quite over
    assert "Traceback" not in (out + said).decode() and len(said.decode().splitlines()) <= 1


def test_the_page_says_one_line_before_it_is_open(tmp_path):
    loading = tmp_path / "sitecustomize.py"  # says when the heavy imports have begun
    begun = "event == 'import' and args[0] == 'transformers' and open('begun', 'w').close()"
    loading.write_text(f"import sys\nsys.addaudithook(lambda event, args: {begun})\n")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    running = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=tmp_path, stderr=subprocess.PIPE,
                               env=os.environ | environment)  # fmt: skip
    for _ in range(1000):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and said.decode() == "Stopped.\n"
