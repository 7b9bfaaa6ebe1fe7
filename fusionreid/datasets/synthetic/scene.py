"""The street that a camera looks at, painted once per camera."""

import cv2
import numpy as np

from .camera import FOCAL, SCENE_HEIGHT, SCENE_WIDTH, Camera
from .props import PROP_SIZES, paste, prop_sprite

# what closes the view, what lies on the ground, what stands on the far side
Street = tuple[str, str, tuple[str, ...]]
STREETS: tuple[Street, ...] = (
    ('shops', 'slabs', ('sign', 'bin', 'bench', 'bicycle', 'planter', 'pole')),
    ('trees', 'path', ('tree', 'bench', 'hedge', 'tree', 'hedge', 'bin')),
    ('brick', 'crossing', ('car', 'pole', 'car', 'sign', 'bollard', 'tree')),
    ('concrete', 'plaza', ('planter', 'bollard', 'bench', 'bicycle', 'bollard')),
    ('flats', 'road', ('car', 'tree', 'car', 'pole', 'fence', 'car')),
    ('glass', 'slabs', ('planter', 'fence', 'bicycle', 'pole', 'bin')),
    ('brick', 'path', ('hedge', 'fence', 'tree', 'bench')),
    ('shops', 'crossing', ('car', 'sign', 'bin', 'pole')),
)
_TABLE = np.random.default_rng(20).random((256, 256), dtype=np.float32)


