"""How fast label maps are counted and annotations painted: python -m benchmarks.metrics [--pictures 40] [--repeat 5]

Pictures of 500 x 375 pixels with smooth regions. Each row is one work done in our way and in the obvious ones:
counting by a boolean mask for each class, by a confusion matrix, by torchmetrics; Boundary IoU by eroding each class by
itself (as its authors' code does); painting instances by pycocotools' annToMask, one at a time. Ratios are the times of
the others over ours; results are compared before anything is timed.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.ndimage import binary_erosion, zoom

from sseg.metrics import BoundaryIoU, StreamingIoU
from train.evaluation.prepare import id_png, paint
from train.provenance import commit, hardware

HEIGHT, WIDTH, REGIONS, INSTANCES = 375, 500, 12, 8
IGNORE = 65535


def label_maps(count: int, classes: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (predicted, true) of int64 maps: a few classes each in smooth regions, a tenth of the pixels differ."""
    rng, pairs = np.random.default_rng(seed), []
    for _ in range(count):
        present = rng.integers(0, classes, REGIONS)
        fields = zoom(rng.standard_normal((REGIONS, 6, 8)), (1, HEIGHT / 6, WIDTH / 8), order=1)
        true = present[fields.argmax(0)]
        predicted = present[(fields + 0.1 * zoom(rng.standard_normal(fields.shape), 1, order=0)).argmax(0)]
        true[:3] = IGNORE
        pairs.append((predicted, true))
    return pairs


def by_masks(pairs, classes: int):
    """Intersection and union of each class from boolean masks."""
    overlap, union = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for predicted, true in pairs:
        counted = true != IGNORE
        for c in range(classes):
            a, b = (predicted == c) & counted, true == c
            overlap[c] += np.count_nonzero(a & b)
            union[c] += np.count_nonzero(a | b)
    return overlap, union


def by_matrix(pairs, classes: int):
    """The same from a confusion matrix of each picture."""
    total = np.zeros((classes, classes), np.int64)
    for predicted, true in pairs:
        counted = true != IGNORE
        places = classes * true[counted] + predicted[counted]
        total += np.bincount(places, minlength=classes**2).reshape(classes, classes)
    return np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)


def by_torchmetrics(pairs, classes: int):
    """The same from torchmetrics."""
    # here, since `sseg` has to mend torchvision before torchmetrics imports it
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    total = torch.zeros(classes, classes, dtype=torch.long)
    for predicted, true in pairs:
        seen = torch.from_numpy(predicted), torch.from_numpy(true)
        total += multiclass_confusion_matrix(*seen, classes, ignore_index=IGNORE, validate_args=False)
    return total.diag().numpy(), (total.sum(0) + total.sum(1) - total.diag()).numpy()


def streaming(pairs, classes: int):
    """Ours."""
    metric = StreamingIoU(classes)
    for predicted, true in pairs:
        metric.update(predicted, true, IGNORE)
    return metric.intersection, metric.union


def boundary(pairs, classes: int):
    """Ours, near outlines."""
    metric = BoundaryIoU(classes)
    for predicted, true in pairs:
        metric.update(predicted, true, IGNORE)
    return metric.intersection, metric.union


def boundary_by_erosion(pairs, classes: int):
    """Each class that occurs, eroded by itself."""
    overlap, union = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for predicted, true in pairs:
        distance = max(1, round(0.02 * float(np.hypot(*true.shape))))
        square = np.ones((2 * distance + 1,) * 2, bool)
        counted = true != IGNORE
        predicted = np.where(counted, predicted, IGNORE)
        for c in np.setdiff1d(np.union1d(predicted, true), [IGNORE]):
            a, b = (map_ == c for map_ in (predicted, true))
            a, b = (mask & ~binary_erosion(mask, square, border_value=0) for mask in (a, b))
            overlap[c] += np.count_nonzero(a & b & counted)
            union[c] += np.count_nonzero((a | b) & counted)
    return overlap, union


