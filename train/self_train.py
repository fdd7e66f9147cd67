"""Self-training, S-Seg+: a student learns S-Seg's own labels of unlabelled pictures (paper.md, section 8).

    python -m train.self_train train/recipes/plus-stickers.yaml
    python -m train.self_train train/recipes/plus-stickers.yaml --resume
    python -m train.self_train train/recipes/plus-stickers.yaml teacher=runs/plus-stickers out=runs/plus-again

The teacher (any weights) labels each picture once, with the target's categories alone competing; what it is unsure of
is ignored; an UperNet on a plain ViT learns the rest by cross-entropy. Neither captions nor anybody's masks are read. A
second round is a run whose teacher is the first round's student. A killed run goes on with --resume, exactly. The loop,
the optimiser's step and checkpoints are those of `train.trainer`.
"""

import copy
import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import sseg
from sseg.errors import SSegError
from sseg.models.folding import fold_norms
from sseg.models.student import SelfTrainedConfig, SelfTrainedModel
from train import labels
from train.cells import draw_cells
from train.data.grids import Grids
from train.data.kept_images import KeptImages
from train.data.targets import load_target
from train.data.tars import crop_windows, cut, shuffled
from train.data.unlabelled import open_unlabelled
from train.data.views import jitter
from train.distributed import Processes
from train.encoder_start import freeze
from train.files import replacing_files
from train.model_setup import build_model
from train.recipe import SelfTrain
from train.student_setup import make_optimizer, start_from
from train.trainer import TrainingRun, run_command


