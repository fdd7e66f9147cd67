"""Image-text tars: what is read of them, and how pictures are cropped."""

import io
import json
import tarfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sseg.errors import SSegError
from tests.helpers.tars import write_tar
from train.data.tars import TarPairs
from train.recipe import Stage

STAGE = Stage(steps=1, batch=5, size=64)


def encoded(image, kind="png") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG"}.get(kind, kind))
    return buffer.getvalue()


def plain(red, size=(60, 40)):
    return Image.new("RGB", size, (red, 0, 0))


@pytest.fixture
def reds(tmp_path):
    """Two tars with 20 pictures in all, told apart by their red: picture i has 10 i, and says so."""
    for part in range(2):
        members = {}
        for i in range(part * 10, part * 10 + 10):
            members[f"{i:03d}.png"] = encoded(plain(10 * i))
            members[f"{i:03d}.json"] = json.dumps({"captions": [f"red {i}", f"number {i}"]}).encode()
        write_tar(tmp_path / f"part-{part}.tar", members)
    return tmp_path


def reds_of(pixels):
    return [round(value / 10) for value in pixels[:, 0].float().mean((1, 2)).tolist()]


def test_each_epoch_holds_every_picture_once_with_a_caption_of_its_own(reds):
    pairs = TarPairs(reds, 0, "cpu", 32)
    orders, texts = [], set()
    for epoch in range(2):
        batches = [pairs.batch(epoch * 4 + i, 5, STAGE) for i in range(4)]
        orders.append([red for batch in batches for red in reds_of(batch.images)])
        for batch in batches:
            pixels, captions = batch.images, batch.captions
            assert pixels.shape == (5, 3, 64, 64) and pixels.dtype == torch.uint8
            assert [int(caption.split()[1]) for caption in captions] == reds_of(pixels)
            texts |= {caption.split()[0] for caption in captions}
    assert [sorted(order) for order in orders] == [list(range(20))] * 2
    assert orders[0] != orders[1] != list(range(20))
    assert texts == {"red", "number"}  # one of several, at random


def test_a_batch_depends_on_the_seeds_alone(reds):
    one, other = TarPairs(reds, 3, "cpu", 32), TarPairs(reds, 3, "cpu", 32)
    other.batch(0, 7, STAGE)
    first, second = one.batch(9, 6, STAGE), other.batch(9, 6, STAGE)
    assert torch.equal(first.images, second.images) and first.captions == second.captions
    assert TarPairs(reds, 4, "cpu", 32).batch(9, 6, STAGE).captions != first.captions


def test_a_relative_root_lies_under_sseg_data(reds, monkeypatch):
    monkeypatch.setenv("SSEG_DATA", str(reds.parent))
    assert len(TarPairs(reds.name, 0, "cpu", 16)) == 20


@pytest.mark.parametrize("size", [(300, 100), (100, 240)])
def test_things_keep_their_shape(tmp_path, size):
    """A disc of 60 px: in every crop it is as wide as high, and as big as the crop's area says."""
    picture = Image.new("RGB", size)
    x, y = size[0] // 2, size[1] // 2
    ImageDraw.Draw(picture).ellipse((x - 30, y - 30, x + 30, y + 30), fill="white")
    write_tar(tmp_path / "disc.tar", {"disc.png": encoded(picture), "disc.txt": b"a disc"})
    pairs = TarPairs(tmp_path, 0, "cpu", 128)
    pixels = pairs.batch(0, 200, replace(STAGE, size=96)).images
    white = pixels[:, 0] > 127
    inside = ~(white[:, 0].any(1) | white[:, -1].any(1) | white[:, :, 0].any(1) | white[:, :, -1].any(1))
    whole = white[inside & white.any((1, 2))]
    assert len(whole) > 10
    widths, heights = whole.any(1).sum(1), whole.any(2).sum(1)
    assert (widths - heights).abs().max() <= 3
    shortest, longest = 60 / 100 * 96, 60 / (100 * 0.4**0.5) * 96
    assert shortest - 3 <= widths.min() and widths.max() <= longest + 3
    assert widths.max() - widths.min() > 10


