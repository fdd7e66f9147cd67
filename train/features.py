"""Self-distillation of features-mini: a small ViT that learns, from pictures alone, which patches belong together.

    python -m train.features train/recipes/features-mini.yaml
    python -m train.features train/recipes/features-mini.yaml --resume
    torchrun --nproc-per-node 2 -m train.features train/recipes/features-mini.yaml

DINO (Caron et al. 2021): a student sees large and small windows of a picture, its teacher (the running average of the
student) the large ones; the student has to assign each of them to prototypes as the teacher does, whose assignments
are centred and sharpened. Beside the whole view, each patch has to agree with what the teacher sees at the same place
of another view. No captions, no labels.
"""

import argparse
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
from sseg.features import source
from sseg.features.network import MEAN, STD, SmallViT
from sseg.pseudo_masks import pseudo_masks
from train.checkpoints import STATE, forget_later, load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.data.pictures import Pictures
from train.distributed import finish, start
from train.provenance import commit, hardware, versions
from train.recipe import read_recipe
from train.schedule import learning_rate

TERMS = ("whole", "patch", "region", "near", "used", "entropy")


class Seen(NamedTuple):
    """Unit vectors of patches (B, h, w, e), prototype scores of patches (B, h, w, P) and of the view (B, P)."""

    patches: Tensor
    patch_scores: Tensor
    view_scores: Tensor


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
        return [Seen(patches, patches @ prototypes.T, view @ prototypes.T) for patches, view in found]


