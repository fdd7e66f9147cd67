"""Weights that were loaded and used before a process forks answer in the child too; nothing global changes."""

import numpy as np
import pytest
import torch

from sseg import PseudoMasker

CHILD = """
import multiprocessing, sys
import numpy as np, torch
torch.set_num_threads(2)
import sseg
picture = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
{make}
before = answer()
fork = multiprocessing.get_context("fork")
queue = fork.Queue()
child = fork.Process(target=lambda: queue.put(answer()), daemon=True)
child.start()
print(np.mean(queue.get(timeout=100) == before))
child.join(30)
print(child.exitcode, torch.get_num_threads())
"""
MAKE = {
    "segmenter": "one = sseg.load('mini', 'cpu'); answer = lambda: one(picture, ['dog', 'grass'], 0.0).labels",
    "pseudo-masks": "one = sseg.PseudoMasker('mini', device='cpu'); answer = lambda: one(picture).ids",
}


@pytest.mark.parametrize("kind", MAKE)
def test_a_forked_process_answers_as_its_parent(run_python, kind):
    alike, end = run_python(CHILD.format(make=MAKE[kind])).splitlines()
    assert float(alike) > 0.999  # on one thread sums are added up in another order
    assert end == "0 2"  # the parent keeps its threads


@pytest.mark.parametrize("source", ["pixels", "textons", "mini", "encoder", "sseg"])
def test_pseudo_masks_leave_the_global_generator_alone(source, picture):
    before = torch.random.get_rng_state()
    masker = PseudoMasker(source, device="cpu")
    features = masker.encode(picture, 224)
    for method in ("kmeans", "spectral"):
        masker.cluster(features, 4, seed=3, method=method)
    features.best_k()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.isfinite(features.tokens.numpy()).all()
