"""Scenes and photographs in one batch, each with its own kind of pseudo-masks."""

import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sseg.errors import SSegError
from tests.helpers.tars import write_tar
from train.data.sources import Mixture, open_pairs
from train.data.stickers.scenes import Difficulty
from train.data.whole_masks import Settings
from train.pseudo_masks import write
from train.recipe import Stage, build
from train.recipe.pretraining import Mixture as Mixed
from train.recipe.pretraining import PseudoMasks

DIFFICULTY = Difficulty((1, 1), (0.5, 0.9), (1, 1), hidden=0.2)
STAGES = [Stage(size=32, k=6, steps=2, batch=8, difficulty=DIFFICULTY)]
PIXELS = PseudoMasks(features="pixels")
pytestmark = pytest.mark.font


@pytest.fixture
def photographs(tmp_path):
    rng, members = np.random.default_rng(0), {}
    for number in range(10):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8)).save(buffer, "PNG")
        caption = f"a dog and {number} apples beside a thingamajig"
        members |= {f"{number}.png": buffer.getvalue(), f"{number}.txt": caption.encode()}
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars/a.tar", members)
    return str(tmp_path / "tars")


def recipe(photographs, share=0.25, **more):
    tars = {"name": "tars", "root": photographs, "cache_size": 48, "share": share, **more}
    return build(Mixed, {"name": "mixture", "parts": [{"name": "stickers", "share": 1 - share}, tars]})


def test_a_batch_holds_the_shares_of_the_parts_as_each_gives_them(photographs, emoji_font):
    mixed = open_pairs(recipe(photographs), 3, "cpu", STAGES, PIXELS)
    batch = mixed.batch(5, 8, STAGES[0])
    scenes, photos = mixed.parts[0].batch(5, 6, STAGES[0]), mixed.parts[1].batch(5, 2, STAGES[0])
    assert torch.equal(batch.images[:6], scenes.images) and torch.equal(batch.images[6:], photos.images)
    assert batch.captions == scenes.captions + photos.captions and batch.mask_ids is None


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [1, 2, 3], [0.9, 0.05, 0.05]])
def test_counts_sum_to_the_batch_and_are_as_near_to_the_shares_as_whole_numbers_can(n, shares):
    class Part:
        needs_clusters = False

    counts = Mixture([Part() for _ in shares], shares).counts(n)
    assert sum(counts) == n
    assert all(abs(count - n * share / sum(shares)) <= 1 for count, share in zip(counts, shares, strict=True))


def test_photographs_bring_stored_masks_and_scenes_none(photographs, tmp_path, emoji_font):
    write(photographs, tmp_path / "masks", Settings("pixels", 4, 64))
    shapes = {"features": "pixels", "stored": str(tmp_path / "masks"), "k": 4, "resolution": 64}
    mixed = open_pairs(recipe(photographs, pseudo_masks=shapes), 3, "cpu", STAGES, PIXELS)
    known = mixed.batch(5, 8, STAGES[0]).mask_ids
    assert mixed.needs_clusters and known.rows == [6, 7]
    own = mixed.parts[1].batch(5, 2, STAGES[0]).mask_ids.ids
    assert torch.equal(known.ids, own) and known.ids.min() >= 0 and known.ids.max() < 4
    assert mixed.batch(5, 8, replace(STAGES[0], learns=["meaning"])).mask_ids is None  # not drawn where nobody asks


def test_stored_masks_of_more_clusters_than_a_stage_has_are_refused(photographs, tmp_path, emoji_font):
    shapes = {"features": "pixels", "stored": str(tmp_path / "masks"), "k": 9}
    with pytest.raises(SSegError, match="more than a stage's k, 6"):
        open_pairs(recipe(photographs, pseudo_masks=shapes), 3, "cpu", STAGES)


def test_a_parts_own_features_for_crops_are_refused_rather_than_left_unused(photographs, emoji_font):
    with pytest.raises(SSegError, match="give them stored or whole"):
        open_pairs(recipe(photographs, pseudo_masks={"features": "textons"}), 3, "cpu", STAGES)


def test_the_vocabulary_has_the_names_of_scenes_and_the_words_of_photographs(photographs, emoji_font):
    mixed = open_pairs(recipe(photographs), 3, "cpu", STAGES)
    words = Counter({"dog": 30, "thingamajig": 10, "beside": 10})
    kinds = {}
    for entry in mixed.vocabulary(words):
        kinds.setdefault(entry["text"], []).append(entry["kind"])
    assert kinds["thingamajig"] == ["word"] and kinds["dog"] == ["thing"] and "beside" not in kinds
    assert len(mixed.vocabulary(words)) == len(mixed.parts[0].vocabulary(words)) + 1
