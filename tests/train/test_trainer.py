"""The one loop of all trainers: runs go on exactly, whatever was cut off, and never save what is no number."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sseg.errors import SSegError
from tests.conftest import ROOT
from tests.train.conftest import STEPS, TRAINERS, lines_of, main_of, same_state, trainer_of
from train import checkpoints, log
from train.checkpoints import STATE
from train.recipe import read_mapping

each_trainer = pytest.mark.parametrize("name", TRAINERS)


@each_trainer
def test_a_resumed_run_equals_an_unbroken_one(name, recipes, unbroken, tmp_path):
    broken = tmp_path / "broken"
    trainer = trainer_of(name, recipes[name], f"out={broken}")
    trainer.begin()
    trainer.advance()
    trainer.save()
    log.append(broken, {"step": 2, "loss": 1.0})  # one step beyond the checkpoint, which is done again
    del trainer  # as if killed here
    assert main_of(name)([str(recipes[name]), f"out={broken}", "--resume"]) == 0
    same_state(unbroken(name), broken)
    for file in ("model.safetensors", "config.json", "vocabulary.json", "tokenizer.json", "tokenizer_config.json"):
        if (unbroken(name) / file).is_file():
            assert (unbroken(name) / file).read_bytes() == (broken / file).read_bytes(), file
    assert [line["step"] for line in lines_of(broken)] == [0, 1, 2, STEPS]  # started, resumed at 1


@each_trainer
def test_a_run_says_what_made_it(name, recipes, unbroken):
    first, *steps = lines_of(unbroken(name))
    assert {"event", "commit", "versions", "hardware", "processes", "recipe"} <= first.keys()
    assert [step["step"] for step in steps] == [2, STEPS]
    assert {"loss", "samples", "seconds", "seconds_per_step", "images_per_second"} <= steps[0].keys()
    assert read_mapping(unbroken(name) / "recipe.yaml") == first["recipe"]
    assert first["recipe"]["optimizer"] == read_mapping(recipes[name])["optimizer"]


@each_trainer
def test_a_loss_that_is_no_number_stops_before_anything_of_it_is_saved(name, recipes, tmp_path, capsys):
    out = tmp_path / "run"
    assert main_of(name)([str(recipes[name]), f"out={out}", "optimizer.lr=1e30", "log_every=1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(("Step 1: ", "Step 2: ")) and "no finite number" in said and "lower optimizer.lr" in said
    assert not (out / STATE).exists() and not (out / "model.safetensors").exists()


def test_the_last_good_checkpoint_is_kept(recipes, tmp_path):
    trainer = trainer_of("self_train", recipes["self_train"], f"out={tmp_path / 'run'}")
    trainer.begin()
    trainer.advance()
    trainer.save()
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    step = trainer.run.train_step
    trainer.run.train_step = lambda number: step(number) | {"loss": torch.tensor(float("nan"), requires_grad=True)}
    weights = {key: value.detach().clone() for key, value in trainer.run.model.named_parameters()}
    with pytest.raises(SSegError, match=r"^Step 2: loss is no finite number: .*--resume goes on from the last"):
        trainer.advance()
    trainer.run.train_step = lambda number: step(number) | {"agreement": torch.tensor(float("inf"))}
    with pytest.raises(SSegError, match="^Step 2: agreement is"):
        trainer.advance()
    trainer.run.train_step = lambda number: {"loss": trainer.run.model.head.classifier.weight.mean().sub(1e9).pow(5)}
    with pytest.raises(SSegError, match="^Step 2: (loss|the norm of the gradients) is"):
        trainer.advance()
    assert all(torch.equal(value, weights[key]) for key, value in trainer.run.model.named_parameters())
    with torch.no_grad():
        trainer.run.model.head.classifier.bias.fill_(1e6)  # more than half precision holds
    with pytest.raises(SSegError, match="^Step 1: the weights head.classifier.bias are no finite numbers"):
        trainer.save()
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("survived", [0, 1, 2, 3, 4, 5])
def test_a_kill_between_the_files_of_a_save_leaves_what_a_run_can_go_on_from(survived, recipes, unbroken, tmp_path,
                                                                            monkeypatch):  # fmt: skip
    """At the first save a new start works; at a later one the state is the one before; the rest is whole."""
    out, replace, left = tmp_path / "run", os.replace, [survived]

    def replaced(*paths):
        if not left[0]:
            raise Killed
        left[0] -= 1
        replace(*paths)

    trainer = trainer_of("pretrain", recipes["pretrain"], f"out={out}")
    trainer.begin()
    for number in range(2):
        trainer.advance()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "replace", replaced)
            trainer.save()
        left[0] = survived
        assert (out / STATE).is_file() == bool(number)
        if not number:
            trainer.save()
    assert int(load_file(out / STATE)["step"]) == 1
    for file in out.glob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    load_file(out / "model.safetensors")
    if survived == 3:
        (out / ".state.safetensors.77.unfinished").write_bytes(b"half")
        assert main_of("pretrain")([str(recipes["pretrain"]), f"out={out}", "--resume"]) == 0
        same_state(unbroken("pretrain"), out)
        assert (out / "vocabulary.json").read_bytes() == (unbroken("pretrain") / "vocabulary.json").read_bytes()
        assert not list(out.glob(".*"))


def test_a_new_start_works_where_a_first_save_was_cut_off(recipes, unbroken, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "log.jsonl").write_text('{"event": "start", "step": 0}\n{"step": 1, "lo')
    (out / "vocabulary.json").write_text('{"phra')
    (out / "model.safetensors").write_bytes(b"half")
    (out / ".5.unfinished").mkdir()
    assert main_of("pretrain")([str(recipes["pretrain"]), f"out={out}"]) == 0
    same_state(unbroken("pretrain"), out)
    assert [line["step"] for line in lines_of(out)] == [0, 2, STEPS]
    assert not list(out.glob(".*"))


def test_a_torn_last_line_of_the_log_is_left_out(tmp_path):
    whole = '{"event": "start", "step": 0}\n{"step": 2}\n{"step": 4}\n'
    (tmp_path / "log.jsonl").write_text(whole + '{"step": 6, "loss": 0.')
    assert [line["step"] for line in log.lines(tmp_path)] == [0, 2, 4] and len(log.events(tmp_path)) == 1
    log.begin(tmp_path, 3)
    log.append(tmp_path, {"step": 5})
    assert (tmp_path / "log.jsonl").read_text() == '{"event": "start", "step": 0}\n{"step": 2}\n{"step": 5}\n'
    (tmp_path / "log.jsonl").write_bytes(whole.encode() + b'{"caption": "\xc3')  # in the midst of a letter
    assert len(log.lines(tmp_path)) == 3


def test_files_have_the_mode_of_the_umask(recipes, tmp_path):
    before = os.umask(0o027)
    try:
        trainer = trainer_of("pretrain", recipes["pretrain"], f"out={tmp_path / 'run'}")
        trainer.begin()
        trainer.save()
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "run").iterdir()}
    assert {"model.safetensors", STATE, "vocabulary.json", "log.jsonl"} <= modes.keys()
    assert set(modes.values()) == {"0o640"}, modes


def command(name: str, recipe: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", f"train.{name}", str(recipe), *more]


def test_captions_of_any_script_are_kept_in_the_c_locale(recipes, unbroken, tmp_path):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    short = [f"out={tmp_path / 'run'}", "log_every=1"]
    done = subprocess.run(command("pretrain", recipes["pretrain"], *short), cwd=ROOT, capture_output=True,
                          env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-500:]
    assert "käfer" in (tmp_path / "run/vocabulary.json").read_text(encoding="utf-8")


def test_a_full_disk_is_one_sentence_and_the_work_before_is_kept(recipes, tmp_path, capsys):
    trainer = trainer_of("self_train", recipes["self_train"], f"out={tmp_path / 'run'}")
    trainer.begin()
    trainer.advance()
    trainer.save()
    before, limits = (tmp_path / "run" / STATE).read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        trainer.advance()
        with pytest.raises(SSegError, match=r"cannot be written \(.*\): make room, or name another folder"):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "run" / STATE).read_bytes() == before and not list((tmp_path / "run").glob(".*"))


@each_trainer
def test_a_folder_that_cannot_be_written_is_one_sentence(name, recipes, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main_of(name)([str(recipes[name]), f"out={tmp_path / 'file' / 'run'}"]) == 2
    assert "cannot be written (Not a directory): make room, or name another folder." in capsys.readouterr().err


def test_a_damaged_state_is_one_sentence(recipes, tmp_path, capsys):
    (tmp_path / STATE).write_bytes(b"hours of work")
    with pytest.raises(SSegError, match="is damaged: start anew"):
        checkpoints.load_state(tmp_path)
    assert main_of("distill")([str(recipes["distill"]), f"out={tmp_path}"]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / STATE).read_bytes() == b"hours of work"  # not overwritten by mistake
    assert main_of("distill")([str(recipes["distill"]), f"out={tmp_path}", "--resume"]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_resuming_nothing_is_one_sentence(recipes, tmp_path, capsys):
    assert main_of("pretrain")([str(recipes["pretrain"]), f"out={tmp_path / 'run'}", "--resume"]) == 2
    assert "no run to resume" in capsys.readouterr().err
