"""Wider names, and what an encoder's own classifier calls a region: the shipped list, the names, the loss."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import ImageNetInfo

from sseg.paths import ASSETS
from train.data.held_out import held_out
from train.data.kinds import load_kinds, numbers, with_wider
from train.tags import DISTRACTORS, Tagger, draw_names, tag_loss

KINDS = load_kinds()
# A word of each class's own names (timm's), where the wider name itself does not say it.
SAID = {
    "dog": "collie", "bird": "robin", "cat": "Persian cat", "fish": "goldfish", "bear": "brown bear",
    "bus": "school bus",
    "car": "sports car", "truck": "tow truck", "boat": "canoe", "train": "bullet train", "sofa": "studio couch",
    "bottle": "wine bottle", "chair": "rocking chair", "table": "dining table", "horse": "sorrel", "sheep": "ram",
    "cow": "ox", "airplane": "airliner", "bicycle": "mountain bike", "motorcycle": "moped", "television": "television",
    "person": "scuba diver", "mushroom": "mushroom", "flower": "daisy", "cup": "coffee mug", "bed": "four-poster",
    "umbrella": "umbrella", "toilet": "toilet seat", "bag": "backpack", "lamp": "table lamp", "hat": "sombrero",
    "ball": "soccer ball", "shoe": "running shoe", "oven": "microwave", "pizza": "pizza", "zebra": "zebra",
}  # fmt: skip


# ---- the list ------------------------------------------------------------------------------------------------------
def test_a_kind_has_one_wider_name():
    words = [word for names in KINDS.of.values() for word in names]
    assert len(words) == len(set(words)) == len(KINDS.wider) and not set(words) & set(KINDS.of)
    assert not set(KINDS.wider) & set(KINDS.part_of)
    assert all(re.fullmatch("[a-z]+", word) for word in (*words, *KINDS.of, *KINDS.part_of))


def test_a_class_has_one_wider_name_and_a_number_of_imagenet():
    classes = [number for own in KINDS.classes.values() for number in own]
    assert len(classes) == len(set(classes)) and set(classes) <= set(range(1000))


@pytest.mark.parametrize("wider", SAID)
def test_wider_names_cover_the_classes_that_are_meant(wider):
    info = ImageNetInfo()
    described = ", ".join(info.index_to_description(number) for number in KINDS.classes[wider])
    assert SAID[wider] in described.split(", ")


def test_a_class_of_the_very_name_is_under_it():
    """The class "mushroom" is no vegetable, where "mushroom" is a wider name itself."""
    info, of = ImageNetInfo(), {number: wider for wider, own in KINDS.classes.items() for number in own}
    for number, wider in of.items():
        own = set(info.index_to_description(number).split(", ")) & set(KINDS.classes)
        assert not own or wider in own, info.index_to_description(number)


def test_no_wider_name_is_held_out():
    assert not held_out() & {*KINDS.of, *KINDS.classes}


def test_captions_say_the_wider_names_of_their_words():
    assert with_wider(["a man", "two dogs", "grass"]) == ["a man", "two dogs", "grass", "person", "dog"]
    assert with_wider(["young woman", "person", "boy"]) == ["young woman", "person", "boy"]  # each once
    assert with_wider(["manhole", "hat"]) == ["manhole", "hat"]  # whole words, and no parts
    assert with_wider([]) == []


def test_numbers_are_read_with_their_ranges():
    assert numbers("0-2 7") == [0, 1, 2, 7] and numbers(5) == [5] and numbers("9-9") == [9]


# ---- the classifier ------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", pretrained=False).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    return Tagger("test_efficientnet", f"folder:{folder}", held_out()), network


def test_regions_go_through_the_encoders_own_head(tagger):
    tagger, network = tagger
    last = torch.randn(3, 64, 1, 1)
    with torch.no_grad():
        expected = network.forward_head(network.bn2(network.conv_head(last))).softmax(1)
    features = torch.cat([torch.randn(3, 80), last.flatten(1)], 1)
    assert torch.allclose(tagger.train()(features), expected, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in tagger.parameters())


def test_names_and_wider_names_go_without_held_out_words(tagger):
    tagger, _ = tagger
    words = re.compile(rf"\b({'|'.join(map(re.escape, held_out()))})\b")
    assert not any(words.search(name) for name in [*tagger.wider, *(name for own in tagger.names for name in own)])
    assert tagger.names[207] == ["golden retriever"] and "dog" in tagger.wider
    assert tagger.table.shape == (1000, len(tagger.wider)) and tagger.table[207, tagger.wider.index("dog")] == 1
    assert tagger.table.sum(0).tolist() == [len(KINDS.classes[name]) for name in tagger.wider]


def test_names_of_what_was_found_are_always_drawn(tagger):
    tagger, _ = tagger
    nameless = next(i for i, names in enumerate(tagger.names) if not names)
    found = torch.tensor([207, 1, nameless])
    classes, names = draw_names(tagger, found, 3)
    assert classes.tolist() == sorted(set(classes.tolist())) and {1, 207} <= set(classes.tolist())
    assert nameless not in classes and DISTRACTORS <= len(names) <= DISTRACTORS + 2
    assert all(name in tagger.names[i] for i, name in zip(classes.tolist(), names, strict=True))
    again = draw_names(tagger, found, 3)
    assert again[1] == names and draw_names(tagger, found, 4)[1] != names


# ---- the loss ------------------------------------------------------------------------------------------------------
def unit(*shape):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return torch.nn.functional.normalize(rows, dim=1)


CLASSES = torch.tensor([0, 2, 3])  # of five
TABLE = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 0], [0, 0]])
SCALE = torch.tensor(7.0)


def loss_of(probabilities, regions=None, weight=0.5):
    regions = unit(len(probabilities), 8) if regions is None else regions
    return tag_loss(regions, probabilities, unit(3, 8), CLASSES, unit(2, 8), TABLE, SCALE, weight)


def test_the_loss_is_the_cross_entropy_with_the_classifiers_answer():
    """Written out: region 0 is surely a class with a wider name, region 1 a class without, region 2 unsure."""
    probabilities = torch.tensor([[0.6, 0.1, 0.2, 0.1, 0], [0.1, 0.1, 0.1, 0.7, 0], [0.2, 0.2, 0.2, 0.2, 0.2]])
    regions, names, wider = unit(3, 8), unit(3, 8), unit(2, 8)

    def entropy(share, texts, region):
        likely = torch.exp(SCALE * (texts @ region))
        return -sum(s * torch.log(p / likely.sum()) for s, p in zip(share, likely, strict=True))

    first = entropy([0.6 / 0.9, 0.2 / 0.9, 0.1 / 0.9], names, regions[0])
    second = entropy([0.1 / 0.9, 0.1 / 0.9, 0.7 / 0.9], names, regions[1])
    widely = entropy([0.8 / 0.9, 0.1 / 0.9], wider, regions[0])
    expected = (first + second) / 2 + 0.5 * widely
    assert loss_of(probabilities, regions).item() == pytest.approx(expected.item(), abs=1e-5)


def test_where_the_classifier_is_unsure_nothing_is_learned():
    regions = unit(4, 8).requires_grad_(True)
    loss = loss_of(torch.full((4, 5), 0.2), regions)
    loss.backward()
    assert loss.item() == 0 and not regions.grad.any()


def test_a_class_without_a_name_is_not_given_to_another():
    """All names of class 1 are held out: what is surely of it must not be taught the names of what it is not."""
    regions = unit(1, 8).requires_grad_(True)
    loss = loss_of(torch.tensor([[0.01, 0.96, 0.02, 0.01, 0]]), regions, weight=0.0)
    loss.backward()
    assert loss.item() == 0 and not regions.grad.any()


def test_a_sure_region_comes_nearer_to_its_name():
    regions = unit(1, 8).requires_grad_(True)
    loss_of(torch.tensor([[0.0, 0, 0.9, 0.1, 0]]), regions, weight=0.0).backward()
    names = unit(3, 8)
    assert -(regions.grad[0] @ names[1]) > 0 and torch.isfinite(regions.grad).all()


def test_the_shipped_list_lies_where_the_package_has_it():
    assert (ASSETS / "vocabularies" / "kinds.yaml").is_file()