def test_crops_are_flipped_and_shrinking_does_not_alias(tmp_path):
    ramp = np.zeros((128, 128, 3), np.uint8)
    ramp[..., 0] = np.arange(128)
    ramp[::2, ::2, 1] = ramp[1::2, 1::2, 1] = 255  # the finest chequers
    write_tar(tmp_path / "ramp.tar", {"ramp.png": encoded(Image.fromarray(ramp)), "ramp.txt": b"a ramp"})
    pixels = TarPairs(tmp_path, 0, "cpu", 128).batch(0, 64, replace(STAGE, size=32)).images
    rising = (pixels[:, 0, 16, -1].int() > pixels[:, 0, 16, 0].int()).float().mean()
    assert 0.25 < rising < 0.75
    assert pixels[:, 1].float().std() < 12  # the chequers themselves have 127.5


def test_damage_is_left_out_and_said(tmp_path, capsys):
    good = encoded(Image.effect_noise((50, 50), 40).convert("RGB"), "jpg")
    members = {"cut.jpg": good[: len(good) // 2], "cut.txt": b"cut off", "lonely.jpg": good, "said.txt": b"no picture"}
    members |= {"bad.webp": encoded(plain(9), "webp"), "bad.json": b"{", "empty.png": good, "empty.txt": b" \n"}
    members |= {"deep/er/a.b.jpg": good, "deep/er/a.b.txt": b"dots are part of the ending"}
    members |= {"meta.JPG": good, "meta.json": b'{"caption": "no list"}'}
    members |= {"meta.txt": b"from  the\ttext\n\nsecond line\n"}
    write_tar(tmp_path / "a.tar", members)
    whole = write_tar(tmp_path / "b.tar", {"x.jpg": good, "x.txt": "déjà".encode(), "y.jpg": good, "y.txt": b"gone"})
    with tarfile.open(whole) as tar:
        middle = tar.getmember("y.jpg").offset_data + 10
    whole.write_bytes(whole.read_bytes()[:middle])
    (tmp_path / "c.tar").write_bytes(b"not a tar at all")
    pairs = TarPairs(tmp_path, 0, "cpu", 32)
    assert sorted(pairs.sample_captions(100)) == ["déjà", "from the text", "second line"]
    said = capsys.readouterr().err
    assert "1 damaged pictures" in said and "b.tar is damaged" in said and "c.tar is damaged" in said


def test_what_cannot_be_used_is_one_sentence(tmp_path, reds):
    with pytest.raises(SSegError, match="no folder .*nowhere"):
        TarPairs(tmp_path / "nowhere", 0, "cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SSegError, match="no .tar files"):
        TarPairs(tmp_path / "empty", 0, "cpu")
    write_tar(tmp_path / "empty/text.tar", {"a.txt": b"a dog"})
    with pytest.raises(SSegError, match="No picture with a caption"):
        TarPairs(tmp_path / "empty", 0, "cpu")
    with pytest.raises(SSegError, match="20 pictures .* take 559 GB .*streaming"):
        TarPairs(reds, 0, "cpu", 100_000)


def test_only_the_tars_that_are_asked_for_are_read(tmp_path):
    for name in ("dogs-000", "dogs-001", "cats-000", "fish"):
        write_tar(tmp_path / f"{name}.tar", {"a.png": encoded(plain(9)), "a.txt": name.encode()})

    def read(only):
        return sorted(TarPairs(tmp_path, 0, "cpu", 16, only=only).sample_captions(9))

    assert read("*") == ["cats-000", "dogs-000", "dogs-001", "fish"]
    assert read("dogs-* fish") == ["dogs-000", "dogs-001", "fish"]
    assert read("[!d]*") == ["cats-000", "fish"]
    with pytest.raises(SSegError, match="No tar in .* asks: it holds cats-000"):
        read("birds*")


def test_the_vocabulary_is_words_that_mean_something(reds):
    words = Counter({"dog": 40, "the": 90, "is": 50, "rare": 4, "grass": 5, "2": 30, "with": 20, "another": 9})
    expected = [{"text": "dog", "count": 40, "kind": "word"}, {"text": "grass", "count": 5, "kind": "word"}]
    assert TarPairs(reds, 0, "cpu", 16).vocabulary(words) == expected
