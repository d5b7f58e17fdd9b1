"""The loop that both parts of the base model's pre-training share: batches by lot, AdamW, warm-up and decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import torch

_WARM_UP_STEPS = 20

ComputeLoss = Callable[[list[int]], torch.Tensor]
"""Takes the numbers of a batch's scenes and returns the loss, a scalar."""


def train(
    title: str,
    parameters: Iterable[torch.nn.Parameter],
    compute_loss: ComputeLoss,
    *,
    scene_count: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Take `steps` steps; the same scenes come in the same order on every machine."""
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _scale_rate(step, steps))
    random, waiting = Random(title), list[int]()
    for step in range(1, steps + 1):
        if len(waiting) < batch_size:
            waiting += random.sample(range(scene_count), scene_count)
        batch, waiting = waiting[:batch_size], waiting[batch_size:]
        loss = compute_loss(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            print(f"{title}: step {step} of {steps}, loss {loss.item():.3f}", flush=True)


def _scale_rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / _WARM_UP_STEPS) * max(0.02, 1 - step / steps)
