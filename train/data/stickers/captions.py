"""Captions as people write them on the web, for scenes whose content is known.

A caption names what the picture shows the way a person would: the big things nearly always, the background less
often, some things not at all, now by one name, now by another, with counts, rough positions and small talk. It
never names what the scene does not hold. Everything random comes from the `random.Random` that is passed in.
"""

import functools
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from train.data.stickers.glyphs import Vocabulary


class SceneThing(NamedTuple):
    """One thing in a picture: `share` of the picture's area, centre `x`, `y` in 0..1 from the top left corner."""

    name: str
    synonyms: tuple[str, ...]
    share: float
    x: float
    y: float


class SceneMaterial(NamedTuple):
    """One material in a picture, with its share of the picture's area."""

    name: str
    synonyms: tuple[str, ...]
    share: float


class _Mention(NamedTuple):
    """A thing, or all things of one name, as the caption will call it: "two dogs"."""

    noun: str  # "two dogs", "dog", "jeans"
    phrase: str  # "two dogs", "a dog", "jeans"
    single: bool  # one countable thing
    plural: bool  # takes "are"
    x: float
    y: float
    share: float


# English

IRREGULAR = {
    "child": "children", "die": "dice", "foot": "feet", "goose": "geese", "human": "humans", "knife": "knives",
    "man": "men", "mouse": "mice", "ox": "oxen", "person": "people", "tooth": "teeth", "cactus": "cacti",
    "elf": "elves", "half": "halves", "leaf": "leaves", "loaf": "loaves", "scarf": "scarves", "wolf": "wolves",
    "hero": "heroes", "superhero": "superheroes", "buffalo": "buffaloes", "mango": "mangoes",
    "mosquito": "mosquitoes", "potato": "potatoes", "tomato": "tomatoes", "tornado": "tornadoes",
    "volcano": "volcanoes", "calf": "calves",
}  # fmt: skip
UNCHANGED = frozenset("bison deer elk fish moose pufferfish blowfish sheep shrimp squid swine".split())
MASS = frozenset(
    "asphalt bacon bacteria beer bread brickwork broccoli butter calamari cash cheese chocolate coffee confetti coral "
    "corn curry cutlery dna dusk dynamite espresso firewood food garlic ginger grass gravel gyoza lava luggage magma "
    "maize marble matcha meat milk nigiri onigiri paper pasta poo poop popcorn ramen rice sake sakura salt sand snow "
    "soap soup spaghetti stew sunshine sushi tea thread underwear water whiskey wine woodland yarn".split()
)
MASS_PHRASES = frozenset({"molten rock", "soft serve", "shaved ice"})
PROPER = frozenset(
    {"dracula", "father christmas", "frosty the snowman", "planet earth", "santa", "santa claus", "saturn",
     "tokyo tower"}
)  # fmt: skip
ONLY_ONE = frozenset({"liberty statue", "milky way", "ocean", "sea", "sky", "statue of liberty", "sun"})
SINGULAR_IN_S = frozenset({"christmas", "rhinoceros", "atlas", "canvas", "gas", "lens"})
AN_BEFORE = re.compile(r"(?!uni|euro|ufo|ute|usb|ewe|one)[aeiou]|hour|honest|heir|(?:[fhlmnrsx]|suv|nfl|xmas)\b")
AFTER_HEAD = re.compile(
    r" (?=(?:of|with|in|on|for|at|from|going|sticking|surfing|swimming|skiing|snowboarding|doing|taking)\b)"
)
COUNTS = {2: ("two", "two", "a pair of", "2"), 3: ("three", "three", "some", "3"), 4: ("four", "several", "4"),
          5: ("five", "several", "many")}  # fmt: skip


def _split_head(name: str) -> tuple[str, str]:
    """ "bowl of noodles" -> ("bowl", " of noodles"): the part that is counted, and the rest."""
    head = AFTER_HEAD.split(name, maxsplit=1)[0]
    return head, name[len(head) :]


