"""The folder benchmark on real files: every mask format, the ignored id, and one sentence for each mistake."""

import numpy as np
import pytest
from PIL import Image

from sseg.errors import SSegError
from train.evaluation.datasets.folder import FolderBenchmark

IDS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def palette(ids):
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([value for i in range(256) for value in (i * 7 % 256, 255 - i, i // 2)])
    return image


def make(root, mask=None, names="cat\ndog\nsky\n", size=(3, 2)):
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 99, 199)).save(root / "images" / "one.png")
    (mask or Image.fromarray(IDS)).save(root / "masks" / "one.png")
    (root / "classes.txt").write_text(names, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "mask",
    [Image.fromarray(IDS), palette(IDS), Image.fromarray(IDS.astype(np.uint16))],
    ids=["grey", "palette", "16-bit"],
)
def test_ids_are_read_as_they_are_and_255_is_ignored(tmp_path, mask):
    benchmark = FolderBenchmark(make(tmp_path, mask))
    (sample,) = benchmark
    np.testing.assert_array_equal(sample.labels, [[0, 1, 2], [-1, 1, 0]])
    assert sample.labels.dtype == np.int32 and sample.image.shape == (2, 3, 3) and sample.image.dtype == np.uint8
    assert tuple(sample.image[0, 0]) == (9, 99, 199) and sample.name == "one"
    assert benchmark.class_names == ["cat", "dog", "sky"] and len(benchmark) == 1


def test_long_lists_ignore_65535_instead(tmp_path):
    ids = np.array([[0, 255, 299], [65535, 1, 2]], np.uint16)
    names = "\n".join(f"class {i}" for i in range(300))
    (sample,) = FolderBenchmark(make(tmp_path, Image.fromarray(ids), names))
    np.testing.assert_array_equal(sample.labels, [[0, 255, 299], [-1, 1, 2]])


def test_limit_takes_the_first_by_name(tmp_path):
    make(tmp_path)
    for name in ("a", "b"):
        Image.new("RGB", (3, 2)).save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(IDS).save(tmp_path / "masks" / f"{name}.png")
    assert [sample.name for sample in FolderBenchmark(tmp_path, limit=2)] == ["a", "b"]
    assert len(FolderBenchmark(tmp_path)) == 3


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(SSegError, match="no folder"):
        FolderBenchmark(tmp_path / "nowhere")
    root = make(tmp_path / "set")
    (root / "masks" / "one.png").rename(root / "masks" / "other.png")
    with pytest.raises(SSegError, match="one.png.*no mask|no mask.*one.png"):
        FolderBenchmark(root)
    (root / "classes.txt").unlink()
    with pytest.raises(SSegError, match="classes.txt is missing"):
        FolderBenchmark(root)
    with pytest.raises(SSegError, match="no .* files in .*images"):
        (root / "classes.txt").write_text("cat\n")
        (root / "images" / "one.png").unlink()
        FolderBenchmark(root)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": "cat\ndog\n"}, "id 2, but classes.txt names only 0 to 1"),
        ({"size": (4, 2)}, "one.png has 3x2 pixels, the picture 4x2"),
        ({"mask": Image.new("RGB", (3, 2))}, "colour picture"),
    ],
)
def test_masks_that_do_not_fit_are_named(tmp_path, change, words):
    with pytest.raises(SSegError, match=words):
        list(FolderBenchmark(make(tmp_path, **change)))


@pytest.mark.parametrize("names", ["cat\ndog\ncat\n", "tiled floor\nsky\ntiled_floor\n", 'Dog\ncat\n"dog"\n'])
def test_one_name_for_two_ids_is_refused(tmp_path, names):
    with pytest.raises(SSegError, match="twice, as id 0 and as id 2"):
        FolderBenchmark(make(tmp_path, names=names))


def test_names_are_read_as_phrases_are(tmp_path):
    benchmark = FolderBenchmark(make(tmp_path, names="'cat'\ntiled_floor | lane\n• t-shirt\n"))
    assert benchmark.class_names == ["cat", "tiled floor|lane", "t-shirt"]


def test_names_with_a_dot_in_front_are_passed_over(tmp_path):
    make(tmp_path)
    for part in ("images", "masks"):
        (tmp_path / part / "._one.png").write_bytes(b"Mac OS X")
    assert [sample.name for sample in FolderBenchmark(tmp_path)] == ["one"]


def test_damaged_masks_and_lists_are_named(tmp_path):
    root = make(tmp_path)
    (root / "masks" / "one.png").write_bytes(b"not a picture")
    with pytest.raises(SSegError, match="cannot be read"):
        list(FolderBenchmark(root))
    (root / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(SSegError, match="empty line"):
        FolderBenchmark(root)
