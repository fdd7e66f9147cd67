"""Self-distillation of features-mini: a small ViT that learns, from pictures alone, which patches belong together.

    python -m train.distill train/recipes/features-mini.yaml
    python -m train.distill train/recipes/features-mini.yaml --resume
    torchrun --nproc-per-node 2 -m train.distill train/recipes/features-mini.yaml

DINO (Caron et al. 2021): a student sees large and small windows of a picture, its teacher (the running average of the
student) the large ones; the student has to assign each of them to prototypes as the teacher does, whose assignments are
balanced and sharp. Beside the whole view, each patch has to find the patches near it among those of other pictures; the
pictures are collages, so that what does not belong together stands side by side. No captions, no labels.
"""

import copy
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sseg.errors import SSegError
from sseg.models.small_vit import MEAN, STD, SmallViT
from sseg.stopping import stoppable
from train import log
from train.checkpoints import load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.data.views import Views
from train.distributed import finish, start
from train.provenance import commit, hardware, versions
from train.recipe import read_arguments
from train.schedules import learning_rate, stage_at
from train.steps import run_steps


class Seen(NamedTuple):
    """Unit vectors of a view's patches (B, h, w, e), and cosines of the view with the prototypes (B, P)."""

    patches: Tensor
    scores: Tensor


class Distiller(nn.Module):
    """Backbone and prototypes, run together on a batch of views."""

    def __init__(self, recipe: dict):
        super().__init__()
        self.backbone = SmallViT(**recipe["model"])
        self.prototypes = nn.Parameter(torch.randn(recipe["prototypes"], self.backbone.config["out"]))

    def forward(self, views: list[Tensor]) -> list[Seen]:
        """Views (B, 3, s, s), of any sizes -> what is seen in each."""
        prototypes = F.normalize(self.prototypes, dim=-1)
        found = [self.backbone(view) for view in views]
        return [Seen(patches, view @ prototypes.T) for patches, view in found]


def entropy(p: Tensor) -> Tensor:
    """Entropy of distributions (..., P), in nats."""
    return -(p * p.clamp_min(1e-12).log()).sum(-1)


def sinkhorn(scores: Tensor, rounds: int) -> Tensor:
    """Assignments (B, P) of views to prototypes that use every prototype equally often (SwAV, DINOv2)."""
    q = (scores - scores.max()).exp()
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-9)
        q = q / q.sum(1, keepdim=True)
    return q


def near(theta: Tensor, other: Tensor, grid, other_grid, width: float) -> Tensor:
    """How near the patches of two views lie in the picture: a Gaussian of their distance, (B, T, T').

    `width`: its deviation, where the picture runs from -1 to 1.
    """
    a, b = (F.affine_grid(t, [len(t), 1, *g], align_corners=False).flatten(1, 2)
            for t, g in ((theta, grid), (other, other_grid)))
    return (-torch.cdist(a, b).square() / (2 * width**2)).exp()


