"""Pseudo-masks written for tars: what they hold, that they train as those made on the fly, what a kill leaves."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from sseg.errors import SSegError
from sseg.features import source
from sseg.pseudo_masks.generate import grid_of, pseudo_masks
from tests.conftest import ROOT
from tests.helpers.tars import write_tar
from tests.train.conftest import small_pretrain
from train import pretrain
from train.data.grids import Grids
from train.data.sources import open_pairs
from train.data.whole_masks import BATCH, Settings, seed_of
from train.pseudo_masks import main, write
from train.recipe import Stage, mapping_of
from train.recipe.pretraining import PseudoMasks, Stickers, Tars

SIZES = [(60, 40), (40, 60), (50, 50), (60, 40), (91, 33)]  # width, height
SETTINGS = Settings("pixels", 5, 128)
STAGES = [Stage(size=64, k=5, steps=2, batch=6), Stage(size=48, k=5, steps=2, batch=6)]
ON_THE_FLY = PseudoMasks(features="pixels", whole=True, resolution=128)


def picture(number: int) -> np.ndarray:
    """Soft blobs of colour, uint8 (H, W, 3)."""
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(number))
    smooth = F.interpolate(coarse, SIZES[number % len(SIZES)][::-1], mode="bicubic").clamp(0, 1)
    return (smooth[0] * 255).byte().permute(1, 2, 0).numpy()


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def sample(number: int, key: str) -> dict[str, bytes]:
    return {f"{key}.png": encoded(picture(number)), f"{key}.txt": f"picture {number}".encode()}


@pytest.fixture
def tars(tmp_path) -> Path:
    """Four tars of seven pictures, none of a size with all the others."""
    root = tmp_path / "tars"
    root.mkdir()
    for part in range(4):
        members = {}
        for number in range(7 * part, 7 * part + 7):
            members |= sample(number, f"in/{number:03d}")
        write_tar(root / f"part-{part}.tar", members)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones too; without the commit, since somebody may commit while the tests run."""
    return {path.name: re.sub(rb'"commit": "\w+\+?"', b'"commit": ""', path.read_bytes()) for path in folder.iterdir()}


def command(root, out, *more) -> list[str]:
    settings = ["--features", "pixels", "--k", "5", "--resolution", "128", "--device", "cpu"]
    return [sys.executable, "-m", "train.pseudo_masks", str(root), str(out), *settings, *more]


def test_each_picture_has_a_png_of_its_own_clusters(tars, tmp_path):
    write(tars, tmp_path / "out", SETTINGS)
    made, pixels = 0, source("pixels")
    for part in range(4):
        with tarfile.open(tmp_path / f"out/part-{part}.tar") as tar:
            assert tar.getnames() == [f"in/{number:03d}.png" for number in range(7 * part, 7 * part + 7)]
            for number, member in enumerate(tar, 7 * part):
                image = Image.open(tar.extractfile(member))
                width, height = SIZES[number % len(SIZES)]
                grid = grid_of(height, width, 128)
                assert image.mode == "P" and image.size == grid[::-1]
                alone = torch.from_numpy(picture(number)).permute(2, 0, 1)[None]
                expected = pseudo_masks(alone, pixels, 5, grid, seed_of(f"in/{number:03d}"))[0]
                assert np.array_equal(np.array(image), expected.numpy())
                made += 1
    assert made == 28
    meta = json.loads((tmp_path / "out/meta.json").read_text())
    assert {"features": "pixels", "k": 5, "resolution": 128}.items() <= meta.items()
    assert meta["made_by"]["commit"] and meta["made_by"]["versions"]["torch"] == torch.__version__


