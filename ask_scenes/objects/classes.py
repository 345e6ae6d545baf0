"""The classes, their families, and which of them a shipped network may have seen."""

from __future__ import annotations

from ask_scenes.objects.look import Look
from ask_scenes.objects.makers import birds, cars, chairs, clocks, cups, houses, lamps, vessels
from ask_scenes.objects.makers.shapes import Maker, scaled
from ask_scenes.rooms.draws import Draws
from ask_scenes.rooms.furniture.design import bounds_of
from ask_scenes.rooms.parts import Part, moved

_TRAIN: dict[str, tuple[Maker, ...]] = {
    "lamp": (lamps.desk_lamp, lamps.globe_lamp),
    "chair": (chairs.panel_chair, chairs.tulip_chair),
    "vessel": (vessels.trumpet_vase, vessels.watering_can),
    "cup": (cups.egg_cup, cups.stein),
    "clock": (clocks.cube_clock, clocks.longcase_clock),
    "bird": (birds.duck, birds.penguin),
    "vehicle": (cars.bus, cars.tractor),
    "building": (houses.barn, houses.tower_house),
}
_JUDGE: dict[str, tuple[Maker, ...]] = {
    "lamp": (lamps.gourd_lamp, lamps.column_lamp, lamps.mushroom_lamp, lamps.lantern),
    "chair": (chairs.ladder_chair, chairs.spindle_chair, chairs.armchair, chairs.rocking_chair),
    "vessel": (vessels.amphora, vessels.pitcher, vessels.teapot, vessels.coffee_pot),
    "cup": (cups.mug, cups.teacup, cups.goblet, cups.trophy),
    "clock": (clocks.alarm_clock, clocks.mantel_clock, clocks.carriage_clock, clocks.cuckoo_clock),
    "bird": (birds.heron, birds.owl, birds.rooster, birds.songbird),
    "vehicle": (cars.saloon, cars.pickup, cars.van, cars.beetle),
    "building": (houses.cottage, houses.church, houses.windmill, houses.lighthouse),
}


def _names(table: dict[str, tuple[Maker, ...]]) -> tuple[str, ...]:
    return tuple(maker.__name__ for makers in table.values() for maker in makers)


FAMILIES: tuple[str, ...] = tuple(_JUDGE)
"""Groups of classes of one kind."""
TRAIN_CLASSES: tuple[str, ...] = _names(_TRAIN)
"""Classes that a network which ships may have been trained on."""
JUDGE_CLASSES: tuple[str, ...] = _names(_JUDGE)
"""Classes on which retrieval and localisation are judged; no network that ships has seen one."""
CLASSES: tuple[str, ...] = (*TRAIN_CLASSES, *JUDGE_CLASSES)
"""All classes; a label is an index into this list, so labels 0 to 15 are those of ``TRAIN_CLASSES``."""
CHOICES: dict[str, tuple[str, ...]] = {"judge": JUDGE_CLASSES, "train": TRAIN_CLASSES, "all": CLASSES}

_MAKERS: dict[str, Maker] = {m.__name__: m for table in (_TRAIN, _JUDGE) for makers in table.values() for m in makers}
FAMILY_OF: dict[str, str] = {
    maker.__name__: family for table in (_TRAIN, _JUDGE) for family, makers in table.items() for maker in makers
}
"""The family of each class."""

_FACING = {"bird": (-0.5, 1.1), "vehicle": (-0.85, 0.85), "vessel": (-0.7, 0.7), "cup": (-0.9, 0.9)}


def make(name: str, draws: Draws, look: Look) -> tuple[Part, ...]:
    """One object of a class.

    Args:
        name: One of ``CLASSES``.
        draws: The stream for its proportions and its turn.
        look: Its materials.

    Returns:
        Parts standing at the origin, turned, the largest extent about one unit.
    """
    parts = _MAKERS[name](draws, look)
    low = bounds_of(tuple(parts))
    extent = max(low[3] - low[0], low[4] - low[1], low[5] - low[2])
    parts = scaled(parts, draws.between(0.92, 1.1) / extent)
    yaw = draws.between(*_FACING.get(FAMILY_OF[name], (-0.75, 0.75)))
    low = bounds_of(tuple(parts))
    middle = (-(low[0] + low[3]) / 2, -(low[1] + low[4]) / 2, -low[2])
    return tuple(moved(moved(part, middle, 0.0), (0.0, 0.0, 0.0), yaw) for part in parts)
