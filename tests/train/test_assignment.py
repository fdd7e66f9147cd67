"""Which region is which of the things that captions name: gates, least shares, and what rounds of it learn."""

import pytest
import torch

from sseg.errors import SSegError
from train import assignment
from train.assignment import Names, Regions, assign, assignment_loss, balance, called, divide, from_captions

CAPTIONS = [["A man on the grass.", "someone in a shirt"], ["a dog, a cat"], ["grass and sky"], ["a woman's dog"]]


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setattr(assignment, "SEEN_IN", 1)
    return Names.of(CAPTIONS)


def test_groups_are_wider_names_with_their_kinds_and_parts(names):
    assert names.groups == ["cat", "dog", "grass", "person", "sky"]
    assert names.things.tolist() == [True, True, False, True, False]
    labels = names.labels([names.named(texts) for texts in CAPTIONS])
    present = [[group for group, there in zip(names.groups, row, strict=True) if there] for row in labels.tolist()]
    assert present == [["grass", "person"], ["cat", "dog"], ["grass", "sky"], ["dog", "person"]]


def test_a_name_that_few_photographs_have_is_no_group(monkeypatch):
    monkeypatch.setattr(assignment, "SEEN_IN", 2)
    names = Names.of(CAPTIONS)
    assert names.groups == ["dog", "grass", "person"]
    assert names.labels([names.named(["a cat on the grass"])]).tolist() == [[0, 1, 0]]
    monkeypatch.setattr(assignment, "SEEN_IN", 9)
    with pytest.raises(SSegError, match=r"loss\.assignment"):
        Names.of(CAPTIONS)


def test_members_are_what_is_said_and_the_groups_own_name(names):
    members = names.members([names.named(texts) for texts in CAPTIONS])
    called = [{names.words[i] for i in row.nonzero().flatten().tolist()} for row in members[0]]
    by_group = dict(zip([*names.groups, "rest"], called, strict=True))
    assert by_group["person"] == {"person", "man", "shirt"} and by_group["grass"] == {"grass"}
    assert by_group["dog"] == set() and {"background", "sky", "water"} <= by_group["rest"]
    assert not by_group["rest"] & {"grass", "man", "dog"}
    assert not (members.sum(1) > 1).any()  # no word stands for two groups
    seldom = names.members([names.named(["a lion on the grass"])])[0, -1]
    assert seldom[names.words.index("lion")] and not members[:, -1, names.words.index("lion")].any()