def _is_plural(name: str) -> bool:
    """Whether a name is plural as it stands: "jeans", "strips of bacon"."""
    last = _split_head(name)[0].split()[-1]
    if last in SINGULAR_IN_S or last.endswith(("ss", "us", "is")):
        return last == "skis"
    return last.endswith("s")


def _is_mass(name: str) -> bool:
    """Whether a name takes neither article nor number: "bread", "santa claus"."""
    return name in MASS_PHRASES or name in PROPER or _split_head(name)[0].split()[-1] in MASS


@functools.cache
def describe_plural(name: str) -> str:
    """The plural of a name: "mouse" -> "mice", "bowl of noodles" -> "bowls of noodles".

    Names that are plural already and names that cannot be counted come back as they are.
    """
    if _is_mass(name) or _is_plural(name):
        return name
    head, rest = _split_head(name)
    return " and ".join(_plural_word(part) for part in head.split(" and ")) + rest


def _plural_word(words: str) -> str:
    *before, last = words.split(" ")
    stem, hyphen, tail = last.rpartition("-")
    if last in UNCHANGED or last.endswith("fish"):
        plural = last
    elif tail in IRREGULAR:
        plural = stem + hyphen + IRREGULAR[tail]
    elif last.endswith(("man", "woman")):
        plural = last[:-3] + "men"
    elif re.search(r"[^aeiou]y$", last):
        plural = last[:-1] + "ies"
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        plural = last + "es"
    else:
        plural = last + "s"
    return " ".join([*before, plural])


@functools.cache
def with_article(name: str) -> str:
    """ "dog" -> "a dog", "hourglass" -> "an hourglass"; "jeans", "bread" and "santa claus" stay bare."""
    if name in ONLY_ONE:
        return "the " + name
    if _is_mass(name) or _is_plural(name):
        return name
    return ("an " if AN_BEFORE.match(name) else "a ") + name


# What captions are made of

PLAIN = ("{a}", "{bare}", "{bare}")  # {a} "a dog and two kites", {bare} "dog and two kites"
PLAIN_PLACED = ("{a} {place}", "{bare} {place}", "{bare}, {mats}")  # {place} "on the grass", {mats} "grass and sky"
THINGS = (
    "a photo of {a}", "a photo of {a}", "photo of {bare}", "picture of {a}", "a picture of {a}", "an image of {a}",
    "here {be} {a}", "there {be} {a}", "i love {a}", "just {a}", "found {a} today", "look, {a}!", "look at this: {a}",
    "do you like {a}?", "who left {a} here?", "{bare} photo", "{bare} stock photo", "{bare} pic", "snapshot of {a}",
    "my photo of {a}", "{a} again", "only {a}",
)  # fmt: skip
ONE_THING = (
    "close-up of {a}", "{bare} close-up", "my new {bare}!", "my {bare}", "our {bare}", "look at my {bare}",
    "the {bare}", "this is {a}", "what {a}!", "that {bare}", "detail of {a}", "hello {bare}",
    "a portrait of {a}", "my favorite {bare}", "{a}, nothing else",
)  # fmt: skip
THINGS_AND_PLACE = (
    "a photo of {a} {place}", "photo of {bare} {place}", "picture of {a} {place}", "an image of {a} {place}",
    "{bare} and {mats}", "{mats} and {bare}", "{a}, {mats} in the background", "{bare} with {mats} in the background",
    "there {be} {a} {place}", "found {a} {place}", "spotted {a} {place} today", "{place}: {a}", "look, {a} {place}!",
    "{mats} with {a}", "who left {a} {place}?", "just {a} {place}", "{a} seen {place}", "{bare} photo, {mats}",
    "close-up of {a} {place}", "our photo of {a} {place}",
)  # fmt: skip
MATERIALS = (
    "{mats}", "{mats}", "the {mats}", "a photo of {mats}", "picture of {mats}", "{mats} texture", "nothing but {mats}",
    "{mats} photo", "{mats} as a background", "just {mats}", "a view of {mats}",
)  # fmt: skip
ASIDES = (
    " by my brother", " by my sister", " for sale", ", taken last summer", ", taken in may", " (2019)", " in 2014",
    ", so nice", " today", ", free download", ", high resolution", ", photo by anna", ", so cute", ", new in stock",
    ", part 2", ", day 3", " #1", ", third try", " for my wife", ", from our trip", ", no filter", ", old photo",
)  # fmt: skip
PLACES = {  # how one is somewhere; anything else is "on" it
    "sky": ("against", "in", "under"), "night sky": ("against", "under"), "sunset": ("at", "in front of", "against"),
    "grass": ("on", "in", "on"), "water": ("in", "on", "by"), "brick wall": ("in front of", "against", "by"),
    "stone wall": ("in front of", "against", "by"), "forest": ("in", "in front of"), "snow": ("in", "on"),
    "field of flowers": ("in", "in"), "wheat field": ("in", "in"), "lava": ("over", "on"), "dry leaves": ("on", "in"),
}  # fmt: skip
ADJECTIVES = ((0.2, ("big", "large", "huge")), (0.0, ("small", "tiny", "little")))


