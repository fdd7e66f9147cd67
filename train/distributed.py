"""Several processes train one model: `torchrun --nproc-per-node N -m train.pretrain ...`; one works the same way."""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def start(device: str) -> tuple[int, int, torch.device]:
    """Join the group that torchrun describes, if any -> rank, number of processes, device of this one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if world == 1:
        return 0, 1, torch.device(device)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    local = int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
    return dist.get_rank(), world, torch.device(device)


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
