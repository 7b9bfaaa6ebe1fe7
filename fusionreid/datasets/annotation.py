"""What a data set says about its images: records by role, with ids as the data set numbers them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

ROLES = ('train', 'query', 'gallery')


class ReIDRecord(NamedTuple):
    """One image as its data set describes it.

    Attributes:
        img_path: The image file.
        person_id: The identity as the data set numbers it.
        camera_id: 0-based camera; -1 when it is unknown.
        clothes_id: What the person wears, the same number in all roles; -1 where it is unknown.
        tracklet_id: The tracklet that the image is of; -1 in data sets of images.
        set_id: Which of several data sets that are joined it is from, from 0; -1 elsewhere.
    """

    img_path: str
    person_id: int
    camera_id: int
    clothes_id: int = -1
    tracklet_id: int = -1
    set_id: int = -1


@dataclass(frozen=True)
class ReIDAnnotation:
    """Everything that a data set's folder, lists or table say about its images.

    Attributes:
        root: The folder that was read.
        records: The images of every role that is there, in a fixed
            order. A role that is not there has no entry.
        sources: Where each of the roles that the data set has is read from, for messages.
        metainfo: What the data set's metainfo gains by reading, such as ``release``.
        notes: Sentences for the split table, such as what was dropped.
        listed: For data sets that have lists, the images that each list file names; whether they
            exist is checked when the data set is loaded.
    """

    root: str
    records: dict[str, list[ReIDRecord]]
    sources: dict[str, str]
    metainfo: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    listed: dict[str, list[str]] = field(default_factory=dict)

    def ids(self, role: str) -> set[int]:
        """Collect the identities of a role.

        Args:
            role: ``'train'``, ``'query'`` or ``'gallery'``.

        Returns:
            Original person ids; empty if the role is not there.

        Example:
            >>> records = {'train': [ReIDRecord('a.jpg', 7, 0), ReIDRecord('b.jpg', 7, 1)]}
            >>> annotation = ReIDAnnotation('data', records, sources={})
            >>> annotation.ids('train'), annotation.ids('query')
            ({7}, set())
        """
        return {record.person_id for record in self.records.get(role, ())}