def write_caption(
    rng: random.Random, things: Sequence[SceneThing], materials: Sequence[SceneMaterial], vocabulary: Vocabulary
) -> str:
    """A caption of a scene with these things and materials (at least one of either), mostly lower case.

    A thing is named with a probability of about 0.85 that grows with its area, a material with about 0.45. At
    least one thing is named where there is one, else at least one material. `vocabulary` is all that could be
    shown: no adjective or aside may turn the words into the name of another entry.
    """
    spoken = _spoken(vocabulary)
    mentions = [_mention(rng, group, spoken) for group in _pick_things(rng, things)]
    named = _pick_materials(rng, materials, at_least=0 if things else 1)
    words = [_synonym(rng, material) for material in named]
    if not mentions:
        caption = rng.choice(MATERIALS).format(mats=_listed(words))
    else:
        slots = {"a": _relate(rng, mentions), "bare": _listed([mention.noun for mention in mentions])}
        slots["be"] = "are" if mentions[0].plural else "is"
        if named:
            slots["place"] = _place(rng, named[:2], words)
            slots["mats"] = _listed(words)
        caption = _template(rng, mentions, bool(named)).format(**slots)
    if rng.random() < 0.12:
        caption = caption.rstrip("!?") + rng.choice(_asides(vocabulary))
    return _typed(rng, caption)


def _pick_things(rng: random.Random, things: Sequence[SceneThing]) -> list[list[SceneThing]]:
    """The things to name, those of one name together, the bigger ones rather first."""
    groups: dict[str, list[SceneThing]] = {}
    for thing in things:
        groups.setdefault(thing.name, []).append(thing)
    shares = {name: sum(thing.share for thing in group) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: -shares[name] * rng.uniform(0.4, 1.6))
    kept = [name for name in order if rng.random() < 0.8 + 0.5 * shares[name]]
    return [groups[name] for name in kept or order[:1]]


def _pick_materials(rng: random.Random, materials: Sequence[SceneMaterial], at_least: int) -> list[SceneMaterial]:
    order = sorted(materials, key=lambda material: -material.share * rng.uniform(0.4, 1.6))
    kept = [material for material in order if rng.random() < 0.35 + 0.25 * material.share]
    return kept or order[:at_least]


def _synonym(rng: random.Random, entry: SceneThing | SceneMaterial) -> str:
    return rng.choice(entry.synonyms) if entry.synonyms and rng.random() < 0.25 else entry.name


def _mention(rng: random.Random, group: list[SceneThing], spoken: frozenset[str]) -> _Mention:
    name, count = _synonym(rng, group[0]), len(group)
    share = sum(thing.share for thing in group) / count
    plural, mass = _is_plural(name), _is_mass(name)
    countable = not (plural or mass or name in ONLY_ONE)
    if countable and rng.random() < 0.06:
        adjective = rng.choice(next(words for least, words in ADJECTIVES if share >= least))
        if share >= 0.2 or share < 0.04:
            name = _described(adjective, name, spoken)
    noun, phrase = name, with_article(name)
    if count > 1 and countable:
        number = rng.choice(COUNTS[min(count, max(COUNTS))])
        if " of " in number and " of " in name:
            number = str(count)
        noun = phrase = f"{number} {describe_plural(name)}"
    elif not countable and name not in PROPER | ONLY_ONE and rng.random() < 0.2:
        phrase = f"some {name}"
    x, y = (sum(axis) / count for axis in zip(*((thing.x, thing.y) for thing in group), strict=True))
    return _Mention(noun, phrase, count == 1 and countable, plural or (count > 1 and countable), x, y, share)


