"""Draws a road scene as a driver sees it."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageDraw

from worker.demonstration.scenes import Scene, Vehicle

WIDTH, HEIGHT = 336, 252
HORIZON = 100

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

_SKIES: dict[str, Colour] = {
    "clear": (112, 178, 236),
    "rain": (122, 132, 146),
    "snow": (206, 212, 220),
    "fog": (186, 188, 188),
}
_GROUNDS: dict[str, Colour] = {
    "clear": (96, 148, 76),
    "rain": (70, 104, 72),
    "snow": (236, 240, 244),
    "fog": (132, 146, 128),
}
_PAINTS: dict[str, Colour] = {
    "red": (206, 36, 40),
    "blue": (34, 76, 190),
    "white": (240, 240, 240),
    "yellow": (240, 190, 24),
}
_LAMPS: dict[str, Colour] = {"red": (255, 32, 28), "yellow": (255, 208, 24), "green": (24, 240, 92)}
_HAZE: Colour = (192, 194, 194)


def draw_scene(scene: Scene) -> Image.Image:
    """Return the picture of `scene`, RGB, `WIDTH` by `HEIGHT` pixels."""
    random = Random(scene.seed * 2 + 1)
    image = Image.new("RGB", (WIDTH, HEIGHT), _vary(_SKIES[scene.weather], random))
    draw = ImageDraw.Draw(image)
    _draw_sky(draw, scene, random)
    _draw_road(draw, scene, random)
    vehicles = _place_vehicles(scene)
    for vehicle, box in vehicles:
        _draw_vehicle(draw, vehicle, box)
    _draw_pedestrian(draw, scene, random)
    image = _apply_weather(image, scene, random)
    draw = ImageDraw.Draw(image)
    if scene.time == "night":
        _draw_tail_lights(draw, [box for _, box in vehicles])
    _draw_light(draw, scene, random)
    _draw_sign(draw, scene, random)
    _draw_falling(draw, scene, random)
    return image


def _vary(colour: Colour, random: Random, by: int = 12) -> Colour:
    red, green, blue = (max(0, min(255, part + random.randint(-by, by))) for part in colour)
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (int(part * factor) for part in colour)
    return red, green, blue


def _bend(scene: Scene, depth: float) -> float:
    """How far to the side the middle of the road lies at `depth` (0 horizon, 1 bottom), in pixels."""
    side = {"straight": 0, "left": -1, "right": 1}[scene.road]
    return side * 96 * (1 - depth) ** 2


def _point(scene: Scene, across: float, depth: float) -> tuple[float, float]:
    """The pixel at `across` (-1 left edge of the road, 1 right edge) and `depth`."""
    half_width = 16 + 190 * depth
    return WIDTH / 2 + _bend(scene, depth) + across * half_width, HORIZON + depth * (HEIGHT - HORIZON)


def _draw_sky(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    x, y = random.randint(20, 316), random.randint(10, 30)
    if scene.weather == "clear":
        draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=(255, 236, 150))
    base = random.randint(0, 40)
    for index in range(9):
        left = base + index * 42 - 30
        top = HORIZON - random.randint(8, 34)
        tint = random.randint(84, 128)
        draw.rectangle((left, top, left + random.randint(20, 38), HORIZON), fill=(tint, tint, tint + 8))


def _draw_road(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    draw.rectangle((0, HORIZON, WIDTH, HEIGHT), fill=_vary(_GROUNDS[scene.weather], random, 6))
    depths = [index / 24 for index in range(25)]
    edges = [_point(scene, -1, depth) for depth in depths] + [
        _point(scene, 1, depth) for depth in depths[::-1]
    ]
    tint = random.randint(70, 92)
    draw.polygon(edges, fill=(tint, tint, tint + 4))
    for side in (-0.97, 0.97):
        draw.line([_point(scene, side, depth) for depth in depths], fill=(226, 226, 220), width=2)
    start = random.random() * 0.08
    for side in (-0.33, 0.33):
        for index in range(8):
            near = start + index * 0.13
            ends = [_point(scene, side, near), _point(scene, side, min(1.0, near + 0.07))]
            draw.line(ends, fill=(222, 222, 214), width=1 + int(near * 4))


def _place_vehicles(scene: Scene) -> list[tuple[Vehicle, Box]]:
    """Every vehicle with its box, the farther first, so that the nearer hide them."""
    random = Random(scene.seed * 2 + 2)
    placed = []
    for vehicle, across in ((scene.left, -0.66), (scene.right, 0.66), (scene.front, 0.0)):
        jitter = random.uniform(-0.02, 0.02)
        if vehicle is None:
            continue
        depth = 0.42 if across else 0.60 if vehicle.is_near else 0.24
        x, bottom = _point(scene, across, depth + jitter)
        half = (16 + 190 * depth) * 0.27
        height = half * {"car": 1.45, "truck": 2.5, "bus": 2.3}[vehicle.kind]
        placed.append((vehicle, (x - half, bottom - height, x + half, bottom)))
    return sorted(placed, key=lambda pair: pair[1][3])


def _draw_vehicle(draw: ImageDraw.ImageDraw, vehicle: Vehicle, box: Box) -> None:
    left, top, right, bottom = box
    paint, width, height = _PAINTS[vehicle.colour], right - left, bottom - top
    for wheel in (left + width * 0.08, right - width * 0.3):
        draw.rectangle((wheel, bottom - height * 0.12, wheel + width * 0.22, bottom + 2), fill=(16, 16, 16))
    if vehicle.kind == "car":
        roof = [(left + width * 0.2, top), (right - width * 0.2, top)]
        draw.polygon(
            [*roof, (right, top + height * 0.45), (left, top + height * 0.45)], fill=_shade(paint, 0.8)
        )
        glass = (left + width * 0.24, top + height * 0.1, right - width * 0.24, top + height * 0.42)
        draw.rectangle(glass, fill=(40, 52, 66))
        draw.rectangle((left, top + height * 0.42, right, bottom - height * 0.08), fill=paint)
    elif vehicle.kind == "truck":
        draw.rectangle((left, top, right, bottom - height * 0.12), fill=paint)
        middle = (left + right) / 2
        draw.line((middle, top, middle, bottom - height * 0.14), fill=(20, 20, 20), width=2)
        draw.rectangle((left, bottom - height * 0.24, right, bottom - height * 0.1), fill=(44, 44, 48))
    else:
        draw.rounded_rectangle((left, top, right, bottom - height * 0.08), radius=width * 0.12, fill=paint)
        window = (left + width * 0.1, top + height * 0.12, right - width * 0.1, top + height * 0.5)
        draw.rectangle(window, fill=(40, 52, 66))
        draw.rectangle((left, top + height * 0.58, right, top + height * 0.66), fill=_shade(paint, 0.6))


def _draw_pedestrian(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    if scene.pedestrian == "none":
        return
    if scene.pedestrian == "crossing":
        for index in range(-5, 6):
            stripe = [_point(scene, (index + part) / 6, depth) for part, depth in _STRIPE]
            draw.polygon(stripe, fill=(232, 232, 228))
        x, y = _point(scene, random.uniform(-0.25, 0.25), 0.82)
        size = 52.0
    else:
        across = 1.12 if scene.pedestrian == "right" else -1.12
        x, y = _point(scene, across, 0.36 + random.uniform(-0.03, 0.03))
        size = 40.0
    coat = random.choice(((232, 96, 24), (150, 40, 160), (24, 150, 140)))
    draw.rectangle((x - size * 0.13, y - size * 0.4, x - size * 0.03, y), fill=(28, 28, 44))
    draw.rectangle((x + size * 0.03, y - size * 0.4, x + size * 0.13, y), fill=(28, 28, 44))
    draw.rectangle((x - size * 0.17, y - size * 0.82, x + size * 0.17, y - size * 0.38), fill=coat)
    draw.ellipse((x - size * 0.11, y - size * 1.05, x + size * 0.11, y - size * 0.8), fill=(236, 192, 160))


_STRIPE = ((0.0, 0.78), (0.5, 0.78), (0.5, 0.88), (0.0, 0.88))


def _apply_weather(image: Image.Image, scene: Scene, random: Random) -> Image.Image:
    if scene.weather == "fog":
        image = Image.blend(image, Image.new("RGB", image.size, _HAZE), random.uniform(0.38, 0.46))
    if scene.time == "night":
        image = Image.blend(image, Image.new("RGB", image.size, (4, 6, 30)), random.uniform(0.46, 0.54))
    return image


def _draw_tail_lights(draw: ImageDraw.ImageDraw, boxes: list[Box]) -> None:
    for left, _, right, bottom in boxes:
        size = max(1.5, (right - left) * 0.06)
        y = bottom - (right - left) * 0.2
        for x in (left + size * 2, right - size * 2):
            draw.ellipse((x - size, y - size, x + size, y + size), fill=(255, 70, 50))


def _draw_light(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    x, y = random.randint(96, 132), random.randint(2, 8)
    if scene.light == "none":
        return
    draw.rectangle((x - 2, 0, x + 2, y), fill=(60, 60, 60))
    draw.rounded_rectangle((x - 12, y, x + 12, y + 66), radius=5, fill=(22, 24, 26))
    for index, lamp in enumerate(("red", "yellow", "green")):
        middle = y + 12 + index * 21
        paint = _LAMPS[lamp] if lamp == scene.light else _shade(_LAMPS[lamp], 0.2)
        draw.ellipse((x - 9, middle - 9, x + 9, middle + 9), fill=paint)


def _draw_sign(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    if scene.sign == "none":
        return
    dim = 0.75 if scene.time == "night" else 1.0
    x, y, r = random.randint(270, 298), random.randint(34, 44), 19
    draw.rectangle((x - 2, y, x + 2, 128), fill=_shade((130, 130, 134), dim))
    white, red, blue = _shade((246, 246, 246), dim), _shade((214, 24, 32), dim), _shade((24, 84, 200), dim)
    if scene.sign == "limit":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=white, outline=red, width=6)
        draw.rectangle((x - 7, y - 7, x - 2, y + 7), fill=(20, 20, 20))
        draw.rectangle((x + 2, y - 7, x + 8, y + 7), outline=(20, 20, 20), width=2)
    elif scene.sign == "stop":
        draw.regular_polygon((x, y, r + 1), 8, rotation=22, fill=red)
        draw.rectangle((x - 11, y - 3, x + 11, y + 3), fill=white)
    elif scene.sign == "warning":
        corners = [(x, y - r), (x + r + 1, y + r * 0.8), (x - r - 1, y + r * 0.8)]
        draw.polygon(corners, fill=_shade((250, 204, 24), dim), outline=(20, 20, 20))
        draw.rectangle((x - 2, y - 7, x + 2, y + 5), fill=(20, 20, 20))
        draw.rectangle((x - 2, y + 8, x + 2, y + 12), fill=(20, 20, 20))
    else:
        draw.rectangle((x - r, y - r, x + r, y + r), fill=blue)
        draw.rectangle((x - 8, y - 12, x - 4, y + 12), fill=white)
        draw.ellipse((x - 8, y - 12, x + 9, y + 2), outline=white, width=4)


def _draw_falling(draw: ImageDraw.ImageDraw, scene: Scene, random: Random) -> None:
    if scene.weather == "rain":
        for _ in range(90):
            x, y = random.randint(0, WIDTH + 10), random.randint(-8, HEIGHT)
            draw.line((x, y, x - 5, y + 14), fill=(176, 192, 214), width=1)
    elif scene.weather == "snow":
        for _ in range(110):
            x, y, r = random.randint(0, WIDTH), random.randint(0, HEIGHT), random.choice((1, 2))
            draw.ellipse((x - r, y - r, x + r, y + r), fill=(252, 252, 255))
