"""PseudoMasker: training's clusters, figures against independent references, and one sentence for each mistake."""

import io
import itertools
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from sklearn.datasets import make_blobs, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score

from sseg import PseudoMasker, SSegError
from sseg.features import source
from sseg.pseudo_masks.edges import FINE
from sseg.pseudo_masks.feature_map import Features
from sseg.pseudo_masks.generate import grid_of, pseudo_masks
from sseg.pseudo_masks.masker import check
from sseg.pseudo_masks.result import PseudoMasks
from train import evaluate


@pytest.fixture(scope="module")
def masker():
    return PseudoMasker("pixels", device="cpu")


@pytest.fixture
def masks(masker, picture):
    return masker(picture, k=5, resolution=128)


def features_of(tokens, size=None):
    """Features of an array (h, w, d)."""
    tokens = torch.as_tensor(np.asarray(tokens), dtype=torch.float32)
    shades = torch.full((3, *(FINE * n for n in tokens.shape[:2])), 99, dtype=torch.uint8)
    return Features(tokens, shades, size or tuple(tokens.shape[:2]), "none", "made for a test", "tokens", 64)


def blobs(centres=4, side=12, dims=5):
    points, _ = make_blobs(side * side, dims, centers=centres, cluster_std=0.5, random_state=3)
    return features_of(points.reshape(side, side, dims))


def made(ids, tokens=None):
    """PseudoMasks of ids (h, w) that are known."""
    ids = np.asarray(ids)
    tokens = ids[..., None] if tokens is None else np.asarray(tokens, float).reshape(*ids.shape, -1)
    return PseudoMasks(ids, features_of(tokens), int(ids.max()) + 1, 0, "kmeans", 0.0)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and text.endswith(".") and ". " not in text


# ---- features ------------------------------------------------------------------------------------------------------
def test_features_are_those_of_the_source_on_training_s_grid(masker, picture):
    found = masker.encode(picture, resolution=96)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    torch.testing.assert_close(found.tokens, source("pixels")(pixels, grid_of(90, 120, 96))[0])
    assert found.grid == grid_of(90, 120, 96) and found.size == (90, 120)
    assert found.nbytes == found.tokens.nbytes + 3 * 16 * math.prod(found.grid)  # colours, 4 x 4 a cell
    assert (found.source, found.facet, found.resolution) == ("pixels", "tokens", 96)
    assert masker.label == source("pixels").label == found.label


@pytest.mark.parametrize(("dims", "count"), [(9, 3), (2, 2), (1, 1)])
def test_pca_is_scikit_learns_stretched_between_percentiles(dims, count):
    tokens = np.random.default_rng(0).normal(size=(10, 14, dims)) * np.linspace(3, 1, dims)
    colours = features_of(tokens).pca()
    values = PCA(count, svd_solver="full").fit_transform(tokens.reshape(-1, dims))
    low, high = np.percentile(values, (1, 99), axis=0)
    expected = ((values - low) / (high - low)).clip(0, 1) * 255
    np.testing.assert_allclose(colours.reshape(-1, 3)[:, :count], expected, atol=1)
    assert colours.dtype == np.uint8 and (colours[..., count:] == 128).all()


def test_pca_leaves_components_of_mere_noise_grey():
    tokens = np.random.default_rng(0).normal(size=(20, 20, 3)) * (1, 1e-4, 1e-4)
    colours = features_of(tokens).pca().reshape(-1, 3)
    assert np.ptp(colours[:, 0]) == 255 and np.ptp(colours[:, 1:], axis=0).max() < 10


def test_similarity_by_hand():
    found = features_of([[[1, 0], [3, 0], [2, 3]]])  # less their mean (2, 1): (-1, -1), (1, -1), (0, 2)
    np.testing.assert_allclose(found.similarity(0, 0), [[1, 0, -(0.5**0.5)]], atol=1e-6)
    np.testing.assert_allclose(found.similarity(0, 2), [[-(0.5**0.5), -(0.5**0.5), 1]], atol=1e-6)
    assert found.similarity(0, 1).dtype == np.float32


@pytest.mark.parametrize("cell", [(-1, 0), (12, 0), (0, 12), (float("nan"), 0), ("x", 0)])
def test_a_cell_outside_of_the_grid_is_named(cell):
    with pytest.raises(SSegError, match="from 0 to 11") as error:
        blobs().similarity(*cell)
    assert one_sentence(error)


