"""What the tabs ask of a segmenter: one network at a time, pictures remembered, answers as plain data.

Questions about a picture that has been read have a thread of their own, and never wait for a network.

Pictures are held outside Gradio's session state, by the hash of their file and its name: sessions live for an hour
after a tab closes, and an example that two people look at is encoded once. Whoever has the same picture under another
name learns nothing of the first one's.
"""

import base64
import hashlib
import io
import itertools
import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import sseg
from sseg import checkpoint, images
from sseg.app.components.viewer import pack_ids
from sseg.errors import SSegError
from sseg.phrases import key, parse, synonyms_of

VIEW_PIXELS = 2_000_000  # bigger pictures are scaled down to this: the page repaints every pixel while a slider moves
HELD_BYTES = 512 << 20  # encoded pictures kept in memory
HELD_ANSWERS = 32
HEAT_SIDE = 256  # the longer side of a heat map; the page scales it up smoothly
NAMES_PER_REGION = 3
MOST_UNSEEN = 3  # words that no caption held, up to which the page says what is near each
MOST_NEAR = 3
NEAR = 0.4  # cosine of two texts from which one is said to be near the other
ASK = "These weights find nothing here that they know by themselves. Type what you see: answers come at once."
PROPOSED = "Words that these weights know and find here. Take out what is wrong, add what is missing."


@dataclass
class Held:
    """One picture, encoded by some weights."""

    key: str
    name: str
    weights: str
    rgb: np.ndarray  # (H, W, 3) uint8
    encoded: object
    full_size: tuple[int, int]  # (H, W) of the picture upright, before it was scaled down
    seconds: float  # that encoding took
    suggested: list[str] | None = None  # known phrases that are found here; None: nobody has looked yet

    @property
    def nbytes(self):
        return self.rgb.nbytes + self.encoded.nbytes


def check_words(words):
    """SSegError for words that cannot be asked, before anything is computed."""
    if not words or not str(words).strip(" ,;|\n"):
        raise SSegError("Type what should be found, for example: dog, grass, sky.")
    parse(words)


def image_key(path) -> str:
    """Name of a picture for the questions that follow: a hash of its file and of the file's name."""
    try:
        content = Path(path).read_bytes()
        return hashlib.blake2b(content, digest_size=12, key=_name_hash(path)).hexdigest()
    except OSError as error:
        raise SSegError("The picture file is gone: choose it again.") from error


def _name_hash(path) -> bytes:
    return hashlib.blake2b(os.fsencode(Path(path).name)).digest()


def data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _note(held, asking, again):
    """One line about a run, in milliseconds. again: the visitor's own last question was about this picture; to others
    it must not tell whether somebody had it before."""
    height, width = held.rgb.shape[:2]
    size = f"{width} × {height} pixels"
    if held.full_size != (height, width):
        size += ", scaled down from {} × {}".format(*held.full_size[::-1])
    took = "words only," if again else f"picture {1000 * held.seconds:.0f} ms, words"
    return f"{size} · {took} {1000 * asking:.0f} ms"


class Recent(OrderedDict):
    """The most recently used values, as many as `fits` says; safe to use from several threads."""

    def __init__(self, fits):
        super().__init__()
        self.fits, self.lock = fits, threading.Lock()

    def find(self, key):
        with self.lock:
            if key in self:
                self.move_to_end(key)
            return self.get(key)

    def keep(self, key, value):
        with self.lock:
            self[key] = value
            self.move_to_end(key)
            while len(self) > 1 and not self.fits(self.values()):
                self.popitem(last=False)


