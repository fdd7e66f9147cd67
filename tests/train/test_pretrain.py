"""Pre-training for real, on a very small model: it learns, stops, resumes exactly, and runs in two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import sseg
from sseg.errors import SSegError
from sseg.pseudo_masks.generate import pseudo_masks
from tests.conftest import ROOT
from train import log, pretrain
from train.recipe import read_recipe
from train.schedules import learning_rate

STAGE = {"size": 32, "batch": 8, "k": 4}
STAGE["difficulty"] = {"things": [1, 1], "side": [0.5, 0.9], "materials": [1, 1], "hidden": 0.2}


@pytest.fixture
def recipe(tmp_path) -> Path:
    """mini.yaml, shrunk to seconds."""
    small = yaml.safe_load((ROOT / "train/recipes/mini.yaml").read_text())
    small["model"]["backbone"] |= {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    small["model"] |= {"fpn_dim": 32, "hidden_dim": 32, "num_queries": 6, "embed_dim": 32, "projector_dim": 32}
    small["model"] |= {"text_width": 32, "text_layers": 1}
    small["tokenizer"]["vocab_size"] = 600
    small |= {"stages": [STAGE | {"steps": 4}, STAGE | {"steps": 2, "k": 6}], "out": str(tmp_path / "run")}
    small |= {"log_every": 2, "checkpoint_minutes": 0, "precision": "fp32", "device": "cpu"}
    small["optimizer"]["warmup"] = 2
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


@pytest.mark.font
def test_a_resumed_run_equals_an_unbroken_one_and_loads(recipe, tmp_path, emoji_font):
    assert pretrain.main([str(recipe)]) == 0
    broken = str(tmp_path / "broken")
    run = pretrain.Run(read_recipe(str(recipe), [f"out={broken}"]), resume=False)
    run.model.train()
    for _ in range(3):
        run.train_step()
    run.save()
    log.append(run.out, {"step": 4, "loss": 1.0})  # one step beyond the checkpoint, which is done again
    del run  # as if killed here
    assert pretrain.main([str(recipe), f"out={broken}", "--resume"]) == 0
    whole, parts = load_file(tmp_path / "run/state.safetensors"), load_file(Path(broken) / "state.safetensors")
    assert whole.keys() == parts.keys()
    for name in whole.keys() - {"seconds"}:
        assert torch.equal(whole[name], parts[name]), name

    steps = [json.loads(line)["step"] for line in (Path(broken) / "log.jsonl").read_text().splitlines()]
    assert steps == [3, 4, 6]  # resumed at 3
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert {"commit", "versions", "hardware", "recipe"} <= lines[0].keys()
    assert [record["step"] for record in lines[1:]] == [2, 4, 6]
    segmenter = sseg.load(str(tmp_path / "run"))
    assert segmenter(torch.zeros(40, 40, 3, dtype=torch.uint8).numpy(), ["dog"]).labels.shape == (40, 40)
    assert segmenter.known("dog")


@pytest.mark.font
def test_a_run_can_go_on_with_other_stages_and_keeps_its_words(recipe, tmp_path, emoji_font):
    run = pretrain.Run(read_recipe(str(recipe)), resume=False)
    run.train_step()
    run.save()
    changed = read_recipe(str(recipe))
    harder = STAGE["difficulty"] | {"things": [1, 4], "materials": [3, 3]}
    changed["stages"] = [STAGE | {"steps": 9, "difficulty": harder}]
    again = pretrain.Run(changed, resume=True)
    assert again.step == 1 and again.total == 9
    assert again.tokenizer.get_vocab() == run.tokenizer.get_vocab()


@pytest.mark.font
def test_a_run_can_start_from_other_weights(recipe, tmp_path, emoji_font):
    first = pretrain.Run(read_recipe(str(recipe)), resume=False)
    first.train_step()
    first.save()
    second = pretrain.Run(read_recipe(str(recipe), [f"init={first.out}", f"out={tmp_path / 'second'}"]), resume=False)
    assert second.step == 0 and second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert second.words == first.words and first.words  # what the weights know, the run goes on knowing
    for name, tensor in second.model.state_dict().items():
        expected = first.average[name]
        assert tensor.dtype == expected.dtype and torch.allclose(tensor, expected, atol=1e-3), name
    deeper = [f"init={first.out}", f"out={tmp_path / 'deeper'}", "model.backbone.depths=[1, 2, 3, 1]"]
    third = pretrain.Run(read_recipe(str(recipe), deeper), resume=False)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        short, long = (run.model.eval().encode_image(pixels) for run in (second, third))
    assert sum(p.numel() for p in third.model.parameters()) > sum(p.numel() for p in second.model.parameters())
    assert torch.allclose(short.mask_logits, long.mask_logits, atol=1e-4)
    assert torch.allclose(short.mask_embeddings, long.mask_embeddings, atol=1e-4)
    changes = [f"init={first.out}", f"out={tmp_path / 'third'}", "model.hidden_dim=64"]
    with pytest.raises(SSegError, match="does not fit init"):
        pretrain.Run(read_recipe(str(recipe), changes), resume=False)


@pytest.mark.font
def test_without_phrases_only_captions_are_read(recipe, emoji_font):
    run, read = pretrain.Run(read_recipe(str(recipe), ["loss.phrases=0.0"]), resume=False), []
    tokens = run.tokens
    run.tokens = lambda texts: read.append(len(texts)) or tokens(texts)
    terms = run.train_step()
    assert read == [STAGE["batch"]] and terms["phrases"] == 0 and terms["contrastive"] > 0


@pytest.mark.font
def test_coarse_cells_fill_the_grid_of_the_masks(recipe, emoji_font):
    run = pretrain.Run(read_recipe(str(recipe), ["pseudo_masks={features: pixels, cell: 8}"]), resume=False)
    pixels, _ = run.pairs.batch(0, 4, STAGE)
    ids = run.pairs.masks(0, 4, STAGE)
    run.mask_bare(ids, pixels, 4, 0)
    coarse = pseudo_masks(pixels, run.source, 4, (4, 4), seeds=0)
    assert ids.shape == (4, 8, 8) and torch.equal(ids[:, ::2, ::2], coarse) and torch.equal(ids[:, 1::2, 1::2], coarse)
    with pytest.raises(SSegError, match="multiple of 4 that divides"):
        pretrain.Run(read_recipe(str(recipe), ["pseudo_masks={features: pixels, cell: 12}"]), resume=False)


@pytest.mark.font
def test_two_processes_write_one_run(recipe, tmp_path, emoji_font):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "train.pretrain", str(recipe)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[0]["processes"] == 2
    assert [record["samples"] for record in lines[1:]] == [16, 32, 48]  # 8 a step, 4 in each process


GATHER = """
import torch, torch.distributed as dist
from train.distributed import start, gather, finish
from train.losses import contrastive_loss
rank, world, _ = start("cpu")
weight = torch.eye(4).requires_grad_(True)
rows = torch.arange(16.0).sin().view(4, 4)
mine = rows.chunk(world)[rank] @ weight
texts = rows.cos().chunk(world)[rank] @ weight
contrastive_loss(gather(mine) @ gather(texts).T, 3.0).backward()
if world > 1:
    dist.all_reduce(weight.grad)
    weight.grad /= world
