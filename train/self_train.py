"""Self-training, S-Seg+: a student learns S-Seg's own labels of unlabelled pictures (paper.md, section 8).

    python -m train.self_train train/recipes/plus-stickers.yaml
    python -m train.self_train train/recipes/plus-stickers.yaml --resume
    python -m train.self_train train/recipes/plus-stickers.yaml teacher=runs/plus-stickers out=runs/plus-again

The teacher (any weights) labels each picture once, with the target's categories alone competing; what it is unsure of
is ignored; an UperNet on a plain ViT learns the rest by cross-entropy. Neither captions nor anybody's masks are read. A
second round is a run whose teacher is the first round's student. A killed run goes on with --resume, exactly.
"""

import copy
import random
import re
import sys
import time
from collections import Counter
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import logging

import sseg
from sseg import checkpoint
from sseg.errors import SSegError
from sseg.models.folding import fold_norms
from sseg.models.student import SelfTrainedConfig, SelfTrainedModel
from sseg.paths import WEIGHTS
from sseg.stopping import stoppable
from train import labels, log
from train.cells import draw_cells
from train.checkpoints import load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.data.grids import Grids
from train.data.kept_images import KeptImages
from train.data.targets import load_target
from train.data.tars import crop_windows, cut, shuffled
from train.data.unlabelled import open_unlabelled
from train.data.views import jitter
from train.encoder_start import freeze
from train.provenance import commit, hardware, versions
from train.recipe import read_arguments
from train.steps import run_steps


