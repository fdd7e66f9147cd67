"""One model, one benchmark, one protocol: counted picture by picture, resumable."""

import json
import resource
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from sseg.errors import SSegError
from sseg.metrics import BoundaryIoU, StreamingIoU
from sseg.paths import ASSETS
from train.evaluation import baselines
from train.evaluation.datasets.folder import doubts
from train.evaluation.predictors import THRESHOLDS
from train.evaluation.prefetch import Prefetched
from train.evaluation.progress import Progress
from train.evaluation.protocols import PROTOCOLS, family_of
from train.evaluation.registry import open_benchmark
from train.evaluation.scoring import Reader

SWEEPS = ("halves", "train")


def run(benchmark, options):
    """The benchmark under `options.protocol`; returns (result dict, metric of the reported pictures)."""
    protocol = PROTOCOLS[options.protocol]
    family, background = family_of(benchmark.name), benchmark.background
    column = options.names or protocol.names
    names, has_list = class_texts(benchmark.class_names, protocol.vocabulary if column == "tuned" else None, family)
    model = baselines.load(options.model, options.device, options.random_weights, options.combine)
    reader, classes = make_reader(model, protocol, names, family, background)
    counts = Counts(len(names), options.boundary)
    threshold, how = 0.0, "no background"
    if background is not None:
        threshold, how = given_threshold(protocol, family, options)
        if options.sweep == "train":
            train = open_benchmark(
                benchmark.name, options.root, limit=options.sweep_limit, split="train", partial=options.partial
            )
            swept = Counts(len(names), False, THRESHOLDS)
            count_images(train, reader, classes, swept, options)
            threshold, _ = swept.best()
            how = f"best on {len(train)} pictures of the training split"
        elif options.sweep == "halves":
            counts = Counts(len(names), options.boundary, THRESHOLDS)
    if options.sweep != "halves":
        counts.thresholds = (threshold,)
    count_images(benchmark, reader, classes, counts, options, resumable=True)
    reported = len(benchmark)
    if background is not None and options.sweep == "halves":
        threshold, index = counts.best()
        how, reported = "best on the pictures of even number, reported on the others", len(benchmark) // 2
        metric, boundary = counts.metrics[1][index], counts.boundaries[1][index] if options.boundary else None
    else:
        metric, boundary = counts.whole()
    scores = metric.compute()
    result = {
        "benchmark": benchmark.name,
        "model": options.model,
        "protocol": protocol.name,
        "protocol_settings": protocol.settings(),
        "names": column if has_list or column == "plain" else "plain",
        "background": threshold if background is not None else None,
        "threshold": how,
        "images": len(benchmark),
        "reported_images": reported,
        "classes": len(names),
        "miou": percent(scores["miou"]),
        "pixel_accuracy": percent(scores["pixel_accuracy"]),
        "ignored": percent(scores["ignored"]),
        "warnings": doubts(benchmark, metric),
    }
    if boundary is not None:
        result["boundary_miou"] = percent(boundary.miou())
    if benchmark.name.startswith("imagenet-s"):
        result["miou_of_all"] = percent(metric.miou_of_all())  # what its own evaluator prints
    for group, members in benchmark.groups.items():
        result[f"miou_{group}"] = percent(metric.miou(members))
    result.update(
        seconds_per_image=round(counts.seconds / max(len(benchmark), 1), 5),
        peak_memory_mb=peak_memory(),
        random_weights=options.random_weights,
        partial=options.partial,
        seed=options.seed_offset,
        per_class=per_class(metric, benchmark.class_names),
    )
    return result, metric


def per_class(metric, class_names) -> list[dict]:
    """A row for each class, as `--out` writes them."""
    return [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in metric.rows(class_names)
    ]


def class_texts(class_names, vocabulary, family):
    """Texts of each class, and whether there is such a list. `vocabulary`: None for the plain names."""
    path = ASSETS / "vocabularies" / f"{f'{vocabulary}-' if vocabulary else ''}{family}.yaml"
    if vocabulary is None or not path.is_file():
        return [[name] for name in class_names], False
    synonyms = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [synonyms.get(name, [name]) for name in class_names], True


def make_reader(model, protocol, names, family, background):
    """The reader, and the class of the benchmark for each class that has texts.

    The background has texts only where the list gives it some (SCLIP's 26 words); it then is class 0 of the reader.
    """
    worded = background is not None and names[background] != ["background"] and protocol.score == "pixels"
    classes = [i for i in range(len(names)) if i != background]
    asked = [background, *classes] if worded else classes
    texts = [text for i in asked for text in names[i]]
    owners = torch.tensor([place for place, i in enumerate(asked) for _ in names[i]], device=model.device)
    fixed = protocol.of(protocol.scales, "" if background is None else family)
    scale = fixed if fixed and model.has_scale else model.scale
    smallest = protocol.smallest.get(family) if worded else None
    return Reader(model, model.embed(texts, protocol.templates), owners, protocol, scale, smallest, worded), np.array(
        [*classes, -1 if background is None else background]
    )  # labels of -1 take the last