def test_elbow_is_scikit_learns_silhouette_and_the_share_of_inertia_left(masker):
    found = blobs()
    points = found.tokens.flatten(0, 1).numpy().astype(float)
    everything = ((points - points.mean(0)) ** 2).sum()
    for row in found.elbow([1, 2, 4, 9], seed=1):
        ids = masker.cluster(found, row["k"], seed=1).ids.ravel()
        inertia = sum(((points[ids == i] - points[ids == i].mean(0)) ** 2).sum() for i in np.unique(ids))
        assert row["unexplained"] == pytest.approx(inertia / everything, rel=1e-4)
        assert masker.cluster(found, row["k"], seed=1).inertia == pytest.approx(inertia, rel=1e-4)
        expected = None if row["k"] == 1 else pytest.approx(silhouette_score(points, ids), abs=1e-4)
        assert row["silhouette"] == expected


def test_the_silhouette_of_many_cells_is_near_that_of_all(masker):
    found = blobs(side=40)
    (row,) = found.elbow([4])
    everything = silhouette_score(found.tokens.flatten(0, 1).numpy(), masker.cluster(found, 4).ids.ravel())
    assert row["silhouette"] == pytest.approx(everything, abs=0.03)


@pytest.mark.parametrize("centres", [3, 4, 6])
def test_best_k_finds_the_number_of_blobs(centres):
    assert blobs(centres).best_k() == centres
    assert blobs(centres).best_k([5, 2]) == (2 if centres == 3 else 5)


def test_best_k_of_few_cells():
    found = features_of(np.arange(4.0).reshape(2, 2, 1))
    assert found.best_k() in (2, 3)
    with pytest.raises(SSegError, match="below the 4 cells") as error:
        found.best_k([4, 5])
    assert one_sentence(error)


# ---- clusters ------------------------------------------------------------------------------------------------------
def test_clusters_are_training_s_ordered_by_area(masker, picture):
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    theirs = pseudo_masks(pixels, source("pixels"), 6, grid_of(90, 120, 128), seeds=3, steps=20)[0]
    ours = masker(picture, k=6, seed=3, resolution=128)
    assert adjusted_rand_score(theirs.flatten(), ours.ids.ravel()) == 1
    counts = np.bincount(ours.ids.ravel())
    assert len(counts) == ours.count == 6 and (np.diff(counts) <= 0).all() and ours.ids.dtype == np.int64


@pytest.mark.parametrize("method", ["kmeans", "spectral"])
def test_the_same_question_has_the_same_answer(masker, method):
    found = features_of(np.random.default_rng(0).normal(size=(12, 12, 4)))
    first, again, other = (masker.cluster(found, 5, seed, method).ids for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_spectral_follows_shapes_that_k_means_cuts(masker):
    points, truth = make_moons(400, noise=0.05, random_state=0)
    found, truth = features_of(points.reshape(20, 20, 2)), made(truth.reshape(20, 20))
    assert masker.cluster(found, 2, method="spectral").agreement(truth) > 0.95
    assert masker.cluster(found, 2).agreement(truth) < 0.6


def test_figures_of_clusters_by_hand():
    ids = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 0]]
    tokens = [[0, 0, 1, 3], [0, 0, 1, 3], [0, 10, 10, 0]]
    total = 220 - 28**2 / 12  # sum of squares less 12 squared means
    first, second, third = made(ids, tokens).clusters
    assert [row["id"] for row in (first, second, third)] == [0, 1, 2]
    assert [row["area"] for row in (first, second, third)] == [6 / 12, 4 / 12, 2 / 12]
    assert [row["pieces"] for row in (first, second, third)] == [2, 1, 1]
    assert [row["nearest"] for row in (first, second, third)] == [1, 0, 1]
    assert [row["border"] for row in (first, second, third)] == [6 / 24, 4 / 16, 4 / 8]
    assert second["compactness"] == pytest.approx(math.pi / 4)  # a square
    assert third["compactness"] == pytest.approx(4 * math.pi * 2 / 6**2)
    assert [row["inertia"] for row in (first, second, third)] == pytest.approx([0, 1, 0], abs=1e-6)
    assert second["spread"] == pytest.approx((1 / (total / 12)) ** 0.5, rel=1e-5)


def test_shares_of_clusters_add_up(masks):
    rows = masks.clusters
    assert sum(row["area"] for row in rows) == pytest.approx(1)
    assert sum(row["inertia"] for row in rows) == pytest.approx(1)
    within = sum(row["area"] * row["spread"] ** 2 for row in rows)
    (elbow,) = masks.features.elbow([5])
    assert within == pytest.approx(elbow["unexplained"], rel=1e-4)


