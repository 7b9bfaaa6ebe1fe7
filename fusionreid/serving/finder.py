"""What a server computes: answers, reasons, photos and groups of one gallery, as JSON has them."""

from __future__ import annotations

import base64
import math
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fusionreid.apis.photos import load_photos, photo_distances
from fusionreid.errors import ImageDecodeError
from fusionreid.explain import pair_relevance
from fusionreid.gallery import Gallery, GalleryFilter, GallerySearchResult, read_where
from fusionreid.gallery.items import Items
from fusionreid.gallery.names import Label, number_labels
from fusionreid.runtimes import ExportedModel
from fusionreid.utils.integers import UNKNOWN
from fusionreid.utils.names import tidy_name
from fusionreid.video.passage_folder import Passage, find_passages
from fusionreid.visualization.color_scale import ColorScale

from .images import encode_jpeg, make_thumbnail
from .labels import as_text, write_camera
from .limits import Limits
from .refusals import RefusedError
from .stops import find_stops, first_stops

SMALL, LARGE = 320, 1024
KEPT_THUMBNAILS = 1024
# Items that the page offers to begin with.
SAMPLES = 16


@dataclass(frozen=True)
class Query:
    """A photo that somebody asks about.

    Attributes:
        name: Its name, for the answer.
        image: Pixels, uint8 of shape (H, W, 3), RGB; or an image file of the gallery.
        camera: The camera that saw it: a name or a 0-based number, -1 for unknown.
        item: Number of the gallery's item that it is; None for one that was sent.
    """

    name: str
    image: np.ndarray | str
    camera: Label = UNKNOWN
    item: int | None = None


