"""Captions: true to the scene, in proper English, as varied and as short as people write."""

import random
import re
from statistics import median

import pytest

from train.data.stickers import captions
from train.data.stickers.captions import SceneMaterial, SceneThing, describe_plural, with_article, write_caption
from train.data.stickers.glyphs import load_vocabulary

VOCABULARY = load_vocabulary()
OWNERS = {
    form: entry.name
    for entry in (*VOCABULARY.things, *VOCABULARY.materials)
    for phrase in (entry.name, *entry.synonyms)
    for form in (phrase, describe_plural(phrase))
}
LONGEST = max(len(form.split()) for form in OWNERS)
THINGS = {thing.name for thing in VOCABULARY.things}


def named(caption):
    """Names of the entries whose name or synonym stands in the caption; of nested ones the longest ("hot dog")."""
    words = re.findall(r"[^\W_]+(?:['-][^\W_]+)*", caption.lower())
    found, at = [], 0
    while at < len(words):
        for length in range(LONGEST, 0, -1):
            if (owner := OWNERS.get(" ".join(words[at : at + length]))) is not None:
                found.append(owner)
                at += length
                break
        else:
            at += 1
    return found


def scene(rng, things=True):
    shown, left = [], 4 if things else 0
    while left > 0:
        thing, count = rng.choice(VOCABULARY.things), min(left, rng.choice([1, 1, 1, 1, 2, 3]))
        left -= count + rng.randint(0, 2)
        for _ in range(count):
            share, x, y = rng.uniform(0.01, 0.3), rng.random(), rng.random()
            shown.append(SceneThing(thing.name, thing.synonyms, share, x, y))
    count = rng.randint(1, 3)
    ground = [SceneMaterial(m.name, m.synonyms, 1 / count) for m in rng.sample(VOCABULARY.materials, count)]
    return shown, ground


def scenes(seed, number, things=True):
    rng = random.Random(seed)
    for _ in range(number):
        shown, ground = scene(rng, things)
        yield shown, ground, write_caption(rng, shown, ground, VOCABULARY)


def one(name, share=0.1, x=0.5, y=0.5):
    return SceneThing(name, (), share, x, y)


def written(shown, ground=(), number=400):
    rng = random.Random(1)
    return [write_caption(rng, shown, ground, VOCABULARY).lower() for _ in range(number)]


@pytest.mark.parametrize(("name", "plural"), [
    ("dog", "dogs"), ("mouse", "mice"), ("computer mouse", "computer mice"), ("sheep", "sheep"), ("fox", "foxes"),
    ("kitchen knife", "kitchen knives"), ("bowl of noodles", "bowls of noodles"), ("tropical fish", "tropical fish"),
    ("strawberry", "strawberries"), ("monkey", "monkeys"), ("old woman", "old women"), ("snowman", "snowmen"),
    ("bow and arrow", "bows and arrows"), ("person doing yoga", "people doing yoga"), ("potato", "potatoes"),
    ("piano", "pianos"), ("wolf", "wolves"), ("ox", "oxen"), ("box", "boxes"), ("t-rex", "t-rexes"),
    ("man with a beard", "men with a beard"), ("superhero", "superheroes"), ("sandwich", "sandwiches"),
    ("jeans", "jeans"), ("skis", "skis"), ("bacon", "bacon"), ("bus", "buses"), ("compass", "compasses"),
    ("christmas tree", "christmas trees"), ("santa claus", "santa claus"), ("die", "dice"), ("tooth", "teeth"),
])  # fmt: skip
def test_plurals(name, plural):
    assert describe_plural(name) == plural


@pytest.mark.parametrize("phrase", [
    "a dog", "an elephant", "a unicorn", "an umbrella", "an hourglass", "a house", "an x-ray", "an suv", "a ufo",
    "an nfl ball", "a ewe", "an octopus", "a one-piece swimsuit", "a t-shirt", "a bus", "a compass",
    "a rhinoceros", "a cup of coffee", "a pair of scissors", "an onion", "the sun", "the milky way",
])  # fmt: skip
def test_articles(phrase):
    assert with_article(phrase.split(" ", 1)[1]) == phrase


@pytest.mark.parametrize("name", ["jeans", "scissors", "bread", "french fries", "popcorn", "dracula", "grapes", "skis"])
def test_what_cannot_be_counted_has_no_article(name):
    assert with_article(name) == name
    assert not any(re.search(rf"\b(a|an|two|2|pair of) {name}", c) for c in written([one(name), one(name)]))


