"""What the base model is pre-trained on: English descriptions of other pictures, and text in both languages."""

from __future__ import annotations

from random import Random

from worker.demonstration.scenes import LANES, Scene, Vehicle

DESCRIBE = "Describe the picture."
TOPICS = ("sky", "light", "road", "pedestrian", "sign", "left", "front", "right", "count")


def describe_topic(scene: Scene, topic: str) -> str:
    """Return the few English words that say what `scene` shows of `topic`."""
    if topic == "sky":
        return f"{scene.time} {scene.weather}"
    if topic in LANES:
        return _describe_vehicle(getattr(scene, topic), has_distance=topic == "front")
    if topic == "count":
        return " ".join([str(len(scene.lanes_taken)), *scene.lanes_taken])
    return str(getattr(scene, topic))


def build_caption(scene: Scene, random: Random) -> str:
    """Return an English caption that tells of every topic, in an order drawn by lot."""
    topics = random.sample(TOPICS, len(TOPICS))
    return " ".join(f"{topic}: {describe_topic(scene, topic)};" for topic in topics)


def _describe_vehicle(vehicle: Vehicle | None, *, has_distance: bool) -> str:
    if vehicle is None:
        return "empty"
    words = [vehicle.colour, vehicle.kind]
    return " ".join([*words, "near" if vehicle.is_near else "far"] if has_distance else words)
