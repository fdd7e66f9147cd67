"""The one loop that all training commands share: optimiser steps, running average, log, checkpoints, resuming.

What a command trains is a `TrainingRun`: it makes batches and losses. The `Trainer` does the rest, the same for all: it
clips gradients, follows the weights with their running average, stops at the first number that is none, and writes a
checkpoint every few minutes, the state last, so that a kill at any moment leaves one that a run can go on from.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
import yaml
from torch import Tensor, nn
from transformers.utils import logging

from sseg.errors import SSegError
from sseg.stopping import Stop, stoppable
from train import log
from train.checkpoints import STATE, load_state, optimizer_tensors, restore_optimizer, save_state, select
from train.distributed import Processes, finish, start
from train.files import remove_unfinished, write_whole, writing
from train.finite import NotFinite, check_finite
from train.provenance import commit, hardware, versions
from train.recipe import mapping_of, read_arguments


class TrainingRun(Protocol):
    """What a command trains: `Run(recipe, processes, resume)`, everything in it a function of its recipe.

    Attributes:
        recipe: with `out`, `log_every`, `checkpoint_minutes` and `optimizer.clip`.
        model: what learns; its state is part of a checkpoint.
        average: running average of the model's state, tensors that are changed in place; memory: how much of it is
            kept a step.
        optimizer: its groups may have a `share` of the rate.
        total: steps; shown: terms of the line for the person who waits; unit: what a batch counts.
    """

    recipe: object
    model: nn.Module
    average: dict[str, Tensor]
    memory: float
    optimizer: torch.optim.Optimizer
    total: int
    shown: tuple[str, ...]
    unit: str

    def train_step(self, step: int) -> dict[str, Tensor]:
        """The terms of one batch, scalars; the gradient of "loss" is what the optimiser follows."""

    def batch_size(self, step: int) -> int:
        """Samples of the step's batch, of all processes."""

    def rate(self, step: int) -> float:
        """The learning rate of a step."""

    def export(self, folder: Path, step: int) -> None:
        """Write what others load: the averaged weights and what belongs to them, each file whole."""

    def notes(self, step: int) -> dict:
        """What a line of the log says beside terms and speed."""
        return {}

    def about(self) -> dict:
        """What the log says of a start."""
        return {}

    def extras(self) -> dict[str, Tensor]:
        """More that a checkpoint has to hold; `restore_extras` takes it back."""
        return {}

    def restore_extras(self, extras: dict[str, Tensor]) -> None:
        """Go on from the `extras` of a checkpoint."""


