"""What weights know of words: embeddings of phrases, and how a phrase relates to the texts of the training captions."""

import threading
from collections import OrderedDict
from functools import cached_property

import torch
from tokenizers.models import WordLevel
from torch import Tensor

from sseg.arguments import of_type, whole
from sseg.models.text import tokenize
from sseg.phrases import content_words, key, synonyms_of, words_of
from sseg.slips import slips

CACHED_TEXTS = 8192
TEXT_BATCH = 256


class Vocabulary:
    """The text tower with its words. It changes nothing but a locked cache, so threads may share one.

    `words`: what the weights were trained on, entries with "text" (vocabulary.json); may be empty.
    """

    def __init__(self, model, tokenizer, words=(), prompt: str = "{}"):
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        self.words = list(words)
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    # ---- embeddings ------------------------------------------------------------------------------------------------
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
            embedded = self.model.encode_text(ids.to(self.model.device), mask.to(self.model.device)).float()
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
    def naming(self) -> list[dict]:
        """The entries of words that name something."""
        return [word for word in self.words if word.get("kind") != "other"]

    @cached_property
    def known_texts(self) -> list[str]:
        """What the weights can name; words of other kinds ("running", "brown") are known, but name nothing."""
        return list(dict.fromkeys(word["text"] for word in self.naming))

    @cached_property
    def known_embeddings(self) -> Tensor:
        """(V, E), of `known_texts`."""
        if not self.known_texts:
            return torch.empty(0, self.model.config.embed_dim, device=self.model.device)
        return self.embed(self.known_texts)

    @cached_property
    def known_places(self) -> dict[str, list[int]]:
        """Known text -> places in `known_texts` of all that mean the same: it, its name and the name's synonyms, its
        kinds and its wider name."""
        index = {text: i for i, text in enumerate(self.known_texts)}
        wider = {word["text"]: word["wider"] for word in self.naming if "wider" in word}
        families: dict[str, set[int]] = {}
        for word in self.naming:
            families.setdefault(word.get("name", word["text"]), set()).add(index[word["text"]])
        places: dict[str, set[int]] = {}
        for word in self.naming:
            places.setdefault(key(word["text"]), set()).update(families[word.get("name", word["text"])])
        for kind, name in wider.items():  # a man is no distractor of a person, nor a person of a man
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
        if not self.known_texts:
            return []
        parts = synonyms_of(phrase) or [phrase]
        cosines = (self.known_embeddings @ self.embed(parts).T).amax(1)  # (V,)
        places = {text: i for i, text in enumerate(self.known_texts)}
        first = [places[text] for text in self.slips(phrase)]
        legible = not self._whole_words or any(self._read_whole(word) for word in words_of(phrase))
        order = cosines.argsort(descending=True)[: 2 * n].tolist() if legible else []
        chosen = list(dict.fromkeys([*first, *order]))[:n]
        return [(self.known_texts[i], float(cosines[i])) for i in chosen]

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
        return list(dict.fromkeys(known for word in odd for known in slips(word, self.known_texts)))

    @cached_property
    def _whole_words(self) -> bool:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        return backend is not None and isinstance(backend.model, WordLevel)

    def _read_whole(self, word: str) -> bool:
        """Whether the tokenizer has the word itself, neither its pieces nor an "unknown" in its place."""
        return self._whole_words and self.tokenizer.backend_tokenizer.token_to_id(word) is not None

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
        for word in self.naming:
            if "wider" in word:
                kinds.setdefault(key(word["wider"]), []).append(word["text"])
        return kinds

    @cached_property
    def surroundings(self) -> set[str]:
        """Content words of the known texts for surroundings; empty for weights that tell none apart."""
        texts = [word["text"] for word in self.naming if word.get("kind") == "surroundings"]
        return set().union(*map(content_words, texts))