@pytest.fixture
def world():
    """400 photographs of 6 regions in which a thing always lies beside something that shows traces of it."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731
    features, labels = 0.7 * draw(400, 6, 12), torch.zeros(400, 2)
    kinds = torch.zeros(400, 6, dtype=torch.long)  # 0: surroundings
    for row in range(400):
        thing = row % 3  # 0: none, else thing 1 or 2
        features[row, :, 0] += 2
        if thing:
            labels[row, thing - 1] = 1
            kinds[row, :2] = thing
            features[row, :2, thing] += 3
            features[row, :2, 0] -= 2
            features[row, 2:5, thing] += 1.2  # beside the thing
    area = torch.full((400, 6), 1 / 6)
    border = torch.tensor([0.5, 0.5, 1, 1, 1, 2]).repeat(400, 1)
    return Regions(features.half(), area.half(), border.half(), torch.zeros(12), torch.ones(12)), labels, kinds


THINGS = torch.tensor([True, True])


def test_rounds_find_the_thing_and_not_what_lies_beside_it(world):
    regions, labels, kinds = world
    shares = assign(regions, labels, THINGS, 0).float()
    assert torch.allclose(shares.sum(2), torch.ones(400, 6), atol=2e-3)
    right = shares.argmax(2) == torch.where(kinds > 0, kinds - 1, 2)
    before = divide(from_captions(regions, labels, 0), regions, labels, THINGS)
    was_right = before.argmax(2) == torch.where(kinds > 0, kinds - 1, 2)
    assert right.float().mean() > 0.97 and right.float().mean() > was_right.float().mean()


def test_nothing_that_captions_do_not_name_has_a_share(world):
    regions, labels, _ = world
    shares = divide(from_captions(regions, labels, 0), regions, labels, THINGS)
    assert not (shares[..., :2] * (1 - labels)[:, None]).any()
    assert (shares[labels.sum(1) == 0][..., 2] == 1).all()


def test_the_same_seed_divides_alike(world):
    regions, labels, _ = world
    assert torch.equal(assign(regions, labels, THINGS, 3), assign(regions, labels, THINGS, 3))


def test_each_thing_keeps_a_least_share(world):
    """Even where the classifier finds it nowhere."""
    regions, labels, _ = world
    nowhere = torch.nn.Linear(12, 3).requires_grad_(False)
    nowhere.weight.zero_()
    nowhere.bias.copy_(torch.tensor([-6.0, -6.0, 6.0]))
    shares = divide(nowhere, regions, labels, THINGS).float()
    mass = (shares[..., :2] * regions.area[..., None].float()).sum(1)[labels.bool()]
    assert (mass > 0.002).all() and (shares[..., 2] > 0.5).all()  # sharpened: a little, not the picture


class Classifier:
    """The wider names of an encoder's classifier whose classes are the regions' first two features."""

    wider = ["dog", "person"]
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])

    def __call__(self, features):
        return torch.cat([features[:, :2], 1 - features[:, :2].sum(1, keepdim=True)], 1)


def test_what_the_encoder_calls_a_region_decides_where_the_classifier_does_not(world):
    regions, labels, _ = world
    features = torch.tensor([[[0.0, 0.9], [0.1, 0.0], [0.8, 0.1]]])
    found = called(features, ["person", "sky", "dog"], Classifier())
    expected = [[0.9, 1, 0.0, 0.9], [0.0, 1, 0.1, 0.9], [0.1, 1, 0.8, 0.8]]  # the last: its best class
    assert torch.allclose(found.float(), torch.tensor([expected]), atol=1e-3)

    alike = torch.nn.Linear(12, 3).requires_grad_(False)
    alike.weight.zero_()
    alike.bias.zero_()
    tags = torch.full((400, 6, 3), 0.01)
    tags[:, 4, :2] = 0.8
    tags[..., 2] = 0.0
    even = divide(alike, regions, labels, THINGS)
    told = divide(alike, regions._replace(called=tags.half()), labels, THINGS)
    thing = labels.sum(1) > 0
    assert (even[thing][..., :2].sum(2).argmax(1) != 4).all()  # it touches the border more than others
    assert (told[thing][..., :2].sum(2).argmax(1) == 4).all()
    assert torch.equal(told[~thing], even[~thing])


def test_what_the_encoder_is_sure_of_is_not_taught_to_be_surroundings(world):
    regions, labels, _ = world
    tags = torch.full((400, 6, 3), 0.5)
    tags[..., 2] = torch.tensor([0.0, 0.9, 0.0, 0.0, 0.0, 0.0])
    classifier = from_captions(regions, labels, 0)
    shares = divide(classifier, regions._replace(called=tags.half()), labels, THINGS).float()
    without = divide(classifier, regions, labels, THINGS).float()
    assert torch.allclose(shares[:, 1, 2], 0.1 * without[:, 1, 2], atol=2e-3)
    assert torch.allclose(shares[..., :2], without[..., :2], atol=2e-3)


def test_surroundings_keep_a_least_share(world):
    """Even where the classifier finds the thing everywhere: the regions that are least like it go to the rest."""
    regions, labels, _ = world
    everywhere = torch.nn.Linear(12, 3).requires_grad_(False)
    everywhere.weight.zero_()
    everywhere.weight[:2, 0] = -0.5  # the thing's own regions have less of the first feature
    everywhere.bias.copy_(torch.tensor([6.0, 6.0, -6.0]))
    shares = divide(everywhere, regions, labels, THINGS).float()[labels.sum(1) == 1]
    rest = shares[..., 2]
    assert rest[:, 2:].mean() > 0.5 > rest[:, :2].mean() and (rest.mean(1) > 0.5).all()


def test_small_groups_weigh_more_by_the_root():
    shares = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).repeat(50, 1, 1).half()
    weight = balance(shares, torch.tensor([[0.8, 0.2]]).repeat(50, 1))
    assert weight[1] / weight[0] == pytest.approx(2, rel=1e-2)


def test_the_loss_is_the_likelihood_of_any_word_of_the_group(names):
    members = names.members([names.named(CAPTIONS[0])])  # (1, 6, V)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, len(names.words), generator=generator)
    shares = torch.zeros(1, 2, 6)
    shares[0, 0, names.groups.index("person")] = shares[0, 1, 5] = 1
    found = assignment_loss(logits, shares, members, torch.tensor([[0.75, 0.25]]), torch.ones(6))
    person = [names.words.index(word) for word in ("person", "man", "shirt")]
    rest = [i for i in range(len(names.words)) if members[0, 5, i]]
    likely = logits[0].softmax(1)
    expected = -0.75 * likely[0, person].sum().log() - 0.25 * likely[1, rest].sum().log()
    assert found == pytest.approx(float(expected), rel=1e-5)
