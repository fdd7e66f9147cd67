"""S-Seg pre-training: pictures and captions in, a segmenter that answers to words out.

    python -m train.pretrain train/recipes/mini.yaml                      # from the start
    python -m train.pretrain train/recipes/mini.yaml --resume             # go on where a run stopped
    python -m train.pretrain train/recipes/mini.yaml out=runs/try seed=1  # with changes
    torchrun --nproc-per-node 2 -m train.pretrain train/recipes/mini.yaml # on two cores, or on N GPUs

Every batch is a function of (seed, step), so a resumed run repeats an unbroken one exactly. The run's folder can be
loaded at any time: `sseg.load("runs/mini")`.
"""

import copy
import json
import sys
import time
from collections import Counter
from pathlib import Path

import torch
import yaml
from torch.nn.parallel import DistributedDataParallel
from transformers.utils import logging

from sseg.checkpoint import resolve
from sseg.errors import SSegError
from sseg.features import source
from sseg.inference.surroundings import BACKGROUND
from sseg.models.sseg import SSegModel
from sseg.models.text import tokenize
from sseg.pseudo_masks.generate import pseudo_masks
from sseg.stopping import stoppable
from train import log, model_setup
from train.assignment import assignment_loss
from train.checkpoints import load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.data.kinds import with_wider
from train.data.phrase_extraction import common, draw, number, numbered, some, words_of
from train.data.sources import open_pairs
from train.distributed import finish, gather, start
from train.encoder_start import freeze
from train.ground import for_things, ground_loss, measure, names_surroundings, shares
from train.losses import contrastive_loss, mask_loss, matched, phrase_loss, region_similarity
from train.provenance import commit, hardware, versions
from train.recipe import read_arguments
from train.schedules import check, learning_rate, learns, place_in_stage, stage_at
from train.steps import run_steps
from train.tags import REGIONS, SURE, draw_names, tag_loss, tagger_of

SHOWN = ("dice", "focal", "contrastive", "phrases", "ground", "tags", "assignment", "retrieval")
BANK, BANK_SEED = 128, 1_000_000_007  # pictures whose masks show what phrases fit on average; a batch of no step