# ---- agreement -----------------------------------------------------------------------------------------------------
def rand_by_pairs(a, b):
    """Adjusted Rand index as Hubert and Arabie define it, over all pairs of elements."""
    together = [(x[0] == y[0], x[1] == y[1]) for x, y in itertools.combinations(zip(a, b, strict=True), 2)]
    both, first, second = (sum(values) for values in zip(*((p and q, p, q) for p, q in together), strict=True))
    chance = first * second / len(together)
    return (both - chance) / ((first + second) / 2 - chance)


def test_agreement_is_the_adjusted_rand_index(masker):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (5, 6)), rng.integers(0, 4, (5, 6))
    b[:3] = a[:3]
    agreement = made(a).agreement(made(b))
    assert agreement == pytest.approx(rand_by_pairs(a.ravel(), b.ravel()))
    assert agreement == pytest.approx(adjusted_rand_score(a.ravel(), b.ravel()))
    assert agreement == pytest.approx(made(b).agreement(made(a)))
    assert made(a).agreement(made(2 - a)) == 1


def test_agreement_of_two_resolutions_is_that_of_the_finer_cells(masker, picture):
    square = picture.resize((128, 128))
    coarse, fine = masker(square, k=4, resolution=64), masker(square, k=4, resolution=128)
    expected = rand_by_pairs(coarse.ids.repeat(2, 0).repeat(2, 1).ravel(), fine.ids.ravel())
    assert coarse.agreement(fine) == pytest.approx(expected) == fine.agreement(coarse)
    with pytest.raises(SSegError, match="different sizes") as error:
        coarse.agreement(masker(picture, k=4, resolution=64))
    assert one_sentence(error)


# ---- against the truth ---------------------------------------------------------------------------------------------
NAMES = ["sky", "grass", "ball", "box", "nothing"]


@pytest.fixture
def truth(picture):
    """Ids (90, 120) of the picture's things, a stripe of them ignored."""
    ids = np.zeros((90, 120), np.uint8)
    ids[50:] = 1
    y, x = np.mgrid[:90, :120]
    ids[(y - 45) ** 2 + (x - 35) ** 2 <= 400] = 2
    ids[40:76, 70:106] = 3
    ids[80:] = 255
    return ids


@pytest.mark.parametrize(("k", "resolution"), [(1, 64), (4, 96), (9, 200)])
def test_oracle_figures_equal_train_evaluate(masker, picture, truth, tmp_path, capsys, k, resolution):
    for part, image in (("images", picture), ("masks", Image.fromarray(truth))):
        (tmp_path / part).mkdir()
        image.save(tmp_path / part / "one.png")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    command = ["--benchmark", "folder", "--root", str(tmp_path), "--oracle", "--features", "pixels", "--json-only"]
    assert evaluate.main([*command, "--k", str(k), "--resolution", str(resolution), "--device", "cpu"]) == 0
    theirs = json.loads(capsys.readouterr().out)
    ours = masker(tmp_path / "images" / "one.png", k, 0, resolution).against(tmp_path / "masks" / "one.png", NAMES)
    assert (ours["oracle_miou"], ours["pixel_accuracy"]) == (theirs["oracle_miou"], theirs["pixel_accuracy"])
    assert [one["name"] for one in ours["classes"]] == NAMES[:4]


def test_classes_and_assignment_are_those_of_counting_pixel_by_pixel(masks, truth):
    score = masks.against(truth)
    counted = truth != 255
    for cluster, winner in enumerate(score["assigned"]):
        votes = np.bincount(truth[(masks.labels == cluster) & counted])
        assert winner == votes.argmax()
    predicted = np.array(score["assigned"])[masks.labels]
    for one in score["classes"]:
        hit, said = (truth == one["id"]) & counted, (predicted == one["id"]) & counted
        assert one["iou"] == pytest.approx(100 * (hit & said).sum() / (hit | said).sum(), abs=0.006)
        assert one["area"] == pytest.approx(hit.mean()) and one["name"] == str(one["id"])
    assert score["ignored"] == pytest.approx(1 - counted.mean())
    assert score["ignored"] + sum(one["area"] for one in score["classes"]) == pytest.approx(1)
    assert score["oracle_miou"] == pytest.approx(np.mean([one["iou"] for one in score["classes"]]), abs=0.01)


