"""Why does S-Seg+ help?

    python -m benchmarks.ablations.self_training [--steps 1500] [--seeds 0 1] [--only "as the recipe"]

Claim 4 of the paper, at our size: students of train/recipes/plus-stickers.yaml, each with one change, beside their
teacher on the test scenes of the sticker target, judged after every quarter of the steps. All students of a seed learn
from the same scenes, labelled once:

- "as the recipe";
- no pixel ignored, however unsure the teacher;
- true masks, as many pixels of them named wrongly by chance as the teacher names wrongly: what a student makes of noise
  without reason. For comparison alone: no training code ever reads them.

`ratio`: mIoU of the students as the recipe over the teacher's. Ends with one JSON object; `--join FILE ...` takes the
rows of earlier ones in, `--plot` draws docs/images/self-training.png.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

import sseg
from benchmarks.ablations.scaling import learning_curve, rows_of
from sseg.metrics import StreamingIoU
from train import labels
from train.data.stickers.world import StickerWorld
from train.data.targets import load_target
from train.data.unlabelled import RENDERED_AT_ONCE
from train.evaluation.datasets.stickers import truth
from train.evaluation.predictors import predictor
from train.evaluation.registry import open_benchmark
from train.provenance import commit, hardware
from train.recipe import SelfTrain, read_recipe
from train.self_train import Run
from train.trainer import open_trainer

PLAIN, CHANCE = "as the recipe", "true masks, as many pixels wrong by chance"
WAYS = {
    PLAIN: [],
    "no pixel ignored": ["unsure={name: all}"],
    CHANCE: [],
}
PLOT = Path(__file__).resolve().parents[2] / "docs/images/self-training.png"


class ChanceRun(Run):
    """Learns from true masks whose regions are renamed by chance, as many pixels as the teacher names wrongly."""

    def read_labels(self):
        grids, true = super().read_labels(), true_labels(self.recipe)
        mine = grids.ids.cpu().view_as(true)
        known = (mine != labels.IGNORED) & (true != labels.IGNORED)
        wrong = float((mine != true)[known].float().mean())
        self.told["wrong"] = round(wrong, 4)
        true = true.masked_fill(~known, labels.IGNORED)
        found = labels.confuse(true, wrong, len(self.categories), self.recipe.seed)
        return type(grids)(list(found.numpy()), self.device)


def true_labels(recipe: SelfTrain) -> torch.Tensor:
    """The masks of the recipe's scenes, as labels lie: uint8 (M, S / 2, S / 2), soft edges ignored."""
    data, target = recipe.data, load_target(recipe.target)
    world = StickerWorld(data.size, split="train", only=target.things)
    places = {text: place for place, text in enumerate(target.categories)}
    table = torch.tensor([places.get(text, labels.IGNORED) for text in world.vocabulary.phrases()] + [labels.IGNORED])
    parts = []
    for start in range(0, data.count, RENDERED_AT_ONCE):  # as train/data/unlabelled.py renders them
        n = min(RENDERED_AT_ONCE, data.count - start)
        plan = world.plan(recipe.seed * 1_000_000_000 + 500_000_000 + start, n, data.difficulty)
        parts.append(table[truth(plan, world).long()][:, :: labels.STRIDE, :: labels.STRIDE].byte())
    return torch.cat(parts)


def judge(model: str, limit: int) -> dict:
    """Figures on the target's test scenes, in per cent."""
    benchmark = open_benchmark("stickers-target", limit=limit)
    predict = predictor(sseg.load(model, device="cpu"), benchmark.class_names)
    metric = StreamingIoU(len(benchmark.class_names))
    for sample in benchmark:
        metric.update(predict(sample.image), sample.labels, benchmark.ignore)
    found = {"miou": metric.miou()} | {group: metric.miou(classes) for group, classes in benchmark.groups.items()}
    return {name: round(100 * value, 1) for name, value in found.items()}


def train(way: str, seed: int, options) -> list[dict]:
    """Train one student -> a row for each check. Labels lie in the folder of the seed's first student."""
    out = options.work / f"{list(WAYS).index(way)}-{seed}"
    changes = [f"out={out}", f"seed={seed}", f"steps={options.steps}", f"teacher={options.teacher}", *options.changes]
    recipe = read_recipe(SelfTrain, "train/recipes/plus-stickers.yaml", [*changes, *WAYS[way]])
    made = options.work / f"labels-{seed}"
    made.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "labels").exists():
        (out / "labels").symlink_to(made.resolve())
    trainer = open_trainer(ChanceRun if way == CHANCE else Run, recipe)
    print(way, seed, {name: value for name, value in trainer.run.told.items() if name != "shares"}, flush=True)
    return learning_curve(trainer, options.steps, {"way": way, "seed": seed}, lambda: judge(str(out), options.limit))


def plot(rows: list[dict], teacher: dict) -> None:
    """mIoU over the windows seen, a line for each way (mean of its seeds), and the teacher's."""
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axis.axhline(teacher["miou"], color="#555555", linewidth=1.2, linestyle="--", label="S-Seg, the teacher")
    for way, colour in zip(WAYS, ("#2563a8", "#2e8b57", "#8b4fb3"), strict=True):
        own = [row for row in rows if row["way"] == way]
        samples, seeds = sorted({row["samples"] for row in own}), len({row["seed"] for row in own})
        if not own:
            continue
        means = [statistics.mean(row["miou"] for row in own if row["samples"] == n) for n in samples]
        label = f"S-Seg+, {way}" + (f" (mean of {seeds} seeds)" if seeds > 1 else "")
        axis.plot(samples, means, color=colour, marker="o", label=label)
    axis.set_xlabel("windows seen")
    marks = sorted({row["samples"] for row in rows})
    axis.set_xticks(marks, [f"{n:,}" for n in marks])
    axis.set_ylabel("mIoU on the sticker target")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(PLOT, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--teacher", default="mini")
    parser.add_argument("--limit", type=int, default=300, help="test scenes that each check is judged on")
    parser.add_argument("--work", type=Path, default=Path("runs/self-training"), help="folder for labels and students")
    parser.add_argument("--changes", nargs="*", default=[], help="changes to the recipe of all students")
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="outputs of earlier runs")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(options.join)
    teacher = judge(options.teacher, options.limit)
    print("teacher", teacher, flush=True)
    for seed in options.seeds:
        for way in options.only:
            rows += train(way, seed, options)
    if options.plot:
        plot(rows, teacher)
    most = max(row["samples"] for row in rows)
    last = [row["miou"] for row in rows if row["way"] == PLAIN and row["samples"] == most]
    ratio = round(statistics.mean(last) / teacher["miou"], 2) if last else None
    result = {"benchmark": "self_training", "scenes": options.limit, "teacher": teacher, "rows": rows, "ratio": ratio}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
