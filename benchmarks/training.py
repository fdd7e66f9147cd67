"""Where the time of a training step goes: python -m benchmarks.training [RECIPE] [key=value ...] [--stage 2]

Runs real steps of `train.pretrain` with a clock around each of its parts. The rival of `ratio` matches masks the usual
way: image by image with transformers' MaskFormerHungarianMatcher, which copies a cost matrix to the host for each. Both
build the costs and assign for all decoder layers, and must find the same assignment.
"""

import argparse
import json
import statistics
import time
from collections import Counter

import torch
from transformers.utils import logging

from train import losses, meaning, pretrain
from train.provenance import commit, hardware
from train.recipe import Pretrain, read_recipe
from train.trainer import Trainer, open_trainer

PARTS = ("render", "pseudo-masks", "forward", "losses", "backward", "optimiser", "rest")
WARM_UP = 2  # steps that do not count


class Clock:
    """Seconds spent inside functions, the device's work included."""

    def __init__(self, device: torch.device):
        self.device, self.seconds = device, Counter()

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def watch(self, owner, name: str, part: str) -> None:
        """Replace `owner.name` by the same with its time added to `part`."""
        work = getattr(owner, name)

        def timed(*args, **kwargs):
            start = self.now()
            result = work(*args, **kwargs)
            self.seconds[part] += self.now() - start
            return result

        setattr(owner, name, timed)


def step_times(trainer: Trainer, steps: int) -> dict[str, float]:
    """Median seconds of a step's parts; "matcher" is inside "losses", "step" is the whole."""
    run = trainer.run
    clock = Clock(run.device)
    clock.watch(run.pairs, "batch", "render")  # with stored pseudo-masks, which come in the same draw
    clock.watch(run, "pseudo_masks", "pseudo-masks")
    clock.watch(run, "towers", "forward")
    clock.watch(pretrain, "mask_loss", "losses")
    for loss in ("region_similarity", "contrastive_loss", "phrase_loss"):
        clock.watch(meaning, loss, "losses")
    clock.watch(losses, "match", "matcher")
    clock.watch(torch.Tensor, "backward", "backward")
    clock.watch(trainer, "update", "update")
    records = []
    for _ in range(WARM_UP + steps):
        clock.seconds.clear()
        start = clock.now()
        trainer.advance()
        records.append(dict(clock.seconds) | {"step": clock.now() - start})
    times = {part: statistics.median(record[part] for record in records[WARM_UP:]) for part in records[0]}
    times["optimiser"] = times.pop("update") - times["backward"]
    times["rest"] = times["step"] - sum(times[part] for part in PARTS[:-1])
    return times


@torch.no_grad()
def matching_times(run: pretrain.Run, repeats: int) -> tuple[float, float]:
    """Least seconds to match one batch of the recipe's size in all decoder layers: the rival's and ours, by turns."""
    # here, since `sseg` has to mend torchvision before transformers imports it
    from transformers.models.maskformer.modeling_maskformer import MaskFormerHungarianMatcher

    stage, config, clock = run.stages[0], run.model.config, Clock(run.device)
    batch, k, side = stage.batch, stage.k, stage.size // 4
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(config.decoder_layers, batch, config.num_queries, side, side, generator=generator)
    logits = logits.to(run.device)
    ids = torch.randint(k, (batch, side, side), generator=generator).to(run.device)
    targets = losses.one_hot_masks(ids, k)  # (B, K, P)
    rival = MaskFormerHungarianMatcher(cost_class=0.0, cost_mask=20.0, cost_dice=1.0)
    classes = torch.zeros(batch, config.num_queries, 1, device=run.device)
    names = torch.zeros(batch, k, dtype=torch.int64, device=run.device)

    def theirs():
        masks = targets.unflatten(2, (side, side))
        return [rival(layer, classes, masks, names) for layer in logits]

    def ours():
        flat = logits.flatten(3)
        cost = losses.pairwise_dice(flat, targets) + 20 * losses.pairwise_focal(flat, targets)
        return losses.match(cost, targets.any(-1))

    found = ours().cpu()
    for layer, assignment in enumerate(theirs()):
        for image, (queries, columns) in enumerate(assignment):
            assert torch.equal(found[layer, image, columns], queries), "the two matchers disagree"
    seconds = {theirs: [], ours: []}
    for _ in range(repeats):
        for work, found in seconds.items():
            start = clock.now()
            work()
            found.append(clock.now() - start)
    return min(seconds[theirs]), min(seconds[ours])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="train/recipes/mini.yaml")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    parser.add_argument("--stage", type=int, default=-1, help="which stage of the recipe (the last)")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    recipe = read_recipe(Pretrain, options.recipe, options.changes)
    recipe.stages = [recipe.stages[options.stage]]
    trainer = open_trainer(pretrain.Run, recipe)
    run = trainer.run
    run.model.train()
    rival, mine = matching_times(run, 3 * options.steps)  # before the clocks are set
    times, stage = step_times(trainer, options.steps), run.stages[0]
    batch = stage.batch
    for part in PARTS:
        print(f"{part:14s} {1000 * times[part]:8.1f} ms  {times[part] / times['step']:6.1%}")
        if part == "losses":
            print(f"  matcher      {1000 * times['matcher']:8.1f} ms  {times['matcher'] / times['step']:6.1%}")
    print(f"{'step':14s} {1000 * times['step']:8.1f} ms, {batch / times['step']:.0f} images/s")
    print(f"matching       {1000 * mine:8.1f} ms, image by image {1000 * rival:.1f} ms")
    result = {
        "benchmark": "training",
        "recipe": options.recipe,
        "size": stage.size,
        "batch": batch,
        "images_per_second": round(batch / times["step"], 1),
        "milliseconds": {part: round(1000 * times[part], 2) for part in (*PARTS, "matcher", "step")},
        "matcher_share": round(times["matcher"] / times["step"], 4),
        "rival": "transformers' MaskFormerHungarianMatcher, image by image",
        "ratio": round(rival / mine, 2),
        "hardware": hardware(run.device),
        "commit": commit(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
