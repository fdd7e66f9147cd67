"""A target's categories beside a benchmark's classes, so that S-Seg and S-Seg+ answer the same question."""

from typing import NamedTuple

import numpy as np

from sseg.errors import SSegError
from sseg.phrases import key, parse
from train.data.targets import load_target


class Match(NamedTuple):
    """categories, in the order of predictions; predicted (C,): the class of each; true (K,): of each true class."""

    categories: list[str]
    predicted: np.ndarray
    true: np.ndarray


def match_target(name: str, benchmark) -> Match:
    """Which class of the benchmark each category is: the one that is among its synonyms, else the background.

    True classes that no category stands for are ignored. SSegError where the benchmark has no background or no class is
    a category.
    """
    if benchmark.background is None:
        raise SSegError(f"{benchmark.name} has no background, which --target needs: take voc-mini or coco-mini.")
    categories, classes = load_target(name).categories, {key(text): i for i, text in enumerate(benchmark.class_names)}
    predicted = np.full(len(categories), benchmark.background, np.int32)
    true = np.full(len(classes), benchmark.ignore, np.int32)
    true[benchmark.background] = benchmark.background
    for number, category in enumerate(categories):
        for text in map(key, parse([category])[0].synonyms):
            if text in classes:
                predicted[number] = classes[text]
                true[classes[text]] = classes[text]
    if (predicted == benchmark.background).all():
        raise SSegError(f"No category of {name} is a class of {benchmark.name}: take a target that fits it.")
    return Match(categories, predicted, true)