def _cell_value(x: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    """A fixed random number in [0, 1) for every unit square of the plane."""
    column = np.floor(x).astype(np.int32) & 255
    row = np.floor(np.asarray(y)).astype(np.int32) & 255
    return _TABLE[row, column]


def _noise(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A fixed smooth random field in [0, 1) with features of about unit size, (H, W)."""
    x, y = np.broadcast_arrays(x, y)
    return cv2.remap(
        _TABLE,
        (x % 255).astype(np.float32),
        (y % 255).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _tint(*rgb: float) -> np.ndarray:
    return np.array(rgb[::-1], dtype=np.float32)


def _lines(x: np.ndarray, period: float, thick: float) -> np.ndarray:
    return (x / period) % 1.0 < thick / period


def _put(image: np.ndarray, mask: np.ndarray, color: np.ndarray, opacity: float = 1.0) -> None:
    """Lay one color (3,), or one per pixel (H, W, 3), over the masked pixels."""
    mask = np.broadcast_to(mask, image.shape[:2])
    source = color[mask] if color.ndim == 3 else color
    image[mask] = (1 - opacity) * image[mask] + opacity * source


def _between(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return (x > low) & (x < high)


def _colored(hue: np.ndarray, brightness: np.ndarray | float) -> np.ndarray:
    """Muted shop colors for random numbers in [0, 1), (H, W, 3)."""
    palette = np.stack(
        [
            _tint(168, 60, 52),
            _tint(52, 84, 120),
            _tint(206, 178, 110),
            _tint(62, 96, 72),
            _tint(196, 190, 180),
            _tint(112, 74, 96),
        ]
    )
    index = np.minimum((hue * len(palette)).astype(np.int32), len(palette) - 1)
    return palette[index] * np.asarray(brightness, dtype=np.float32)[..., None]


def _paint_trees(u: np.ndarray, v: np.ndarray, green: np.ndarray) -> np.ndarray:
    leaves = 0.5 * _noise(u * 9, v * 9) + 0.3 * _noise(u * 3, v * 3) + 0.2 * _noise(u * 22, v * 22)
    crowns = 0.5 + 0.5 * np.sin(u * 1.9 + 2 * _noise(u * 0.5, 0 * v)) * np.clip(v / 3, 0, 1)
    light = (0.25 + 1.1 * leaves) * (0.7 + 0.3 * crowns) * np.clip(0.5 + v / 4, 0, 1.1)
    image = green * light[..., None]
    top = 3.2 + 0.7 * np.sin(u * 0.9) + 0.5 * np.sin(u * 2.3 + 1) + 1.2 * (leaves - 0.5)
    _put(image, v > top, _tint(198, 212, 224))
    trunk = (_lines(u + 0.4 * _cell_value(u / 2.7), 2.7, 0.22)) & (v < 1.9)
    _put(image, trunk, _tint(58, 46, 36))
    return image


def _paint_brick(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    course = np.floor(v / 0.11)
    shifted = u + 0.16 * (course % 2)
    image *= (0.78 + 0.4 * _cell_value(shifted / 0.32, course))[..., None]
    _put(image, _lines(v, 0.11, 0.02) | _lines(shifted, 0.32, 0.025), _tint(176, 166, 152), 0.8)
    x, y = (u / 2.6) % 1, (v / 2.7) % 1
    pane = _tint(70, 82, 96) * (0.7 + 0.6 * _cell_value(u / 2.6, v / 2.7))[..., None]
    _put(image, _between(x, 0.23, 0.74) & _between(y, 0.38, 0.87), _tint(214, 208, 196))
    _put(
        image, _between(x, 0.26, 0.71) & _between(y, 0.42, 0.85) & (np.abs(x - 0.485) > 0.01), pane
    )


def _paint_concrete(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    stain = _noise(u * 1.5, v * 0.25) * np.clip(1 - np.abs(v - 1.5) / 2, 0, 1)
    image *= (1 - 0.3 * stain)[..., None]
    _put(image, _lines(u, 2.4, 0.04) | _lines(v, 1.5, 0.04), _tint(110, 110, 106))
    x = (u / 3.4) % 1
    poster = (np.floor(u / 3.4) % 2 == 0) & _between(x, 0.34, 0.68) & _between(v, 0.75, 2.25)
    _put(image, poster, _tint(222, 216, 204))
    inner = poster & _between(x, 0.36, 0.66) & _between(v, 0.83, 2.17)
    _put(image, inner, _colored(_cell_value(u / 3.4, v / 0.48), 1.0))


def _paint_shops(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    x, shop = (u / 3.6) % 1, _cell_value(u / 3.6)
    front = _between(x, 0.06, 0.94) & _between(v, 0.45, 2.5)
    inside = 0.45 + 0.5 * _noise(u * 2.2, v * 1.7)
    _put(image, front, _tint(150, 138, 112) * inside[..., None])
    goods = front & (v < 1.5) & (_cell_value(u * 4.5, v * 4) > 0.6)
    _put(image, goods, _colored(_cell_value(u * 4.5 + 9, v * 4), 0.6 + 0.5 * inside))
    _put(image, front & (_lines(u, 0.9, 0.05) | (v > 2.38)), _tint(60, 56, 52))
    door = _between(x, 0.7, 0.92) & (v < 2.4)
    _put(image, door, _tint(74, 66, 60))
    _put(image, door & _between(x, 0.73, 0.89) & (v > 0.3), _tint(120, 128, 130))
    _put(image, _between(v, 2.5, 3.15) & _between(x, 0.02, 0.98), _colored(shop, 0.95))
    letters = _between(v, 2.7, 2.95) & _between(x, 0.2, 0.8) & (_cell_value(u * 7) > 0.3)
    _put(image, letters, _tint(236, 230, 214))
    _paint_windows(image, u, v, 3.4)


def _paint_windows(image: np.ndarray, u: np.ndarray, v: np.ndarray, lowest: float) -> None:
    x, y = (u / 3.6) % 1, (v / 2.9) % 1
    upper = v > lowest
    _put(image, upper & _between(x, 0.3, 0.7) & _between(y, 0.32, 0.82), _tint(230, 226, 216))
    pane = _tint(86, 100, 114) * (0.7 + 0.6 * _cell_value(u / 3.6, v / 2.9))[..., None]
    inner = upper & _between(x, 0.33, 0.67) & _between(y, 0.36, 0.79) & (np.abs(x - 0.5) > 0.015)
    _put(image, inner, pane)


def _paint_glass(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    image *= (0.7 + 0.4 * _cell_value(u / 1.2, v / 1.6) + 0.2 * _noise(u * 0.5, v * 0.7))[..., None]
    _put(image, _lines(u, 1.2, 0.07) | _lines(v, 1.6, 0.08), _tint(66, 70, 74))
    _put(image, v < 0.35, _tint(126, 122, 116))


def _paint_panels(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    image *= (0.94 + 0.1 * _cell_value(u / 1.5))[..., None]
    _put(image, _lines(u, 1.5, 0.03), _tint(150, 146, 140))
    window = (_cell_value(u / 4.5) > 0.4) & _between((u / 4.5) % 1, 0.08, 0.92)
    window &= _between(v, 0.5, 2.4)
    goods = _colored(_cell_value(u * 3, v * 2.5), 1.2)
    _put(image, window, _tint(250, 240, 214))
    _put(image, window & (_cell_value(u * 3 + 5, v * 2.5) > 0.55), goods)
    _put(image, _between(v, 2.75, 2.95), _tint(255, 252, 240))
    _put(image, v < 0.25, _tint(120, 104, 92))


def _paint_timber(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    image *= (0.75 + 0.4 * _cell_value(u / 7, v / 0.22))[..., None]
    _put(image, _lines(v, 0.22, 0.03), _tint(48, 34, 28))
    x, y = (u / 2.4) % 1, (v / 2.6) % 1
    _put(image, _between(x, 0.3, 0.7) & _between(y, 0.4, 0.8), _tint(236, 238, 240))
    _put(image, _between(x, 0.34, 0.66) & _between(y, 0.44, 0.76), _tint(232, 190, 110))
    _put(image, v < 0.3 + 0.25 * _noise(u * 1.3, 0 * v), _tint(226, 232, 240))


def _paint_lit(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> None:
    x, y = (u / 1.8) % 1, (v / 1.6) % 1
    lit = _cell_value(u / 1.8, v / 1.6)
    window = _between(x, 0.2, 0.8) & _between(y, 0.25, 0.8)
    _put(image, window, _tint(34, 38, 48))
    _put(image, window & (lit > 0.5), _tint(244, 206, 130))
    _put(image, window & (lit > 0.85), _tint(140, 190, 240))
    sign = _between(v, 2.3, 2.8) & _between((u / 5) % 1, 0.25, 0.75)
    _put(image, sign, _colored(_cell_value(u / 5), 1.5))


def _wall(style: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint a wall; ``u`` meters along it, ``v`` meters up, both (H, W)."""
    u = u + rng.uniform(50, 100)
    if style in ('trees', 'snowy_trees'):
        return _paint_trees(u, v, _tint(70, 98, 54) if style == 'trees' else _tint(150, 168, 170))
    tones = {
        'shops': _tint(190, 172, 146),
        'brick': _tint(158, 100, 80),
        'concrete': _tint(158, 158, 152),
        'flats': _tint(206, 196, 172),
        'glass': _tint(112, 134, 148),
        'panels': _tint(226, 218, 206),
        'timber': _tint(120, 82, 60),
        'lit': _tint(54, 52, 60),
    }
    plaster = 0.9 + 0.1 * _noise(u * 0.6, v * 0.6) + 0.06 * _noise(u * 12, v * 12)
    image = tones[style] * (plaster * np.float32(rng.uniform(0.88, 1.08)))[..., None]
    if style == 'brick':
        _paint_brick(image, u, v)
    elif style == 'concrete':
        _paint_concrete(image, u, v)
    elif style == 'shops':
        _paint_shops(image, u, v)
    elif style == 'flats':
        _put(image, v < 0.8, _tint(130, 124, 116))
        _paint_windows(image, u, v, 0.2)
    elif style == 'panels':
        _paint_panels(image, u, v)
    elif style == 'timber':
        _paint_timber(image, u, v)
    elif style == 'lit':
        _paint_lit(image, u, v)
    else:
        _paint_glass(image, u, v)
    image *= np.clip(0.74 + v / 4, 0, 1)[..., None]  # walls are darker near the ground
    return image


def _ground(style: str, x: np.ndarray, z: np.ndarray, wall_z: float) -> np.ndarray:
    """Paint the ground; ``x`` meters to the right, ``z`` meters away, both (H, W)."""
    texture = (0.86 + 0.16 * _noise(x * 20, z * 20) + 0.14 * _noise(x * 0.8, z * 0.6))[..., None]
    if style == 'path':
        image = _tint(106, 124, 76) * texture * (0.85 + 0.3 * _noise(x * 9, z * 9))[..., None]
        middle, edge = 0.45 * wall_z, 1.9 + 0.25 * np.sin(x * 0.7)
        _put(image, np.abs(z - middle) < edge, _tint(182, 166, 136) * texture)
        _put(image, np.abs(np.abs(z - middle) - edge) < 0.06, _tint(140, 132, 116))
    elif style == 'plaza':
        image = _tint(176, 168, 156) * texture
        image *= (1 - 0.14 * ((np.floor(x / 1.1) + np.floor(z / 1.1)) % 2))[..., None]
        _put(image, _lines(x, 1.1, 0.035) | _lines(z, 1.1, 0.035), _tint(120, 114, 106))
    elif style == 'slabs':
        shifted = x + 0.3 * (np.floor(z / 0.6) % 2)
        image = _tint(168, 164, 158) * texture
        image *= (0.9 + 0.18 * _cell_value(shifted / 0.6, z / 0.6))[..., None]
        _put(image, _lines(z, 0.6, 0.03) | _lines(shifted, 0.6, 0.03), _tint(112, 108, 104))
        _put(image, np.abs(z - wall_z * 0.66) < 0.16, _tint(206, 178, 74))
    elif style == 'snow':
        image = _tint(222, 228, 238) * texture
        trodden = np.abs(z - 0.45 * wall_z) < 1.5 + 0.6 * _noise(x * 0.7, z * 0)
        _put(
            image,
            trodden,
            _tint(186, 188, 194) * texture * (0.8 + 0.4 * _noise(x * 6, z * 6))[..., None],
        )
    elif style == 'tiles':
        image = _tint(216, 204, 184) * (0.95 + 0.08 * _noise(x * 2, z * 2))[..., None]
        dark = (np.floor(x / 2.4) + np.floor(z / 2.4)) % 2 > 0
        _put(image, dark, _tint(150, 112, 90), 0.6)
        _put(image, _lines(x, 0.8, 0.02) | _lines(z, 0.8, 0.02), _tint(130, 118, 104))
    elif style == 'wet':
        image = _tint(46, 48, 56) * texture
        shine = np.clip(2 * _noise(x * 1.1, z * 0.3) - 1, 0, 1)[..., None]
        image += shine * _colored(_cell_value(x / 2.5 + 3), 1.0)
        _put(image, np.abs(z - 0.6 * wall_z) < 0.08, _tint(190, 188, 170), 0.8)
    else:  # road, crossing: asphalt and, beyond the kerb, a pavement
        image = _tint(98, 98, 102) * texture
        kerb = wall_z * 0.72
        beyond = z > kerb
        _put(image, beyond, _tint(164, 160, 154) * texture)
        _put(image, beyond & (_lines(x, 0.7, 0.04) | _lines(z, 0.7, 0.04)), _tint(118, 114, 110))
        _put(image, np.abs(z - kerb) < 0.12, _tint(196, 194, 188))
        if style == 'crossing':
            _put(
                image, (z < kerb - 0.4) & _lines(x, 1.0, 0.5), _tint(222, 222, 218) * texture, 0.85
            )
        else:
            center = (np.abs(z - kerb * 0.62) < 0.07) & _lines(x, 3.0, 1.8)
            _put(image, center, _tint(228, 226, 214), 0.9)
            _put(image, np.abs(z - kerb * 0.93) < 0.05, _tint(216, 190, 70), 0.9)
    return image


def _cast_shadows(
    image: np.ndarray, x: np.ndarray, z: np.ndarray, camera: Camera, rng: np.random.Generator
) -> None:
    """Darken the ground with the shadow of a building and, sometimes, of leaves, in place."""
    start, width = rng.uniform(-6, 4), rng.uniform(2, 4.5)
    slanted = x + camera.light[0] * 0.8 * z
    dark: np.ndarray = _between(slanted, start, start + width).astype(np.float32)
    if rng.random() < 0.7:
        where = np.clip(np.sin(x * 0.5 + rng.uniform(0, 6)) + np.cos(z * 0.7) - 0.2, 0, 1)
        leaves = 0.6 * _noise(x * 3.1, z * 3.1) + 0.4 * _noise(x * 7, z * 7)
        dark = np.maximum(dark, np.clip((leaves - 0.45) * 8, 0, 0.9) * where)
    dark = cv2.GaussianBlur(dark.astype(np.float32), (0, 0), 3.0)
    image *= (1 - camera.shadow * 0.75 * dark)[..., None]


def paint_scene(camera: Camera, index: int, seed: int, streets: tuple[Street, ...]) -> np.ndarray:
    """Paint the street in front of a camera, without people.

    Args:
        camera: The camera.
        index: 0-based number of the camera, which chooses the kind of street.
        seed: Seed of the data set.
        streets: The kinds of streets.

    Returns:
        BGR, uint8, (SCENE_HEIGHT, SCENE_WIDTH, 3).
    """
    rng = np.random.default_rng([seed, 3, index])
    wall_style, ground_style, furniture = streets[index % len(streets)]
    columns = (np.arange(SCENE_WIDTH, dtype=np.float32) - SCENE_WIDTH / 2)[None] / FOCAL
    rows = (np.arange(SCENE_HEIGHT, dtype=np.float32) - camera.horizon)[:, None] / FOCAL
    # The wall recedes to one side: the ray (columns, rows, 1) meets it at this distance.
    wall_z = np.float32(camera.farthest * rng.uniform(1.25, 1.5))
    slope = np.float32(rng.uniform(-0.35, 0.35))
    distance = wall_z / (1 + slope * columns)
    foot = np.float32(camera.height) / distance
    wall_rows = rows[: int(np.searchsorted(rows[:, 0], foot.max())) + 1]
    first = int(np.searchsorted(rows[:, 0], foot.min()))
    ground_rows = rows[first:]

    u = np.broadcast_to(columns * distance * np.hypot(1, slope), (len(wall_rows), SCENE_WIDTH))
    wall = _wall(wall_style, u, camera.height - wall_rows * distance, rng)
    z = np.broadcast_to(camera.height / ground_rows, (len(ground_rows), SCENE_WIDTH))
    x = columns * z
    # along the wall and square to it, so that kerbs run parallel to the wall
    ground = _ground(ground_style, x - slope * z + 100, z * (1 + slope * columns), wall_z)
    _cast_shadows(ground, x, z, camera, rng)
    contact = np.clip((ground_rows - foot) * 14, 0, 1)
    ground *= (0.7 + 0.3 * contact)[..., None]

    image = np.empty((SCENE_HEIGHT, SCENE_WIDTH, 3), np.uint8)
    image[: len(wall_rows)] = np.clip(wall, 0, 255)
    below = np.broadcast_to((ground_rows > foot)[..., None], ground.shape)
    np.copyto(image[first:], np.clip(ground, 0, 255).astype(np.uint8), where=below)
    _furnish(image, furniture, camera, wall_z, rng)
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def _furnish(
    image: np.ndarray,
    kinds: tuple[str, ...],
    camera: Camera,
    wall_z: float,
    rng: np.random.Generator,
) -> None:
    """Stand things along the far side, the farthest first."""
    places = []
    for number, kind in enumerate(kinds):
        away = rng.uniform(camera.farthest * 1.02, wall_z * 0.96)
        # spread over the view, so that every part of it has something
        column = (number + rng.uniform(0.2, 0.8)) / len(kinds) * SCENE_WIDTH
        places.append((away, kind, column))
    for away, kind, column in sorted(places, reverse=True):
        scale = FOCAL / away
        sprite = prop_sprite(kind, scale, rng)
        if rng.random() < 0.5:
            sprite = np.ascontiguousarray(sprite[:, ::-1])
        ground = round(camera.horizon + camera.height * scale)
        reach = PROP_SIZES[kind][0] * scale / 2
        shadow = np.zeros((*image.shape[:2], 4), np.uint8)
        center = (round(column - camera.light[0] * reach * 0.6), ground)
        depth = max(2, round(min(reach, 60) * 0.2))
        top, bottom = max(0, ground - 3 * depth), min(SCENE_HEIGHT, ground + 3 * depth)
        strength = round(255 * camera.shadow * (0.3 if kind == 'fence' else 1.0))
        cv2.ellipse(shadow, center, (round(reach), depth), 0, 0, 360, (0, 0, 0, strength), -1)
        paste(image, cv2.blur(shadow[top:bottom], (depth | 1, depth | 1)), 0, bottom)
        paste(image, sprite, round(column - reach), ground)
