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

    Classes that share a category count as the first of them; true classes that no category stands for are ignored.
    Without a background, a category that is no class is a miss. SSegError where no class is a category.
    """
    categories, classes = load_target(name).categories, {key(text): i for i, text in enumerate(benchmark.class_names)}
    other = len(classes) if benchmark.background is None else benchmark.background
    predicted = np.full(len(categories), other, np.int32)
    true = np.full(len(classes), benchmark.ignore, np.int32)
    if benchmark.background is not None:
        true[benchmark.background] = benchmark.background
    for number, category in enumerate(categories):
        texts = map(key, parse([category])[0].synonyms)
        own = sorted(classes[text] for text in texts if text in classes)
        predicted[number] = own[0] if own else other
        true[own] = predicted[number]
    if (predicted == other).all():
        raise SSegError(f"No category of {name} is a class of {benchmark.name}: take a target that fits it.")
    return Match(categories, predicted, true)
