from train.data.nouns import nouns

CAPTIONS = [
    "A brown dog is running through the tall grass.",
    "Two dogs play with a ball",
    "The dog jumps over a fence while a brown horse is watching",
    "a young man riding his horse on the beach",
    "A man in red runs through the grass.",
    "the building is tall",
    "a painting of a brown fence on the building",
    "An old man and a dog running on the beach",
]


def test_what_ends_phrases_with_an_article_is_a_noun_and_adjectives_and_verbs_are_not():
    found = nouns(CAPTIONS)
    assert {"dog", "man", "grass", "beach", "fence", "building", "horse", "ball", "painting"} <= found
    assert not found & {"brown", "tall", "young", "old", "red", "running", "riding", "jumps", "runs", "two", "the", "a"}


def test_empty_captions_name_nothing():
    assert nouns([]) == set() and nouns(["", "...", "the"]) == set()
