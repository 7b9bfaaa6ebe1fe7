"""What answers look like, for the description of the interface (OpenAPI)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Health(BaseModel):
    """That the server lives."""

    status: str
    version: str


class CameraCount(BaseModel):
    """A camera: its name, its number from 1, or 0 where it is unknown."""

    camera: str
    images: int


class StopInfo(BaseModel):
    """A false match rate, and what it means in this gallery."""

    rate: float
    distance: float | None
    search_rate: float
    search_rate_95: tuple[float, float]


class LimitInfo(BaseModel):
    """What a request may have."""

    image_bytes: int
    request_bytes: int
    pixels: int
    images: int
    answers: int


class Item(BaseModel):
    """A photo of the gallery; ``identity`` is null where it is unknown.

    ``seconds`` are the first and the last one of its video at which it was seen; null without.
    """

    item: int
    image: str | None
    name: str
    camera: str
    identity: str | None
    seconds: tuple[float, float] | None


class GalleryInfo(BaseModel):
    """What the gallery holds."""

    name: str
    images: int
    identities: int
    cameras: list[CameraCount]
    features: str
    engine: str
    explains: bool
    samples: list[Item]
    times: tuple[float, float] | None
    calibrated_on: str | None
    camera_lines: bool
    stops: list[StopInfo]
    limits: LimitInfo


class Answer(Item):
    """An item that was found. With a calibration: how many pairs of strangers are as near."""

    rank: int
    distance: float
    false_match_rate: float | None = None
    false_match_rate_95: tuple[float, float] | None = None
    stop: int | None = None


class SearchResult(BaseModel):
    """What was found for a photo; the nearest items first."""

    name: str
    nobody: bool
    nearest: float | None
    answers: list[Answer]


class SearchResults(BaseModel):
    """What was found for all photos, in their order."""

    queries: list[SearchResult]


class Reason(BaseModel):
    """Which pixels make two photos alike, as data of JPEG files."""

    query: str
    answer: str
    distance: float
    top: float
    anything: bool


class Person(BaseModel):
    """Photos that show one person; the most typical one first."""

    person: int
    photos: int
    cameras: list[str]
    mean_distance: float
    items: list[Item]


class PeoplePage(BaseModel):
    """Some of the people, or that they are still looked for."""

    ready: bool
    total: int = 0
    photos: int = 0
    unsure: int = 0
    max_distance: float | None = None
    people: list[Person] = []


def describe_form(search: bool) -> dict[str, Any]:
    """Describe the form that a route takes.

    Args:
        search: Whether it is that of a search.

    Returns:
        Its part of the description.
    """
    camera = 'name, number from 1, or 0 for unknown'
    properties: dict[str, Any] = dict(
        images=_several(dict(type='string', format='binary'), 'image files'),
        items=_several(dict(type='integer'), 'numbers of items, in place of images or besides'),
        query_camera=dict(type='string', description=f'camera of the images: {camera}'),
    )
    if search:
        properties |= dict(
            k=dict(type='integer', description='answers for each image'),
            camera=_several(dict(type='string'), f'cameras to search: {camera}'),
            other_cameras=dict(type='boolean', description='leave out the camera of the image'),
            from_second=dict(
                type='number', description='items must be seen from this second of their video on'
            ),
            to_second=dict(type='number', description='items must be seen up to this second'),
            where=_several(
                dict(type='string'),
                'conditions on metadata: COLUMN=VALUE, of which several for one column are '
                'alternatives, COLUMN>=VALUE or COLUMN<=VALUE',
            ),
            max_distance=dict(type='number', description='items must be nearer'),
            max_fpr=dict(
                type='number', description='share of the pairs of strangers that may be as near'
            ),
            max_search_fpr=dict(
                type='number',
                description='share of the searches for strangers that may find somebody',
            ),
        )
    schema = dict(type='object', properties=properties)
    return dict(
        requestBody=dict(required=True, content={'multipart/form-data': dict(schema=schema)})
    )


def _several(items: dict[str, Any], description: str) -> dict[str, Any]:
    return dict(type='array', items=items, description=description)
