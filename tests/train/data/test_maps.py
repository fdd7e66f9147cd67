"""Kept maps of a frozen encoder: what is on the disk, runs that stop or share the work, and the pairs drawn from it."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import TimmBackbone, TimmBackboneConfig

from sseg.errors import SSegError
from sseg.models.map_clusters import cell_features
from sseg.pseudo_masks.kmeans import kmeans
from tests.helpers.tars import write_tar
from train.data import maps
from train.data.map_pairs import MapPairs
from train.data.maps import Kept, keep, samples_of, view_of
from train.recipe import Stage, build
from train.recipe.pretraining import Maps

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
COUNT = 24


def picture(number: int) -> Image.Image:
    """Noise in big blocks, so that JPEG keeps it; wide and high ones."""
    blocks = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(blocks).resize((80, 60) if number % 2 else (50, 70), Image.Resampling.NEAREST)


def encoded(image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def tars(tmp_path) -> Path:
    """Three tars with 24 pictures in all: "cats" holds four, "dogs" and "more" ten each; every caption says which."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for name, numbers in {"cats": range(4), "dogs": range(4, 14), "more": range(14, COUNT)}.items():
        members = {}
        for number in numbers:
            members[f"{number:03d}.png"] = encoded(picture(number))
            captions = [f"{name} {number} with a man", f"{name} {number} and a puppy"]
            members[f"{number:03d}.json"] = json.dumps({"captions": captions}).encode()
        write_tar(folder / f"{name}.tar", members)
    return folder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    config = TimmBackboneConfig(backbone="test_efficientnet", out_indices=[2, 3, 4], output_stride=16)
    return TimmBackbone(config).eval()


def kept(folder, views=2) -> Kept:
    return Kept(folder, 64, views, 3)


def run(folder, tars, encoder, views=2, **parts) -> None:
    keep(kept(folder, views), samples_of(tars), encoder, "tiny", MEAN, STD, **parts)


def arrays(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, encoder):
    """Maps of an unbroken run over the same pictures."""

    def make(tars):
        if not folder.is_dir():
            run(folder, tars, encoder)
        return arrays(folder)

    folder = tmp_path_factory.mktemp("whole") / "maps"
    return make


def test_maps_are_those_of_the_views(tars, encoder, tmp_path):
    run(tmp_path / "maps", tars, encoder)
    samples = samples_of(tars)
    assert sorted(sample.key for sample in samples) == [f"{i:03d}" for i in range(COUNT)]
    for view in range(2):
        levels = [np.load(kept(tmp_path / "maps").file(view, f"level-{i}")) for i in range(3)]
        clusters = np.load(kept(tmp_path / "maps").file(view, "clusters"))
        assert [level.shape for level in levels] == [(COUNT, 32, 8, 8), (COUNT, 48, 4, 4), (COUNT, 64, 4, 4)]
        for row in (0, 7, COUNT - 1):
            seen = torch.from_numpy(view_of(picture(int(samples[row].key)), row, view, 64).copy())
            pixels = seen.permute(2, 0, 1)[None] / 255 - torch.tensor(MEAN).view(3, 1, 1)
            with torch.no_grad():
                expected = encoder(pixels / torch.tensor(STD).view(3, 1, 1)).feature_maps
            for level, one in zip(levels, expected, strict=True):
                assert np.allclose(level[row], one[0].numpy(), atol=2e-3 * float(one.abs().max()))
            stored = [torch.from_numpy(level[row][None]) for level in levels]
            labels = kmeans(cell_features(stored), 3, seeds=torch.tensor([row])).labels
            assert np.array_equal(clusters[row].ravel(), labels[0].numpy())


