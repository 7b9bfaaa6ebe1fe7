"""Worlds: what people wear, where they walk, and how light and cameras are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .camera import CameraRanges
from .difficulty import EVERYDAY, Difficulty
from .identity import Choices
from .scene import STREETS, Street
from .texture import CREASES


@dataclass(frozen=True)
class WorldConfig:
    """What all data sets of one world share, and those of another do not.

    Args:
        name: Its name.
        first_seed: Added to the seeds of its data sets, so that other people walk there.
        choices: By attribute of :class:`~.identity.Identity`, the values that its people have and
            how often, where that is not as every day.
        creases: How much lighter and darker the creases of clothes are.
        streets: What its cameras look at: wall, ground and things of one after the other.
        cameras: What its cameras and its light are like.
        difficulty: How hard its people are to tell apart and to see.
    """

    name: str
    first_seed: int = 0
    choices: Choices = field(default_factory=dict, hash=False)
    creases: float = CREASES
    streets: tuple[Street, ...] = STREETS
    cameras: CameraRanges = CameraRanges()
    difficulty: Difficulty = EVERYDAY

    def harder(self, difficulty: Difficulty) -> WorldConfig:
        """Make the same world as hard as wanted.

        Args:
            difficulty: How hard.

        Returns:
            The world, with the choices and cameras of the difficulty in place of its own.
        """
        return replace(
            self,
            choices={**self.choices, **difficulty.choices},
            cameras=replace(self.cameras, **difficulty.cameras),
            difficulty=difficulty,
        )


# Far from the seeds of bystanders and of clips, which are 2**32 and 2**33 away.
_SEEDS = 2**34

STREET = WorldConfig('street')
WINTER = WorldConfig(
    'winter',
    first_seed=_SEEDS,
    choices=dict(
        hat={'none': 3, 'beanie': 6, 'cap': 1},
        upper={'coat': 6, 'jacket': 6, 'hoodie': 2},
        upper_color={
            'charcoal': 3, 'burgundy': 3, 'forest': 3, 'camel': 3, 'plum': 2, 'navy': 2,
            'cream': 1,
        },
        upper_accent={'cream': 3, 'charcoal': 3, 'mustard': 1, 'burgundy': 1, 'sky': 1},
        upper_pattern={
            'plain': 3, 'quilted': 4, 'checks': 2, 'band': 2, 'two_tone': 2, 'sleeves': 2,
        },
        lower={'trousers': 5, 'slim': 4, 'long_skirt': 1},
        lower_color={'charcoal': 3, 'navy': 2, 'brown': 2, 'denim': 1, 'gray': 1},
        shoes={'black': 3, 'brown': 4, 'camel': 1},
        boots={True: 4, False: 1},
    ),
    creases=0.09,
    streets=(
        ('snowy_trees', 'snow', ('tree', 'bench', 'fence', 'pole')),
        ('timber', 'snow', ('fence', 'bin', 'hedge', 'pole')),
        ('concrete', 'snow', ('car', 'pole', 'car', 'sign')),
        ('snowy_trees', 'path', ('fence', 'tree', 'tree', 'bench')),
        ('flats', 'snow', ('car', 'tree', 'bollard', 'car')),
        ('timber', 'slabs', ('planter', 'bench', 'sign', 'pole')),
    ),
    cameras=CameraRanges(
        casts=((0.93, 0.99, 1.09), (0.97, 1.0, 1.04), (0.9, 0.98, 1.12), (1.0, 1.0, 1.02)),
        exposures=(1.08, 1.2, 0.98, 1.14),
        elevation=(0.7, 1.2),
        shadow=(0.05, 0.2),
        contrast=(0.7, 0.9),
        saturation=(0.5, 0.8),
        haze=(0.12, 0.3),
    ),
)  # fmt: skip
MALL = WorldConfig(
    'mall',
    first_seed=2 * _SEEDS,
    choices=dict(
        hat={'none': 12, 'cap': 1},
        upper={'shirt': 5, 'tshirt': 4, 'dress': 4, 'jacket': 2},
        upper_color={
            'cream': 3, 'lavender': 3, 'mint': 3, 'coral': 3, 'turquoise': 2, 'white': 2, 'pink': 2,
        },
        upper_accent={'white': 3, 'navy': 2, 'plum': 2, 'coral': 1, 'turquoise': 1, 'mustard': 1},
        upper_pattern={
            'plain': 3, 'diamonds': 4, 'dots': 3, 'stripes_v': 2, 'stripes_h': 2, 'sash': 1,
            'logo': 1,
        },
        lower={'slim': 3, 'trousers': 3, 'shorts': 3, 'skirt': 3},
        lower_color={'cream': 3, 'sky': 2, 'camel': 2, 'denim': 2, 'white': 1, 'plum': 1},
        shoes={'white': 4, 'coral': 1, 'camel': 2, 'turquoise': 1},
        bag={'none': 2, 'handbag': 5, 'shoulder': 4},
        bag_color={'camel': 3, 'cream': 2, 'coral': 2, 'black': 1},
    ),
    streets=(
        ('panels', 'tiles', ('planter', 'bench', 'bin', 'sign')),
        ('glass', 'tiles', ('planter', 'fence', 'planter')),
        ('shops', 'tiles', ('sign', 'bench', 'bin', 'planter')),
        ('panels', 'plaza', ('fence', 'bin', 'bench')),
        ('glass', 'plaza', ('bench', 'planter', 'sign')),
        ('panels', 'slabs', ('planter', 'bench', 'fence')),
    ),
    cameras=CameraRanges(
        casts=((1.1, 1.02, 0.84), (1.04, 1.02, 0.95), (0.98, 1.05, 0.98), (1.12, 1.0, 0.8)),
        exposures=(1.1, 1.25, 1.02, 1.16),
        elevation=(1.2, 2.0),
        height=(3.6, 5.2),
        horizon=(-60, 20),
        nearest=(1.3, 1.5),
        farthest=(1.4, 1.7),
        shadow=(0.1, 0.25),
        gamma=(0.75, 0.95),
        saturation=(0.95, 1.3),
        blur=(0.15, 0.4),
        noise=(0.8, 2.5),
    ),
)  # fmt: skip
NIGHT = WorldConfig(
    'night',
    first_seed=3 * _SEEDS,
    choices=dict(
        hat={'none': 5, 'cap': 5, 'beanie': 2},
        upper={'hoodie': 5, 'jacket': 5, 'tshirt': 2},
        upper_color={
            'black': 3, 'royal': 3, 'lime': 2, 'orange': 2, 'red': 2, 'white': 2, 'charcoal': 2,
        },
        upper_accent={'white': 3, 'lime': 2, 'orange': 2, 'black': 2, 'turquoise': 1},
        upper_pattern={
            'plain': 2, 'zigzag': 4, 'logo': 3, 'sleeves': 3, 'two_tone': 2, 'band': 2, 'sash': 2,
        },
        lower={'slim': 5, 'trousers': 3, 'shorts': 2},
        lower_color={'black': 4, 'charcoal': 3, 'denim': 2, 'royal': 1, 'white': 1},
        lower_pattern={'plain': 3, 'side_stripe': 5},
        shoes={'white': 4, 'lime': 1, 'orange': 1, 'black': 2},
        bag={'none': 4, 'backpack': 4, 'shoulder': 1},
        bag_color={'black': 3, 'royal': 1, 'orange': 1},
    ),
    streets=(
        ('lit', 'wet', ('car', 'pole', 'sign', 'car')),
        ('lit', 'road', ('car', 'bollard', 'pole', 'bin')),
        ('brick', 'wet', ('bicycle', 'pole', 'fence', 'sign')),
        ('lit', 'crossing', ('sign', 'car', 'pole')),
        ('glass', 'wet', ('bollard', 'fence', 'pole')),
        ('concrete', 'wet', ('bin', 'pole', 'fence', 'car')),
    ),
    cameras=CameraRanges(
        casts=((1.25, 0.95, 0.6), (0.75, 0.95, 1.25), (1.15, 1.0, 0.7), (0.85, 1.12, 0.9)),
        exposures=(0.8, 0.64, 0.9, 0.72),
        elevation=(0.6, 1.6),
        shadow=(0.4, 0.75),
        contrast=(1.05, 1.3),
        gamma=(0.8, 1.0),
        saturation=(0.45, 0.8),
        haze=(0.0, 0.04),
        blur=(0.4, 0.9),
        resolution=(0.5, 0.8),
        noise=(6.0, 12.0),
        quality=(45, 75),
    ),
)  # fmt: skip
WORLDS: dict[str, WorldConfig] = {each.name: each for each in (STREET, WINTER, MALL, NIGHT)}