def palette(ids):
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([value for i in range(256) for value in (i * 7 % 256, 255 - i, i // 2)])
    return image


def test_every_kind_of_mask_gives_the_same(masks, truth, tmp_path):
    expected = masks.against(truth)
    grey = Image.fromarray(truth)
    grey.save(tmp_path / "grey.png")
    kinds = [
        tmp_path / "grey.png",
        str(tmp_path / "grey.png"),
        png(grey),
        png(palette(truth)),
        png(Image.fromarray(truth.astype(np.uint16))),
        truth.astype(np.int64),
        torch.from_numpy(truth),
    ]
    assert all(masks.against(kind) == expected for kind in kinds)


def test_a_mask_of_its_own_clusters_is_met_exactly(masks):
    score = masks.against(masks.id_png())
    assert score["oracle_miou"] == score["pixel_accuracy"] == 100
    assert score["assigned"] == [one["id"] for one in score["classes"]] == [0, 1, 2, 3, 4]


def test_large_ids_name_themselves_and_another_id_may_be_ignored(masks, truth):
    ids = truth.astype(np.int64) * 1000
    score = masks.against(ids, ignore=255_000)
    assert [(one["id"], one["name"]) for one in score["classes"]] == [(i, str(i)) for i in (0, 1000, 2000, 3000)]
    assert [one["iou"] for one in score["classes"]] == [one["iou"] for one in masks.against(truth)["classes"]]


def test_ignored_clusters_have_no_class(masks):
    ids = np.where(masks.labels == 1, 255, 7)
    score = masks.against(ids)
    assert score["assigned"] == [7, None, 7, 7, 7] and score["oracle_miou"] == 100
    nothing = masks.against(np.full(ids.shape, 255))
    assert nothing["oracle_miou"] is None and nothing["pixel_accuracy"] is None and nothing["ignored"] == 1
    assert nothing["classes"] == [] and nothing["assigned"] == [None] * 5


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("no/such/mask.png", "no mask file no/such/mask.png"),
        (b"not a picture", "cannot be read"),
        (b"", "cannot be read"),
        (png(Image.new("L", (120, 90)))[:60], "cannot be read"),
        (png(Image.new("RGB", (120, 90))), "colour picture"),
        (png(Image.new("LA", (120, 90))), "colour picture"),
        (png(Image.new("L", (90, 120))), "90 x 120 pixels, the picture 120 x 90"),
        (np.zeros((90, 120, 3), int), "whole numbers"),
        (np.zeros((90, 120)), "whole numbers"),
        (np.full((90, 120), -1), "id -1"),
        (np.full((90, 120), 5), "id 5, but there are names only for 0 to 4"),
    ],
)
def test_masks_that_do_not_fit_are_one_sentence(masks, mask, words):
    with pytest.raises(SSegError, match=words) as error:
        masks.against(mask, NAMES)
    assert one_sentence(error)


def test_a_jpeg_is_no_mask(masks, truth, tmp_path):
    Image.fromarray(truth).save(tmp_path / "mask.jpg")
    with pytest.raises(SSegError, match="JPEG") as error:
        masks.against(tmp_path / "mask.jpg")
    assert one_sentence(error)


# ---- what comes out ------------------------------------------------------------------------------------------------
def test_outputs_agree_with_the_labels(masks, picture):
    assert masks.labels.shape == (90, 120) and masks.labels.dtype == np.int32
    rows, columns = np.arange(90) * masks.ids.shape[0] // 90, np.arange(120) * masks.ids.shape[1] // 120
    np.testing.assert_array_equal(masks.labels, masks.ids[np.ix_(rows, columns)])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(masks.id_png()))), masks.labels)
    for i, rle in enumerate(masks.rle()):
        np.testing.assert_array_equal(coco_mask.decode(rle), masks.labels == i)
    painted = masks.overlay(picture, opacity=1)
    inside = (painted != 255).any(2)
    for i in range(5):
        assert len(np.unique(painted[inside & (masks.labels == i)], axis=0)) == 1  # one colour a cluster
    assert (masks.overlay(picture, opacity=0)[inside] == np.array(picture)[inside]).all()


def test_json_says_all_that_repeats_the_run(masks, picture):
    report = json.loads(json.dumps(masks.to_json(), allow_nan=False))
    again = PseudoMasker(report["features"], report["facet"], "cpu")(
        picture, report["k"], report["seed"], report["resolution"], report["method"]
    )
    np.testing.assert_array_equal(again.ids, masks.ids)
    assert report["grid"] == list(masks.ids.shape) and report["size"] == [90, 120]
    assert [row["id"] for row in report["clusters"]] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(coco_mask.decode(report["clusters"][2]["rle"]), masks.labels == 2)


def test_an_overlay_needs_the_picture_and_an_opacity(masks, picture):
    for arguments, words in (((picture.resize((9, 9)),), "another size"), ((picture, float("nan")), "between 0 and 1")):
        with pytest.raises(SSegError, match=words) as error:
            masks.overlay(*arguments)
        assert one_sentence(error)