def given_threshold(protocol, family, options):
    """The threshold of --background or of the protocol, and where it is from."""
    if not isinstance(options.background, str):
        return options.background, "given"
    value = protocol.of(protocol.thresholds, family)
    if value is not None:
        return value, "the protocol's"
    if options.sweep is None:
        raise SSegError(
            f"The protocol {protocol.name} has no threshold for {family}: find one with --sweep halves or "
            "--sweep train, or give --background T."
        )
    return 0.0, ""


class Counts:
    """Intersections and unions under every threshold, apart for pictures of even and of odd number."""

    def __init__(self, classes, boundary=False, thresholds=(0.0,)):
        self.thresholds, self.seconds, self.done = thresholds, 0.0, 0
        self.metrics = [[StreamingIoU(classes) for _ in thresholds] for _ in range(2)]
        self.boundaries = [[BoundaryIoU(classes) for _ in thresholds] if boundary else [] for _ in range(2)]

    def update(self, number, answer, classes, truth, ignore):
        """Count one picture under each threshold."""
        for i, threshold in enumerate(self.thresholds):
            labels = classes[answer.labels(threshold)]
            for metrics in (self.metrics, self.boundaries):
                if metrics[number % 2]:
                    metrics[number % 2][i].update(labels, truth, ignore)
        self.done = number + 1

    def best(self):
        """The threshold with the best mIoU on the even pictures, or on all if none of the odd were counted."""
        scores = [metric.miou() for metric in self.metrics[0]]
        best = int(np.nanargmax(scores)) if not np.isnan(scores).all() else 0
        return self.thresholds[best], best

    def whole(self):
        """Metric and boundary metric (or None) of all pictures, under the first threshold."""
        for metrics in (self.metrics, self.boundaries):
            if metrics[0]:
                metrics[0][0].merge(metrics[1][0])
        return self.metrics[0][0], self.boundaries[0][0] if self.boundaries[0] else None

    def _all(self):
        return [metric for kind in (self.metrics, self.boundaries) for half in kind for metric in half]

    def save(self, path: Path, settings: str):
        """All counts so far; whole or not at all."""
        part = path.with_name(f".{path.name}")
        with part.open("wb") as file:
            np.savez(
                file,
                settings=settings,
                done=self.done,
                seconds=self.seconds,
                counts=np.stack([metric.state() for metric in self._all()]),
            )
        part.replace(path)

    def load(self, path: Path, settings: str):
        """Go on from a file of the same settings. SSegError for another run's, or a damaged one."""
        try:
            with np.load(path, allow_pickle=False) as saved:
                same, done, seconds = str(saved["settings"]) == settings, int(saved["done"]), float(saved["seconds"])
                counts = saved["counts"]
        except (OSError, ValueError, KeyError):
            raise SSegError(f"{path} is not the state of a run: delete it to start anew.") from None
        if not same or len(counts) != len(self._all()):
            raise SSegError(f"{path} is the state of a run with other settings: delete it, or name another file.")
        for metric, state in zip(self._all(), counts, strict=True):
            metric.restore(state)
        self.done, self.seconds = done, seconds


def count_images(benchmark, reader, classes, counts, options, resumable=False):
    """Ask every picture and count; with --state, from where an earlier run was stopped."""
    path = Path(options.state) if resumable and options.state else None
    settings = json.dumps(
        [
            benchmark.name,
            len(benchmark),
            options.model,
            options.protocol,
            options.names,
            options.sweep,
            counts.thresholds,
            options.random_weights,
            options.boundary,
            options.combine,
        ]
    )
    if path and path.is_file():
        counts.load(path, settings)
    images = Prefetched(benchmark, options.workers, counts.done)
    for number, sample in Progress(images, done=counts.done):
        start = time.perf_counter()
        answer = reader(sample.image)
        answer.labels(counts.thresholds[0])  # what a user waits for; metrics are not part of it
        counts.seconds += time.perf_counter() - start
        counts.update(number, answer, classes, sample.labels, benchmark.ignore)
        if path and (number + 1) % options.save_every == 0:
            counts.save(path, settings)
    if path:
        counts.save(path, settings)


def percent(share):
    return None if np.isnan(share) else round(100 * float(share), 2)


def peak_memory() -> float:
    """Megabytes: the GPU's peak where there is one, else this process's."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
