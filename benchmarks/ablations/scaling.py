"""More pairs, more steps, better masks? python -m benchmarks.ablations.scaling [--pairs 40000] [--steps 360]

Claim 3 of the paper, at our size: S-Seg learns from parts of a fixed set of pairs, rendered once, for as many steps of
the first stage of mini.yaml in one thread; each part is the beginning of the next. Judged after every quarter of the
steps on easy scenes of the test split with other seeds: mIoU with the phrases of each picture and with all phrases at
once. `ratio`: the mIoU (phrases of each picture) by most pairs over that by fewest. Ends with one JSON object;
`--join FILE ...` takes the rows of earlier ones in, `--plot` draws docs/images/scaling.png.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.ablations.backbones import evaluate
from train.data.batch import Batch, joined
from train.data.tars import shuffled
from train.pretrain import Run
from train.provenance import commit, hardware
from train.recipe import Pretrain, read_recipe
from train.trainer import open_trainer

PARTS = [512, 128, 32, 8, 4, 2, 1]
CHECKS = 4
BATCH = 128
RENDERED_AT_ONCE = 500
PLOT = Path(__file__).resolve().parents[2] / "docs/images/scaling.png"


class FixedPairs:
    """The first `count` pairs of those rendered, shuffled anew in every epoch; else as the run's own source."""

    def __init__(self, own, pixels: torch.Tensor, captions: list[str], count: int, seed: int):
        self.own, self.pixels, self.captions, self.count, self.seed = own, pixels, captions, count, seed

    def __getattr__(self, name):
        return getattr(self.own, name)

    def batch(self, seed: int, n: int, stage) -> Batch:
        places = range(seed * n, (seed + 1) * n)  # the run numbers its batches
        rows = [shuffled(self.count, self.seed, place // self.count)[place % self.count] for place in places]
        return Batch(self.pixels[rows], [self.captions[row] for row in rows])


def render(run: Run, count: int) -> tuple[torch.Tensor, list[str]]:
    """So many pairs of the run's own source."""
    starts = range(0, count, RENDERED_AT_ONCE)
    batch = joined([run.pairs.batch(first, RENDERED_AT_ONCE, run.stages[0]) for first in starts])
    return batch.images[:count], batch.captions[:count]


def learning_curve(trainer, steps: int, about: dict, judge) -> list[dict]:
    """Train on for so many steps -> a row after every quarter: `about`, samples seen, what `judge()` says."""
    rows = []
    for check in range(1, CHECKS + 1):
        trainer.run.model.train()
        while trainer.step < steps * check // CHECKS:
            trainer.advance()
        trainer.save()
        rows.append(about | {"samples": trainer.samples} | judge())
        print(rows[-1], flush=True)
    return rows


def rows_of(paths: list[Path]) -> list[dict]:
    """The rows that earlier runs of a benchmark ended with."""
    return [row for path in paths for row in json.loads(path.read_text().splitlines()[-1])["rows"]]


def train(part: int, options, seed: int, pairs: tuple | None) -> tuple[list[dict], tuple]:
    """Train on one over `part` of the pairs -> (a row for each check, the pairs)."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [f"out={folder}", f"seed={seed}", "precision=fp32", "optimizer.warmup=100", "optimizer.average=0.95"]
        recipe = read_recipe(Pretrain, "train/recipes/mini.yaml", changes)
        recipe.stages = [replace(recipe.stages[0], steps=options.steps, batch=BATCH)]
        trainer = open_trainer(Run, recipe)
        run = trainer.run
        pairs = pairs or render(run, options.pairs)
        run.pairs = FixedPairs(run.pairs, *pairs, options.pairs // part, seed)
        about = {"pairs": options.pairs // part, "seed": seed}
        return learning_curve(trainer, options.steps, about, lambda: evaluate(folder)), pairs


def plot(rows: list[dict]) -> None:
    """Left: over pairs, at the end; right: over samples seen, a line for each set. Thin lines: single seeds."""
    from matplotlib import colormaps
    from matplotlib import pyplot as plt

    most = max(row["samples"] for row in rows)
    sizes, seeds = sorted({row["pairs"] for row in rows}), {row["seed"] for row in rows}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
    for kind, colour in (("present", "#2563a8"), ("all", "#c2571a")):
        points = [[row[f"miou_{kind}"] for row in rows if row["samples"] == most and row["pairs"] == size]
                  for size in sizes]  # fmt: skip
        for values in zip(*points, strict=True):
            left.plot(sizes, values, color=colour, alpha=0.3, linewidth=1)
        label = {"present": "phrases of each picture", "all": "all 705 phrases"}[kind]
        left.plot(sizes, [statistics.mean(values) for values in points], color=colour, marker="o", label=label)
    left.set_xscale("log", base=2)
    left.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    left.minorticks_off()
    left.set_xlabel("pairs")
    left.set_ylabel("mIoU")
    left.set_title(f"after {most:,} samples", fontsize=10)
    left.legend(fontsize=8, loc="upper left")
    for number, size in enumerate(sizes):
        samples = sorted({row["samples"] for row in rows})
        means = [statistics.mean(row["miou_present"] for row in rows if (row["pairs"], row["samples"]) == (size, n))
                 for n in samples]  # fmt: skip
        colour = colormaps["viridis"](0.92 * (1 - number / max(len(sizes) - 1, 1)))
        right.plot(samples, means, color=colour, marker="o", label=f"{size:,} pairs")
    right.set_xlabel("samples seen")
    right.set_xticks(samples, [f"{n:,}" for n in samples])
    right.set_title(f"phrases of each picture, mean of {len(seeds)} seeds", fontsize=10)
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[::-1], labels[::-1], fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axis in (left, right):
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(PLOT, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40_000)
    parser.add_argument("--steps", type=int, default=360, help=f"of {BATCH} samples")
    parser.add_argument("--parts", type=int, nargs="*", default=PARTS, help="one over the share of the pairs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="outputs of earlier runs")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(options.join)
    for seed in options.seeds:
        pairs = None
        for part in options.parts:
            found, pairs = train(part, options, seed, pairs)
            rows += found
    if options.plot:
        plot(rows)
    sizes, most = {row["pairs"] for row in rows}, max(row["samples"] for row in rows)
    few, many = (statistics.mean(row["miou_present"] for row in rows if (row["pairs"], row["samples"]) == (size, most))
                 for size in (min(sizes), max(sizes)))  # fmt: skip
    result = {"benchmark": "scaling", "rows": rows, "ratio": round(many / few, 2)}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
