"""One picture: a person, somewhere in a camera's street, as a detector would cut them out."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .camera import FOCAL, SCENE_WIDTH, Camera, compress, make_camera, record
from .difficulty import OCCLUDERS, Difficulty
from .figure import Pose, place_parts
from .identity import GAITS, Identity
from .props import PROP_SIZES, paste, prop_sprite
from .raster import render_parts
from .scene import paint_scene
from .texture import Atlas, bake_atlas
from .world import STREET, WorldConfig

_SUPERSAMPLING = 2


@dataclass(frozen=True)
class World:
    """All that the pictures of one data set share.

    Args:
        seed: Seed of the data set.
        height: Height of the pictures in pixels.
        width: Width of the pictures in pixels.
        people: Everyone whom a picture may be about.
        bystanders: Others, who walk behind or before them.
        style: What its people and streets are like.
    """

    seed: int
    height: int
    width: int
    people: tuple[Identity, ...]
    bystanders: tuple[Identity, ...]
    style: WorldConfig = STREET


@lru_cache(maxsize=64)
def place_of(index: int, seed: int, style: WorldConfig = STREET) -> tuple[Camera, np.ndarray]:
    """Set up a camera and paint the scene that it looks at.

    Args:
        index: 0-based camera.
        seed: Seed of the data set.
        style: What the streets of its world are like.

    Returns:
        The camera, and its scene: BGR, uint8, not to be changed.
    """
    camera = make_camera(index, seed, style.cameras)
    return camera, paint_scene(camera, index, seed, style.streets)


@lru_cache(maxsize=64)
def _occluder(kind: str, variant: int, scale: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 4, OCCLUDERS.index(kind), variant])
    return prop_sprite(kind, scale, rng)


# Of a person's pictures, and of those who walk by.
@lru_cache(maxsize=256)
def _atlas(identity: Identity, scale: float, creases: float) -> Atlas:
    return bake_atlas(identity, scale, creases)


def prepare_places(num_cameras: int, world: World) -> None:
    """Paint the scenes ahead of time, so that forked workers share them.

    Args:
        num_cameras: Number of cameras.
        world: The world that they look at.
    """
    for index in range(num_cameras):
        place_of(index, world.seed, world.style)


def _pose(rng: np.random.Generator, identity: Identity) -> Pose:
    step, lean = GAITS[identity.gait]
    standing = rng.random() < 0.18
    arms = rng.choice(4, p=[0.72, 0.1, 0.08, 0.1])
    return Pose(
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=step * float(rng.uniform(0.02, 0.12) if standing else rng.uniform(0.32, 0.55)),
        arms=('swing', 'phone', 'strap', 'pockets')[arms],
        lean=lean + float(rng.uniform(-0.02, 0.10)),
    )


def shade_ground(image: np.ndarray, x: float, y: float, scale: float, camera: Camera) -> None:
    """Darken the ground below a person, in place: a contact spot and a slanted cast shadow.

    Args:
        image: BGR, uint8, (H, W, 3).
        x: Column of the feet.
        y: Row of the feet.
        scale: Pixels per meter.
        camera: Tells where the light comes from.
    """
    height, width = image.shape[:2]
    shadow: np.ndarray = np.zeros((height, width), np.uint8)
    spot = (round(0.30 * scale), max(1, round(0.09 * scale)))
    cv2.ellipse(shadow, (round(x), round(y)), spot, 0, 0, 360, 255, -1)
    side = -camera.light[0]
    tip = (round(x + side * 1.1 * scale), round(y - 0.22 * scale))
    cv2.line(shadow, (round(x), round(y)), tip, 190, max(2, round(0.22 * scale)))
    shadow = cv2.blur(shadow, (max(3, round(0.12 * scale)),) * 2)
    # OpenCV multiplies by numbers too, which its stubs do not say.
    keep = 255 - cv2.multiply(shadow, camera.shadow)  # type: ignore[call-overload]
    cv2.multiply(image, cv2.merge([keep] * 3), dst=image, scale=1 / 255)


def draw_person(
    image: np.ndarray,
    world: World,
    identity: Identity,
    camera: Camera,
    yaw: float,
    pitch: float,
    scale: float,
    ground: tuple[float, float],
    pose: Pose,
) -> np.ndarray:
    """Draw one person into an image, in place.

    Args:
        image: BGR, uint8, (H, W, 3).
        world: Tells how fine the textures are.
        identity: The person.
        camera: Tells where the light comes from.
        yaw: Heading in radians: 0 faces the camera.
        pitch: How far the camera looks down, in radians.
        scale: Pixels per meter.
        ground: Where the feet are, (x, y) in pixels.
        pose: The pose.

    Returns:
        How much of each pixel stays uncovered, (H, W), uint8: 255 where the person is not.
    """
    height, width = image.shape[:2]
    atlas = _atlas(identity, world.height / 128, world.style.creases)
    ss = _SUPERSAMPLING
    figure, mask = render_parts(
        place_parts(identity, pose),
        atlas,
        yaw,
        pitch,
        scale * ss,
        (ground[0] * ss, ground[1] * ss),
        (height * ss, width * ss),
        camera.light,
    )
    # colors are already zero outside of the mask, that is, multiplied by it
    figure = cv2.resize(figure, (width, height), interpolation=cv2.INTER_AREA)
    keep = 255 - cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    cv2.multiply(image, cv2.merge([keep] * 3), dst=image, scale=1 / 255)
    cv2.add(image, figure, dst=image)
    return keep


def _occlude(
    image: np.ndarray,
    scale: float,
    ground: float,
    seed: int,
    difficulty: Difficulty,
    rng: np.random.Generator,
) -> np.ndarray:
    """Put something between the person and the camera, in place.

    Returns:
        How much of each pixel stays uncovered, (H, W), uint8.
    """
    kind = difficulty.occluders[rng.integers(len(difficulty.occluders))]
    height, width = image.shape[:2]
    sprite = _occluder(kind, int(rng.integers(4)), round(80 * height / 128), seed)
    factor = scale * rng.uniform(1.05, 1.2) / (80 * height / 128)
    size = (max(2, round(sprite.shape[1] * factor)), max(2, round(sprite.shape[0] * factor)))
    sprite = cv2.resize(
        sprite, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    if rng.random() < 0.5:
        sprite = np.ascontiguousarray(sprite[:, ::-1])
    half = PROP_SIZES[kind][0] * scale / 2
    # wide things may cover both legs, but none hides the whole person
    offset = rng.uniform(-0.9, 0.9) * (half + 0.1 * scale)
    if half < 0.2 * scale:
        offset = rng.choice([-1, 1]) * rng.uniform(0.06, 0.3) * scale
    elif PROP_SIZES[kind][1] > 1.0:
        offset = rng.choice([-1, 1]) * (half + rng.uniform(*difficulty.thing_aside) * scale)
    left = round(width / 2 + offset - half)
    bottom = round(ground + rng.uniform(0.1, 0.3) * scale)
    paste(image, sprite, left, bottom)
    black = sprite.copy()
    black[..., :3] = 0
    uncovered = np.full((height, width, 3), 255, np.uint8)
    paste(uncovered, black, left, bottom)
    return uncovered[..., 0]


def render_image(
    world: World,
    person: int | None,
    camera_index: int,
    track: int,
    image_index: int,
    misplaced: bool = False,
) -> bytes:
    """Render one picture.

    The picture depends on the arguments alone, not on what was rendered before.

    Args:
        world: What all pictures share.
        person: Index into ``world.people``; None for a false detection, with nobody.
        camera_index: 0-based camera.
        track: Number of the passage; pictures of one track share heading and place.
        image_index: Number of the picture, unique per person (or among the false detections).
        misplaced: Whether the detection is a bad one that misses much of the person.

    Returns:
        A JPEG file.
    """
    camera, image, _, rng = _compose(world, person, camera_index, track, image_index, misplaced)
    return compress(camera, record(camera, image, rng), rng)


def render_silhouette(
    world: World,
    person: int | None,
    camera_index: int,
    track: int,
    image_index: int,
    misplaced: bool = False,
) -> np.ndarray:
    """Render where the person of a picture is seen, and nothing stands before them.

    Args:
        world: As for :func:`render_image`.
        person: As for :func:`render_image`.
        camera_index: As for :func:`render_image`.
        track: As for :func:`render_image`.
        image_index: As for :func:`render_image`.
        misplaced: As for :func:`render_image`.

    Returns:
        Mask of that picture (H, W), uint8: 255 on the person, less on their edge, 0 elsewhere, and
        everywhere where there is nobody.
    """
    return _compose(world, person, camera_index, track, image_index, misplaced)[2]


def _compose(
    world: World,
    person: int | None,
    camera_index: int,
    track: int,
    image_index: int,
    misplaced: bool,
) -> tuple[Camera, np.ndarray, np.ndarray, np.random.Generator]:
    """Put a picture together, as it is before the camera takes it.

    Returns:
        The camera, the picture, the silhouette of its person, and the state of the random numbers.
    """
    camera, scene = place_of(camera_index, world.seed, world.style)
    difficulty = world.style.difficulty
    who = 0 if person is None else person + 1
    shared = np.random.default_rng([world.seed, 6, who, camera_index, track])
    rng = np.random.default_rng([world.seed, 7, who, camera_index, image_index])

    # where they walk, and which way
    heading = shared.choice([0.0, np.pi, np.pi / 2, -np.pi / 2, 0.7, -0.7, 2.4, -2.4])
    heading += shared.uniform(-0.3, 0.3)
    near = shared.random()
    column = shared.uniform(0.12, 0.88) * SCENE_WIDTH + rng.normal(0, 45)
    yaw = heading + rng.normal(0, 0.22)
    share = float(np.clip(near + rng.normal(0, 0.12), 0, 1))
    away = camera.nearest + (camera.farthest - camera.nearest) * share
    row = camera.horizon + FOCAL * camera.height / away
    meter = FOCAL / away  # pixels of the scene
    pitch = float(np.arctan2(camera.height - 0.9, away))

    # the detector's box, in the scene
    tall = 1.72 if person is None else world.people[person].height
    box = tall * meter * (1.0 + rng.uniform(-0.03, 0.12))
    if misplaced:
        box *= rng.uniform(0.45, 1.9)
    center_x = column + rng.normal(0, difficulty.shift) * box
    center_y = row - 0.5 * tall * meter + rng.normal(0, 0.022) * box
    if misplaced:
        center_x += rng.choice([-1, 1]) * rng.uniform(0.18, 0.32) * box
        center_y += rng.choice([-1, 1]) * rng.uniform(0.15, 0.4) * box
    zoom = world.height / box
    center_x = float(np.clip(center_x, box / 4, SCENE_WIDTH - box / 4))
    shift_x, shift_y = world.width / 2 - center_x * zoom, world.height / 2 - center_y * zoom
    image = cv2.warpAffine(
        scene,
        np.array([[zoom, 0, shift_x], [0, zoom, shift_y]]),
        (world.width, world.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    scale = meter * zoom
    ground = (column * zoom + shift_x, row * zoom + shift_y)

    silhouette: np.ndarray = np.zeros((world.height, world.width), np.uint8)
    if person is not None:
        for likely in difficulty.behind:
            if rng.random() >= likely:
                continue
            other = world.bystanders[rng.integers(len(world.bystanders))]
            aside = rng.choice([-1, 1]) * rng.uniform(*difficulty.behind_aside) * scale
            place = (ground[0] + aside, ground[1] - 0.3 * scale)
            shade_ground(image, *place, scale * 0.85, camera)
            draw_person(
                image,
                world,
                other,
                camera,
                rng.uniform(0, 6.28),
                pitch,
                scale * 0.85,
                place,
                _pose(rng, other),
            )
        shade_ground(image, *ground, scale, camera)
        shown = world.people[person]
        silhouette = 255 - draw_person(
            image, world, shown, camera, yaw, pitch, scale, ground, _pose(rng, shown)
        )
    chance = rng.random()
    uncovered: np.ndarray | None = None
    if chance < difficulty.occluded:
        uncovered = _occlude(image, scale, ground[1], world.seed, difficulty, rng)
    elif chance < difficulty.occluded + difficulty.in_front and person is not None:
        other = world.bystanders[rng.integers(len(world.bystanders))]
        aside = rng.choice([-1, 1]) * rng.uniform(*difficulty.front_aside) * scale
        place = (ground[0] + aside, ground[1] + 0.25 * scale)
        yaw = rng.uniform(0, 6.28)
        uncovered = draw_person(
            image, world, other, camera, yaw, pitch, scale * 1.1, place, _pose(rng, other)
        )
    if uncovered is not None:
        silhouette = cv2.multiply(silhouette, uncovered, scale=1 / 255)
    return camera, image, silhouette, rng
