"""One command for every benchmark and model: a table for people, then one line of JSON.

    python -m train.evaluate --benchmark stickers --model mini [--phrases all|present] [--limit N] [--seed-offset N]
    python -m train.evaluate --benchmark folder --root DIR --model mini
    python -m train.evaluate --benchmark voc-mini --model mini [--background sweep|T] [--names plain|tuned]
    python -m train.evaluate --benchmark stickers --oracle --features pixels --k 8
    python -m train.evaluate --benchmark context --root DIR --prepare
    python -m train.evaluate --benchmark voc --root DIR --protocol groupvit --model mini [--sweep halves|train]
        [--against groupvit:ID clip:ID maskclip:ID clipseg:ID] [--random-weights] [--out FILE]

Intersections and unions are summed over the whole set, IoU is averaged over the classes that occur (mmsegmentation's
IoUMetric); figures are in per cent. Protocols: with `--phrases all` every class of the benchmark competes in every
picture, with `present` only those that are in the picture's truth; no background, no other vocabulary. Where a
benchmark has a background class, `all` asks as the app does: the weights' other words compete, and a pixel whose best
score is below the threshold is background (`sweep`: the best on the pictures of even number, reported on the others);
`present` then leaves the true background out. `--oracle` gives each K-Means cluster the class of most of its pixels:
the ceiling that pseudo-masks set (paper, section 3). `--protocol` judges by published rules instead, S-Seg and
baselines alike (docs/evaluation.md). `pointing` asks for phrases of captions one by one (see there).
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

import sseg
from sseg.errors import SSegError
from sseg.metrics import StreamingIoU, oracle_update
from sseg.pseudo_masks.masker import PseudoMasker
from sseg.stopping import stoppable
from train.evaluation import runner
from train.evaluation.baselines import BASELINES
from train.evaluation.datasets.folder import doubts
from train.evaluation.datasets.pointing import Pointing, play
from train.evaluation.options import SILHOUETTE, SWEEP, parse
from train.evaluation.predictors import THRESHOLDS, ThresholdSweep, check_distinct, predictor, tuned_names
from train.evaluation.progress import Progress
from train.evaluation.registry import POINTING, Half, open_benchmark, prepare
from train.evaluation.runner import per_class, percent
from train.evaluation.targets import match_target
from train.files import write_whole
from train.provenance import commit, hardware

ANOTHER = 10_000  # between the seeds of two clusterings of a picture


@stoppable("Stopped; what was written is kept.")
def main(arguments=None):
    """Run the command; returns the exit code."""
    options = parse(arguments)
    try:
        if options.benchmark == POINTING:
            return point(options)
        if options.prepare:
            count = prepare(options.benchmark, options.root, options.partial)
            print(json.dumps({"benchmark": options.benchmark, "prepared": count}))
            return 0
        if options.against:
            return side_by_side(options)
        benchmark = open_benchmark(
            options.benchmark, options.root, options.seed_offset, options.limit, partial=options.partial
        )
        if options.half:
            benchmark = Half(benchmark, options.half)
        result, metric = judge(benchmark, options)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    if options.half:
        result["protocol"] += f", pictures of {options.half} number"
    result.update(half=options.half, target=options.target, commit=commit())
    result.update(hardware=hardware(pick_device(options.device)), torch=torch.__version__)
    for warning in result["warnings"]:
        print(warning, file=sys.stderr)
    if options.out:
        write_whole(Path(options.out), json.dumps(result, indent=1))
    if not options.json_only:
        print(table(benchmark, metric, result))
    print(json.dumps({key: value for key, value in result.items() if key != "per_class"}))
    return 0


def judge(benchmark, options):
    """The run that the options ask for; returns (result dict, metric)."""
    if options.oracle:
        return run_oracle(benchmark, options)
    if options.protocol:
        return runner.run(benchmark, options)
    if options.model.partition(":")[0] in BASELINES:
        raise SSegError(f"{options.model} is a baseline: say by which rules it is judged, with --protocol.")
    options.names = options.names or "plain"
    return run_model(benchmark, options)


def side_by_side(options):
    """The model and its baselines on the same pictures, each in a process of its own, so that memory is its own."""
    results = []
    arguments = [word for word in options.arguments if word != "--json-only"]
    start = arguments.index("--against")
    del arguments[start : start + 1 + len(options.against)]
    place = arguments.index("--model") + 1
    for model in (options.model, *options.against):
        command = [*arguments[:place], model, *arguments[place + 1 :], "--json-only"]
        done = subprocess.run([sys.executable, "-m", "train.evaluate", *command], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            return done.returncode
        results.append(json.loads(done.stdout.splitlines()[-1]))
    first = results[0]
    title = f"{first['benchmark']}, {first['images']} images, protocol {first['protocol']}, {first['names']} names"
    lines = [title, "", f"  {'':<28}    mIoU   s/image  time ratio  peak MB  memory ratio"]
    for one in results:
        one["time_ratio"] = round(one["seconds_per_image"] / first["seconds_per_image"], 2)
        one["memory_ratio"] = round(one["peak_memory_mb"] / first["peak_memory_mb"], 2)
        random = " (random)" if one["random_weights"] and one["model"].partition(":")[0] in BASELINES else ""
        lines.append(
            f"  {one['model'] + random:<28}  {show(one['miou'])}  {one['seconds_per_image']:8.3f}  "
            f"{one['time_ratio']:10.2f}  {one['peak_memory_mb']:7.0f}  {one['memory_ratio']:12.2f}"
        )
    if not options.json_only:
        print("\n".join([*lines, ""]))
    print(json.dumps({"benchmark": first["benchmark"], "protocol": first["protocol"], "models": results}))
    return 0


def point(options):
    """The pointing game: hits in per cent, beside those of the middle of the picture."""
    if options.oracle:
        raise SSegError("The pointing game judges models: leave --oracle out and give --model W.")
    benchmark = Pointing(root=options.root, limit=options.limit)
    if options.half:
        benchmark = Half(benchmark, options.half)
    segmenter = sseg.load(options.model, device=options.device, combine=options.combine)
    hits = play(Progress(benchmark), segmenter, options.size, options.blur)
    kinds = dict(sorted(hits.items(), key=lambda item: -len(item[1])))
    rows = {"all": [hit for one in kinds.values() for hit in one], **kinds}
    shares = {kind: [percent(share) for share in np.mean(row, 0)] for kind, row in rows.items() if row}
    model, centre = shares.get("all", (None, None))
    result = {
        "benchmark": POINTING,
        "images": len(benchmark),
        "phrases": len(rows["all"]),
        "pointing": model,
        "centre": centre,
        "ratio": round(model / centre, 3) if centre else None,
        "model": options.model,
        "kinds": {kind: {"pointing": a, "centre": b, "phrases": len(rows[kind])} for kind, (a, b) in shares.items()},
    }
    result.update(
        half=options.half,
        blur=options.blur,
        size=options.size or segmenter.long_side,
        commit=commit(),
        hardware=hardware(pick_device(options.device)),
        torch=torch.__version__,
    )
    if not options.json_only:
        print(f"pointing, {len(benchmark)} images: {options.model}\n\n  {'':<16}   model  centre  phrases")
        print("\n".join(f"  {kind:<16}  {show(a)}  {show(b)}  {len(rows[kind]):7}" for kind, (a, b) in shares.items()))
    print(json.dumps(result))
    return 0


def run_model(benchmark, options):
    """Segment every picture with the model; returns (result dict, metric)."""
    segmenter = sseg.load(options.model, device=options.device, combine=options.combine)
    names = benchmark.class_names
    if options.names == "tuned":
        names = tuned_names(benchmark.name, names)
    if options.target:
        result, metric = run_target(benchmark, segmenter, options)
    elif benchmark.background is not None and options.phrases == "all":
        result, metric = run_with_background(benchmark, segmenter, names, options)
    else:
        result, metric = run_without_background(benchmark, segmenter, names, options)
    result.update(model=options.model, phrases=options.phrases, names=options.names)
    result.update(size=options.size or segmenter.long_side)
    return result, metric


def run_without_background(benchmark, segmenter, names, options):
    """Every pixel gets a class; pixels of the true background, where there is one, do not count."""
    predict = predictor(segmenter, names, options.size)
    metric, seconds = StreamingIoU(len(names)), 0.0
    for sample in Progress(benchmark):
        truth = sample.labels
        if benchmark.background is not None:
            truth = np.where(truth == benchmark.background, benchmark.ignore, truth)
        classes = present_classes(truth, benchmark.ignore) if options.phrases == "present" else None
        start = time.perf_counter()
        labels = predict(sample.image, classes)
        seconds += time.perf_counter() - start
        metric.update(labels, truth, benchmark.ignore)
    result = summary(benchmark, metric, seconds, options)
    result["protocol"] = f"{options.phrases} phrases, {predict.how}, no background"
    return result, metric


def run_target(benchmark, segmenter, options):
    """A target's categories compete; what is no class of the benchmark is its background, or a miss."""
    match = match_target(options.target, benchmark)
    predict = predictor(segmenter, match.categories, options.size)
    metric, seconds = StreamingIoU(len(benchmark.class_names)), 0.0
    for sample in Progress(benchmark):
        start = time.perf_counter()
        labels = match.predicted[predict(sample.image)]
        seconds += time.perf_counter() - start
        truth = np.where(sample.labels < 0, benchmark.ignore, match.true[sample.labels])
        metric.update(labels, truth, benchmark.ignore)
    result = summary(benchmark, metric, seconds, options)
    others = "a miss" if benchmark.background is None else "background"
    result["protocol"] = (f"the {len(match.categories)} categories of {options.target}, {predict.how}, "
                          f"those that are no class of the benchmark are {others}")  # fmt: skip
    return result, metric


