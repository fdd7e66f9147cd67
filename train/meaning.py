"""What regions mean: the losses between the regions of images and the texts of their captions (paper.md, section 4).

`contrastive` is the paper's: image and caption find each other in the batch. `phrases`, `ground`, `tags` and
`assignment` are ours (docs/architecture.md, "Losses"); each is there where its weight in the recipe is above 0.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sseg.inference.surroundings import BACKGROUND
from sseg.models.text import tokenize
from train import model_setup
from train.assignment import assignment_loss
from train.data.batch import Divided
from train.data.kinds import with_wider
from train.data.phrase_extraction import common, draw, number, numbered, some
from train.distributed import gather
from train.ground import for_things, ground_loss, measure, names_surroundings, shares
from train.losses import contrastive_loss, matched, phrase_loss, region_similarity
from train.recipe import Pretrain
from train.tags import REGIONS, SURE, draw_names, tag_loss, tagger_of


class Texts(NamedTuple):
    """The texts of a step: B captions; phrases drawn of them; all phrases of each caption; phrases that compete."""

    captions: list[str]
    drawn: list[str]
    owned: list[list[str]]
    distractors: list[str]  # the same in every process

    @property
    def written(self) -> list[list[str]]:
        """What goes through the text tower: captions, then drawn phrases and distractors, if there are any."""
        return [texts for texts in (self.captions, self.drawn, self.distractors) if texts]


class Meaning:
    """The losses of meaning of a recipe, on its model."""

    def __init__(self, recipe: Pretrain, model, tokenizer, pairs):
        """Raises SSegError: the encoder's own classifier is asked for, and the model does not read the map it reads."""
        self.weights, self.model, self.tokenizer, self.pairs = recipe.loss, model, tokenizer, pairs
        self.widen = with_wider if recipe.loss.wider else lambda phrases: phrases
        captions = pairs.sample_captions(model_setup.SAMPLED) if recipe.loss.distractors else []
        self.known = common(captions, widen=self.widen)
        self.tagger = tagger_of(model, recipe) if recipe.loss.tags else None
        self.group_weight: Tensor | None = None  # (C + 1,), see `divide_regions`

    def texts(self, captions: list[str], phrases: bool, step: int, seed: int) -> Texts:
        """What a batch is compared with; `phrases`: whether phrases are drawn of its captions."""
        drawn, owned = draw(captions, self.weights.phrases_each, seed, self.widen) if phrases else ([], [])
        return Texts(captions, drawn, owned, some(self.known, self.weights.distractors, step) if self.known else [])

    def tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Texts as the text tower takes them."""
        ids, mask = tokenize(self.tokenizer, texts, self.model.config.text_max_length)
        return ids.to(self.model.device), mask.to(self.model.device)

    def losses(self, image, texts: Texts, embedded: list[Tensor], queries: Tensor | None, measured: Tensor | None,
               divided: Divided | None, seed: int) -> dict[str, Tensor]:  # fmt: skip
        """The terms of a batch.

        Args:
            image: the model's output for images; embedded: for `texts.written`, (P, E) each.
            queries: (B, K) of matched masks, None where shape is not learned.
            measured: (B, N, 2) area and border of masks, None: of the predicted ones.
        Returns:
            contrastive, phrases (0 where none are drawn), ground, assignment, tags, and `retrieval`, the share of
            images whose caption is found.
        """
        if self.weights.ground and measured is None:
            measured = measure(image.mask_logits.detach())
        terms = self.captions_and_phrases(image, texts, embedded, queries, measured)
        if divided is not None:
            terms["assignment"] = self.assignment(image, divided, measured)
        if self.tagger:
            terms["tags"] = self.tags(image, seed)
        return terms

    def captions_and_phrases(self, image, texts: Texts, embedded, queries, measured) -> dict[str, Tensor]:
        """The terms contrastive, phrases, ground and retrieval, over the images of all processes."""
        weights, scale, device = self.weights, self.model.scale, self.model.device
        captions, *phrases = embedded
        regions, captions = gather(self.regions(image)), gather(captions)  # (B, N, E), (B, E)
        counted = gather(matched(queries, regions.shape[1]).float()) if weights.queries == "matched" else None  # (B, N)
        grounded = weights.ground and texts.drawn
        if grounded:
            measured = gather(measured)
            counted = for_things(measured)
        similarity = region_similarity(regions, captions, weights.pooling, weights.sharpness, counted)  # (B, B)
        terms = {"contrastive": contrastive_loss(similarity, scale), "phrases": torch.zeros((), device=device)}
        if texts.drawn:
            numbers = [gather(n.to(device)) for n in numbered(texts.drawn, texts.owned)]
            new = ~torch.isin(number(texts.distractors).to(device), numbers[0]) if texts.distractors else None
            distractors, named = (phrases[1][new] if texts.distractors else None), gather(phrases[0])  # (R, E), (P, E)
            each = None
            if grounded:
                surround = gather(names_surroundings(texts.drawn).float().to(device)).bool()  # (P,)
                each, counted = shares(measured, surround), None
                others = [(named, surround)]
                if texts.distractors:
                    others.append((distractors, names_surroundings(texts.distractors).to(device)[new]))
                competing, names = (torch.cat(part) for part in zip(*others, strict=True))
                word = self.model.encode_text(*self.tokens([BACKGROUND]))  # (1, E)
                terms["ground"] = ground_loss(regions, measured, word, competing, names, scale)
            terms["phrases"] = phrase_loss(regions, named, *numbers, scale, counted, distractors, each)
        hit = (similarity.argmax(1) == torch.arange(len(similarity), device=device)).float().mean()
        return terms | {"retrieval": hit}

    def regions(self, image) -> Tensor:
        """What meets the captions: (B, N, E) masks, or (B, 1, E) the projected mean of their features (the paper)."""
        return image.image_embeddings[:, None] if self.weights.pooling == "feature_mean" else image.mask_embeddings

    def divide_regions(self, path: Path) -> None:
        """Divide the kept regions among what captions name (`train.assignment`); the answer lies in `path`."""
        weight = self.pairs.assign(self.model.feature_mean, self.model.feature_std, self.tagger, path)
        self.group_weight = weight.sqrt().to(self.model.device)  # else people, whom most name, are seldom found

    def assignment(self, image, divided: Divided, measured: Tensor) -> Tensor:
        """The loss of `train.assignment`: what each region is of the things that its photograph's captions name."""
        device, names = self.model.device, self.pairs.names
        words = self.model.encode_text(*self.tokens(names.words))  # (V, E)
        logits = image.mask_embeddings @ words.T * self.model.scale  # (B, N, V)
        members = names.members(divided.named).to(device)
        return assignment_loss(logits, divided.shares.to(device), members, measured[..., 0], self.group_weight)

    def tags(self, image, seed: int) -> Tensor:
        """The loss of `train.tags` on some regions of each picture."""
        device = self.model.device
        each = torch.rand(image.mask_features.shape[:2], device=device).argsort(1)[:, :REGIONS]  # (B, r)
        rows = torch.arange(len(each), device=device)[:, None]
        probabilities = self.tagger(image.mask_features[rows, each].flatten(0, 1).detach())  # (B * r, 1000)
        classes, names = draw_names(self.tagger, probabilities.argmax(1)[probabilities.amax(1) > SURE], seed)
        names, wider = (self.model.encode_text(*self.tokens(texts)) for texts in (names, self.tagger.wider))
        regions = image.mask_embeddings[rows, each].flatten(0, 1)
        return tag_loss(regions, probabilities, names, classes.to(device), wider, self.tagger.table, self.model.scale)
