"""The vocabulary of the word tower: which words are known, what stands for the others, how texts are cut."""

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from sseg.errors import SSegError
from sseg.models.text import load_tokenizer, tokenize
from sseg.models.word_tower import WordTower
from train import word_vectors
from train.data.held_out import without
from train.word_vectors import class_names, load_words, make_words, neighbours, word_tokenizer, wordnet_words

CAPTIONS = [
    "A dog and a cat on the grass, today",
    "the dog, the cat: a photo of grass",
    "Dog's house; CAT sky on the grass",
    "a bird, a tree and a house",
    "bird bird bird house tree",
    "house tree bird sky sky",
    "sky sky",
]
TAGS = ["golden retriever", "sports-car"]
# Two numbers a word: what is alike points alike.
GLOVE = {"the": (0, 1), "hound": (1, 0.1), "dog": (1, 0), "cat": (0.9, 0.4), "grass": (-1, 0), "lawn": (-1, 0.1)}
GLOVE |= {"sky": (0, -1), "lorry": (0.1, -1), "bird": (0.5, 0.5), "tree": (-0.8, -0.5), "house": (-0.5, 0.8)}
GLOVE = {word: np.array(vector, np.float32) for word, vector in GLOVE.items()}


def encode(texts):
    """A sentence encoder that knows spelling alone: a direction for each word, out of its letters."""
    rows = [torch.randn(12, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))) for text in texts]
    return F.normalize(torch.stack(rows), dim=1)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(word_vectors, "wordnet_words", lambda: ["hound", "aardvark"])
    return make_words(CAPTIONS, TAGS, GLOVE, encode, 16)


def known_of(tokenizer, tensors) -> list[str]:
    return tokenizer.convert_ids_to_tokens(range(len(tensors["vectors"])))


def test_known_words_come_first_then_those_of_the_lists(made):
    tokenizer, tensors = made
    known = known_of(tokenizer, tensors)
    assert known[:3] == ["<|pad|>", "<|end|>", "<|unknown|>"]
    often = {"dog", "cat", "grass", "the", "on", "and", "house", "bird", "tree", "sky"}
    assert set(known[3:]) - {"golden", "retriever", "sports", "car"} <= often and {"dog", "grass", "bird"} <= set(known)
    assert "photo" not in known and {"retriever", "car"} <= set(known)  # once in a caption; a tag
    unseen = tokenizer.convert_ids_to_tokens(range(len(known), len(tokenizer)))
    assert {"hound", "lawn", "lorry"} <= set(unseen) and not set(unseen) & set(known)
    assert "aardvark" not in unseen  # GloVe does not have it


def test_the_tensors_fit_the_tower(made):
    tokenizer, tensors = made
    (known, numbers), size = tensors["vectors"].shape, len(tokenizer)
    tower = WordTower(size, known, numbers, tensors["nearest"].shape[1], 8)
    missing, foreign = tower.load_state_dict(tensors, strict=False)
    assert not foreign and set(missing) == {"own.weight", "read.weight", "read.bias"}
    assert tensors["nearest"].min() >= 3 and tensors["nearest"].max() < known
    ids, mask = tokenize(tokenizer, ["hound", "the dog"], 16)
    assert tower.eval()(ids, mask).isfinite().all()


def test_words_that_name_nothing_have_no_weight(made):
    tokenizer, tensors = made
    weight = dict(zip(tokenizer.convert_ids_to_tokens(range(len(tokenizer))), tensors["weights"].tolist(), strict=True))
    assert weight["<|pad|>"] == weight["<|end|>"] == weight["the"] == 0
    assert weight["dog"] == weight["hound"] == weight["<|unknown|>"] == 1


def test_neighbours_are_the_nearest_by_cosine():
    vectors = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    says = torch.ones(40, dtype=torch.bool)
    says[3] = False
    nearest, shares = neighbours(vectors, 30, says)
    assert nearest.shape == shares.shape == (10, 6) and 3 not in nearest
    for row in range(10):
        cosines = F.cosine_similarity(vectors[30 + row], vectors[:30], dim=1)
        cosines[3] = -2
        expected = cosines.argsort(descending=True)[:6]
        assert nearest[row].tolist() == expected.tolist()
        found = (15 * cosines[expected]).exp()
        assert torch.allclose(shares[row], found / found.sum() * (cosines.max() >= 0.4), atol=1e-5)


def test_what_is_far_from_all_stands_for_nothing():
    vectors = torch.eye(9)
    vectors[8] = torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 0, 0.3])  # near to the second
    far, near = neighbours(vectors[[0, 1, 2, 3, 4, 5, 7, 8]], 6, torch.ones(8, dtype=torch.bool))[1]
    assert not far.any() and near.sum() == pytest.approx(1, abs=1e-5)


def test_what_wordnet_adds_outweighs_vectors():
    """The nearest by vectors gives way to the word that means the same."""
    vectors = torch.eye(9)[[0, 1, 2, 3, 4, 5, 6, 0]]  # the unseen one is like the first
    extra = torch.sparse_coo_tensor([[0], [2]], [1.2], (1, 7), check_invariants=True).coalesce()
    nearest, shares = neighbours(vectors, 7, torch.ones(8, dtype=torch.bool), extra)
    assert nearest[0, :2].tolist() == [2, 0] and shares[0, 0] > 0.9
    apart = torch.cat([torch.eye(9)[:7], torch.eye(9)[8:]])  # like none: what WordNet says is enough
    assert neighbours(apart, 7, torch.ones(8, dtype=torch.bool), extra)[1].sum() == pytest.approx(1, abs=1e-5)
    assert not neighbours(apart, 7, torch.ones(8, dtype=torch.bool))[1].any()


