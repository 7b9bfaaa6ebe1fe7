"""Short videos of a street, with who is where in every frame."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fusionreid.errors import ConfigError, DatasetExistsError

from .camera import FOCAL, SCENE_HEIGHT, SCENE_WIDTH, Camera, record
from .figure import Pose
from .identity import sample_identities
from .layout import MAX_CAMERAS
from .props import PROP_SIZES, paste, prop_sprite
from .render import World, draw_person, place_of, render_image, shade_ground

# People and streets of a clip are none of a data set that has the same seed.
_SEED = 2**33
_FRONT = 'kiosk'  # what people walk behind
_STEP = 1.4  # meters of one cycle of walking
# Shares of a person that are in the frame, or uncovered, so that a detector finds them.
_IN_FRAME, _FOUND = 0.25, 0.35
_MISSED, _FALSE = 0.04, 0.03
BOXES, TRUTH, QUERY = 'boxes', 'truth', 'query'


@dataclass(frozen=True)
class ClipConfig:
    """What rendered clips depend on.

    Args:
        cameras: Number of cameras, a clip each, 1 to 6.
        people: Number of people, all of whom pass all cameras, 1 to 99.
        frames: Frames of a clip, 2 to 100,000.
        height: Height of a frame in pixels, an even number from 180 to 1080; the width follows.
        fps: Frames per second, 5 to 60.
        seed: Seed, at least 0.
    """

    cameras: int = 2
    people: int = 6
    frames: int = 200
    height: int = 360
    fps: int = 10
    seed: int = 0

    def check(self) -> None:
        """Check the parameters.

        Raises:
            ConfigError: If one is out of range.
        """
        limits = dict(
            cameras=(1, MAX_CAMERAS['market1501']),
            people=(1, 99),
            frames=(2, 100_000),
            height=(180, 1080),
            fps=(5, 60),
            seed=(0, 2**31 - 1),
        )
        for name, (lowest, highest) in limits.items():
            if not lowest <= (value := getattr(self, name)) <= highest:
                raise ConfigError(f'{name} must be from {lowest} to {highest}, got {value}')
        if self.height % 2:
            raise ConfigError(f'height must be even, got {self.height}')

    @property
    def width(self) -> int:
        """Width of a frame in pixels."""
        return round(self.height * 16 / 9 / 2) * 2


class SeenPerson(NamedTuple):
    """A person in a frame.

    Attributes:
        person: Number from 1.
        box: Left, top, right and bottom of all of them that the frame holds, in pixels.
        visible: Share of them that nothing covers, 0 to 1.
    """

    person: int
    box: tuple[int, int, int, int]
    visible: float


class _Passage(NamedTuple):
    """A walk from one side of the street to the other."""

    start: float  # seconds
    speed: float  # meters a second
    to_right: bool
    away: tuple[float, float]  # meters from the camera, at the begin and at the end
    phase: float


class _Figure(NamedTuple):
    """Where a person walks in a frame, in pixels of the scene."""

    person: int
    column: float
    away: float
    yaw: float
    phase: float


def render_frames(config: ClipConfig, camera: int) -> Iterator[tuple[np.ndarray, list[SeenPerson]]]:
    """Render the clip of a camera.

    Args:
        config: What to render.
        camera: 0-based camera.

    Yields:
        Each frame, BGR uint8 (H, W, 3), and the people of whom at least a quarter is in it.
    """
    seed = config.seed + _SEED
    place, scene = place_of(camera, seed)
    world = _world(config)
    scale = config.width / SCENE_WIDTH
    top = round((SCENE_HEIGHT * scale - config.height) / 2)
    size = (config.width, round(SCENE_HEIGHT * scale))
    street = cv2.resize(scene, size, interpolation=cv2.INTER_AREA)[top : top + config.height]
    walks = [_walks(config, place, camera, person) for person in range(config.people)]
    rng = np.random.default_rng([seed, 21, camera])
    front_column = rng.uniform(0.4, 0.6) * config.width
    for number in range(config.frames):
        figures = [
            figure
            for person, passages in enumerate(walks)
            if (figure := _figure_at(person, passages, number / config.fps)) is not None
        ]
        image = street.copy()
        seen = _draw_people(image, world, place, figures, scale, top)
        uncovered = _draw_front(image, place, scale, top, front_column, seed)
        # Gain and noise of a camera stay as they are.
        image = record(place, image, np.random.default_rng([seed, 22, camera]))
        yield image, _seen_people(figures, seen, uncovered)


def render_clips(
    out: str | Path,
    config: ClipConfig,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render clips into a folder, which appears whole or not at all.

    It holds ``camera_1.mp4`` and so on; ``truth/camera_1.txt`` says who is where, in the format of
    the MOT challenge; ``boxes/camera_1.txt`` what a detector would find, which does not know who it
    is, misses people who are covered and some others, and is wrong at times; ``query/person_1.jpg``
    is a photo of a person by another camera.

    Args:
        out: The folder; it must be missing or empty.
        config: What to render.
        progress: Called with the number of frames done and to do, from 0 on.

    Raises:
        ConfigError: If a parameter is out of range, or OpenCV cannot write videos.
        DatasetExistsError: If ``out`` holds anything.
    """
    config.check()
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetExistsError(f'{out} exists and is not empty: choose another folder')
    partial = out.absolute().parent / f'.{out.name}.rendering-{os.getpid()}'
    total = config.cameras * config.frames
    try:
        for folder in (BOXES, TRUTH, QUERY):
            (partial / folder).mkdir(parents=True)
        for camera in range(config.cameras):
            name = f'camera_{camera + 1}'
            truth, boxes = [], []
            rng = np.random.default_rng([config.seed + _SEED, 23, camera])
            writer = cv2.VideoWriter(
                str(partial / f'{name}.mp4'),
                cv2.VideoWriter.fourcc(*'mp4v'),
                config.fps,
                (config.width, config.height),
            )
            if not writer.isOpened():
                raise ConfigError('OpenCV cannot write MP4 files here: install opencv-python')
            for number, (image, people) in enumerate(render_frames(config, camera), 1):
                writer.write(image)
                truth += [_mot_line(number, p.person, p.box, 1, p.visible) for p in people]
                boxes += [
                    _mot_line(number, -1, box, score, -1)
                    for box, score in _detect(people, config, rng)
                ]
                if progress:
                    progress(camera * config.frames + number, total)
            writer.release()
            (partial / TRUTH / f'{name}.txt').write_text(''.join(truth))
            (partial / BOXES / f'{name}.txt').write_text(''.join(boxes))
        world = _world(config)
        for person in range(config.people):
            photo = render_image(world, person, config.cameras, 0, 0)
            (partial / QUERY / f'person_{person + 1}.jpg').write_bytes(photo)
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _world(config: ClipConfig) -> World:
    seed = config.seed + _SEED
    people = tuple(sample_identities(config.people, seed))
    return World(seed, 128, 64, people, people)


