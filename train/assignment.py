"""Which region is which of the things that a photograph's captions name: labels that training gives itself.

Captions say what is in a photograph, not where, and leave its surroundings unsaid. A linear classifier on the features
of regions could tell people, dogs and cats from what lies around them almost without fault, if it had masks to learn
from (docs/log.md, 2026-11-30); from captions alone it learns what tends to lie near them as well. So it is
taught in rounds (expectation-maximisation, as for image labels Papandreou et al. 2015, arXiv 1502.02734):

1. From captions: what a photograph's captions name has to be the answer of some of its regions (`from_captions`).
2. Its regions are divided among what its captions name and a rest, the surroundings that nobody named; each thing keeps
   a least share, so do all surroundings together, things away from the border are likelier, and what the encoder's own
   classifier calls a region counts: of a photograph's regions, the one that it calls a jersey is the person (`divide`).
3. The classifier learns these divisions, all names competing (`from_shares`); back to 2.

What is wrong of a division differs from photograph to photograph, and a linear classifier cannot learn it by heart. The
last division is what the weights then learn from (`assignment_loss`).
"""

import re
import sys
from collections import Counter
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sseg.errors import SSegError
from sseg.inference.surroundings import BACKGROUND
from train.data.kinds import Kinds, load_kinds
from train.tags import Tagger

SEEN_IN = 15  # photographs that a name has to be said of
ROUNDS = 3  # of steps 2 and 3
STEPS, BATCH, RATE = 500, 256, 3e-3  # of the classifier, each time
LEAST = 0.2  # of a photograph's area that each of its things keeps
AROUND = 0.6  # of it that its surroundings keep: without, cats come with all the sofas and carpets they lie on
RAISES = 6  # times that what has less is raised
AWAY = 1.0  # a region with s times the border of chance counts (1 + s)^-AWAY for things
UNSURE = 1e-3  # added to the probabilities of the encoder's classifier
SHARPEN = 2.0  # power of the shares before they are labels
DIVIDED = 1024  # photographs that are divided at once
_WORD = re.compile(r"[a-z]+")


class Names(NamedTuple):
    """What regions are called: `groups` (C), and `words` (V), BACKGROUND first, with the number of each one's group.

    A group is a wider name with its kinds and parts ("person": man, woman, shirt), or a word by itself; -1 is the group
    of words that too few photographs are said of. things: (C,) bool, the others are surroundings.
    """

    groups: list[str]
    words: list[str]
    group_of: list[int]
    things: Tensor

    @classmethod
    def of(cls, captions: list[list[str]], kinds: Kinds | None = None) -> "Names":
        """From the captions of each photograph and a table of kinds (by default that of the assets).

        Raises:
            SSegError: no group of words is said of `SEEN_IN` photographs.
        """
        kinds = kinds or load_kinds()
        wider = kinds.part_of | kinds.wider
        words = sorted(kinds.naming)
        counts = Counter(group for texts in captions
                         for group in {wider.get(word, word) for word in said(texts) & kinds.naming})  # fmt: skip
        groups = sorted(group for group, count in counts.items() if count >= SEEN_IN)
        if not groups:
            raise SSegError(f"No name is said of {SEEN_IN} photographs: set loss.assignment to 0.")
        numbers = {group: i for i, group in enumerate(groups)}
        things = torch.tensor([group not in kinds.surroundings for group in groups], dtype=torch.bool)
        return cls(groups, [BACKGROUND, *words], [-1, *(numbers.get(wider.get(word, word), -1) for word in words)],
                   things)  # fmt: skip

    def named(self, captions: list[str]) -> list[int]:
        """Numbers of the words that a photograph's captions say, ascending."""
        tokens = said(captions)
        return [i for i, word in enumerate(self.words) if i and word in tokens]

    def labels(self, named: list[list[int]]) -> Tensor:
        """Which groups each photograph's words belong to: (M, C) of 0 and 1."""
        labels = torch.zeros(len(named), len(self.groups))
        for row, numbers in zip(labels, named, strict=True):
            row[[self.group_of[i] for i in numbers if self.group_of[i] >= 0]] = 1
        return labels

    def members(self, named: list[list[int]]) -> Tensor:
        """The words that each group may be called by in each photograph, those of the rest last: (B, C + 1, V) bool.

        What is said of it, and the group's own name; the rest is the background, all surroundings that nobody named,
        and what is said, but of too few photographs to be a group.
        """
        groups, kinds = torch.tensor(self.group_of), load_kinds()
        belongs = F.one_hot(groups + 1, len(self.groups) + 1)[:, 1:].T.bool()  # (C, V)
        own = torch.tensor([[word == group for word in self.words] for group in self.groups])  # (C, V)
        spoken = torch.zeros(len(named), len(self.words), dtype=torch.bool)
        for row, numbers in zip(spoken, named, strict=True):
            row[numbers] = True
        present = (spoken[:, None] & belongs).any(2, keepdim=True)  # (B, C, 1)
        members = belongs & (spoken[:, None] | own) & present
        around = torch.tensor([word == BACKGROUND or word in kinds.surroundings for word in self.words])
        seldom = spoken & (groups < 0)
        return torch.cat([members, (around & ~members.any(1) | seldom)[:, None]], 1)