class Finder:
    """Answers what a server is asked about one gallery.

    Items are known outside by their number, in the order of the gallery; nothing else leads to a
    file. Items that others add to a database are learned when they are found. Threads may share it.

    Args:
        gallery: The gallery, whose model is loaded.
        name: What the page calls it.
        limits: Bounds of what is asked.

    Raises:
        GalleryError: The gallery has no model.
    """

    def __init__(self, gallery: Gallery, name: str, limits: Limits) -> None:
        self.gallery, self.name, self.limits = gallery, name, limits
        self.extractor = gallery.extractor
        self.ids: list[str] = []
        self._paths: list[str] = []
        self._cameras: list[int] = []
        self._people: list[int] = []
        self._numbers: dict[str, int] = {}
        self._learning = threading.Lock()
        # When the items were seen, of an index of videos.
        self._passages: dict[str, Passage] = {}
        for items in gallery.item_blocks():
            self._learn(items)
        self.stops = find_stops(gallery.calibration, len(gallery))
        self.thumbnail = lru_cache(KEPT_THUMBNAILS)(self._make_thumbnail)

    def _learn(self, items: Items) -> None:
        """Give numbers to items that have none; others may add to a gallery in a database."""
        with self._learning:
            new = [row for row, item_id in enumerate(items.ids) if item_id not in self._numbers]
            if not new:
                return
            items = items.take(new)
            start = len(self.ids)
            # Numbers last, so that who finds one also finds what it stands for.
            self._paths += items.paths
            self._cameras += items.camera_ids
            self._people += items.person_ids
            self._passages = {**self._passages, **find_passages(items.paths)}
            self.ids += items.ids
            self._numbers.update({item_id: start + row for row, item_id in enumerate(items.ids)})

    def number_of(self, item_id: str) -> int:
        """The number of an item, of one that others added too."""
        if item_id not in self._numbers:
            self._learn(self.gallery.find([item_id]))
        return self._numbers[item_id]

    def __len__(self) -> int:
        return len(self.ids)

    def describe(self) -> dict[str, Any]:
        """Tell what the gallery is, and what may be asked."""
        spec, limits = self.extractor.spec, self.limits
        cameras = Counter(self._cameras)
        named = [(self._camera_label(camera), count) for camera, count in cameras.items()]
        named.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]))
        calibration = self.gallery.calibration
        return dict(
            name=as_text(self.name),
            images=len(self),
            identities=len({person for person in self._people if person >= 0}),
            cameras=[dict(camera=write_camera(camera), images=count) for camera, count in named],
            features=as_text(f'{spec.feature} features of {spec.weights}, {spec.protocol}'),
            engine=self.gallery.engine.name,
            explains=not isinstance(self.extractor.model, ExportedModel),
            samples=self._samples(),
            times=self._times(),
            calibrated_on=as_text(calibration.data) if calibration else None,
            camera_lines=any(stop.acceptance.by_cameras for stop in self.stops),
            stops=[
                dict(
                    rate=stop.rate,
                    distance=_finite(stop.acceptance.distance),
                    search_rate=stop.search_rate[0],
                    search_rate_95=stop.search_rate[1:],
                )
                for stop in self.stops
            ],
            limits=dict(
                image_bytes=limits.image_bytes,
                request_bytes=limits.request_bytes,
                pixels=limits.pixels,
                images=limits.images,
                answers=min(limits.answers, len(self)),
            ),
        )

    def _times(self) -> list[float] | None:
        """First and last second at which somebody was seen; None without times."""
        seen = self._passages.values()
        if not seen:
            return None
        return [min(passage.first for passage in seen), max(passage.last for passage in seen)]

    def _samples(self) -> list[dict[str, Any]]:
        """Some items with photos: of different people where they are known."""
        first = {person: number for number, person in reversed([*enumerate(self._people)])}
        numbers = sorted(number for person, number in first.items() if person > 0)
        if len(numbers) < SAMPLES:
            numbers = list(range(len(self)))
        step = max(1, len(numbers) // SAMPLES)
        items = map(self.item, numbers[::step][:SAMPLES])
        return [item for item in items if item['image'] is not None]

    def item(self, number: int) -> dict[str, Any]:
        """Describe an item.

        Args:
            number: Its number.

        Returns:
            Name, camera, identity, and where its photo is.

        Raises:
            RefusedError: There is none (404).
        """
        self._check(number)
        person = self._people[number]
        name = Path(self._paths[number]).name or self.ids[number]
        identity: Label = self.gallery.person_names.get(person, person)
        passage = self._passages.get(self._paths[number])
        return dict(
            item=number,
            image=f'/api/items/{number}/image' if self._paths[number] else None,
            name=as_text(name),
            camera=write_camera(self._camera_label(self._cameras[number])),
            identity=None if person < 0 else as_text(str(identity)),
            seconds=None if passage is None else [passage.first, passage.last],
        )

    def as_query(self, number: int) -> Query:
        """Take an item as a query.

        Args:
            number: Its number.

        Returns:
            The query.

        Raises:
            RefusedError: There is none (404), or it has no image file (422).
        """
        described = self.item(number)
        if described['image'] is None:
            raise RefusedError(422, f'item {number} has no image file')
        return Query(
            described['name'],
            self._paths[number],
            self._camera_label(self._cameras[number]),
            number,
        )

    def search(
        self,
        queries: Sequence[Query],
        k: int,
        cameras: Iterable[Label] = (),
        *,
        other_cameras: bool = False,
        seconds: tuple[float | None, float | None] = (None, None),
        where: Iterable[str] = (),
        max_distance: float | None = None,
        max_fpr: float | None = None,
        max_search_fpr: float | None = None,
    ) -> list[dict[str, Any]]:
        """Find the people of photos.

        Args:
            queries: The photos.
            k: Answers for each; no more than the gallery has.
            cameras: Cameras to search; all if there is none.
            other_cameras: Leave out the camera of each query.
            seconds: From when to when items must have been seen, in seconds of their videos; None
                for any time. Items without a time are left out where one is given.
            where: Conditions on metadata, see :func:`read_where`.
            max_distance: Items must be nearer than it.
            max_fpr: False match rate that answers keep to.
            max_search_fpr: Share of the searches for strangers that may find somebody.

        Returns:
            For each query what was found.

        Raises:
            UserError: As :meth:`Gallery.search`.
            RefusedError: The camera of a query is unknown, but to be left out (422).
        """
        own = [query.camera for query in queries]
        if other_cameras and UNKNOWN in own:
            raise RefusedError(
                422, 'the camera of the photo is unknown, so it cannot be left out: choose it'
            )
        numbers, _ = number_labels(own, 'cameras')
        chosen = list(cameras)
        try:
            found = self.gallery.search(
                [query.image for query in queries],
                min(k, len(self.gallery)),
                query_camera_ids=own,
                cameras=chosen or None,
                ids=self._seen(*seconds),
                metadata=read_where(where),
                filters=[
                    GalleryFilter(
                        exclude_cameras=[number] if other_cameras else None,
                        # To find the query itself would say nothing.
                        exclude_ids=None if query.item is None else [self.ids[query.item]],
                    )
                    for query, number in zip(queries, numbers, strict=True)
                ],
                max_distance=max_distance,
                max_fpr=max_fpr,
                max_search_fpr=max_search_fpr,
            )
        except ImageDecodeError as error:
            # Its message names a file of the gallery, which is nobody's business.
            raise RefusedError(422, 'the file of a photo cannot be decoded') from error
        for row, count in enumerate(found.counts):
            columns = (found.ids, found.paths, found.person_ids, found.camera_ids)
            self._learn(Items(*(column[row, :count].tolist() for column in columns)))
        stops = first_stops(found, np.array(numbers), self.stops)
        return [
            dict(
                name=as_text(query.name),
                nobody=bool(found.nobody[row]),
                nearest=_finite(float(found.nearest[row])),
                answers=self._answers(found, stops, row),
            )
            for row, query in enumerate(queries)
        ]

    def _seen(self, first: float | None, last: float | None) -> list[str] | None:
        """Items that were seen between two seconds; None for all items."""
        if first is None and last is None:
            return None
        return [
            item_id
            for item_id, path in zip(self.ids, self._paths, strict=True)
            if (passage := self._passages.get(path)) and passage.is_between(first, last)
        ]

    def _answers(
        self, found: GallerySearchResult, stops: np.ndarray, row: int
    ) -> list[dict[str, Any]]:
        rates = found.rates_of(row)
        answers = []
        for rank in range(int(found.counts[row])):
            answer = dict(
                rank=rank + 1,
                **self.item(self._numbers[found.ids[row, rank]]),
                distance=round(float(found.distances[row, rank]), 6),
            )
            if rates:
                rate, low, high = rates[rank]
                stop = int(stops[row, rank])
                answer.update(
                    false_match_rate=rate,
                    false_match_rate_95=[low, high],
                    stop=stop if stop < len(self.stops) else None,
                )
            answers.append(answer)
        return answers

    def explain(self, query: Query, number: int) -> dict[str, Any]:
        """Show which pixels make a photo and an item alike.

        Args:
            query: The photo.
            number: Number of the item.

        Returns:
            Both photos as the model sees them, below their maps; as data of JPEG files.

        Raises:
            UserError: The model cannot be looked into.
            RefusedError: There is no such item, or no image of it.
        """
        other = self.as_query(number)
        model = self.extractor.torch_model
        feature = self.extractor.spec.feature
        try:
            photos, others = (
                load_photos(self.extractor, [side.image], [self._model_camera(side.camera)])
                for side in (query, other)
            )
        except ImageDecodeError as error:
            raise RefusedError(422, 'the file of a photo cannot be decoded') from error
        sides = pair_relevance(
            model,
            photos.images,
            others.images,
            [feature],
            camera_ids=photos.camera_ids,
            other_camera_ids=others.camera_ids,
        )[feature]
        # In multiples of what each pixel has where relevance is spread evenly.
        maps = [side[0].cpu().numpy() * side[0].numel() for side in sides]
        scale = ColorScale.for_maps(maps)
        distances = photo_distances(self.extractor, photos, others, [feature])[feature]
        pixels = (photos.pixels[0], others.pixels[0])
        return dict(
            query=_as_data(scale.lay_over(pixels[0], maps[0])),
            answer=_as_data(scale.lay_over(pixels[1], maps[1])),
            distance=round(distances[0], 6),
            top=round(scale.top, 2),
            anything=any(bool(map_.any()) for map_ in maps),
        )

    def _make_thumbnail(self, number: int, size: int) -> bytes:
        """Read the photo of an item as a JPEG file of at most ``size`` pixels on each side.

        Raises:
            RefusedError: There is no such item or photo (404).
        """
        if self.item(number)['image'] is None:
            raise RefusedError(404, f'item {number} has no image file')
        return make_thumbnail(self._paths[number], size, self.limits.pixels)

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self):
            raise RefusedError(404, f'there is no item {number}: they are 0 to {len(self) - 1}')

    def _camera_label(self, camera: int) -> Label:
        return self.gallery.camera_names.get(camera, camera)

    def _model_camera(self, camera: Label) -> int:
        """The camera by the number that the model knows it by; unknown, if it does not."""
        if isinstance(camera, int):
            return camera
        numbers = {tidy_name(name): number for number, name in self.extractor.camera_names.items()}
        return numbers.get(tidy_name(camera), UNKNOWN)


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _as_data(pixels: np.ndarray) -> str:
    return f'data:image/jpeg;base64,{base64.b64encode(encode_jpeg(pixels)).decode()}'