def _walks(config: ClipConfig, camera: Camera, index: int, person: int) -> list[_Passage]:
    """The walks of a person in front of a camera: they come, leave, and come back."""
    rng = np.random.default_rng([config.seed + _SEED, 20, index, person])
    duration = config.frames / config.fps
    start = rng.uniform(-0.25, 0.4) * duration
    to_right = bool(rng.integers(2))
    passages = []
    while start < duration:
        far = rng.uniform(camera.nearest, camera.farthest, 2)
        speed = float(rng.uniform(1.3, 1.9))
        passage = _Passage(start, speed, to_right, (far[0], far[1]), float(rng.uniform(0, 6.28)))
        passages.append(passage)
        start += _street_width(passage) / speed + rng.uniform(1.5, 4.0)
        to_right = not to_right
    return passages


def _street_width(passage: _Passage) -> float:
    """Meters from before one side of the view to beyond the other."""
    return (SCENE_WIDTH / FOCAL) * sum(passage.away) / 2 + 1.2


def _figure_at(person: int, passages: list[_Passage], time: float) -> _Figure | None:
    for passage in passages:
        width = _street_width(passage)
        walked = (time - passage.start) * passage.speed
        if 0 <= walked <= width:
            share = walked / width
            away = passage.away[0] + share * (passage.away[1] - passage.away[0])
            margin = 0.6 * FOCAL / away
            across = share if passage.to_right else 1 - share
            sideways = width if passage.to_right else -width
            return _Figure(
                person,
                column=across * (SCENE_WIDTH + 2 * margin) - margin,
                away=away,
                yaw=float(np.arctan2(sideways, passage.away[0] - passage.away[1])),
                phase=passage.phase + 2 * np.pi * walked / _STEP,
            )
    return None


