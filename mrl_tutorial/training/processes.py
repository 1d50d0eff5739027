"""Training in several processes, as `accelerate launch` or `torchrun` starts them: the numbers of one process.

Each process embeds its share of a batch. The embeddings are put together before the loss, so that every query meets
every document of the whole batch. Each process then makes the whole loss, sends its gradient through the texts that it
has embedded itself, and the gradients of the parameters are summed over the processes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mrl_tutorial.errors import InputError


def join() -> None:
    """Find the other processes, where a launcher has started this one among several."""
    if dist.is_available() and dist.is_torchelastic_launched() and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group()  # gloo for tensors on the CPU, nccl for those on a GPU
        atexit.register(dist.destroy_process_group)


def place() -> tuple[int, int]:
    """Which process this is, from 0, and how many there are.

    >>> place()
    (0, 1)
    """
    here = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if here else (0, 1)


def gathered(mine: Tensor, count: int) -> Tensor:
    """The embeddings of a batch of `count` texts, (L, count, D), from those of every process; `mine` (L, n, D) are the
    texts rank, rank + processes, … A gradient flows back to `mine`."""
    rank, processes = place()
    if processes == 1:
        return mine
    whole = mine.new_zeros(mine.shape[0], count, mine.shape[2])
    whole[:, rank::processes] = mine.detach()
    dist.all_reduce(whole)  # the others are zero in these rows
    whole[:, rank::processes] = mine
    return whole


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up, in place, what each process's texts ask of the parameters."""
    if place()[1] > 1:
        for p in parameters:
            if p.grad is not None:
                dist.all_reduce(p.grad)


def agree(step: int) -> None:
    """Raises InputError where the processes would go on from different steps."""
    if place()[1] > 1:
        found = torch.tensor([step, -step])
        dist.all_reduce(found, dist.ReduceOp.MAX)
        if int(found.sum()):
            raise InputError("the processes have found different checkpoints: let them share one folder as MRL_CACHE")
