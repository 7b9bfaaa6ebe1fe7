"""The file ``cuhk-03.mat``: images and test sets of CUHK03 in HDF5 (MATLAB 7.3)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from fusionreid.errors import DatasetError, DatasetFormatError, DatasetNotFoundError
from fusionreid.utils.files import open_atomic
from fusionreid.utils.optional import import_optional

ARCHIVE = 'cuhk-03.mat'
BOXES = ('labeled', 'detected')
NUM_TEST_SETS = 20
# Images of a person in the first view; the others are of the second one.
IMAGES_OF_A_VIEW = 5
LARGEST_SIDE = 4096  # pixels; a larger image is none of the data set


def find_archive(root: str) -> str:
    """Find ``cuhk-03.mat``.

    Args:
        root: The data set's folder.

    Returns:
        The file, in the folder or in ``cuhk03_release`` below it.

    Raises:
        DatasetNotFoundError: If it is in neither.
    """
    paths = [os.path.join(root, ARCHIVE), os.path.join(root, 'cuhk03_release', ARCHIVE)]
    for path in paths:
        if os.path.isfile(path):
            return path
    raise DatasetNotFoundError(f"CUHK03: neither '{paths[0]}' nor '{paths[1]}' exists")


def read_test_set(path: str, number: int) -> list[tuple[int, int]]:
    """Read one of the 20 test sets of the classic protocol.

    Args:
        path: ``cuhk-03.mat``.
        number: 0 to 19.

    Returns:
        Pair of cameras and number of each person in it, both from 1 on.

    Raises:
        DatasetFormatError: If the file is damaged, or lacks the test set.
    """
    with _open(path) as archive:
        sets = _cell(archive, 'testsets')
        if sets.size <= number:
            raise DatasetFormatError(f"'{path}' has {sets.size} test sets, none of number {number}")
        people = _numbers(archive, sets.flatten()[number]).T.astype(int)
    if people.ndim != 2 or people.shape[1] != 2:
        raise DatasetFormatError(f"'{path}': test set {number} must have two columns")
    return [(pair, person) for pair, person in people.tolist()]


def unpack_images(path: str, root: str) -> dict[str, int]:
    """Write the images of ``cuhk-03.mat`` as PNG files.

    Args:
        path: ``cuhk-03.mat``.
        root: Where the folders ``images_labeled`` and ``images_detected`` are made.

    Returns:
        Number of images written to each folder. Files that are there are kept.

    Raises:
        DatasetFormatError: If the file is damaged.
        OSError: If an image cannot be written.
    """
    folders = {boxes: os.path.join(root, f'images_{boxes}') for boxes in BOXES}
    written = dict.fromkeys(folders.values(), 0)
    for boxes, name, pixels in _read_images(path):
        folder = folders[boxes]
        file = os.path.join(folder, name)
        if not os.path.exists(file):
            os.makedirs(folder, exist_ok=True)
            with open_atomic(file) as out:
                Image.fromarray(pixels).save(out, 'PNG')
            written[folder] += 1
    return written


def _read_images(path: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Kind of boxes, file name and pixels of each image."""
    with _open(path) as archive:
        for boxes in BOXES:
            for pair, pair_cell in enumerate(_cell(archive, boxes).flatten(), 1):
                for person, images in enumerate(_cell(archive, pair_cell).T, 1):
                    for place, reference in enumerate(images):
                        pixels = _image(archive, reference)
                        view = 1 if place < IMAGES_OF_A_VIEW else 2
                        name = f'{pair}_{person:03d}_{view}_{place + 1:02d}.png'
                        if pixels is not None:
                            yield boxes, name, pixels


@contextmanager
def _open(path: str) -> Iterator[Any]:
    """Open the file; what h5py raises inside is said as a damaged file."""
    h5py = import_optional('h5py', 'h5py', f"reading '{path}'", DatasetError)
    try:
        with h5py.File(path, 'r') as archive:
            yield archive
    # h5py raises these for whatever is broken or missing in a file.
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetFormatError(
            f"'{path}' is not cuhk-03.mat, or damaged ({error}): download it again"
        ) from error


def _dataset(archive: Any, entry: Any) -> Any:
    """Follow a name or a reference to an array that lies in the file itself."""
    if isinstance(entry, str):
        link = archive.get(entry, getlink=True)
        if type(link).__name__ != 'HardLink':
            raise DatasetFormatError(f"'{archive.filename}' holds no variable {entry}")
    dataset = archive[entry]
    # HDF5 can take the content of an array from other files of the machine.
    if not hasattr(dataset, 'shape') or dataset.external or dataset.is_virtual:
        raise DatasetFormatError(f"'{archive.filename}': {dataset.name} is no array of its own")
    return dataset


def _cell(archive: Any, entry: Any) -> np.ndarray:
    """A MATLAB cell array, transposed, as references."""
    dataset = _dataset(archive, entry)
    if dataset.dtype != object or dataset.ndim != 2:
        raise DatasetFormatError(f"'{archive.filename}': {dataset.name} is no cell array")
    return dataset[()]


def _numbers(archive: Any, reference: Any) -> np.ndarray:
    dataset = _dataset(archive, reference)
    if dataset.dtype.kind not in 'uif':
        raise DatasetFormatError(f"'{archive.filename}': {dataset.name} must hold numbers")
    return dataset[()]


def _image(archive: Any, reference: Any) -> np.ndarray | None:
    """An image, uint8 of shape (H, W, 3); None for an empty cell."""
    dataset = _dataset(archive, reference)
    if dataset.ndim < 3:
        return None
    if dataset.dtype != np.uint8 or dataset.shape[0] != 3 or max(dataset.shape) > LARGEST_SIDE:
        raise DatasetFormatError(
            f"'{archive.filename}': {dataset.name} is no image (uint8, 3 channels), but "
            f'{dataset.dtype} of shape {dataset.shape}'
        )
    return np.ascontiguousarray(dataset[()].T)
