"""Does it work at the first try? Photographs asked as a stranger would ask, with the page's defaults.

    python -m benchmarks.first_try --model photos [--limit N] [--half even|odd] [--background T ...] [--seed 0]

100 photographs of voc-mini and 100 of coco-mini, drawn among those with at least one class; where there are fewer, all
of them. Each is asked for the plain names of its true classes and of two classes of the same benchmark that it does not
hold, drawn as well; other known words compete, as on the page. `found`: share of the true classes with IoU >= 0.5;
those that cover under 1 % of the labelled pixels are left out and counted as `small`. `shown_wrongly`: share of the
absent classes that get at least 1 % of the labelled pixels. `nothing`: photographs where nothing asked gets that much.

`--half` draws among the photographs of even or of odd number alone, so that a default can be chosen on one half and
reported on the other. `--background`: another threshold than the default, or several, then each has a line; all other
figures are those of the first. The last line is one JSON object; shares are in per cent.
"""

import argparse
import json
import random
import sys
from collections import Counter
from itertools import islice

import numpy as np

import sseg
from benchmarks.asking import ENOUGH, overlap, own_background, per_cent, shown
from sseg.errors import SSegError
from train.evaluation.options import natural, share
from train.evaluation.progress import Progress
from train.evaluation.registry import HALVES, open_benchmark
from train.provenance import commit, hardware

SETS = ("voc-mini", "coco-mini")
PHOTOGRAPHS = 100  # of each set
ABSENT = 2  # names asked for nothing in each photograph
LEAST = 0.01  # share of the labelled pixels from which something is there


def main(arguments=None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    try:
        segmenter = sseg.load(options.model)
        thresholds = options.background or [own_background(segmenter)]
        counts = {name: judge(segmenter, open_benchmark(name), thresholds, options) for name in SETS}
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    both = [sum((counts[name][i] for name in SETS), Counter()) for i in range(len(thresholds))]
    result = {"benchmark": "first_try", "model": options.model, **figures(both[0])}
    result["sets"] = {name: figures(counts[name][0]) for name in SETS}
    result["sweep"] = [{"background": t, **rates(one)} for t, one in zip(thresholds, both, strict=True)]
    result.update(background=thresholds[0], half=options.half, seed=options.seed, commit=commit())
    print(table(result))
    print(json.dumps(result | {"hardware": hardware(segmenter.device)}))
    return 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="W", help="bundled name, folder, or owner/name@revision")
    parser.add_argument("--limit", type=natural, default=PHOTOGRAPHS, metavar="N", help="photographs of each set")
    parser.add_argument("--background", type=share, nargs="+", metavar="T", help="instead of the default")
    parser.add_argument("--half", choices=HALVES, help="draw among the photographs of even or odd number alone")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def judge(segmenter, benchmark, thresholds, options) -> list[Counter]:
    """Counts over the drawn photographs of a benchmark, for each threshold."""
    counts = [Counter() for _ in thresholds]
    for sample, present, absent in Progress(Drawn(benchmark, options.limit, options.half, options.seed)):
        encoded = segmenter.encode(sample.image)
        names = [benchmark.class_names[c] for c in present + absent]
        for threshold, count in zip(thresholds, counts, strict=True):
            answer = segmenter.ask(encoded, names, background=threshold)
            count.update(tally(answer.labels, sample.labels, present, len(absent)))
    return counts


class Drawn:
    """Photographs with at least one class, in drawn order: (sample, its classes, absent classes) by their indices."""

    def __init__(self, benchmark, limit: int, half: str | None, seed: int):
        self.benchmark, self.limit, self.seed = benchmark, limit, seed
        numbers = range(len(benchmark))[HALVES.index(half) :: 2] if half else range(len(benchmark))
        self.order = random.Random(seed).sample(numbers, len(numbers))

    def __len__(self) -> int:  # at most
        return min(self.limit, len(self.order))

    def __iter__(self):
        benchmark = self.benchmark
        classes = {c for c in range(len(benchmark.class_names)) if c != benchmark.background}
        samples = (benchmark[number] for number in self.order)
        pairs = ((sample, classes & set(np.unique(sample.labels).tolist())) for sample in samples)
        for sample, present in islice((pair for pair in pairs if pair[1]), self.limit):
            rng = random.Random(f"{self.seed} {sample.name}")  # whatever other photographs are drawn
            others = sorted(classes - present)
            yield sample, sorted(present), rng.sample(others, min(ABSENT, len(others)))


def tally(found: np.ndarray, truth: np.ndarray, present: list[int], absent: int) -> Counter:
    """What a photograph adds. found (H, W): places in the question, those of `present` first, then `absent` more, -1
    background; truth (H, W): classes, negative where it does not count."""
    counted = truth >= 0
    found, truth = found[counted], truth[counted]
    areas = [(found == place).mean() for place in range(len(present) + absent)]
    count = Counter(photographs=1, absent=absent, nothing=int(max(areas) < LEAST))
    count["wrong"] = sum(area >= LEAST for area in areas[len(present) :])
    for place, c in enumerate(present):
        if (truth == c).mean() < LEAST:
            count["small"] += 1
            continue
        count["present"] += 1
        count["hits"] += overlap(found == place, truth == c) >= ENOUGH
    return count


def rates(count: Counter) -> dict:
    """The two figures, in per cent."""
    return {"found": per_cent(count["hits"], count["present"]),
            "shown_wrongly": per_cent(count["wrong"], count["absent"])}  # fmt: skip


def figures(count: Counter) -> dict:
    """The two figures and the counts that they come from."""
    return rates(count) | {key: int(count[key]) for key in ("photographs", "present", "small", "absent", "nothing")}


def table(result: dict) -> str:
    """What a person wants to see."""
    half = f" of {result['half']} number" if result["half"] else ""
    lines = [
        f"first try: {result['model']}, {result['photographs']} photographs{half}, background below "
        f"{result['background']:g}",
        "",
        f"  {'':<12} found  shown wrongly  photographs  classes  too small  absent  nothing found",
    ]
    for name, one in (*result["sets"].items(), ("both", result)):
        lines.append(
            f"  {name:<12} {shown(one['found'])}  {shown(one['shown_wrongly']):>13}  {one['photographs']:11}"
            f"  {one['present']:7}  {one['small']:9}  {one['absent']:6}  {one['nothing']:13}"
        )
    if len(result["sweep"]) > 1:
        lines += ["", f"  {'background':<12} found  shown wrongly"]
        lines += [
            f"  {row['background']:<12g} {shown(row['found'])}  {shown(row['shown_wrongly']):>13}"
            for row in result["sweep"]
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