def _draw_people(
    image: np.ndarray,
    world: World,
    camera: Camera,
    figures: list[_Figure],
    scale: float,
    top: int,
) -> dict[int, tuple[np.ndarray, np.ndarray, float]]:
    """Draw people from far to near, in place.

    Returns:
        By person: all of them that is in the frame, what of it is seen, (H, W) uint8 each, and how
        much of them is in the frame.
    """
    seen: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
    for figure in sorted(figures, key=lambda figure: -figure.away):
        meter = FOCAL / figure.away * scale
        x = figure.column * scale
        y = (camera.horizon + FOCAL * camera.height / figure.away) * scale - top
        pitch = float(np.arctan2(camera.height - 0.9, figure.away))
        pose = Pose(figure.phase, 0.42, 'swing', 0.04)
        # Drawn on a canvas of their own size, which may reach beyond the frame.
        half, tall, below = round(1.1 * meter), round(2.1 * meter), round(0.3 * meter)
        left, upper = round(x) - half, round(y) - tall
        height, width = image.shape[:2]
        rows = slice(max(upper, 0), min(upper + tall + below, height))
        columns = slice(max(left, 0), min(left + 2 * half, width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        canvas = np.zeros((tall + below, 2 * half, 3), np.uint8)
        inside = (
            slice(rows.start - upper, rows.stop - upper),
            slice(columns.start - left, columns.stop - left),
        )
        canvas[inside] = image[rows, columns]
        ground = (x - left, y - upper)
        shade_ground(canvas, *ground, meter, camera)
        # A person is not as wide as their shadow.
        side = round(0.35 * meter)
        body = canvas[:, side:-side].copy()
        mask = np.zeros(canvas.shape[:2], np.uint8)
        mask[:, side:-side] = 255 - draw_person(
            body,
            world,
            world.people[figure.person],
            camera,
            figure.yaw,
            pitch,
            meter,
            (ground[0] - side, ground[1]),
            pose,
        )
        canvas[:, side:-side] = body
        image[rows, columns] = canvas[inside]
        whole: np.ndarray = np.zeros((height, width), np.uint8)
        whole[rows, columns] = mask[inside]
        for _, visible, _ in seen.values():
            cv2.multiply(visible, 255 - whole, dst=visible, scale=1 / 255)
        share = float(whole.sum() / max(1, mask.sum()))
        seen[figure.person] = (whole, whole.copy(), share)
    return seen


@lru_cache(maxsize=8)
def _front_sprite(meter: float, seed: int) -> np.ndarray:
    return prop_sprite(_FRONT, meter, np.random.default_rng(seed))


def _draw_front(
    image: np.ndarray, camera: Camera, scale: float, top: int, column: float, seed: int
) -> np.ndarray:
    """Draw what stands before everybody, in place; returns what it does not cover, (H, W) uint8."""
    away = 0.9 * camera.nearest
    meter = FOCAL / away * scale
    sprite = _front_sprite(meter, seed).copy()
    left = round(column - PROP_SIZES[_FRONT][0] * meter / 2)
    bottom = round((camera.horizon + FOCAL * camera.height / away) * scale - top)
    paste(image, sprite, left, bottom)
    sprite[..., :3] = 0
    uncovered = np.full_like(image, 255)
    paste(uncovered, sprite, left, bottom)
    return uncovered[..., 0]


def _seen_people(
    figures: list[_Figure],
    seen: dict[int, tuple[np.ndarray, np.ndarray, float]],
    uncovered: np.ndarray,
) -> list[SeenPerson]:
    people = []
    for person in sorted(figure.person for figure in figures):
        if person not in seen:
            continue
        whole, visible, share = seen[person]
        if share < _IN_FRAME:
            continue
        left, top, width, height = cv2.boundingRect((whole > 127).astype(np.uint8))
        left_over = cv2.multiply(visible, uncovered, scale=1 / 255)
        people.append(
            SeenPerson(
                person + 1,
                (left, top, left + width, top + height),
                float(left_over.sum() / max(1, whole.sum())),
            )
        )
    return people


def _detect(
    people: list[SeenPerson], config: ClipConfig, rng: np.random.Generator
) -> list[tuple[tuple[float, float, float, float], float]]:
    """What a detector finds: boxes with scores."""
    found = []
    for person in people:
        shift, missed, score = rng.normal(0, 0.02, 4), rng.random(), rng.uniform(-0.08, 0.05)
        if person.visible < _FOUND or missed < _MISSED:
            continue
        left, top, right, bottom = person.box
        sizes = np.array([right - left, bottom - top] * 2)
        box = np.array(person.box) + shift * sizes
        sure = float(np.clip(0.6 + 0.35 * person.visible + score, 0.05, 0.99))
        found.append((tuple(box.tolist()), sure))
    if rng.random() < _FALSE:
        tall = rng.uniform(0.2, 0.4) * config.height
        x, y = rng.uniform(0, config.width - tall), rng.uniform(0, config.height - tall)
        found.append(((x, y, x + 0.4 * tall, y + tall), float(rng.uniform(0.5, 0.65))))
    return found


def _mot_line(frame: int, person: int, box: tuple[float, ...], score: float, visible: float) -> str:
    """A line of the MOT challenge: frame, identity, left, top, width, height, score, and so on."""
    left, top, right, bottom = box
    numbers = (left, top, right - left, bottom - top)
    cells = ','.join(f'{number:.1f}' for number in numbers)
    kind = -1 if person < 0 else 1
    return f'{frame},{person},{cells},{score:.3f},{kind},{visible:.2f}\n'
