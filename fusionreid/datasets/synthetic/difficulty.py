"""How hard people are to tell apart, and how much of them is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .camera import Range
from .identity import Choices, Lookalikes

OCCLUDERS = ('pole', 'bollard', 'bicycle', 'car', 'hedge', 'bench', 'planter', 'sign', 'fence')


@dataclass(frozen=True)
class Difficulty:
    """What makes the pictures of a world harder; the defaults are those of every day.

    Args:
        name: Its name.
        lookalikes: Which people share garments and colors; None for nobody.
        choices: By attribute of :class:`~.identity.Identity`, values and how often, beside those of
            the world.
        bystanders: Number of other people who walk behind and in front.
        behind: Chance of each of those who may walk behind.
        behind_aside: Meters to the side between the person and who walks behind.
        in_front: Chance that somebody walks in front, where no thing stands there.
        front_aside: Meters to the side between the person and who walks in front.
        occluded: Chance that a thing stands in front; with ``in_front`` at most 1.
        occluders: Kinds of things.
        thing_aside: Meters between the person's middle and the edge of a tall thing; negative where
            the thing covers the middle.
        shift: Deviation of the detector's box to the side, in heights of the box.
        cameras: Fields of :class:`~.camera.CameraRanges` that replace those of the world: viewpoint
            and light.
    """

    name: str
    lookalikes: Lookalikes | None = None
    choices: Choices = field(default_factory=dict, hash=False)
    bystanders: int = 24
    behind: tuple[float, ...] = (0.10,)
    behind_aside: Range = (0.3, 0.6)
    in_front: float = 0.06
    front_aside: Range = (0.32, 0.5)
    occluded: float = 0.12
    occluders: tuple[str, ...] = OCCLUDERS
    thing_aside: Range = (-0.1, 0.25)
    shift: float = 0.035
    cameras: Mapping[str, Any] = field(default_factory=dict, hash=False)


EVERYDAY = Difficulty('everyday')
LOOKALIKES = Difficulty(
    'lookalikes',
    lookalikes=Lookalikes(
        share=1.0,
        size=4,
        differ_in=(
            'height', 'width', 'hair_style', 'hair_color', 'hat', 'boots', 'bag', 'bag_color',
            'gait', 'mark', 'mark_place', 'mark_color',
        ),
        redrawn=4,
        differences=2,
    ),
    choices=dict(
        gait={'even': 3, 'long': 2, 'short': 2, 'stooped': 2},
        mark={'none': 2, 'stripes': 3, 'checks': 3, 'dots': 3, 'solid': 3},
        mark_place={'chest': 3, 'waist': 3, 'sleeve': 2, 'thigh': 3, 'shin': 2},
        mark_color={'orange': 2, 'turquoise': 2, 'black': 1},
    ),
)  # fmt: skip
CROWD = Difficulty(
    'crowd',
    bystanders=160,
    behind=(0.6, 0.3),
    behind_aside=(0.25, 0.6),
    in_front=0.15,
    front_aside=(0.18, 0.42),
    occluded=0.55,
    occluders=('car', 'hedge', 'bench', 'planter', 'sign', 'fence', 'bicycle'),
    thing_aside=(-0.2, 0.05),
    shift=0.06,
    cameras=dict(
        height=(2.0, 4.6),
        horizon=(0, 40),
        nearest=(1.5, 2.0),
        farthest=(1.5, 2.4),
        elevation=(0.2, 1.4),
        gain=(0.6, 1.35),
    ),
)
HARD = replace(CROWD, name='hard', lookalikes=LOOKALIKES.lookalikes, choices=LOOKALIKES.choices)
DIFFICULTIES: dict[str, Difficulty] = {
    each.name: each for each in (EVERYDAY, LOOKALIKES, CROWD, HARD)
}
