"""Pre-training for real, on a very small model: other stages, other weights to start from, two processes, scenes."""

import os
import subprocess
import sys

import pytest
import torch

import sseg
from sseg.errors import SSegError
from sseg.pseudo_masks.generate import pseudo_masks
from tests.conftest import ROOT
from tests.train.conftest import STEPS, lines_of, read, trainer_of
from train.recipe import Stage
from train.schedules import learning_rate
from train.trainer import open_trainer


@pytest.fixture
def recipe(recipes):
    return recipes["pretrain"]


def test_a_run_loads_and_knows_its_words(unbroken):
    segmenter = sseg.load(str(unbroken("pretrain")))
    assert segmenter(torch.zeros(40, 40, 3, dtype=torch.uint8).numpy(), ["dog"]).labels.shape == (40, 40)
    assert segmenter.known("dog") and segmenter.known("Käfer")


def test_a_run_can_go_on_with_other_stages_and_keeps_its_words(recipe, tmp_path):
    trainer = trainer_of("pretrain", recipe, f"out={tmp_path / 'run'}")
    trainer.begin()
    trainer.advance()
    trainer.save()
    again = trainer.recipe
    again.stages = [Stage(steps=9, batch=4, size=48, k=5)]
    resumed = open_trainer(type(trainer.run), again, resume=True)
    assert resumed.step == 1 and resumed.run.total == 9 and resumed.run.words == trainer.run.words
    assert resumed.run.tokenizer.get_vocab() == trainer.run.tokenizer.get_vocab()
    assert resumed.advance()["loss"].isfinite()


def test_a_run_can_start_from_other_weights(recipe, unbroken, tmp_path):
    first = sseg.load(unbroken("pretrain"), device="cpu").model.state_dict()
    changes = [f"init={unbroken('pretrain')}", f"out={tmp_path / 'second'}"]
    second = trainer_of("pretrain", recipe, *changes)
    assert second.step == 0 and second.run.words["dog"] > 0  # what the weights know, the run goes on knowing
    for name, tensor in second.run.model.state_dict().items():
        assert torch.allclose(tensor.float(), first[name].float(), atol=1e-3), name
    third = trainer_of("pretrain", recipe, *changes, "model.backbone.depths=[1, 2, 3, 1]")
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        short, long = (one.run.model.eval().encode_image(pixels) for one in (second, third))
    assert sum(p.numel() for p in third.run.model.parameters()) > sum(p.numel() for p in second.run.model.parameters())
    assert torch.allclose(short.mask_logits, long.mask_logits, atol=1e-4)
    assert torch.allclose(short.mask_embeddings, long.mask_embeddings, atol=1e-4)
    with pytest.raises(SSegError, match="does not fit init"):
        trainer_of("pretrain", recipe, *changes, "model.hidden_dim=64")


def test_without_phrases_only_captions_are_read(recipe):
    run, read_texts = trainer_of("pretrain", recipe, "loss.phrases=0.0", "loss.distractors=0").run, []
    tokens = run.meaning.tokens
    run.meaning.tokens = lambda texts: read_texts.append(len(texts)) or tokens(texts)
    terms = run.train_step(0)
    assert read_texts == [8] and terms["phrases"] == 0 and terms["contrastive"] > 0


def test_known_phrases_compete_but_not_those_of_the_batch(recipe):
    run, found = trainer_of("pretrain", recipe).run, []
    assert "dog" in run.meaning.known
    batch = run.pairs.batch(0, 8, run.stages[0])
    said = [phrase for phrase in run.meaning.known if any(phrase in caption.lower() for caption in batch.captions)]
    for known in ([], said, [*said, "blue sky"]):
        run.meaning.known = known
        found.append(float(run.train_step(0)["phrases"].detach()))
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[2] > found[0] + 1e-3  # what was drawn is no rival


def test_coarse_cells_fill_the_grid_of_the_masks(recipe):
    run = trainer_of("pretrain", recipe, "pseudo_masks={features: pixels, cell: 8}").run
    batch = run.pairs.batch(0, 4, run.stages[0])
    ids = run.pseudo_masks(batch, 4, 0)
    coarse = pseudo_masks(batch.images, run.source, 4, (4, 4), seeds=0)
    assert batch.mask_ids is None
    assert ids.shape == (4, 8, 8) and torch.equal(ids[:, ::2, ::2], coarse) and torch.equal(ids[:, 1::2, 1::2], coarse)
    with pytest.raises(SSegError, match="multiple of 4 that divides"):
        trainer_of("pretrain", recipe, "pseudo_masks={features: pixels, cell: 12}")


@pytest.mark.font
def test_scenes_are_rendered_for_the_stage_of_a_step(recipe, emoji_font, monkeypatch):
    monkeypatch.setattr("train.model_setup.SAMPLED", 200)
    stage = "{steps: 1, size: 32, batch: 8, k: 4, difficulty: {things: [1, 1], side: [0.5, 0.9], materials: [1, 1]}}"
    larger = stage.replace("32", "48").replace("k: 4", "k: 6")
    trainer = trainer_of("pretrain", recipe, "data={name: stickers}", f"stages=[{stage}, {larger}]")
    sizes = [trainer.run.pairs.batch(0, 8, one).images.shape[-1] for one in trainer.run.stages]
    assert sizes == [32, 48] and all(trainer.advance()["loss"].isfinite() for _ in range(2))
    names = {entry["text"] for entry in trainer.run.pairs.vocabulary(trainer.run.words)}
    assert "dog" in names and sum(trainer.run.words.values()) > 16
    assert read("mini")["data"] == {"name": "stickers"}


def launch(processes: int, *more: str) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    return [*command, "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *more]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_two_processes_write_one_run(recipe, tmp_path):
    command = launch(2, "-m", "train.pretrain", str(recipe), f"out={tmp_path / 'run'}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    lines = lines_of(tmp_path / "run")
    assert lines[0]["processes"] == 2
    assert [record["samples"] for record in lines[1:]] == [16, 8 * STEPS]  # 8 a step, 4 in each process


@pytest.mark.parametrize(("name", "batch", "sentence"), [
    ("pretrain", "stages.0.batch=7", "stages.0.batch 7 cannot be shared by 2 process"),
    ("pretrain", "stages.1.batch=1", "stages.1.batch 1 cannot be shared by 2 process"),
    ("distill", "stages.0.batch=6", "stages.0.batch 6 cannot be shared by 2 process.* in groups of 2"),
    ("cluster_distill", "stages.0.batch=2", "make it a multiple of 4"),
    ("self_train", "batch=2", "one process: start it without torchrun"),
])  # fmt: skip
def test_a_batch_that_processes_cannot_share_is_one_sentence(name, batch, sentence, recipes, monkeypatch):
    from train import trainer
    from train.distributed import Processes

    monkeypatch.setattr(trainer, "start", lambda device: Processes(0, 2, torch.device("cpu")))
    with pytest.raises(SSegError, match=sentence):
        trainer_of(name, recipes[name], batch)


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


def test_gathering_gives_the_gradient_of_one_process(tmp_path, capsys):
    script = tmp_path / "gather.py"
    script.write_text(GATHER)
    done = subprocess.run(launch(2, str(script)), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    exec(GATHER, {})  # by this process alone
    alone = capsys.readouterr().out.strip()
    assert alone.startswith("GRAD") and alone in done.stdout


def test_the_schedule_warms_up_holds_and_cools_down():
    rates = [learning_rate(step, 100, 1.0, warmup=10, final=0.1, cooldown=0.4) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:60] == [pytest.approx(1.0)] * 51
    assert rates[80] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
