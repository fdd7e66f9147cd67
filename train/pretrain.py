"""S-Seg pre-training: pictures and captions in, a segmenter that answers to words out.

    python -m train.pretrain train/recipes/mini.yaml                      # from the start
    python -m train.pretrain train/recipes/mini.yaml --resume             # go on where a run stopped
    python -m train.pretrain train/recipes/mini.yaml out=runs/try seed=1  # with changes
    torchrun --nproc-per-node 2 -m train.pretrain train/recipes/mini.yaml # on two cores, or on N GPUs

Every batch is a function of (seed, step), so a resumed run repeats an unbroken one exactly. The run's folder can be
loaded at any time: `sseg.load("runs/mini")`. The loop, the optimiser's step and checkpoints are those of
`train.trainer`; here is what is S-Seg's own.
"""

import copy
import json
import sys
from collections import Counter
from pathlib import Path

import torch

from sseg.checkpoint import resolve
from sseg.errors import SSegError
from sseg.features import source
from sseg.models.sseg import SSegModel
from sseg.pseudo_masks.generate import pseudo_masks
from train import model_setup
from train.data.batch import Batch
from train.data.phrase_extraction import words_of
from train.data.sources import open_pairs
from train.distributed import Processes
from train.encoder_start import freeze
from train.files import replacing_files, write_whole
from train.losses import mask_loss
from train.meaning import Meaning
from train.recipe import Pretrain
from train.schedules import check, learning_rate, learns, place_in_stage, stage_at
from train.trainer import TrainingRun, run_command

WEIGHTED = ("dice", "focal", "contrastive", "phrases", "ground", "assignment", "tags")
BANK, BANK_SEED = 128, 1_000_000_007  # pictures whose masks show what phrases fit on average; a batch of no step


