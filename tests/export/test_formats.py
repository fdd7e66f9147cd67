"""Labels in other programs' formats, read back by those programs."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import sseg
from sseg import SSegError, export, images
from sseg.export.archive import file_stem
from sseg.export.yolo import polygons
from sseg.truth import read_ids


def blobs(seed, shape=(60, 80), phrases=4, smooth=3):
    """Ragged regions with holes, islands and specks."""
    noise = np.random.default_rng(seed).random((phrases + 1, *shape))
    if smooth:
        noise = np.stack([cv2.blur(one, (smooth, smooth)) for one in noise])
    return noise.argmax(0).astype(np.int32) - 1


@pytest.fixture(scope="module")
def tiny_segmenter(tiny_weights):
    return sseg.load(tiny_weights, device="cpu")


def opened(data):
    return Image.open(io.BytesIO(data))


# ---- ids -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 3, 20, 254, 255])
def test_a_palette_keeps_ids_and_shows_the_pages_colours(count):
    labels = np.arange(-1, count, dtype=np.int32)[None]
    data = export.palette_png(labels, images.colors(count))
    image = opened(data)
    assert image.mode == "P" and np.array_equal(np.asarray(image), labels + 1)
    assert np.array_equal(read_ids(data), labels + 1)
    shown = np.asarray(image.convert("RGB"))[0]
    assert not shown[0].any() and np.array_equal(shown[1:], images.colors(count))


def test_more_phrases_than_a_palette_holds_are_grey():
    labels = np.array([[-1, 299]])
    image = opened(export.palette_png(labels, images.colors(300)))
    assert image.mode.startswith("I") and np.array_equal(np.asarray(image), [[0, 300]])


def test_ids_are_enlarged_by_nearest_neighbour():
    image = opened(export.palette_png(np.array([[-1, 0]]), images.colors(1), (2, 4)))
    assert np.array_equal(np.asarray(image), [[0, 0, 1, 1]] * 2)


# ---- cut-outs ------------------------------------------------------------------------------------------------------
def test_a_cut_out_holds_the_mask_in_its_alpha():
    mask, rgb = blobs(1) == 2, np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    rgba = np.asarray(opened(export.cut_out(rgb, mask, uncropped=True)))
    assert np.array_equal(rgba[..., 3] >= 128, mask) and np.array_equal(rgba[..., :3], rgb)
    assert len(np.unique(rgba[..., 3])) > 4  # soft, not black or white


def test_a_cut_out_ends_where_the_mask_does():
    mask = np.zeros((60, 80), bool)
    mask[10:20, 30:50] = True
    rgb = np.zeros((60, 80, 3), np.uint8)
    assert opened(export.cut_out(rgb, mask)).size == (22, 12)  # and a soft pixel around
    mask[:] = True
    assert (np.asarray(opened(export.cut_out(rgb, mask)))[..., 3] == 255).all()  # an edge of the image is no outline


def test_nothing_to_cut_out_is_a_sentence():
    rgb = np.zeros((6, 8, 3), np.uint8)
    for mask in (np.zeros((6, 8), bool), np.ones((5, 8), bool)):
        with pytest.raises(SSegError):
            export.cut_out(rgb, mask)


# ---- COCO ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("size", [None, (91, 133)])
def test_pycocotools_reads_areas_boxes_and_masks(tmp_path, parts, size):
    answers = [blobs(seed, smooth=5) for seed in range(3)]
    confidence = np.full((60, 80), 0.5, np.float32)
    entries = [export.coco_entry(f"{i}.jpg", one, confidence, size, parts) for i, one in enumerate(answers)]
    (tmp_path / "a.json").write_text(json.dumps(export.coco_json(list("abcd"), entries)))
    coco = COCO(str(tmp_path / "a.json"))
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == list("abcd")
    for number, labels in enumerate(answers, 1):
        full = images.enlarge(labels, size) if size else labels
        assert (coco.imgs[number]["height"], coco.imgs[number]["width"]) == full.shape
        for label in range(4):
            found = coco.loadAnns(coco.getAnnIds(imgIds=[number], catIds=[label + 1]))
            masks = np.stack([coco.annToMask(one) for one in found])
            assert np.array_equal(masks.sum(0), full == label)  # together the mask, and no pixel twice
            assert [one["area"] for one in found] == masks.sum((1, 2)).tolist() and (len(found) == 1) is not parts
            for one, mask in zip(found, masks, strict=True):
                ys, xs = np.nonzero(mask)
                assert one["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
                assert one["iscrowd"] == 0 and one["score"] == 0.5


def test_nothing_found_is_an_image_without_annotations():
    entry = export.coco_entry("a.jpg", np.full((4, 5), -1), np.zeros((4, 5)))
    assert entry == {"file_name": "a.jpg", "width": 5, "height": 4, "annotations": []}


# ---- YOLO ----------------------------------------------------------------------------------------------------------
def filled(found, shape):
    """What OpenCV, as the readers use it, fills: each polygon by itself."""
    masks = [cv2.fillPoly(np.zeros(shape, np.uint8), [one.astype(np.int32)], 1) for one in found]
    return np.sum(masks, 0) if masks else np.zeros(shape)


@pytest.mark.parametrize("smooth", [0, 3, 9])
@pytest.mark.parametrize("seed", range(5))
def test_filled_polygons_are_the_mask(seed, smooth):
    labels = blobs(seed, smooth=smooth)
    for label in range(-1, 4):
        found = polygons(labels == label)
        assert np.array_equal(filled(found, labels.shape), labels == label)
        assert all(len(one) >= 3 for one in found)


def test_a_frame_a_speck_and_a_line_are_filled_too():
    mask = np.zeros((12, 12), bool)
    mask[1:11, 1:11] = True
    mask[3:9, 3:9] = False
    mask[5, 5] = mask[7, 4:8] = True
    assert len(polygons(mask)) == 3 and np.array_equal(filled(polygons(mask), mask.shape), mask)
    assert polygons(np.zeros((3, 3), bool)) == []


@pytest.mark.parametrize("read", [np.round, np.trunc])
@pytest.mark.parametrize("shape", [(60, 80), (1, 7), (333, 499), (700, 3000)])
def test_label_lines_are_the_same_pixels_to_readers_that_round_and_that_cut(shape, read):
    labels = images.enlarge(blobs(3, (20, 30)), shape)
    covered = np.zeros((4, *shape), np.uint8)
    for line in export.yolo_labels(labels).splitlines():
        label, *values = line.split()
        places = np.array(values, np.float32).reshape(-1, 2)
        assert places.min() >= 0 and places.max() < 1
        covered[int(label)] += filled([read(places * np.float32([shape[1], shape[0]]))], shape)
    for label in range(4):
        assert np.array_equal(covered[label], labels == label)


def test_data_yaml_names_classes_whatever_is_in_them():
    yaml = pytest.importorskip("yaml")
    phrases = ["dog", "yes", 'a "quoted": #1', "person|man", "日本語", "12"]
    read = yaml.safe_load(export.yolo_data(phrases))
    assert read == {"train": "images", "val": "images", "names": dict(enumerate(phrases))}


# ---- all together --------------------------------------------------------------------------------------------------
def test_a_zip_of_an_answer(picture, tiny_segmenter):
    answer = tiny_segmenter(picture, ["dog", "gr/ass", "../sky"], background=0.0)
    with zipfile.ZipFile(io.BytesIO(answer.zip(picture, "my: photo", size=(180, 240)))) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    cuts = {f"cut-outs/{i + 1}-{name}.png" for i, name in enumerate(["dog", "gr-ass", "sky"]) if answer.areas[i]}
    kinds = ("ids.png", "overlay.png", "legend.png", "json", "coco.json")
    assert set(files) == {f"my-photo.{kind}" for kind in kinds} | {"phrases.txt"} | cuts
    ids = np.asarray(opened(files["my-photo.ids.png"]))
    assert ids.shape == (180, 240) and np.array_equal(ids[::2, ::2], answer.labels + 1)
    assert json.loads(files["my-photo.json"]) == json.loads(json.dumps(answer.to_json()))
    for one in json.loads(files["my-photo.coco.json"])["annotations"]:
        assert np.array_equal(coco_mask.decode(one["segmentation"]), ids == one["category_id"])
    assert files["phrases.txt"].decode().splitlines() == ["1\tdog", "2\tgr/ass", "3\t../sky"]
    assert answer.zip(picture) == answer.zip(picture)


def test_an_answer_can_be_taken_along_in_each_format(picture, tiny_segmenter):
    answer = tiny_segmenter(picture, ["dog", "grass"], background=0.0)
    label = int(np.argmax(answer.areas))
    assert opened(answer.id_png()).mode == "P"
    assert answer.yolo() == export.yolo_labels(answer.labels)
    rgba = np.asarray(opened(answer.cut_out(picture, label, uncropped=True)))
    assert np.array_equal(rgba[..., 3] >= 128, answer.labels == label)
    assert answer.overlay_with_legend(picture).shape[1] >= 480
    for call in (answer.overlay_with_legend, answer.zip, lambda other: answer.cut_out(other, 0)):
        with pytest.raises(SSegError):
            call(picture.resize((9, 9)))
    with pytest.raises(SSegError):
        answer.cut_out(picture, 7)


@pytest.mark.parametrize("text", ["../../etc", "a/b\\c", "CON:", "x" * 300, "日本", "...", ""])
def test_names_of_files_are_names(text):
    stem = file_stem(text)
    assert len(stem) <= 60 and not set(stem) & set('/\\:*?"<>|') and not stem.startswith(".")