class Run:
    """Everything of a run, a function of its recipe; `resume` goes on from its folder."""

    def __init__(self, recipe: dict, resume: bool):
        self.recipe, self.out = recipe, Path(recipe["out"])
        device = recipe["device"]
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.manual_seed(recipe["seed"])
        target = load_target(recipe["target"])
        self.categories = target.categories
        data = recipe["data"] | ({"things": target.things} if recipe["data"]["name"] == "stickers" else {})
        self.images = open_unlabelled(data, recipe["seed"])
        config = SelfTrainedConfig(categories=self.categories, teacher=recipe["teacher"], **recipe["model"])
        if self.on_maps and (config.head, recipe["init"]) != ("context", "teacher"):
            raise SSegError("Kept maps are of the teacher's encoder: set init to teacher and model.head to context.")
        self.model = SelfTrainedModel(config)
        if recipe["init"] and not resume:
            start_from(self.model, recipe)
        if self.on_maps:
            self.keep_maps()
        self.labels = self.read_labels()
        if self.on_maps:
            names = self.labels.ids.cpu().view(-1, *self.images.grid)
            self.cells = draw_cells(self.images, names, labels.IGNORED, **recipe["cells"], seed=recipe["seed"])
        self.model.to(self.device, memory_format=torch.channels_last)
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = make_optimizer(self.model, recipe["optimizer"])
        self.mean, self.std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) * 255
                               for v in (config.pixel_mean, config.pixel_std))  # fmt: skip
        self.total, self.step, self.samples, self.seconds = recipe["steps"], 0, 0, 0.0
        if resume:
            self.restore()

    @property
    def on_maps(self) -> bool:
        """Whether the backbone is frozen and its maps are kept, so that the head alone learns."""
        return isinstance(self.images, KeptImages)

    @property
    def unit(self) -> str:
        """What a batch counts."""
        return "cells" if self.on_maps else "images"

    def keep_maps(self) -> None:
        """Freeze the backbone and make what is missing of its maps."""
        recipe, backbone, config = self.recipe, self.model.backbone, self.model.config
        freeze(backbone)
        encoder = copy.deepcopy(backbone)
        fold_norms(encoder)
        name = f"{config.backbone['backbone']}, {recipe['data']['encoder']}, {config.backbone.get('output_stride')}"
        self.images.keep(encoder.to(memory_format=torch.channels_last), name, config.pixel_mean, config.pixel_std)

    def read_labels(self) -> Grids:
        """The teacher's labels, those that it is unsure of ignored; `self.about` says what became of them."""
        recipe = self.recipe
        teacher = sseg.load(recipe["teacher"], device=self.device)
        seen = recipe["views"], recipe["mirrored"], recipe["balanced"]
        found, sure = labels.label(teacher, self.images, self.categories, self.out / "labels", *seen)
        found, self.about = labels.ignore_unsure(found, sure, recipe["unsure"])
        if recipe["confusion"]:
            found = labels.confuse(found, recipe["confusion"], len(self.categories), recipe["seed"])
        self.about["photographs"] = len(self.images.keys)
        shares = torch.bincount(found.flatten().int(), minlength=256)[: len(self.categories)] / found.numel()
        self.about["shares"] = dict(zip(self.categories, [round(float(s), 5) for s in shares], strict=True))
        return Grids(list(found.numpy()), self.device)

    def rows(self, count: int) -> tuple[list[int], torch.Generator]:
        """The next of `count` pictures or cells, and what windows are drawn with: functions of (seed, step)."""
        recipe, n = self.recipe, self.recipe["batch"]
        places = range(self.step * n, (self.step + 1) * n)
        rows = [shuffled(count, recipe["seed"], place // count)[place % count] for place in places]
        return rows, torch.Generator().manual_seed(random.Random(f"{recipe['seed']}/{self.step}").getrandbits(63))

    def batch(self) -> tuple[Tensor, Tensor]:
        """Windows of the next pictures and their labels.

        Pixels (B, 3, s, s) float, 0..255, and labels (B, s / 2, s / 2) int64, 255 = ignored.
        """
        crop, (rows, generator) = self.recipe["crop"], self.rows(len(self.images.keys))
        draws = torch.rand(4, len(rows), generator=generator)
        theta = crop_windows(self.images.aspects[rows], draws, crop["area"])
        pixels = cut(self.images.pixels[rows].to(self.device), theta.to(self.device), crop["size"])
        ids = self.labels.cut(rows, theta, crop["size"] // labels.STRIDE)
        return jitter(pixels.float(), crop["colour"], generator), ids

    def batch_of_cells(self) -> tuple[Tensor, Tensor]:
        """The next cells of kept maps, (n, F) float32, and their labels (n,)."""
        rows, _ = self.rows(len(self.cells.ids))
        return self.cells.described[rows].to(self.device).float(), self.cells.ids[rows].to(self.device)

    def answers(self) -> tuple[Tensor, Tensor]:
        """What the student says next, (B, C, h, w), or (n, C) of cells, and what it should."""
        if self.on_maps:
            cells, ids = self.batch_of_cells()
            return self.model.head.classify(cells), ids
        pixels, ids = self.batch()
        logits = self.model(((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        return F.interpolate(logits.float(), size=ids.shape[1:], mode="bilinear", align_corners=False), ids

    def train_step(self) -> dict[str, Tensor]:
        """One batch of pictures and the teacher's labels, one step of the optimiser."""
        torch.manual_seed(self.recipe["seed"] * 1_000_003 + self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe["precision"] == "bf16"):
            logits, ids = self.answers()
        loss = F.cross_entropy(logits.float(), ids, ignore_index=labels.IGNORED)
        self.update(loss)
        self.samples += len(ids)
        known = ids != labels.IGNORED
        agreed = ((logits.argmax(1) == ids) & known).sum() / known.sum().clamp(min=1)
        return {"loss": loss.detach(), "agreement": agreed}

    def update(self, loss: Tensor) -> None:
        """AdamW step with clipped gradients, then the running average of the weights."""
        o = self.recipe["optimizer"]
        rate = o["lr"] * min(1, (self.step + 1) / o["warmup"]) * (1 - self.step / self.total) ** o["power"]
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], o["clip"])
        self.optimizer.step()
        self.step += 1
        keep = min(o["average"], (self.step + 1) / (self.step + 10))  # short memory at the start of a run
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point() and not (self.on_maps and name.startswith("backbone.")):
                self.average[name].lerp_(tensor, 1 - keep)
            else:
                self.average[name].copy_(tensor)

    def save(self) -> None:
        """State for resuming, and beside it loadable weights (the running average, half precision)."""
        tree = {"model": self.model.state_dict(), "average": self.average}
        tree |= {"optimizer": optimizer_tensors(self.optimizer)}
        tree |= {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        save_state(self.out, tree)
        half = {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in self.average.items()}
        self.model.save_pretrained(self.out, state_dict=half)

    def restore(self) -> None:
        """Read the last state of this run's folder."""
        flat = load_state(self.out)
        self.model.load_state_dict(select(flat, "model/"))
        self.average = {name: t.to(self.device) for name, t in select(flat, "average/").items()}
        restore_optimizer(self.optimizer, select(flat, "optimizer/"))
        self.step, self.samples = int(flat["step"]), int(flat["samples"])
        self.seconds = float(flat["seconds"])


def start_from(model: SelfTrainedModel, recipe: dict) -> None:
    """Take the tensors that `init` names, for the backbone, or for all if a student teaches a second round."""
    start, part = recipe["init"], model.backbone
    if start == "features-mini":
        tensors = load_file(WEIGHTS / start / "model.safetensors")
    elif start == "teacher":
        folder = checkpoint.resolve(recipe["teacher"])
        if checkpoint.kind_of(folder) == checkpoint.PLUS:
            part, tensors = model, checkpoint.load_model(folder, SelfTrainedModel).state_dict()
        else:
            tensors = checkpoint.load_model(folder).encoder.state_dict()
    else:
        import timm

        tensors = timm.create_model(start, pretrained=True, num_classes=0, dynamic_img_size=True).state_dict()
    try:
        part.load_state_dict(tensors)
    except RuntimeError:
        raise SSegError(f"The recipe's model does not fit init: {start}; take its sizes.") from None


BLOCK = re.compile(r"backbone\.(?:blocks|encoder\.stages)\.(\d+)\.")  # of a ViT; of a ResNet


def make_optimizer(model: SelfTrainedModel, recipe: dict) -> torch.optim.AdamW:
    """AdamW; block i of the backbone learns at layer_decay^(depth - i) of the rate (BEiT, MAE); no decay on vectors."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    blocks = {name: int(found[1]) for name in named if (found := BLOCK.match(name))}
    depth, groups = max(blocks.values(), default=-1) + 1, []
    for name, parameter in named.items():
        below = 0
        if name in blocks:
            below = depth - blocks[name]
        elif name.startswith("backbone."):
            below = depth + 1 if "norm" not in name.split(".")[1] else 0
        decay = recipe["weight_decay"] if parameter.ndim > 1 else 0.0
        groups.append({"params": [parameter], "weight_decay": decay, "scale": recipe["layer_decay"] ** below})
    return torch.optim.AdamW(groups, lr=recipe["lr"], betas=tuple(recipe["betas"]))


def progress(run: Run, record: dict) -> None:
    """One line for the person who waits."""
    left, speed = (run.total - run.step) * record["seconds_per_step"] / 60, record["images_per_second"]
    print(f"step {run.step}/{run.total}  loss {record['loss']:.3f}  agreement {record['agreement']:.3f}  "
          f"{speed:.0f} {run.unit}/s  {left:.0f} min left", file=sys.stderr, flush=True)  # fmt: skip


def train(run: Run) -> None:
    """The loop: steps, a log line now and then, a checkpoint every few minutes."""
    recipe = run.recipe
    run.out.mkdir(parents=True, exist_ok=True)
    (run.out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    log.forget_later(run.out, run.step)
    event = {"event": "resume" if run.step else "start", "step": run.step, "commit": commit(), "labels": run.about}
    event |= {"hardware": hardware(run.device), "processes": 1, "versions": versions(), "recipe": recipe}
    log.append(run.out, event)
    run.model.train()
    saved, mark, sums, since = time.monotonic(), time.monotonic(), Counter(), run.step
    for terms in run_steps(run):
        for name, value in terms.items():
            sums[name] += value
        if run.step % recipe["log_every"] and run.step < run.total:
            continue
        steps, since = run.step - since, run.step
        elapsed, mark = time.monotonic() - mark, time.monotonic()
        run.seconds += elapsed
        record = {name: round(float(value) / steps, 5) for name, value in sums.items()}
        record |= {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        record |= {"seconds_per_step": elapsed / steps}
        record["images_per_second"] = round(steps * recipe["batch"] / elapsed, 1)
        log.append(run.out, record)
        progress(run, record)
        sums.clear()
        if time.monotonic() - saved > 60 * recipe["checkpoint_minutes"] or run.step == run.total:
            run.save()
            saved = mark = time.monotonic()


@stoppable("Stopped; --resume goes on from the last checkpoint, if there is one yet.")
def main(arguments: list[str] | None = None) -> int:
    try:
        logging.set_verbosity_error()
        recipe, resume = read_arguments("train.self_train", __doc__, arguments)
        train(Run(recipe, resume))
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