def run_with_background(benchmark, segmenter, names, options):
    """Asked as the app asks, the weights' other words competing; see `ThresholdSweep` for the threshold."""
    classes = np.array([i for i in range(len(names)) if i != benchmark.background])
    check_distinct([names[i] for i in classes])
    sweeping = options.background == SWEEP
    sweep = ThresholdSweep(len(names), THRESHOLDS if sweeping else (options.background,))
    main, seconds = benchmark.groups.get("main"), 0.0
    for number, sample in enumerate(Progress(benchmark)):
        start = time.perf_counter()
        encoded = segmenter.encode(sample.image, long_side=options.size)
        answer = segmenter.ask(encoded, [names[i] for i in classes], background=0)
        best, confidence = classes[answer.best], answer.confidence
        seconds += time.perf_counter() - start
        number = number if sweeping else 1  # all are reported
        sweep.update(number, best, confidence, sample.labels, benchmark.ignore, benchmark.background)
    threshold, metric = sweep.chosen(main)
    result = summary(benchmark, metric, seconds, options)
    half = ", chosen on the pictures of even number, reported on the others" if sweeping else ""
    protocol = f"all phrases, the weights' other words competing, {segmenter.combine} masks"
    result.update(background=threshold, protocol=f"{protocol}, background below {threshold:g}{half}")
    result["reported_images"] = len(benchmark) // 2 if sweeping else len(benchmark)
    return result, metric