def distillation(student: Tensor, target: Tensor, temperature: float, valid: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of student scores (..., P) against teacher probabilities (..., P); `valid` (...) counts."""
    loss = -(target * F.log_softmax(student.float() / temperature, -1)).sum(-1)
    return loss.mean() if valid is None else (loss * valid).sum() / valid.sum().clamp_min(1)


def entropy(p: Tensor) -> Tensor:
    """Entropy of distributions (..., P), in nats."""
    return -(p * p.clamp_min(1e-12).log()).sum(-1)


def sinkhorn(scores: Tensor, rounds: int) -> Tensor:
    """Assignments (T, P) of tokens to prototypes that use every prototype equally often (SwAV, DINOv2)."""
    q = (scores - scores.max()).exp()
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-9)
        q = q / q.sum(1, keepdim=True)
    return q


def stage_at(stages: list[dict], step: int) -> dict:
    """The stage of the curriculum that a step belongs to."""
    for stage in stages:
        if step < stage["steps"]:
            return stage
        step -= stage["steps"]
    return stages[-1]


def place_in(theta: Tensor, other: Tensor, grid: tuple[int, int]) -> Tensor:
    """Where the cells of a view lie in another view of the same picture.

    theta, other: (B, 2, 3) from view to picture coordinates, without shear. Returns (B, h, w, 2), -1..1 inside.
    """
    cells = F.affine_grid(theta, [len(theta), 1, *grid], align_corners=False)  # (B, h, w, 2) in the picture
    scale = torch.stack([other[:, 0, 0], other[:, 1, 1]], 1)
    return (cells - other[:, None, None, :, 2]) / scale[:, None, None]


def sample(maps: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Values of maps (B, h, w, P) at places (B, h', w', 2), and which of the places lie inside, (B, h', w')."""
    values = F.grid_sample(maps.permute(0, 3, 1, 2), places, padding_mode="border", align_corners=False)
    return values.permute(0, 2, 3, 1), (places.abs() <= 1).all(-1)


def pool(values: Tensor, valid: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each patch gets the mean over its cluster: values (B, h, w, P), valid and ids (B, h, w) -> values, valid."""
    member = F.one_hot(ids.flatten(1), k).to(values.dtype)  # (B, T, k)
    counted = member * valid.flatten(1)[..., None]
    counts = counted.sum(1)  # (B, k)
    means = counted.transpose(1, 2) @ values.flatten(1, 2) / counts[..., None].clamp_min(1)
    return (member @ means).view_as(values), (member @ (counts > 0).to(member)[..., None]).view(valid.shape) > 0


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

    def __init__(self, recipe: dict, resume: bool):
        self.recipe, self.out = recipe, Path(recipe["out"])
        if resume and not (self.out / STATE).is_file():
            raise SSegError(f"There is no run to resume in {self.out}; start it without --resume.")
        self.rank, self.world, self.device = start(recipe["device"])
        torch.manual_seed(recipe["seed"])
        self.pictures = Pictures(recipe["data"], recipe["seed"], self.device)
        self.student = Distiller(recipe).to(self.device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False).eval()
        self.towers = DistributedDataParallel(self.student) if self.world > 1 else self.student
        decay = [p for p in self.student.parameters() if p.ndim > 1]
        plain = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [{"params": decay}, {"params": plain, "weight_decay": 0.0}]
        o = recipe["optimizer"]
        self.optimizer = torch.optim.AdamW(groups, lr=o["lr"], weight_decay=o["weight_decay"], betas=(0.9, 0.99))
        self.centres = torch.zeros(2, recipe["prototypes"], device=self.device)  # of views, of patches
        self.mean, self.std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))
        self.clusters = source("pixels")
        self.total = sum(stage["steps"] for stage in recipe["stages"])
        self.step, self.samples, self.seconds = 0, 0, 0.0
        if resume:
            self.restore()

    def train_step(self) -> dict[str, Tensor]:
        """One batch: views, the teacher's assignments, the student's, one step of the optimiser."""
        recipe = self.recipe
        torch.manual_seed(recipe["seed"] * 1_000_003 + self.step)
        seed, stage = self.step * self.world + self.rank, stage_at(recipe["stages"], self.step)
        views = self.pictures.views(seed, stage["batch"] // self.world, stage, recipe["views"]["colour"])
        inputs = [(view.jittered - self.mean) / self.std for view in views]
        large = stage["large"]["count"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe["precision"] == "bf16"):
            with torch.no_grad():
                taught = self.teacher(inputs[:large])
            found = self.towers(inputs)
        w = recipe["loss"]
        near = self.near_loss(views, found, taught) if w["near"] else torch.zeros((), device=self.device)
        taught = [(self.sharpen(one.patch_scores, 1), self.sharpen(one.view_scores, 0)) for one in taught]
        found = [(one.patch_scores, one.view_scores) for one in found]
        whole = self.whole_loss(found, taught)
        patch, region = self.patch_losses(views, found, taught)
        loss = w["whole"] * whole + w["patch"] * patch + w["region"] * region + w["near"] * near
        self.update(loss)
        self.samples += stage["batch"]
        used = taught[0][0].flatten(0, 2)
        spread = entropy(used.mean(0)).exp()  # how many prototypes are in use, as a number of equal ones
        terms = {"loss": loss, "whole": whole, "patch": patch, "region": region, "near": near, "used": spread}
        return {name: value.detach() for name, value in (terms | {"entropy": entropy(used).mean()}).items()}

    def sharpen(self, scores: Tensor, kind: int) -> Tensor:
        """Teacher scores -> probabilities, centred so that no prototype takes all, sharpened; moves the centre."""
        w = self.recipe["loss"]
        scores = scores.float()
        if w["sinkhorn"]:
            return sinkhorn(scores.flatten(0, -2) / w["teacher_temperature"], w["sinkhorn"]).view_as(scores)
        target = ((scores - self.centres[kind]) / w["teacher_temperature"]).softmax(-1)
        mean = scores.flatten(0, -2).mean(0)
        if self.world > 1:
            torch.distributed.all_reduce(mean.div_(self.world))
        self.centres[kind].lerp_(mean, 1 - w["centre_momentum"])
        return target

    def whole_loss(self, found, taught) -> Tensor:
        """Every view against the teacher's large views, but not against itself."""
        temperature = self.recipe["loss"]["student_temperature"]
        terms = [distillation(cls, target, temperature)
                 for j, (_, target) in enumerate(taught) for i, (_, cls) in enumerate(found) if i != j]
        return torch.stack(terms).mean()

    def patch_losses(self, views, found, taught) -> tuple[Tensor, Tensor]:
        """Each patch against the teacher at its place in a large view, and against the mean over its cluster there."""
        w, k = self.recipe["loss"], self.recipe["views"]["clusters"]
        patch, region = [], []
        for i, (tokens, _) in enumerate(found):
            ids = pseudo_masks(views[i].plain, self.clusters, k, tokens.shape[1:3]) if w["region"] else None
            for j, (target, _) in enumerate(taught):
                if i == j:
                    continue
                values, valid = sample(target, place_in(views[i].theta, views[j].theta, tuple(tokens.shape[1:3])))
                if w["patch"]:
                    patch.append(distillation(tokens, values, w["student_temperature"], valid))
                if w["region"]:
                    values, valid = pool(values, valid, ids, k)
                    region.append(distillation(tokens, values, w["student_temperature"], valid))
        zero = torch.zeros((), device=self.device)
        return torch.stack(patch or [zero]).mean(), torch.stack(region or [zero]).mean()

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
        tree = {"student": self.student.state_dict(), "teacher": self.teacher.state_dict(), "centres": self.centres}
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
        self.centres = flat["centres"].to(self.device)
        restore_optimizer(self.optimizer, select(flat, "optimizer/"))
        self.step, self.samples, self.seconds = int(flat["step"]), int(flat["samples"]), float(flat["seconds"])


def train(run: Run) -> None:
    """The loop: steps, a log line now and then, a checkpoint every few minutes."""
    recipe, leads = run.recipe, run.rank == 0
    if leads:
        run.out.mkdir(parents=True, exist_ok=True)
        (run.out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        forget_later(run.out / "log.jsonl", run.step)
        event = {"event": "resume" if run.step else "start", "step": run.step, "commit": commit()}
        event |= {"hardware": hardware(run.device), "processes": run.world, "versions": versions(), "recipe": recipe}
        log(run, event)
    saved = mark = time.monotonic()
    sums, since, seen = Counter(), run.step, run.samples
    while run.step < run.total:
        for name, value in run.train_step().items():
            sums[name] += value
        if not leads or (run.step % recipe["log_every"] and run.step < run.total):
            continue
        steps, since = run.step - since, run.step
        elapsed, mark = time.monotonic() - mark, time.monotonic()
        run.seconds += elapsed
        record = {name: round(float(value) / steps, 5) for name, value in sums.items()}
        record |= {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        record["images_per_second"], seen = round((run.samples - seen) / elapsed, 1), run.samples
        log(run, record)
        left = (run.total - run.step) * elapsed / steps / 60
        terms = "  ".join(f"{name} {record[name]:.3f}" for name in TERMS)
        print(f"step {run.step}/{run.total}  {terms}  {record['images_per_second']:.0f} images/s  "
              f"{left:.0f} min left", file=sys.stderr, flush=True)
        sums.clear()
        if time.monotonic() - saved > 60 * recipe["checkpoint_minutes"] or run.step == run.total:
            run.save()
            saved = mark = time.monotonic()


def log(run: Run, record: dict) -> None:
    """One JSON line to the run's log."""
    with (run.out / "log.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.features", description=__doc__.split("\n")[0])
    parser.add_argument("recipe", help="a file of train/recipes")
    parser.add_argument("changes", nargs="*", metavar="key=value", help="changes to the recipe")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run's folder")
    args = parser.parse_intermixed_args(arguments)
    try:
        train(Run(read_recipe(args.recipe, args.changes), args.resume))
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
