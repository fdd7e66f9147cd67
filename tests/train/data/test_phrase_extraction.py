"""Phrases out of captions: what people would ask for, from what people wrote."""

import pytest
import torch

from train.data.phrase_extraction import MOST, WIDEST, common, draw, extract_phrases, number, numbered, some


@pytest.mark.parametrize(
    ("caption", "phrases"),
    [
        ("a photo of two dogs on the grass", ["dogs", "grass"]),
        ("burger, free download", ["burger"]),
        ("Close-up of a red lobster.", ["red lobster"]),
        ("a cup of coffee and mic stock photo", ["cup of coffee", "mic"]),
        ("Brick wall with a speech bubble and a slipper", ["brick wall", "speech bubble", "slipper"]),
        ("2 Curling Stones And Shopping Trolley On A Road", ["curling stones", "shopping trolley", "road"]),
        ("T-rex, marble", ["t-rex", "marble"]),
        ("A woman and three children.", ["woman", "children"]),
        ("A person in a red car, with a bridge in the background.", ["person", "red car", "bridge"]),
        ("a dog and a dog", ["dog"]),
        ("a café and a piñata", ["café", "piñata"]),
        ("a photo", []),
        ("", []),
        ("!!!", []),
    ],
)
def test_phrases_of_a_caption(caption, phrases):
    assert extract_phrases(caption) == phrases


def test_a_draw_holds_n_phrases_of_each_caption_and_repeats_only_where_it_must():
    captions = ["a dog, a cat and a cow", "beans", "a photo"]
    chosen, every = draw(captions, 2, seed=3)
    assert every == [["dog", "cat", "cow"], ["beans"], ["a photo"]]  # a caption without phrases stands for itself
    assert len(chosen) == 6 and chosen[2:] == ["beans", "beans", "a photo", "a photo"]
    assert len(set(chosen[:2])) == 2 and set(chosen[:2]) <= set(every[0])
    assert draw(captions, 2, seed=3) == (chosen, every)
    assert {tuple(draw(captions, 1, seed)[0][:1]) for seed in range(50)} == {("dog",), ("cat",), ("cow",)}


def test_numbers_mean_the_same_in_every_batch():
    chosen, every = draw(["a dog and a cat", ", ".join(f"thing{i}" for i in range(2 * MOST))], 2, seed=0)
    phrases, owned = numbered(chosen, every)
    assert phrases.shape == (4,) and owned.shape == (2, WIDEST)
    assert (owned[0] >= 0).sum() == 2 and (owned[1] >= 0).sum() == MOST
    assert all((owned[i // 2] == phrases[i]).sum() == 1 for i in range(4))  # what is drawn is owned
    other, _ = numbered(*draw(["the cat"], 1, seed=9))
    assert torch.isin(other, owned[0]).all()


def test_known_phrases_are_those_of_several_captions_and_some_of_them_are_drawn_alike_everywhere():
    captions = ["a dog on the grass", "two cats on the grass", "a dog", "a cat", "grass #1"]
    known = common(captions)
    assert known == ["dog", "grass"] and "cats" in common(captions, 1)
    assert sorted(some(known, 9, seed=0)) == known
    few = some(list("abcdefgh"), 3, seed=4)
    assert len(set(few)) == 3 and few == some(list("abcdefgh"), 3, seed=4) != some(list("abcdefgh"), 3, 5)
    assert torch.equal(number(["dog", "grass"]), numbered(["dog", "grass"], [["dog", "grass"]])[0])