class Run(TrainingRun):
    """A run of self-training: student, pictures, the teacher's labels, and the loss of a step."""

    shown = ("loss", "agreement")

    def __init__(self, recipe: SelfTrain, processes: Processes, resume: bool = False):
        self.recipe, self.out, self.device = recipe, Path(recipe.out), processes.device
        if processes.count > 1:
            raise SSegError("Self-training runs in one process: start it without torchrun.")
        torch.manual_seed(recipe.seed)
        target = load_target(recipe.target)
        self.categories = target.categories
        self.images = open_unlabelled(recipe.data, recipe.seed, target.things)
        needed = "cells" if self.on_maps else "crop"
        if getattr(recipe, needed) is None:
            raise SSegError(f"{needed} is missing: data.name {recipe.data.name} needs it.")
        config = self.student_config()
        self.model = build_model(SelfTrainedModel, config)
        if recipe.init and not resume:
            start_from(self.model, recipe)
        if self.on_maps:
            self.keep_maps()
        self.labels = self.read_labels()
        if self.on_maps:
            names = self.labels.ids.cpu().view(-1, *self.images.grid)
            draw = recipe.cells
            self.cells = draw_cells(self.images, names, labels.IGNORED, draw.each, draw.rare, seed=recipe.seed)
        self.model.to(self.device, memory_format=torch.channels_last)
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.memory, self.total = recipe.optimizer.average, recipe.steps
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        self.mean, self.std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) * 255
                               for v in (config.pixel_mean, config.pixel_std))  # fmt: skip

    def student_config(self) -> SelfTrainedConfig:
        """Sizes of the recipe's `model`; SSegError for values that it does not take."""
        recipe = self.recipe
        try:
            config = SelfTrainedConfig(**{"categories": self.categories, "teacher": recipe.teacher} | recipe.model)
        except (ValueError, TypeError) as error:
            raise SSegError(f"model: {str(error).splitlines()[0]} Change it in the recipe.") from error
        if self.on_maps and (config.head, recipe.init) != ("context", "teacher"):
            raise SSegError("Kept maps are of the teacher's encoder: set init to teacher and model.head to context.")
        return config

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
        backbone, config = self.model.backbone, self.model.config
        freeze(backbone)
        encoder = copy.deepcopy(backbone)
        fold_norms(encoder)
        name = f"{config.backbone['backbone']}, {self.recipe.data.encoder}, {config.backbone.get('output_stride')}"
        self.images.keep(encoder.to(memory_format=torch.channels_last), name, config.pixel_mean, config.pixel_std)

    def read_labels(self) -> Grids:
        """The teacher's labels, those that it is unsure of ignored; `self.told` says what became of them."""
        recipe = self.recipe
        teacher = sseg.load(recipe.teacher, device=self.device)
        seen = recipe.views, recipe.mirrored, recipe.balanced
        found, sure = labels.label(teacher, self.images, self.categories, self.out / "labels", *seen)
        found, self.told = labels.ignore_unsure(found, sure, recipe.unsure)
        if recipe.confusion:
            found = labels.confuse(found, recipe.confusion, len(self.categories), recipe.seed)
        self.told["photographs"] = len(self.images.keys)
        shares = torch.bincount(found.flatten().int(), minlength=256)[: len(self.categories)] / found.numel()
        self.told["shares"] = dict(zip(self.categories, [round(float(s), 5) for s in shares], strict=True))
        return Grids(list(found.numpy()), self.device)

    def rows(self, step: int, count: int) -> tuple[list[int], torch.Generator]:
        """A step's of `count` pictures or cells, and what windows are drawn with: functions of (seed, step)."""
        seed, n = self.recipe.seed, self.recipe.batch
        places = range(step * n, (step + 1) * n)
        rows = [shuffled(count, seed, place // count)[place % count] for place in places]
        return rows, torch.Generator().manual_seed(random.Random(f"{seed}/{step}").getrandbits(63))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Windows of a step's pictures and their labels.

        Pixels (B, 3, s, s) float, 0..255, and labels (B, s / 2, s / 2) int64, 255 = ignored.
        """
        crop, (rows, generator) = self.recipe.crop, self.rows(step, len(self.images.keys))
        draws = torch.rand(4, len(rows), generator=generator)
        theta = crop_windows(self.images.aspects[rows], draws, crop.area)
        pixels = cut(self.images.pixels[rows].to(self.device), theta.to(self.device), crop.size)
        ids = self.labels.cut(rows, theta, crop.size // labels.STRIDE)
        return jitter(pixels.float(), crop.colour, generator), ids

    def batch_of_cells(self, step: int) -> tuple[Tensor, Tensor]:
        """A step's cells of kept maps, (n, F) float32, and their labels (n,)."""
        rows, _ = self.rows(step, len(self.cells.ids))
        return self.cells.described[rows].to(self.device).float(), self.cells.ids[rows].to(self.device)

    def answers(self, step: int) -> tuple[Tensor, Tensor]:
        """What the student says, (B, C, h, w), or (n, C) of cells, and what it should."""
        if self.on_maps:
            cells, ids = self.batch_of_cells(step)
            return self.model.head.classify(cells), ids
        pixels, ids = self.batch(step)
        logits = self.model(((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        return F.interpolate(logits.float(), size=ids.shape[1:], mode="bilinear", align_corners=False), ids

    def train_step(self, step: int) -> dict[str, Tensor]:
        """One batch of pictures, the teacher's labels, and how far from them the student is."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits, ids = self.answers(step)
        known = ids != labels.IGNORED
        if known.any():
            loss = F.cross_entropy(logits.float(), ids, ignore_index=labels.IGNORED)
        else:  # the mean over no pixel is no number
            loss = logits.float().sum() * 0
        agreed = ((logits.argmax(1) == ids) & known).sum() / known.sum().clamp(min=1)
        return {"loss": loss, "agreement": agreed}

    def batch_size(self, step: int) -> int:
        return self.recipe.batch

    def rate(self, step: int) -> float:
        o = self.recipe.optimizer
        return o.lr * min(1, (step + 1) / o.warmup) * (1 - step / self.total) ** o.power

    def about(self) -> dict:
        return {"labels": self.told}

    def export(self, folder: Path, step: int) -> None:
        """The averaged weights in half precision."""
        half = {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in self.average.items()}
        with replacing_files(folder) as files:
            self.model.save_pretrained(files, state_dict=half)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(Run, SelfTrain, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
