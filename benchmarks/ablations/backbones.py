"""Which small encoder: pictures a second in training, and mIoU after equal processor time.

    python -m benchmarks.ablations.backbones --seconds 240

Trains each candidate from scratch on the first stage of train/recipes/mini.yaml in one thread for the same processor
time (so other load does not matter), then evaluates the running average on easy scenes of the test split with other
seeds. Ends with one JSON object; `ratio` is the chosen encoder's pictures a second over transformers' Swin.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace

import torch

import sseg
from sseg.metrics import StreamingIoU
from train.data.stickers.world import StickerWorld
from train.evaluate import present_classes
from train.evaluation.datasets.stickers import truth
from train.evaluation.predictors import Predictor
from train.pretrain import Run
from train.provenance import commit, hardware
from train.recipe import Pretrain, read_recipe
from train.trainer import open_trainer

RESNET = {"model_type": "resnet", "layer_type": "basic"}
CANDIDATES = {
    "resnet 32, 2-2-2-2": RESNET | {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2]},
    "resnet 48, 2-2-2-2": RESNET | {"embedding_size": 48, "hidden_sizes": [48, 96, 192, 384], "depths": [2, 2, 2, 2]},
    "convnext 32, 2-2-4-2": {"model_type": "convnext", "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 4, 2]},
    "swin 48, 2-2-4-2": {"model_type": "swin", "embed_dim": 48, "depths": [2, 2, 4, 2], "num_heads": [2, 4, 8, 16]}
    | {"window_size": 4, "image_size": 48},
}
CHOSEN, RIVAL = "resnet 32, 2-2-2-2", "swin 48, 2-2-4-2"
SCENES, SEED = 300, 4_000_000  # the benchmark's own seeds are far below


def train(changes: list[str], seconds: float, out: str, backbone: dict | None = None) -> dict:
    """Train mini.yaml's first stage, changed, for so much processor time -> samples, pictures a second, parameters in
    millions."""
    recipe = read_recipe(Pretrain, "train/recipes/mini.yaml", [f"out={out}", "optimizer.average=0.99", *changes])
    recipe.model["backbone"] = backbone or recipe.model["backbone"]
    recipe.stages = [replace(recipe.stages[0], steps=1_000_000, batch=64)]
    trainer = open_trainer(Run, recipe)
    trainer.run.model.train()
    trainer.advance()
    start = time.process_time()
    while time.process_time() - start < seconds:
        trainer.advance()
    rate = trainer.samples / (time.process_time() - start)
    trainer.save()
    size = sum(p.numel() for p in trainer.run.model.parameters()) / 1e6
    return {"samples": trainer.samples, "images_per_second": round(rate, 1), "parameters_m": round(size, 2)}


def evaluate(folder: str, predictor=Predictor, stage: int = 0) -> dict:
    """mIoU on scenes as easy as those of a stage of mini.yaml, the phrases of each picture alone and all at once.

    predictor: (segmenter, class names, long side) -> what makes label maps.
    """
    difficulty = read_recipe(Pretrain, "train/recipes/mini.yaml").stages[stage].difficulty
    world = StickerWorld(96, split="test")
    plan = world.plan(SEED, SCENES, difficulty)
    pictures, labels = world.render(plan).permute(0, 2, 3, 1).numpy(), truth(plan, world).numpy()
    names = world.vocabulary.phrases()
    predict = predictor(sseg.load(folder), names, long_side=64)
    found = {}
    for phrases in ("present", "all"):
        metric = StreamingIoU(len(names))
        for picture, label in zip(pictures, labels, strict=True):
            chosen = present_classes(label, -1) if phrases == "present" else None
            metric.update(predict(picture, chosen), label, -1)
        things = range(len(world.vocabulary.things))
        found[f"miou_things_{phrases}"] = round(100 * metric.miou(list(things)), 1)
        found[f"miou_{phrases}"] = round(100 * metric.miou(), 1)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240, help="processor time for each candidate")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = {}
    for name, backbone in CANDIDATES.items():
        with tempfile.TemporaryDirectory() as folder:
            table[name] = train([], args.seconds, folder, backbone) | evaluate(folder)
        print(name, table[name], flush=True)
    ratio = table[CHOSEN]["images_per_second"] / table[RIVAL]["images_per_second"]
    result = {"benchmark": "backbones", "seconds": args.seconds, "candidates": table, "ratio": round(ratio, 2)}
    print(json.dumps(result | {"commit": commit(), "seed": 0, "hardware": hardware()}))


if __name__ == "__main__":
    main()