def said(captions: list[str]) -> set[str]:
    """The words of captions in lower case."""
    return {word for caption in captions for word in _WORD.findall(caption.lower())}


class Regions(NamedTuple):
    """Regions of all photographs: `features` (M, N, D) standardised when read, `area` and `border` (M, N) of each.

    called: (M, N, C + 1) in 0..1, how much the encoder's classifier calls a region by each group, at the end by
    anything at all (`called`); None: unasked.
    """

    features: Tensor  # half precision; a memory map may stand behind it
    area: Tensor
    border: Tensor
    mean: Tensor  # (D,) of features
    std: Tensor
    called: Tensor | None = None

    def read(self, rows: Tensor) -> Tensor:
        """Features of some photographs: (B, N, D) float32, of unit deviation."""
        return (self.features[rows].float() - self.mean) / self.std


@torch.no_grad()
def called(features: Tensor, groups: list[str], tagger: Tagger) -> Tensor:
    """What the encoder's classifier calls regions: features (M, N, D) -> (M, N, C + 1) float16 in 0..1.

    1 for all regions where a group is none of its wider names; at the end how sure it is of its best class.
    """
    columns = [tagger.wider.index(group) if group in tagger.wider else -1 for group in groups]
    table = torch.cat([tagger.table, torch.zeros_like(tagger.table[:, :1])], 1)[:, columns]  # (1000, C)
    foreign = torch.tensor(columns, device=table.device) < 0
    parts = []
    for part in features.split(DIVIDED):
        classes = tagger(part.flatten(0, 1).float().to(table.device))  # (B * N, 1000)
        found = torch.cat([(classes @ table).masked_fill(foreign, 1.0), classes.amax(1, keepdim=True)], 1)
        parts.append(found.view(*part.shape[:2], -1).half().cpu())
    return torch.cat(parts)


def assign(regions: Regions, labels: Tensor, things: Tensor, seed: int) -> Tensor:
    """The share of each group in each region: (M, N, C + 1) float16, the rest last (`divide`).

    Args:
        labels: (M, C) of 0 and 1, what captions name; things: (C,) bool.
    """
    classifier = from_captions(regions, labels, seed)
    shares = divide(classifier, regions, labels, things)
    for number in range(1, ROUNDS + 1):
        classifier = from_shares(regions, shares, labels, things, seed + number)
        shares = divide(classifier, regions, labels, things)
        print(f"regions assigned, round {number} of {ROUNDS}", file=sys.stderr, flush=True)
    return shares


def from_captions(regions: Regions, labels: Tensor, seed: int) -> nn.Linear:
    """A classifier of regions that learns from what photographs hold: the mean of its regions' probabilities, by area.

    What few photographs hold counts for more, by the root of how seldom it is.
    """
    weight = labels.mean(0).clamp(min=1e-3) ** -0.5

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        shares = regions.area[rows].float().clamp(min=1e-9).log()[..., None]
        held = (logits.log_softmax(2) + shares).logsumexp(1)[:, :-1].clamp(max=-1e-5)  # (B, C)
        present = labels[rows]
        return -(weight * present * held + (1 - present) * torch.log1p(-held.exp())).mean()

    return _learn(regions, labels.shape[1] + 1, loss, seed)


