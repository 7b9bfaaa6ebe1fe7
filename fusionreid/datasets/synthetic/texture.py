"""What a person wears, baked once per person into one texture atlas."""

from dataclasses import dataclass

import cv2
import numpy as np

from .identity import COLORS, HAIR, SKIN, Identity

# Every part of the body is a tapered elliptical cylinder. A cell of the atlas is its skin unrolled:
# columns are the angle around the axis from 0 to 3 pi (one and a half turns, so that any half
# turn can be read without a seam; pi / 2 is the person's front), rows run from the top down.
SPAN = 3 * np.pi
FRONT = np.pi / 2
CREASES = 0.05

# cell -> height in texels at 128 pixels of image height
_CELL_ROWS = {
    'torso': 64, 'arm': 64, 'leg': 96, 'skirt': 48, 'head': 40, 'hair': 16, 'hat': 16,
    'bag': 32, 'shoe': 8, 'skin': 8,
}  # fmt: skip


@dataclass(frozen=True)
class Atlas:
    """The textures of one person.

    Args:
        image: All cells above each other, BGR, uint8, (H, W, 3).
        cells: First row and number of rows of every cell.
        columns_per_radian: Texels per radian of angle.
    """

    image: np.ndarray
    cells: dict[str, tuple[float, float]]
    columns_per_radian: float