def present_classes(labels, ignore):
    """Indices of the classes in a label map, ascending."""
    classes = np.unique(labels)
    return classes[classes != ignore]


def run_oracle(benchmark, options):
    """Cluster every picture, let each cluster take its majority class; returns (result dict, metric).

    Picture number i is clustered with seed i, and further times with i + 10,000, ...: all of them count.
    """
    masker = PseudoMasker(options.features, options.facet, options.device)
    metric, seconds, counts = StreamingIoU(len(benchmark.class_names)), 0.0, []
    for i, sample in enumerate(Progress(benchmark)):
        start = time.perf_counter()
        found = masker.encode(sample.image, options.resolution)
        k = found.best_k(seed=i) if options.k == SILHOUETTE else options.k
        masks = masker.cluster(found, k, i, options.method, options.outlines)
        seconds += time.perf_counter() - start
        seeds = range(i + ANOTHER, i + options.clusterings * ANOTHER, ANOTHER)
        for each in (masks, *(masker.cluster(found, k, seed, options.method, options.outlines) for seed in seeds)):
            counts.append(each.count)
            oracle_update(metric, each.fine, sample.labels, benchmark.ignore)
    result = summary(benchmark, metric, seconds, options)
    result.update(
        model=f"{masker.name}, {options.method}, K = {options.k}",
        phrases=None,
        features=masker.name,
        facet=masker.facet,
        method=options.method,
        outlines=options.outlines,
        k=options.k,
        resolution=options.resolution,
        clusterings=options.clusterings,
        mean_clusters=round(float(np.mean(counts)), 2),
        oracle_miou=result["miou"],
        protocol=f"oracle: majority class of each cluster, cells of 8 pixels at {options.resolution}, "
        f"outlines of {options.outlines}",
    )
    return result, metric


def summary(benchmark, metric, seconds, options):
    """The figures that every run has, in per cent with two decimals."""
    scores = metric.compute()
    result = {
        "benchmark": benchmark.name,
        "images": len(benchmark),
        "classes": len(benchmark.class_names),
        "miou": percent(scores["miou"]),
        "pixel_accuracy": percent(scores["pixel_accuracy"]),
        "ignored": percent(scores["ignored"]),
        "warnings": doubts(benchmark, metric),
    }
    for group, classes in benchmark.groups.items():
        result[f"miou_{group}"] = percent(metric.miou(classes))
    result.update(seconds_per_image=round(seconds / max(len(benchmark), 1), 5), seed=options.seed_offset)
    result["per_class"] = per_class(metric, benchmark.class_names)
    return result


def table(benchmark, metric, result):
    """What a person wants to see: the means, and the ten best and worst classes that occur."""
    lines = [
        f"{result['benchmark']}, {result['images']} images, {result['classes']} classes: {result['model']}",
        result["protocol"],
        "",
    ]
    means = [("mIoU", "miou"), *((group, f"miou_{group}") for group in benchmark.groups)]
    means += [("pixels", "pixel_accuracy"), ("ignored", "ignored")]
    lines += [f"  {label:<24} {show(result[key])}" for label, key in means]
    iou = metric.iou()
    order = [i for i in np.argsort(-np.nan_to_num(iou, nan=-1), kind="stable") if not np.isnan(iou[i])]
    for title, part in (("best", order[:10]), ("worst", order[10:][::-1][:10])):
        if part:
            lines += ["", f"  {title} classes"]
            lines += [f"  {benchmark.class_names[i][:24]:<24} {show(percent(iou[i]))}" for i in part]
    lines += ["", f"  {1000 * result['seconds_per_image']:.1f} ms an image, {result['hardware']}", ""]
    return "\n".join(lines)


def show(value):
    return "     -" if value is None else f"{value:6.2f}"


def pick_device(name):
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


if __name__ == "__main__":
    sys.exit(main())
