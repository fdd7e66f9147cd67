"""The sticker world: reproducible scenes that keep their promises, and no ground truth in what training gets."""

import ast
import itertools
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sseg.errors import SSegError
from train.data.stickers import materials, scenes
from train.data.stickers.glyphs import Material, Thing, Vocabulary
from train.data.stickers.world import EASY, PAIRS, TEST, Difficulty, StickerWorld, mix

DATA = Path(scenes.__file__).parents[1]
NAMES = ("sky", "sand", "brick wall", "lava", "marble", "water")


def disc(size=64):
    line = torch.linspace(-1, 1, size)
    return (torch.hypot(line[:, None], line) < 0.95).float()


def corner(size=64):
    """An L: neither its mirror image nor any turn of it is the same."""
    shape = torch.zeros(size, size)
    shape[:, : size // 4] = shape[-size // 4 :] = 1
    return shape


SHAPES = (disc(), corner(), torch.ones(64, 64))


def make_atlas(n):
    """n things of three shapes: uint8 (n, 4, 64, 64)."""
    colours = torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 64, 64)
    alpha = torch.stack([SHAPES[i % 3] for i in range(n)])[:, None]
    return (torch.cat([colours, alpha], 1) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(tuple(Thing("", f"thing{i}") for i in range(30)), tuple(Material(name) for name in NAMES))


@pytest.fixture(scope="module")
def make_world(vocabulary):
    return lambda size=64, split="train": StickerWorld(size, split=split, atlas=make_atlas(30), vocabulary=vocabulary)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.fixture(scope="module")
def planners():
    """Planners of all splits over a vocabulary with all materials and 200 things."""
    known = Vocabulary(
        tuple(Thing("", f"thing{i}") for i in range(200)), tuple(Material(name) for name in materials.NAMES)
    )
    alpha = torch.nn.functional.avg_pool2d(make_atlas(200)[:, 3:].float(), 4).to(torch.uint8)
    return {split: scenes.Planner(split, known, alpha) for split in scenes.SPLITS}


def meetings(plan):
    """(scene, thing, material) for all that share a picture."""
    met = itertools.chain.from_iterable(
        itertools.product([scene], [t for t in things if t >= 0], [m for m in mats if m >= 0])
        for scene, (things, mats) in enumerate(zip(plan.thing.tolist(), plan.material.tolist(), strict=True))
    )
    return torch.tensor(list(met))


def one_thing(world, thing, centre, side, angle=0.0, flip=1.0):
    """A plan with one thing of that placement."""
    plan = world.plan(0, 1, Difficulty((1, 1), (0.3, 0.3), (1, 1)))
    plan.thing[:], plan.side[:], plan.angle[:], plan.flip[:] = thing, side, angle, flip
    plan.centre[:] = torch.tensor(centre)
    return plan


def test_a_training_sample_is_pixels_and_captions_and_nothing_else(world):
    sample = world.batch(1, 5, TEST)
    assert type(sample) is tuple and len(sample) == 2
    pixels, captions = sample
    assert type(pixels) is torch.Tensor and pixels.dtype == torch.uint8 and pixels.shape == (5, 3, 64, 64)
    assert not vars(pixels)  # nothing hangs on the tensor
    assert type(captions) is list and len(captions) == 5 and all(type(c) is str and c for c in captions)
    assert typing.get_type_hints(StickerWorld.batch)["return"] == tuple[torch.Tensor, list[str]]


def test_nothing_in_train_data_imports_ground_truth_or_asks_for_layers():
    for path in DATA.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names.append(getattr(node, "module", None) or "")
            assert not any("evaluation" in name or "metrics" in name for name in names), path.name
            assert not (isinstance(node, ast.Attribute) and node.attr == "layers"), path.name


def test_same_seed_same_scenes_whatever_happened_before(world, make_world):
    pixels, captions = world.batch(7, 6, TEST)
    world.batch(8, 3, EASY)
    torch.rand(3)
    again, captions_again = make_world().batch(7, 6, TEST)
    assert torch.equal(pixels, again) and captions == captions_again


def test_other_seeds_and_other_splits_give_other_scenes(world, make_world):
    pixels = world.batch(7, 6, TEST)[0].float()
    for other in (world.batch(8, 6, TEST)[0], make_world(split="test").batch(7, 6, TEST)[0]):
        assert (pixels - other.float()).abs().mean((1, 2, 3)).min() > 5


def test_splits_never_share_a_seed():
    seeds = [scenes.Dice(split, seed).generator.initial_seed() for split in scenes.SPLITS for seed in range(2000)]
    assert len(set(seeds)) == len(seeds)


def test_a_plan_looks_the_same_at_every_size(make_world):
    small, large = make_world(48), make_world(144)
    plan = small.plan(3, 12, TEST)
    plan.noise.zero_()
    plan.blur.zero_()
    reduced = torch.nn.functional.avg_pool2d(large.render(plan).float(), 3)
    assert (reduced - small.render(plan).float()).abs().mean() < 8  # of 255; two different scenes differ by some 70


def test_rendering_a_part_of_a_plan_renders_those_scenes(world):
    plan = world.plan(4, 9, TEST)
    assert torch.equal(world.render(plan)[3:5], world.render(plan.part(3, 5)))


@pytest.mark.parametrize("difficulty", [EASY, PAIRS, TEST, Difficulty((2, 5), (0.15, 0.3), (2, 3))])
def test_scenes_have_as_much_as_the_difficulty_says(planners, difficulty):
    plan = planners["train"].plan(1, 300, difficulty)
    things, mats = (plan.thing >= 0).sum(1), (plan.material >= 0).sum(1)
    assert set(things.tolist()) == set(range(difficulty.things[0], difficulty.things[1] + 1))
    assert set(mats.tolist()) == set(range(difficulty.materials[0], difficulty.materials[1] + 1))
    assert plan.side.min() >= difficulty.side[0] and plan.side.max() <= difficulty.side[1]
    for row in plan.material[:50]:
        present = row[row >= 0]
        assert len(present.unique()) == len(present)


def test_every_thing_and_material_appears_about_as_often(planners):
    plan = planners["train"].plan(2, 4000, TEST)
    things = torch.bincount(plan.thing[plan.thing >= 0], minlength=200).float()
    mats = torch.bincount(plan.material[plan.material >= 0], minlength=20).float()
    assert things.min() > 0.4 * things.mean() and things.max() < 1.8 * things.mean()
    assert mats.min() > 0.75 * mats.mean() and mats.max() < 1.25 * mats.mean()


def test_drawn_sides_are_in_the_range(make_world):
    """Of squares that lie wholly inside, the side is the root of the area, however they are turned."""
    world = make_world(128)
    plan = world.plan(5, 150, Difficulty((1, 1), (0.25, 0.6), (1, 1), hidden=0.1))
    plan.thing[:] = 2  # the full square
    alpha = world.layers(plan)[0][:, 0]  # (n, 128, 128)
    rim = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], 1).amax(1)
    sides = alpha[rim == 0].mean((1, 2)).sqrt()
    assert len(sides) > 40
    assert sides.min() > 0.24 and sides.max() < 0.61
    assert sides.min() < 0.32 and sides.max() > 0.5


