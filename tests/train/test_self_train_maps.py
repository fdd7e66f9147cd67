"""Self-training behind a frozen encoder: labels from kept maps, a head that learns them, killed at any moment."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

import sseg
from sseg.errors import SSegError
from sseg.fixed_vocabulary import present
from sseg.models.config import SSegConfig
from sseg.models.context_head import ContextHead, describe
from sseg.models.sseg import SSegModel
from tests.helpers.tars import write_tar
from tests.train.conftest import read, trainer_of
from tests.train.test_self_train import killed_when
from train import labels, self_train
from train.cells import draw_cells
from train.data.maps import _open, view_of
from train.publish import publish

BACKBONE = {"model_type": "timm_backbone", "backbone": "test_efficientnet", "out_indices": [2, 3, 4]}
BACKBONE |= {"output_stride": 16, "freeze_batch_norm_2d": True}
CATEGORIES = ["dog", "cat", "grass", "sky"]


@pytest.fixture
def teacher(tiny_config, tiny_weights, tmp_path):
    """Tiny weights on an encoder of timm, whose regions are clusters of its maps, as `photos` has them."""
    folder = tmp_path / "teacher"
    shutil.copytree(tiny_weights, folder)
    sizes = {"backbone": BACKBONE, "mask_stride": 8, "mask_feature": "encoder", "region_clusters": 4}
    torch.manual_seed(0)
    SSegModel(SSegConfig(**tiny_config.to_dict() | sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(teacher, tmp_path):
    rng, members = np.random.default_rng(0), {}
    for number in range(80):  # two files of labels
        buffer = io.BytesIO()
        blocks = Image.fromarray(rng.integers(0, 256, (2, 3, 3), np.uint8))
        blocks.resize((70, 50), Image.Resampling.NEAREST).save(buffer, "PNG")
        members[f"{number:03d}.png"] = buffer.getvalue()
        members[f"{number:03d}.json"] = json.dumps({"captions": ["never read"]}).encode()
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars/some.tar", members)
    made = read("plus-photos")
    made |= {"teacher": str(teacher), "out": str(tmp_path / "whole"), "device": "cpu", "views": [4, 3]}
    made["data"] |= {"root": str(tmp_path / "tars"), "folder": str(tmp_path / "maps"), "size": 128, "clusters": 4}
    made |= {"steps": 15, "batch": 4, "log_every": 5, "checkpoint_minutes": 0}
    made["model"] |= {"backbone": BACKBONE, "head_width": 8, "image_size": 128}
    path = tmp_path / "plus.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


@pytest.mark.slow
def test_killed_while_labelling_and_while_training_it_ends_as_an_unbroken_run(recipe, tmp_path):
    threads = torch.get_num_threads()
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    killed_when(broken / "labels/0000000.npz", [str(recipe), f"out={broken}"])
    assert not (broken / "labels/0000050.npz").exists()  # labelling was not over
    killed_when(broken / "state.safetensors", [str(recipe), f"out={broken}"])
    assert '"step": 15' not in (broken / "log.jsonl").read_text()  # training was not over
    try:
        torch.set_num_threads(1)
        assert self_train.main([str(recipe), f"out={broken}", "--resume"]) == 0
        assert self_train.main([str(recipe)]) == 0
    finally:
        torch.set_num_threads(threads)
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    publish(whole, tmp_path / "published", "plus", [])
    card = (tmp_path / "published/README.md").read_text()
    assert "has seen ImageNet's class labels" in card and "no human masks, no CLIP" in " ".join(card.split())
    assert str(tmp_path) not in card and "divided into 4 and 3 regions" in card
    assert "80 of the teacher's own training photographs" in card
    picture = Image.new("RGB", (90, 60), (90, 160, 60))
    assert sseg.load(str(tmp_path / "published"), device="cpu")(picture, background=0).labels.shape == (60, 90)


def test_the_encoder_stays_the_teachers_and_the_head_sees_in_use_what_it_learned_from(recipe, teacher):
    trainer = trainer_of("self_train", recipe, "steps=3")
    run = trainer.run
    for _ in range(3):
        trainer.advance()
    trainer.save()
    theirs = SSegModel.from_pretrained(teacher).encoder.state_dict()
    ours = run.model.backbone.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name].cpu(), theirs[name]) for name in ours)

    student = sseg.load(trainer.out, device="cpu")
    student.model.config.outlines = False
    row = 7
    square = view_of(_open(run.images.samples[row]), row, 0, 128)
    from_picture = student.encode(square, long_side=128).probabilities
    with torch.inference_mode():
        from_maps = student.model.from_maps(run.images.maps([row])).softmax(1)[0]
    assert from_picture.shape == (79, 8, 8) and torch.allclose(from_picture, from_maps, atol=2e-3)


def test_cells_are_drawn_from_labelled_places_and_rare_categories_more_often(recipe):
    run = trainer_of("self_train", recipe).run
    names = torch.full((80, 8, 8), labels.IGNORED, dtype=torch.uint8)
    names[:, :4], names[:, 4, :2], names[0] = 3, 7, labels.IGNORED  # 32 cells and two; nothing is known of the first
    plain, rare = (draw_cells(run.images, names, labels.IGNORED, 4, power, seed=1) for power in (0.0, 1.0))
    assert len(plain.ids) == len(rare.ids) == 4 * 79 and set(plain.ids.tolist()) == {3, 7}
    assert (plain.ids == 7).float().mean() < 0.12 and (rare.ids == 7).float().mean() > 0.3
    again = draw_cells(run.images, names, labels.IGNORED, 4, 0.0, seed=1)
    assert torch.equal(again.described, plain.described) and torch.equal(again.ids, plain.ids)
    fine, middle, coarse = (torch.from_numpy(level[1]).float() for level in run.images.levels)
    cells = torch.cat([torch.nn.functional.avg_pool2d(fine, 2), middle, coarse])  # (144, 8, 8): what a cell itself is
    for cell, name in zip(plain.described[:4], plain.ids[:4], strict=True):  # of the second picture
        gaps = (cells - cell[:144, None, None].float()).abs().amax(0)
        assert gaps.min() < 0.01 * cells.abs().max() and names[1].flatten()[gaps.argmin()] == name


def test_several_divisions_are_averaged(teacher):
    """What the teacher says of maps is what it says of the picture: an independent computation region by region."""
    seg = sseg.load(str(teacher), device="cpu")
    maps = [torch.randn(1, c, s, s, generator=torch.Generator().manual_seed(c)) for c, s in ((32, 8), (48, 4), (64, 4))]
    with torch.inference_mode():
        both = labels.probabilities(seg, seg.encode_maps(maps, [4, 2]), CATEGORIES)
        each = [labels.probabilities(seg, seg.encode_maps(maps, [k]), CATEGORIES) for k in (4, 2)]
        whole = seg.model.from_maps(maps)
        logits = whole.mask_embeddings[0] @ seg.embed(CATEGORIES).T * seg.model.use_scale
        expected = logits.softmax(1)[whole.mask_logits[0].argmax(0)].permute(2, 0, 1)
    assert torch.allclose(both, (each[0] + each[1]) / 2, atol=1e-6)
    assert torch.allclose(each[0], expected, atol=1e-5) and not torch.allclose(each[0], each[1], atol=1e-3)
    assert len(each[1].flatten(1).unique(dim=1).T) <= 2


def test_a_student_on_maps_may_teach_a_second_round(recipe, tmp_path):
    trainer = trainer_of("self_train", recipe, "steps=3")
    trainer.advance()
    trainer.save()
    run = trainer.run
    second = trainer_of("self_train", recipe, f"teacher={trainer.out}", f"out={tmp_path / 'second'}").run
    first = sseg.load(trainer.out, device="cpu").model
    with torch.inference_mode():
        said = first.from_maps(run.images.maps([4])).softmax(1)
    said = said[0].argmax(0)
    known = second.labels.ids.view(80, 8, 8)[4] != labels.IGNORED
    assert known.any() and (second.labels.ids.view(80, 8, 8)[4][known] == said[known]).all()
    assert all(torch.equal(t, first.head.state_dict()[n]) for n, t in second.model.head.state_dict().items())


@pytest.mark.parametrize(("change", "sentence"), [
    ("init=null", "set init to teacher"), ("model.head=upernet", "model.head to context"),
    ("cells=null", "cells is missing: data.name maps needs it"),
])  # fmt: skip
def test_kept_maps_of_another_encoder_are_one_sentence(recipe, change, sentence):
    with pytest.raises(SSegError, match=sentence):
        trainer_of("self_train", recipe, change)


def test_the_head_says_of_cells_what_it_says_of_the_picture_and_sees_all_of_it():
    torch.manual_seed(0)
    head = ContextHead([4, 6, 8], 16, 5).eval()
    maps = [torch.randn(2, c, s, 2 * s) for c, s in ((4, 12), (6, 6), (8, 6))]
    with torch.no_grad():
        out = head(maps)
        cells = describe(maps)
        assert out.shape == (2, 5, 6, 12) and cells.shape == (2, 6, 12, 54)
        assert torch.allclose(head.classify(cells[1, :, 3]), out[1, :, :, 3].T, atol=1e-6)
        assert torch.allclose(cells[0, 2, 5, 18:36], torch.cat([m[0] for m in (F.avg_pool2d(maps[0], 2), *maps[1:])])
                              [:, 0:5, 3:8].mean((1, 2)), atol=1e-5)  # fmt: skip
        maps[2][:, :, :, -1] += 5  # the far right
        changed = (head(maps) - out).abs().amax((0, 1))
    assert changed[:, 0].min() > 1e-4


def test_categories_that_are_nowhere_likely_do_not_count():
    scores = torch.zeros(3, 2, 2)
    scores[0], scores[1, 0], scores[2, 1] = 0.5, 0.5, 0.1
    scores[0, 1, 1], scores[1, 1], scores[2, 1, 0] = 0.8, 0.1, 0.4
    left = present(scores, 0.6)
    assert torch.allclose(left.sum(0), torch.ones(2, 2)) and not left[2].any()
    assert torch.allclose(left[:2, 0], scores[:2, 0]) and torch.equal(present(scores, 0.0), scores)