def near_contrast(patches, others, closeness: Tensor, pieces, other_pieces, temperature: float, group: int) -> Tensor:
    """Cross-entropy of picking the near patches of one's own piece out of those of `group` pictures.

    Its best similarity is how much oftener two contents stand near one another than by chance (Isola et al. 2015,
    "Learning visual groups from co-occurrences"): the parts of a thing always do, a thing and its ground do not.
    Patches of other pieces of the collage are the hardest to tell apart; far ones of the same piece do not count.
    patches (B, h, w, e), others (B, h', w', e) of unit length; closeness (B, T, T'); pieces (B, h, w), -1 not to count.
    """
    a, b = patches.flatten(1, 2), others.flatten(1, 2)
    (n, t, u), device = closeness.shape, a.device
    pieces, other_pieces = pieces.flatten(1), other_pieces.flatten(1)
    same = pieces[:, :, None] == other_pieces[:, None]  # (B, T, T')
    closeness = closeness * same * (pieces >= 0)[:, :, None]
    barred = (same & (closeness < 0.3)) | (other_pieces < 0)[:, None]
    closeness = closeness.masked_fill(barred, 0)
    rows, place = torch.arange(n, device=device), torch.arange(n, device=device) % group
    target = torch.zeros(n, t, group, u, device=device)
    target[rows, :, place] = closeness
    mixed = (other_pieces < 0).view(n // group, 1, 1, group, u)
    out = mixed.expand(-1, group, t, -1, -1).reshape(n, t, group, u).clone()
    out[rows, :, place] = barred
    seen = closeness.sum(2)  # (B, T)
    target = target.flatten(2) / seen[..., None].clamp_min(1e-6)
    pool = b.reshape(n // group, group * u, -1)
    scores = (a.reshape(n // group, group * t, -1) @ pool.transpose(1, 2)).float() / temperature
    scores = scores.masked_fill(out.reshape(scores.shape), -30.0)
    loss = -(target.reshape(scores.shape) * F.log_softmax(scores, -1)).sum(-1).view(n, t)
    counted = (seen > 0.3).float()
    return (loss * counted).sum() / counted.sum().clamp_min(1)


class Run:
    """Everything that changes while training, and where it is kept."""

    terms = ("whole", "near", "used", "entropy")  # to print

    def __init__(self, recipe: dict, resume: bool):
        self.recipe, self.out = recipe, Path(recipe["out"])
        self.rank, self.world, self.device = start(recipe["device"])
        torch.manual_seed(recipe["seed"])
        self.images = self.open_images()
        self.student = self.model().to(self.device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False).eval()
        self.towers = DistributedDataParallel(self.student) if self.world > 1 else self.student
        decay = [p for p in self.student.parameters() if p.ndim > 1]
        plain = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [{"params": decay}, {"params": plain, "weight_decay": 0.0}]
        o = recipe["optimizer"]
        self.optimizer = torch.optim.AdamW(groups, lr=o["lr"], weight_decay=o["weight_decay"], betas=(0.9, 0.99))
        self.mean, self.std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))
        self.total = sum(stage["steps"] for stage in recipe["stages"])
        self.step, self.samples, self.seconds = 0, 0, 0.0
        if resume:
            self.restore()

    def open_images(self):
        return Views(self.recipe["data"], self.recipe["seed"], self.device)

    def model(self) -> nn.Module:
        """What learns; its `backbone` is what is kept."""
        return Distiller(self.recipe)

    def train_step(self) -> dict[str, Tensor]:
        """One batch, one step of the optimiser -> `loss` and what is worth logging."""
        torch.manual_seed(self.recipe["seed"] * 1_000_003 + self.step)
        stage = stage_at(self.recipe["stages"], self.step)
        terms = self.losses(self.step * self.world + self.rank, stage["batch"] // self.world, stage)
        self.update(terms["loss"])
        self.samples += stage["batch"]
        return {name: value.detach() for name, value in terms.items()}

    def losses(self, seed: int, n: int, stage: dict) -> dict[str, Tensor]:
        """Views of n pictures, the teacher's assignments, and how far from them the student is."""
        recipe = self.recipe
        views = self.images.views(seed, n, stage, recipe["colour"])
        inputs = [(view.pixels - self.mean) / self.std for view in views]
        large = stage["large"]["count"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe["precision"] == "bf16"):
            with torch.no_grad():
                taught = self.teacher(inputs[:large])
            found = self.towers(inputs)
        w = recipe["loss"]
        targets = [sinkhorn(one.scores.float() / w["teacher_temperature"], w["sinkhorn"]) for one in taught]
        whole, near = self.whole_loss(found, targets), self.near_loss(views, found, taught)
        loss = w["whole"] * whole + w["near"] * near
        used = entropy(targets[0].mean(0)).exp()  # how many prototypes are in use, as a number of equal ones
        return {"loss": loss, "whole": whole, "near": near, "used": used, "entropy": entropy(targets[0]).mean()}

    def whole_loss(self, found: list[Seen], targets: list[Tensor]) -> Tensor:
        """Every view against the teacher's large views, but not against itself."""
        temperature = self.recipe["loss"]["student_temperature"]
        terms = [F.cross_entropy(one.scores.float() / temperature, target)
                 for j, target in enumerate(targets) for i, one in enumerate(found) if i != j]
        return torch.stack(terms).mean()

    def near_loss(self, views, found, taught) -> Tensor:
        """Each patch has to pick out, among all patches of a large view of every picture of a group, those near it."""
        w, terms = self.recipe["loss"], []
        for i, one in enumerate(found):
            for j, other in enumerate(taught):
                if i != j:
                    grids = one.patches.shape[1:3], other.patches.shape[1:3]
                    closeness = near(views[i].theta, views[j].theta, *grids, w["near_width"])
                    pieces = views[i].pieces, views[j].pieces
                    terms.append(near_contrast(one.patches, other.patches, closeness, *pieces,
                                               w["near_temperature"], w["group"]))
        return torch.stack(terms).mean()

    def update(self, loss: Tensor) -> None:
        """AdamW step, then the teacher follows the student."""
        o = self.recipe["optimizer"]
        rate = learning_rate(self.step, self.total, o["lr"], o["warmup"], o["final_lr"], o["cooldown"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), o["clip"])
        self.optimizer.step()
        self.step += 1
        keep = min(o["teacher_momentum"], (self.step + 1) / (self.step + 10))
        for name, tensor in self.student.state_dict().items():
            own = self.teacher.state_dict()[name]
            own.lerp_(tensor, 1 - keep) if tensor.is_floating_point() else own.copy_(tensor)

    def save(self) -> None:
        """State for resuming, and beside it the teacher's backbone in half precision, ready to use."""
        tree = {"student": self.student.state_dict(), "teacher": self.teacher.state_dict()}
        tree |= {"optimizer": optimizer_tensors(self.optimizer), "step": self.step, "seconds": self.seconds}
        tree |= {"samples": self.samples}
        save_state(self.out, tree)
        tensors = self.teacher.backbone.state_dict()
        half = {n: t.half().contiguous() if t.is_floating_point() else t for n, t in tensors.items()}
        save_file(half, self.out / "model.safetensors", metadata={"format": "pt"})
        (self.out / "config.json").write_text(json.dumps(self.teacher.backbone.config, indent=1) + "\n")

    def restore(self) -> None:
        """Read the last state of this run's folder."""
        flat = load_state(self.out)
        self.student.load_state_dict(select(flat, "student/"))
        self.teacher.load_state_dict(select(flat, "teacher/"))
        restore_optimizer(self.optimizer, select(flat, "optimizer/"))
        self.step, self.samples, self.seconds = int(flat["step"]), int(flat["samples"]), float(flat["seconds"])


def train(run: Run) -> None:
    """The loop: steps, a log line now and then, a checkpoint every few minutes."""
    recipe, leads = run.recipe, run.rank == 0
    if leads:
        run.out.mkdir(parents=True, exist_ok=True)
        (run.out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        log.forget_later(run.out, run.step)
        event = {"event": "resume" if run.step else "start", "step": run.step, "commit": commit()}
        event |= {"hardware": hardware(run.device), "processes": run.world, "versions": versions(), "recipe": recipe}
        log.append(run.out, event)
    saved = mark = time.monotonic()
    sums, since, seen = Counter(), run.step, run.samples
    for found in run_steps(run, run.world):
        for name, value in found.items():
            sums[name] += value
        if not leads or (run.step % recipe["log_every"] and run.step < run.total):
            continue
        steps, since = run.step - since, run.step
        elapsed, mark = time.monotonic() - mark, time.monotonic()
        run.seconds += elapsed
        record = {name: round(float(value) / steps, 5) for name, value in sums.items()}
        record |= {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        record["images_per_second"], seen = round((run.samples - seen) / elapsed, 1), run.samples
        log.append(run.out, record)
        left = (run.total - run.step) * elapsed / steps / 60
        terms = "  ".join(f"{name} {record[name]:.3f}" for name in run.terms)
        print(f"step {run.step}/{run.total}  {terms}  {record['images_per_second']:.0f} images/s  "
              f"{left:.0f} min left", file=sys.stderr, flush=True)
        sums.clear()
        if time.monotonic() - saved > 60 * recipe["checkpoint_minutes"] or run.step == run.total:
            run.save()
            saved = mark = time.monotonic()


@stoppable("Stopped; --resume goes on from the last checkpoint, if there is one yet.")
def main(arguments: list[str] | None = None, kind=Run, program="train.distill", about=__doc__) -> int:
    """Train what the command line says; `kind` of run, with the name and the words of its program."""
    try:
        train(kind(*read_arguments(program, about, arguments)))
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
