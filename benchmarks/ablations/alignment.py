"""What do a run's category weights do for its teacher alone? python -m benchmarks.ablations.alignment RUN

Self-training with `balanced` weighs the teacher's categories before it labels (train/alignment.py). Here the teacher
answers the target's categories on benchmarks as `train.evaluate --target` asks it, as it is and with those weights:
what is left to the student is what it gains over the second. `ratio`: mIoU with over without. Ends with JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import yaml

import sseg
from sseg import inference
from sseg.metrics import StreamingIoU
from train.evaluation.registry import HALVES, Half, open_benchmark
from train.evaluation.targets import match_target
from train.labels import probabilities
from train.provenance import commit, hardware


@torch.inference_mode()
def judge(teacher, benchmark, target: str, weights: torch.Tensor) -> list[StreamingIoU]:
    """The teacher's figures without and with the weights (C,)."""
    match, metrics = match_target(target, benchmark), [StreamingIoU(len(benchmark.class_names)) for _ in range(2)]
    for sample in benchmark:
        scores = probabilities(teacher, teacher.encode(sample.image), match.categories)
        truth = np.where(sample.labels < 0, benchmark.ignore, match.true[sample.labels])
        for metric, found in zip(metrics, (scores, scores * weights[:, None, None]), strict=True):
            best, _ = inference.top_class(found, sample.image.shape[:2])
            metric.update(match.predicted[best.numpy()], truth, benchmark.ignore)
    return metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of train.self_train with balanced labels")
    parser.add_argument("--benchmarks", nargs="+", default=["voc-mini", "coco-mini"])
    parser.add_argument("--half", choices=HALVES, default="odd")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = yaml.safe_load((options.run / "recipe.yaml").read_text())
    weights = torch.tensor(list(json.loads((options.run / "labels/weights.json").read_text()).values()))
    teacher, table = sseg.load(recipe["teacher"], device="cpu"), {}
    for name in options.benchmarks:
        benchmark = Half(open_benchmark(name), options.half)
        metrics = judge(teacher, benchmark, recipe["target"], weights)
        for how, metric in zip(("as it is", "weighed"), metrics, strict=True):
            row = {"miou": metric.miou(), "pixel_accuracy": metric.compute()["pixel_accuracy"]}
            row |= {group: metric.miou(classes) for group, classes in benchmark.groups.items()}
            table.setdefault(name, {})[how] = {key: round(100 * value, 2) for key, value in row.items()}
        print(name, table[name], flush=True)
    ratios = {name: round(rows["weighed"]["miou"] / rows["as it is"]["miou"], 2) for name, rows in table.items()}
    result = {"benchmark": "alignment", "teacher": recipe["teacher"], "half": options.half, "table": table}
    print(json.dumps(result | {"ratio": ratios, "commit": commit(), "hardware": hardware()}))


if __name__ == "__main__":
    main()
