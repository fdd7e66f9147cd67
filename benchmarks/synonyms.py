"""Do weights find by a word that is new to them what they find by a known one of the same meaning?

    python -m benchmarks.synonyms --model photos [--limit N] [--seed 0] [--words assets/vocabularies/synonyms.yaml]

For each pair of the list (`puppy: dog`) whose known word names a class of voc-mini, coco-mini or places-mini, at most
20 photographs of each set are drawn in which the class covers at least 2 %. Each is asked, with the page's defaults,
for the known word and the names of its other classes, then for the unseen word and the same others. Where the known
word finds its class (IoU >= 0.5), does the unseen one as well? `found_as_known`: the share of those cases where it
does; `found_as_known_pairs`: the mean of the pairs' own shares. `control`: the same share for an unseen word of another
group, which means something else (a lorry for the dog): what any word would find. `--limit`: only the first N
photographs of each set. The last line is one JSON object; shares are in per cent.

Weights whose training captions held the unseen words (train/data/held_out.py takes them out) are not judged by this.
"""

import argparse
import json
import random
import statistics
import sys
from collections import defaultdict
from typing import NamedTuple

import numpy as np

import sseg
from benchmarks.asking import ENOUGH, overlap, own_background, per_cent, shown
from sseg.errors import SSegError
from train.data.held_out import SYNONYMS, read_groups
from train.evaluation.options import natural
from train.evaluation.progress import Progress
from train.evaluation.registry import open_benchmark
from train.provenance import commit, hardware

SETS = ("voc-mini", "coco-mini", "places-mini")
MOST = 20  # photographs of a pair and set
LEAST = 0.02  # share of the picture that the class covers
ALSO = {  # known word -> class names that say the same in another way, or more widely
    "airplane": ["aeroplane"], "boy": ["person"], "child": ["person"], "flower": ["flowers"], "girl": ["person"],
    "man": ["person"], "motorcycle": ["motorbike"], "phone": ["cell phone"], "plant": ["potted plant"],
    "sofa": ["couch"], "table": ["dining table"], "television": ["tv", "tv monitor"], "woman": ["person"],
}  # fmt: skip


class Pair(NamedTuple):
    """A word of the list, the known one, and an unseen word that means something else."""

    unseen: str
    known: str
    control: str


class Case(NamedTuple):
    """A pair in a photograph: whether each of its words finds the class."""

    pair: Pair
    known: bool
    unseen: bool
    control: bool


def main(arguments=None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    try:
        pairs = pairs_of(read_groups(options.words), options.seed)
        segmenter = sseg.load(options.model)
        cases = [case for name in SETS for case in judge(segmenter, open_benchmark(name, limit=options.limit), pairs,
                                                         options.seed)]  # fmt: skip
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    rows = [row_of(pair, [case for case in cases if case.pair == pair]) for pair in pairs]
    rows = [row for row in rows if row["cases"]]
    shares = [row["found_as_known"] for row in rows if row["known_found"]]
    result = {"benchmark": "synonyms", "model": options.model, "pairs": len(rows), "cases": len(cases)}
    result["known_found"] = sum(row["known_found"] for row in rows)
    result["found_as_known"] = per_cent(sum(row["both_found"] for row in rows), result["known_found"])
    result["control"] = per_cent(sum(row["control_found"] for row in rows), result["known_found"])
    result["found_as_known_pairs"] = round(statistics.mean(shares), 1) if shares else None
    result.update(pairs_with_known_found=len(shares), background=own_background(segmenter), limit=options.limit)
    print(table(result, rows))
    result.update(rows=rows, seed=options.seed, commit=commit(), hardware=hardware(segmenter.device))
    print(json.dumps(result))
    return 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="W", help="bundled name, folder, or owner/name@revision")
    parser.add_argument("--limit", type=natural, metavar="N", help="only the first N photographs of each set")
    parser.add_argument("--words", default=SYNONYMS, metavar="FILE", help="the list of pairs")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def pairs_of(groups: dict[str, dict[str, str]], seed: int) -> list[Pair]:
    """The pairs of a list, each with a control word of another group (its own unseen word where there is no other)."""
    pairs, rng = [], random.Random(seed)
    for name, group in groups.items():
        elsewhere = [word for other, words in groups.items() if other != name for word in words]
        pairs += [Pair(unseen, known, rng.choice(elsewhere or [unseen])) for unseen, known in group.items()]
    return pairs


