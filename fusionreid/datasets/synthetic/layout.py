"""Which pictures a rendered data set holds, and what they are called."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fusionreid.errors import ConfigError

# cameras that each data set's own naming and protocol know
MAX_CAMERAS: dict[str, int] = {'market1501': 6, 'dukemtmc': 8, 'msmt17': 15, 'folders': 6}
LAYOUTS = tuple(MAX_CAMERAS)
_MAX_ID = 9999
_TRACK = 4  # pictures that are taken in one passage
# Folders, files and people of the layout `folders`, named as people name them.
_CAMERA_NAMES = (
    'north door',
    'Hof – Süd',
    'Gate 2 (left)',
    '駐車場',
    "caretaker's room",
    'étage 1',
)
_FILE_NAMES = ('IMG_{:05d}.JPG', 'Bild {:05d}.jpg', 'copy of {:05d}.JPEG', '写真 {:05d}.jpg')
_PERSON_NAMES = ('Anna', 'Zoë', "D'Arcy", 'Łukasz', 'José María', '美咲', 'Ngọc', 'Özlem')
_TABLE = 'people.csv'
_FOLDERS = {'train': 'bounding_box_train', 'query': 'query', 'gallery': 'bounding_box_test'}


@dataclass(frozen=True)
class PlannedImage:
    """One picture to render.

    Args:
        path: Where it goes, relative to the data set's root.
        person: Index of the person, or None for a false detection.
        camera: 0-based camera.
        track: Number of the passage in front of that camera.
        image: Number of the picture, unique per person.
        misplaced: Whether it is a bad detection.
    """

    path: str
    person: int | None
    camera: int
    track: int
    image: int
    misplaced: bool = False


@dataclass
class Plan:
    """All files of a data set.

    Args:
        images: The pictures.
        num_people: Number of different people that appear.
        texts: Text files, by their path relative to the root.
    """

    images: list[PlannedImage] = field(default_factory=list)
    num_people: int = 0
    texts: dict[str, str] = field(default_factory=dict)


def _cameras_of(person: int, num_cameras: int, seed: int) -> list[int]:
    """The cameras that a person passes: at least two, seldom all of many."""
    rng = np.random.default_rng([seed, 8, person])
    fewest = max(2, round(0.6 * num_cameras))
    count = int(rng.integers(fewest, num_cameras + 1))
    return sorted(rng.permutation(num_cameras)[:count].tolist())


def _frame(person: int, camera: int, number: int) -> int:
    """A frame number that grows within a track and differs between all of a person's pictures."""
    start = (person * 7919 + camera * 104_729) % 40_000
    return start + 25 * number + 1


def _name(layout: str, label: int, camera: int, frame: int, number: int) -> str:
    if layout == 'market1501':
        pid = '-1' if label < 0 else f'{label:04d}'
        return f'{pid}_c{camera + 1}s{frame // 10_000 % 6 + 1}_{frame:06d}_{number % 5:02d}.jpg'
    if layout == 'dukemtmc':
        return f'{label:04d}_c{camera + 1}_f{frame:07d}.jpg'
    hour = ('morning', 'noon', 'afternoon')[frame % 3]
    return f'{label:04d}_{number:03d}_{camera + 1:02d}_0303{hour}_{frame:04d}_{number % 3}.jpg'


