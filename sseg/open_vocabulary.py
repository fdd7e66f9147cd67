"""S-Seg answers to free words: encode(image) -> ask(phrases) -> Segmentation."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sseg import inference
from sseg.arguments import of_type, whole
from sseg.cost import check_seen
from sseg.errors import SSegValueError
from sseg.inference.surroundings import BACKGROUND, lift
from sseg.phrases import content_words, key, parse
from sseg.segmentation import Segmentation
from sseg.segmenter import Segmenter
from sseg.vocabulary import Vocabulary

MAX_WINDOWS_SIDE = 8
WINDOW_BATCH = 4


@dataclass(frozen=True)
class Encoded:
    """A picture after the model: all that questions need."""

    mask_logits: Tensor  # (N, h, w), the model's own segments
    mask_weights: Tensor  # (M, h, w), how much each mask of every view says of each cell (`inference.mask_weights`)
    mask_embeddings: Tensor  # (M, E), unit length; the first N belong to `mask_logits`
    known_logits: Tensor  # (M, V), scale x cosine with each text that the weights know
    size: tuple[int, int]  # (H, W) of the picture

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        parts = (self.mask_logits, self.mask_weights, self.mask_embeddings, self.known_logits)
        return sum(part.nbytes for part in parts)


class OpenVocabularySegmenter(Segmenter):
    """A model with its words. Asking changes nothing but a locked cache, so threads may share one."""

    def __init__(self, model, tokenizer, words=(), name="", *, combine: str | None = None, prompt: str | None = None):
        """`words`: what the weights were trained on, entries with "text" (vocabulary.json); may be empty."""
        super().__init__(model, name)
        self.tokenizer = tokenizer
        self.combine = combine or model.config.combine
        self.prompt = prompt or model.config.prompt
        self.vocabulary = Vocabulary(model, tokenizer, words, self.prompt)

    # ---- images --------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def encode(self, image, *, sliding: bool = False, long_side: int | None = None) -> Encoded:
        """Run the image through the model, once for all questions: in every view that the weights want.

        Args:
            image: what `images.read` takes; over 16 megapixels it is scaled down, labels then have that size.
            sliding: look once, through overlapping square windows at up to twice the resolution, never beyond the
                image's own: finds smaller things, takes several times longer.
            long_side: longer side for the model instead of the weights' own, 64 to 4096.

        Raises:
            SSegError: not an image, a side outside of that, or more pixels in all views than `sseg.cost` allows.
        """
        rgb, side = self._read(image, long_side)
        views = [self._encode_windows(rgb, side)] if sliding else self._encode_views(rgb, side)
        own = views[0][0]
        each = [inference.mask_weights(masks, self.combine) / len(views) for masks, _ in views]
        weights = torch.cat([inference.upsample(one, own.shape[1:]) for one in each])
        embeddings = torch.cat([found for _, found in views])
        return self.encoded(own, weights, embeddings, (rgb.shape[0], rgb.shape[1]))

    def encoded(self, own: Tensor, weights: Tensor, embeddings: Tensor, size: tuple[int, int]) -> Encoded:
        """What questions need of masks that are there already: `Encoded`'s mask logits, weights and embeddings."""
        known, _ = self.logits(embeddings, self.vocabulary.known_texts, self.vocabulary.known_embeddings)
        return Encoded(own, weights, embeddings, known, size)

    def _encode_views(self, rgb, side) -> list[tuple[Tensor, Tensor]]:
        """Mask logits (N, h, w) and embeddings (N, E) of the image in each view."""
        views: list[tuple[Tensor, Tensor]] = []
        for pixels in self._views(rgb, side):
            masks, embeddings = self.run(pixels)
            views += zip(inference.unmirrored(masks), embeddings, strict=True)
        return views

    def _encode_windows(self, rgb, side) -> tuple[Tensor, Tensor]:
        """The same of all windows together: masks (W * N, h, w) on one canvas."""
        window = max(inference.STRIDE, round(side / inference.STRIDE) * inference.STRIDE)
        short, long = sorted(rgb.shape[:2])
        fine = min(max(short, window), 2 * window)  # for the short side
        scale = min(fine / short, MAX_WINDOWS_SIDE * window / long)
        step = inference.STRIDE
        height, width = (max(window, round(edge * scale / step) * step) for edge in rgb.shape[:2])
        corners = inference.windows(height, width, window, inference.STRIDE)  # whole cells of any encoder
        check_seen([(window, window)] * len(corners), side, " in sliding windows")
        pixels = inference.resize(rgb, (height, width), self.device)
        crops = torch.cat([pixels[..., top : top + window, left : left + window] for top, left in corners])
        runs = [self.run(batch) for batch in crops.split(WINDOW_BATCH)]
        masks, embeddings = (torch.cat(parts) for parts in zip(*runs, strict=True))
        return inference.assemble(masks, corners, (height, width), window // masks.shape[-1]), embeddings.flatten(0, 1)

    @torch.inference_mode()
    def run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (B, N, h / s, w / s), s = `mask_stride`, and embeddings (B, N, E) of images (B, 3, h, w) uint8,
        sides multiples of 32."""
        config = self.model.config
        pixel_values = inference.normalise(pixels, config.pixel_mean, config.pixel_std)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            out = self.model.encode_image(pixel_values)
        return self.smoothed(pixels, out.mask_logits.float()), out.mask_embeddings.float()

    def smoothed(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Mask logits (B, N, h, w) of these images made finer, where the weights say so (`inference.finer_masks`)."""
        config = self.model.config
        return inference.finer_masks(masks, pixels, outlines=config.outlines, clusters=config.refine_clusters)

    @torch.inference_mode()
    def encode_maps(self, maps: list[Tensor], divisions: list[int]) -> Encoded:
        """As `encode`, of an image's kept maps (1, C, h, w), fine to coarse, at the size of the coarsest.

        divisions: into how many regions the image is divided, one division after the other.
        """
        found = [self.model.from_maps(maps, k) for k in divisions]
        weights = [inference.mask_weights(one.mask_logits[0], self.combine) / len(found) for one in found]
        embeddings = torch.cat([one.mask_embeddings[0] for one in found])
        height, width = maps[-1].shape[2:]
        return self.encoded(found[0].mask_logits[0], torch.cat(weights), embeddings, (height, width))

    @torch.inference_mode()
    def embed_regions(self, image, masks) -> Tensor:
        """What given regions of an image mean, in the space of `embed`: somebody else's masks can be named so.

        Args:
            image: what `images.read` takes.
            masks: bool (N, H, W), the regions, of any size that covers the image.

        Returns:
            Tensor (N, E) of unit length; its products with `embed(["dog", ...])` are cosines.

        Raises:
            SSegError: not an image, masks of another kind, or weights that read meaning from queries, not from regions.
        """
        masks = torch.as_tensor(masks)
        if masks.dtype != torch.bool or masks.ndim != 3 or not masks.numel():
            raise SSegValueError("Regions are given as true and false: an array (N, H, W) of bool.")
        if self.model.config.mask_feature == "query":
            raise SSegValueError(
                "These weights read what a region means from its query: they can name their own alone."
            )
        rgb, side = self._read(image, None)
        height, width = rgb.shape[:2]
        pixels = inference.resize(rgb, inference.target_size(height, width, side), self.device)
        config = self.model.config
        pixel_values = inference.normalise(pixels, config.pixel_mean, config.pixel_std)
        size = tuple(length // 4 for length in pixels.shape[2:])
        shares = F.interpolate(masks[None].to(self.device, torch.float32), size, mode="area")  # (1, N, h, w)
        return self.model.embed_regions(pixel_values, torch.logit(shares, eps=1e-6))[0].float()

    # ---- texts ---------------------------------------------------------------------------------------------------
    @property
    def words(self) -> list[dict]:
        """What the weights were trained on: the entries of vocabulary.json."""
        return self.vocabulary.words

    @property
    def knows_unseen(self) -> bool:
        """See `Vocabulary.knows_unseen`."""
        return self.vocabulary.knows_unseen

    def embed(self, texts: list[str]) -> Tensor:
        """See `Vocabulary.embed`."""
        return self.vocabulary.embed(texts)

    def known(self, phrase: str) -> bool:
        """See `Vocabulary.known`."""
        return self.vocabulary.known(phrase)

    def nearest(self, phrase: str, n: int = 3) -> list[tuple[str, float]]:
        """See `Vocabulary.nearest`."""
        return self.vocabulary.nearest(phrase, n)

    def slips(self, phrase: str) -> list[str]:
        """See `Vocabulary.slips`."""
        return self.vocabulary.slips(phrase)

    # ---- questions -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def ask(
        self, encoded: Encoded, phrases, background: float | None = None, *, competitors: bool = True
    ) -> Segmentation:
        """Where is what? The image does not run through the model again.

        Args:
            encoded: from `encode`.
            phrases: "a dog, grass, person|man|woman", or a list with a phrase a class (see `phrases.parse`).
            background: a pixel whose best score is below becomes background, 0..1; None: the weights' own.
            competitors: let the weights' other known words compete, so that one word does not fill the picture.

        Raises:
            SSegError: no phrases, too many or too long ones, a threshold outside 0..1, or what other weights encoded.
        """
        self._check(encoded)
        background = self._threshold(background)
        classes = parse(phrases)
        texts_of = self.vocabulary.with_kinds([one.synonyms for one in classes])
        texts = [text for one in texts_of for text in one]
        owners = None  # each text is a class
        if len(texts) > len(classes):
            owners = torch.tensor([i for i, one in enumerate(texts_of) for _ in one], device=self.device)
        embeddings = self.embed(texts)
        logits, nearest = self.logits(encoded.mask_embeddings, texts, embeddings, owners)
        if competitors:
            logits = torch.cat([logits, self._distractor_logits(encoded, texts, embeddings)], 1)  # (N, C + V)
        probabilities = logits.softmax(1)[:, : len(classes)]  # (N, C)
        weights = encoded.mask_weights
        scores = inference.combine_scores(weights, probabilities)
        if competitors:
            scores = inference.contrast(scores, self.model.config.contrast)
        shares = weights.mean((1, 2))[:, None] * probabilities
        counts = torch.zeros(len(texts), device=self.device).index_add(0, nearest.flatten(), shares.flatten())
        by_text = dict(zip(texts, counts.tolist(), strict=True))
        return Segmentation(
            phrases=[one.text for one in classes],
            winners=[max(one.synonyms, key=by_text.__getitem__) for one in classes],
            known=[any(self.known(text) for text in one.synonyms) for one in classes],
            size=encoded.size,
            background=background,
            weights=self.name,
            coarse_scores=scores,
            words_at=lambda x, y, n: self._words_at(encoded, x, y, n),
        )

    @torch.inference_mode()
    def _candidates(self, encoded: Encoded, limit: int) -> list[str]:
        self._check(encoded)
        shares = encoded.mask_weights.mean((1, 2)) @ encoded.known_logits.softmax(1)  # (V,) of the image
        candidates, taken = [], set()
        for place in shares.argsort(descending=True).tolist():
            if place not in taken:
                candidates.append(self.vocabulary.known_texts[place])
                taken.update(self.vocabulary.known_places[key(candidates[-1])])
            if len(candidates) == limit:
                break
        return candidates

    def _check(self, encoded) -> None:
        of_type(encoded, Encoded, "What is asked about is what encode(picture) gave")
        widths = encoded.mask_embeddings.shape[1], encoded.known_logits.shape[1]
        if widths != (self.model.config.embed_dim, len(self.vocabulary.known_texts)):
            raise SSegValueError("The picture was encoded by other weights: encode it with these.")

    def logits(self, masks: Tensor, texts: list[str], embeddings: Tensor, owners: Tensor | None = None):
        """Logits (M, C) of masks (M, E) and classes, and which text won each (`inference.class_logits`).

        Scaled cosines, less what each text fits on average (`SSegModel.offsets`); words for surroundings are raised by
        what the background has (`sseg.inference.surroundings`).

        Args:
            texts, embeddings: T texts and their embeddings (T, E).
            owners: (T,) the class of each text; None: each is its own.
        """
        offsets = self.model.offsets(embeddings)  # (T,)
        marked = self.vocabulary.surroundings
        raised = [bool(content_words(text) & marked) for text in texts] if marked else [False]
        if any(raised):
            offsets = offsets - self._lift(masks)[:, None] * torch.tensor(raised, device=masks.device)  # (M, T)
        return inference.class_logits(masks, embeddings, self.model.use_scale, owners, offsets)

    def _lift(self, masks: Tensor) -> Tensor:
        """What the background raises words for surroundings by: (M, E) -> (M,)."""
        known = [word["text"] for word in self.vocabulary.naming if word.get("kind") == "surroundings"]
        embeddings = self.embed([BACKGROUND, *known])
        logits, _ = inference.class_logits(masks, embeddings, self.model.use_scale,
                                           offsets=self.model.offsets(embeddings))  # fmt: skip
        return lift(logits[:, 0], logits[:, 1:])

    def _distractor_logits(self, encoded: Encoded, texts: list[str], embeddings: Tensor) -> Tensor:
        """Logits (N, V) of the known texts; minus infinity for those that mean one of the asked ones."""
        same = (embeddings @ self.vocabulary.known_embeddings.T).amax(0) > self.model.config.too_close  # (V,)
        read = [key(self.vocabulary.read_as(text)) for text in texts]
        same[[i for text in read for i in self.vocabulary.known_places.get(text, ())]] = True
        shut_out = torch.zeros(same.shape, device=self.device).masked_fill(same, -torch.inf)
        shut_out = shut_out - self.model.config.handicap
        return encoded.known_logits + shut_out  # a fifth of the time of filling (N, V) under a mask

    @torch.inference_mode()
    def _words_at(self, encoded: Encoded, x: int, y: int, n: int) -> list[dict]:
        weights = inference.at_pixel(encoded.mask_weights, x, y, encoded.size)
        return self._best_words(weights @ encoded.known_logits.softmax(1), n)

    def _best_words(self, scores: Tensor, n: int) -> list[dict]:
        values, order = scores.topk(min(n, len(scores)))
        pairs = zip(order.tolist(), values.tolist(), strict=True)
        return [{"phrase": self.vocabulary.known_texts[i], "score": value} for i, value in pairs]

    # ---- the model's own segments ----------------------------------------------------------------------------------
    @torch.inference_mode()
    def segment_map(self, encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
        """The model's own segments, whatever is asked: each pixel goes to its best mask.

        Returns:
            ids (H, W) int32, index of the mask, and how sure the mask is of the pixel, (H, W) float32 in 0..1.
        """
        self._check(encoded)
        query, sure = inference.top_class(encoded.mask_logits.sigmoid(), encoded.size)
        return query.cpu().numpy(), sure.cpu().numpy()

    @torch.inference_mode()
    def regions(self, encoded: Encoded, top: int = 3) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
        """`segment_map` with ids counted from 0, the biggest segment, and the `top` best known words of each."""
        top = whole(top, "The number of words", 1, 1_000_000)
        ids, sure = self.segment_map(encoded)
        areas = np.bincount(ids.ravel(), minlength=len(encoded.mask_logits))
        order = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]
        place = np.zeros(len(areas), np.int32)
        place[order] = np.arange(len(order))
        probabilities = encoded.known_logits[: len(areas)].softmax(1)  # (N, V)
        words = [[word["phrase"] for word in self._best_words(probabilities[i], top)] for i in order.tolist()]
        return place[ids], sure, words

    def info(self) -> dict:
        """What these weights are, as plain data."""
        config = self.model.config
        kinds: dict[str, int] = {}
        for word in self.words:
            kinds[word.get("kind", "word")] = kinds.get(word.get("kind", "word"), 0) + 1
        return {
            "weights": self.name,
            "device": str(self.device),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "backbone": config.backbone.get("backbone") or config.backbone["model_type"],
            "image_size": config.image_size,
            "queries": config.num_queries,
            "mask_feature": config.mask_feature,
            "embed_dim": config.embed_dim,
            "text_layers": config.text_layers,
            "combine": self.combine,
            "prompt": self.prompt,
            "temperature": float(1 / self.model.use_scale),
            "known_phrases": len(self.vocabulary.known_texts),
            "known_kinds": kinds,
        }
