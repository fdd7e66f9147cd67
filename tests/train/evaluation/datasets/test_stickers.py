"""The stickers benchmark: its labels say exactly what shows, and its scenes are fixed."""

import inspect

import numpy as np
import pytest
import torch

from sseg.errors import SSegError
from train.data.stickers import glyphs
from train.data.stickers.glyphs import Material, Thing, Vocabulary
from train.data.stickers.world import TEST, Difficulty, StickerWorld
from train.evaluation.datasets.stickers import SCENES, StickersBenchmark, truth

THINGS = 12
NAMES = ("sky", "sand", "brick wall", "lava")


def palette(n):
    """n colours that are far apart, as bytes (n, 3)."""
    levels = torch.tensor([0, 90, 170, 255])
    return torch.cartesian_prod(levels, levels, levels)[torch.arange(n) * 3 + 1]


@pytest.fixture(scope="module")
def flat_world():
    """Things and materials of one flat colour each, so that a colour tells the class."""
    vocabulary = Vocabulary(tuple(Thing("", f"thing{i}") for i in range(THINGS)), tuple(Material(n) for n in NAMES))
    colours = palette(THINGS + len(NAMES))
    atlas = torch.zeros(THINGS, 4, 64, 64, dtype=torch.uint8)
    atlas[:, :3] = colours[:THINGS, :, None, None]
    line = torch.linspace(-1, 1, 64)
    atlas[:, 3] = (torch.hypot(line[:, None], 1.6 * line) < 0.95).to(torch.uint8) * 255
    world = StickerWorld(96, atlas=atlas, vocabulary=vocabulary)
    ground = colours[THINGS:].repeat_interleave(world.bank.variants, 0).to(torch.uint8)
    bank = type(world.bank).__new__(type(world.bank))  # a copy: worlds share their bank
    bank.variants, bank.size = world.bank.variants, world.bank.size
    bank.levels = [ground[:, :, None, None].expand_as(level).contiguous() for level in world.bank.levels]
    world.bank = bank
    return world, colours


def neutral(plan):
    """The plan without light, shadow, noise, blur and changed colours."""
    plan.gain[:] = plan.material_gain[:] = 1
    plan.light[:] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    for off in (plan.lift, plan.shadow, plan.noise, plan.blur):
        off.zero_()
    return plan


def test_labels_equal_what_the_colours_say(flat_world):
    world, colours = flat_world
    plan = neutral(world.plan(1, 40, TEST))
    pixels = world.render(plan).permute(0, 2, 3, 1).reshape(-1, 3).float()
    labels = truth(plan, world)
    assert labels.shape == (40, 96, 96) and labels.dtype == torch.int32
    counts = labels.flatten() >= 0
    nearest = torch.cdist(pixels[counts], colours.float()).argmin(1)
    assert (nearest == labels.flatten()[counts]).float().mean() > 0.998
    assert 0.01 < 1 - counts.float().mean() < 0.12  # soft edges only


def test_every_thing_of_the_plan_is_labelled(flat_world):
    world, _ = flat_world
    plan = world.plan(2, 40, TEST)
    labels = truth(plan, world)
    for label, things, mats in zip(labels, plan.thing, plan.material, strict=True):
        expected = set(things[things >= 0].tolist())
        found = set(label.unique().tolist()) - {-1}
        assert {f for f in found if f < THINGS} == expected
        assert {f - THINGS for f in found if f >= THINGS} <= set(mats[mats >= 0].tolist())


def test_the_nearer_thing_has_the_label(flat_world):
    world, _ = flat_world
    plan = world.plan(3, 1, Difficulty((2, 2), (0.4, 0.4), (1, 1)))
    plan.thing[:] = torch.tensor([3, 5])
    plan.centre[:] = torch.tensor([[0.45, 0.5], [0.55, 0.5]])
    plan.angle.zero_()
    label = truth(plan, world)[0]
    assert label[48, round(0.5 * 96)] == 5
    assert label[48, round(0.35 * 96)] == 3


@pytest.mark.slow
@pytest.mark.font
def test_the_benchmark_yields_fixed_scenes_with_full_labels():
    bench = StickersBenchmark("stickers", limit=4, size=64)
    samples = list(bench)
    vocabulary = glyphs.load_vocabulary()
    assert bench.class_names == vocabulary.phrases() and bench.name == "stickers"
    assert bench.groups["things"] == list(range(len(vocabulary.things)))
    assert len(bench.groups["things"]) + len(bench.groups["materials"]) == len(bench.class_names)
    assert len(bench) == len(samples) == 4
    for sample in samples:
        assert sample.image.shape == (64, 64, 3) and sample.image.dtype == np.uint8
        assert sample.labels.shape == (64, 64) and sample.labels.dtype == np.int32
        assert sample.labels.min() >= -1 and sample.labels.max() < len(bench.class_names)
        things = np.unique(sample.labels[(sample.labels >= 0) & (sample.labels < bench.num_things)])
        assert 1 <= len(things) <= 4
    assert len({sample.name for sample in samples}) == 4
    fewer = list(StickersBenchmark("stickers", limit=2, size=64))
    assert all(
        np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels)
        for a, b in zip(fewer, samples, strict=False)
    )
    moved = next(iter(StickersBenchmark("stickers", seed_offset=1, limit=1, size=64)))
    assert not np.array_equal(moved.labels, samples[0].labels)


@pytest.mark.slow
@pytest.mark.font
def test_held_out_scenes_show_pairs_that_training_never_does():
    bench = StickersBenchmark("stickers-heldout", limit=6, size=64)
    table, first = bench.world.planner.held_out, bench.num_things
    for sample in bench:
        present = np.unique(sample.labels[sample.labels >= 0])
        things, mats = present[present < first], present[present >= first] - first
        assert table[things][:, mats].any(1).all()


def test_the_default_is_a_thousand_scenes_of_224_pixels():
    defaults = {name: p.default for name, p in inspect.signature(StickersBenchmark).parameters.items()}
    assert (defaults["size"], defaults["limit"], SCENES) == (224, None, 1000)
    assert (TEST.things, TEST.side, TEST.materials) == ((1, 4), (0.25, 0.6), (1, 3))


def test_an_unknown_name_is_a_clear_error():
    with pytest.raises(SSegError, match="stickers-heldout"):
        StickersBenchmark("sticker")


@pytest.mark.slow
@pytest.mark.font
def test_the_target_shows_its_own_things_alone(emoji_font):
    from train.data.targets import load_target

    whole, target = StickersBenchmark("stickers"), StickersBenchmark("stickers-target", limit=50)
    assert target.class_names == load_target("stickers").categories and target.num_things == 60
    assert set(target.class_names) <= set(whole.class_names)
    plan = target.world.plan(0, 50, TEST)
    names = {target.world.vocabulary.things[i].name for i in plan.thing.flatten().tolist() if i >= 0}
    assert names <= set(target.class_names[:60]) and len(names) > 20
    labels = np.stack([sample.labels for sample in target])
    assert labels.min() == -1 and labels.max() < len(target.class_names) and (labels >= 60).any()
    shown = {target.class_names[i] for i in np.unique(labels) if 0 <= i < 60}
    assert shown <= names