def test_views_are_windows_of_the_photograph_and_odd_ones_are_mirrored():
    x = np.broadcast_to(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (100, 200, 3))
    ramp = Image.fromarray(np.ascontiguousarray(x))
    whole = view_of(ramp, 5, 0, 32)
    assert whole.shape == (32, 32, 3) and whole[0, 0, 0] < 8 and whole[0, -1, 0] > 247
    for index in range(20):
        odd, even = view_of(ramp, index, 1, 32), view_of(ramp, index, 2, 32)
        assert odd[0, 0, 0] > odd[0, -1, 0] and even[0, 0, 0] < even[0, -1, 0]
        width = (int(even[0, -1, 0]) - int(even[0, 0, 0])) / 255
        assert 0.3 < width <= 1  # of the photograph: between 0.3 and 0.9 of its area, of nearly its shape
        assert np.array_equal(even, view_of(ramp, index, 2, 32))
    assert not np.array_equal(view_of(ramp, 0, 2, 32), view_of(ramp, 1, 2, 32))


class Stopped(Exception):
    pass


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(maps, "AT_ONCE", 2)  # 12 batches a view; every tenth is written down


def stop_after(monkeypatch, encoder, pictures: int):
    forward, seen = encoder.forward, []

    def counting(pixels):
        seen.append(len(pixels))
        if len(seen) > pictures:
            raise Stopped
        return forward(pixels)

    monkeypatch.setattr(encoder, "forward", counting)
    return seen


@pytest.mark.parametrize("pictures", [1, 21, 23, 30, 45])
def test_a_stopped_run_goes_on_and_ends_as_an_unbroken_one(tars, encoder, whole, tmp_path, monkeypatch, small_batches,
                                                           pictures):  # fmt: skip
    folder = tmp_path / "maps"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, encoder, pictures)
        run(folder, tars, encoder)
    with monkeypatch.context() as patch:
        seen = stop_after(patch, encoder, 10**6)
        run(folder, tars, encoder)
    assert arrays(folder) == whole(tars)
    again = 2 * COUNT - pictures  # and one for the shapes of the maps in each run
    assert again <= len(seen) - 1 <= again + 21  # what was written down is not made again


def test_two_parts_make_the_files_of_one(tars, encoder, whole, tmp_path, small_batches):
    folder = tmp_path / "maps"
    for part in (1, 0):
        run(folder, tars, encoder, part=part, parts=2)
    assert arrays(folder) == whole(tars)


def test_what_parts_have_made_is_not_made_again_by_others(tars, encoder, whole, tmp_path, monkeypatch, small_batches):
    folder = tmp_path / "maps"
    run(folder, tars, encoder, part=1, parts=2)
    seen = stop_after(monkeypatch, encoder, 10**6)
    run(folder, tars, encoder)
    assert len(seen) == 1 + COUNT  # half of the pictures in each of two views
    run(folder, tars, encoder, part=2, parts=3)
    assert len(seen) == 2 + COUNT and arrays(folder) == whole(tars)


def test_more_views_can_be_added_later(tars, encoder, whole, tmp_path, monkeypatch):
    folder = tmp_path / "maps"
    run(folder, tars, encoder, views=1)
    seen = stop_after(monkeypatch, encoder, 10**6)
    run(folder, tars, encoder, views=2)
    assert len(seen) == 1 + COUNT and arrays(folder) == whole(tars)


def test_maps_of_something_else_are_refused(tars, encoder, tmp_path):
    folder = tmp_path / "maps"
    run(folder, tars, encoder, views=1)
    before, samples = arrays(folder), samples_of(tars)
    coarse = TimmBackbone(TimmBackboneConfig(backbone="test_efficientnet", out_indices=[3, 4], output_stride=16)).eval()
    others = [
        (kept(folder)._replace(size=96), samples, encoder, "tiny"),
        (kept(folder)._replace(clusters=4), samples, encoder, "tiny"),
        (kept(folder), samples[:-1], encoder, "tiny"),
        (kept(folder), samples, encoder, "another"),
        (kept(folder), samples, coarse, "tiny"),
    ]
    for one, some, network, name in others:
        with pytest.raises(SSegError, match="holds maps of another encoder, size or data"):
            keep(one, some, network, name, MEAN, STD)
    assert arrays(folder) == before


