"""Phrases as people paste them, and as nobody would."""

import itertools
import random

WORDS = [
    "dog",
    "grass",
    "sky",
    "red car",
    "person|man|woman",
    "tiled_floor",
    "t-shirt",
    "Frog",
    "犬",
    "naïve café",
    "🐶",
    "a photo of a dog",
    "{}",
    "{0}",
    "%s",
    "<b>",
    "$(id)",
    "'; DROP TABLE",
    "\\",
    "null",
    "NaN",
    "|",
    ".",
    "_",
    "-",
]
SEPARATORS = [
    ", ",
    ",",
    "; ",
    "\n",
    "\r\n",
    " . ",
    "，",
    "、",
    "；",
    "|",
    "\t",
    " ",
    "",
    "\u2028",
    "\x00",
    "\x85",
    " ,; ",
]
AROUND = [
    ("", ""),
    ("", ""),
    ('"', '"'),
    ("'", "'"),
    ("[", "]"),
    ("['", "']"),
    ("(", ")"),
    ("{", "}"),
    ("“", "”"),
    ("- ", ""),
    ("• ", ""),
    ("[[", "]"),
    ('"', ""),
    ("\ufeff", ""),
    ("\u202e", ""),
    ("`", "`"),
]
RANGES = [
    (0, 0x20),
    (0x20, 0x7F),
    (0x80, 0x250),
    (0x300, 0x370),
    (0x590, 0x700),
    (0x2000, 0x2070),
    (0xD800, 0xE000),
    (0xFE00, 0x10000),
    (0x1F000, 0x1FB00),
    (0xE0000, 0xE0080),
    (0, 0x110000),
]


def text_of(rng: random.Random, depth: int = 3) -> str:
    """A text by the grammar: words, separators, what is put around them, letters of any script."""
    what = rng.random()
    if depth == 0 or what < 0.35:
        return rng.choice(WORDS)
    if what < 0.45:
        low, high = rng.choice(RANGES)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.choice([1, 2, 10, 40])))
    if what < 0.85:
        separator = rng.choice(SEPARATORS)
        return separator.join(text_of(rng, depth - 1) for _ in range(rng.randint(1, 5)))
    before, after = rng.choice(AROUND)
    return f"{before}{text_of(rng, depth - 1)}{after}"


def grow(rng: random.Random):
    """Something to give as phrases: mostly a text or a list of texts."""
    what = rng.random()
    if what < 0.6:
        return text_of(rng)
    if what < 0.8:
        return [text_of(rng) for _ in range(rng.choice([0, 1, 3, 10, 250]))]
    if what < 0.85:
        return rng.choice(["x", "[", "(a", "a,", " . ", "\u0301", "|", "_", "a\n"]) * rng.choice(
            [10, 1000, 10**5, 10**6]
        )
    if what < 0.9:
        return itertools.repeat(text_of(rng))
    return rng.choice(
        [
            None,
            5,
            2.5,
            True,
            b"dog",
            {},
            {"dog": 1},
            [None],
            [5],
            [b"dog"],
            [["dog"]],
            object(),
            {"a", "b"},
            ("dog",),
            iter(["dog"]),
            range(3),
            [""],
            [" "],
            float("nan"),
        ]
    )