def instances(count: int, seed: int) -> dict:
    """A COCO-style file: polygons of 40 corners, and a crowd as run lengths in each picture."""
    rng, images, annotations = np.random.default_rng(seed), [], []
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for image in range(count):
        images.append({"id": image, "height": HEIGHT, "width": WIDTH})
        for place in range(INSTANCES):
            radius = rng.uniform(20, 110) * rng.uniform(0.7, 1.3, 40)
            middle = rng.uniform((0, 0), (WIDTH, HEIGHT))
            corners = (middle + np.stack([np.cos(turn), np.sin(turn)], 1) * radius[:, None]).clip(0, (WIDTH, HEIGHT))
            polygon = [corners.ravel().tolist()]
            area = float(coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(polygon, HEIGHT, WIDTH))))
            one = {"id": len(annotations), "image_id": image, "category_id": int(rng.integers(1, 81)), "area": area}
            crowd = place == 0
            if crowd:
                decoded = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygon, HEIGHT, WIDTH)))
                flat = decoded.ravel(order="F")
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
                polygon = {"size": [HEIGHT, WIDTH], "counts": np.diff(np.concatenate([[0], edges])).tolist()}
            annotations.append(one | {"segmentation": polygon, "iscrowd": int(crowd)})
    categories = [{"id": i, "name": str(i)} for i in range(1, 81)]
    return {"images": images, "annotations": annotations, "categories": categories}


def painted(data: dict, of_picture: dict) -> list[np.ndarray]:
    """Ours."""
    classes = {i: i for i in range(1, 81)}
    return [paint(one["height"], one["width"], of_picture[one["id"]], classes) for one in data["images"]]


def painted_by_coco(data: dict, index: COCO) -> list[np.ndarray]:
    """annToMask of one instance after the other, in the same order."""
    maps = []
    for one in data["images"]:
        labels = np.zeros((one["height"], one["width"]), np.uint16)
        found = index.loadAnns(index.getAnnIds(imgIds=[one["id"]]))
        for instance in sorted(found, key=lambda a: (-a["iscrowd"], -a["area"])):
            labels[index.annToMask(instance) == 1] = instance["category_id"]
        maps.append(labels)
    return maps


def seconds(works: dict, repeat: int) -> dict:
    """Median seconds of each work, taken in turn so that a busy moment meets them all."""
    times = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(row) for name, row in times.items()}


def row(what: str, pictures: int, works: dict, repeat: int) -> dict:
    """Our pictures a second (the first of `works`) and the ratios of the others."""
    found = seconds(works, repeat)
    own, *others = found
    result = {"what": what, "pictures_per_second": round(pictures / found[own], 1)}
    result["ratios"] = {name: round(found[name] / found[own], 2) for name in others}
    print(f"{what:<34}{result['pictures_per_second']:9.0f}/s   "
          + "  ".join(f"{name} {ratio}" for name, ratio in result["ratios"].items()), flush=True)  # fmt: skip
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<34}{'ours':>11}   time of others over ours")
    rows = []
    for classes in (21, 171, 1204):
        pairs = label_maps(args.pictures if classes < 1000 else max(2, args.pictures // 8), classes, classes)
        works = {"ours": streaming, "masks": by_masks, "matrix": by_matrix, "torchmetrics": by_torchmetrics}
        truth = by_masks(pairs, classes)
        for work in works.values():
            assert all(np.array_equal(a, b) for a, b in zip(work(pairs, classes), truth, strict=True)), work
        works = {name: lambda work=work: work(pairs, classes) for name, work in works.items()}  # noqa: B023
        rows.append(row(f"mIoU, {classes} classes", len(pairs), works, args.repeat))
    pairs = label_maps(max(2, args.pictures // 4), 171, 0)
    for a, b in zip(boundary(pairs, 171), boundary_by_erosion(pairs, 171), strict=True):
        assert np.array_equal(a, b)
    works = {"ours": lambda: boundary(pairs, 171), "erosion": lambda: boundary_by_erosion(pairs, 171)}
    rows.append(row("boundary IoU, 171 classes", len(pairs), works, args.repeat))
    data, index = instances(args.pictures, 0), COCO()
    index.dataset = data
    index.createIndex()
    of_picture = {one["id"]: index.imgToAnns[one["id"]] for one in data["images"]}
    for a, b in zip(painted(data, of_picture), painted_by_coco(data, index), strict=True):
        assert np.array_equal(a, b)
    works = {"ours": lambda: painted(data, of_picture), "annToMask": lambda: painted_by_coco(data, index)}
    rows.append(row("instances painted", args.pictures, works, args.repeat))
    maps = painted(data, of_picture)
    rows.append(row("id PNG written", args.pictures, {"ours": lambda: [id_png(one) for one in maps]}, args.repeat))
    print(json.dumps({"benchmark": "metrics", "rows": rows, "commit": commit(), "hardware": hardware("cpu")}))


if __name__ == "__main__":
    main()
