"""The demonstration's questions about a road scene, in Chinese, and their answers."""

from __future__ import annotations

from collections.abc import Callable

from worker.demonstration.scenes import Scene, Vehicle

_SKY = {
    ("day", "clear"): "白天晴朗，视野开阔。",
    ("day", "rain"): "白天下着雨，路面湿滑。",
    ("day", "snow"): "白天正在下雪，地上积雪。",
    ("day", "fog"): "白天有大雾，能见度低。",
    ("night", "clear"): "晴朗的夜晚，光线昏暗。",
    ("night", "rain"): "雨夜，注意开启车灯。",
    ("night", "snow"): "夜里飘着雪花，小心打滑。",
    ("night", "fog"): "夜间起雾，几乎看不清远处。",
}
_LIGHT = {
    "none": "路口没有设置信号灯。",
    "red": "红灯亮起，必须停车等待。",
    "yellow": "黄灯闪亮，准备减速停下。",
    "green": "绿灯放行，可以继续前进。",
}
_ROAD = {
    "straight": "道路笔直，保持方向即可。",
    "left": "前面向左拐弯，应向左打方向盘。",
    "right": "右转弯道，需要往右转向。",
}
_PEDESTRIAN = {
    "none": "没有看到任何行人。",
    "crossing": "有人正在过斑马线，停车让行。",
    "left": "一名行人站在左边路旁。",
    "right": "右侧路边有个行人，请留意。",
}
_SIGN = {
    "none": "路边没有交通标志。",
    "limit": "圆形的限速标志，不要超速。",
    "stop": "红色八角形，表示停车让行。",
    "warning": "黄色三角形警告牌，注意危险。",
    "parking": "蓝色方牌，此处可以停车。",
}
_COLOUR = {"red": "红色", "blue": "蓝色", "white": "白色", "yellow": "黄色"}
_KIND = {"car": "轿车", "truck": "卡车", "bus": "公交车"}
_LANES_TAKEN = {
    (): "路上一辆车也没有。",
    ("left",): "只有左边车道有车。",
    ("front",): "仅正前方一辆车。",
    ("right",): "共一辆，在右车道。",
    ("left", "front"): "两辆车，左边和前面各一辆。",
    ("left", "right"): "左右两侧都有车，中间空着。",
    ("front", "right"): "前方与右侧共两辆。",
    ("left", "front", "right"): "三条车道全被占满。",
}


def _answer_front(scene: Scene) -> str:
    vehicle = scene.front
    if vehicle is None:
        return "前方车道畅通无车。"
    distance = "距离很近，要减速" if vehicle.is_near else "离得还远"
    return f"{_name(vehicle)}，{distance}。"


def _answer_left(scene: Scene) -> str:
    return f"是{_name(scene.left)}。" if scene.left else "左边车道空着，没有车。"


def _answer_right(scene: Scene) -> str:
    return f"是{_name(scene.right)}。" if scene.right else "右侧无车，可以变道。"


def _name(vehicle: Vehicle) -> str:
    return _COLOUR[vehicle.colour] + _KIND[vehicle.kind]


QUESTIONS: dict[str, tuple[str, Callable[[Scene], str]]] = {
    "sky": ("现在的天气和光线怎么样？", lambda scene: _SKY[scene.time, scene.weather]),
    "light": ("信号灯是什么状态？该怎么做？", lambda scene: _LIGHT[scene.light]),
    "road": ("道路走向如何？", lambda scene: _ROAD[scene.road]),
    "pedestrian": ("附近有行人吗？在哪里？", lambda scene: _PEDESTRIAN[scene.pedestrian]),
    "sign": ("看到了什么交通标志？", lambda scene: _SIGN[scene.sign]),
    "front": ("正前方是什么车？远近如何？", _answer_front),
    "left": ("左侧车道是什么车？", _answer_left),
    "right": ("右侧车道是什么车？", _answer_right),
    "count": ("画面里有几辆车，都在哪？", lambda scene: _LANES_TAKEN[scene.lanes_taken]),
}
"""Question by topic, with the function that answers it for a scene."""