def test_nothing_is_hidden_more_than_allowed(make_world):
    world = make_world(96)
    for difficulty in (TEST, Difficulty((5, 5), (0.3, 0.6), (1, 1), hidden=0.3)):
        plan = world.plan(6, 60, difficulty)
        alpha, _ = world.layers(plan)
        area = world.levels[0][:, 3].float().mean((1, 2))[plan.thing] / 255 * plan.side**2
        free = 1 - torch.cat([alpha, torch.zeros_like(alpha[:, :1])], 1)[:, 1:].flip(1).cumsum(1).flip(1).clamp(0, 1)
        hidden = (1 - (alpha * free).mean((2, 3)) / area)[plan.thing >= 0]
        assert hidden.max() < difficulty.hidden + 0.06
        if difficulty is TEST:
            assert hidden.max() > 0.25  # partial occlusion does occur


def test_no_scene_is_left_without_a_thing(planners):
    """Not even where things can hardly fit."""
    plan = planners["train"].plan(3, 300, Difficulty((1, 4), (0.9, 1.0), (1, 1), hidden=0.05))
    assert (plan.thing >= 0).any(1).all()


def test_regions_cover_the_picture_and_none_is_tiny(world):
    plan = world.plan(7, 200, Difficulty((1, 1), (0.2, 0.3), (1, 3)))
    _, regions = world.layers(plan)
    assert torch.allclose(regions.sum(1), torch.ones(()), atol=1e-5)
    share, present = regions.mean((2, 3)), plan.material >= 0
    assert share[present].min() > 0.06 and share[~present].max() == 0


def test_borders_are_not_straight_and_prefer_the_horizon(world):
    plan = world.plan(8, 200, Difficulty((1, 1), (0.2, 0.3), (2, 2)))
    second = world.layers(plan)[1][:, 1]
    below = second[:, 32:].mean((1, 2)) - second[:, :32].mean((1, 2))
    aside = (second[:, :, 32:].mean((1, 2)) - second[:, :, :32].mean((1, 2))).abs()
    assert (below > aside).float().mean() > 0.5
    edge = second.sum(1)  # (n, 64): where a horizon runs, column by column
    assert edge[below > 0.5].std(1).median() > 1  # pixels


