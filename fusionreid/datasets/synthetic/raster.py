"""From body parts in space to pixels."""

import cv2
import numpy as np

from .figure import Part
from .texture import Atlas


def render_parts(
    parts: list[Part],
    atlas: Atlas,
    yaw: float,
    pitch: float,
    scale: float,
    ground: tuple[float, float],
    size: tuple[int, int],
    light: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Render a figure without a background.

    Parts are drawn into depth, texture-coordinate and shade buffers; one texture look-up then
    colors all of them. The projection is orthographic.

    Args:
        parts: The figure.
        atlas: Its textures.
        yaw: Heading in radians: 0 faces the camera, pi shows the back.
        pitch: How far the camera looks down, in radians.
        scale: Pixels per meter.
        ground: Where the body's origin is seen, (x, y) in pixels.
        size: Height and width of the result.
        light: Direction to the light: right, up, towards the camera.

    Returns:
        BGR image (H, W, 3), zero where the figure is not, and mask
        (H, W) of 0 and 255; both uint8.
    """
    height, width = size
    ends = _project(parts, yaw, pitch, scale, ground)
    depth = np.full(size, -1e9, dtype=np.float32)
    map_x, map_y, shade = np.zeros((3, *size), dtype=np.float32)
    columns = np.arange(width, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    cos_yaw, sin_yaw = float(np.cos(yaw)), float(np.sin(yaw))
    for part, (x0, y0, z0), (x1, y1, z1) in zip(
        parts, ends[::2].tolist(), ends[1::2].tolist(), strict=True
    ):
        a0, b0, a1, b1 = part.radii
        # Seen at an angle, an ellipse with half axes a (sideways) and b (to the front) is half
        # wide; its near rim lies shear * x + bulge * sqrt(half^2 - x^2) before its center.
        half0 = float(np.hypot(a0 * cos_yaw, b0 * sin_yaw)) * scale
        half1 = float(np.hypot(a1 * cos_yaw, b1 * sin_yaw)) * scale
        a, b = a0 + a1, b0 + b1
        square = (a * cos_yaw) ** 2 + (b * sin_yaw) ** 2
        shear, bulge = (b * b - a * a) * sin_yaw * cos_yaw / square, a * b / square
        reach = max(half0, half1)
        left, right = max(int(min(x0, x1) - reach), 0), min(int(max(x0, x1) + reach) + 2, width)
        top, bottom = max(int(min(y0, y1) - reach), 0), min(int(max(y0, y1) + reach) + 2, height)
        if left >= right or top >= bottom:
            continue
        window = (slice(top, bottom), slice(left, right))

        length = float(np.hypot(x1 - x0, y1 - y0)) + 1e-3
        ex, ey = (x1 - x0) / length, (y1 - y0) / length
        px, py = columns[left:right] - np.float32(x0), rows[top:bottom] - np.float32(y0)
        along = px * np.float32(ex / length) + py * np.float32(ey / length)
        inside = np.clip(along, 0.0, 1.0)
        half = inside * np.float32(half1 - half0) + np.float32(half0)
        across = (px * np.float32(ey) - py * np.float32(ex)) / half
        beyond = (along - inside) * np.float32(length / part.cap) / half
        towards = 1.0 - across * across - beyond * beyond
        mask = towards > 0
        towards = np.sqrt(np.maximum(towards, 0.0))
        near = half * (towards * np.float32(bulge) + across * np.float32(shear))
        near += inside * np.float32(z1 - z0) + np.float32(z0 + part.forward * scale)
        mask &= near > depth[window]
        np.copyto(depth[window], near, where=mask)

        # the angle around the axis, counted from the person's side
        angle = np.arccos(np.clip(across, -1.0, 1.0))
        angle += np.float32(np.arctan2(b * sin_yaw, a * cos_yaw) % (2 * np.pi))
        angle *= np.float32(atlas.columns_per_radian)
        np.copyto(map_x[window], angle, where=mask)
        first, count = atlas.cells[part.cell]
        v0, v1 = part.rows
        row = along * np.float32((v1 - v0) * count) + np.float32(first + v0 * count)
        np.clip(row, first + 0.5, first + count - 1.5, out=row)
        np.copyto(map_y[window], row, where=mask)

        # rows count downwards, so (ey, -ex) is the direction in which `across` grows
        light_x, light_y, light_z = light
        lit = across * np.float32(light_x * ey + light_y * ex) + towards * np.float32(light_z)
        np.copyto(shade[window], lit, where=mask)
    covered = depth > -1e8
    color = cv2.remap(atlas.image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    brightness = (np.maximum(shade, 0.0) * np.float32(0.62) + np.float32(0.50)) * covered
    shaded = cv2.multiply(color, cv2.merge([brightness] * 3), dtype=cv2.CV_8U)
    return shaded, covered.astype(np.uint8) * 255


def _project(
    parts: list[Part], yaw: float, pitch: float, scale: float, ground: tuple[float, float]
) -> np.ndarray:
    """Screen coordinates (x, y, nearness) of the start and end of every part, (2 * parts, 3)."""
    down = np.array([0.0, -1.0, 0.0])
    towards = np.array([-np.sin(yaw), 0.0, np.cos(yaw)])
    axes = np.stack(
        [
            [np.cos(yaw), 0.0, np.sin(yaw)],
            np.cos(pitch) * down + np.sin(pitch) * towards,
            np.cos(pitch) * towards - np.sin(pitch) * down,
        ]
    )
    ends = np.array([(part.start, part.end) for part in parts]).reshape(-1, 3) @ axes.T * scale
    ends[:, :2] += ground
    return ends
