"""Targets of self-training beside benchmarks: the same question for S-Seg and S-Seg+."""

from types import SimpleNamespace

import numpy as np
import pytest

from sseg.errors import SSegError
from sseg.phrases import parse
from train.data.targets import load_target
from train.evaluation.datasets.voc import CLASSES
from train.evaluation.targets import match_target


def benchmark(names, background=None):
    return SimpleNamespace(name="some", class_names=list(names), background=background, ignore=-1)


def test_the_photograph_target_has_sixty_categories_that_share_no_word():
    categories = load_target("photographs").categories
    words = [text.casefold() for one in categories for text in parse([one])[0].synonyms]
    assert len(categories) >= 60 and len(words) == len(set(words))


def test_every_class_of_voc_is_a_category_and_the_others_are_its_background():
    match = match_target("photographs", benchmark(CLASSES, background=0))
    assert set(match.predicted) == set(range(21)) and np.array_equal(match.true, np.arange(21))
    by_word = {text: match.predicted[i] for i, one in enumerate(match.categories) for text in parse([one])[0].synonyms}
    assert by_word["woman"] == CLASSES.index("person") and by_word["sky"] == 0


def test_classes_of_one_category_count_as_the_first_and_without_background_the_others_are_a_miss():
    match = match_target("photographs", benchmark(["sea", "gargoyle", "water", "field", "grass"]))
    assert match.true.tolist() == [0, -1, 0, 3, 3]
    kinds = {one.split("|")[0]: int(match.predicted[i]) for i, one in enumerate(match.categories)}
    assert kinds["water"] == 0 and kinds["grass"] == 3 and kinds["dog"] == 5  # beyond the classes: a hit of none


def test_a_target_that_has_nothing_of_a_benchmark_is_one_sentence():
    with pytest.raises(SSegError, match="No category of photographs is a class of some"):
        match_target("photographs", benchmark(["gargoyle"]))