class Trainer:
    """Trains a run from the start, or from the last checkpoint in its folder."""

    def __init__(self, run: TrainingRun, processes: Processes, resume: bool = False):
        """Raises SSegError: with `resume`, the state is damaged or of another model."""
        self.run, self.recipe, self.processes, self.out = run, run.recipe, processes, Path(run.recipe.out)
        self.step, self.samples, self.seconds = 0, 0, 0.0
        if resume:
            self.restore()

    def train(self) -> None:
        """The loop: steps, a log line now and then, a checkpoint every few minutes.

        Raises:
            SSegError: a term, the gradients or the weights are not finite; a file cannot be written.
        """
        recipe, total = self.recipe, self.run.total
        if self.processes.leads:
            self.begin()
        self.run.model.train()
        saved = mark = time.monotonic()
        sums, since, seen = Counter(), self.step, self.samples
        for terms in self.steps():
            for name, value in terms.items():
                sums[name] += value
            if not self.processes.leads or (self.step % recipe.log_every and self.step < total):
                continue
            elapsed, mark = time.monotonic() - mark, time.monotonic()
            self.seconds += elapsed
            record = {name: round(float(value) / (self.step - since), 5) for name, value in sums.items()}
            record |= {"step": self.step, "samples": self.samples, "seconds": round(self.seconds, 1)}
            record |= {"seconds_per_step": round(elapsed / (self.step - since), 5)}
            record |= {"images_per_second": round((self.samples - seen) / elapsed, 1)} | self.run.notes(self.step)
            log.append(self.out, record)
            log.progress(record, total, self.run.shown, self.run.unit)
            sums, since, seen = Counter(), self.step, self.samples
            if time.monotonic() - saved > 60 * recipe.checkpoint_minutes or self.step == total:
                self.save()
                saved = mark = time.monotonic()

    def begin(self) -> None:
        """Make the folder ready, and say in it what starts."""
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.out)
        recipe = mapping_of(self.recipe)
        write_whole(self.out / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
        log.begin(self.out, self.step)
        event = {"event": "resume" if self.step else "start", "step": self.step, "commit": commit()}
        event |= {"hardware": hardware(self.processes.device), "processes": self.processes.count}
        log.append(self.out, event | {"versions": versions()} | self.run.about() | {"recipe": recipe})

    def steps(self) -> Iterator[dict[str, Tensor]]:
        """What each step returns, until there are `total`. Ctrl-C ends a run of one process between two steps, once it
        is saved; of several, each ends where it is, since none knows how far the others are."""
        if self.processes.count > 1:
            while self.step < self.run.total:
                yield self.advance()
            return
        with Stop() as stop:
            while self.step < self.run.total:
                yield self.advance()
                if stop.asked:
                    self.save()
                    raise KeyboardInterrupt

    def advance(self) -> dict[str, Tensor]:
        """One step of the run -> its terms.

        Raises:
            SSegError: a term or the norm of the gradients is not finite; the weights are then as they were.
        """
        try:
            terms = self.run.train_step(self.step)
            check_finite(terms)
            self.update(terms["loss"])
        except NotFinite as error:
            raise self.stopped(f"Step {self.step + 1}: {error} is no finite number") from None
        return {name: value.detach() for name, value in terms.items()}

    def update(self, loss: Tensor) -> None:
        """A step of the optimiser with clipped gradients, then the running average of the weights."""
        run, rate = self.run, self.run.rate(self.step)
        for group in run.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), self.recipe.optimizer.clip)
        check_finite({"the norm of the gradients": norm})
        run.optimizer.step()
        self.samples += run.batch_size(self.step)
        self.step += 1
        keep = min(run.memory, (self.step + 1) / (self.step + 10))  # short memory at the start of a run
        with torch.no_grad():
            for name, tensor in run.model.state_dict().items():
                if tensor.is_floating_point():
                    run.average[name].lerp_(tensor, 1 - keep)
                else:
                    run.average[name].copy_(tensor)

    def save(self) -> None:
        """Loadable weights (the running average, half precision), then the state that a run goes on from.

        In this order: a kill in between leaves the state before, or none at the first save, and both can be worked
        with; whatever a resumed run needs lies in the state alone.

        Raises:
            SSegError: weights that half precision cannot hold, or a full disk; the last checkpoint is as it was.
        """
        self.check_weights()
        self.run.export(self.out, self.step)
        tree = {"model": self.run.model.state_dict(), "average": self.run.average, "extras": self.run.extras()}
        tree |= {"optimizer": optimizer_tensors(self.run.optimizer)}
        save_state(self.out, tree | {"step": self.step, "samples": self.samples, "seconds": self.seconds})

    def restore(self) -> None:
        """Read the last state of this run's folder."""
        state = load_state(self.out)
        try:
            self.run.model.load_state_dict(select(state, "model/"))
            with torch.no_grad():
                for name, tensor in select(state, "average/").items():
                    self.run.average[name].copy_(tensor)
            restore_optimizer(self.run.optimizer, select(state, "optimizer/"))
            self.step, self.samples, self.seconds = (state[name].item() for name in ("step", "samples", "seconds"))
        except (RuntimeError, KeyError, ValueError) as error:
            raise SSegError(f"The state in {self.out} is of another model: take its own recipe, or out=.") from error
        self.step, self.samples = int(self.step), int(self.samples)
        self.run.restore_extras(select(state, "extras/"))

    def check_weights(self) -> None:
        """SSegError where a weight, or its average, is more than half precision holds."""
        for name, parameter in self.run.model.named_parameters():
            if not all(tensor.detach().half().isfinite().all() for tensor in (parameter, self.run.average[name])):
                raise self.stopped(f"Step {self.step}: the weights {name} are no finite numbers in half precision")

    def stopped(self, what: str) -> SSegError:
        """Why training stops, and what is left of it."""
        left = "--resume goes on from the last checkpoint" if (self.out / STATE).is_file() else "nothing was saved yet"
        return SSegError(f"{what}: lower optimizer.lr; {left}.")


def open_trainer(make: Callable[..., TrainingRun], recipe, resume: bool = False) -> Trainer:
    """The trainer of a run; `make` is its class. SSegError as they raise."""
    processes = start(recipe.device)
    return Trainer(make(recipe, processes, resume), processes, resume)


@stoppable("Stopped; --resume goes on from the last checkpoint, if there is one yet.")
def run_command(make: Callable[..., TrainingRun], kind: type, about: str, arguments: list[str] | None) -> int:
    """What every training command does with its arguments; returns the exit code.

    Args:
        kind: of its recipes (`train.recipe`); about: the text of its module.
    """
    try:
        logging.set_verbosity_error()  # transformers remarks on every backbone but Swin
        open_trainer(make, *read_arguments(kind, about, arguments)).train()
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        finish()
    return 0