class Run(TrainingRun):
    """A run of pre-training: model, pairs, and the loss of a step."""

    shown, unit = (*WEIGHTED, "retrieval"), "images"

    def __init__(self, recipe: Pretrain, processes: Processes, resume: bool = False):
        self.recipe, self.out, self.stages, self.resumed = recipe, Path(recipe.out), recipe.stages, resume
        self.rank, self.world, self.device = processes
        check(recipe, self.world)
        self.total = sum(stage.steps for stage in self.stages)
        self.pairs = open_pairs(recipe.data, recipe.seed, self.device, self.stages, recipe.pseudo_masks)
        if recipe.loss.assignment and not hasattr(self.pairs, "assign"):
            raise SSegError("Regions are assigned where maps are kept: set loss.assignment to 0, or data.name to maps.")
        self.tokenizer = model_setup.open_tokenizer(recipe, self.out, resume, self.pairs)
        self.model = self.make_model(resume)
        self.towers = processes.together(self.model)
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.memory = recipe.optimizer.average
        self.optimizer = model_setup.make_optimizer(self.model, recipe.optimizer, model_setup.learning_share(recipe))
        self.meaning = Meaning(recipe, self.model, self.tokenizer, self.pairs)
        shapes = recipe.pseudo_masks
        self.source = source(shapes.features, shapes.facet, self.device) if self.pairs.needs_clusters else None
        config = self.model.config
        pixels = (torch.tensor(value, device=self.device) for value in (config.pixel_mean, config.pixel_std))
        self.mean, self.std = (value.view(1, 3, 1, 1) * 255 for value in pixels)
        self.words: Counter[str] = Counter()
        if recipe.init and recipe.init_only is None and not resume:
            self.words.update(model_setup.read_words(resolve(recipe.init)))  # known goes on being known

    def make_model(self, resume: bool) -> SSegModel:
        """The model as its training starts; of a run that is resumed, without the weights that the state brings."""
        recipe, config = self.recipe, model_setup.model_config(self.recipe, self.tokenizer)
        torch.manual_seed(recipe.seed)
        model = model_setup.build_model(SSegModel, config)
        if not resume:
            model_setup.start_model(model, recipe)
        if not model_setup.learning_share(recipe):
            freeze(model.encoder)
        model.to(self.device, memory_format=torch.channels_last)
        if hasattr(self.pairs, "keep"):
            model_setup.keep_maps(self.pairs, model, recipe, fresh=not resume)
        model_setup.ready_to_train(model)
        return model

    def train_step(self, step: int) -> dict[str, torch.Tensor]:
        """One batch: pseudo-masks, prediction, and the losses of shape and meaning (paper.md, sections 3 and 4)."""
        recipe, weights, stage = self.recipe, self.recipe.loss, stage_at(self.stages, step)
        shape, meaning = ("shape" in learns(stage)), ("meaning" in learns(stage))
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout, too, is a function of (seed, step)
        if not shape and hasattr(self.pairs, "keep_features"):
            self.keep_features(step)
        seed = step * self.world + self.rank
        batch = self.pairs.batch(seed, stage.batch // self.world, stage)
        self.words.update(word for caption in batch.captions for word in words_of(caption))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            ids = self.pseudo_masks(batch, stage.k, seed) if shape else None  # (B, h, w)
            values, measured = self.values(batch.images)
            texts = self.meaning.texts(batch.captions, bool(weights.phrases and meaning), step, seed)
            image, embedded = self.towers(values, *map(self.meaning.tokens, texts.written))

        terms, queries = {}, None
        if shape:
            loss = mask_loss(image.layer_mask_logits, ids, stage.k, weights.focal)
            terms, queries = {"dice": loss.dice, "focal": loss.focal}, loss.queries
        if meaning:
            terms |= self.meaning.losses(image, texts, embedded, queries, measured, batch.divided, seed)
        total = sum(getattr(weights, name) * terms[name] for name in WEIGHTED if name in terms)
        return {"loss": total} | terms | {"scale": self.model.scale}

    def pseudo_masks(self, batch: Batch, k: int, seed: int) -> torch.Tensor:
        """Pseudo-masks of the batch at the masks' resolution: ids (B, h, w) int64."""
        images, known = batch.images, batch.mask_ids
        if isinstance(images, list):  # kept clusters are coarser than the finest map
            finer = images[0].shape[-1] // known.ids.shape[-1]
            return known.ids.repeat_interleave(finer, 1).repeat_interleave(finer, 2).to(self.device)
        side = images.shape[-1] // 4
        ids = torch.empty(len(batch), side, side, dtype=torch.int64, device=images.device)
        without = torch.ones(len(batch), dtype=torch.bool, device=images.device)
        if known:
            ids[known.rows], without[known.rows] = known.ids, False
        if without.any():
            finer = self.recipe.pseudo_masks.cell // 4  # mask pixels along a cell
            made = pseudo_masks(images[without], self.source, k, (side // finer,) * 2, seeds=seed)
            ids[without] = made.repeat_interleave(finer, 1).repeat_interleave(finer, 2)
        coarser = self.model.config.mask_stride // 4
        return ids[:, ::coarser, ::coarser]

    def values(self, images):
        """What the model takes, normalised pixels or what is kept of pictures; and measures of kept masks, if any."""
        if isinstance(images, list):
            return [one.to(self.device) for one in images], None
        if images.ndim == 3:
            images = images.to(self.device)
            return images[..., :-2], images[..., -2:]
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last), None

    def keep_features(self, step: int) -> None:
        """From the first step that learns meaning alone on, batches hold the features of the masks, which stay as they
        are on average."""
        if self.pairs.features is not None:
            return
        path, assigned = self.out / "features.npy", self.out / "assigned.npy"
        if step == sum(stage.steps for stage in self.stages if "shape" in learns(stage)):
            self.model.load_state_dict(self.average)
            for file in (path, assigned):  # of a run that stopped after this and goes on from before it
                file.unlink(missing_ok=True)
        self.model.eval()
        self.pairs.keep_features(self.model, path)
        self.model.train()
        if self.recipe.loss.assignment:
            self.meaning.divide_regions(assigned)

    def batch_size(self, step: int) -> int:
        return stage_at(self.stages, step).batch

    def rate(self, step: int) -> float:
        o, total = self.recipe.optimizer, self.total
        if stage_at(self.stages, step).learns:  # stages that learn other things have a schedule each
            step, total = place_in_stage(self.stages, step)
        return learning_rate(step, total, o.lr, o.warmup, o.final_lr, o.cooldown)

    def notes(self, step: int) -> dict:
        return {"size": stage_at(self.stages, step).size}

    def extras(self) -> dict[str, torch.Tensor]:
        """How often captions said each word, as JSON in bytes: vocabulary.json may be older or newer than the state."""
        text = json.dumps(self.words, ensure_ascii=False)  # in their order, which decides that of equal counts
        return {"words": torch.frombuffer(bytearray(text.encode("utf-8")), dtype=torch.uint8)}

    def restore_extras(self, extras: dict[str, torch.Tensor]) -> None:
        self.words = Counter(json.loads(bytes(extras["words"].tolist()).decode("utf-8")))

    def export(self, folder: Path, step: int) -> None:
        """Vocabulary, tokenizer and the averaged weights in half precision: what `sseg.load` needs."""
        vocabulary = {"phrases": self.pairs.vocabulary(self.words), "words": dict(self.words.most_common())}
        write_whole(folder / "vocabulary.json", json.dumps(vocabulary, ensure_ascii=False, indent=0))
        regions = {"seen_regions": self.seen_regions(step)} if self.model.config.prior_regions else {}
        exported = self.average | regions
        half = {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in exported.items()}
        with replacing_files(folder) as files:
            if not self.resumed:  # else it lies there, and a tokenizer that was read is not written as it was
                self.tokenizer.save_pretrained(files)
            self.model.save_pretrained(files, state_dict=half)

    @torch.no_grad()
    def seen_regions(self, step: int) -> torch.Tensor:
        """Embeddings of masks of training pictures by the averaged weights, for `SSegModel.offsets`: (R, E)."""
        wanted, own = self.model.config.prior_regions, copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.average)
        self.model.eval()
        values, _ = self.values(self.pairs.batch(BANK_SEED, BANK, stage_at(self.stages, step)).images)
        image, _ = self.model(values)
        self.model.load_state_dict(own)
        self.model.train()
        every = image.mask_embeddings.flatten(0, 1)
        chosen = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[:wanted]
        return every[chosen.to(every.device).repeat(-(-wanted // len(chosen)))[:wanted]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(Run, Pretrain, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