def class_of(known: str, class_names: list[str]) -> int | None:
    """The index of the class that a known word names; None where the set has none."""
    named = [name for name in (known, *ALSO.get(known, [])) if name in class_names]
    return class_names.index(named[0]) if named else None


def judge(segmenter, benchmark, pairs: list[Pair], seed: int) -> list[Case]:
    """The cases of a set; each photograph is encoded once, and only if some pair needs it."""
    classes = {pair: class_of(pair.known, benchmark.class_names) for pair in pairs}
    wanted = draw(benchmark, {c for c in classes.values() if c is not None}, seed)
    cases = []
    for number, sample in enumerate(Progress(benchmark)):
        asked = [pair for pair, c in classes.items() if c in wanted[number]]
        if asked:
            finds = finder(segmenter, benchmark, sample, classes)
            for pair in asked:
                words = (pair.known, pair.unseen, pair.control)
                cases.append(Case(pair, *(finds(word, classes[pair]) for word in words)))
    return cases


def draw(benchmark, classes: set[int], seed: int) -> dict[int, set[int]]:
    """Number of a photograph -> the classes for which it was drawn."""
    holding = defaultdict(list)
    for number, sample in enumerate(benchmark):
        for c in classes:
            if (sample.labels == c).mean() >= LEAST:
                holding[c].append(number)
    wanted = defaultdict(set)
    for c, numbers in holding.items():
        rng = random.Random(f"{seed} {benchmark.class_names[c]}")  # whatever other classes are asked
        for number in rng.sample(numbers, min(MOST, len(numbers))):
            wanted[number].add(c)
    return wanted


def finder(segmenter, benchmark, sample, classes):
    """A function (word, class) -> whether the word, asked beside the photograph's other classes, finds that one."""
    encoded, background = segmenter.encode(sample.image), own_background(segmenter)
    counted, present = sample.labels >= 0, np.unique(sample.labels).tolist()
    answers = {}

    def finds(word: str, c: int) -> bool:
        if (word, c) not in answers:
            others = [i for i in present if i not in (c, benchmark.ignore, benchmark.background)]
            answer = segmenter.ask(encoded, [word, *(benchmark.class_names[i] for i in others)], background=background)
            iou = overlap((answer.labels == 0)[counted], (sample.labels == c)[counted])
            answers[word, c] = iou >= ENOUGH
        return answers[word, c]

    return finds


def row_of(pair: Pair, cases: list[Case]) -> dict:
    """The figures of a pair over all sets."""
    known, both = sum(case.known for case in cases), sum(case.known and case.unseen for case in cases)
    control = sum(case.known and case.control for case in cases)
    return {"unseen": pair.unseen, "known": pair.known, "cases": len(cases), "known_found": known,
            "unseen_found": sum(case.unseen for case in cases), "both_found": both,
            "control": pair.control, "control_found": control, "found_as_known": per_cent(both, known)}  # fmt: skip


def table(result: dict, rows: list[dict]) -> str:
    """What a person wants to see: a line for each pair, and the means."""
    lines = [
        f"synonyms: {result['model']}, {result['pairs']} pairs that can be measured, {result['cases']} cases",
        "",
        f"  {'unseen':<14} {'known':<14} cases  known finds  unseen finds  both  found as known  control",
    ]
    for row in rows:
        lines.append(
            f"  {row['unseen']:<14} {row['known']:<14} {row['cases']:5}  {row['known_found']:11}  "
            f"{row['unseen_found']:12}  {row['both_found']:4}  {shown(row['found_as_known']):>14}  "
            f"{row['control_found']} by {row['control']}"
        )
    lines += [
        "",
        f"  found as known  {shown(result['found_as_known'])}  of {result['known_found']} cases",
        f"  control words   {shown(result['control'])}",
        f"  mean of pairs   {shown(result['found_as_known_pairs'])}  of {result['pairs_with_known_found']} pairs",
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