def test_a_caption_names_something_shown_and_nothing_else():
    for shown, ground, caption in scenes(7, 2000):
        names = set(named(caption))
        assert names & {thing.name for thing in shown}, (caption, shown)
        assert names <= {entry.name for entry in (*shown, *ground)}, (caption, shown, ground)


def test_a_scene_without_things_is_told_by_its_materials():
    for _, ground, caption in scenes(8, 500, things=False):
        assert set(named(caption)) and set(named(caption)) <= {material.name for material in ground}, caption


def test_things_are_named_more_often_than_materials():
    kinds = {"things": [], "materials": []}
    for shown, ground, caption in scenes(9, 2000):
        names = named(caption)
        kinds["things"] += [name in names for name in {thing.name for thing in shown}]
        kinds["materials"] += [material.name in names for material in ground]
    things, materials = (sum(hits) / len(hits) for hits in kinds.values())
    assert 0.8 < things < 0.95
    assert 0.35 < materials < 0.5


def test_big_things_are_named_more_often_than_small_ones():
    captions_of_both = [named(c) for c in written([one("dog", 0.35), one("kite", 0.02)])]
    dog, kite = (sum(name in names for names in captions_of_both) for name in ("dog", "kite"))
    assert dog > 0.93 * 400 > kite


def test_synonyms_are_used_now_and_then():
    dog = next(thing for thing in VOCABULARY.things if thing.name == "dog")
    other = sum(not re.search(r"\bdog\b", c) for c in written([SceneThing(dog.name, dog.synonyms, 0.3, 0.5, 0.5)]))
    assert 0.1 * 400 < other < 0.4 * 400


def test_things_of_one_name_are_counted_once():
    for caption in written([one("dog"), one("dog", x=0.9)]):
        assert re.search(r"\b(two|2|pair of)\b.* dogs\b", caption), caption
        assert named(caption) == ["dog"]


def test_relations_fit_the_places():
    above, below = one("kite", y=0.1), one("dog", y=0.9)
    told = written([above, below])
    assert any(re.search(r"kite (above|over) a dog", c) for c in told)
    assert any(re.search(r"dog (below|under|in front of) a kite", c) for c in told)
    assert not any(re.search(r"dog (above|over)|kite (below|under|in front)|left of|right of", c) for c in told)
    told = written([one("kite", x=0.1), one("dog", x=0.9)])
    assert any("kite left of a dog" in c for c in told) and any("dog right of a kite" in c for c in told)
    assert not any(re.search(r"dog left of|kite right of|above|over|below|under", c) for c in told)


def test_an_adjective_never_makes_another_name():
    """ "little girl" and "baby giraffe" are names; "big wheel" would be one in a vocabulary that lists it."""
    words = frozenset({"big wheel", "tiny boats"})
    assert captions._described("big", "wheel", words) == "wheel"
    assert captions._described("tiny", "boat", words) == "boat"
    assert captions._described("small", "wheel", words) == "small wheel"


def test_captions_are_short_mostly_lower_case_and_varied():
    told = [caption for *_, caption in scenes(10, 2000)]
    assert 5 <= median(len(caption.split()) for caption in told) <= 9
    assert sum(caption == caption.lower() for caption in told) > 0.7 * len(told)
    assert len(set(told)) > 0.97 * len(told)
    assert len({*captions.PLAIN, *captions.THINGS, *captions.ONE_THING, *captions.PLAIN_PLACED,
                *captions.THINGS_AND_PLACE, *captions.MATERIALS}) >= 40  # fmt: skip
    for caption in told:
        assert "{" not in caption and "  " not in caption and " ," not in caption, caption
        assert not re.search(r"\ba [aeio]\w+|\b(a|an) (a|an|the|some) ", caption.lower().replace("one-", "")), caption


def test_asides_and_templates_name_nothing_of_the_vocabulary():
    texts = [*captions.PLAIN, *captions.THINGS, *captions.ONE_THING, *captions.PLAIN_PLACED,
             *captions.THINGS_AND_PLACE, *captions.MATERIALS, *captions.ASIDES]  # fmt: skip
    for text in texts:
        assert not named(re.sub(r"\{\w+\}", "*", text)), text


def test_the_same_seed_writes_the_same_captions():
    assert [c for *_, c in scenes(11, 50)] == [c for *_, c in scenes(11, 50)]
    assert [c for *_, c in scenes(11, 50)] != [c for *_, c in scenes(12, 50)]
