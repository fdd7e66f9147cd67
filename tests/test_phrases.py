"""What people type into the words box."""

import pytest

from sseg import SSegError
from sseg.phrases import PhraseClass, clean, content_words, parse


def texts(phrases):
    return [one.text for one in parse(phrases)]


def test_commas_semicolons_and_lines_separate_classes():
    assert texts(" a dog,grass ; sky\n\nsea\r\nsand,") == ["a dog", "grass", "sky", "sea", "sand"]


def test_bars_separate_synonyms():
    person = parse("person|man | woman|man|,tree")[0]
    assert person == PhraseClass("person|man | woman|man|", ("person", "man", "woman"))


def test_a_list_has_a_class_an_entry():
    assert texts(["dog, brown", "cat"]) == ["dog, brown", "cat"]


def test_a_phrase_given_twice_counts_once_as_first_typed():
    assert texts("Dog, cat, dog,DOG") == ["Dog", "cat"]


@pytest.mark.parametrize(
    "phrase", ["<img src=x onerror=alert(1)>", "${7*7}", "{{x}}", "{}", "naïve café", "犬", "🐶 dog"]
)
def test_phrases_stay_as_typed(phrase):
    assert texts([phrase]) == [phrase]


def test_invisible_characters_go():
    assert clean("a\x00 do\u202eg\ud800 \x1b[31m") == "a dog [31m"
    assert texts("one\ttwo") == ["one two"]


@pytest.mark.parametrize("nothing", ["", "  ,;\n", "|", [], [" ", "|"], "\x00"])
def test_no_words_is_said(nothing):
    with pytest.raises(SSegError, match="no words"):
        parse(nothing)


def test_limits_are_one_sentence():
    with pytest.raises(SSegError, match="500 phrases are too many at once: ask for at most 200"):
        parse(",".join(f"thing {i}" for i in range(500)))
    with pytest.raises(SSegError, match="has 10,000 characters: use at most 200") as caught:
        parse("x" * 10_000)
    assert len(str(caught.value)) < 150
    with pytest.raises(SSegError, match="600 synonyms are too many"):
        parse([f"{i}|{i}a|{i}b" for i in range(200)])
    assert len(parse([f"{i}|{i}a" for i in range(200)])) == 200
    with pytest.raises(SSegError, match="a text, not int"):
        parse(["dog", 3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a photo of the Dogs", {"dog"}),
        ("two ponies in front of a bus", {"two", "pony", "front", "bus"}),
        ("glasses and boxes", {"glass", "box"}),
        ("the of a", set()),
    ],
)
def test_content_words(text, words):
    assert content_words(text) == words
