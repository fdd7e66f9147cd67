"""Ctrl-C, in processes of their own: one line, and what was written stays."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.helpers.started import free_port, process


@pytest.fixture(autouse=True)
def heeded():
    """Ctrl-C is not ignored by what is started here, even where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(free_port())]  # the usual one may be another test's
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=os.environ | environment)
    for _ in range(1000):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and said.decode() == "Stopped.\n"


# ---- training --------------------------------------------------------------------------------------------------------
COMMANDS = [
    "average",
    "cluster_distill",
    "distill",
    "evaluate",
    "pretrain",
    "pseudo_masks",
    "publish",
    "self_train",
    "textons",
    "word_vectors",
]  # all that take seconds to begin, since they import torch


@pytest.mark.parametrize("name", COMMANDS)
def test_a_training_command_says_one_line_before_it_has_begun(name, tmp_path):
    begun = "event == 'import' and args[0] == 'torch' and open('begun', 'w').close()"
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.addaudithook(lambda event, args: {begun})\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    running = subprocess.Popen([sys.executable, "-m", f"train.{name}"], cwd=tmp_path, stderr=subprocess.PIPE,
                               env=environment)  # fmt: skip
    while not (tmp_path / "begun").exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode in (130, -signal.SIGINT) and said.decode() == "Stopped.\n"


SMALL = {"name": "small-vit", "width": 16, "depth": 4, "heads": 2, "stem": [8, 8], "out": 8}


@pytest.fixture
def self_training(tiny_weights, picture, tmp_path):
    """A recipe that would train for days, and where its run lies; no checkpoint is written in the first hour."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(4):
        picture.transpose(Image.Transpose(number)).save(photographs / f"{number}.png")
    made = yaml.safe_load((ROOT / "train/recipes/plus-stickers.yaml").read_text())
    made |= {"teacher": str(tiny_weights), "out": str(tmp_path / "run"), "device": "cpu", "init": None}
    made |= {"data": {"name": "folder", "root": str(photographs), "size": 64}, "views": [64], "steps": 10**6}
    made |= {"target": "photographs", "balanced": 30, "precision": "fp32", "batch": 2}
    made |= {"model": {"backbone": SMALL, "head_width": 8, "image_size": 64}, "log_every": 2, "checkpoint_minutes": 60}
    made["crop"]["size"] = 64
    (tmp_path / "plus.yaml").write_text(yaml.safe_dump(made))
    return tmp_path / "plus.yaml", tmp_path / "run"


def steps_of(run):
    lines = (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").is_file() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("}") and "event" not in json.loads(line)]


def test_training_is_kept_up_to_the_step_where_it_was_stopped(self_training, tmp_path):
    recipe, run = self_training
    command, stops = [sys.executable, "-m", "train.self_train", str(recipe)], []
    for more in ([], ["--resume"]):
        first = stops[-1] if stops else 0
        code, said = interrupt([*command, *more], lambda _, first=first: max([0, *steps_of(run)]) > first, ROOT)
        assert code == 130 and said.splitlines()[-1].startswith("Stopped; --resume goes on") and "Traceback" not in said
        stops.append(int(load_file(run / "state.safetensors")["step"]))
        assert stops[-1] > first and stops[-1] - max(steps_of(run)) in (0, 1)
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines() if "event" in json.loads(line)]
    assert [one["step"] for one in events] == [0, stops[0]]
