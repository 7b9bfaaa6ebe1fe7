"""A contact sheet: one row per person, one column per camera."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fusionreid.datasets.transforms import read_image

_NAME = re.compile(
    r'(?P<person>-?\d+)_(?:c(?P<camera>\d+)(?:s\d+)?_|\d+_(?P<msmt_camera>\d+)_).*\.(?:jpe?g|png)$',
    re.IGNORECASE,
)
_MARGIN, _HEADER = 4, 20
_PAPER, _INK, _EMPTY = (255, 255, 255), (60, 60, 60), (238, 238, 238)


def find_images(root: str | Path) -> list[tuple[str, int, int]]:
    """List a folder's images by the identity and camera in their names.

    Args:
        root (str | Path): Folder with images named as in Market-1501, DukeMTMC-reID or MSMT17, at
            any depth.

    Returns:
        list[tuple[str, int, int]]: Path, person id and 0-based camera id, sorted by path. Other
        files, and the ids below 1 that Market-1501 gives to distractors and bad detections, are
        left out; MSMT17's person ids start from 0.

    Raises:
        FileNotFoundError: If there is no such folder, or no such image in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f'no folder {root}')
    found = []
    for path in sorted(root.rglob('*')):
        match = _NAME.match(path.name)
        if not match:
            continue
        person, camera = int(match['person']), match['camera'] or match['msmt_camera']
        if person > 0 or (person == 0 and match['msmt_camera']):
            found.append((str(path), person, int(camera) - 1))
    if not found:
        raise FileNotFoundError(
            f'{root} holds no image named as in Market-1501 (0002_c1s1_000451_03.jpg), '
            'DukeMTMC-reID or MSMT17'
        )
    return found


def draw_contact_sheet(
    images: str | Path | Sequence[tuple[str, int, int]],
    out_file: str | Path | None = None,
    num_people: int = 10,
    images_per_camera: int = 1,
    image_height: int = 160,
) -> np.ndarray:
    """Draw people (rows) as the cameras (columns) see them.

    Args:
        images (str | Path | Sequence[tuple[str, int, int]]): A data set's folder, or path, person
            id and 0-based camera id of every image.
        out_file (str | Path | None): PNG or JPEG file to write.
        num_people (int): Number of rows; people seen by the most cameras come first, ties by id.
        images_per_camera (int): Images of a person in each camera.
        image_height (int): Height of every image on the sheet, in pixels; its width follows.

    Returns:
        np.ndarray: The sheet, BGR, uint8, (H, W, 3).

    Raises:
        ValueError: If there is no image, a number is below 1, or an image cannot be decoded.
        OSError: If a folder or file is missing, or ``out_file`` cannot be written.
    """
    for name, value in (
        ('num_people', num_people),
        ('images_per_camera', images_per_camera),
        ('image_height', image_height),
    ):
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
    items = find_images(images) if isinstance(images, str | Path) else list(images)
    if not items:
        raise ValueError('a contact sheet needs at least one image, got an empty list')
    shown: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, person, camera in items:
        if len(shown[person][camera]) < images_per_camera:
            shown[person][camera].append(path)
    people = sorted(shown, key=lambda person: (-len(shown[person]), person))[:num_people]
    people.sort()
    cameras = sorted({camera for person in people for camera in shown[person]})
    pictures = {
        path: _read(path, image_height)
        for person in people
        for paths in shown[person].values()
        for path in paths
    }
    cell = max(picture.shape[1] for picture in pictures.values()) + _MARGIN
    column, row = cell * images_per_camera + 2 * _MARGIN, image_height + _MARGIN
    label = 52
    sheet = np.full(
        (_HEADER + row * len(people) + _MARGIN, label + column * len(cameras), 3), _PAPER, np.uint8
    )
    for place, camera in enumerate(cameras):
        _write(sheet, f'camera {camera + 1}', label + place * column, _HEADER - 6)
    for number, person in enumerate(people):
        top = _HEADER + number * row
        _write(sheet, str(person), 6, top + image_height // 2)
        for place, camera in enumerate(cameras):
            for position in range(images_per_camera):
                left = label + place * column + position * cell
                paths = shown[person].get(camera, [])
                if position < len(paths):
                    picture = pictures[paths[position]]
                    sheet[top : top + image_height, left : left + picture.shape[1]] = picture
                else:
                    sheet[top : top + image_height, left : left + cell - _MARGIN] = _EMPTY
    if out_file is not None:
        out_file = Path(out_file)
        out_file.parent.mkdir(parents=True, exist_ok=True)
        done, buffer = cv2.imencode(out_file.suffix or '.png', sheet)
        if not done:
            raise ValueError(f'cannot encode {out_file}; use a name that ends in .png or .jpg')
        out_file.write_bytes(buffer.tobytes())
    return sheet


def _read(path: str, height: int) -> np.ndarray:
    image = np.ascontiguousarray(read_image(path)[..., ::-1])  # OpenCV's order of channels
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def _write(sheet: np.ndarray, text: str, left: int, bottom: int) -> None:
    cv2.putText(sheet, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
