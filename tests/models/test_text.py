"""Tokenizers that a recipe names, and that the paper's recipe is the paper's size."""

import pytest
from transformers import CLIPTokenizer

from sseg.errors import SSegError
from sseg.models.config import PAPER, SSegConfig
from sseg.models.text import load_tokenizer, tokenize
from tests.conftest import ROOT
from train.model_setup import model_config
from train.recipe import Pretrain, read_recipe
from train.recipe.pretraining import Tokenizer
from train.tokenizer import make_tokenizer, train_tokenizer

RECIPES = ROOT / "train/recipes"


@pytest.fixture
def clip(tmp_path):
    """A folder as CLIP's tokenizer is published: words end in </w>, padding is the end token."""
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "do", "dog</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[("d", "o"), ("do", "g</w>")]).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def test_a_named_tokenizer_is_used_and_stored_with_the_weights(clip, tmp_path):
    tokenizer = make_tokenizer(Tokenizer(name=str(clip), max_length=6), captions=[])
    ids, attend = tokenize(tokenizer, ["dog", "a dog and a cat"], 6)
    start, dog, end = 54, 53, 55
    assert ids[0].tolist() == [start, dog, end, end, end, end] and attend[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert ids.shape == (2, 6) and ids[1, -1] == end  # cut, with its end
    tokenizer.save_pretrained(tmp_path / "run")
    again, _ = tokenize(load_tokenizer(tmp_path / "run"), ["dog", "a dog and a cat"], 6)
    assert again.equal(ids)


def test_a_tokenizer_that_cannot_be_had_is_one_sentence(clip):
    with pytest.raises(SSegError, match="nobody/nothing"):
        make_tokenizer(Tokenizer(name="nobody/nothing", max_length=6), captions=[])
    (clip / "tokenizer.json").write_text("{}")
    with pytest.raises(SSegError, match="clip"):
        make_tokenizer(Tokenizer(name=str(clip), max_length=6), captions=[])


def test_a_recipe_without_name_learns_from_captions():
    tokenizer = make_tokenizer(Tokenizer(vocab_size=300, max_length=8), ["a dog", "the dog"] * 10)
    assert tokenizer.tokenize("dog") == train_tokenizer(["a dog", "the dog"] * 10, 300, 8).tokenize("dog") == ["Ġdog"]


def test_the_paper_recipe_is_the_papers_size(clip):
    recipe = read_recipe(Pretrain, RECIPES / "paper.yaml")
    assert recipe.tokenizer.name == "openai/clip-vit-base-patch32"
    tokenizer = make_tokenizer(Tokenizer(name=str(clip), max_length=77), captions=[])
    ours, paper = model_config(recipe, tokenizer).to_dict(), SSegConfig(**PAPER).to_dict()
    of_the_vocabulary = {"text_vocab_size", "text_pad_token_id", "text_eos_token_id"}
    assert {key: ours[key] for key in ours.keys() - of_the_vocabulary} == {
        key: paper[key] for key in paper.keys() - of_the_vocabulary
    }
    assert ours["text_pad_token_id"] == ours["text_eos_token_id"] == len(tokenizer) - 1  # as 49407 of 49408 is CLIP's