def test_clusters_depend_on_picture_and_key_alone(tars, tmp_path):
    """The same sample in another tar, at another place and among others; and under another key."""
    lone = tmp_path / "lone"
    lone.mkdir()
    write_tar(lone / "x.tar", sample(33, "z") | sample(9, "in/009") | sample(9, "other") | sample(9, "third"))
    write(tars, tmp_path / "one", SETTINGS)
    write(lone, tmp_path / "two", SETTINGS, batch=2)
    with tarfile.open(tmp_path / "one/part-1.tar") as one, tarfile.open(tmp_path / "two/x.tar") as two:
        there = one.extractfile("in/009.png").read()
        here, *others = (two.extractfile(name).read() for name in ("in/009.png", "other.png", "third.png"))
    assert here == there
    assert any(other != there for other in others)


@pytest.mark.parametrize(("features", "batch"), [("pixels", 3), ("sseg", BATCH)])
def test_a_batch_from_stored_masks_equals_one_made_on_the_fly(tars, tmp_path, features, batch):
    write(tars, tmp_path / "out", SETTINGS._replace(features=features), batch=batch)
    data, recipe = Tars(name="tars", root=str(tars), cache_size=48), replace(ON_THE_FLY, features=features)
    stored = open_pairs(data, 1, "cpu", STAGES, replace(recipe, whole=False, stored=str(tmp_path / "out")))
    whole = open_pairs(data, 1, "cpu", STAGES, recipe)
    seen = set()
    for stage in STAGES:
        for seed in range(12):
            one, other = (pairs.batch(seed, 6, stage) for pairs in (stored, whole))
            assert torch.equal(one.images, other.images) and one.captions == other.captions
            ids = one.mask_ids.ids
            assert ids.shape == (6, stage.size // 4, stage.size // 4) and ids.dtype == torch.int64
            assert torch.equal(ids, other.mask_ids.ids) and one.mask_ids.rows == list(range(6))
            seen |= set(one.captions)
    assert len(seen) == 28
    plain = open_pairs(data, 1, "cpu", STAGES, PseudoMasks(features="pixels"))  # pictures are the same
    assert plain.needs_clusters and not stored.needs_clusters and not whole.needs_clusters
    assert plain.batch(3, 6, STAGES[0]).mask_ids is None
    assert torch.equal(plain.batch(3, 6, STAGES[0]).images, whole.batch(3, 6, STAGES[0]).images)


def test_masks_are_cut_by_the_window_that_cuts_the_pixels(tmp_path):
    """Four fields of four colours: wherever a crop shows a colour, its mask has that field's id, flipped or not."""
    colours = np.array([[[230, 30, 30], [30, 200, 30]], [[40, 40, 230], [240, 230, 40]]], np.uint8)
    sizes, members = [(240, 160), (120, 250), (200, 200), (330, 100)], {}
    for number, size in enumerate(sizes):
        rows, columns = (np.arange(side) * 5 // (side * 2) for side in size[::-1])  # the cross lies off the middle
        fields = colours[np.minimum(rows, 1)][:, np.minimum(columns, 1)]
        members |= {f"{number}.png": encoded(fields), f"{number}.txt": str(number).encode()}
    write_tar(tmp_path / "a.tar", members)
    data = Tars(name="tars", root=str(tmp_path), cache_size=128)
    fine = PseudoMasks(features="pixels", whole=True, resolution=1344)  # cells of about a pixel
    pairs = open_pairs(data, 0, "cpu", [Stage(steps=1, batch=1, k=4)], fine)
    batch = pairs.batch(0, 200, Stage(steps=1, batch=200, size=96))
    pixels, captions, ids = batch.images, batch.captions, batch.mask_ids.ids
    colours = torch.from_numpy(colours).reshape(1, 4, 3, 1, 1)
    pure = (pixels[:, None].float() - colours).abs().amax(2) < 20  # (n, 4, 96, 96) pixels that show one field alone
    shown = F.avg_pool2d(pure.float(), 4).eq(1).transpose(0, 1)  # (4, n, 24, 24) cells that do
    for number in range(len(sizes)):
        mine = torch.tensor([caption == str(number) for caption in captions])
        found = [ids[field & mine[:, None, None]].unique().tolist() for field in shown]
        assert sorted(found) == [[0], [1], [2], [3]]
        assert shown[:, mine].any(0).float().mean() > 0.6


def test_a_cell_has_the_id_at_its_centre():
    first, second = np.arange(96, dtype=np.uint8).reshape(12, 8), np.arange(20, dtype=np.uint8).reshape(4, 5)
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0]], [[0.5, 0, 0.5], [0, 0.5, -0.5]]])
    whole, flipped, quarter = Grids([second, first], "cpu").cut([1, 1, 1], theta, 4).numpy()
    assert np.array_equal(whole, first[1::3, 1::2]) and np.array_equal(flipped, whole[:, ::-1])
    assert np.array_equal(quarter, first[:6][[0, 2, 3, 5]][:, 4:])  # rows 0.75, 2.25, 3.75 and 5.25
    enlarged = Grids([first, second], "cpu").cut([1], theta[:1], 20)[0]
    assert np.array_equal(enlarged.numpy(), second.repeat(5, 0).repeat(4, 1))


