"""S-Seg+: labels by a teacher, and a student that learns them; killed at any moment, the same comes out."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sseg
from sseg.errors import SSegError
from tests.conftest import ROOT
from tests.train.conftest import read, trainer_of
from train import alignment, labels, self_train
from train.data.unlabelled import Unlabelled, open_unlabelled
from train.publish import publish
from train.recipe.self_training import AllSure, FolderImages, KeptShare, Threshold

TARGET = ROOT / "assets/targets/photographs.yaml"
SMALL = {"name": "small-vit", "width": 16, "depth": 4, "heads": 2, "stem": [8, 8], "out": 8}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(80):  # two files of labels
        coarse = Image.fromarray(rng.integers(0, 256, (2, 3, 3), np.uint8))
        coarse.resize((70, 50), Image.Resampling.NEAREST).save(folder / f"{number:03d}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def recipe(photographs, tiny_weights, tmp_path):
    made = read("plus-stickers")
    made |= {"teacher": str(tiny_weights), "out": str(tmp_path / "whole"), "device": "cpu", "init": None}
    made |= {"data": {"name": "folder", "root": str(photographs), "size": 64}, "views": [64], "steps": 15, "batch": 2}
    made |= {"target": "photographs", "balanced": 10, "mirrored": False, "precision": "fp32"}
    made["unsure"] = {"name": "share", "keep": 0.6}
    made |= {"model": {"backbone": SMALL, "head_width": 8, "image_size": 64}, "log_every": 5, "checkpoint_minutes": 0}
    made["crop"]["size"] = 64
    path = tmp_path / "plus.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def killed_when(file: Path, arguments: list[str]) -> None:
    """Run the command until the file is there, then kill -9."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.Popen([sys.executable, "-m", "train.self_train", *arguments], cwd=ROOT, env=environment,
                           stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not file.exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL


def test_killed_while_labelling_and_while_training_it_ends_as_an_unbroken_run(recipe, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    killed_when(broken / "labels/0000000.npz", [str(recipe), f"out={broken}"])
    assert not (broken / "labels/0000050.npz").exists()  # labelling was not over
    killed_when(broken / "state.safetensors", [str(recipe), f"out={broken}"])
    first = int(sum('"step": 15' in line for line in (broken / "log.jsonl").read_text().splitlines()))
    assert first == 0  # training was not over
    try:
        torch.set_num_threads(1)
        assert self_train.main([str(recipe), f"out={broken}", "--resume"]) == 0
        assert self_train.main([str(recipe)]) == 0
    finally:
        torch.set_num_threads(threads)
    for name in ("0000000", "0000050"):
        with np.load(broken / f"labels/{name}.npz") as a, np.load(whole / f"labels/{name}.npz") as b:
            assert np.array_equal(a["labels"], b["labels"]) and np.array_equal(a["sure"], b["sure"])
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    result = {"benchmark": "voc-mini", "model": "a/plus", "images": 9, "miou": 12.34, "protocol": "all", "commit": "0a"}
    result |= {"target": "photographs", "half": "odd"}
    publish(whole, tmp_path / "published", "plus", [result | {"hardware": "a processor"}])
    card = (tmp_path / "published/README.md").read_text()
    assert "| voc-mini | plus | 9 | 12.3 | all | 0 | 0a |" in card and "sofa / couch" in card
    assert "--model WEIGHTS --target photographs --half odd`" in card
    assert "the same share of 10 of the pictures" in card
    assert "the least sure pixels beyond a share of 0.6" in card and str(tmp_path) not in card
    assert sseg.load(str(tmp_path / "published")).categories == list(yaml.safe_load(TARGET.read_text())["categories"])


def test_labels_made_otherwise_are_not_taken(recipes, unbroken, tmp_path):
    shutil.copytree(unbroken("self_train") / "labels", tmp_path / "run/labels")
    with pytest.raises(SSegError, match="holds labels of another views"):
        trainer_of("self_train", recipes["self_train"], f"out={tmp_path / 'run'}", "views=[96]")


def test_a_student_learns_what_its_teacher_says(recipes, unbroken, tmp_path):
    """Two colours, two categories: the teacher is a rule here, and the student finds it on other pictures."""
    shutil.copytree(unbroken("self_train") / "labels", tmp_path / "run/labels")
    changes = [f"out={tmp_path / 'run'}", "steps=50", "batch=8", "crop.size=32", "crop.colour=0.0"]
    trainer = trainer_of("self_train", recipes["self_train"], *changes, "optimizer.lr=1e-2")
    blue = trainer.run.images.pixels[:, 2, ::2, ::2] > trainer.run.images.pixels[:, 0, ::2, ::2]
    trainer.run.labels.ids = torch.where(blue, 1, 0).byte().flatten()
    for _ in range(trainer.run.total):
        terms = trainer.advance()
    assert float(terms["agreement"]) > 0.8
    trainer.save()
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 2] = picture[:, 32:, 0] = 220
    best = sseg.load(tmp_path / "run", device="cpu")(picture, background=0).labels
    assert (best[8:56, 4:24] == 1).mean() > 0.9 and (best[8:56, 40:60] == 0).mean() > 0.9


def test_a_batch_of_which_nothing_is_known_teaches_nothing(recipes, unbroken, tmp_path):
    shutil.copytree(unbroken("self_train") / "labels", tmp_path / "run/labels")
    trainer = trainer_of("self_train", recipes["self_train"], f"out={tmp_path / 'run'}")
    trainer.run.labels.ids = torch.full_like(trainer.run.labels.ids, labels.IGNORED)
    terms = trainer.advance()
    assert float(terms["loss"]) == 0 and float(terms["agreement"]) == 0


