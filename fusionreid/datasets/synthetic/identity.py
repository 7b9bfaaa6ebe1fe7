"""Who a rendered person is: the attributes that stay the same under every camera."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import numpy as np

from fusionreid.errors import ConfigError

# Clothing colors (RGB). Those of a world are few on purpose: many people must share them, so that
# color alone does not tell who is who.
COLORS: dict[str, tuple[int, int, int]] = {
    'black': (36, 36, 40),
    'gray': (146, 148, 152),
    'white': (232, 231, 226),
    'navy': (38, 48, 92),
    'denim': (74, 98, 142),
    'sky': (136, 178, 214),
    'red': (176, 44, 48),
    'green': (52, 112, 76),
    'olive': (108, 106, 66),
    'beige': (204, 186, 152),
    'brown': (110, 78, 56),
    'mustard': (204, 160, 60),
    'pink': (218, 150, 166),
    # Not worn every day: other worlds have them.
    'charcoal': (66, 68, 74),
    'burgundy': (104, 30, 46),
    'forest': (34, 64, 48),
    'camel': (176, 132, 84),
    'plum': (92, 56, 98),
    'royal': (38, 70, 182),
    'orange': (232, 112, 36),
    'lime': (190, 226, 52),
    'turquoise': (44, 168, 170),
    'coral': (240, 124, 104),
    'lavender': (176, 164, 218),
    'mint': (160, 214, 184),
    'cream': (242, 230, 204),
}

SKIN: tuple[tuple[int, int, int], ...] = (
    (244, 212, 188),
    (226, 180, 146),
    (196, 144, 106),
    (146, 98, 68),
    (92, 62, 46),
)
HAIR: dict[str, tuple[int, int, int]] = {
    'black': (30, 26, 26),
    'brown': (84, 56, 38),
    'auburn': (132, 66, 38),
    'blond': (188, 150, 84),
    'gray': (164, 162, 160),
}

Choices = Mapping[str, Mapping[Any, float]]
# value -> relative frequency, per attribute
_CHOICES: Choices = {
    'height': {1.56: 2, 1.64: 3, 1.72: 3, 1.80: 3, 1.88: 2},
    'width': {0.84: 3, 1.0: 4, 1.18: 3, 1.36: 2},
    'skin': {0: 3, 1: 4, 2: 3, 3: 2, 4: 2},
    'hair_style': {
        'short': 5, 'bald': 1, 'bob': 3, 'long': 4, 'ponytail': 3, 'bun': 2, 'afro': 2,
    },
    'hair_color': {'black': 4, 'brown': 4, 'auburn': 2, 'blond': 3, 'gray': 1},
    'hat': {'none': 7, 'cap': 2, 'beanie': 2, 'brim': 1},
    'upper': {'tshirt': 4, 'shirt': 4, 'hoodie': 3, 'jacket': 4, 'coat': 2, 'dress': 2},
    'upper_color': {
        'black': 3, 'gray': 2, 'white': 3, 'navy': 2, 'red': 2, 'green': 2, 'beige': 2, 'sky': 2,
        'mustard': 1, 'pink': 1,
    },
    'upper_accent': {'white': 3, 'black': 3, 'gray': 1, 'red': 1, 'mustard': 1, 'sky': 1},
    'upper_pattern': {
        'plain': 3, 'stripes_h': 3, 'stripes_v': 2, 'checks': 2, 'dots': 2, 'logo': 2,
        'two_tone': 2, 'sleeves': 2, 'sash': 1, 'band': 2,
    },
    'lower': {'trousers': 5, 'slim': 3, 'shorts': 3, 'skirt': 2, 'long_skirt': 1},
    'lower_color': {'black': 3, 'denim': 3, 'navy': 2, 'gray': 2, 'beige': 2, 'brown': 1},
    'lower_pattern': {'plain': 4, 'side_stripe': 2, 'checks': 1, 'turn_ups': 1},
    'shoes': {'black': 3, 'white': 3, 'brown': 2, 'red': 1},
    'boots': {False: 3, True: 1},
    'bag': {'none': 4, 'backpack': 3, 'shoulder': 3, 'handbag': 2},
    'bag_color': {'black': 3, 'brown': 2, 'red': 1, 'beige': 1, 'olive': 1},
}  # fmt: skip
# How people walk: factor on the length of their steps, and how far they lean forward, in radians.
GAITS: dict[str, tuple[float, float]] = {
    'even': (1.0, 0.0),
    'long': (1.45, 0.03),
    'short': (0.45, -0.02),
    'stooped': (0.75, 0.24),
}

# What can still be told apart at 64 pixels' width; two people differ in several of these.
_VISIBLE = (
    'width', 'skin', 'hair_style', 'hair_color', 'hat', 'upper', 'upper_color', 'upper_accent',
    'upper_pattern', 'lower', 'lower_color', 'lower_pattern', 'shoes', 'boots', 'bag',
    'gait', 'mark', 'mark_place', 'mark_color',
)  # fmt: skip
MIN_VISIBLE_DIFFERENCES = 3
_ATTEMPTS = 2000


@dataclass(frozen=True)
class Identity:
    """One person's lasting attributes, each from a short list of values.

    Args:
        height: Body height in meters.
        width: Girth relative to the average build.
        skin: Index into :data:`SKIN`.
        hair_style: short, bald, bob, long, ponytail, bun or afro.
        hair_color: Key of :data:`HAIR`.
        hat: none, cap, beanie or brim.
        upper: tshirt, shirt, hoodie, jacket, coat or dress.
        upper_color: Key of :data:`COLORS`.
        upper_accent: Second color, of the pattern or of what the open jacket shows.
        upper_pattern: plain, stripes_h, stripes_v, checks, dots, logo, two_tone, sleeves,
            sash or band; in other worlds also quilted, zigzag or diamonds.
        lower: trousers, slim, shorts, skirt or long_skirt.
        lower_color: Key of :data:`COLORS`.
        lower_pattern: plain, side_stripe, checks or turn_ups.
        shoes: Key of :data:`COLORS`.
        boots: Whether the shoes reach up the shin.
        bag: none, backpack, shoulder or handbag.
        bag_color: Key of :data:`COLORS`.
        gait: Key of :data:`GAITS`.
        mark: Band around the clothes: none, stripes, checks, dots or solid.
        mark_place: chest, waist, sleeve, thigh or shin.
        mark_color: Key of :data:`COLORS`.
    """

    height: float
    width: float
    skin: int
    hair_style: str
    hair_color: str
    hat: str
    upper: str
    upper_color: str
    upper_accent: str
    upper_pattern: str
    lower: str
    lower_color: str
    lower_pattern: str
    shoes: str
    boots: bool
    bag: str
    bag_color: str
    # Of those below, nobody has another value unless a harder world says so.
    gait: str = 'even'
    mark: str = 'none'
    mark_place: str = 'chest'
    mark_color: str = 'white'


@dataclass(frozen=True)
class Lookalikes:
    """People in groups who share all but a few attributes.

    Args:
        share: Share of the groups whose people look alike, 0 to 1; the others' look like anybody.
        size: People of a group, who follow each other; at least 2.
        differ_in: Attributes in which people of a group may differ.
        redrawn: How many of these each person has drawn anew, the first of the group none.
        differences: In how many visible ones any two of them differ at least.
    """

    share: float
    size: int
    differ_in: tuple[str, ...]
    redrawn: int
    differences: int

    def leader(self, person: int, seed: int) -> int | None:
        """Tell whom a person looks like.

        Args:
            person: Index of the person.
            seed: Seed of the people.

        Returns:
            Index of the first person of the group; None for that one, and for those who look like
            nobody else.
        """
        group, place = divmod(person, self.size)
        alike = np.random.default_rng([seed, 12, group]).random() < self.share
        return group * self.size if alike and place else None


_NAMES = tuple(field.name for field in fields(Identity))
_VISIBLE_COLUMNS = [_NAMES.index(name) for name in _VISIBLE]


def _draw(rng: np.random.Generator, choices: Choices) -> Identity:
    """Draw a value of every attribute that has several."""
    values = {}
    for name in filter(choices.__contains__, _NAMES):
        weights = np.fromiter(choices[name].values(), float)
        code = int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum()))
        values[name] = list(choices[name])[code]
    return Identity(**values)


def _normalize(identity: Identity) -> Identity:
    """Fold together the values that look the same, so that they do not count as differences."""
    values = dict(zip(_NAMES, astuple(identity), strict=True))
    if values['upper_accent'] == values['upper_color']:
        values['upper_accent'] = 'black' if values['upper_color'] != 'black' else 'white'
    if values['upper_color'] == 'navy' and values['upper_accent'] == 'black':
        values['upper_accent'] = 'white'
    if values['upper'] == 'dress':
        values.update(lower='skirt', lower_pattern='plain', lower_color=values['upper_color'])
    if values['upper_pattern'] == 'plain' and values['upper'] not in ('jacket', 'coat'):
        values['upper_accent'] = 'white' if values['upper_color'] != 'white' else 'black'
    if values['hair_style'] == 'bald':
        values['hair_color'] = 'black'
    if values['hat'] != 'none' and values['hair_style'] in ('afro', 'bun'):
        values['hair_style'] = 'short'
    if values['lower'] in ('skirt', 'long_skirt') and values['lower_pattern'] == 'side_stripe':
        values['lower_pattern'] = 'plain'
    if values['lower'] in ('shorts', 'skirt') and values['lower_pattern'] == 'turn_ups':
        values['lower_pattern'] = 'plain'
    if values['bag'] == 'none':
        values['bag_color'] = 'black'
    if values['mark'] == 'none':
        values.update(mark_place='chest', mark_color='white')
    return Identity(**values)


def sample_identities(
    num: int, seed: int, choices: Choices | None = None, lookalikes: Lookalikes | None = None
) -> list[Identity]:
    """Draw people of whom no two look the same.

    Any two of them differ in at least :data:`MIN_VISIBLE_DIFFERENCES` attributes that can be seen
    at low resolution, look-alikes in as many as they are to. The first ``k`` people do not depend
    on ``num``.

    Args:
        num: Number of people, at least 0.
        seed: Seed, at least 0.
        choices: By attribute, the values that people have and how often, where that is not as
            every day.
        lookalikes: Who shares garments and colors; None for nobody.

    Returns:
        ``num`` people.

    Raises:
        ConfigError: If ``num`` or ``seed`` is negative, or so many different people do not exist.

    Example:
        >>> first, second = sample_identities(2, seed=0)
        >>> first == second, sample_identities(1, seed=0) == [first]
        (False, True)
    """
    if num < 0 or seed < 0:
        raise ConfigError(f'num and seed must be >= 0, got num={num}, seed={seed}')
    choices = {**_CHOICES, **(choices or {})}
    codebook: dict[tuple[int, Any], int] = {}  # a number for each value of an attribute
    taken = np.full((num, len(_VISIBLE)), -1, dtype=np.int16)
    people: list[Identity] = []
    for person in range(num):
        rng = np.random.default_rng([seed, 1, person])
        leader = lookalikes.leader(person, seed) if lookalikes else None
        least = MIN_VISIBLE_DIFFERENCES
        if lookalikes and leader is not None:
            least = min(least, lookalikes.differences)
        for _ in range(_ATTEMPTS):
            identity = _draw(rng, choices)
            if lookalikes and leader is not None:
                names = rng.choice(lookalikes.differ_in, lookalikes.redrawn, replace=False).tolist()
                own = {name: getattr(identity, name) for name in names}
                identity = replace(people[leader], **own)
            identity = _normalize(identity)
            values = astuple(identity)
            codes = np.array(
                [codebook.setdefault((c, values[c]), len(codebook)) for c in _VISIBLE_COLUMNS],
                dtype=np.int16,
            )
            differences = (taken[:person] != codes).sum(axis=1)
            if person == 0 or differences.min() >= least:
                break
        else:
            raise ConfigError(
                f'no more than {person} people that differ enough can be drawn, but {num} were '
                'asked for; ask for fewer identities'
            )
        taken[person] = codes
        people.append(identity)
    return people
