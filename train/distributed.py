"""Several processes train one model: `torchrun --nproc-per-node N -m train.pretrain ...`; one works the same way."""

import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sseg.errors import SSegError


class Processes(NamedTuple):
    """The group that a process belongs to: its rank, how many there are, and the device of this one."""

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes log and checkpoints."""
        return self.rank == 0

    def together(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over all processes."""
        return DistributedDataParallel(model) if self.count > 1 else model


def device_of(name: str) -> torch.device:
    """The device that a recipe names; "auto" is a GPU if there is one. SSegError for one that is not here."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch: no such kind, no such number, built without it
        raise SSegError(f"There is no device {name:.40} here: set device=auto or device=cpu.") from error


def start(device: str) -> Processes:
    """Join the group that torchrun describes, if any; SSegError for a device that is not here."""
    world, found = int(os.environ.get("WORLD_SIZE", "1")), device_of(device)
    if world == 1:
        return Processes(0, 1, found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    if found.type == "cuda":
        found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(found)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    return Processes(dist.get_rank(), world, found)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)  # every process has the whole loss; their gradients add up
        return grad.chunk(dist.get_world_size())[dist.get_rank()]


def gather(rows: Tensor) -> Tensor:
    """Rows of all processes, (B, ...) -> (world * B, ...), with gradient to each.

    The loss over gathered rows is the same number in every process, and averaging parameter gradients over processes,
    as DistributedDataParallel does, gives exactly the gradient of that one loss.
    """
    return _Gather.apply(rows) if dist.is_initialized() else rows


def finish() -> None:
    """Leave the group."""
    if dist.is_initialized():
        dist.destroy_process_group()
