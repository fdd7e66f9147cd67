"""What people type into the words box."""

import itertools
import random

import pytest

from sseg import SSegError
from sseg.phrases import PhraseClass, clean, content_words, key, normal, parse, replace


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


@pytest.mark.parametrize("pasted", [
    '"frog", "pig"', "['frog', 'pig']", '["frog","pig"]', "('frog', 'pig')", '{"frog", "pig"}', "[frog, pig]",
    "“frog”, ‘pig’", "«frog»; „pig“", "`frog`, `pig`", "frog，pig", "frog、pig", "frog；pig",
    "frog . pig .", "frog\u2028pig", "- frog\n- pig", "• frog\n• pig\n",
    "\ufefffrog, pig", "frog, pig.", "(frog), (pig)",
    "[['frog'], ['pig']]",
])  # fmt: skip
def test_what_is_only_around_pasted_phrases_goes(pasted):
    assert parse(pasted) == [PhraseClass("frog", ("frog",)), PhraseClass("pig", ("pig",))]


@pytest.mark.parametrize("typed", [
    "t-shirt", "jack-o'-lantern", "dog (animal)", "f(x)", "St. Bernard", "rock 'n' roll", "12\" pizza", "no. 5", "C++",
])  # fmt: skip
def test_what_belongs_to_a_phrase_stays(typed):
    assert texts(f"{typed}, dog") == [typed, "dog"]


def test_spellings_of_one_phrase_are_one_phrase():
    one = ["tiled floor", "tiled_floor", "Tiled-Floor", '"tiled  floor"', "ｔｉｌｅｄ＿floor", "tiled‐floor"]
    assert {key(text) for text in one} == {"tiled floor"}
    assert len(parse(one)) == 1
    assert parse("tiled_floor|lane") == [PhraseClass("tiled_floor|lane", ("tiled floor", "lane"))]
    assert normal("t-shirt") == "t-shirt" and key("cafe\u0301") == key("CAFÉ")


# What people paste, and what nobody would: letters, separators, quotes, brackets, bars, marks that cannot be seen.
SIGNS = "abcÉ犬🐶ｂ_-. ,;|\n\t\"'“”[](){}，、；｜•*\u200e\u0301\ufeff\x00\ud800"


def readable(count=3000):
    """Texts of random signs, the same on every call, with the classes that are read in them."""
    rng = random.Random(0)
    for _ in range(count):
        typed = "".join(rng.choices(SIGNS, k=rng.randint(1, 24)))
        try:
            yield typed, parse(typed)
        except SSegError:
            continue


def test_what_was_read_reads_as_itself():
    for typed, classes in readable():
        assert normal(normal(typed)) == normal(typed) and key(key(typed)) == key(typed), repr(typed)
        assert parse([one.text for one in classes]) == classes, repr(typed)
        assert parse(", ".join(one.text for one in classes)) == classes, repr(typed)
        assert len({key(one.text) for one in classes}) == len(classes), repr(typed)


def test_a_replaced_phrase_is_read_in_its_place():
    new = PhraseClass("zebra", ("zebra",))
    for typed, classes in readable():
        for old in classes:
            expected = [new if one == old else one for one in classes]
            assert parse(replace(typed, old.text, "zebra")) == expected, (typed, old)


def test_the_rest_stays_as_typed_where_one_is_replaced():
    typed = "a dog ; 'Grsas'\nsky,\n['grsas'] . pig"
    assert replace(typed, "grsas", "grass") == "a dog ; 'grass'\nsky,\n['grass'] . pig"
    assert replace(typed, "cat", "grass") == typed


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


def broken():
    yield "dog"
    raise ZeroDivisionError


@pytest.mark.parametrize(("what", "said"), [
    (None, "no words"), (5, "not int"), (b"dog", "not bytes"), (["dog", None], "not NoneType"),
    (itertools.repeat("dog"), "More than 10,000 phrases"), (map(str, itertools.count()), "More than 10,000 phrases"),
    (broken(), "broke off"), ("x" * 10**7, "characters are too many"), ("[," * 90_000, "More than 10,000"),
    ("[" * 100_000, "100,000 characters: use at most 200"), (["\x1b[31m" * 90], "characters: use at most 200"),
], ids=range(11))  # fmt: skip
def test_what_is_no_phrases_is_one_sentence(what, said):
    with pytest.raises(SSegError, match=said) as caught:
        parse(what)
    assert str(caught.value).isprintable()


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