class Service:
    """The models behind the page. What reads a picture goes through `submit`, one thread; what asks about one that has
    been read through `quick`, another.

    `live`: name of the weights that the page began with; the bundled ones can be chosen instead.
    """

    def __init__(self, segmenter, live: str = ""):
        self.segmenter, self.live = segmenter, live or segmenter.name
        self._loaded = {self.live: segmenter}
        self._pool = ThreadPoolExecutor(1, "model")
        self._asking = ThreadPoolExecutor(1, "asking")
        self._held = Recent(lambda held: sum(one.nbytes for one in held) <= HELD_BYTES)
        self._runs = itertools.count()
        self._answers = Recent(lambda answers: len(answers) <= HELD_ANSWERS)

    def submit(self, work, *args, **kw):
        return self._pool.submit(work, *args, **kw)

    def call(self, work, *args, **kw):
        return self.submit(work, *args, **kw).result()

    def quick(self, work, *args, **kw):
        return self._asking.submit(work, *args, **kw)

    def ask_now(self, work, *args, **kw):
        return self.quick(work, *args, **kw).result()

    def lane(self, path, weights: str | None = None):
        """Where a question about a picture file goes: `quick` if the picture is held, else `submit`."""
        return self.quick if path and self._held.find(self._key(path, weights or self.live)) else self.submit

    @property
    def names(self) -> list[str]:
        """Weights that answer to free words: the live ones and those that are bundled."""
        return list(dict.fromkeys([self.live, *checkpoint.bundled()]))

    def loaded(self, name: str):
        """The weights of that name, loaded once; the caller says which names are allowed."""
        if name not in self._loaded:
            self._loaded[name] = sseg.load(name, self.segmenter.device)
        return self._loaded[name]

    # ---- pictures and answers: called in one of the threads -----------------------------------------------------
    def hold(self, path, at_stage=lambda stage: None, weights: str | None = None) -> Held:
        """The encoded picture of a file, from memory if it is held already.

        SSegError for weights that are not in `names`: a page must not load what strangers type.
        """
        if not path:
            raise SSegError("There is no picture yet: drop one, paste one, or pick an example.")
        weights = weights or self.live
        if weights not in self.names:
            raise SSegError(f'"{weights}" are no weights of this page: choose one of {", ".join(self.names)}.')
        at_stage("Reading the picture")
        key = self._key(path, weights)
        held = self._held.find(key)
        if held:
            return held
        rgb, full = images.read_sized(path, max_pixels=VIEW_PIXELS)
        at_stage("Finding regions")
        start = time.perf_counter()
        encoded = self.loaded(weights).encode(rgb)
        seconds = time.perf_counter() - start
        held = Held(key, Path(path).name, weights, rgb, encoded, full, seconds)
        self._held.keep(key, held)
        return held

    def _key(self, path, weights):
        return image_key(path) if weights == self.live else f"{image_key(path)}-{weights}"

    def find(self, key) -> Held:
        held = self._held.find(str(key))
        if held is None:
            raise SSegError("This picture is no longer in memory: segment it again.")
        return held

    def answer(self, held: Held, words: str):
        """Segmentation of a held picture without a threshold: every pixel goes to its best phrase."""
        question = (held.key, words)
        result = self._answers.find(question)
        if result is None:
            check_words(words)
            result = self.loaded(held.weights).ask(held.encoded, words, background=0.0)
            self._answers.keep(question, result)
        return result

    def answer_at(self, held: Held, words: str, background=None):
        """The same with a threshold, None for the weights' own."""
        own = self.loaded(held.weights).background
        return self.answer(held, words).at(own if background is None else background)

    # ---- what the page shows -------------------------------------------------------------------------------------
    def segment(self, path, words, background=None, weights=None, last="", at_stage=lambda stage: None):
        """Viewer data and JSON of a picture file; see `report`. background: None for the weights' own; last: key of the
        picture that the visitor asked about before."""
        check_words(words)
        held = self.hold(path, at_stage, weights)
        at_stage("Naming regions")
        return self.show(held, words, background, again=held.key == last)

    def look(self, path, weights=None, at_stage=lambda stage: None):
        """Viewer data of a picture that nothing has been asked about yet: it is encoded, so that words are quick."""
        held = self.hold(path, at_stage, weights)
        nothing = np.zeros(held.rgb.shape[:2])
        return self._view(held, "", self.loaded(held.weights).background, pack_ids(nothing, nothing), [], ASK)

    def propose(self, path, weights=None, last="", at_stage=lambda stage: None):
        """Words for a picture file that the weights find by themselves, and what `segment` says of these; without any,
        the picture alone, and None."""
        held = self.hold(path, at_stage, weights)
        at_stage("Finding words")
        words = ", ".join(self.suggestions(held))
        if not words:
            return words, self.look(path, weights), None
        view, report = self.show(held, words, None, again=held.key == last)
        return words, {**view, "note": PROPOSED}, report

    def suggestions(self, held: Held) -> list[str]:
        """What the weights find in a held picture by themselves, best first."""
        if held.suggested is None:
            held.suggested = [one["phrase"] for one in self.loaded(held.weights).suggest(held.encoded)]
        return held.suggested

    def also(self, held: Held, phrases) -> list[str]:
        """Of those, what has not been asked for."""
        asked = {key(text) for phrase in phrases for text in synonyms_of(phrase)}
        return [text for text in self.suggestions(held) if key(text) not in asked]

    def ask(self, key, words, background=None):
        """The same for a picture that is held already."""
        return self.show(self.find(key), words, background, again=True)

    def show(self, held, words, background, again):
        start = time.perf_counter()
        result = self.answer(held, words)
        note = _note(held, time.perf_counter() - start, again)
        report = self.report(held, words, background)
        mask = pack_ids(result.best + 1, result.confidence)
        view = self._view(held, words, report["background"], mask, self._segments(held, result), note)
        return {**view, "also": self.also(held, result.phrases)}, report

    def _segments(self, held, result) -> list[dict]:
        """What the legend says of each phrase; of few unseen words also what is near them."""
        colors = images.colors_of(result.phrases).tolist()
        few = result.known.count(False) <= MOST_UNSEEN
        columns = zip(result.phrases, colors, result.known, result.winners, strict=True)
        return [
            {"id": i + 1, "phrase": phrase, "color": color, "known": known, "winner": winner,
             "near": [] if known or not few else self._near(held, phrase)}
            for i, (phrase, color, known, winner) in enumerate(columns)
        ]  # fmt: skip

    def _near(self, held, phrase) -> list[dict]:
        """Known texts near an unseen phrase: {"phrase", "similarity" -1..1, "slip": typed by a slip of the pen?}.

        Slips alone where the weights cannot know what a word means that no caption held.
        """
        segmenter = self.loaded(held.weights)
        slips, means = segmenter.slips(phrase), segmenter.knows_unseen
        near = [{"phrase": text, "similarity": similarity, "slip": text in slips}
                for text, similarity in segmenter.nearest(phrase, MOST_NEAR)]  # fmt: skip
        return [one for one in near if one["slip"] or (means and one["similarity"] >= NEAR)]

    def _view(self, held, words, background, mask, segments, note):
        return {
            "image": Image.fromarray(held.rgb),
            "mask": mask,
            "segments": segments,
            "also": [],
            "key": held.key,
            "words": words,
            "background": background,
            "name": held.name,
            "weights": held.weights,
            "note": note,
            "run": next(self._runs),
        }

    def report(self, held, words, background) -> dict:
        """The answer at a threshold, None for the weights' own, as JSON: what `Segmentation.to_json` says, with the
        picture's key and name."""
        result = self.answer_at(held, words, background)
        return {"picture": held.key, "name": held.name, "full_size": list(held.full_size), **result.to_json()}

    def explain(self, key, words, x, y, n=5) -> dict:
        """The `n` best phrases at pixel (x, y), with scores and the margin between the first two."""
        return self.answer(self.find(key), words).explain(int(x), int(y), n)

    def heat(self, key, words, id) -> dict:
        """Score map of one phrase as a grey picture, scaled so that 255 is `high`."""
        result = self.answer(self.find(key), words)
        if not 1 <= int(id) <= len(result.phrases):
            raise SSegError(f"There is no phrase number {id}.")
        scores = result.score_map(int(id) - 1)  # (H, W)
        high = float(scores.max())
        gray = Image.fromarray((scores / max(high, 1e-6) * 255).round().astype(np.uint8))
        gray.thumbnail((HEAT_SIDE, HEAT_SIDE))
        return {"map": data_url(gray), "high": high}

    def unnamed(self, key) -> dict:
        """The model's own regions as an id picture, each with the words that it knows best for it."""
        held = self.find(key)
        ids, confidence, words = self.loaded(held.weights).regions(held.encoded, NAMES_PER_REGION)
        colors = images.colors(len(words)).tolist()
        segments = [
            {"id": i + 1, "phrase": ", ".join(best) or f"region {i + 1}", "color": colors[i]}
            for i, best in enumerate(words)
        ]
        return {"mask": data_url(pack_ids(ids + 1, confidence)), "segments": segments}