def test_an_encoder_of_stride_32_has_clusters_on_the_finer_cells(tars, encoder, tmp_path):
    coarse = TimmBackbone(TimmBackboneConfig(backbone="test_efficientnet", out_indices=[2, 3, 4])).eval()
    run(tmp_path / "maps", tars, coarse, views=1)
    level, clusters = (np.load(kept(tmp_path / "maps").file(0, what)) for what in ("level-2", "clusters"))
    assert level.shape[2:] == (2, 2) and clusters.shape == (COUNT, 4, 4) and set(np.unique(clusters)) == {0, 1, 2}


def test_cells_are_described_by_two_maps_and_their_place():
    fine, coarse = torch.randn(2, 5, 4, 6), torch.randn(2, 7, 4, 6)
    found = cell_features([torch.randn(2, 3, 8, 12), fine, coarse])
    assert found.shape == (2, 24, 5 + 7 + 2)
    assert torch.allclose(found[1, 6 + 2, :5], F.normalize(fine[1, :, 1, 2], dim=0), atol=1e-6)
    assert torch.allclose(found[1, 6 + 2, 5:12], 0.7 * F.normalize(coarse[1, :, 1, 2], dim=0), atol=1e-6)
    assert torch.allclose(found[0, [0, -1], 12:], torch.tensor([[-0.6, -0.6], [0.6, 0.6]]))


STAGE = Stage(steps=1, batch=8)


# ---- pairs ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def opened(tars, encoder, tmp_path):
    """Pairs of those tars: cats take half of a batch."""

    def make(seed=0, **changes) -> MapPairs:
        recipe = {"name": "maps", "root": str(tars), "folder": str(tmp_path / "maps"), "size": 64, "views": 2}
        recipe |= {"clusters": 3, "shares": [{"only": "cats", "share": 1}, {"only": "dogs mo*", "share": 1}]}
        pairs = MapPairs(build(Maps, recipe | changes), seed, {"puppy", "puppies"})
        pairs.keep(encoder, "tiny", MEAN, STD)
        return pairs

    return make


def test_a_batch_depends_on_the_seeds_alone(opened):
    one, other = opened(seed=3), opened(seed=3)
    other.batch(0, 7, STAGE)
    first, second = one.batch(9, 8, STAGE), other.batch(9, 8, STAGE)
    maps_, captions, again, texts = first.images, first.captions, second.images, second.captions
    assert captions == texts and all(torch.equal(*pair) for pair in zip(maps_, again, strict=True))
    assert [tuple(level.shape) for level in maps_] == [(8, 32, 8, 8), (8, 48, 4, 4), (8, 64, 4, 4)]
    assert maps_[0].dtype == torch.float32
    assert one.batch(10, 8, STAGE).captions != captions != opened(seed=4).batch(9, 8, STAGE).captions


def test_maps_masks_and_captions_belong_to_one_draw(opened):
    pairs = opened()
    for seed in range(6):
        batch = pairs.batch(seed, 8, STAGE)
        levels, captions, ids = batch.images, batch.captions, batch.mask_ids.ids
        assert ids.shape == (8, 4, 4) and ids.dtype == torch.int64
        for place, (view, row) in enumerate(pairs.draw(seed, 8)):
            assert captions[place].split()[1] == str(int(pairs.samples[row].key))
            assert np.array_equal(levels[1][place].numpy(), pairs.levels[view][1][row].astype(np.float32))
            assert np.array_equal(ids[place].numpy(), pairs.clusters[view][row])
    assert {view for seed in range(6) for view, _ in pairs.draw(seed, 8)} == {0, 1}


def test_shares_are_kept_and_all_pictures_come(opened):
    pairs, seen = opened(), Counter()
    for seed in range(40):
        captions = pairs.batch(seed, 8, STAGE).captions
        assert sum(caption.startswith("cats") for caption in captions) == 4
        assert len({caption.split()[1] for caption in captions}) == 8  # none twice
        seen.update(caption.split()[1] for caption in captions)
    assert len(seen) == COUNT
    assert sum(text.startswith("cats") for text in pairs.batch(0, 16, STAGE).captions) == 4  # there are no more of them


