"""encode(picture) -> ask(phrases) -> Segmentation."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from tokenizers.models import WordLevel
from torch import Tensor

from sseg import images, inference
from sseg.arguments import of_type, whole
from sseg.cost import check_seen
from sseg.errors import SSegError
from sseg.features.pixels import PixelFeatures
from sseg.outlines import colours, soft_follow
from sseg.phrases import content_words, key, parse, synonyms_of, words_of
from sseg.pseudo_masks import pseudo_masks
from sseg.segmentation import Segmentation
from sseg.slips import slips
from sseg.surroundings import BACKGROUND, lift
from sseg.text import tokenize
from sseg.threshold import check_background

CACHED_TEXTS = 8192
LONG_SIDES = (64, 4096)  # pixels at which a picture may be looked at
MAX_WINDOWS_SIDE = 8
WINDOW_BATCH = 4
TEXT_BATCH = 256
_COLOURS = PixelFeatures()  # what masks are evened out by


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


class Segmenter:
    """A model with its words. Asking changes nothing but a locked cache, so threads may share one."""

    def __init__(self, model, tokenizer, words=(), name="", combine: str | None = None, prompt: str | None = None):
        """`words`: what the weights were trained on, entries with "text" (vocabulary.json); may be empty."""
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.words = list(words)
        self.combine = combine or model.config.combine
        self.prompt = prompt or model.config.prompt
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def long_side(self) -> int:
        """Longer side, in pixels, at which the weights see a picture."""
        return self.model.config.image_size

    @property
    def background(self) -> float:
        """The weights' own threshold, 0..1: a score below is nothing that was asked for."""
        return self.model.config.background

    def __call__(self, image, phrases, background: float | None = None, competitors: bool = True) -> Segmentation:
        """Encode and ask in one step."""
        return self.ask(self.encode(image), phrases, background, competitors)

    # ---- pictures ------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def encode(self, image, *, sliding: bool = False, long_side: int | None = None) -> Encoded:
        """Run the picture through the model, once for all questions: in every view that the weights want.

        Args:
            image: what `images.read` takes; over 16 megapixels it is scaled down, labels then have that size.
            sliding: look once, through overlapping square windows at up to twice the resolution, never beyond the
                picture's own: finds smaller things, takes several times longer.
            long_side: longer side for the model instead of the weights' own, 64 to 4096.

        Raises:
            SSegError: not a picture, a side outside of that, or more pixels in all views than `sseg.cost` allows.
        """
        if long_side is not None:
            long_side = whole(long_side, "The long side", *LONG_SIDES)
        rgb = images.read(image)
        side = long_side or self.long_side
        views = [self._encode_windows(rgb, side)] if sliding else self._encode_views(rgb, side)
        own = views[0][0]
        weights = [inference.mask_weights(masks, self.combine) / len(views) for masks, _ in views]
        weights = torch.cat([inference.upsample(one, own.shape[1:]) for one in weights])
        embeddings = torch.cat([found for _, found in views])
        return self.encoded(own, weights, embeddings, rgb.shape[:2])

    def encoded(self, own: Tensor, weights: Tensor, embeddings: Tensor, size: tuple[int, int]) -> Encoded:
        """What questions need of masks that are there already: `Encoded`'s mask logits, weights and embeddings."""
        known, _ = self.logits(embeddings, self._known_texts, self._known_embeddings)
        return Encoded(own, weights, embeddings, known, size)

    def _encode_views(self, rgb, side) -> list[tuple[Tensor, Tensor]]:
        """Mask logits and embeddings of the picture at each scale, as it is and, where wanted, mirrored."""
        views, mirrored = [], self.model.config.mirrored
        sizes = [inference.target_size(*rgb.shape[:2], round(scale * side)) for scale in self.model.config.scales]
        check_seen(sizes * (1 + mirrored), side)
        for size in sizes:
            pixels = inference.resize(rgb, size, self.device)
            masks, embeddings = self.run(torch.cat([pixels, pixels.flip(3)]) if mirrored else pixels)
            views.append((masks[0], embeddings[0]))
            if mirrored:
                views.append((masks[1].flip(2), embeddings[1]))
        return views

    @torch.inference_mode()
    def run(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (B, N, h / s, w / s), s = `mask_stride`, and embeddings (B, N, E) of pictures (B, 3, h, w) uint8,
        sides multiples of 32: the model's, evened out where the weights say so."""
        config = self.model.config
        pixel_values = inference.normalise(pixels, config.pixel_mean, config.pixel_std)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            out = self.model.encode_image(pixel_values)
        return self.refined(pixels, out.mask_logits.float()), out.mask_embeddings.float()

    def refined(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Mask logits (B, N, h, w) of these pictures made finer, where the weights say so: evened out over clusters of
        colour, or following the picture's colours, then at a multiple of h and w."""
        if self.model.config.outlines:
            fine = [soft_follow(one.sigmoid(), colours(picture, masks.shape[2:]))
                    for one, picture in zip(masks, pixels, strict=True)]  # fmt: skip
            return torch.logit(torch.stack(fine), eps=1e-4)
        k = self.model.config.refine_clusters
        if not k:
            return masks
        clusters = pseudo_masks(pixels, _COLOURS, k, masks.shape[2:], seeds=0)
        return torch.stack([inference.even_out(*one, k) for one in zip(masks, clusters, strict=True)])

    def _encode_windows(self, rgb, side):
        window = max(inference.STRIDE, round(side / inference.STRIDE) * inference.STRIDE)
        short, long = sorted(rgb.shape[:2])
        fine = min(max(short, window), 2 * window)  # for the short side
        scale = min(fine / short, MAX_WINDOWS_SIDE * window / long)
        size = tuple(max(window, round(edge * scale / inference.STRIDE) * inference.STRIDE) for edge in rgb.shape[:2])
        corners = inference.windows(*size, window, inference.STRIDE)  # whole cells of any encoder
        check_seen([(window, window)] * len(corners), side, " in sliding windows")
        pixels = inference.resize(rgb, size, self.device)
        crops = torch.cat([pixels[..., top : top + window, left : left + window] for top, left in corners])
        runs = [self.run(batch) for batch in crops.split(WINDOW_BATCH)]
        masks, embeddings = (torch.cat(parts) for parts in zip(*runs, strict=True))
        return inference.assemble(masks, corners, size, window // masks.shape[-1]), embeddings.flatten(0, 1)

    # ---- texts ---------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def embed(self, texts: list[str]) -> Tensor:
        """Embeddings (T, E) of unit length, each text put into the prompt; remembered by text."""
        texts = list(map(self._spelled, texts))
        with self._lock:
            found = {text: self._cache[text] for text in texts if text in self._cache}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        for start in range(0, len(new), TEXT_BATCH):
            batch = new[start : start + TEXT_BATCH]
            prompts = [self.prompt.replace("{}", text) for text in batch]
            ids, mask = tokenize(self.tokenizer, prompts, self.model.config.text_max_length)
            embedded = self.model.encode_text(ids.to(self.device), mask.to(self.device)).float()
            found.update(zip(batch, embedded.unbind(), strict=True))
        with self._lock:
            for text in dict.fromkeys(texts):
                self._cache[text] = found[text]
                self._cache.move_to_end(text)
            while len(self._cache) > CACHED_TEXTS:
                self._cache.popitem(last=False)
        return torch.stack([found[text] for text in texts])

    def _spelled(self, text: str) -> str:
        """The text with hyphens where the weights know them: "blue-tiled" is read as two words, "t-shirt" as it is."""
        if "-" not in text or not self.words:
            return text
        parts = (word if word.casefold() in self._hyphenated else word.replace("-", " ") for word in text.split())
        return " ".join(" ".join(parts).split()) or text

    @cached_property
    def _hyphenated(self) -> set[str]:
        return {part for word in self.words for part in word["text"].casefold().split() if "-" in part}

    @cached_property
    def _naming(self) -> list[dict]:
        return [word for word in self.words if word.get("kind") != "other"]

    @cached_property
    def _known_texts(self) -> list[str]:
        """What the weights can name; words of other kinds ("running", "brown") are known, but name nothing."""
        return list(dict.fromkeys(word["text"] for word in self._naming))

    @cached_property
    def _known_embeddings(self) -> Tensor:  # (V, E)
        if not self._known_texts:
            return torch.empty(0, self.model.config.embed_dim, device=self.device)
        return self.embed(self._known_texts)

    @cached_property
    def _known_places(self) -> dict[str, list[int]]:
        """Known text -> places in `_known_texts` of all that mean the same: it, its name and the name's synonyms, its
        kinds and its wider name."""
        index = {text: i for i, text in enumerate(self._known_texts)}
        wider = {word["text"]: word["wider"] for word in self._naming if "wider" in word}
        families: dict[str, set[int]] = {}
        for word in self._naming:
            families.setdefault(word.get("name", word["text"]), set()).add(index[word["text"]])
        places: dict[str, set[int]] = {}
        for word in self._naming:
            places.setdefault(key(word["text"]), set()).update(families[word.get("name", word["text"])])
        for kind, name in wider.items():  # a man is no rival of a person, nor a person of a man
            places.setdefault(key(name), set()).add(index[kind])
            if name in index:
                places[key(kind)].add(index[name])
        return {text: sorted(indices) for text, indices in places.items()}

    @cached_property
    def _known_words(self) -> set[str]:
        taught = [word[key] for word in self.words for key in ("text", "wider") if key in word]
        return set().union(*map(content_words, taught))

    def known(self, phrase: str) -> bool:
        """Whether at least one word that carries meaning occurred in training; True if nothing is recorded."""
        of_type(phrase, str, "A phrase is a text")
        return not self.words or bool(content_words(phrase) & self._known_words)

    @torch.inference_mode()
    def nearest(self, phrase: str, n: int = 3) -> list[tuple[str, float]]:
        """The `n` known texts nearest to a phrase, each with the cosine (-1..1) of the two texts' embeddings.

        First those that the phrase may be a slip of the pen for, then by meaning; of a phrase without any word that the
        text tower can read, the slips alone. Synonyms ("lorry|truck") count as the nearest of them does.
        """
        of_type(phrase, str, "A phrase is a text")
        n = whole(n, "The number of words", 1, 1_000_000)
        if not self._known_texts:
            return []
        parts = synonyms_of(phrase) or [phrase]
        cosines = (self._known_embeddings @ self.embed(parts).T).amax(1)  # (V,)
        places = {text: i for i, text in enumerate(self._known_texts)}
        first = [places[text] for text in self.slips(phrase)]
        legible = not self._whole_words or any(self._read_whole(word) for word in words_of(phrase))
        order = cosines.argsort(descending=True)[: 2 * n].tolist() if legible else []
        chosen = list(dict.fromkeys([*first, *order]))[:n]
        return [(self._known_texts[i], float(cosines[i])) for i in chosen]

    @property
    def knows_unseen(self) -> bool:
        """Whether words that no caption held mean something to the weights: they were given vectors of such words."""
        return self.model.config.text_tower == "words"

    def read_as(self, text: str) -> str:
        """The text in known words: an unseen word gives way to the known one that it is read as by more than half
        ("lorry": "truck")."""
        if not (self._whole_words and self.knows_unseen):
            return text
        return " ".join(self._stands_for.get(word, word) for word in words_of(text))

    @cached_property
    def _stands_for(self) -> dict[str, str]:
        """Unseen word -> the known word that it is read as by more than half."""
        tower = self.model.text_tower
        share, place = tower.nearness.max(1)
        known = tower.nearest.gather(1, place[:, None])[:, 0].tolist()
        words = self.tokenizer.convert_ids_to_tokens(range(len(self.tokenizer)))
        return {words[tower.known + i]: words[known[i]] for i in (share > 0.5).nonzero()[:, 0].tolist()}

    def slips(self, phrase: str) -> list[str]:
        """Known texts that a word of the phrase may be a slip of the pen for ("grsas": grass), the most alike first.

        A word that the tokenizer has as a whole is none.
        """
        odd = [word for word in words_of(phrase) if content_words(word) and not self._read_whole(word)]
        return list(dict.fromkeys(known for word in odd for known in slips(word, self._known_texts)))

    @cached_property
    def _whole_words(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return backend is not None and isinstance(backend.model, WordLevel)

    def _read_whole(self, word: str) -> bool:
        """Whether the tokenizer has the word itself, neither its pieces nor an "unknown" in its place."""
        return self._whole_words and self.tokenizer.backend_tokenizer.token_to_id(word) is not None

    # ---- questions -----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def ask(
        self, encoded: Encoded, phrases, background: float | None = None, competitors: bool = True
    ) -> Segmentation:
        """Where is what? The picture does not run through the model again.

        Args:
            encoded: from `encode`.
            phrases: "a dog, grass, person|man|woman", or a list with a phrase a class (see `phrases.parse`).
            background: a pixel whose best score is below becomes background, 0..1; None: the weights' own.
            competitors: let the weights' other known words compete, so that one word does not fill the picture.

        Raises:
            SSegError: no phrases, too many or too long ones, a threshold outside 0..1, or what other weights encoded.
        """
        self._check(encoded)
        background = check_background(self.background if background is None else background)
        classes = parse(phrases)
        texts_of = self.with_kinds([one.synonyms for one in classes])
        texts = [text for one in texts_of for text in one]
        owners = None  # each text is a class
        if len(texts) > len(classes):
            owners = torch.tensor([i for i, one in enumerate(texts_of) for _ in one], device=self.device)
        embeddings = self.embed(texts)
        logits, nearest = self.logits(encoded.mask_embeddings, texts, embeddings, owners)
        if competitors:
            logits = torch.cat([logits, self._rival_logits(encoded, texts, embeddings)], 1)  # (N, C + V)
        probabilities = logits.softmax(1)[:, : len(classes)]  # (N, C)
        weights = encoded.mask_weights
        scores = inference.combine_scores(weights, probabilities)
        if competitors:
            scores = inference.contrast(scores, self.model.config.contrast)
        shares = weights.mean((1, 2))[:, None] * probabilities
        counts = torch.zeros(len(texts), device=self.device).index_add(0, nearest.flatten(), shares.flatten())
        counts = dict(zip(texts, counts.tolist(), strict=True))
        return Segmentation(
            phrases=[one.text for one in classes],
            winners=[max(one.synonyms, key=counts.get) for one in classes],
            known=[any(self.known(text) for text in one.synonyms) for one in classes],
            size=encoded.size,
            background=background,
            weights=self.name,
            coarse_scores=scores,
            words_at=lambda x, y, n: self._words_at(encoded, x, y, n),
        )

    def _check(self, encoded) -> None:
        of_type(encoded, Encoded, "What is asked about is what encode(picture) gave")
        widths = encoded.mask_embeddings.shape[1], encoded.known_logits.shape[1]
        if widths != (self.model.config.embed_dim, len(self._known_texts)):
            raise SSegError("The picture was encoded by other weights: encode it with these.")

    def with_kinds(self, asked: list[tuple[str, ...]]) -> list[list[str]]:
        """The texts of each class and their kinds that nobody asked for by name: "person" is also man, woman, boy."""
        named = {key(text) for texts in asked for text in texts}
        read = [[key(self.read_as(text)) for text in texts] for texts in asked]
        kinds = [[kind for text in texts for kind in self._kinds.get(text, ())] for texts in read]
        return [[*texts, *(kind for kind in dict.fromkeys(more) if key(kind) not in named)]
                for texts, more in zip(asked, kinds, strict=True)]  # fmt: skip

    @cached_property
    def _kinds(self) -> dict[str, list[str]]:
        """Known text -> its known kinds and parts (entries of vocabulary.json with "wider")."""
        kinds: dict[str, list[str]] = {}
        for word in self._naming:
            if "wider" in word:
                kinds.setdefault(key(word["wider"]), []).append(word["text"])
        return kinds

    def logits(self, masks: Tensor, texts: list[str], embeddings: Tensor, owners: Tensor | None = None):
        """Logits (M, C) of masks (M, E) and classes, and which text won each (`inference.class_logits`).

        Scaled cosines, less what each text fits on average (`SSegModel.offsets`); words for surroundings are raised by
        what the background has (`sseg.surroundings`).

        Args:
            texts, embeddings: T texts and their embeddings (T, E).
            owners: (T,) the class of each text; None: each is its own.
        """
        offsets = self.model.offsets(embeddings)  # (T,)
        raised = [bool(content_words(text) & self._surroundings) for text in texts] if self._surroundings else [False]
        if any(raised):
            offsets = offsets - self._lift(masks)[:, None] * torch.tensor(raised, device=masks.device)  # (M, T)
        return inference.class_logits(masks, embeddings, self.model.use_scale, owners, offsets)

    def _lift(self, masks: Tensor) -> Tensor:
        """What the background raises words for surroundings by: (M, E) -> (M,)."""
        known = [word["text"] for word in self._naming if word.get("kind") == "surroundings"]
        embeddings = self.embed([BACKGROUND, *known])
        logits, _ = inference.class_logits(masks, embeddings, self.model.use_scale,
                                           offsets=self.model.offsets(embeddings))  # fmt: skip
        return lift(logits[:, 0], logits[:, 1:])

    @cached_property
    def _surroundings(self) -> set[str]:
        """Content words of the known texts for surroundings; empty for weights that tell none apart."""
        texts = [word["text"] for word in self._naming if word.get("kind") == "surroundings"]
        return set().union(*map(content_words, texts))

    def _rival_logits(self, encoded: Encoded, texts: list[str], embeddings: Tensor) -> Tensor:
        """Logits (N, V) of the known texts; minus infinity for those that mean one of the asked ones."""
        same = (embeddings @ self._known_embeddings.T).amax(0) > self.model.config.too_close  # (V,)
        read = [key(self.read_as(text)) for text in texts]
        same[[i for text in read for i in self._known_places.get(text, ())]] = True
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
        return [{"phrase": self._known_texts[i], "score": value} for i, value in pairs]

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

    def name_segments(self, encoded: Encoded, top: int = 3) -> list[dict]:
        """The segments of `segment_map`, biggest first: {"id", "words": the `top` best known texts, "scores", "area"};
        area is a share of the picture."""
        return self._name(encoded, self.segment_map(encoded)[0], top)

    def regions(self, encoded: Encoded, top: int = 3) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
        """For a viewer: `segment_map` with ids counted from 0, the biggest segment, and the best words of each."""
        query, sure = self.segment_map(encoded)
        segments = self._name(encoded, query, top)
        place = np.zeros(len(encoded.mask_logits), np.int32)
        place[[segment["id"] for segment in segments]] = np.arange(len(segments))
        return place[query], sure, [segment["words"] for segment in segments]

    @torch.inference_mode()
    def _name(self, encoded: Encoded, query: np.ndarray, top: int) -> list[dict]:
        top = whole(top, "The number of words", 1, 1_000_000)
        probabilities = encoded.known_logits[: len(encoded.mask_logits)].softmax(1)  # (N, V)
        areas = np.bincount(query.ravel(), minlength=len(probabilities)) / query.size
        segments = []
        for i in np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)].tolist():
            best = self._best_words(probabilities[i], top)
            words, scores = [word["phrase"] for word in best], [word["score"] for word in best]
            segments.append({"id": i, "words": words, "scores": scores, "area": float(areas[i])})
        return segments

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
            "known_phrases": len(self._known_texts),
            "known_kinds": kinds,
        }