def test_a_student_may_start_from_the_encoder_of_its_teacher(recipes, tiny_config, tiny_weights, tmp_path):
    backbone = f"model.backbone={tiny_config.backbone}"
    changes = ["init=teacher", f"teacher={tiny_weights}", "balanced=0", "mirrored=false"]
    trainer = trainer_of("self_train", recipes["self_train"], *changes, backbone, f"out={tmp_path / 'first'}")
    theirs = sseg.load(tiny_weights, device="cpu").model.segmenter.pixel_level_module.encoder.state_dict()
    ours = trainer.run.model.backbone.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    shares = {group["share"] for group in trainer.run.optimizer.param_groups}
    decay = trainer.recipe.optimizer.layer_decay
    assert {round(share, 6) for share in shares} == {round(decay**below, 6) for below in range(6)}  # head ... stem
    trainer.advance()
    trainer.save()
    again = [*changes, backbone, f"teacher={tmp_path / 'first'}", f"out={tmp_path / 'second'}"]
    second = trainer_of("self_train", recipes["self_train"], *again)
    first = sseg.load(tmp_path / "first", device="cpu").model.state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in second.run.model.state_dict().items())  # all of it
    with pytest.raises(SSegError, match="does not fit init: teacher"):
        trainer_of("self_train", recipes["self_train"], *again, "model.backbone.embedding_size=16")


def test_what_is_unsure_is_ignored_by_the_chosen_rule():
    found = torch.tensor([[[0, 0, 0, 0], [1, 1, 2, 2]]]).byte()
    sure = torch.tensor([[[250, 200, 100, 50], [90, 60, 30, 20]]]).byte()
    kept, about = labels.ignore_unsure(found, sure, Threshold(name="threshold", least=0.3))
    assert kept.tolist() == [[[0, 0, 0, 255], [1, 255, 255, 255]]] and about == {"ignored": 0.5}
    kept, about = labels.ignore_unsure(found, sure, KeptShare(name="share", keep=0.5))
    assert kept.tolist() == [[[0, 0, 255, 255], [1, 255, 2, 255]]] and about == {"ignored": 0.5}  # no category is lost
    assert torch.equal(labels.ignore_unsure(found, sure, AllSure(name="all"))[0], found)


def test_categories_are_weighed_until_all_have_the_same_share():
    taste = torch.tensor([4.0, 1.0, 0.2, -2.0])  # a teacher that sees the first everywhere
    probabilities = (torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) + taste).softmax(1)
    weights = alignment.equal_shares(probabilities)
    shares = alignment.aligned(probabilities, weights).mean(0)
    assert torch.allclose(shares, torch.full((4,), 0.25), atol=1e-3)
    assert torch.allclose(weights[0] / weights[3], torch.tensor(-6.0).exp(), rtol=0.2)  # the taste is taken back
    even = alignment.equal_shares(torch.cat([probabilities.roll(i, 1) for i in range(4)]))
    assert torch.allclose(even, torch.ones(4), atol=1e-3)  # who has none keeps all as it is
    none = alignment.equal_shares(torch.cat([probabilities, torch.zeros(5000, 1)], 1))
    assert none.isfinite().all()


def test_a_balanced_teacher_labels_with_those_weights(photographs, tiny_weights, tmp_path):
    """Its favourite gets fewer pixels, and the same labels come when the weights are read again."""
    pictures = open_unlabelled(FolderImages(name="folder", root=str(photographs), size=64), 0, [])
    pictures = Unlabelled(pictures.pixels[:20], pictures.aspects[:20], pictures.keys[:20])
    teacher, names = sseg.load(tiny_weights, device="cpu"), ["a dog", "grass", "the sky"]
    plain, _ = labels.label(teacher, pictures, names, tmp_path / "plain", [64], False)
    found, sure = labels.label(teacher, pictures, names, tmp_path / "balanced", [64], False, balanced=20)
    shares = [torch.bincount(one.flatten().int(), minlength=3) / one.numel() for one in (plain, found)]
    assert shares[0].max() > 0.6 and shares[1].max() < shares[0].max()
    again = labels.label(teacher, pictures, names, tmp_path / "balanced", [64], False, balanced=20)
    assert torch.equal(again[0], found) and torch.equal(again[1], sure)


def test_confusion_changes_whole_regions_at_its_rate():
    found = torch.randint(0, 20, (400, 6, 6), generator=torch.Generator().manual_seed(0)).byte()
    found[:, 0] = labels.IGNORED
    changed = labels.confuse(found, 0.3, 20, seed=1)
    assert (changed[:, 0] == labels.IGNORED).all()
    assert 0.25 < float((changed != found)[:, 1:].float().mean()) < 0.32  # one in twenty draws is the same again
    for before, after in zip(found[:20], changed[:20], strict=True):
        for one in before.unique():
            assert len(after[before == one].unique()) == 1
    assert torch.equal(labels.confuse(found, 0.0, 20, seed=1), found)


def test_pictures_have_their_true_shape_when_the_teacher_looks(photographs):
    found = open_unlabelled(FolderImages(name="folder", root=str(photographs), size=64), 0, [])
    assert len(found.keys) == 80  # what cannot be read is left out
    assert found.image(3).shape == (46, 64, 3)
    original = Image.open(photographs / found.keys[3]).resize((64, 46))
    assert np.abs(found.image(3).numpy().astype(int) - np.asarray(original)).mean() < 8
    tall = Unlabelled(found.pixels[:1], torch.tensor([0.5]), ["tall"])
    assert tall.image(0).shape == (64, 32, 3)
