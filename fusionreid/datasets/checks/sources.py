"""The data that is checked: images with their labels, and what is said about them on reading."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fusionreid.datasets.annotation import ROLES
from fusionreid.datasets.base_reid_dataset import ReIDDataset
from fusionreid.datasets.image_listing import (
    IMAGE_EXTENSIONS,
    ImageListing,
    list_images,
    why_not_regular,
)
from fusionreid.datasets.market_style_dataset import parse_market_name
from fusionreid.errors import DatasetError, DatasetFormatError

from .findings import Finding


class CheckedImage(NamedTuple):
    """An image to check.

    Attributes:
        path: The file.
        role: ``'train'``, ``'query'`` or ``'gallery'``; empty where it has none.
        person_id: The identity as the data set numbers it; None where it is unknown.
        camera_id: 0-based camera; -1 where it is unknown.
    """

    path: str
    role: str
    person_id: int | None
    camera_id: int


@dataclass
class CheckedSource:
    """A data set, or a folder of images.

    Attributes:
        name: Its name.
        root: Its folder.
        images: Its images.
        findings: What was found when it was read.
        person_names: Identities as the data set writes them, where these are no numbers.
        shared_ids: Whether equal identities in training and test are the same person.
        distractors: Identities of nobody, which match no query.
    """

    name: str
    root: str
    images: list[CheckedImage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    person_names: dict[int, str] = field(default_factory=dict)
    shared_ids: bool = True
    distractors: set[int] = field(default_factory=set)

    def person(self, person_id: int | None) -> str:
        """Write an identity as the data set does."""
        return '' if person_id is None else self.person_names.get(person_id, str(person_id))

    def note(self, kind: str, image: CheckedImage, detail: str = '', other_path: str = '') -> None:
        """Add a finding about an image.

        Args:
            kind: As in :class:`Finding`.
            image: The image.
            detail: As in :class:`Finding`.
            other_path: As in :class:`Finding`.
        """
        person = self.person(image.person_id)
        self.findings.append(
            Finding(kind, self.name, image.role, image.path, person, detail, other_path)
        )


def read_dataset(dataset: ReIDDataset, roles: Sequence[str] | None = None) -> CheckedSource:
    """Read the images of a data set, and of its folder where they cannot be understood.

    Args:
        dataset: The data set; it need not be loaded.
        roles: Roles that must be there, and are checked; None for those that are there.

    Returns:
        Its images.
    """
    metainfo = dataset.metainfo
    source = CheckedSource(metainfo['dataset_name'], dataset.data_root)
    try:
        annotation = dataset.read_annotation()
    except DatasetError as error:
        kind = 'data set cannot be read'
        source.findings.append(Finding(kind, source.name, path=source.root, detail=str(error)))
        if os.path.isdir(source.root):
            folder = read_folder(source.root)
            source.images = folder.images
            source.findings += folder.findings
        return source
    source.root = annotation.root
    source.person_names = annotation.metainfo.get('person_names', {})
    source.shared_ids = dataset.SHARED_ID_SPACE
    only_gallery = annotation.ids('gallery') - annotation.ids('query')
    source.distractors = {each for each in only_gallery if each == dataset.DISTRACTOR_ID}
    for role in roles or ROLES:
        records = annotation.records.get(role)
        if not records and (roles or role in annotation.records):
            detail = f'{annotation.sources.get(role, role)}: missing or empty'
            source.findings.append(Finding('role without images', source.name, role, detail=detail))
        source.images += [
            CheckedImage(record.img_path, role, record.person_id, record.camera_id)
            for record in records or ()
        ]
    for note in annotation.notes:
        # What is not taken is listed one by one below.
        if ': not taken: ' not in note:
            source.findings.append(Finding('remark', source.name, detail=note))
    _check_cameras(source, metainfo['num_cameras'], dataset.UNKNOWN_CAMERA_ALLOWED)
    _look_around(source, {r.img_path for role in annotation.records.values() for r in role})
    return source


def read_folder(folder: str) -> CheckedSource:
    """Read a folder of images without a layout; labels are those that file names tell.

    Args:
        folder: The folder.

    Returns:
        Its images and those below it.
    """
    listing = list_images(folder, below=True)
    source = CheckedSource(os.path.basename(os.path.abspath(folder)), folder)
    for path in listing.paths:
        try:
            person, camera = parse_market_name(os.path.basename(path))
        except DatasetFormatError:
            person, camera = -1, -1
        source.images.append(CheckedImage(path, '', None if person < 0 else person, camera))
    if not listing.paths:
        detail = 'there is no image in the folder and those below it'
        source.findings.append(
            Finding('role without images', source.name, '', folder, detail=detail)
        )
    _note_skipped(source, listing)
    return source


def _check_cameras(source: CheckedSource, num_cameras: int | None, may_be_unknown: bool) -> None:
    for image in source.images:
        camera = image.camera_id
        if camera == -1 and may_be_unknown:
            source.note('unknown camera', image)
        elif camera < 0 or (num_cameras is not None and camera >= num_cameras):
            known = '' if num_cameras is None else f'; the data set has {num_cameras} cameras'
            source.note('camera out of range', image, f'camera_id {camera} (0-based){known}')


def _look_around(source: CheckedSource, used: set[str]) -> None:
    """Note what else lies in the folders of the images."""
    used = {os.path.normpath(path) for path in used}
    for folder in sorted({os.path.dirname(path) for path in used}):
        if not os.path.isdir(folder):
            continue  # its images are missing
        try:
            listing = list_images(folder)
        except DatasetError as error:
            source.findings.append(Finding('not taken', source.name, '', folder, detail=str(error)))
            continue
        for path in listing.paths:
            if os.path.normpath(path) not in used:
                source.findings.append(Finding('image of no role', source.name, path=path))
        _note_skipped(source, listing, used)


def _note_skipped(
    source: CheckedSource, listing: ImageListing, used: frozenset[str] | set[str] = frozenset()
) -> None:
    for reason, names in sorted(listing.skipped.items()):
        for name in sorted(names):
            path = os.path.join(listing.folder, name)
            if os.path.normpath(path) in used:
                continue  # looked at as an image
            is_image = name.lower().endswith(IMAGE_EXTENSIONS) and 'no regular file' in reason
            kind = 'not a regular file' if is_image else 'not taken'
            detail = why_not_regular(path) if is_image else reason
            source.findings.append(Finding(kind, source.name, path=path, detail=detail or reason))
