"""What is to be seen in a road scene, and scenes drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

TIMES = ("day", "night")
WEATHERS = ("clear", "rain", "snow", "fog")
LIGHTS = ("none", "red", "yellow", "green")
ROADS = ("straight", "left", "right")
PEDESTRIANS = ("none", "crossing", "left", "right")
SIGNS = ("none", "limit", "stop", "warning", "parking")
VEHICLE_KINDS = ("car", "truck", "bus")
VEHICLE_COLOURS = ("red", "blue", "white", "yellow")
LANES = ("left", "front", "right")


@dataclass(frozen=True)
class Vehicle:
    """A vehicle seen from behind; `is_near` is told of the one in our own lane only."""

    kind: str
    colour: str
    is_near: bool


@dataclass(frozen=True)
class Scene:
    """All that questions may ask about one picture; `seed` settles where exactly everything stands."""

    time: str
    weather: str
    light: str
    road: str
    pedestrian: str
    sign: str
    left: Vehicle | None
    front: Vehicle | None
    right: Vehicle | None
    seed: int

    @property
    def lanes_taken(self) -> tuple[str, ...]:
        """The lanes in which a vehicle drives, from left to right."""
        return tuple(lane for lane in LANES if getattr(self, lane) is not None)


def choose_scene(seed: int) -> Scene:
    """Return the scene of `seed`, the same on every machine."""
    random = Random(seed)
    return Scene(
        time=random.choice(TIMES),
        weather=random.choice(WEATHERS),
        light=random.choice(LIGHTS),
        road=random.choice(ROADS),
        pedestrian=random.choice(PEDESTRIANS),
        sign=random.choice(SIGNS),
        left=_choose_vehicle(random),
        front=_choose_vehicle(random),
        right=_choose_vehicle(random),
        seed=seed,
    )


def _choose_vehicle(random: Random) -> Vehicle | None:
    """A lane is empty two times in five."""
    kind, colour = random.choice(VEHICLE_KINDS), random.choice(VEHICLE_COLOURS)
    is_near, is_there = random.random() < 0.5, random.random() < 0.6
    return Vehicle(kind, colour, is_near) if is_there else None
