"""S-Seg pre-training: pictures and captions in, a segmenter that answers to words out.

    python -m train.pretrain train/recipes/mini.yaml                      # from the start
    python -m train.pretrain train/recipes/mini.yaml --resume             # go on where a run stopped
    python -m train.pretrain train/recipes/mini.yaml out=runs/try seed=1  # with changes
    torchrun --nproc-per-node 2 -m train.pretrain train/recipes/mini.yaml # on two cores, or on N GPUs

Every batch is a function of (seed, step), so a resumed run repeats an unbroken one exactly. The run's folder can be
loaded at any time: `sseg.load("runs/mini")`.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import torch
import yaml
from torch.nn.parallel import DistributedDataParallel
from transformers.utils import logging

from sseg.checkpoint import load_model, resolve
from sseg.config import SSegConfig
from sseg.errors import SSegError
from sseg.features import source
from sseg.model import SSegModel
from sseg.pseudo_masks import pseudo_masks
from sseg.text import load_tokenizer, tokenize
from train import log
from train.checkpoints import load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.data.fragments import common, draw, number, numbered, some
from train.data.pairs import open_pairs
from train.distributed import finish, gather, start
from train.losses import contrastive_loss, mask_loss, matched, phrase_loss, region_similarity
from train.provenance import commit, hardware, versions
from train.recipe import read_arguments
from train.schedule import learning_rate, stage_at
from train.tokenizer import make_tokenizer


class Run:
    """Everything that changes while training, and where it is kept."""

    def __init__(self, recipe: dict, resume: bool):
        self.recipe, self.out = recipe, Path(recipe["out"])
        self.rank, self.world, self.device = start(recipe["device"])
        if recipe["loss"]["pooling"] == "feature_mean" and recipe["loss"]["queries"] == "matched":
            raise SSegError("The mean of features is over all queries; with queries: matched choose mean or softmax.")
        self.stages = recipe["stages"]
        self.total = sum(stage["steps"] for stage in self.stages)
        shapes = recipe["pseudo_masks"]
        self.cell = shapes.get("cell", 4)  # pixels a side of what is clustered in a crop
        if self.cell % 4 or any(stage["size"] % self.cell for stage in self.stages):
            raise SSegError(f"pseudo_masks.cell {self.cell} must be a multiple of 4 that divides the stages' sizes.")
        self.pairs = open_pairs(recipe["data"], recipe["seed"], self.device, self.stages, shapes)
        self.tokenizer = self.open_tokenizer(resume)
        self.phrases = common(self.pairs.sample_captions(20_000)) if recipe["loss"].get("rivals") else []
        config = model_config(recipe, self.tokenizer)
        torch.manual_seed(recipe["seed"])
        self.model = SSegModel(config)
        if recipe["init"] and not resume:
            start_from(self.model, recipe["init"])
        self.model.to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cpu":  # plain attention trains a fifth faster here than the fused kernel
            self.model.set_attn_implementation("eager")
        for name, parameter in self.model.named_parameters():
            if "encoder.model.layernorm" in name:  # Swin never uses it here, several processes would wait
                parameter.requires_grad_(False)
        self.towers = DistributedDataParallel(self.model) if self.world > 1 else self.model
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.optimizer = make_optimizer(self.model, recipe["optimizer"])
        self.source = source(shapes["features"], shapes.get("facet"), self.device) if self.pairs.bare else None
        self.mean = torch.tensor(config.pixel_mean, device=self.device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(config.pixel_std, device=self.device).view(1, 3, 1, 1) * 255
        self.step, self.samples, self.seconds, self.words = 0, 0, 0.0, Counter()
        if resume:
            self.restore()

    def open_tokenizer(self, resume: bool):
        """The run's own where it goes on, that of the weights it starts from (ids must keep their meaning), or new."""
        if resume:
            return load_tokenizer(self.out)
        if self.recipe["init"]:
            return load_tokenizer(resolve(self.recipe["init"]))
        return make_tokenizer(self.recipe["tokenizer"], self.pairs.sample_captions(20_000))

    def stage(self) -> dict:
        """The stage of the curriculum that the current step belongs to."""
        return stage_at(self.stages, self.step)

    def train_step(self) -> dict[str, torch.Tensor]:
        """One batch: pseudo-masks, prediction, shape and meaning, one step of the optimiser."""
        recipe, weights, stage = self.recipe, self.recipe["loss"], self.stage()
        torch.manual_seed(recipe["seed"] * 1_000_003 + self.step)  # dropout, too, is a function of (seed, step)
        seed, batch = self.step * self.world + self.rank, stage["batch"] // self.world
        pixels, captions = self.pairs.batch(seed, batch, stage)  # uint8 (B, 3, S, S), B texts
        self.words.update(word for caption in captions for word in words_of(caption))
        ids = self.pairs.masks(seed, batch, stage)  # (B, h, w)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe["precision"] == "bf16"):
            if self.source:
                self.mask_bare(ids, pixels, stage["k"], seed)
            values = ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
            drawn, owned = draw(captions, weights["phrases_each"], seed) if weights["phrases"] else ([], [])
            rivals = some(self.phrases, weights["rivals"], self.step) if self.phrases else []  # alike in all processes
            written = [one for one in (captions, drawn, rivals) if one]
            image, (texts, *phrases) = self.towers(values, *map(self.tokens, written))

        shape = mask_loss(image.layer_mask_logits, ids, stage["k"], weights["focal"])
        regions, texts = gather(self.regions(image)), gather(texts)  # of all processes
        counted = gather(matched(shape.queries, regions.shape[1]).float()) if weights["queries"] == "matched" else None
        similarity = region_similarity(regions, texts, weights["pooling"], weights["sharpness"], counted)
        meaning = contrastive_loss(similarity, self.model.scale)
        naming = torch.zeros_like(meaning)
        if drawn:
            numbers = [gather(n.to(self.device)) for n in numbered(drawn, owned)]
            known = phrases[1][~torch.isin(number(rivals).to(self.device), numbers[0])] if rivals else None
            naming = phrase_loss(regions, gather(phrases[0]), *numbers, self.model.scale, counted, known)
        loss = weights["dice"] * shape.dice + weights["focal"] * shape.focal + weights["contrastive"] * meaning
        loss = loss + weights["phrases"] * naming
        self.update(loss)
        self.samples += len(similarity)
        hit = (similarity.argmax(1) == torch.arange(len(similarity), device=self.device)).float().mean()
        terms = {"loss": loss, "dice": shape.dice, "focal": shape.focal, "contrastive": meaning, "phrases": naming}
        terms["retrieval"] = hit
        return {name: value.detach() for name, value in terms.items()} | {"scale": self.model.scale.detach()}

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
        rate = learning_rate(self.step, self.total, o["lr"], o["warmup"], o["final_lr"], o["cooldown"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
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
        half = {n: t.to(torch.float16) if t.is_floating_point() else t for n, t in self.average.items()}
        self.model.save_pretrained(self.out, state_dict=half)
        self.tokenizer.save_pretrained(self.out)
        vocabulary = {"phrases": self.pairs.vocabulary(self.words), "words": dict(self.words.most_common())}
        (self.out / "vocabulary.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=0))

    def restore(self) -> None:
        """Read the last state of this run's folder."""
        flat = load_state(self.out)
        self.model.load_state_dict(select(flat, "model/"))
        self.average = {name: t.to(self.device) for name, t in select(flat, "average/").items()}
        restore_optimizer(self.optimizer, select(flat, "optimizer/"))
        self.step, self.samples = int(flat["step"]), int(flat["samples"])
        self.seconds = float(flat["seconds"])
        self.words = Counter(json.loads((self.out / "vocabulary.json").read_text())["words"])


def model_config(recipe: dict, tokenizer) -> SSegConfig:
    """Sizes of the recipe's `model`; the rest follows from its tokenizer and its last stage."""
    return SSegConfig(
        text_vocab_size=len(tokenizer),
        text_max_length=recipe["tokenizer"]["max_length"],
        text_pad_token_id=tokenizer.pad_token_id,
        text_eos_token_id=tokenizer.eos_token_id,
        image_size=recipe["stages"][-1]["size"],
        **recipe["model"],
    )


def start_from(model: SSegModel, weights: str) -> None:
    """Take the tensors of other weights (a bundled name, a folder, a Hub id) that have the same sizes.

    A ResNet may have more blocks a stage than theirs: those that they lack begin as identities (the last norm of a
    residual block at zero, Goyal et al. 2017), so the deeper model starts with the answers of the weights.
    """
    # here, since `sseg` has to mend torchvision before transformers imports it
    from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetBottleNeckLayer

    tensors = load_model(resolve(weights)).state_dict()
    kinds = (ResNetBasicLayer, ResNetBottleNeckLayer)
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, kinds)}
    added = {name: block for name, block in blocks.items() if f"{name}.layer.0.convolution.weight" not in tensors}
    for name, own in model.state_dict().items():
        if name.startswith(tuple(f"{block}." for block in added)):
            tensors[name] = own
        elif name not in tensors or tensors[name].shape != own.shape:
            raise SSegError(f"The recipe's model does not fit init: {weights}, {name} is not the same; take its sizes.")
    model.load_state_dict(tensors)
    for block in added.values():
        torch.nn.init.zeros_(block.layer[-1].normalization.weight)


def words_of(caption: str) -> list[str]:
    """Lower-case words of a caption without punctuation."""
    return [word for word in (w.strip(".,!?:;\"'()#").lower() for w in caption.split()) if word]


def make_optimizer(model: SSegModel, recipe: dict) -> torch.optim.AdamW:
    """AdamW; no decay on biases, norms, embeddings of queries and the temperature."""
    decay = [p for n, p in model.named_parameters() if p.ndim > 1 and "queries_embedder" not in n]
    plain = [p for n, p in model.named_parameters() if p.ndim <= 1 or "queries_embedder" in n]
    groups = [{"params": decay, "weight_decay": recipe["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe["lr"], betas=tuple(recipe["betas"]))


def progress(run: Run, record: dict) -> None:
    """One line for the person who waits."""
    left = (run.total - run.step) * record["seconds_per_step"] / 60
    terms = "  ".join(f"{name} {record[name]:.3f}" for name in ("dice", "focal", "contrastive", "phrases", "retrieval"))
    rate = f"{record['images_per_second']:.0f} images/s  {left:.0f} min left"
    print(f"step {run.step}/{run.total}  {terms}  {rate}", file=sys.stderr, flush=True)


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
    while run.step < run.total:
        terms = run.train_step()
        for name, value in terms.items():
            sums[name] += value
        if not leads or (run.step % recipe["log_every"] and run.step < run.total):
            continue
        steps, since = run.step - since, run.step
        elapsed, mark = time.monotonic() - mark, time.monotonic()
        run.seconds += elapsed
        record = {name: round(float(value) / steps, 5) for name, value in sums.items()}
        record |= {"step": run.step, "samples": run.samples, "seconds": round(run.seconds, 1)}
        record |= {"seconds_per_step": elapsed / steps, "size": run.stage()["size"]}
        record["images_per_second"] = round(steps * run.stage()["batch"] / elapsed, 1)
        log.append(run.out, record)
        progress(run, record)
        sums.clear()
        if time.monotonic() - saved > 60 * recipe["checkpoint_minutes"] or run.step == run.total:
            run.save()
            saved = mark = time.monotonic()


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
