"""Self-distillation of features-mini: a small ViT that learns, from pictures alone, which patches belong together.

    python -m train.distill train/recipes/features-mini.yaml
    python -m train.distill train/recipes/features-mini.yaml --resume
    torchrun --nproc-per-node 2 -m train.distill train/recipes/features-mini.yaml

DINO (Caron et al. 2021): a student sees large and small windows of a picture, its teacher (the running average of the
student) the large ones; the student has to assign each of them to prototypes as the teacher does, whose assignments are
balanced and sharp. Beside the whole view, each patch has to find the patches near it among those of other pictures; the
pictures are collages, so that what does not belong together stands side by side. No captions, no labels. The loop, the
optimiser's step and checkpoints are those of `train.trainer`.
"""

import copy
import json
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sseg.models.small_vit import MEAN, STD, SmallViT
from train.checkpoints import save_tensors, select
from train.data.views import Views
from train.distributed import Processes
from train.files import write_whole
from train.recipe import Distill
from train.recipe.features import DistillOptimizer
from train.schedules import check_batches, learning_rate, stage_at
from train.trainer import TrainingRun, run_command


class Seen(NamedTuple):
    """Unit vectors of a view's patches (B, h, w, e), and cosines of the view with the prototypes (B, P)."""

    patches: Tensor
    scores: Tensor


class Distiller(nn.Module):
    """Backbone and prototypes, run together on a batch of views."""

    def __init__(self, recipe: Distill):
        super().__init__()
        self.backbone = SmallViT(**vars(recipe.model))
        self.prototypes = nn.Parameter(torch.randn(recipe.prototypes, self.backbone.config["out"]))

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
    a, b = (
        F.affine_grid(t, [len(t), 1, *g], align_corners=False).flatten(1, 2)
        for t, g in ((theta, grid), (other, other_grid))
    )
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


def pixel_scale(device) -> tuple[Tensor, Tensor]:
    """Mean and deviation of pixels in 0..255, (1, 3, 1, 1) each."""
    return tuple(torch.tensor(v, device=device).view(1, 3, 1, 1) * 255 for v in (MEAN, STD))


def make_optimizer(model: nn.Module, recipe: DistillOptimizer) -> torch.optim.AdamW:
    """AdamW without decay on vectors."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.99))


def export_backbone(folder: Path, network: SmallViT, average: dict[str, Tensor]) -> None:
    """Write the averaged `backbone` of a model in half precision, and the sizes of `network`, as `load_network` reads
    them."""
    tensors = select(average, "backbone.")
    half = {n: t.half().contiguous() if t.is_floating_point() else t for n, t in tensors.items()}
    write_whole(folder / "config.json", json.dumps(network.config, indent=1) + "\n")
    save_tensors(folder / "model.safetensors", half)


class Run(TrainingRun):
    """A run of self-distillation: student, teacher, pictures, and the loss of a step."""

    shown, unit = ("whole", "near", "used", "entropy"), "images"

    def __init__(self, recipe: Distill, processes: Processes, resume: bool = False):
        self.recipe = recipe
        self.rank, self.world, self.device = processes
        check_batches(recipe.stages, self.world, recipe.loss.group)
        torch.manual_seed(recipe.seed)
        self.images = Views(recipe.data, recipe.seed, self.device)
        self.model = Distiller(recipe).to(self.device)
        self.teacher = copy.deepcopy(self.model).requires_grad_(False).eval()
        self.average = self.teacher.state_dict()  # the same tensors: the teacher follows the student
        self.towers = processes.together(self.model)
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.mean, self.std = pixel_scale(self.device)
        self.memory = recipe.optimizer.teacher_momentum
        self.total = sum(stage.steps for stage in recipe.stages)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Views of a batch, the teacher's assignments, and how far from them the student is."""
        recipe, w, stage = self.recipe, self.recipe.loss, stage_at(self.recipe.stages, step)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        views = self.images.views(step * self.world + self.rank, stage.batch // self.world, stage, recipe.colour)
        inputs = [(view.pixels - self.mean) / self.std for view in views]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            with torch.no_grad():
                taught = self.teacher(inputs[: stage.large.count])
            found = self.towers(inputs)
        targets = [sinkhorn(one.scores.float() / w.teacher_temperature, w.sinkhorn) for one in taught]
        whole, near = self.whole_loss(found, targets), self.near_loss(views, found, taught)
        used = entropy(targets[0].mean(0)).exp()  # how many prototypes are in use, as a number of equal ones
        terms = {"whole": whole, "near": near, "used": used, "entropy": entropy(targets[0]).mean()}
        return {"loss": w.whole * whole + w.near * near} | terms

    def whole_loss(self, found: list[Seen], targets: list[Tensor]) -> Tensor:
        """Every view against the teacher's large views, but not against itself."""
        temperature = self.recipe.loss.student_temperature
        terms = [
            F.cross_entropy(one.scores.float() / temperature, target)
            for j, target in enumerate(targets)
            for i, one in enumerate(found)
            if i != j
        ]
        return torch.stack(terms).mean()

    def near_loss(self, views, found, taught) -> Tensor:
        """Each patch has to pick out, among all patches of a large view of every picture of a group, those near it."""
        w, terms = self.recipe.loss, []
        for i, one in enumerate(found):
            for j, other in enumerate(taught):
                if i != j:
                    grids = one.patches.shape[1:3], other.patches.shape[1:3]
                    closeness = near(views[i].theta, views[j].theta, *grids, w.near_width)
                    pieces = views[i].pieces, views[j].pieces
                    terms.append(
                        near_contrast(one.patches, other.patches, closeness, *pieces, w.near_temperature, w.group)
                    )
        return torch.stack(terms).mean()

    def batch_size(self, step: int) -> int:
        return stage_at(self.recipe.stages, step).batch

    def rate(self, step: int) -> float:
        o = self.recipe.optimizer
        return learning_rate(step, self.total, o.lr, o.warmup, o.final_lr, o.cooldown)

    def export(self, folder: Path, step: int) -> None:
        """The teacher's backbone, ready to use."""
        export_backbone(folder, self.model.backbone, self.average)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(Run, Distill, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