# ---- odd pictures and mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["kmeans", "spectral"])
def test_cells_that_are_all_alike_make_one_cluster(masker, method):
    found = features_of(np.full((8, 9, 6), 0.1))
    masks = masker.cluster(found, 5, method=method)
    assert masks.count == 1 and masks.k == 5 and masks.inertia == 0 and not masks.ids.any()
    (row,) = masks.clusters
    assert (row["area"], row["spread"], row["inertia"], row["pieces"], row["nearest"], row["border"]) == (
        1, 0, 0, 1, None, 0)  # fmt: skip
    assert json.dumps(masks.to_json(), allow_nan=False)
    assert found.elbow([1, 4]) == [{"k": k, "unexplained": 0, "silhouette": None} for k in (1, 4)]
    assert found.best_k() == 2 and (found.pca() == 128).all() and not found.similarity(3, 3).any()


def test_fewer_kinds_of_cells_than_clusters(masker):
    kinds = np.arange(60).reshape(6, 10) % 3
    masks = masker.cluster(features_of(kinds[..., None]), 8)
    assert masks.count == 3 and len(masks.clusters) == 3 and masks.agreement(made(kinds)) == 1


@pytest.mark.parametrize("size", [(1, 1), (500, 3), (7, 90)])
@pytest.mark.parametrize("method", ["kmeans", "spectral"])
def test_tiny_and_oblong_pictures_of_one_colour_work(masker, size, method):
    masks = masker(Image.new("RGB", size, (10, 200, 30)), k=6, resolution=64, method=method)
    assert masks.labels.shape == size[::-1] and 1 <= masks.count <= 6
    assert masks.against(np.zeros(size[::-1], int))["oracle_miou"] == 100
    assert json.dumps(masks.to_json(), allow_nan=False)


def test_as_many_clusters_as_cells(masker):
    masks = masker.cluster(features_of(np.arange(12.0).reshape(3, 4, 1)), 12)
    assert masks.count == 12 and masks.inertia == 0 and masks.features.elbow([12])[0]["silhouette"] is None


NAN = float("nan")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"k": 0}, "K must be a whole number from 1 to"),
        ({"k": -3}, "not -3"),
        ({"k": 65}, "from 1 to 63 "),
        ({"k": NAN}, "not nan"),
        ({"k": 2.5}, "not 2.5"),
        ({"k": None}, "not None"),
        ({"k": "many"}, "not many"),
        ({"seed": -1}, "seed must be"),
        ({"seed": NAN}, "seed must be"),
        ({"seed": 2**40}, "seed must be"),
        ({"resolution": 63}, "from 64 to 1024, not 63"),
        ({"resolution": 1025}, "from 64 to 1024, not 1025"),
        ({"resolution": NAN}, "not nan"),
        ({"resolution": float("inf")}, "not inf"),
        ({"method": "magic"}, "no method 'magic': choose kmeans or spectral"),
        ({"method": None}, "no method None"),
        ({"k": 60, "method": "spectral"}, "at most 31 clusters of 63 cells, not 60"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(masker, picture, settings, words):
    with pytest.raises(SSegError, match=words) as error:
        masker(picture, **{"resolution": 64, **settings})
    assert one_sentence(error)
    if settings.get("method") != "spectral" and settings.get("k") != 65:
        with pytest.raises(SSegError):
            check(**settings)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"features": "nonsense"}, "'nonsense'"),
        ({"features": "pixels", "facet": "keys"}, "'keys'"),
        ({"features": "pixels", "device": "toaster"}, '"toaster"'),
    ],
)
def test_unknown_features_are_one_sentence(arguments, words):
    with pytest.raises(SSegError, match=words) as error:
        PseudoMasker(**arguments)
    assert one_sentence(error)


@pytest.mark.parametrize("method", ["kmeans", "spectral"])
@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_features_that_are_not_finite_are_one_sentence(masker, method, bad):
    tokens = np.zeros((8, 8, 2))
    tokens[3, 4] = bad
    with pytest.raises(SSegError, match="not finite") as error:
        masker.cluster(features_of(tokens), 3, method=method)
    assert one_sentence(error)


@pytest.mark.parametrize("image", ["no/such/picture.png", b"nothing", None, np.zeros((3, 3, 9), np.uint8)])
def test_what_is_no_picture_is_one_sentence(masker, image):
    with pytest.raises(SSegError) as error:
        masker(image)
    assert one_sentence(error)
