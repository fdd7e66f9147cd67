"""What each part of `photos` is worth: short runs that differ in one choice, judged on photographs.

    python -m benchmarks.ablations.photographs --out runs/ablations [--seeds 0 1] [--steps 300] [--seconds 600]

Every run begins as train/recipes/photos.yaml does, without the assignment of regions that follows it, and learns what
regions mean. Runs on kept maps have the same steps. Runs in which the encoder may learn cannot keep its maps: they read
pixels, without tags, and are compared among themselves after the same processor time. Each answer is written to
`OUT/results.json` when it is there; a stopped command goes on behind the last one. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from train.files import write_whole
from train.pretrain import Run
from train.provenance import commit, hardware
from train.recipe import Pretrain, read_recipe
from train.recipe.pretraining import Tars
from train.trainer import open_trainer

RECIPE = "train/recipes/photos.yaml"
BATCH, SIZE, PIXEL_BATCH = 256, 160, 32
BASE = "all of it"
ON_MAPS = {  # one change each, as on the command line
    BASE: [],
    "words from random numbers": ["model.text_tower=transformer", "tokenizer.words=null", "tokenizer.vocab_size=8192"],
    "MaskFormer's masks": ["model.region_clusters=0", "init=photos", "init_only=[segmenter., mask_embedder, feature_]"],
    "the first collection alone": [],  # see `recipe_of`
}
FROM_PIXELS = {
    "encoder frozen": ["encoder.learn=0.0"],
    "encoder at a tenth of the rate": ["encoder.learn=0.1"],
    "encoder from random numbers": ["encoder=null"],
}
JUDGED = {  # name -> arguments of train.evaluate, key of its answer
    "voc-mini, classes present": (["--benchmark", "voc-mini", "--phrases", "present"], "miou"),
    "voc-mini, with background": (["--benchmark", "voc-mini", "--phrases", "all", "--half", "odd"], "miou_main"),
    "places-mini, names present": (["--benchmark", "places-mini", "--phrases", "present", "--size", "288"], "miou"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/ablations", help="where weights and answers go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the runs on kept maps")
    parser.add_argument("--steps", type=int, default=300, help="of the runs on kept maps")
    parser.add_argument("--seconds", type=float, default=600, help="processor time of the runs on pixels")
    parser.add_argument("--changes", nargs="*", default=[], help="of every recipe, as KEY=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(options.out) / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    answers = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    runs = [(name, seed) for seed in options.seeds for name in ON_MAPS] + [(name, 0) for name in FROM_PIXELS]
    for name, seed in runs:
        if (key := f"{name}, seed {seed}") not in answers:
            folder = path.parent / ("masks" if "MaskFormer" in name else "clusters" if name in ON_MAPS else "pixels")
            clear(folder)
            recipe = recipe_of(name, [f"out={folder}", f"seed={seed}", *options.changes], options.steps)
            answers[key] = train(recipe, None if name in ON_MAPS else options.seconds) | judged(folder)
            print(key, answers[key], file=sys.stderr, flush=True)
            write_whole(path, json.dumps(answers, indent=1))
    print(json.dumps({"benchmark": "photographs", "runs": answers, "commit": commit(), "hardware": hardware()}))


def clear(folder: Path) -> None:
    """An empty folder, but for kept features of regions, which are the same for every run with the same masks."""
    for file in folder.glob("*"):
        if file.name != "features.npy":
            file.unlink()


def recipe_of(name: str, changes: list[str], steps: int) -> Pretrain:
    """The recipe of a run: photos.yaml from the beginning, with its one change."""
    start = ["init=photos", "init_only=[feature_]"] if name in FROM_PIXELS else ["init=null", "init_only=null"]
    recipe = read_recipe(Pretrain, RECIPE, [*start, *(ON_MAPS | FROM_PIXELS)[name], *changes])
    recipe.stages = [replace(recipe.stages[0], steps=steps, batch=BATCH)]
    if name == "the first collection alone":
        recipe.data.shares = recipe.data.shares[:1]
    if name in FROM_PIXELS:
        recipe.stages = [replace(recipe.stages[0], steps=10**6, batch=PIXEL_BATCH, size=SIZE)]
        recipe.data = Tars(name="tars", root=recipe.data.root, cache_size=SIZE, held_out=recipe.data.held_out)
        recipe.loss.tags = 0.0
        recipe.optimizer.cooldown = 0.0
    return recipe


def train(recipe: Pretrain, seconds: float | None) -> dict:
    """Train to the recipe's end, or for so much processor time -> pairs seen and processor minutes."""
    trainer = open_trainer(Run, recipe)
    trainer.run.model.train()
    start = time.process_time()
    while trainer.step < recipe.stages[0].steps and (seconds is None or time.process_time() - start < seconds):
        trainer.advance()
    minutes = (time.process_time() - start) / 60
    trainer.save()
    return {"pairs": trainer.samples, "minutes": round(minutes, 1)}


def judged(folder: Path) -> dict:
    """The run's figures on each of `JUDGED`, by the command that anyone would use."""
    answers = {}
    for name, (arguments, key) in JUDGED.items():
        command = [sys.executable, "-m", "train.evaluate", "--model", str(folder), *arguments]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
        answers[name] = round(json.loads(said.stdout.splitlines()[-1])[key], 1)
    return answers


if __name__ == "__main__":
    main()
