"""Texts as the mean of their words: what padding, function words and unseen words do, and a segmenter with such a
text tower."""

import json

import pytest
import torch
import torch.nn.functional as F

import sseg
from sseg.models.sseg import SSegModel
from sseg.models.word_tower import WordTower
from train.word_vectors import word_tokenizer

WORDS = ["<|pad|>", "<|end|>", "<|unknown|>", "the", "dog", "cat", "grass", "sky"]  # known
UNSEEN = ["hound", "kitten", "zyx"]  # the last has no neighbours
PAD, END, THE, DOG, CAT, HOUND, ZYX = 0, 1, 3, 4, 5, 8, 10


def fill(tower: WordTower) -> WordTower:
    """A hound is mostly a dog, a kitten mostly a cat; "the" and the special tokens say nothing."""
    generator = torch.Generator().manual_seed(0)
    tower.vectors.copy_(torch.randn(tower.vectors.shape, generator=generator))
    tower.nearest.copy_(torch.tensor([[DOG, CAT], [CAT, DOG], [PAD, PAD]]))
    tower.nearness.copy_(torch.tensor([[0.8, 0.2], [0.9, 0.1], [0.0, 0.0]]))
    tower.weights[[PAD, END, THE]] = 0
    return tower


@pytest.fixture
def tower() -> WordTower:
    torch.manual_seed(0)
    return fill(WordTower(len(WORDS) + len(UNSEEN), len(WORDS), 6, 2, 16)).eval()


@pytest.fixture
def config(tiny_config):
    sizes = {"text_tower": "words", "text_vocab_size": len(WORDS) + len(UNSEEN), "text_known": len(WORDS)}
    sizes |= {"text_vector_dim": 6, "text_neighbours": 2}
    return type(tiny_config)(**tiny_config.to_dict() | sizes)


