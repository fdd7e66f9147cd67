"""Which words of captions name something one could point at: a rule of thumb without a parser or a list of nouns.

"A brown dog is running through the grass": a noun ends phrases that an article begins ("a brown dog", "the grass") and
often stands right behind the article. Adjectives stand behind the article but seldom end the phrase; verbs end phrases
("running") but seldom follow an article. Of the words of Flickr8k it takes a few too many ("high", "takes") and misses
what hardly ever has an article ("clothing", "pants").
"""

from collections import Counter
from collections.abc import Iterable

from train.data.phrase_extraction import tokens_of

_ARTICLES = frozenset("a an the his her their its my our your this that these those some".split())
_NUMBERS = frozenset("one two three four five six seven eight nine ten several many few both".split())
LAST, FIRST = 0.15, 0.03  # least shares of a noun's occurrences: at the end of such a phrase, right behind its article


def nouns(captions: Iterable[str]) -> set[str]:
    """Words, in lower case, that are nouns by that rule."""
    every, last, first = Counter(), Counter(), Counter()
    for caption in captions:
        for article, phrase in _phrases(caption):
            every.update(phrase)
            if article:
                last[phrase[-1]] += 1
                first[phrase[0]] += 1
    return {word for word, count in every.items() if last[word] >= LAST * count and first[word] >= FIRST * count}


def _phrases(caption: str) -> Iterable[tuple[bool, list[str]]]:
    """Runs of words between function words, and whether an article or a number begins each."""
    article, words = False, []
    for token, breaks in tokens_of(caption):
        if not breaks and token not in _NUMBERS and token != "of":
            words.append(token)
            continue
        if words:
            yield article, _before_verb(words)
        article, words = token in _ARTICLES or token in _NUMBERS, []


def _before_verb(words: list[str]) -> list[str]:
    """ "dog running" -> "dog": what stands before the first word in -ing."""
    verb = next((i for i, word in enumerate(words) if i and word.endswith("ing")), len(words))
    return words[:verb]