class Run:
    """Everything that changes while training, and where it is kept."""

    def __init__(self, recipe: dict, resume: bool):
        self.recipe, self.out = recipe, Path(recipe["out"])
        self.rank, self.world, self.device = start(recipe["device"])
        self.stages = recipe["stages"]
        self.total = sum(stage["steps"] for stage in self.stages)
        shapes = recipe["pseudo_masks"]
        self.cell = shapes.get("cell", 4)  # pixels a side of what is clustered in a crop
        check(recipe, self.cell, self.world)
        self.pairs = open_pairs(recipe["data"], recipe["seed"], self.device, self.stages, shapes)
        if recipe["loss"].get("assignment") and not hasattr(self.pairs, "assign"):
            raise SSegError("Regions are assigned where maps are kept: set loss.assignment to 0, or data.name to maps.")
        self.tokenizer = model_setup.open_tokenizer(recipe, self.out, resume, self.pairs)
        self.widen = with_wider if recipe["loss"].get("wider") else lambda phrases: phrases
        distractors = recipe["loss"].get("rivals")
        self.phrases = common(self.pairs.sample_captions(20_000), widen=self.widen) if distractors else []
        config = model_setup.model_config(recipe, self.tokenizer)
        torch.manual_seed(recipe["seed"])
        self.model = SSegModel(config)
        if not resume:
            model_setup.start_model(self.model, recipe)
        learn = recipe.get("encoder", {}).get("learn", 1.0)
        if not learn:
            freeze(self.model.encoder)
        self.model.to(self.device, memory_format=torch.channels_last)
        if hasattr(self.pairs, "keep"):
            model_setup.keep_maps(self.pairs, self.model, recipe, fresh=not resume)
        model_setup.ready_to_train(self.model)
        self.towers = DistributedDataParallel(self.model) if self.world > 1 else self.model
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = model_setup.make_optimizer(self.model, recipe["optimizer"], learn)
        self.tagger = tagger_of(self.model, recipe) if recipe["loss"].get("tags") else None
        self.source = source(shapes["features"], shapes.get("facet"), self.device) if self.pairs.bare else None
        pixels = (torch.tensor(value, device=self.device) for value in (config.pixel_mean, config.pixel_std))
        self.mean, self.std = (value.view(1, 3, 1, 1) * 255 for value in pixels)
        self.step, self.samples, self.seconds, self.words = 0, 0, 0.0, Counter()
        if resume:
            self.restore()
        elif recipe["init"] and "init_only" not in recipe:
            self.words.update(model_setup.read_words(resolve(recipe["init"])))  # known goes on being known

    def stage(self) -> dict:
        """The stage of the curriculum that the current step belongs to."""
        return stage_at(self.stages, self.step)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One batch: pseudo-masks, prediction, shape and meaning, one step of the optimiser."""
        recipe, weights, stage = self.recipe, self.recipe["loss"], self.stage()
        torch.manual_seed(recipe["seed"] * 1_000_003 + self.step)  # dropout, too, is a function of (seed, step)
        seed, batch = self.step * self.world + self.rank, stage["batch"] // self.world
        if "shape" not in learns(stage) and hasattr(self.pairs, "keep_features"):
            self.keep_features()
        images, captions = self.pairs.batch(seed, batch, stage)  # uint8 (B, 3, S, S) or what is kept, B texts
        self.words.update(word for caption in captions for word in words_of(caption))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe["precision"] == "bf16"):
            ids = self.pseudo_masks(images, seed, batch, stage) if "shape" in learns(stage) else None  # (B, h, w)
            values, measured = self.values(images)
            wanted = weights["phrases"] and "meaning" in learns(stage)
            drawn, owned = draw(captions, weights["phrases_each"], seed, self.widen) if wanted else ([], [])
            distractors = some(self.phrases, weights["rivals"], self.step) if self.phrases else []  # alike everywhere
            written = [one for one in (captions, drawn, distractors) if one]
            image, (texts, *phrases) = self.towers(values, *map(self.tokens, written))

        terms, total = {}, 0.0
        shape = None
        if "shape" in learns(stage):
            shape = mask_loss(image.layer_mask_logits, ids, stage["k"], weights["focal"])
            terms |= {"dice": shape.dice, "focal": shape.focal}
            total = total + weights["dice"] * shape.dice + weights["focal"] * shape.focal
        if "meaning" in learns(stage):
            if weights.get("ground") and measured is None:
                measured = measure(image.mask_logits.detach())
            found = self.meaning(image, shape, texts, phrases, drawn, owned, distractors, measured)
            terms |= found
            total = total + sum(weights[name] * found[name] for name in found.keys() & {*weights})
        if weights.get("assignment") and "shape" not in learns(stage):
            terms["assignment"] = self.assignment(image, measured, seed, batch)
            total = total + weights["assignment"] * terms["assignment"]
        if self.tagger and "meaning" in learns(stage):
            terms["tags"] = self.tags(image, seed)
            total = total + weights["tags"] * terms["tags"]
        self.update(total)
        self.samples += batch * self.world
        terms = {"loss": total} | terms
        return {name: value.detach() for name, value in terms.items()} | {"scale": self.model.scale.detach()}

    def meaning(self, image, shape, texts, phrases, drawn, owned, distractors, measured) -> dict[str, torch.Tensor]:
        """The losses of captions, phrases and ground, and the share of pictures whose caption is found."""
        weights, scale = self.recipe["loss"], self.model.scale
        regions, texts = gather(self.regions(image)), gather(texts)  # of all processes
        counted = gather(matched(shape.queries, regions.shape[1]).float()) if weights["queries"] == "matched" else None
        grounded = weights.get("ground") and drawn
        if grounded:
            measured = gather(measured)
            counted = for_things(measured)
        similarity = region_similarity(regions, texts, weights["pooling"], weights["sharpness"], counted)
        terms = {"contrastive": contrastive_loss(similarity, scale), "phrases": torch.zeros((), device=self.device)}
        if drawn:
            numbers = [gather(n.to(self.device)) for n in numbered(drawn, owned)]
            new = ~torch.isin(number(distractors).to(self.device), numbers[0]) if distractors else None
            known, named = (phrases[1][new] if distractors else None), gather(phrases[0])
            each = None
            if grounded:
                surround = gather(names_surroundings(drawn).float().to(self.device)).bool()
                each, counted = shares(measured, surround), None
                word = self.model.encode_text(*self.tokens([BACKGROUND]))
                others = [(named, surround)]
                if distractors:
                    others.append((known, names_surroundings(distractors).to(self.device)[new]))
                texts_of, names = (torch.cat(part) for part in zip(*others, strict=True))
                terms["ground"] = ground_loss(regions, measured, word, texts_of, names, scale)
            terms["phrases"] = phrase_loss(regions, named, *numbers, scale, counted, known, each)
        hit = (similarity.argmax(1) == torch.arange(len(similarity), device=self.device)).float().mean()
        return terms | {"retrieval": hit}

    def assignment(self, image, measured, seed: int, batch: int) -> torch.Tensor:
        """The loss of `train.assignment`: what each region is of the things that its photograph's captions name."""
        shares, named = self.pairs.assigned(seed, batch)
        words = self.model.encode_text(*self.tokens(self.pairs.names.words))
        logits = image.mask_embeddings @ words.T * self.model.scale
        members = self.pairs.names.members(named).to(self.device)
        return assignment_loss(logits, shares.to(self.device), members, measured[..., 0], self.group_weight)

    def tags(self, image, seed: int) -> torch.Tensor:
        """The loss of `train.tags` on some regions of each picture."""
        each = torch.rand(image.mask_features.shape[:2], device=self.device).argsort(1)[:, :REGIONS]  # (B, r)
        rows = torch.arange(len(each), device=self.device)[:, None]
        probabilities = self.tagger(image.mask_features[rows, each].flatten(0, 1).detach())
        classes, names = draw_names(self.tagger, probabilities.argmax(1)[probabilities.amax(1) > SURE], seed)
        names, wider = (self.model.encode_text(*self.tokens(texts)) for texts in (names, self.tagger.wider))
        regions = image.mask_embeddings[rows, each].flatten(0, 1)
        return tag_loss(regions, probabilities, names, classes.to(self.device), wider, self.tagger.table,
                        self.model.scale)  # fmt: skip

    def keep_features(self) -> None:
        """From the first step that learns meaning alone on, batches hold the features of the masks, which stay as they
        are on average."""
        if self.pairs.features is not None:
            return
        path = self.out / "features.npy"
        if self.step == sum(stage["steps"] for stage in self.stages if "shape" in learns(stage)):
            self.model.load_state_dict(self.average)
            for file in ("features.npy", "assigned.npy"):  # of a run that stopped after this and goes on from before it
                (self.out / file).unlink(missing_ok=True)
        self.model.eval()
        self.pairs.keep_features(self.model, path)
        self.model.train()
        if self.recipe["loss"].get("assignment"):
            model, assigned = self.model, self.out / "assigned.npy"
            weight = self.pairs.assign(model.feature_mean, model.feature_std, self.tagger, assigned)
            self.group_weight = weight.sqrt().to(self.device)  # else people, whom most captions name, are seldom found

    def pseudo_masks(self, images, seed: int, batch: int, stage: dict) -> torch.Tensor:
        """Pseudo-masks of the batch at the masks' resolution: ids (B, h, w) int64."""
        ids = self.pairs.masks(seed, batch, stage)
        if self.source:
            self.mask_bare(ids, images, stage["k"], seed)
        if isinstance(images, list):  # clusters are coarser than the finest map
            finer = images[0].shape[-1] // ids.shape[-1]
            return ids.repeat_interleave(finer, 1).repeat_interleave(finer, 2).to(self.device)
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

    def mask_bare(self, ids: torch.Tensor, pixels: torch.Tensor, k: int, seed: int) -> None:
        """Write the pseudo-masks of the crops that came without into ids (B, h, w)."""
        bare, side = ids[:, 0, 0] < 0, ids.shape[1]
        finer = self.cell // 4  # mask pixels along a cell
        if bare.any():
            made = pseudo_masks(pixels[bare], self.source, k, (side // finer,) * 2, seeds=seed)
            ids[bare] = made.repeat_interleave(finer, 1).repeat_interleave(finer, 2)

    def tokens(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts as the text tower takes them."""
        ids, mask = tokenize(self.tokenizer, texts, self.model.config.text_max_length)
        return ids.to(self.device), mask.to(self.device)

    def regions(self, image) -> torch.Tensor:
        """What meets the captions: (B, N, E) masks, or (B, 1, E) the projected mean of their features (the paper)."""
        before = self.recipe["loss"]["pooling"] == "feature_mean"
        return image.image_embeddings[:, None] if before else image.mask_embeddings

    def update(self, loss: torch.Tensor) -> None:
        """AdamW step with clipped gradients, then the running average of the weights."""
        o = self.recipe["optimizer"]
        step, total = self.step, self.total
        if "learns" in self.stage():  # stages that learn other things have a schedule each
            step, total = place_in_stage(self.stages, self.step)
        rate = learning_rate(step, total, o["lr"], o["warmup"], o["final_lr"], o["cooldown"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), o["clip"])
        self.optimizer.step()
        self.step += 1
        keep = min(o["average"], (self.step + 1) / (self.step + 10))  # short memory at the start of a run
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - keep)
            else:
                self.average[name].copy_(tensor)

    def save(self) -> None:
        """State for resuming, and beside it loadable weights (the running average, half precision)."""
        tree = {"model": self.model.state_dict(), "average": self.average}
        tree |= {"optimizer": optimizer_tensors(self.optimizer)}
        tree |= {"step": self.step, "samples": self.samples, "seconds": self.seconds}
        save_state(self.out, tree)
        regions = {"seen_regions": self.seen_regions()} if self.model.config.prior_regions else {}
        exported = self.average | regions
        half = {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in exported.items()}
        self.model.save_pretrained(self.out, state_dict=half)
        self.tokenizer.save_pretrained(self.out)
        vocabulary = {"phrases": self.pairs.vocabulary(self.words), "words": dict(self.words.most_common())}
        (self.out / "vocabulary.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0))

    @torch.no_grad()
    def seen_regions(self) -> torch.Tensor:
        """Embeddings of masks of training pictures by the averaged weights, for `SSegModel.offsets`: (R, E)."""
        wanted, own = self.model.config.prior_regions, copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.average)
        self.model.eval()
        images, _ = self.pairs.batch(BANK_SEED, BANK, self.stage())
        values, _ = self.values(images)
        image, _ = self.model(values)
        self.model.load_state_dict(own)
        self.model.train()
        every = image.mask_embeddings.flatten(0, 1)
        chosen = torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[:wanted]
        return every[chosen.to(every.device).repeat(-(-wanted // len(chosen)))[:wanted]]

    def restore(self) -> None:
        """Read the last state of this run's folder."""
        flat = load_state(self.out)
        self.model.load_state_dict(select(flat, "model/"))
        self.average = {name: t.to(self.device) for name, t in select(flat, "average/").items()}
        restore_optimizer(self.optimizer, select(flat, "optimizer/"))
        self.step, self.samples, self.seconds = int(flat["step"]), int(flat["samples"]), float(flat["seconds"])
        self.words = Counter(model_setup.read_words(self.out))


def train(run: Run) -> None:
    """The loop: steps, a log line now and then, a checkpoint every few minutes."""
    recipe, leads = run.recipe, run.rank == 0
    if leads:
        run.out.mkdir(parents=True, exist_ok=True)
        (run.out / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        log.forget_later(run.out, run.step)
        event = {"event": "resume" if run.step else "start", "step": run.step, "commit": commit()}
        event |= {"hardware": hardware(run.device), "processes": run.world, "versions": versions()}
        log.append(run.out, event | {"recipe": recipe})
    run.model.train()
    saved, mark, sums, since = time.monotonic(), time.monotonic(), Counter(), run.step
    for terms in run_steps(run, run.world):
        for name, value in terms.items():
            sums[name] += value
        if not leads or (run.step % recipe["log_every"] and run.step < run.total):
            continue
        steps, since = run.step - since, run.step
        elapsed, mark = time.monotonic() - mark, time.monotonic()
        run.seconds += elapsed
        record = {name: round(float(value) / steps, 5) for name, value in sums.items()}
        record |= {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        record |= {"seconds_per_step": elapsed / steps, "size": run.stage().get("size")}
        record["images_per_second"] = round(steps * run.stage()["batch"] / elapsed, 1)
        log.append(run.out, record)
        log.progress(run.step, run.total, record, SHOWN)
        sums.clear()
        if time.monotonic() - saved > 60 * recipe["checkpoint_minutes"] or run.step == run.total:
            run.save()
            saved = mark = time.monotonic()


@stoppable("Stopped; --resume goes on from the last checkpoint, if there is one yet.")
def main(arguments: list[str] | None = None) -> int:
    try:
        logging.set_verbosity_error()  # transformers remarks on every backbone but Swin
        recipe, resume = read_arguments("train.pretrain", __doc__, arguments)
        train(Run(recipe, resume))
        finish()
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