def _described(adjective: str, name: str, spoken: frozenset[str]) -> str:
    """The name with an adjective, unless the two together begin with another entry's name ("big wheel")."""
    phrase = f"{adjective} {name}"
    words = phrase.split()
    begins = (" ".join(words[:stop]) for stop in range(2, len(words) + 1))
    return name if any(begin in spoken or describe_plural(begin) in spoken for begin in begins) else phrase


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _relate(rng: random.Random, mentions: list[_Mention]) -> str:
    """ "a dog next to a kite" or "a dog and a kite"."""
    phrases = [mention.phrase for mention in mentions]
    if len(mentions) < 2 or rng.random() < 0.55:
        return _listed(phrases)
    related = f"{phrases[0]} {rng.choice(_relations(mentions[0], mentions[1]))} {phrases[1]}"
    return related if len(phrases) == 2 else f"{related}, with {_listed(phrases[2:])}"


def _relations(first: _Mention, second: _Mention) -> tuple[str, ...]:
    """What the first can be said to be to the second, from their places in the picture (y grows downwards)."""
    dx, dy = second.x - first.x, second.y - first.y
    if abs(dy) > max(0.2, abs(dx)):
        return ("above", "over") if dy > 0 else ("below", "under", "in front of")
    if abs(dx) > 0.15:
        return ("next to", "next to", "beside", "left of" if dx > 0 else "right of")
    return ("with", "by", "near")


def _place(rng: random.Random, materials: Sequence[SceneMaterial], words: Sequence[str]) -> str:
    """ "on the grass", "in front of a brick wall under the sky", "on sand and gravel"."""
    place, last = "", ""
    for material, word in zip(materials, words, strict=False):
        preposition = rng.choice(PLACES.get(material.name, ("on",)))
        word = "the " + word if rng.random() < 0.6 else with_article(word)
        place += f" and {word}" if preposition == last else f" {preposition} {word}"
        last = preposition
    return place.strip()


def _template(rng: random.Random, mentions: list[_Mention], placed: bool) -> str:
    # Who has much to name is brief about the rest.
    if rng.random() < (0.4 if len(mentions) < 3 else 0.75):
        return rng.choice(PLAIN_PLACED if placed else PLAIN)
    if placed:
        return rng.choice(THINGS_AND_PLACE)
    one = len(mentions) == 1 and mentions[0].single
    return rng.choice(ONE_THING if one and rng.random() < 0.5 else THINGS)


@functools.cache
def _spoken(vocabulary: Vocabulary) -> frozenset[str]:
    """Every name and synonym of the vocabulary, in the singular and the plural."""
    names = [word for entry in (*vocabulary.things, *vocabulary.materials) for word in (entry.name, *entry.synonyms)]
    return frozenset(names) | frozenset(map(describe_plural, names))


@functools.cache
def _asides(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The asides that name nothing of the vocabulary."""
    spoken = _spoken(vocabulary)
    return tuple(aside for aside in ASIDES if not spoken.intersection(re.findall(r"\w+", aside)))


def _typed(rng: random.Random, caption: str) -> str:
    """As it is typed: mostly lower case and no full stop; now and then a capital, a title, an exclamation mark."""
    roll = rng.random()
    if roll < 0.05:
        caption = " ".join(word[:1].upper() + word[1:] for word in caption.split(" "))
    elif roll < 0.2:
        caption = caption[:1].upper() + caption[1:]
    if caption[-1].isalnum() and rng.random() < 0.15:
        caption += rng.choice("...!")
    return caption