def test_words_are_the_same_in_every_process():
    """The order of words in a caption's set depends on the process; the vocabulary must not."""
    code = (
        "from train.word_vectors import make_words; import tests.train.test_word_vectors as t\n"
        "t.word_vectors.wordnet_words = list\n"
        "print(make_words(t.CAPTIONS, t.TAGS, t.GLOVE, t.encode, 16)[0].get_vocab())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, text=True,
                           capture_output=True, check=True).stdout for seed in ("1", "2")]  # fmt: skip
    assert sorted(eval(runs[0]).items()) == sorted(eval(runs[1]).items())


def test_a_hound_is_read_as_a_dog(monkeypatch):
    monkeypatch.setattr(word_vectors, "GLOVE", 10.0)  # by GloVe nearly alone
    monkeypatch.setattr(word_vectors, "wordnet_words", list)
    tokenizer, tensors = make_words(CAPTIONS, TAGS, GLOVE, encode, 16)
    known = known_of(tokenizer, tensors)
    for word, first in {"hound": "dog", "lawn": "grass", "lorry": "sky"}.items():
        row = tokenizer.convert_tokens_to_ids(word) - len(known)
        assert known[tensors["nearest"][row, 0]] == first
        assert tensors["nearness"][row].sum() == pytest.approx(1, abs=1e-5)


def test_held_out_words_are_unseen(monkeypatch):
    """They may be in the lists of words, never among those that pictures teach."""
    monkeypatch.setattr(word_vectors, "wordnet_words", lambda: ["hound"])
    held = {"dog", "dogs", "retriever"}
    captions, tags = ([without(text, held) for text in texts] for texts in (CAPTIONS, TAGS))
    tokenizer, tensors = make_words(captions, tags, GLOVE, encode, 16)
    known = known_of(tokenizer, tensors)
    assert not held & set(known) and "cat" in known
    row = tokenizer.convert_tokens_to_ids("dog") - len(known)
    assert row >= 0 and "dog" not in [known[i] for i in tensors["nearest"][row]]


# ---- how texts are cut ---------------------------------------------------------------------------------------------
VOCABULARY = ["<|pad|>", "<|end|>", "<|unknown|>", "dog", "house", "red", "犬"]


@pytest.mark.parametrize(("text", "words"), [
    ("dog", ["dog"]),
    ("The red DOG!", ["<|unknown|>", "red", "dog"]),
    ("red_dog-house/dog", ["red", "dog", "house", "dog"]),
    ("dog's", ["dog", "<|unknown|>"]),
    ("  dog\t\nhouse ", ["dog", "house"]),
    ("Ｄｏｇ", ["dog"]),  # wide letters of Japanese keyboards
    ("犬", ["犬"]),
    ("собака", ["<|unknown|>"]),
    ("dog2", ["<|unknown|>"]),
    ("", []),
    ("?!… 🐕", []),
])  # fmt: skip
def test_texts_are_cut_into_words(tmp_path, text, words):
    """Whatever was typed, an end-of-text token stands behind it; also after saving and loading."""
    word_tokenizer(VOCABULARY, 16).save_pretrained(tmp_path)
    for tokenizer in (word_tokenizer(VOCABULARY, 16), load_tokenizer(tmp_path)):
        ids, mask = tokenize(tokenizer, [text], 16)
        assert tokenizer.convert_ids_to_tokens(ids[0].tolist()) == [*words, "<|end|>"] and mask.all()


def test_long_texts_are_cut_and_keep_their_end():
    ids, mask = tokenize(word_tokenizer(VOCABULARY, 16), ["dog " * 40, "dog"], 16)
    assert ids.shape == (2, 16) and ids[0].tolist() == [3] * 15 + [1]
    assert ids[1, :2].tolist() == [3, 1] and mask.sum(1).tolist() == [16, 2]


def test_words_are_found_as_the_tokenizer_cuts_them(monkeypatch):
    """No "caf" out of "café", no "mp" out of "mp3": nobody can ever ask for these."""
    monkeypatch.setattr(word_vectors, "wordnet_words", list)
    captions = ["a café and an mp3 player_one by a dog-house"] * 3 + CAPTIONS
    tokenizer, tensors = make_words(captions, TAGS, GLOVE, encode, 16)
    known = known_of(tokenizer, tensors)
    assert {"player", "dog", "house"} <= set(known) and not {"caf", "mp"} & set(known)


# ---- lists and files -----------------------------------------------------------------------------------------------
def test_the_lists_of_timm_are_words():
    words = wordnet_words()
    assert len(words) > 10_000 and {"hound", "lorry", "armchair"} <= set(words)
    names = class_names()
    assert {"golden retriever", "person", "dog"} <= set(names) and len(names) > 1000


def test_words_are_read_back(made, tmp_path):
    tokenizer, tensors = made
    tokenizer.save_pretrained(tmp_path)
    save_file(tensors, tmp_path / "words.safetensors")
    again, read = load_words(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab() and read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    with pytest.raises(SSegError, match="There are no words in .*nowhere"):
        load_words(tmp_path / "nowhere")


def test_a_missing_package_is_one_sentence(tmp_path, capsys):
    (tmp_path / "pairs").mkdir()
    arguments = [str(tmp_path / "out"), "--captions", str(tmp_path / "pairs")]
    assert word_vectors.main(arguments) == 2 and "no .tar files" in capsys.readouterr().err
    with pytest.raises(SSegError, match="pip install surely-not-here"):
        word_vectors.sentence_encoder("surely_not_here")