def _bgr(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array(rgb[::-1], dtype=np.float32)


def _color(name: str) -> np.ndarray:
    return _bgr(COLORS[name])


def _from_front(theta: np.ndarray) -> np.ndarray:
    """Signed angle from the front in (-pi, pi]."""
    return (theta - FRONT + np.pi) % (2 * np.pi) - np.pi


def _fill(theta: np.ndarray, v: np.ndarray, color: np.ndarray) -> np.ndarray:
    return np.broadcast_to(color, (v.shape[0], theta.shape[1], 3)).astype(np.float32)


def _paint(image: np.ndarray, mask: np.ndarray, color: np.ndarray, opacity: float = 1.0) -> None:
    """Lay a color over the masked texels."""
    mask = np.broadcast_to(mask, image.shape[:2])
    image[mask] = (1 - opacity) * image[mask] + opacity * color


def _pattern(
    image: np.ndarray,
    theta: np.ndarray,
    v: np.ndarray,
    pattern: str,
    accent: np.ndarray,
    bands: float,
    turns: float,
) -> None:
    """Lay a repeating pattern over a cell.

    Args:
        image: Cell (H, W, 3), changed in place.
        theta: Angles (1, W).
        v: Position from the top, 0 to 1, (H, 1).
        pattern: Value of ``Identity.upper_pattern``; those that do not repeat do nothing.
        accent: BGR color.
        bands: Periods from top to bottom.
        turns: Periods around the body.
    """
    if pattern == 'dots':
        bands = 1.5 * bands
    along = (v * bands) % 1.0
    around = (theta * turns / (2 * np.pi)) % 1.0
    if pattern == 'stripes_h':
        _paint(image, along < 0.5, accent)
    elif pattern == 'stripes_v':
        _paint(image, around < 0.5, accent)
    elif pattern == 'checks':
        _paint(image, along < 0.5, accent, 0.55)
        _paint(image, around < 0.5, accent, 0.55)
    elif pattern == 'dots':
        shifted = (around + 0.5 * (np.floor(v * bands) % 2)) % 1.0
        _paint(image, (shifted - 0.5) ** 2 + (along - 0.5) ** 2 < 0.34**2, accent)
    elif pattern == 'zigzag':
        _paint(image, (along + np.abs(around - 0.5)) % 1.0 < 0.45, accent)
    elif pattern == 'diamonds':
        _paint(image, np.abs(around - 0.5) + np.abs(along - 0.5) < 0.34, accent)
    elif pattern == 'quilted':
        _paint(image, (2 * along) % 1.0 < 0.24, accent, 0.6)


# Cell and rows of the band of each place; that of a thigh is on the skirt too.
_MARK_PLACES: dict[str, tuple[tuple[str, float, float], ...]] = {
    'chest': (('torso', 0.16, 0.42),),
    'waist': (('torso', 0.62, 0.88),),
    'sleeve': (('arm', 0.1, 0.33),),
    'thigh': (('leg', 0.14, 0.32), ('skirt', 0.3, 0.62)),
    'shin': (('leg', 0.5, 0.68),),
}


def _paint_mark(
    image: np.ndarray, cell: str, identity: Identity, theta: np.ndarray, v: np.ndarray
) -> None:
    """Lay the band that a person wears over a cell, in place."""
    if identity.mark == 'none':
        return
    for place, low, high in _MARK_PLACES[identity.mark_place]:
        rows = (v[:, 0] > low) & (v[:, 0] < high)
        if place != cell or not rows.any():
            continue
        first, last = np.flatnonzero(rows)[[0, -1]]
        color = _color(identity.mark_color)
        band, inside = image[first : last + 1], (v[first : last + 1] - low) / (high - low)
        if identity.mark == 'solid':
            band[:] = color
        else:
            band[:] = _color('white')
            pattern = 'stripes_h' if identity.mark == 'stripes' else identity.mark
            _pattern(band, theta, inside, pattern, color, 2.0, 9.0)


def _torso(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    base, accent = _color(identity.upper_color), _color(identity.upper_accent)
    front = _from_front(theta)
    image = _fill(theta, v, base)
    pattern = identity.upper_pattern
    _pattern(image, theta, v, pattern, accent, 4.0, 9.0)
    if pattern == 'two_tone':
        _paint(image, (v < 0.42) & (theta > -1), accent)
    elif pattern == 'band':
        _paint(image, (v > 0.36) & (v < 0.62) & (theta > -1), accent)
    elif pattern == 'sash':
        _paint(image, np.abs(v - 0.5 - 0.42 * np.sin(front)) < 0.13, accent)
    elif pattern == 'logo':
        _paint(image, ((front / 0.75) ** 2 + ((v - 0.38) / 0.19) ** 2) < 1, accent)
        back = np.abs(front) - np.pi
        _paint(image, (np.abs(back) < 0.8) & (np.abs(v - 0.34) < 0.09), accent)
    if identity.upper in ('jacket', 'coat'):
        inner = accent if pattern == 'plain' else np.clip(base * 0.45 + 20, 0, 255)
        _paint(image, (np.abs(front) < 0.16 + 0.34 * np.maximum(0, 0.5 - v)), inner)
        _paint(
            image, np.abs(np.abs(front) - 0.24 - 0.34 * np.maximum(0, 0.5 - v)) < 0.06, base * 0.6
        )
    elif identity.upper == 'shirt':
        _paint(image, (np.abs(front) < 0.05) & (v > 0), base * 0.7)
        _paint(image, (v < 0.07) & (theta > -1), np.clip(base * 1.15 + 10, 0, 255))
    elif identity.upper == 'hoodie':
        _paint(image, (np.abs(front) < 0.75) & (v > 0.66) & (v < 0.9), base * 0.78)
        _paint(image, (np.abs(np.abs(front) - 0.2) < 0.05) & (v < 0.3), accent)
    elif identity.upper == 'tshirt':
        _paint(image, (np.abs(front) < 0.9) & (v < 0.05), _bgr(SKIN[identity.skin]))
    if identity.upper not in ('dress', 'coat'):
        _paint(image, (v > 0.955) & (theta > -1), base * 0.6)
    elif identity.upper == 'dress':
        _paint(image, (np.abs(v - 0.72) < 0.035) & (theta > -1), accent * 0.7)
    bag = _color(identity.bag_color)
    if identity.bag == 'backpack':
        _paint(image, (np.abs(np.abs(front) - 0.72) < 0.17) & (v < 0.62), bag)
    elif identity.bag == 'shoulder':
        _paint(image, np.abs(v - 0.46 - 0.46 * np.sin(front)) < 0.055, bag)
    return image


def _arm(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    base, accent = _color(identity.upper_color), _color(identity.upper_accent)
    pattern = identity.upper_pattern
    image = _fill(theta, v, accent if pattern == 'sleeves' else base)
    _pattern(image, theta, v, pattern, accent, 4.0, 4.0)
    if pattern == 'two_tone':
        _paint(image, (v < 0.3) & (theta > -1), accent)
    skin = _bgr(SKIN[identity.skin])
    if identity.upper == 'tshirt' or identity.upper == 'dress':
        _paint(image, (v > 0.36) & (v < 0.39) & (theta > -1), base * 0.65)
        _paint(image, (v >= 0.39) & (theta > -1), skin)
    else:
        _paint(image, (v > 0.92) & (theta > -1), base * 0.7)
    return image


def _leg(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    base = _color(identity.lower_color)
    image = _fill(theta, v, base)
    everywhere = theta > -1
    if identity.lower_pattern == 'checks':
        _pattern(image, theta, v, 'checks', np.clip(base * 0.4 + 130, 0, 255), 9.0, 5.0)
    elif identity.lower_pattern == 'side_stripe':
        side = np.abs(np.abs(_from_front(theta)) - np.pi / 2)
        _paint(image, (side < 0.38) & (v > -1), _color('white'))
    elif identity.lower_pattern == 'turn_ups':
        _paint(image, (v > 0.8) & everywhere, np.clip(base * 0.6 + 100, 0, 255))
    if identity.lower_color == 'denim':
        _paint(
            image, (np.abs(_from_front(theta)) < 0.7) & (v < 0.62), np.clip(base + 26, 0, 255), 0.6
        )
    skin = _bgr(SKIN[identity.skin])
    if identity.lower == 'shorts':
        _paint(image, (v > 0.44) & (v < 0.47) & everywhere, base * 0.6)
        _paint(image, (v >= 0.47) & everywhere, skin)
    elif identity.lower in ('skirt', 'long_skirt'):
        image[:] = skin
    if identity.boots:
        _paint(image, (v > 0.7) & everywhere, _color(identity.shoes))
    elif identity.lower not in ('trousers', 'slim'):
        _paint(image, (v > 0.92) & everywhere, _color('white'))
    return image


def _skirt(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Everything that hangs around both legs: skirts, a dress, the tail of a coat."""
    front = np.abs(_from_front(theta))
    if identity.upper in ('dress', 'coat'):
        base, accent = _color(identity.upper_color), _color(identity.upper_accent)
        image = _fill(theta, v, base)
        _pattern(image, theta, v, identity.upper_pattern, accent, 3.0, 9.0)
        if identity.upper == 'coat':
            _paint(image, (front < 0.1 + 0.16 * v), base * 0.5)
    else:
        base = _color(identity.lower_color)
        image = _fill(theta, v, base)
        if identity.lower_pattern == 'checks':
            _pattern(image, theta, v, 'checks', np.clip(base * 0.4 + 130, 0, 255), 4.0, 9.0)
        elif identity.lower_pattern == 'turn_ups':
            _paint(image, (v > 0.85) & (theta > -1), np.clip(base * 0.6 + 100, 0, 255))
    image *= (1 - 0.1 * (np.sin(theta * 7) > 0.3))[..., None]  # pleats
    return image


def _head(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    skin, hair = _bgr(SKIN[identity.skin]), _bgr(HAIR[identity.hair_color])
    front = np.abs(_from_front(theta))
    image = _fill(theta, v, skin)
    if identity.hair_style == 'bald':
        _paint(image, (front > 1.5) & (v > 0.42) & (v < 0.6), hair, 0.4)
    else:
        low = {'short': 0.66, 'ponytail': 0.7, 'bun': 0.7}.get(identity.hair_style, 0.95)
        fringe = 0.27 if identity.hair_style in ('short', 'afro', 'bun') else 0.33
        line = fringe + (low - fringe) / (1 + np.exp(-(front - 1.15) * 7))
        _paint(image, v < line, hair)
    _paint(image, (np.abs(front - 0.42) < 0.17) & (np.abs(v - 0.49) < 0.035), skin * 0.25)
    _paint(image, (np.abs(front - 0.42) < 0.24) & (np.abs(v - 0.42) < 0.02), hair * 0.8, 0.7)
    _paint(image, (front < 0.1) & (np.abs(v - 0.57) < 0.06), skin * 0.82)
    _paint(
        image,
        (front < 0.3) & (np.abs(v - 0.71) < 0.025),
        skin * np.array([0.55, 0.5, 0.75], np.float32),
    )
    return image


def _hair(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    strands = 0.8 + 0.14 * np.sin(theta * 15) + 0.10 * np.sin(theta * 37)
    return _fill(theta, v, _bgr(HAIR[identity.hair_color])) * strands[..., None]


def _hat(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    image = _fill(theta, v, _color(identity.upper_accent))
    if identity.hat == 'beanie':
        _paint(image, (v > 0.6) & (theta > -1), _color(identity.upper_accent) * 0.7)
    elif identity.hat == 'brim':
        image[:] = _color('beige')
        _paint(image, (v > 0.7) & (theta > -1), _color('black'))
    return image


def _bag(identity: Identity, theta: np.ndarray, v: np.ndarray) -> np.ndarray:
    base = _color(identity.bag_color)
    image = _fill(theta, v, base)
    light = np.clip(base * 1.25 + 22, 0, 255)
    side = np.abs(_from_front(theta))
    _paint(image, (np.abs(v - 0.36) < 0.03) & (theta > -1), base * 0.5)
    _paint(image, (v > 0.5) & (v < 0.86) & (np.abs(side - np.pi) < 0.9), light)
    return image


def _flat(color: np.ndarray):
    return lambda identity, theta, v: _fill(theta, v, color)


def _folds(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """Soft light and dark creases, (H, W, 1) around 1."""
    coarse = rng.standard_normal((5, 9)).astype(np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (1 + strength * np.clip(smooth, -2, 2))[..., None]


def bake_atlas(identity: Identity, scale: float, creases: float = CREASES) -> Atlas:
    """Paint everything a person wears.

    Args:
        identity: The person.
        scale: Texels relative to what images of 128 pixels' height need.
        creases: How much lighter and darker creases are.

    Returns:
        The textures.
    """
    rng = np.random.default_rng(11)  # of the creases, which need not differ between people
    painters = {
        'torso': _torso,
        'arm': _arm,
        'leg': _leg,
        'skirt': _skirt,
        'head': _head,
        'hair': _hair,
        'hat': _hat,
        'bag': _bag,
        'shoe': _flat(_color(identity.shoes)),
        'skin': _flat(_bgr(SKIN[identity.skin])),
    }
    columns = round(144 * scale)
    theta = ((np.arange(2 * columns, dtype=np.float32) + 0.5) / (2 * columns) * SPAN)[None]
    pieces, cells, top = [], {}, 0
    for name, count in _CELL_ROWS.items():
        height = round(count * scale)
        v = ((np.arange(2 * height, dtype=np.float32) + 0.5) / (2 * height))[:, None]
        cell = painters[name](identity, theta, v)
        _paint_mark(cell, name, identity, theta, v)
        creased = name in ('torso', 'arm', 'leg', 'skirt', 'hair')
        cell = cell * _folds(rng, cell.shape[:2], creases if creased else 0.02)
        pieces.append(cv2.resize(cell, (columns, height), interpolation=cv2.INTER_AREA))
        cells[name] = (float(top), float(height))
        top += height
    image = np.clip(np.concatenate(pieces), 0, 255).astype(np.uint8)
    return Atlas(image, cells, columns / SPAN)
