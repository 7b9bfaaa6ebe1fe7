"""What makes one camera's pictures look unlike another's: its place and its electronics."""

from dataclasses import dataclass

import cv2
import numpy as np

Range = tuple[float, float]

# Pixels of the whole scene that a camera sees; people are cut out of it.
SCENE_HEIGHT, SCENE_WIDTH = 640, 1120
FOCAL = 900.0

# (red, green, blue) gains, ordered so that neighboring cameras differ strongly
CASTS = (
    (1.05, 1.01, 0.93),
    (0.95, 0.99, 1.06),
    (0.97, 1.03, 0.96),
    (1.00, 1.00, 1.00),
    (1.03, 0.97, 1.02),
    (1.08, 0.99, 0.88),
    (0.94, 1.02, 1.02),
    (1.02, 1.03, 0.95),
)


@dataclass(frozen=True)
class Camera:
    """A fixed camera.

    Args:
        height: Height above the ground in meters.
        horizon: Row of the horizon in the scene.
        nearest: Distance at which people walk closest to the camera, in meters.
        farthest: Distance at which they walk farthest from it.
        light: Direction to the light: right, up, towards the camera.
        shadow: Darkness of shadows on the ground, 0 to 1.
        cast: Gains of blue, green and red.
        exposure: Gain of all channels.
        contrast: Slope around mid-gray.
        gamma: Exponent of the tone curve.
        saturation: 0 for gray pictures, 1 for unchanged ones.
        haze: Share of light gray mixed in.
        blur: Typical standard deviation of the blur, in pixels at 128 pixels of height.
        resolution: Typical share of the resolution that survives, 0 to 1.
        noise: Typical standard deviation of the noise in gray levels.
        quality: Typical JPEG quality.
        gain: Between which gains of all channels single pictures lie.
    """

    height: float
    horizon: float
    nearest: float
    farthest: float
    light: tuple[float, float, float]
    shadow: float
    cast: tuple[float, float, float]
    exposure: float
    contrast: float
    gamma: float
    saturation: float
    haze: float
    blur: float
    resolution: float
    noise: float
    quality: int
    gain: Range


@dataclass(frozen=True)
class CameraRanges:
    """Between which values the cameras of a world lie, and under which light; see :class:`Camera`.

    Args:
        casts: Gains of red, green and blue, of one camera after the other.
        exposures: Gains of all channels, of one camera after the other.
        elevation: How high the light stands, beside its direction to the side and to the camera.
        height: Meters above the ground.
        horizon: Row in the scene.
        nearest: Where people walk closest, in heights of the camera.
        farthest: Where they walk farthest, times the nearest.
        shadow: Darkness of shadows.
        contrast: Slope around mid-gray.
        gamma: Exponent of the tone curve.
        saturation: 0 for gray pictures.
        haze: Share of light gray.
        blur: Pixels at 128 pixels of height.
        resolution: Share that survives.
        noise: Gray levels.
        quality: Of JPEG, whole numbers; the last is not reached.
        gain: Gains of all channels, of single pictures of every camera.
    """

    casts: tuple[tuple[float, float, float], ...] = CASTS
    exposures: tuple[float, ...] = (0.92, 1.05, 0.97, 1.10, 0.86, 1.02)
    elevation: Range = (0.3, 0.7)
    height: Range = (2.3, 3.6)
    horizon: Range = (70, 130)
    nearest: Range = (1.9, 2.1)
    farthest: Range = (1.7, 2.2)
    shadow: Range = (0.25, 0.6)
    contrast: Range = (0.85, 1.12)
    gamma: Range = (0.85, 1.2)
    saturation: Range = (0.75, 1.1)
    haze: Range = (0.0, 0.10)
    blur: Range = (0.2, 0.65)
    resolution: Range = (0.68, 1.0)
    noise: Range = (1.5, 5.0)
    quality: tuple[int, int] = (62, 92)
    gain: Range = (0.84, 1.16)


