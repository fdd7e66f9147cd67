"""Pre-training as in photos-shape.yaml and photos-assigned.yaml of train/recipes, shrunk to seconds and in one run: a
frozen encoder with a past, kept maps, words that start from vectors, masks first and meaning then."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import sseg
from sseg.errors import SSegError
from tests.helpers.tars import write_tar
from tests.train.conftest import read, same_state, trainer_of
from tests.train.data.test_maps import encoded, picture
from train import assignment, pretrain, word_vectors
from train.model_setup import standard
from train.recipe import Stage, read_mapping
from train.schedules import check_stages, place_in_stage
from train.word_vectors import make_words

ENCODER = "test_efficientnet"
NOUNS = ["dog", "man", "house", "tree"]
SHAPE, MEANING = 3, 4  # steps


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    """photos-assigned.yaml with a tiny encoder of a folder, twelve pictures, a dozen words and seven steps."""
    monkeypatch.setattr(word_vectors, "wordnet_words", lambda: ["hound"])
    monkeypatch.setattr(assignment, "SEEN_IN", 2)
    monkeypatch.setattr(assignment, "STEPS", 5)
    captions = [f"a {NOUNS[i % 4]} beside a puppy and a {NOUNS[(i + 1) % 4]}" for i in range(12)]
    members = {f"{i:02d}.png": encoded(picture(i)) for i in range(12)}
    members |= {f"{i:02d}.txt": caption.encode() for i, caption in enumerate(captions)}
    for name in ("pairs", "encoder", "words"):
        (tmp_path / name).mkdir()
    write_tar(tmp_path / "pairs/photos.tar", members)

    torch.manual_seed(7)
    save_file(timm.create_model(ENCODER, pretrained=False).state_dict(), tmp_path / "encoder/model.safetensors")
    vectors = np.random.default_rng(0)
    glove = {word: vectors.normal(size=4).astype(np.float32) for word in [*NOUNS, "puppy", "hound", "the", "person"]}
    encode = {word: torch.randn(8) for word in [*glove, "beside", "and"]}.__getitem__
    tokenizer, tensors = make_words([caption.replace("puppy", "") for caption in captions], ["person"], glove,
                                    lambda words: torch.stack([encode(word) for word in words]), 16)  # fmt: skip
    tokenizer.save_pretrained(tmp_path / "words")
    save_file(tensors, tmp_path / "words/words.safetensors")

    small = read("photos-assigned")
    small["init"] = None
    small["encoder"]["start"] = f"folder:{tmp_path / 'encoder'}"
    small["data"] |= {"root": str(tmp_path / "pairs"), "folder": str(tmp_path / "maps"), "size": 64, "clusters": 3}
    small["data"] |= {"views": 2, "shares": [{"only": "photos*", "share": 1.0}]}
    small["model"] |= {"fpn_dim": 32, "hidden_dim": 32, "num_queries": 5, "decoder_layers": 1, "decoder_heads": 2}
    small["model"] |= {"text_width": 16, "embed_dim": 16, "projector_dim": 32, "image_size": 64}
    small["model"] |= {"prior_regions": 9, "region_clusters": 0}
    small["model"]["backbone"]["backbone"] = ENCODER
    small["tokenizer"] = {"words": str(tmp_path / "words"), "max_length": 16}
    small["stages"] = [{"steps": SHAPE, "batch": 4, "k": 3, "learns": ["shape"]}]
    small["stages"] += [{"steps": MEANING, "batch": 6, "learns": ["meaning"]}]
    small["loss"] |= {"distractors": 5, "tags": 0.0}
    small["optimizer"] |= {"warmup": 1}
    small |= {"out": str(tmp_path / "run"), "log_every": 2, "checkpoint_minutes": 0, "device": "cpu"}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


def test_runs_that_stop_equal_an_unbroken_one_and_answer(recipe, tmp_path):
    """Stopped where meaning begins, and in the midst of it."""
    assert pretrain.main([str(recipe)]) == 0
    for stop in (SHAPE, SHAPE + 2):
        out = tmp_path / f"stopped-{stop}"
        trainer = trainer_of("pretrain", recipe, f"out={out}")
        for step in range(SHAPE + 3):  # goes on after its checkpoint, and is killed
            if step == stop:
                trainer.save()
            trainer.advance()
        del trainer
        assert pretrain.main([str(recipe), f"out={out}", "--resume"]) == 0
        same_state(tmp_path / "run", out)

    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()][1:]
    assert "dice" in lines[0] and "contrastive" not in lines[0]
    assert "dice" not in lines[-1] and lines[-1]["ground"] >= 0
    assert lines[-1]["contrastive"] > 0 and lines[-1]["phrases"] > 0 and lines[-1]["assignment"] > 0
    assert lines[-1]["samples"] == 4 * SHAPE + 6 * MEANING

    seg = sseg.load(tmp_path / "run", device="cpu")
    out = seg(Image.new("RGB", (90, 70)), "dog, tree, hound", background=0.0)
    assert out.labels.shape == (70, 90) and out.known == [True, True, False]
    known = {word["text"]: word for word in seg.words}
    assert known["man"]["wider"] == "person" and "puppy" not in known and seg.known("a person")


def test_the_encoder_and_the_masks_stay_as_they_are_while_meaning_is_learned(recipe, tmp_path):
    trainer = trainer_of("pretrain", recipe)
    run = trainer.run
    past = load_file(tmp_path / "encoder/model.safetensors")
    for _ in range(SHAPE):
        trainer.advance()
    masks = {name: tensor.clone() for name, tensor in run.average.items() if name.startswith(("segmenter", "mask_"))}
    trainer.advance()
    meaning = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    trainer.advance()
    for name, tensor in run.model.state_dict().items():
        if name.startswith(("segmenter", "mask_")):
            assert torch.equal(tensor, masks[name]), name
    assert not torch.equal(run.model.text_tower.own.weight, meaning["text_tower.own.weight"])
    own = run.model.encoder._backbone.state_dict()
    assert all(torch.equal(tensor, past[name]) for name, tensor in own.items())


def test_a_new_run_starts_from_vectors_and_unit_deviation(recipe, tmp_path):
    run = trainer_of("pretrain", recipe).run
    words = load_file(tmp_path / "words/words.safetensors")
    assert torch.equal(run.model.text_tower.vectors, words["vectors"].float())
    assert torch.equal(run.model.text_tower.nearest, words["nearest"])
    maps = run.pairs.batch(0, 500, run.stages[1]).images
    mean, std = standard([one.flatten(2).transpose(1, 2).flatten(0, 1) for one in maps])
    expected = torch.cat([one.transpose(0, 1).flatten(1).mean(1) for one in maps])
    assert torch.allclose(mean, expected, atol=1e-4) and torch.equal(run.model.feature_mean, mean)
    assert torch.equal(run.model.feature_std, std) and std.min() > 0


def test_masks_are_learned_from_the_clusters_of_the_kept_maps(recipe):
    run = trainer_of("pretrain", recipe).run
    batch = run.pairs.batch(5, 4, run.stages[0])
    ids, coarse = run.pseudo_masks(batch, 3, 5), batch.mask_ids.ids
    assert ids.shape == (4, 8, 8) and batch.mask_ids.rows == [0, 1, 2, 3]
    assert torch.equal(ids, coarse.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_photographs_may_go_through_an_encoder_that_learns(recipe):
    """Without kept maps: tars, an encoder at a tenth of the rate, masks of stride 8 from pixels."""
    stage = "{{steps: 2, size: 64, batch: 4, k: 3, learns: {}}}"
    trainer = trainer_of("pretrain", recipe, "encoder.learn=0.1", "pseudo_masks.features=pixels", "loss.assignment=0",
                         f"data={{name: tars, root: {read_mapping(recipe)['data']['root']}, cache_size: 64}}",
                         f"stages=[{stage.format('[shape, meaning]')}, {stage.format('[meaning]')}]")  # fmt: skip
    run = trainer.run
    before = run.model.encoder._backbone.conv_stem.weight.clone()
    terms = [trainer.advance() for _ in range(4)]
    assert "dice" in terms[0] and "dice" not in terms[3]
    assert not torch.equal(run.model.encoder._backbone.conv_stem.weight, before)


def test_tags_of_the_encoders_own_classifier_are_learned(recipe):
    trainer = trainer_of("pretrain", recipe, "loss.tags=1.0")
    terms = [trainer.advance() for _ in range(SHAPE + 1)]
    assert "tags" not in terms[0] and torch.isfinite(terms[-1]["tags"])


@pytest.mark.parametrize(("change", "words"), [
    ("encoder.learn=0.1", "frozen encoder alone"),
    ("encoder.start=folder:/nowhere", "There is no /nowhere/model.safetensors"),
    ("tokenizer.words=/nowhere", "There are no words in /nowhere"),
    ("data.root=/nowhere", "There is no folder /nowhere"),
    ("data={name: tars, root: /nowhere}", "stages.0.size is missing"),
    ("stages.0.k=null", "stages.0.k is missing"),
    ("model.num_queries=many", "model.num_queries is many: it takes a whole number"),
    ("model.text_tower=poem", "text_tower is one of"),
    ("model.fpn_dim=33", "The recipe's model cannot be built"),
    ("model.backbone.backbone=lcnet_035", "do not fit lcnet_035"),
    ("model.mask_feature=query", "set mask_feature to encoder"),
])  # fmt: skip
def test_what_does_not_fit_together_is_one_sentence(recipe, capsys, change, words):
    assert pretrain.main([str(recipe), change, "loss.tags=1.0"]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_stages_have_an_order():
    both, shape, meaning = (Stage(steps=1, batch=1, learns=part) for part in (None, ["shape"], ["meaning"]))
    check_stages([both, shape, both, meaning, meaning], 1)
    check_stages([both, both], 4)
    with pytest.raises(SSegError, match="before those that learn meaning alone"):
        check_stages([shape, meaning, both], 1)
    with pytest.raises(SSegError, match="without torchrun"):
        check_stages([both, meaning], 2)


def test_places_in_stages():
    stages = [Stage(steps=3, batch=1), Stage(steps=2, batch=1)]
    assert [place_in_stage(stages, step) for step in range(6)] == [(0, 3), (1, 3), (2, 3), (0, 2), (1, 2), (1, 2)]


def test_clusters_have_no_shape_to_learn(recipe):
    """Masks would be trained that nobody reads."""
    with pytest.raises(SSegError, match="no shape to learn"):
        trainer_of("pretrain", recipe, "model.region_clusters=3")
