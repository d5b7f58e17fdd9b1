"""First part of the pre-training: the vision tower learns to see what the scenes are made of.

Captions alone teach so small a tower too slowly: for hundreds of steps it pays better to guess the commonest words.
So it is first trained on labels, as classifiers are; the readers of the labels are thrown away afterwards.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from worker.demonstration.scenes import (
    LANES,
    LIGHTS,
    ROADS,
    SIGNS,
    TIMES,
    VEHICLE_COLOURS,
    VEHICLE_KINDS,
    WEATHERS,
    Scene,
    Vehicle,
)
from worker.demonstration.schedule import train

STEPS = 300
BATCH_SIZE = 64
LEARNING_RATE = 2e-3

LABEL_SIZES = (
    *(len(values) for values in (TIMES, WEATHERS, LIGHTS, ROADS, SIGNS)),
    *(2, 2, 2),
    *(1 + len(VEHICLE_KINDS) * len(VEHICLE_COLOURS) for _ in LANES),
    3,
)
"""How many values each number of `build_labels` can take."""


def build_labels(scene: Scene) -> list[int]:
    """Return what is to be seen in `scene` as numbers, each counting from 0."""
    front = scene.front
    return [
        TIMES.index(scene.time),
        WEATHERS.index(scene.weather),
        LIGHTS.index(scene.light),
        ROADS.index(scene.road),
        SIGNS.index(scene.sign),
        *(int(scene.pedestrian == place) for place in ("crossing", "left", "right")),
        *(_number_vehicle(getattr(scene, lane)) for lane in LANES),
        0 if front is None else 1 + front.is_near,
    ]


def _number_vehicle(vehicle: Vehicle | None) -> int:
    if vehicle is None:
        return 0
    kind, colour = VEHICLE_KINDS.index(vehicle.kind), VEHICLE_COLOURS.index(vehicle.colour)
    return 1 + kind * len(VEHICLE_COLOURS) + colour


class LabelReaders(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """Reads every label off a picture's tokens: each by an attention of its own, as the language model will.

    One more reader asks every token for its place in the picture, which the language model needs to find it.
    """

    def __init__(self, token_count: int, width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(width, len(LABEL_SIZES)))
        self.places = nn.Parameter(torch.zeros(token_count, len(LABEL_SIZES)))
        self.readers = nn.ModuleList(nn.Linear(width, size) for size in LABEL_SIZES)
        self.place_reader = nn.Linear(width, token_count)

    def compute_loss(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the summed loss for `tokens` (pictures, tokens, width) and `labels` (pictures, labels)."""
        weights = (0.1 * tokens @ self.queries + self.places).softmax(dim=1)
        pooled = torch.einsum("ptw,ptl->plw", tokens, weights)
        losses = [
            functional.cross_entropy(reader(pooled[:, index]), labels[:, index])
            for index, reader in enumerate(self.readers)
        ]
        places = torch.arange(tokens.shape[1]).repeat(tokens.shape[0])
        losses.append(functional.cross_entropy(self.place_reader(tokens).flatten(0, 1), places))
        return torch.stack(losses).sum()


def look(tower: nn.Module, patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Return the tokens (pictures, tokens, width) that `tower` makes of `patches` (pictures, patches, values)."""
    grids = grid.expand(len(patches), -1)
    seen = tower(patches.float().flatten(0, 1), grid_thw=grids).pooler_output
    return seen.view(len(patches), -1, seen.shape[-1])


def teach_seeing(tower: nn.Module, scenes: list[Scene], patches: torch.Tensor, grid: torch.Tensor) -> None:
    """Train `tower` in place; `grid` (1, 3) is the size of every picture in patches."""
    labels = torch.tensor([build_labels(scene) for scene in scenes])
    with torch.no_grad():
        token_count, width = look(tower, patches[:1], grid).shape[1:]
    readers = LabelReaders(token_count, width)
    train(
        "learning to see",
        [*tower.parameters(), *readers.parameters()],
        lambda batch: readers.compute_loss(look(tower, patches[batch], grid), labels[batch]),
        scene_count=len(scenes),
        steps=STEPS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
    )
