"""Self-training behind a frozen encoder: labels from kept maps, a head that learns them, killed at any moment."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sseg
from sseg.config import SSegConfig
from sseg.context_head import ContextHead
from sseg.errors import SSegError
from sseg.model import SSegModel
from tests.tars import write_tar
from tests.test_self_train import ROOT, killed_when
from train import labels, self_train
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
    for number in range(120):  # three files of labels
        buffer = io.BytesIO()
        blocks = Image.fromarray(rng.integers(0, 256, (2, 3, 3), np.uint8))
        blocks.resize((70, 50), Image.Resampling.NEAREST).save(buffer, "PNG")
        members[f"{number:03d}.png"] = buffer.getvalue()
        members[f"{number:03d}.json"] = json.dumps({"captions": ["never read"]}).encode()
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars/some.tar", members)
    made = yaml.safe_load((ROOT / "train/recipes/plus-photos.yaml").read_text())
    made |= {"teacher": str(teacher), "out": str(tmp_path / "whole"), "device": "cpu", "views": [4, 3]}
    made["data"] |= {"root": str(tmp_path / "tars"), "folder": str(tmp_path / "maps"), "size": 128, "clusters": 4}
    made |= {"steps": 60, "batch": 2, "log_every": 5, "checkpoint_minutes": 0}
    made["model"] |= {"backbone": BACKBONE, "head_width": 8, "image_size": 128}
    path = tmp_path / "plus.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def test_killed_while_labelling_and_while_training_it_ends_as_an_unbroken_run(recipe, tmp_path):
    threads = torch.get_num_threads()
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    killed_when(broken / "labels/0000000.npz", [str(recipe), f"out={broken}"])
    assert not (broken / "labels/0000100.npz").exists()  # labelling was not over
    killed_when(broken / "state.safetensors", [str(recipe), f"out={broken}"])
    assert '"step": 60' not in (broken / "log.jsonl").read_text()  # training was not over
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
    assert "120 photographs" in card and "divided into 4 and 3 regions" in card and str(tmp_path) not in card
    picture = Image.new("RGB", (90, 60), (90, 160, 60))
    assert sseg.load(str(tmp_path / "published"), device="cpu")(picture, background=0).labels.shape == (60, 90)


def test_the_encoder_stays_the_teachers_and_the_head_sees_in_use_what_it_learned_from(recipe, teacher):
    made = yaml.safe_load(recipe.read_text()) | {"steps": 3}
    run = self_train.Run(made, resume=False)
    for _ in range(3):
        run.train_step()
    run.save()
    theirs = SSegModel.from_pretrained(teacher).encoder.state_dict()
    ours = run.model.backbone.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name].cpu(), theirs[name]) for name in ours)

    student = sseg.load(made["out"], device="cpu")
    student.model.config.outlines = False
    row = 7
    from train.data.maps import _open, view_of

    square = view_of(_open(run.pictures.samples[row]), row, 0, 128)
    from_picture = student.encode(square, long_side=128).probabilities
    with torch.inference_mode():
        from_maps = student.model.from_maps(run.pictures.maps([row])).softmax(1)[0]
    assert from_picture.shape == (79, 16, 16) and torch.allclose(from_picture, from_maps, atol=2e-3)


def test_windows_of_maps_and_of_labels_lie_on_each_other(recipe):
    run = self_train.Run(yaml.safe_load(recipe.read_text()), resume=False)
    pictures, rows = run.pictures, [3, 0, 5, 5, 9, 11, 2, 8]
    whole = pictures.maps(rows)
    assert [torch.equal(one, torch.from_numpy(level[rows]).float()) for one, level in zip(whole, pictures.levels, strict=True)]
    flipped = set()
    for seed in range(12):
        draws = torch.rand(4, generator=torch.Generator().manual_seed(seed))
        maps, theta = pictures.windows(rows, draws, 0.5)
        side = maps[-1].shape[-1]
        assert side in range(4, 9) and maps[0].shape[-1] == 2 * side
        run.labels.ids = torch.arange(64).repeat(120).byte()  # each cell its own number
        ids = run.labels.cut(rows, theta, side)
        for number, row in enumerate(rows):
            y, x = ids[number] // 8, ids[number] % 8
            coarsest = torch.from_numpy(pictures.levels[-1][row]).float()
            assert torch.equal(maps[-1][number], coarsest[:, y, x])
            flipped.add(bool(x[0, 0] > x[0, -1]))
            finer = torch.from_numpy(pictures.levels[0][row]).float()
            assert torch.equal(maps[0][number].mean(0).view(side, 2, side, 2).mean((1, 3)),
                               finer.mean(0).view(8, 2, 8, 2).mean((1, 3))[y, x])  # fmt: skip
    assert flipped == {True, False}


def test_several_divisions_are_averaged(teacher):
    """What the teacher says of maps is what it says of the picture: an independent computation region by region."""
    seg = sseg.load(str(teacher), device="cpu")
    maps = [torch.randn(1, c, s, s, generator=torch.Generator().manual_seed(c)) for c, s in ((32, 8), (48, 4), (64, 4))]
    with torch.inference_mode():
        both = labels.probabilities(seg, labels.encode_maps(seg, maps, [4, 2]), CATEGORIES)
        each = [labels.probabilities(seg, labels.encode_maps(seg, maps, [k]), CATEGORIES) for k in (4, 2)]
        whole = seg.model.from_maps(maps)
        logits = whole.mask_embeddings[0] @ seg.embed(CATEGORIES).T * seg.model.use_scale
        expected = logits.softmax(1)[whole.mask_logits[0].argmax(0)].permute(2, 0, 1)
    assert torch.allclose(both, (each[0] + each[1]) / 2, atol=1e-6)
    assert torch.allclose(each[0], expected, atol=1e-5) and not torch.allclose(each[0], each[1], atol=1e-3)
    assert len(each[1].flatten(1).unique(dim=1).T) <= 2


def test_a_student_on_maps_may_teach_a_second_round(recipe, tmp_path):
    made = yaml.safe_load(recipe.read_text()) | {"steps": 3}
    run = self_train.Run(made, resume=False)
    run.train_step()
    run.save()
    second = self_train.Run(made | {"teacher": made["out"], "out": str(tmp_path / "second")}, resume=False)
    first = sseg.load(made["out"], device="cpu").model
    with torch.inference_mode():
        said = first.from_maps(run.pictures.maps([4])).softmax(1)
    said = torch.nn.functional.avg_pool2d(said, 2)[0].argmax(0)
    known = second.labels.ids.view(120, 8, 8)[4] != labels.IGNORED
    assert known.any() and (second.labels.ids.view(120, 8, 8)[4][known] == said[known]).all()
    assert all(torch.equal(t, first.head.state_dict()[n]) for n, t in second.model.head.state_dict().items())


@pytest.mark.parametrize(("change", "sentence"), [
    ({"init": None}, "set init to teacher"), ({"head": "upernet"}, "model.head to context"),
])  # fmt: skip
def test_kept_maps_of_another_encoder_are_one_sentence(recipe, change, sentence):
    made = yaml.safe_load(recipe.read_text())
    made["model"]["head"] = change.pop("head", "context")
    with pytest.raises(SSegError, match=sentence):
        self_train.Run(made | change, resume=False)


def test_the_head_sees_the_whole_picture_and_keeps_its_grid():
    torch.manual_seed(0)
    head = ContextHead([4, 6, 8], 16, 5).eval()
    maps = [torch.randn(2, c, s, 2 * s) for c, s in ((4, 12), (6, 6), (8, 6))]
    with torch.no_grad():
        out = head(maps)
        maps[2][:, :, :, -1] += 5  # the far right: beyond what convolutions reach from the left
        changed = (head(maps) - out).abs().amax((0, 1))
    assert out.shape == (2, 5, 12, 24) and changed[:, 0].min() > 1e-4
