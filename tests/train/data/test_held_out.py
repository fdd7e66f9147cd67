"""Words kept from training: the shipped list, its plurals, and captions without them."""

import re

import pytest

from sseg.errors import SSegError
from train.data.held_out import SYNONYMS, held_out, read_groups, without
from train.evaluation.datasets.coco_classes import THINGS
from train.evaluation.datasets.voc import CLASSES

PLACES = set(
    "wall floor ceiling window sky lamp cabinet curtain tree picture countertop building sink door road mirror bed "
    "mountain pillow stove towel chair toilet plant shelf microwave table rug fence flowers sea oven refrigerator "
    "field water sign stairs desk wardrobe books column ground rock bottle box screen grass basket bookcase "
    "railing".split()
)
PAIRS = {unseen: known for group in read_groups().values() for unseen, known in group.items()}


def test_the_shipped_list_is_long_and_simple():
    assert len(PAIRS) >= 70 and set(read_groups()) >= {"people", "animals", "vehicles", "surroundings", "food"}
    assert all(re.fullmatch(r"[a-z]+( [a-z]+)?", word) for word in (*PAIRS, *PAIRS.values()))
    assert not set(PAIRS) & set(PAIRS.values())  # a word is unseen or known, never both


def test_no_class_and_no_plain_word_for_people_is_unseen():
    seen = {*CLASSES, *THINGS, *PLACES, "man", "woman", "boy", "girl", "child", "people"}
    assert len(PLACES) == 50 and not held_out() & seen


def test_known_words_are_left_alone_by_the_plurals_of_the_unseen_ones():
    assert all(without(known, held_out()) == known for known in PAIRS.values())


def test_plurals_are_held_out_too(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("some:\n  puppy: dog\n  calf: cow\nmore:\n  coffee table: table\n  gentleman: man\n")
    assert held_out(path) == {"puppy", "puppies", "calf", "calves", "coffee table", "coffee tables", "gentleman",
                              "gentlemen"}  # fmt: skip
    assert {"kitten", "kittens", "bunk bed", "bunk beds", "ladies", "minibuses"} <= held_out(SYNONYMS)


@pytest.mark.parametrize(("caption", "rest"), [
    ("A puppy runs with two dogs .", "A runs with two dogs."),
    ("Two Puppies, asleep", "Two, asleep"),
    ("puppy, a cat", "a cat"),
    ("the puppy's tail", "the tail"),
    ("the puppies' bowl", "the bowl"),
    ("a mountain-bike on a motorbike", "a mountain on a motorbike"),
    ("a bike-rider", "a rider"),
    ("cups on a coffee  table and a coffee-table by a table", "cups on a and a by a table"),
    ("a cat, a puppy, a bike", "a cat, a, a"),
    ("puppies", ""),
    ("nothing  of these -", "nothing  of these -"),
])  # fmt: skip
def test_words_leave_a_caption_and_the_rest_stays(caption, rest):
    held = {"puppy", "puppies", "bike", "bikes", "coffee table"}
    assert without(caption, held) == rest and without(caption, set()) == caption


@pytest.mark.parametrize(("text", "words"), [
    (None, "missing"), ("- puppy\n", "groups of words"), ("some: [puppy]\n", "groups of words"),
    ("", "groups of words"),
    ("some:\n  puppy: 3\n", "groups of words"), ("a:\n  puppy: dog\nb:\n  puppy: cat\n", "in two groups"),
    ("a: {\n", "not YAML"),
])  # fmt: skip
def test_lists_of_another_form_are_one_sentence(tmp_path, text, words):
    path = tmp_path / "words.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SSegError, match=words):
        held_out(path)
