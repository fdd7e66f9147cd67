"""WordNet's files: which words mean the same or more, and what that does to unseen words."""

import pytest
import torch

from sseg.errors import SSegError
from train.data.wordnet import Nouns
from train.word_vectors import said_by_wordnet

# Lines in the form of wndb(5WN): a peak is an extremum (attribute, not seen) first, then a mountain's top.
DATA = """\
  1 This software and database is being provided to you
00000100 05 n 01 animal 0 000 | a living organism that moves
00000200 05 n 02 dog 0 domestic_dog 0 002 @ 00000100 n 0000 ~ 00000300 n 0000 | a canine; "the dog barked"
00000300 05 n 02 puppy 0 pup 0 001 @ 00000200 n 0000 | a young dog on grass; "the toy barked"
00000400 05 n 01 house_cat 0 001 @ 00000100 n 0000 | it purrs
00000450 05 n 01 kitten 0 001 @ 00000400 n 0000 | young of a house cat
00000500 07 n 02 extremum 0 peak 0 000 | the most extreme degree
00000600 17 n 03 peak 0 crown 0 summit 0 000 | top of a mountain
"""
INDEX = """\
  1 This software and database is being provided to you
dog n 1 2 @ ~ 1 1 00000200
kitten n 1 1 @ 1 0 00000450
peak n 2 0 2 1 00000500 00000600
puppy n 1 1 @ 1 1 00000300
"""


@pytest.fixture
def nouns(tmp_path):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return Nouns(tmp_path)


def test_synonyms_come_without_steps_and_wider_names_with_theirs(nouns):
    assert list(nouns.meanings("puppy")) == [("pup", 0, 0), ("dog", 0, 1), ("dog", 0, 2), ("animal", 0, 2)]


def test_of_a_name_of_several_words_the_last_counts_a_step_further(nouns):
    assert ("cat", 0, 2) in nouns.meanings("kitten")


def test_what_no_photograph_shows_is_left_out(nouns):
    assert [word for word, _, _ in nouns.meanings("peak")] == ["crown", "summit"]
    assert list(nouns.meanings("unheard")) == [] == list(nouns.explained("unheard"))


def test_explanations_go_without_their_examples(nouns):
    assert [word for word, _ in nouns.explained("puppy")] == ["a", "young", "dog", "on", "grass"]
    assert ("mountain", 0) in nouns.explained("peak")


def test_a_folder_without_wordnet_is_one_sentence(tmp_path):
    with pytest.raises(SSegError, match="index.noun and data.noun"):
        Nouns(tmp_path)


def test_near_meanings_and_often_said_words_gain_most(nouns):
    words = ["dog", "pup", "animal", "grass", "young", "puppy", "peak"]
    gains = said_by_wordnet(words, 5, [1000, 1000, 1000, 1000, 1000], nouns).to_dense()
    assert gains.shape == (2, 5)
    pup, dog, animal, grass, young = gains[0][[1, 0, 2, 3, 4]].tolist()
    assert pup > dog > animal > 0 and dog > grass > 0  # grass only explains
    assert young == 0  # which names nothing
    assert not gains[1].any()  # nothing known is near a peak
    seldom = said_by_wordnet(words, 5, [1, 1000, 1000, 1000, 1000], nouns).to_dense()
    assert seldom[0, 0] < dog and torch.equal(seldom[0, 1:], gains[0, 1:])


def test_an_animal_comes_before_its_meat_and_its_fur(tmp_path):
    (tmp_path / "data.noun").write_text(
        "00000100 13 n 01 meat 0 000 | flesh that is eaten\n00000200 27 n 01 fur 0 000 | hair that is worn\n"
        "00000300 05 n 01 bird 0 000 | it flies\n00000400 13 n 01 hen 0 001 @ 00000100 n 0000 | its meat\n"
        "00000500 05 n 01 hen 0 001 @ 00000300 n 0000 | it lays eggs\n"
        "00000600 27 n 01 mink 0 001 @ 00000200 n 0000 | fur\n00000700 13 n 01 mink 0 001 @ 00000100 n 0000 | a dish\n"
    )
    (tmp_path / "index.noun").write_text("hen n 2 1 @ 2 0 00000400 00000500\nmink n 2 1 @ 2 0 00000600 00000700\n")
    nouns = Nouns(tmp_path)
    assert [word for word, _, _ in nouns.meanings("hen")] == ["bird"]
    assert [word for word, _, _ in nouns.meanings("mink")] == ["meat"]  # no animal: a thing, no substance