def plan_data_set(
    layout: str,
    ids_train: int,
    ids_test: int,
    images_per_camera: int,
    cameras: int,
    seed: int,
    distractors: bool,
) -> Plan:
    """List the pictures of a data set.

    Every person passes several cameras and leaves ``images_per_camera`` pictures in each. Of a test
    person's pictures in one camera the first is a query and the others are in the gallery. The
    test pictures do not depend on the number of training people.

    Args:
        layout: One of :data:`LAYOUTS`.
        ids_train: Number of people to train with.
        ids_test: Number of other people to test with.
        images_per_camera: Pictures per person and camera.
        cameras: Number of cameras.
        seed: Seed of the data set.
        distractors: Whether a Market-1501 gallery also holds bad detections (id -1) and
            distractors (id 0), as the original one does.

    Returns:
        The pictures and list files.

    Raises:
        ConfigError: If an argument is out of range; the message names it.
    """
    if layout not in MAX_CAMERAS:
        raise ConfigError(f'layout must be one of {", ".join(LAYOUTS)}, got {layout!r}')
    limits = {
        'ids_train': (ids_train, 1, _MAX_ID),
        'ids_test': (ids_test, 1, _MAX_ID),
        'images_per_camera': (images_per_camera, 2, 500),
        'cameras': (cameras, 2, MAX_CAMERAS[layout]),
        'seed': (seed, 0, 2**31 - 1),
    }
    for name, (value, lowest, highest) in limits.items():
        if not lowest <= value <= highest:
            reason = f' (the {layout} layout has no more)' if name == 'cameras' else ''
            raise ConfigError(f'{name} must be from {lowest} to {highest}{reason}, got {value}')
    if ids_train + ids_test > _MAX_ID:
        raise ConfigError(
            f'ids_train + ids_test must not exceed {_MAX_ID}, which is what four digits in a file '
            f'name can tell apart, got {ids_train} + {ids_test}'
        )
    plan = Plan()
    lists: dict[str, list[str]] = {'train': [], 'val': [], 'query': [], 'gallery': []}
    if layout == 'folders':
        plan.texts[_TABLE] = 'path,person_id,camera_id,role\n'
    for label in range(ids_test):
        for camera, position, number in _pictures(label, cameras, images_per_camera, seed):
            role = 'gallery' if position else 'query'
            _add(plan, lists, layout, role, label, label, camera, position, number)
    plan.num_people = ids_test
    if layout == 'market1501' and distractors:
        _add_distractors(plan, cameras, seed)
    for label in range(ids_train):
        person = plan.num_people + label
        for camera, position, number in _pictures(person, cameras, images_per_camera, seed):
            is_val = layout == 'msmt17' and (5 * label + number) % 12 == 11
            role = 'val' if is_val else 'train'
            shown = label if layout == 'msmt17' else ids_test + label
            _add(plan, lists, layout, role, person, shown, camera, position, number)
    plan.num_people += ids_train
    if layout == 'msmt17':
        plan.texts = {f'list_{role}.txt': ''.join(lines) for role, lines in lists.items()}
    return plan


def _pictures(
    person: int, cameras: int, images_per_camera: int, seed: int
) -> Iterator[tuple[int, int, int]]:
    """Camera, position within the camera, and running number of a person's pictures."""
    number = 0
    for camera in _cameras_of(person, cameras, seed):
        for position in range(images_per_camera):
            yield camera, position, number
            number += 1


def _add(
    plan: Plan,
    lists: dict[str, list[str]],
    layout: str,
    role: str,
    person: int,
    label: int,
    camera: int,
    position: int,
    number: int,
) -> None:
    """Add a picture of a person, and the line about it in a list or table."""
    frame = _frame(person, camera, number)
    if layout == 'folders':
        file = _FILE_NAMES[person % len(_FILE_NAMES)].format(len(plan.images) + 1)
        path = f'{_CAMERA_NAMES[camera]}/{file}'
        turn, first = divmod(label, len(_PERSON_NAMES))
        who = f'{_PERSON_NAMES[first]} {turn + 1}' if turn else _PERSON_NAMES[first]
        plan.texts[_TABLE] += f'{path},{who},{_CAMERA_NAMES[camera]},{role}\n'
    elif layout == 'msmt17':
        name = f'{label:04d}/{_name(layout, label, camera, frame, number)}'
        path = f'{"train" if role in ("train", "val") else "test"}/{name}'
        lists[role].append(f'{name} {label}\n')
    else:
        path = f'{_FOLDERS[role]}/{_name(layout, label + 1, camera, frame, number)}'
    plan.images.append(PlannedImage(path, person, camera, position // _TRACK, number))


def _add_distractors(plan: Plan, cameras: int, seed: int) -> None:
    """Add bad detections and distractors, of each 15% of the gallery's size."""
    gallery = sum(image.path.startswith(_FOLDERS['gallery']) for image in plan.images)
    rng = np.random.default_rng([seed, 9])
    num_test, strangers = plan.num_people, max(1, gallery // 60)
    for number in range(round(0.15 * gallery)):
        camera = int(rng.integers(cameras))
        frame = 50_000 + 25 * number
        # a bad detection of a test person: neither right nor wrong, therefore not scored
        person, image = int(rng.integers(num_test)), 1_000_000 + number
        path = f'{_FOLDERS["gallery"]}/{_name("market1501", -1, camera, frame, number)}'
        plan.images.append(PlannedImage(path, person, camera, image, image, misplaced=True))
        # a distractor: nobody at all, or somebody whom no query asks for
        nobody, stranger = rng.random() < 0.5, num_test + int(rng.integers(strangers))
        path = f'{_FOLDERS["gallery"]}/{_name("market1501", 0, camera, frame, number)}'
        plan.images.append(PlannedImage(path, None if nobody else stranger, camera, image, image))
    plan.num_people += strangers