def test_sky_is_mostly_above(planners):
    plan = planners["train"].plan(9, 2000, Difficulty((1, 1), (0.3, 0.4), (2, 2)))
    above = planners["train"].above
    first, second = above[plan.material[:, 0]], above[plan.material[:, 1]]
    assert (first & ~second).sum() > 2 * (second & ~first).sum()


def test_placement_equals_pillow(make_world):
    world = make_world(96)
    angle, side = 0.5, 0.5
    alpha = world.layers(one_thing(world, 1, (0.6, 0.45), side, angle))[0][0, 0].numpy()
    shape = Image.fromarray((corner().numpy() * 255).astype(np.uint8)).resize((48, 48), Image.Resampling.BOX)
    canvas = Image.new("L", (96, 96))
    canvas.paste(shape, (round(0.6 * 96) - 24, round(0.45 * 96) - 24))
    centre = (round(0.6 * 96), round(0.45 * 96))
    expected = canvas.rotate(-np.degrees(angle), Image.Resampling.BILINEAR, center=centre)
    one, other = alpha > 0.5, np.asarray(expected) > 127
    assert (one & other).sum() / (one | other).sum() > 0.9


def test_flipping_mirrors_a_thing(world):
    plain = world.layers(one_thing(world, 1, (0.5, 0.5), 0.6))[0]
    mirrored = world.layers(one_thing(world, 1, (0.5, 0.5), 0.6, flip=-1.0))[0]
    assert torch.allclose(plain.flip(-1), mirrored, atol=1e-4)
    assert not torch.allclose(plain, mirrored, atol=0.5)


def test_the_training_splits_never_show_a_held_out_pair(planners):
    for split in ("train", "test"):
        for seed in range(3):
            met = meetings(planners[split].plan(seed, 1000, TEST))
            assert len(met) > 1000
            assert not planners[split].held_out[met[:, 1], met[:, 2]].any()


def test_every_thing_of_a_held_out_scene_meets_a_held_out_partner(planners):
    plan = planners["heldout"].plan(1, 1000, TEST)
    odd = planners["heldout"].held_out[plan.thing][
        torch.arange(1000)[:, None, None], torch.arange(4)[:, None], plan.material.clamp_min(0)[:, None]
    ]
    odd = (odd & (plan.material >= 0)[:, None]).any(2)
    assert odd[plan.thing >= 0].all()
    assert (plan.thing >= 0).any(1).all()


def test_a_tenth_of_the_pairs_is_held_out_and_names_alone_decide():
    things, names = [f"thing{i}" for i in range(400)], list(materials.NAMES)
    table = scenes.held_out_pairs(things, names)
    assert (table.sum(1) == 2).all()  # of 20
    assert table.float().mean(0).min() > 0.04 and table.float().mean(0).max() < 0.17
    assert torch.equal(scenes.held_out_pairs(things[::-1], names).flip(0), table)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(scenes.held_out_pairs(things, [names[i] for i in order]), table[:, order])


def test_captions_name_what_is_there(world, vocabulary):
    plan = world.plan(11, 100, TEST)
    named = 0
    for caption, things in zip(plan.captions, plan.thing.tolist(), strict=True):
        words = caption.lower().replace(",", " ").replace(".", " ").replace("!", " ").split()
        said = {word.rstrip("s") for word in words if word.startswith("thing")}
        assert said <= {f"thing{t}" for t in things if t >= 0} | {"thing"}, caption
        named += bool(said)
    assert named > 60


def test_mixing_difficulties():
    assert mix(EASY, TEST, 0.0) == EASY and mix(EASY, TEST, 1.0) == TEST
    middle = mix(Difficulty((1, 1), (0.5, 0.9), (1, 1)), Difficulty((1, 5), (0.3, 0.7), (1, 3)), 0.5)
    assert middle.things == (1, 3) and middle.materials == (1, 2)
    assert middle.side == pytest.approx((0.4, 0.8))


def test_an_unknown_split_is_a_clear_error():
    with pytest.raises(SSegError, match="train, test, heldout"):
        StickerWorld(64, split="val")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_render_the_same(world, vocabulary):
    other = StickerWorld(64, device="cuda", atlas=make_atlas(30), vocabulary=vocabulary)
    (here, captions), (there, captions_there) = world.batch(3, 32, TEST), other.batch(3, 32, TEST)
    apart = (here.float() - there.cpu().float()).abs()
    assert captions == captions_there
    assert apart.mean() < 0.1 and (apart > 8).float().mean() < 1e-3


@pytest.mark.slow
@pytest.mark.font
def test_the_real_world_renders_all_presets():
    world = StickerWorld(48, split="test")
    assert len(world.vocabulary.things) >= 600
    for difficulty in (EASY, PAIRS, TEST):
        pixels, captions = world.batch(1, 4, difficulty)
        assert pixels.float().std((1, 2, 3)).min() > 5 and all(captions)
