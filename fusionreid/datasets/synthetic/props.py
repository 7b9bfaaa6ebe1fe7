"""Street furniture, plants and vehicles as sprites; used in the scenes and in front of people."""

import cv2
import numpy as np

# kind -> (width, height) in meters
PROP_SIZES: dict[str, tuple[float, float]] = {
    'pole': (0.24, 4.2),
    'bollard': (0.3, 1.0),
    'sign': (0.8, 2.9),
    'bin': (0.6, 1.05),
    'bench': (1.8, 0.95),
    'hedge': (3.2, 0.95),
    'planter': (1.5, 1.15),
    'bicycle': (1.8, 1.15),
    'car': (4.3, 1.5),
    'tree': (3.6, 5.2),
    'fence': (3.0, 1.0),
    'kiosk': (1.1, 2.8),
}

_CARS = (
    (40, 40, 160),
    (170, 170, 172),
    (60, 58, 56),
    (120, 80, 50),
    (225, 225, 225),
    (70, 100, 60),
)
_SS = 2  # sprites are drawn larger and reduced, for smooth edges


class _Pen:
    """Draws filled shapes, in meters from the bottom left corner, into color and mask."""

    def __init__(self, width: float, height: float, scale: float) -> None:
        self.scale = scale * _SS
        self.rows = max(4, round(height * self.scale))
        self.columns = max(4, round(width * self.scale))
        self.color = np.zeros((self.rows, self.columns, 3), np.uint8)
        self.mask = np.zeros((self.rows, self.columns), np.uint8)

    def _pixels(self, points: list[tuple[float, float]]) -> np.ndarray:
        xy = np.array(points, dtype=np.float64) * self.scale
        xy[:, 1] = self.rows - xy[:, 1]
        return np.round(xy).astype(np.int32)

    def polygon(self, points: list[tuple[float, float]], color: tuple[int, int, int]) -> None:
        pixels = self._pixels(points)
        cv2.fillPoly(self.color, [pixels], color)
        cv2.fillPoly(self.mask, [pixels], 255)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: tuple[int, int, int]) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def disc(self, x: float, y: float, radius: float, color: tuple[int, int, int]) -> None:
        center = tuple(self._pixels([(x, y)])[0].tolist())
        cv2.circle(self.color, center, max(1, round(radius * self.scale)), color, -1)
        cv2.circle(self.mask, center, max(1, round(radius * self.scale)), 255, -1)

    def line(
        self, points: list[tuple[float, float]], thick: float, color: tuple[int, int, int]
    ) -> None:
        pixels, width = self._pixels(points), max(1, round(thick * self.scale))
        cv2.polylines(self.color, [pixels], False, color, width)
        cv2.polylines(self.mask, [pixels], False, 255, width)

    def ring(
        self, x: float, y: float, radius: float, thick: float, color: tuple[int, int, int]
    ) -> None:
        center, width = tuple(self._pixels([(x, y)])[0].tolist()), max(1, round(thick * self.scale))
        cv2.circle(self.color, center, round(radius * self.scale), color, width)
        cv2.circle(self.mask, center, round(radius * self.scale), 255, width)

    def foliage(
        self, x: float, y: float, rx: float, ry: float, num: int, rng: np.random.Generator
    ) -> None:
        """Many leaves: dark ones below, light ones above."""
        points = rng.normal(0, 0.45, (num, 2)).clip(-1, 1)
        order = np.argsort(points[:, 1] + rng.normal(0, 0.3, num))
        base = np.array([rng.integers(30, 55), rng.integers(75, 105), rng.integers(45, 80)])
        for u, w in points[order].tolist():
            tone = np.clip(base * (0.85 + 0.4 * w + 0.25 * rng.standard_normal()), 8, 215)
            self.disc(x + u * rx, y + w * ry, 0.03 + 0.07 * rng.random(), tuple(tone.tolist()))

    def finish(self) -> np.ndarray:
        size = (max(2, self.columns // _SS), max(2, self.rows // _SS))
        opaque = self.mask > 0
        # spread the colors over the border, so that reducing does not mix black into the edges
        spread = cv2.dilate(self.color, np.ones((3, 3), np.uint8))
        spread[opaque] = self.color[opaque]
        return np.dstack(
            [
                cv2.resize(spread, size, interpolation=cv2.INTER_AREA),
                cv2.resize(self.mask, size, interpolation=cv2.INTER_AREA),
            ]
        )


def _car(pen: _Pen, rng: np.random.Generator) -> None:
    paint = np.array(_CARS[rng.integers(len(_CARS))], float)
    body, dark = tuple(paint.tolist()), tuple((paint * 0.7).tolist())
    pen.polygon([(0.05, 0.3), (0.02, 0.75), (0.25, 0.9), (1.0, 0.98), (1.55, 1.45), (2.9, 1.47),
                 (3.65, 1.0), (4.2, 0.88), (4.28, 0.5), (4.22, 0.3)], body)  # fmt: skip
    pen.polygon([(0.05, 0.3), (0.03, 0.58), (4.28, 0.58), (4.22, 0.3)], dark)
    glass = (92, 84, 74)
    pen.polygon([(1.15, 1.0), (1.62, 1.38), (2.18, 1.4), (2.18, 1.0)], glass)
    pen.polygon([(2.27, 1.0), (2.27, 1.4), (2.85, 1.4), (3.45, 1.0)], glass)
    pen.polygon([(1.7, 1.0), (2.0, 1.38), (2.12, 1.38), (1.85, 1.0)], (150, 142, 130))
    pen.line([(2.22, 0.35), (2.22, 1.0)], 0.02, dark)
    pen.box(0.06, 0.66, 0.3, 0.8, (190, 220, 235))
    pen.box(4.08, 0.66, 4.27, 0.82, (40, 40, 190))
    for x in (0.85, 3.4):
        pen.disc(x, 0.33, 0.36, (24, 24, 24))
        pen.disc(x, 0.33, 0.2, (150, 150, 152))


def _bicycle(pen: _Pen, rng: np.random.Generator) -> None:
    blue, green, red = rng.integers(20, 200, 3).tolist()
    frame = (blue, green, red)
    for x in (0.36, 1.42):
        pen.ring(x, 0.35, 0.33, 0.045, (28, 28, 28))
        for angle in np.arange(0, np.pi, np.pi / 5):
            dx, dy = 0.32 * np.cos(angle), 0.32 * np.sin(angle)
            pen.line([(x - dx, 0.35 - dy), (x + dx, 0.35 + dy)], 0.008, (130, 130, 130))
    pen.line([(0.36, 0.35), (0.62, 0.82), (1.2, 0.85), (0.8, 0.35), (0.62, 0.82)], 0.05, frame)
    pen.line([(0.36, 0.35), (0.8, 0.35)], 0.04, frame)
    pen.line([(1.42, 0.35), (1.2, 0.85), (1.16, 1.0), (1.05, 1.02)], 0.05, frame)
    pen.line([(0.62, 0.82), (0.58, 0.95)], 0.04, frame)
    pen.box(0.45, 0.93, 0.72, 0.99, (30, 30, 30))


def prop_sprite(kind: str, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a thing that stands in the street.

    Args:
        kind: Key of :data:`PROP_SIZES`.
        scale: Pixels per meter.
        rng: Source of its colors and leaves.

    Returns:
        BGR and opacity, uint8, (H, W, 4); the bottom row stands on the ground.
    """
    width, height = PROP_SIZES[kind]
    pen = _Pen(width, height, scale)
    if kind == 'pole':
        gray = int(rng.integers(60, 150))
        pen.box(0.06, 0, 0.18, height, (gray, gray, gray - 5))
        pen.box(0.06, 0, 0.10, height, (gray + 40, gray + 40, gray + 36))
        pen.box(0.0, 0, 0.24, 0.35, (gray - 25, gray - 25, gray - 25))
    elif kind == 'bollard':
        pen.box(0.05, 0, 0.25, 0.9, (70, 72, 76))
        pen.disc(0.15, 0.88, 0.11, (84, 86, 90))
        pen.box(0.05, 0.66, 0.25, 0.78, (210, 214, 216))
    elif kind == 'sign':
        pen.box(0.37, 0, 0.43, 2.4, (140, 140, 140))
        pen.disc(0.4, 2.5, 0.36, ((30, 30, 190), (170, 90, 30))[rng.integers(2)])
        pen.disc(0.4, 2.5, 0.25, (230, 230, 230))
        pen.box(0.2, 2.44, 0.6, 2.56, (40, 40, 40))
    elif kind == 'bin':
        blue, green, red = ((52, 84, 48), (60, 60, 64))[rng.integers(2)]
        pen.box(0.06, 0, 0.54, 0.95, (blue, green, red))
        pen.box(0.06, 0, 0.16, 0.95, (blue + 26, green + 26, red + 26))
        pen.box(0.0, 0.86, 0.6, 1.02, (blue // 2, green // 2, red // 2))
    elif kind == 'bench':
        wood = (52, 86, 122)
        for y in (0.44, 0.62, 0.76):
            pen.box(0.05, y, 1.75, y + 0.1, wood)
            pen.box(0.05, y, 1.75, y + 0.03, (36, 62, 92))
        for x in (0.2, 1.5):
            pen.box(x, 0, x + 0.1, 0.92, (52, 52, 54))
    elif kind == 'hedge':
        pen.box(0.1, 0, 3.1, 0.75, (34, 62, 40))
        for x in np.linspace(0.3, 2.9, 9):
            pen.foliage(x, 0.48, 0.32, 0.42, 110, rng)
    elif kind == 'planter':
        pen.foliage(0.75, 0.8, 0.6, 0.34, 220, rng)
        pen.polygon([(0.2, 0), (1.3, 0), (1.42, 0.6), (0.08, 0.6)], (118, 132, 146))
        pen.box(0.04, 0.52, 1.46, 0.62, (142, 156, 170))
    elif kind == 'bicycle':
        _bicycle(pen, rng)
    elif kind == 'car':
        _car(pen, rng)
    elif kind == 'tree':
        pen.polygon([(1.62, 0), (1.98, 0), (1.9, 2.6), (1.72, 2.6)], (46, 62, 78))
        pen.polygon([(1.62, 0), (1.74, 0), (1.78, 2.6), (1.72, 2.6)], (70, 88, 104))
        pen.line([(1.8, 2.2), (2.4, 3.2)], 0.09, (46, 62, 78))
        pen.line([(1.8, 2.2), (1.2, 3.3)], 0.09, (46, 62, 78))
        pen.foliage(1.8, 3.8, 1.5, 1.15, 800, rng)
    elif kind == 'kiosk':
        pen.box(0.06, 0, 1.04, 2.65, (70, 84, 66))
        pen.box(0.06, 0, 0.2, 2.65, (92, 108, 88))
        pen.box(0.16, 0.75, 0.94, 2.35, (178, 196, 206))
        pen.disc(0.55, 1.7, 0.28, (52, 92, 190))
        pen.box(0.26, 0.98, 0.84, 1.1, (96, 70, 50))
        pen.box(0.0, 2.55, 1.1, 2.75, (48, 58, 46))
    elif kind == 'fence':
        gray = int(rng.integers(40, 110))
        for y in (0.12, 0.9):
            pen.box(0, y, 3.0, y + 0.05, (gray, gray, gray))
        for x in np.arange(0.05, 3.0, 0.16):
            pen.box(x, 0, x + 0.035, 1.0, (gray, gray, gray))
    return pen.finish()


def paste(image: np.ndarray, sprite: np.ndarray, left: int, bottom: int) -> None:
    """Lay a sprite over an image, in place.

    Args:
        image: BGR, uint8, (H, W, 3).
        sprite: From :func:`prop_sprite`.
        left: Column of the sprite's left border; any part may lie outside of the image.
        bottom: Row below the sprite's last row.
    """
    rows, columns = sprite.shape[:2]
    top = bottom - rows
    y0, y1 = max(top, 0), min(bottom, image.shape[0])
    x0, x1 = max(left, 0), min(left + columns, image.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    piece = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    opacity = piece[..., 3:].astype(np.uint16)
    under = image[y0:y1, x0:x1]
    under[:] = ((piece[..., :3] * opacity + under * (255 - opacity)) // 255).astype(np.uint8)