if rank == 0:
    print("GRAD", [round(v, 5) for v in weight.grad.flatten().tolist()])
finish()
"""


def test_gathering_gives_the_gradient_of_one_process(tmp_path):
    script = tmp_path / "gather.py"
    script.write_text(GATHER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    found = []
    for count in (1, 2):
        command = [*launch, "--nproc-per-node", str(count), str(script)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        found.append(next(line for line in done.stdout.splitlines() if line.startswith("GRAD")))
    assert found[0] == found[1]


def test_the_schedule_warms_up_holds_and_cools_down():
    rates = [learning_rate(step, 100, 1.0, warmup=10, final=0.1, cooldown=0.4) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:60] == [pytest.approx(1.0)] * 51
    assert rates[80] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)


def test_a_misspelt_change_is_refused(recipe):
    with pytest.raises(SSegError, match="optimizer.rate"):
        read_recipe(str(recipe), ["optimizer.rate=1"])
    assert pretrain.main([str(recipe), "optimizer.rate=1"]) == 2
    assert pretrain.main([str(recipe), "--resume", "optimizer.rate=1"]) == 2  # in this order, too
    assert read_recipe(str(recipe), ["optimizer.lr=2e-3"])["optimizer"]["lr"] == 2e-3


def test_a_run_is_not_overwritten_by_mistake(recipe, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/state.safetensors").write_bytes(b"hours of work")
    assert pretrain.main([str(recipe)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / "run/state.safetensors").read_bytes() == b"hours of work"


def test_resuming_nothing_is_one_sentence(recipe, capsys):
    assert pretrain.main([str(recipe), "--resume"]) == 2
    assert "no run to resume" in capsys.readouterr().err