def test_training_on_stored_masks_gives_the_weights_of_training_on_the_fly(tars, tmp_path):
    recipe = small_pretrain(tars) | {"device": "cpu", "stages": [mapping_of(stage) for stage in STAGES], "log_every": 1}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    write(tars, tmp_path / "masks", SETTINGS)
    small = "pseudo_masks.resolution=128"
    kinds = {"stored": [small, f"pseudo_masks.stored={tmp_path / 'masks'}"], "crops": [small]}
    kinds["whole"] = [small, "pseudo_masks.whole=true"]
    weights = {}
    for kind, changes in kinds.items():
        assert pretrain.main([str(path), f"out={tmp_path / kind}", *changes]) == 0
        weights[kind] = (tmp_path / kind / "model.safetensors").read_bytes()
    assert weights["stored"] == weights["whole"] != weights["crops"]


def test_a_killed_run_goes_on_to_the_same_bytes(tars, tmp_path, capsys):
    assert main(command(tars, tmp_path / "whole")[3:]) == 0
    third, kept = tars / "part-2.tar", tmp_path / "part-2.tar"
    third.rename(kept)
    os.mkfifo(third)  # reading it waits for ever: the kill comes when two of four shards are written
    out = tmp_path / "broken"
    with subprocess.Popen(command(tars, out), cwd=ROOT) as process:
        deadline = time.monotonic() + 250
        while not (out / "part-1.tar").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert sorted(contents(out)) == ["meta.json", "part-0.tar", "part-1.tar"]
    third.unlink()
    kept.rename(third)
    (out / ".part-2.tar.1-of-1.unfinished").write_bytes(b"cut off while it was written")
    first = (out / "part-0.tar").stat().st_mtime_ns
    assert main(command(tars, out)[3:]) == 0
    counts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (counts["shards"], counts["pictures"], counts["damaged"]) == (2, 14, 0)
    assert contents(out) == contents(tmp_path / "whole")
    assert (out / "part-0.tar").stat().st_mtime_ns == first  # not made again