def make_camera(index: int, seed: int, ranges: CameraRanges) -> Camera:
    """Set up a camera.

    Args:
        index: 0-based number of the camera.
        seed: Seed of the data set.
        ranges: What the cameras of its world are like.

    Returns:
        The camera.
    """
    rng = np.random.default_rng([seed, 2, index])
    cast = np.array(ranges.casts[index % len(ranges.casts)]) * rng.uniform(0.98, 1.02, 3)
    side = rng.choice([-1.0, 1.0]) * rng.uniform(0.25, 0.75)
    light = np.array([side, rng.uniform(*ranges.elevation), rng.uniform(0.45, 0.9)])
    height = rng.uniform(*ranges.height)
    nearest = height * rng.uniform(*ranges.nearest)
    return Camera(
        height=float(height),
        horizon=float(rng.uniform(*ranges.horizon)),
        nearest=float(nearest),
        farthest=float(nearest * rng.uniform(*ranges.farthest)),
        light=tuple((light / np.linalg.norm(light)).tolist()),
        shadow=float(rng.uniform(*ranges.shadow)),
        cast=tuple(cast[::-1].tolist()),
        exposure=float(ranges.exposures[index % len(ranges.exposures)] * rng.uniform(0.96, 1.04)),
        contrast=float(rng.uniform(*ranges.contrast)),
        gamma=float(rng.uniform(*ranges.gamma)),
        saturation=float(rng.uniform(*ranges.saturation)),
        haze=float(rng.uniform(*ranges.haze)),
        blur=float(rng.uniform(*ranges.blur)),
        resolution=float(rng.uniform(*ranges.resolution)),
        noise=float(rng.uniform(*ranges.noise)),
        quality=int(rng.integers(*ranges.quality)),
        gain=ranges.gain,
    )


def _tone_curve(camera: Camera, gain: float) -> np.ndarray:
    """Look-up table (256, 3) from scene levels to recorded ones."""
    level = np.arange(256)[:, None] / 255.0
    level = np.clip(level * np.array(camera.cast) * camera.exposure * gain, 0, 1.6)
    level = level**camera.gamma
    level = (level - 0.45) * camera.contrast + 0.45
    level = level * (1 - camera.haze) + 0.72 * camera.haze
    # a soft shoulder instead of hard clipping of the highlights
    level = np.where(level > 0.8, 0.8 + 0.2 * np.tanh((level - 0.8) / 0.2), level)
    return np.clip(level * 255, 0, 255).astype(np.uint8)


def _mix_colors(image: np.ndarray, saturation: float) -> np.ndarray:
    gray = (1 - saturation) * np.array([0.114, 0.587, 0.299])
    return cv2.transform(image, np.eye(3) * saturation + gray[None, :])


def record(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: optics, sensor, tone curve.

    Args:
        camera: The camera.
        image: BGR scene, uint8, (H, W, 3).
        rng: Source of this picture's own deviations.

    Returns:
        What the camera delivers, same type and shape.
    """
    height, width = image.shape[:2]
    share = min(1.0, camera.resolution * rng.uniform(0.75, 1.15))
    if share < 0.95:
        small = (max(8, round(width * share)), max(16, round(height * share)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    sigma = camera.blur * rng.uniform(0.3, 1.5) * height / 128
    if sigma > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if rng.random() < 0.12:
        length = max(2, round(rng.uniform(1.5, 4.0) * height / 128))
        image = cv2.blur(image, (length, 1))
    image = _mix_colors(image, camera.saturation * rng.uniform(0.92, 1.08))
    image = cv2.LUT(
        image, _tone_curve(camera, rng.uniform(*camera.gain))[:, None, :].reshape(1, 256, 3)
    )
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(camera.noise * rng.uniform(0.6, 1.3))
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def compress(camera: Camera, image: np.ndarray, rng: np.random.Generator) -> bytes:
    """Encode a picture as JPEG at about the camera's quality.

    Args:
        camera: The camera.
        image: BGR, uint8, (H, W, 3).
        rng: Source of this picture's own quality.

    Returns:
        The file.
    """
    quality = int(np.clip(camera.quality + rng.integers(-12, 9), 45, 95))
    _, buffer = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return buffer.tobytes()
