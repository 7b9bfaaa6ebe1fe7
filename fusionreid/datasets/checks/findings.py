"""What a check can find, and which of it is an error."""

from __future__ import annotations

from dataclasses import dataclass

# In the order in which they are shown.
ERRORS = (
    'data set cannot be read',
    'role without images',
    'missing file',
    'not a regular file',
    'empty file',
    'cannot be decoded',
    'camera out of range',
    'image in train and test',
    'image of two people',
    'image in query and gallery',
    'person in train and test',
    'no query has a match',
)
NOTES = (
    'query without a match',
    'person with one image',
    'person in one camera',
    'unknown camera',
    'repeated image',
    'tiny',
    'extreme shape',
    'grayscale',
    'CMYK',
    'transparency',
    'palette',
    'turned by EXIF',
    'several frames',
    'name of another format',
    'image of no role',
    'not taken',
    'remark',
)


@dataclass(frozen=True)
class Finding:
    """Something that a check has found.

    Attributes:
        kind: One of ``ERRORS`` or ``NOTES``.
        dataset: Name of the data set.
        role: ``'train'``, ``'query'`` or ``'gallery'``; empty where it is of none.
        path: The image, or another file or folder; may be empty.
        person: The identity as the data set writes it; empty where it does not matter.
        detail: What is wrong, in words.
        other_path: The other image of a pair.
    """

    kind: str
    dataset: str
    role: str = ''
    path: str = ''
    person: str = ''
    detail: str = ''
    other_path: str = ''

    @property
    def is_error(self) -> bool:
        """Whether it spoils training or scores; everything else is for information."""
        return self.kind in ERRORS