def encode(tower, *texts: list[int]) -> torch.Tensor:
    """Texts of different lengths as one padded batch."""
    length = max(map(len, texts))
    ids = torch.tensor([[*text, *[PAD] * (length - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
    return tower(ids, mask)


def test_padding_changes_nothing(tower):
    together = encode(tower, [DOG, END], [DOG, CAT, THE, CAT, HOUND, END])
    assert torch.allclose(together[0], encode(tower, [DOG, END])[0], atol=1e-6)
    tower.weights[PAD] = 1.0  # even where the padding token would say something
    assert torch.allclose(encode(tower, [DOG, END], [CAT] * 6)[0], together[0], atol=1e-6)


def test_a_text_is_the_mean_of_the_words_that_say_something(tower):
    own = tower.own.weight + tower.vectors @ tower.read.weight.T + tower.read.bias
    found = encode(tower, [THE, DOG, THE, CAT, END], [CAT, DOG], [DOG, END])
    assert torch.allclose(found[0], (own[DOG] + own[CAT]) / 2, atol=1e-6)
    assert torch.allclose(found[0], found[1], atol=1e-6) and torch.allclose(found[2], own[DOG], atol=1e-6)


def test_a_text_that_says_nothing_has_a_state_all_the_same(tower):
    own = tower.own.weight + tower.vectors @ tower.read.weight.T + tower.read.bias
    found = encode(tower, [THE, END], [END], [DOG, DOG, DOG])
    assert torch.allclose(found[0], (own[THE] + own[END]) / 2, atol=1e-6)
    assert torch.allclose(found[1], own[END], atol=1e-6) and found.isfinite().all()


def test_an_unseen_word_is_the_mean_of_its_neighbours_by_their_shares(tower):
    dog, cat, hound, kitten, alone = tower.states(torch.tensor([DOG, CAT, HOUND, HOUND + 1, ZYX]))
    assert torch.allclose(hound, 0.8 * dog + 0.2 * cat, atol=1e-6)
    assert torch.allclose(kitten, 0.9 * cat + 0.1 * dog, atol=1e-6)
    assert not alone.any()  # nothing is near


def test_the_last_known_word_and_the_first_unseen_one_are_told_apart(tower):
    last, first = tower.states(torch.tensor([len(WORDS) - 1, len(WORDS)]))
    vector = tower.vectors[-1] @ tower.read.weight.T + tower.read.bias
    assert torch.allclose(last, tower.own.weight[-1] + vector, atol=1e-6) and not torch.allclose(first, last)
    with pytest.raises(IndexError):
        tower.states(torch.tensor([len(WORDS) + len(UNSEEN)]))


def test_words_are_forgotten_in_training_alone(tower):
    ids = torch.full((400,), DOG)
    vector = tower.vectors[DOG] @ tower.read.weight.T + tower.read.bias
    assert torch.equal(*tower.states(ids)[:2]) and len(tower.states(ids).unique(dim=0)) == 1
    torch.manual_seed(0)
    states = tower.train().states(ids)
    forgotten = torch.isclose(states, vector, atol=1e-6).all(1)
    assert 0.1 < forgotten.float().mean() < 0.3
    assert torch.allclose(states[~forgotten], vector + tower.own.weight[DOG], atol=1e-6)


def test_what_is_learned_of_a_dog_serves_the_hound(tower):
    encode(tower, [HOUND, END]).sum().backward()
    learned = tower.own.weight.grad.abs().sum(1) > 0
    assert learned.nonzero().flatten().tolist() == [DOG, CAT]


@pytest.fixture
def weights(config, tmp_path):
    """A weights folder of a model with such a tower."""
    torch.manual_seed(0)
    model = SSegModel(config).eval()
    fill(model.text_tower)
    model.save_pretrained(tmp_path)
    word_tokenizer([*WORDS, *UNSEEN], config.text_max_length).save_pretrained(tmp_path)
    phrases = [{"text": text, "count": 9, "kind": "word"} for text in WORDS[4:]]
    (tmp_path / "vocabulary.json").write_text(json.dumps({"phrases": phrases}))
    return tmp_path, model


def test_saved_and_loaded_it_says_the_same(weights):
    folder, model = weights
    again = sseg.load(folder, device="cpu").model  # strict
    assert again.text_tower.nearest.dtype == torch.int16 and again.text_tower.forget == model.text_tower.forget
    ids = torch.tensor([[THE, DOG, END], [HOUND, END, PAD], [END, PAD, PAD], [ZYX, PAD, PAD]])
    one, other = (each.encode_text(ids, (ids != PAD).long()) for each in (model, again))
    assert torch.equal(one, other) and torch.allclose(one.norm(dim=1), torch.ones(4), atol=1e-5)


def test_a_segmenter_reads_unseen_words_as_their_neighbours(weights, picture):
    seg = sseg.load(weights[0], device="cpu")
    assert torch.allclose(seg.embed(["the dog"]), seg.embed(["dog"]), atol=1e-6)
    assert torch.allclose(seg.embed(["The DOG!"]), seg.embed(["dog"]), atol=1e-6)
    assert seg.known("two dogs") and not seg.known("hound")
    assert seg.nearest("grsas", 1)[0][0] == "grass" and seg.knows_unseen  # a slip of the pen
    meanings = F.normalize(seg.embed(["dog", "cat", "grass", "sky"]), dim=1)
    expected = [WORDS[4 + i] for i in (meanings @ seg.embed(["hound"])[0]).argsort(descending=True).tolist()]
    assert [text for text, _ in seg.nearest("hound", 4)] == expected
    out = seg.ask(seg.encode(picture), "hound, the, zyx, 犬", background=0.0)
    assert out.labels.shape == (90, 120) and out.coarse_scores.isfinite().all() and out.known == [False] * 4


def test_an_unseen_word_is_asked_as_the_known_one_that_it_is_read_as(weights, picture):
    """Kinds of a dog answer for a hound as well, and are no distractors of it."""
    folder, _ = weights
    phrases = [{"text": "dog", "kind": "thing"}, {"text": "cat", "kind": "thing", "wider": "dog"},
               {"text": "grass", "kind": "surroundings"}, {"text": "sky", "kind": "surroundings"}]  # fmt: skip
    (folder / "vocabulary.json").write_text(json.dumps({"phrases": phrases}))
    seg = sseg.load(folder, device="cpu")
    words = ("hound", "Red HOUND", "dog", "zyx")
    assert [seg.vocabulary.read_as(text) for text in words] == ["dog", "red dog", "dog", "zyx"]
    assert seg.vocabulary.with_kinds([("hound",), ("sky",)]) == [["hound", "cat"], ["sky"]]
    assert seg.vocabulary.with_kinds([("zyx",)]) == [["zyx"]]
    encoded = seg.encode(picture)
    with torch.no_grad():
        seg.model.text_tower.nearness[0] = torch.tensor([1.0, 0.0])  # a hound is a dog and nothing else
    again = sseg.load(folder, device="cpu")
    again.model.load_state_dict(seg.model.state_dict())
    dog, hound = (again.ask(encoded, text, background=0).coarse_scores for text in ("dog", "hound"))
    assert torch.allclose(dog, hound, atol=1e-6)
