"""Second stage of features-mini: what many pictures put together, each of them only roughly.

    python -m train.cluster_distill train/recipes/features-mini-2.yaml
    python -m train.cluster_distill train/recipes/features-mini-2.yaml --resume
    torchrun --nproc-per-node 2 -m train.cluster_distill train/recipes/features-mini-2.yaml

The features `mini` of the first stage divide every picture into pseudo-masks, at several K. Then the network, which
sees the picture in changed colours, learns to find for each patch those of its clusters among the patches of several
pictures. Where a clustering errs it errs by the chances of one picture; what the network cannot foresee averages out.
No captions, no labels, no people's masks. The loop, the optimiser's step and checkpoints are those of `train.trainer`.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from sseg.errors import SSegError
from sseg.models.small_vit import SmallViT, load_network
from train.data.clustered import ClusteredImages
from train.distill import export_backbone, make_optimizer, pixel_scale
from train.distributed import Processes
from train.recipe import ClusterDistill
from train.schedules import check_batches, learning_rate, stage_at
from train.trainer import TrainingRun, run_command


class Grouper(nn.Module):
    """The network of the stage before, by its patches alone."""

    def __init__(self, folder: Path, depth: int | None = None):
        """depth: blocks that it shall have, more than in the folder; None leaves them.
        Raises SSegError: there are no weights in the folder, they are damaged, or have more blocks than `depth`."""
        super().__init__()
        if not (folder / "model.safetensors").is_file():
            raise SSegError(
                f"{folder} holds no weights of the first stage: run train.distill, or change teacher.weights."
            )
        self.backbone = load_network(folder)
        if depth is not None:
            self.backbone = deepened(self.backbone, depth)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, s, s) -> unit vectors of patches (B, s / 8 * s / 8, e)."""
        return self.backbone(pixels)[0].flatten(1, 2)


def deepened(network: SmallViT, depth: int) -> SmallViT:
    """The network with new blocks after its own, which at first change nothing: what they add to a token is 0.
    Raises SSegError: the network has more blocks than `depth`."""
    own = network.config["depth"]
    if depth < own:
        raise SSegError(f"The network has {own} blocks already: change depth to {own} or more, or to null.")
    deeper = SmallViT(**network.config | {"depth": depth})
    deeper.load_state_dict(network.state_dict(), strict=False)
    for block in deeper.blocks[own:]:
        for layer in (block.place, block.proj, block.mlp[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    return deeper


def cluster_contrast(patches: Tensor, ids: Tensor, temperature: float, group: int) -> Tensor:
    """Cross-entropy of picking the patches of one's own clusters out of those of `group` pictures.

    patches (B, T, e) of unit length; ids (B, c, T) of c clusterings: two patches belong together by the share of
    clusterings that have them in one cluster. A patch counts by about 1 / sqrt(patches of its cluster): by area alone
    grounds would be nearly all of the loss. Patches that are alone do not count.
    """
    n, t, _ = patches.shape
    together = (ids[..., :, None] == ids[..., None, :]).float().mean(1)  # (B, T, T)
    together.diagonal(dim1=1, dim2=2).zero_()
    others = together.sum(2)  # (B, T)
    pool = patches.unflatten(0, (-1, group)).flatten(1, 2)  # (B / group, group * T, e)
    scores = (pool @ pool.transpose(1, 2)).float() / temperature
    itself = torch.eye(group * t, dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(itself, -30.0)
    chance = scores.logsumexp(2).view(n, t)
    own = scores.unflatten(1, (group, t)).unflatten(3, (group, t)).diagonal(dim1=1, dim2=3)  # (B / group, T, T, group)
    own = own.permute(0, 3, 1, 2).flatten(0, 1)  # (B, T, T): within each picture
    loss = chance - (together * own).sum(2) / others.clamp_min(1e-6)
    weight = (others > 0.5) / (others + 4).sqrt()
    return (loss * weight).sum() / weight.sum().clamp_min(1e-6)


class Run(TrainingRun):
    """A run of the second stage; what is kept is the running average of the network."""

    shown, unit = ("loss",), "images"

    def __init__(self, recipe: ClusterDistill, processes: Processes, resume: bool = False):
        self.recipe = recipe
        self.rank, self.world, self.device = processes
        check_batches(recipe.stages, self.world, recipe.loss.group)
        torch.manual_seed(recipe.seed)
        first = Grouper(Path(recipe.teacher.weights), recipe.depth)  # before half an hour of clustering: it may lack
        self.images = ClusteredImages(
            recipe.data, recipe.teacher, recipe.seed, Path(recipe.out), self.device, self.rank, self.world
        )
        self.model = first.to(self.device)
        self.towers = processes.together(self.model)
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.mean, self.std = pixel_scale(self.device)
        self.memory = recipe.optimizer.teacher_momentum
        self.total = sum(stage.steps for stage in recipe.stages)

    def train_step(self, step: int) -> dict[str, Tensor]:
        """Windows of a batch, and how well each patch finds those of its clusters."""
        recipe, w, stage = self.recipe, self.recipe.loss, stage_at(self.recipe.stages, step)
        torch.manual_seed(recipe.seed * 1_000_003 + step)
        seed = step * self.world + self.rank
        pixels, ids = self.images.batch(seed, stage.batch // self.world, stage, recipe.colour)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            patches = self.towers((pixels - self.mean) / self.std)
        return {"loss": cluster_contrast(patches, ids.flatten(2), w.temperature, w.group)}

    def batch_size(self, step: int) -> int:
        return stage_at(self.recipe.stages, step).batch

    def rate(self, step: int) -> float:
        o = self.recipe.optimizer
        return learning_rate(step, self.total, o.lr, o.warmup, o.final_lr, o.cooldown)

    def export(self, folder: Path, step: int) -> None:
        """The averaged network, ready to use."""
        export_backbone(folder, self.model.backbone, self.average)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(Run, ClusterDistill, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
