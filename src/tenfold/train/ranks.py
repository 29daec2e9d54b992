"""Several processes that train one model, one a GPU: PyTorch's own DistributedDataParallel under torchrun."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together; alone it is rank 0 of 1."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Only the first rank writes files and reports."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the ranks."""
        if self.count == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)

    def share(self, own: int, whole: int) -> float:
        """By what to weigh a mean over this rank's `own` images, so that the mean over ranks is that over all."""
        return own * self.count / whole

    def any(self, flag: bool) -> bool:
        """Whether any rank says so: all must stop together, or those that go on wait for ever."""
        if self.count == 1:
            return flag
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        votes = torch.tensor(int(flag), device=device)
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
        return bool(votes.item())

    def first(self, number: float) -> float:
        """The first rank's number, on every rank."""
        if self.count == 1:
            return number
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        numbers = torch.tensor(number, dtype=torch.float64, device=device)
        torch.distributed.broadcast(numbers, 0)
        return float(numbers.item())

    def wait(self) -> None:
        """Go on when every rank is here."""
        if self.count > 1:
            torch.distributed.barrier()


def join_ranks(device: torch.device) -> Ranks:
    """Join the processes that torchrun started (it sets RANK and WORLD_SIZE); alone where it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks()
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(torch.distributed.destroy_process_group)  # or its threads may abort the process at its end
    return Ranks(torch.distributed.get_rank(), count)