def test_shares_of_nothing_are_one_sentence(opened):
    with pytest.raises(SSegError, match='names no sample with "birds"'):
        opened(shares=[{"only": "*", "share": 1}, {"only": "birds", "share": 1}])


def test_held_out_words_never_occur(opened):
    pairs = opened()
    texts = [*pairs.sample_captions(100), *(text for seed in range(9) for text in pairs.batch(seed, 8, STAGE).captions)]
    assert len(pairs.sample_captions(100)) == 2 * COUNT and len(pairs.sample_captions(5)) == 5
    assert not any("pupp" in text for text in texts) and any("man" in text for text in texts)


def test_kinds_are_written_down_with_their_wider_name(opened):
    words = Counter({"man": 24, "cats": 9, "hat": 7, "puppy": 8, "rare": 1})
    entries = {entry["text"]: entry for entry in opened().vocabulary(words)}
    assert entries["man"]["wider"] == "person" and entries["cats"]["wider"] == "cat"
    assert entries["hat"]["wider"] == "person" and "rare" not in entries


def test_features_of_masks_are_kept_in_the_order_of_the_maps(opened, tiny_config, tmp_path):
    from sseg.models.config import SSegConfig
    from sseg.models.sseg import SSegModel

    backbone = {"model_type": "timm_backbone", "backbone": "test_efficientnet", "out_indices": [2, 3, 4]}
    backbone["output_stride"] = 16
    sizes = {"backbone": backbone, "mask_stride": 8, "mask_feature": "encoder"}
    model, pairs = SSegModel(SSegConfig(**tiny_config.to_dict() | sizes)).eval(), opened()
    maps_ = pairs.batch(2, 8, STAGE)
    pairs.keep_features(model, tmp_path / "features.npy")
    kept_features = pairs.batch(2, 8, STAGE)
    features = kept_features.images
    with torch.no_grad():
        expected = model.mask_features(maps_.images)
    assert kept_features.captions == maps_.captions and kept_features.mask_ids is None
    assert torch.allclose(features[..., :-2], expected, atol=1e-2)
    assert features.shape == (8, 6, 144 + 2) and not list(tmp_path.glob(".*"))
    model.config.num_queries = 7
    with pytest.raises(SSegError, match="features of other masks"):
        opened().keep_features(model, tmp_path / "features.npy")


# ---- damaged pictures ----------------------------------------------------------------------------------------------
def damage(tars: Path, name: str, number: int) -> None:
    """Spoil the middle of one picture's bytes."""
    path, data = tars / f"{name}.tar", bytearray((tars / f"{name}.tar").read_bytes())
    sample = next(one for one in samples_of(tars) if one.key == f"{number:03d}")
    data[sample.offset + 40 : sample.offset + sample.size] = bytes(sample.size - 40)
    path.write_bytes(data)


def test_damaged_pictures_are_counted_once_and_left_out(opened, tars, capsys):
    damage(tars, "dogs", 7)
    damage(tars, "more", 20)
    pairs = opened()
    assert capsys.readouterr().err.count("2 damaged pictures") == 1
    assert len(pairs.samples) == len(pairs.levels[0][0]) == COUNT - 2
    assert not {"007", "020"} & {sample.key for sample in pairs.samples}
    again = opened()
    assert "left out" not in capsys.readouterr().err
    assert again.samples == pairs.samples and again.batch(0, 8, STAGE).captions == pairs.batch(0, 8, STAGE).captions


def test_a_picture_damaged_later_is_one_sentence(opened, tars):
    opened(views=1)
    damage(tars, "dogs", 7)
    with pytest.raises(SSegError, match="The picture 007 of .*dogs.tar is damaged"):
        opened()
