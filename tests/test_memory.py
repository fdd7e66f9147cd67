"""The memory holds the last pairs in order, without gradient."""

import torch

from train.memory import Memory


def test_the_oldest_pairs_are_forgotten():
    memory = Memory(5, regions=2, dim=3, device="cpu")
    for step in range(3):
        value = torch.full((2, 2, 3), float(step), requires_grad=True)
        memory.add(value, value[:, 0])
    assert memory.texts[:, 0].tolist() == [0, 1, 1, 2, 2] and memory.regions.shape == (5, 2, 3)
    assert not memory.regions.requires_grad and not memory.texts.requires_grad


def test_no_memory_stays_empty_and_a_restored_one_is_equal():
    none, some, again = (Memory(size, 1, 4, "cpu") for size in (0, 3, 3))
    for memory in (none, some):
        memory.add(torch.randn(2, 1, 4), torch.randn(2, 4))
    assert len(none.texts) == 0 and len(some.texts) == 2
    again.restore(some.state())
    assert torch.equal(again.regions, some.regions) and torch.equal(again.texts, some.texts)
