"""What a choice of the recipe is worth: the same few steps with and without it.

    python -m benchmarks.ablations.choices [--steps 460] [--seed 0] [--only "captions alone"]

Trains train/recipes/mini.yaml's first stage from scratch in one thread, each time with one change, then evaluates the
running average on easy scenes of the test split with other seeds: mIoU with the phrases of each picture and with all
phrases at once. Ends with one JSON object; `ratio` is how many times the mIoU over all phrases grows by phrases.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace

import torch

from benchmarks.ablations.backbones import evaluate
from train.pretrain import Run
from train.provenance import commit, hardware
from train.recipe import Pretrain, read_recipe
from train.trainer import open_trainer

CHOICES = {
    "captions alone": ["loss.phrases=0.0"],
    "captions and phrases": [],
    "captions and phrases, lr 2.5e-3": ["optimizer.lr=2.5e-3"],
    "K = 4": ["stage.k=4"],
    "K = 16": ["stage.k=16"],
    "16 queries": ["model.num_queries=16"],
    "64 queries": ["model.num_queries=64"],
    "focal weight 1": ["loss.focal=1.0"],
    "focal weight 100": ["loss.focal=100.0"],
    "mean of features, then the projection": ["loss.pooling=feature_mean"],  # the paper's words
    "mean of projected features": ["loss.pooling=mean"],
    "matched queries alone": ["loss.queries=matched"],
}
BEFORE, AFTER = "captions alone", "captions and phrases"


def train(changes: list[str], steps: int, seed: int, out: str) -> dict:
    """Train for so many steps, the last fifth with a falling rate -> how many samples that were.

    Changes that begin with `stage.` are those of the stage.
    """
    own = dict(change.removeprefix("stage.").split("=") for change in changes if change.startswith("stage."))
    changes = [change for change in changes if not change.startswith("stage.")]
    changes = [f"out={out}", f"seed={seed}", "optimizer.warmup=100", "optimizer.average=0.95", *changes]
    recipe = read_recipe(Pretrain, "train/recipes/mini.yaml", changes)
    recipe.stages = [replace(recipe.stages[0], steps=steps, **{name: int(value) for name, value in own.items()})]
    trainer = open_trainer(Run, recipe)
    trainer.run.model.train()
    while trainer.step < steps:
        terms = trainer.advance()
        if trainer.step % 50 == 0:
            shown = "  ".join(f"{name} {float(terms[name]):.3f}" for name in ("contrastive", "phrases", "retrieval"))
            print(f"step {trainer.step}/{steps}  {shown}", file=sys.stderr, flush=True)
    trainer.save()
    return {"samples": trainer.samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=460)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=CHOICES, default=[BEFORE, AFTER])
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = {}
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            table[name] = train(CHOICES[name], args.steps, args.seed, folder) | evaluate(folder)
        print(name, table[name], flush=True)
    result = {"benchmark": "choices", "steps": args.steps, "choices": table, "ratio": None}
    if BEFORE in table and AFTER in table:
        result["ratio"] = round(table[AFTER]["miou_all"] / max(table[BEFORE]["miou_all"], 0.1), 2)
    print(json.dumps(result | {"commit": commit(), "seed": args.seed, "hardware": hardware()}))


if __name__ == "__main__":
    main()
