"""What the Compare tab asks: two answers about one picture, and what they differ in."""

import itertools
import time

import numpy as np
from PIL import Image

from sseg import checkpoint, images
from sseg.app.components.viewer import pack_ids
from sseg.app.service import Recent, Service, check_words
from sseg.comparison import Comparison, answer, compare
from sseg.errors import SSegError

HELD = 16  # encoded pictures of the weights that the other tabs do not use
MOST_FLIPS = 8


class ComparisonService:
    """Weights by the name that the tab shows; those that are live are the page's own."""

    def __init__(self, service: Service):
        self.service = service
        self._encoded = Recent(lambda held: len(held) <= HELD)
        self._runs = itertools.count()

    @property
    def names(self) -> list[str]:
        """All weights that can stand on a side: the live ones and those that are bundled."""
        return list(dict.fromkeys([*self.service.names, *self.students]))

    @property
    def students(self) -> list[str]:
        """Bundled S-Seg+ weights."""
        return list(checkpoint.bundled(checkpoint.PLUS))

    def student_of(self, name: str) -> str | None:
        """The bundled S-Seg+ that learned from these weights, else the one of that name, else the first one."""
        named = [one for one in self.students if one == f"{name}-plus"]
        return next(iter([*(one for one in self.students if _teacher(one) == name), *named, *self.students]), None)

    def teacher_of(self, name: str) -> str | None:
        """What should stand beside S-Seg+ of that name: its teacher, or the page's own weights; None for others."""
        if name not in self.students:
            return None
        return _teacher(name) if _teacher(name) in self.names else self.service.live

    def categories(self, *names: str) -> list[str] | None:
        """The categories of the last of these weights that has some."""
        found = [self.segmenter(name) for name in names]
        return next((one.categories for one in reversed(found) if one.categories), None)

    def segmenter(self, name: str):
        """The weights of that name. SSegError for others: a page must not load what strangers type."""
        if name not in self.names:
            raise SSegError(f'"{name}" cannot be compared here: choose one of {", ".join(self.names)}.')
        return self.service.loaded(name)

    def make(self, path, a, b, words, other_words, background, truth, at_stage=lambda stage: None):
        """Viewer data and JSON of a picture file.

        words, other_words: what A and B are asked for; empty: what the other is asked for, else the categories of
        S-Seg+.
        """
        own = self.categories(a, b)
        asked = [words or other_words or own, other_words or words or own]
        if asked[0] is None:
            raise SSegError("Neither side has categories of its own: type what should be found.")
        for one in asked:
            check_words(one)
        held = self.service.hold(path, at_stage)
        start, answers = time.perf_counter(), []
        for name, phrases in zip((a, b), asked, strict=True):
            at_stage(f"{name} is looking")
            answers.append(answer(self.segmenter(name), self._encode(held, name), phrases, float(background)))
        at_stage("Comparing")
        compared = compare(*answers, truth, held.full_size)
        report = {"picture": held.key, "name": held.name, "full_size": list(held.full_size), "a": a, "b": b}
        report |= compared.to_json()
        return self._view(held, compared, answers, report, time.perf_counter() - start), report

    def _encode(self, held, name):
        if name == self.service.live:
            return held.encoded
        found = self._encoded.find((held.key, name))
        if found is None:
            found = self.segmenter(name).encode(held.rgb)
            self._encoded.keep((held.key, name), found)
        return found

    def _view(self, held, compared: Comparison, answers, report, seconds) -> dict:
        colors = _colors(compared)
        signs = np.zeros(held.rgb.shape[:2], np.int8) if compared.corrections is None else compared.corrections
        height, width = held.full_size
        masks = [pack_ids(side + 1, one.confidence)
                 for side, one in zip((compared.a, compared.b), answers, strict=True)]  # fmt: skip
        return {
            "image": Image.fromarray(held.rgb),
            "mask_a": masks[0],
            "mask_b": masks[1],
            "corrections": pack_ids(signs % 3, np.zeros(signs.shape)),  # 1 mended, 2 broken
            "categories": [{"name": name, "color": color}
                           for name, color in zip(compared.categories, colors, strict=True)],
            "report": {**report, "flips": report["flips"][:MOST_FLIPS]},
            "note": f"{width} × {height} pixels · {1000 * seconds:.0f} ms",
            "run": next(self._runs),
        }  # fmt: skip


def _teacher(student: str) -> str:
    return checkpoint.read_json(checkpoint.resolve(student) / "config.json")["teacher"]


def _colors(compared: Comparison) -> list:
    """A colour for each category, its own if no bigger one has it, so that no two that occur look alike."""
    count = len(compared.categories)
    areas = sum(np.bincount(side[side >= 0].ravel(), minlength=count) for side in (compared.a, compared.b))
    colors = np.empty((count, 3), int)
    order = np.argsort(-areas, kind="stable")
    colors[order] = images.colors_of([compared.categories[place] for place in order])
    return colors.tolist()
