"""What the base model is pre-trained on: English answers about pictures, and a glossary of English and Chinese."""

from __future__ import annotations

from random import Random

from worker.demonstration.questions import QUESTIONS
from worker.demonstration.scenes import LANES, Scene, Vehicle

TOPICS = tuple(QUESTIONS)
TURNS = 3
"""How many questions a conversation holds; more share the cost of the picture, fewer are closer to the data."""

_SHARE_OF_QUESTIONS = 0.25


def describe_topic(scene: Scene, topic: str) -> str:
    """Return the few English words that say what `scene` shows of `topic`."""
    if topic == "sky":
        return f"{scene.time} {scene.weather}"
    if topic in LANES:
        return _describe_vehicle(getattr(scene, topic), has_distance=topic == "front")
    if topic == "count":
        return " ".join([str(len(scene.lanes_taken)), *scene.lanes_taken])
    return str(getattr(scene, topic))


def build_conversation(scene: Scene, random: Random) -> list[tuple[str, str]]:
    """Return English questions about topics drawn by lot, each with its answer."""
    return [(f"{topic}?", describe_topic(scene, topic)) for topic in random.sample(TOPICS, TURNS)]


def build_glossary_line(scene: Scene, random: Random) -> str:
    """Return a question, or what `scene` would answer, in both languages and either order."""
    topic = random.choice(TOPICS)
    question, answer = QUESTIONS[topic]
    pair = (
        [f"{topic}?", question]
        if random.random() < _SHARE_OF_QUESTIONS
        else [describe_topic(scene, topic), answer(scene)]
    )
    random.shuffle(pair)
    return " = ".join(pair)


def _describe_vehicle(vehicle: Vehicle | None, *, has_distance: bool) -> str:
    if vehicle is None:
        return "empty"
    words = [vehicle.colour, vehicle.kind]
    return " ".join([*words, "near" if vehicle.is_near else "far"] if has_distance else words)