def test_two_processes_share_the_work(tars, tmp_path, capsys):
    second = command(tars, tmp_path / "both", "--shard", "2/2")
    with subprocess.Popen(second, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert main(command(tars, tmp_path / "alone")[3:]) == 0
        assert main(command(tars, tmp_path / "both", "--shard", "1/2")[3:]) == 0
        outputs = [capsys.readouterr().out, process.communicate()[0]]
    counts = [json.loads(output.splitlines()[-1]) for output in outputs]
    assert [count["shards"] for count in counts] == [2, 2] and sum(count["pictures"] for count in counts) == 28
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")
    for wrong in ("0/2", "3/2", "two"):
        with pytest.raises(SystemExit):
            main(command(tars, tmp_path / "both", "--shard", wrong)[3:])


def test_damage_is_skipped_and_counted(tars, tmp_path, capsys):
    good = encoded(picture(3))
    cut, text = {"cut.png": good[: len(good) // 2], "cut.txt": b"cut off"}, {"said.txt": b"no picture"}
    write_tar(tars / "part-1.tar", cut | sample(3, "good") | text | {"bad.jpg": b"no picture", "silent.png": good})
    (tars / "part-3.tar").write_bytes(b"not a tar at all")
    assert main(command(tars, tmp_path / "out")[3:]) == 0
    said = capsys.readouterr()
    counts = json.loads(said.out.splitlines()[-1])
    assert counts | {"seconds": 0} == {
        "shards": 4, "pictures": 16, "damaged": 2, "without_picture": 1, "seconds": 0}  # fmt: skip
    assert "part-3.tar is damaged" in said.err
    with tarfile.open(tmp_path / "out/part-1.tar") as tar:
        assert tar.getnames() == ["good.png", "silent.png"]
    data = Tars(name="tars", root=str(tars), cache_size=32)
    stored, whole = (
        open_pairs(data, 0, "cpu", STAGES, replace(ON_THE_FLY, stored=out)) for out in (str(tmp_path / "out"), None)
    )
    assert len(stored) == len(whole) == len(open_pairs(data, 0, "cpu", STAGES)) == 15
    one, other = (pairs.batch(2, 15, STAGES[0]).mask_ids.ids for pairs in (stored, whole))
    assert torch.equal(one, other)


def test_other_settings_are_refused_and_leave_the_folder_alone(tars, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(tars, out, "--shard", "1/2")[3:]) == 0
    before = contents(out)
    for change in (["--k", "6"], ["--resolution", "64"], ["--features", "sseg"]):
        assert main(command(tars, out, *change)[3:]) == 2
        name, value = change[0][2:], change[1]
        assert f"{name} {json.loads(before['meta.json'])[name]} instead of {value}" in capsys.readouterr().err
    assert main(command(tars, out, "--features", "nothing")[3:]) == 2
    assert contents(out) == before
    assert main(command(tars, tars)[3:]) == 2
    assert "tars that are no pseudo-masks" in capsys.readouterr().err
    assert sorted(contents(tars)) == [f"part-{part}.tar" for part in range(4)]
    assert main(command(tmp_path / "nowhere", out)[3:]) == 2
    assert main(command(tars, tmp_path / "new", "--features", "nothing")[3:]) == 2
    assert not (tmp_path / "new").exists()


def test_stored_masks_that_do_not_fit_the_recipe_are_one_sentence(tars, tmp_path):
    data, out = Tars(name="tars", root=str(tars), cache_size=32), tmp_path / "out"
    stored, eight = replace(ON_THE_FLY, stored=str(out)), Stage(steps=1, batch=1, size=64, k=8)

    def refused(match, stages=STAGES, data=data, **changes):
        with pytest.raises(SSegError, match=match):
            open_pairs(data, 0, "cpu", stages, replace(stored, **changes))

    refused("no pseudo-masks in .*train.pseudo_masks")
    write(tars, out, SETTINGS, share=(1, 2))
    refused("lacks the pseudo-masks of 2 of 4 tars .part-1.tar first")
    write(tars, out, SETTINGS)
    refused("k 5 instead of 8", [eight])
    refused("one k.*5, 8", [eight, *STAGES])
    refused("resolution 128 instead of 448", resolution=448)
    refused("Stickers are new in every batch", data=Stickers(name="stickers"))
    ids = Image.fromarray(np.full((16, 16), 5, np.uint8))
    buffer = io.BytesIO()
    ids.save(buffer, "PNG")
    write_tar(out / "part-0.tar", {"in/000.png": buffer.getvalue()})
    refused("part-0.tar is damaged .*no grid of ids below 5.*delete it")
    (out / "part-0.tar").write_bytes((out / "part-1.tar").read_bytes()[:1400])
    refused("part-0.tar is damaged .*delete it")
    for part in range(4):
        write_tar(out / f"part-{part}.tar", {})
    refused("No picture with a caption .* has a pseudo-mask")