def from_shares(regions: Regions, shares: Tensor, labels: Tensor, things: Tensor, seed: int) -> nn.Linear:
    """A classifier of regions that learns from `shares`, small groups counting for more (`balance`)."""
    weight = balance(shares, regions.area)

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        likely = logits.log_softmax(2)
        rest = torch.cat([~things * (1 - labels[rows]), torch.ones(len(rows), 1)], 1)  # (B, C + 1)
        rest = (likely.exp() * rest[:, None]).sum(2, keepdim=True).clamp(min=1e-6).log()
        likely = torch.cat([likely[..., :-1], rest], 2)
        area = regions.area[rows].float()
        return -((shares[rows].float() * likely * weight).sum(2) * area).sum() / area.sum()

    return _learn(regions, shares.shape[2], loss, seed)


def balance(shares: Tensor, area: Tensor) -> Tensor:
    """Weight of each group (C + 1,): the root of how much less than an equal part of all area it has."""
    mass = sum((part.float() * size.float()[..., None]).sum((0, 1))
               for part, size in zip(shares.split(DIVIDED), area.split(DIVIDED), strict=True))  # fmt: skip
    return (mass.sum() / mass.clamp(min=1) / len(mass)) ** 0.5


def _learn(regions: Regions, classes: int, loss, seed: int) -> nn.Linear:
    """A linear classifier (..., D) -> (..., classes) that makes `loss`(its logits, rows) small on batches of rows."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    classifier = nn.Linear(regions.features.shape[2], classes)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE, weight_decay=0.01)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * (1 - step / STEPS)
        rows = torch.randint(len(regions.features), (BATCH,), generator=generator)
        found = loss(classifier(F.dropout(regions.read(rows), 0.1)), rows)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    return classifier.requires_grad_(False)


def divide(classifier: nn.Linear, regions: Regions, labels: Tensor, things: Tensor) -> Tensor:
    """Divide the regions of each photograph among what its captions name and the rest: (M, N, C + 1) float16.

    Shares sum to 1, but for regions that the encoder's classifier is sure of: what nobody named may be a lion, so that
    they have less of the rest.
    """
    parts = []
    for rows in torch.arange(len(labels)).split(DIVIDED):
        likely, present = classifier(regions.read(rows)).softmax(2), labels[rows][:, None]
        area = regions.area[rows].float()
        rest = likely[..., -1:] + (likely[..., :-1] * (~things * (1 - present))).sum(2, keepdim=True)
        away = (1 + regions.border[rows].float()[..., None]) ** -AWAY
        shares = likely[..., :-1] * present * torch.where(things, away, 1.0)
        if regions.called is not None:
            tags = regions.called[rows, :, :-1].float() + UNSURE
            mean = (tags * area[..., None]).sum(1, keepdim=True) / area.sum(1)[:, None, None]  # (B, 1, C)
            shares = shares * tags / mean
        shares = _with_least(torch.cat([shares, rest], 2), area, things)
        if regions.called is not None:
            shares[..., -1] *= 1 - regions.called[rows, :, -1].float()
        parts.append(shares.half())
    return torch.cat(parts)


def _with_least(shares: Tensor, area: Tensor, things: Tensor) -> Tensor:
    """Shares (B, N, C + 1) that sum to 1, in which each thing has `LEAST` of the area (B, N) and all surroundings have
    `AROUND` of it, sharpened."""
    raised = torch.cat([things, things.new_zeros(1)])
    shares = F.normalize(shares, p=1, dim=2)
    for _ in range(RAISES):
        mass = (shares * area[..., None]).sum(1, keepdim=True)  # (B, 1, C + 1)
        around = (mass * ~raised).sum(2, keepdim=True)
        missing = torch.where(raised, LEAST / mass.clamp(min=1e-6), AROUND / around.clamp(min=1e-6))
        shares = F.normalize(shares * missing.clamp(min=1), p=1, dim=2)
    return F.normalize(shares**SHARPEN, p=1, dim=2)


def assignment_loss(logits: Tensor, shares: Tensor, members: Tensor, area: Tensor, weight: Tensor) -> Tensor:
    """Negative log likelihood of each region's groups, among all words, by area -> a scalar.

    Args:
        logits: (B, N, V) of regions and words; shares: (B, N, C + 1); members: (B, C + 1, V) of `Names.members`.
        area: (B, N); weight: (C + 1,) of groups.
    """
    likely = logits.softmax(2) @ members.transpose(1, 2).to(logits.dtype)  # (B, N, C + 1)
    lost = (shares * weight * likely.clamp(min=1e-6).log()).sum(2)
    return -(lost * area).sum() / area.sum().clamp(min=1e-6)
