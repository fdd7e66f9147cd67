"""What is here? `Segmenter.suggest` on images whose content is known."""

import pytest

import sseg
from sseg import SSegError
from sseg.paths import ASSETS
from sseg.phrases import key


@pytest.fixture(scope="module")
def photos():
    return sseg.load("photos", device="cpu")


@pytest.fixture(scope="module")
def cat(photos):
    return photos.encode(ASSETS / "examples" / "cat.jpg")


def test_the_cat_is_suggested_first(photos, cat):
    found = photos.suggest(cat)
    assert found[0]["phrase"] == "cat" and found[0]["area"] > 0.1
    worth = [one["area"] * one["score"] for one in found]
    assert worth == sorted(worth, reverse=True)


def test_what_is_suggested_is_found_when_it_is_asked_for(photos, cat):
    found = photos.suggest(cat)
    answer = photos.ask(cat, [one["phrase"] for one in found])
    assert all(area >= 0.01 for area in answer.areas)


def test_limits_hold(photos, cat):
    every = photos.suggest(cat, limit=50, least=0)
    assert photos.suggest(cat, limit=1, least=0) == photos.suggest(cat, limit=1)
    assert all(one["area"] > 0 for one in every)
    assert all(one["area"] >= 0.1 for one in photos.suggest(cat, least=0.1))
    for bad in ({"limit": 0}, {"limit": 51}, {"limit": "many"}, {"least": 2}, {"least": None}):
        with pytest.raises(SSegError):
            photos.suggest(cat, **bad)


def test_a_thing_and_its_kinds_are_suggested_once(photos):
    encoded = photos.encode(ASSETS / "examples" / "astronaut.jpg")
    every = [one["phrase"] for one in photos.suggest(encoded, limit=50, least=0)]
    places = photos.vocabulary.known_places
    alike = [(a, b) for a in every for b in every if a < b and set(places[key(a)]) & set(places[key(b)])]
    kinds = {kind["text"]: kind["wider"] for kind in photos.words if "wider" in kind}
    assert not [(a, b) for a, b in alike if kinds.get(a) == b or kinds.get(b) == a]


def test_what_other_weights_encoded_is_refused(photos, cat):
    with pytest.raises(SSegError, match="other weights"):
        sseg.load("mini", device="cpu").suggest(cat)


def test_the_student_suggests_its_categories(photos):
    plus = sseg.load("photos-plus", device="cpu")
    found = plus.suggest(plus.encode(ASSETS / "examples" / "cat.jpg"))
    assert "cat" in found[0]["phrase"].split("|") and {one["phrase"] for one in found} <= set(plus.categories)
