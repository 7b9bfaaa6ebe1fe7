"""A gallery: images, or their features, that can be searched by a query image.

Whether features of two models may be compared is decided by ``FeatureSpec`` in
``apis/feature_spec.py``, who may be found by ``GalleryFilter`` in ``filter.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionreid.apis.calibration import Calibration
from fusionreid.apis.calibration_file import find_calibration
from fusionreid.apis.feature_extractor import FeatureExtractor
from fusionreid.apis.feature_spec import FeatureSpec
from fusionreid.apis.image_input import Image, check_image, list_inputs
from fusionreid.apis.reid_inferencer import ReIDInferencer
from fusionreid.errors import GalleryError
from fusionreid.utils.integers import as_integer
from fusionreid.utils.progress import Progress

from . import storage
from .acceptance import add_rates, choose_acceptance
from .address import Place
from .engines import SearchEngine, build_engine
from .filter import GalleryFilter
from .gallery_model import load_model
from .item_checks import (
    Features,
    NamedItems,
    are_features,
    check_features,
    check_items,
    normalized,
    query_cameras,
)
from .items import Items
from .merging import check_mergeable, common_calibration
from .metadata import Condition
from .names import Label, add_names
from .recall import measure_recall
from .rescoring import Rescoring
from .search_result import GallerySearchResult

# Features that are converted at once.
ADDED_ROWS = 8192
# How many times as many items are looked at, where answers may lie beyond.
WIDER = 4


@dataclass
class AddReport:
    """What came of adding images.

    Attributes:
        added: Number of items that are in the gallery now and were not before.
        failed: Reasons by id for the images that cannot be decoded; each names its file.
    """

    added: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class Gallery:
    """Images that can be searched by a query image.

    An item is an image with its feature, and a unique id, its identity and camera where they are
    known. Features are L2-normalized, and compared by Euclidean distance. Cameras and identities
    are numbers or names; a name has a number of its own, see ``names.py``, and is in
    ``camera_names`` or ``person_names``. What a distance means is told by a :attr:`calibration`;
    one that lies beside the model's checkpoint is taken.

    Args:
        extractor: Model that turns images into features; None for a gallery of features that were
            computed elsewhere.
        engine: What finds the nearest: ``'exact'``, ``'faiss_flat'``, ``'faiss_ivfpq'``,
            ``'milvus'``, ``'pgvector'`` or another one registered in ``SEARCH_ENGINES``, or a
            config such as ``dict(type='faiss_ivfpq', probes=64)``. What Milvus holds in the
            collection, or PostgreSQL in the table, is in the gallery from the start.

    Raises:
        GalleryError: If there is no such engine, it cannot work here, or it holds features of
            another model.
        ConfigError: If an engine's device is none of this machine.

    Example:
        >>> import torch
        >>> gallery = Gallery()
        >>> gallery.add(features=torch.eye(3), ids=['a', 'b', 'c'], camera_ids=[0, 0, 1]).added
        3
        >>> gallery.search(torch.tensor([[1.0, 0.1, 0.2]]), k=2, exclude_cameras=[1]).ids.tolist()
        [['a', 'b']]
    """

    def __init__(
        self,
        extractor: ReIDInferencer | FeatureExtractor | None = None,
        engine: str | dict[str, Any] = 'exact',
    ) -> None:
        extractor = _extractor_of(extractor)
        self._extractor = extractor
        self._device: str | torch.device = 'cpu'
        self.spec: FeatureSpec | None = None
        self._calibration: Calibration | None = None
        # States of index folders that hold nothing that is not in this gallery.
        self._generations: set[str] = set()
        self.engine: SearchEngine = build_engine(engine)
        self.person_names: MutableMapping[int, str]
        self.camera_names: MutableMapping[int, str]
        self.person_names, self.camera_names = self.engine.names or ({}, {})
        if extractor is not None:
            self._open(extractor.spec)
            self._calibration = self._calibration or find_calibration(extractor.spec)
        elif (width := self.engine.attach()) is not None and not self._take_over():
            self.spec = FeatureSpec(width=width)

    def __len__(self) -> int:
        return len(self.engine) if self.spec is not None else 0

    def __contains__(self, item_id: str) -> bool:
        return bool(self.known([item_id]))

    def known(self, ids: Iterable[str | int]) -> set[str]:
        """Those of the ids that are in the gallery."""
        return self.engine.known([str(item_id) for item_id in ids]) if self.spec else set()

    def _open(self, spec: FeatureSpec) -> None:
        self.engine.open(spec.width, spec.fingerprint)
        if self._take_over():
            assert self.spec is not None
            self.spec.check_same(spec)
        else:
            self.engine.keep(dict(features=asdict(spec)))
            self.spec = spec

    def _take_over(self) -> bool:
        """Take over what the engine itself keeps of the gallery, if it does and there is any."""
        if (record := self.engine.record()) is None:
            return False
        self.spec, self._calibration = storage.read_record(record, self.engine.place)
        return True

    @property
    def calibration(self) -> Calibration | None:
        """What distances mean (:class:`~fusionreid.apis.Calibration`); saved with the rest.

        One of other features is refused by a :class:`~fusionreid.errors.CalibrationError`.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        self._calibration = None if calibration is None else calibration.bound_to(self.spec)

    @property
    def extractor(self) -> FeatureExtractor:
        """The model; one that was saved with the gallery is loaded when it is first needed.

        Raises:
            GalleryError: If the gallery has no model, or its checkpoint is gone or has changed.
        """
        if self._extractor is None:
            self.use_model()
        assert self._extractor is not None
        return self._extractor

    def use_model(
        self,
        checkpoint: str | Path | None = None,
        config: str | Path | None = None,
        device: str | torch.device | None = None,
        projection: str | Path | None = None,
    ) -> None:
        """Load the model that the gallery was made with.

        Args:
            checkpoint: Its weights, or the folder of an exported model, if they are not where they
                were.
            config: Its config; the one saved with the gallery otherwise.
            device: Where it runs; otherwise where :meth:`load` was told.
            projection: The projection of its features, if it is not where it was.

        Raises:
            GalleryError: If the gallery was made without a model, the checkpoint is missing, or it
                is another one.
        """
        extractor = load_model(
            self.spec,
            checkpoint,
            config,
            self._device if device is None else device,
            projection,
        )
        assert self.spec is not None
        self.spec.check_same(extractor.spec)
        self._extractor = extractor
        if self._calibration is None:
            self._calibration = find_calibration(extractor.spec)

    def add(
        self,
        images: Sequence[Image] | Image | None = None,
        *,
        features: Features | None = None,
        ids: Sequence[str | int] | None = None,
        paths: Sequence[str | Path] | None = None,
        person_ids: Sequence[Label] | None = None,
        camera_ids: Sequence[Label] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        replace: bool = False,
        channel_order: str = 'rgb',
        progress: bool = False,
    ) -> AddReport:
        """Add images, or features that were computed before.

        Batch after batch is added, so that an interruption loses only the batch at work. An image
        that cannot be decoded is named in the report, the others are added.

        Args:
            images: Paths of image files, uint8 arrays or PIL images, as
                :class:`~fusionreid.apis.ReIDInferencer` takes them.
            features: In place of images: (N, D), any float type.
            ids: Unique ids; integers are taken as text. None takes the paths.
            paths: Image files of features or arrays, for showing them later.
            person_ids: Identities, numbers, negative where unknown, or names; None means all
                unknown.
            camera_ids: Cameras, 0-based numbers, negative where unknown, or names; None means all
                unknown. A model with SIE must know them.
            metadata: What else is known about each, such as ``{'site': 'north', 'time': moment}``:
                texts, numbers, truth values, and times with a time zone.
            replace: Put items in the place of those that have the same ids; otherwise such ids are
                an error.
            channel_order: ``'rgb'`` or ``'bgr'`` (as OpenCV reads), for arrays.
            progress: Show a line on stderr with the time left.

        Returns:
            How many were added, and which images could not be decoded.

        Raises:
            GalleryError: Before anything is computed: if the lengths differ, an id is missing,
                given twice or there already, or features are of another width or hold NaN.
            InferenceError: Before anything is computed, if something is no image. Later, if the
                model gives an image no usable feature; the batches before it are in the gallery
                then.
        """
        if (images is None) == (features is None):
            raise GalleryError('give either images or features')
        if features is not None:
            rows = check_features(features, 'features', self.spec)
            count = len(rows)
        else:
            given = list_inputs(images)
            for number, image in enumerate(given):
                check_image(image, number)
            count = len(given)
            if paths is None:
                paths = [image if isinstance(image, (str, Path)) else '' for image in given]
        named = check_items(count, ids, paths, person_ids, camera_ids, metadata)
        items = named.items
        for kept, more in self._names_of(named):
            add_names({n: kept[n] for n in more if n in kept}, more)
        # Before the ids are compared: the engine may hold items already.
        if self.spec is None and features is not None:
            self._open(FeatureSpec(width=rows.shape[1]))
        if not replace:
            self._check_new(items.ids)
        report = AddReport()
        if features is not None:
            for start in range(0, count, ADDED_ROWS):
                block = range(start, min(start + ADDED_ROWS, count))
                taken = named._replace(items=items.take(block))
                self._take(taken, normalized(rows[start : block.stop]), replace)
                report.added += len(block)
            return report
        meter = Progress('indexing', count, progress)
        done = 0
        cameras = [named.camera_names.get(camera, camera) for camera in items.camera_ids]
        for batch in self.extractor.batches(given, cameras, channel_order):
            if batch.positions:
                taken = named._replace(items=items.take(batch.positions))
                self._take(taken, batch.features, replace)
            report.added += len(batch.positions)
            report.failed.update({items.ids[row]: why for row, why in batch.failed.items()})
            done += len(batch.positions) + len(batch.failed)
            meter.update(done)
        return report

    def _take(self, named: NamedItems, features: Tensor, replace: bool = False) -> None:
        """Add items to the engine, and the names that they have to those of the gallery."""
        items = named.items
        used = [
            (kept, {number: more[number] for number in set(column) & more.keys()})
            for (kept, more), column in zip(
                self._names_of(named), (items.person_ids, items.camera_ids), strict=True
            )
        ]
        if self.engine.names:  # which writes them with the items
            for kept, more in used:
                add_names(kept, more)
        (self.engine.replace if replace else self.engine.add)(items, features)
        if not self.engine.names:
            for kept, more in used:
                add_names(kept, more)

    def _names_of(
        self, named: NamedItems
    ) -> list[tuple[MutableMapping[int, str], MutableMapping[int, str]]]:
        """Names of people and of cameras, those of the gallery and those of items."""
        return [(self.person_names, named.person_names), (self.camera_names, named.camera_names)]

    def item_blocks(self) -> Iterator[Items]:
        """All items, some at a time, in an order that stays the same."""
        if self.spec is not None:
            yield from self.engine.item_blocks()

    def find(self, ids: Iterable[str | int]) -> Items:
        """Those items that have one of the ids, in any order."""
        names = list(dict.fromkeys(map(str, ids)))
        return self.engine.find(names) if self.spec is not None else Items([], [], [], [])

    def merge(self, other: Gallery, *, keep_first: bool = False) -> int:
        """Add the items of another gallery with their features, which are not computed again.

        Equal names are one camera or identity, and so are equal numbers. A calibration stays
        unless the other gallery has another one.

        Args:
            other: The gallery; it stays as it is.
            keep_first: Leave out its items whose ids are here already; otherwise they are an error.

        Returns:
            How many items were added.

        Raises:
            GalleryError: Before anything is added: if the features are not of the same model and
                protocol, or an id is in both.

        Example:
            >>> first, second = Gallery(), Gallery()
            >>> first.add(features=torch.eye(2), ids=['a', 'b'], camera_ids=['yard', 'door']).added
            2
            >>> second.add(features=torch.eye(2)[:1], ids=['c'], camera_ids=['door']).added
            1
            >>> first.merge(second), first.search(torch.eye(2), k=3, cameras=['door']).ids.tolist()
            (1, [['c', 'b', ''], ['b', 'c', '']])
        """
        if other.spec is None or not len(other):
            return 0
        if self.spec is None:
            self._open(other.spec)
            self._calibration = other.calibration
        else:
            check_mergeable(self.spec, other.spec)
        both: set[str] = set()
        for items in other.item_blocks():
            both |= self.known(items.ids)
        if both and not keep_first:
            raise GalleryError(
                f'{len(both)} of the images are in both galleries, such as {min(both)!r}: keep '
                f'those of the first (--keep-first), or remove them from one'
            )
        added = 0
        for items, features in other.engine.blocks():
            rows = [row for row, item_id in enumerate(items.ids) if item_id not in both]
            if rows:
                self._take(other.with_names(items.take(rows)), features[rows])
            added += len(rows)
        self._calibration = common_calibration(self.calibration, other.calibration)
        return added

    def with_names(self, items: Items) -> NamedItems:
        """Look up the names of items of this gallery.

        Args:
            items: The items.

        Returns:
            The items, and the names that their numbers stand for.
        """
        people, cameras = self.person_names, self.camera_names
        return NamedItems(
            items,
            {n: name for n in set(items.person_ids) if (name := people.get(n))},
            {n: name for n in set(items.camera_ids) if (name := cameras.get(n))},
        )

    def remove(self, ids: Iterable[str | int] | str | int) -> None:
        """Remove items.

        Raises:
            GalleryError: If an id is not there; nothing is removed then.
        """
        given = [ids] if isinstance(ids, (str, int)) else ids
        names = list(dict.fromkeys(map(str, given)))
        known = self.known(names)
        for name in names:
            if name not in known:
                raise GalleryError(f'there is no item {name!r} in the gallery: nothing was removed')
        if not names:
            return
        self.engine.remove(names)
        if self.engine.names or not (self.person_names or self.camera_names):
            return
        # Names that no image has any more cannot be searched for.
        people, cameras = set[int](), set[int]()
        for items in self.engine.item_blocks():
            people.update(items.person_ids)
            cameras.update(items.camera_ids)
        self.person_names = {n: name for n, name in self.person_names.items() if n in people}
        self.camera_names = {n: name for n, name in self.camera_names.items() if n in cameras}

    def search(
        self,
        queries: Sequence[Image] | Image | Features,
        k: int = 10,
        *,
        query_camera_ids: Sequence[Label] | None = None,
        channel_order: str = 'rgb',
        filters: Sequence[GalleryFilter] | None = None,
        cameras: Iterable[Label] | None = None,
        exclude_cameras: Iterable[Label] | None = None,
        person_ids: Iterable[Label] | None = None,
        exclude_person_ids: Iterable[Label] | None = None,
        ids: Iterable[str] | None = None,
        exclude_ids: Iterable[str] | None = None,
        metadata: Mapping[str, Any] | Iterable[Condition] | None = None,
        max_distance: float | None = None,
        max_fpr: float | None = None,
        max_search_fpr: float | None = None,
        rescoring: Rescoring | None = None,
    ) -> GallerySearchResult:
        """Find the k nearest items of each query.

        Args:
            queries: A path, uint8 array or PIL image, several of them, or features (Q, D) or
                (D,).
            k: Items wanted, 1 to the size of the gallery. Where the filters leave fewer, the
                result is filled up, see :class:`GallerySearchResult`.
            query_camera_ids: Cameras of the queries, 0-based numbers or names, for a model with
                SIE, the rates of two cameras and rescoring; None means all unknown. They filter
                nothing.
            channel_order: ``'rgb'`` or ``'bgr'``, for arrays.
            filters: A filter for each query, besides the following ones, which hold for all.
            cameras: Find only items of these cameras, 0-based numbers or names; negative stands
                for unknown.
            exclude_cameras: Find none of these cameras.
            person_ids: Find only these identities, numbers or names.
            exclude_person_ids: Find none of these identities.
            ids: Find only these items.
            exclude_ids: Find none of these items.
            metadata: Find only items whose metadata has these values, such as
                ``{'site': ['north', 'south'], 'time': Between(begin, end)}``; or what
                :func:`read_where` reads.
            max_distance: Find only items that are nearer; where there are none, the answer is
                nobody (:attr:`GallerySearchResult.nobody`).
            max_fpr: The same for a false match rate of the :attr:`calibration`: the share of the
                pairs of different people that may be as near, in the cameras of query and item
                where it knows them.
            max_search_fpr: The same for the share of searches for strangers that may find
                somebody in a gallery of this size.
            rescoring: Order the nearest items again before; ``max_distance`` is then one of the
                new distances.

        Returns:
            The items found; with their false match rates, if there is a calibration and no
            rescoring.

        Raises:
            GalleryError: If the gallery is empty, k is not in it, a query does not fit, there
                are not as many filters or cameras as queries, a filter names a camera or an
                identity that no item has, or limits contradict each other.
            CalibrationError: If there is no calibration for a rate, or it cannot tell it.
            ImageDecodeError: If a query image cannot be decoded.

        Example:
            >>> gallery = Gallery()
            >>> report = gallery.add(features=torch.eye(2), ids=['a', 'b'], camera_ids=[0, 1])
            >>> other_camera = [GalleryFilter(exclude_cameras=[camera]) for camera in (0, 1)]
            >>> found = gallery.search(torch.eye(2), k=2, filters=other_camera)
            >>> found.ids.tolist(), found.counts.tolist()
            ([['b', ''], ['a', '']], [1, 1])
        """
        size = self.engine.recent_size() if self.spec is not None else 0
        if size < as_integer(k, 'k', GalleryError):
            size = len(self)
        if not size:
            raise GalleryError('the gallery is empty: add images first')
        if not 1 <= k <= size:
            raise GalleryError(f'k={k} is outside 1..{size}, the size of the gallery')
        if rescoring is not None and (max_fpr is not None or max_search_fpr is not None):
            raise GalleryError(
                'rates are calibrated for the plain distance: give max_distance (--max-distance) '
                'for rescored ones'
            )
        acceptance = choose_acceptance(
            self.calibration, size, max_distance, max_fpr, max_search_fpr
        )
        shared = GalleryFilter(
            cameras=cameras,
            exclude_cameras=exclude_cameras,
            person_ids=person_ids,
            exclude_person_ids=exclude_person_ids,
            ids=ids,
            exclude_ids=exclude_ids,
            metadata=metadata,
        )
        if are_features(queries):
            rows = check_features(queries, 'queries', self.spec)
            wanted = self._combine(filters, shared, len(rows))
            seen = query_cameras(query_camera_ids, len(rows))
            rows = normalized(rows)
        else:
            images = list_inputs(queries)
            if not images:
                raise GalleryError('there is no query: give at least one image or feature')
            wanted = self._combine(filters, shared, len(images))
            seen = query_cameras(query_camera_ids, len(images))
            rows = self.extractor.extract(images, query_camera_ids, channel_order)
        if rescoring is not None:
            found = self._find(rows, min(size, max(k, rescoring.candidates)), wanted)
            found = rescoring.order(found, rows, seen, self.engine, k)
            return found if acceptance is None else acceptance.keep(found, seen, k)
        found = self._find(rows, k, wanted)
        if acceptance is not None:
            kept = acceptance.keep(found, seen, k)
            # Where the limit depends on the camera, an item beyond the k nearest may be an answer.
            width, is_open = k, acceptance.is_open(found, kept, seen)
            while is_open.any() and width < size:
                width = min(size, WIDER * width)
                places = np.flatnonzero(is_open)
                part = self._find(rows[places], width, [wanted[place] for place in places])
                answers = acceptance.keep(part, seen[places], k)
                kept = kept.put(is_open, answers)
                is_open[places] = acceptance.is_open(part, answers, seen[places])
            found = kept
        return found if self.calibration is None else add_rates(found, self.calibration, seen)

    def _find(self, rows: Tensor, k: int, wanted: Sequence[GalleryFilter]) -> GallerySearchResult:
        """Find the k nearest items of each query that pass its filter."""
        groups: dict[GalleryFilter, list[int]] = {}
        for position, own in enumerate(wanted):
            groups.setdefault(own, []).append(position)
        parts = [
            GallerySearchResult.from_hits(
                self.engine.search(rows[positions], k, own), k, self.person_names, self.camera_names
            )
            for own, positions in groups.items()
        ]
        return GallerySearchResult.join(parts, list(groups.values()))

    def _combine(
        self, filters: Sequence[GalleryFilter] | None, shared: GalleryFilter, count: int
    ) -> list[GalleryFilter]:
        """The filter of each query: that for all and its own as one, by numbers."""
        shared = shared.numbered(self.camera_names, self.person_names)
        if filters is None:
            return [shared] * count
        if not isinstance(filters, Sequence) or not all(
            isinstance(own, GalleryFilter) for own in filters
        ):
            raise GalleryError('filters must be a sequence of GalleryFilter, one for each query')
        if len(filters) != count:
            raise GalleryError(f'got {len(filters)} filters for {count} queries')
        both = {
            own: shared & own.numbered(self.camera_names, self.person_names)
            for own in dict.fromkeys(filters)
        }
        return [both[own] for own in filters]

    def calibrate(
        self, data: str = '', remove_same_camera: bool = True, progress: bool = False
    ) -> Calibration:
        """Measure what distances mean, on the pairs of the items whose identities are known.

        Args:
            data: What the items are, in words.
            remove_same_camera: Leave out pairs of one person in one camera.
            progress: Show lines on stderr.

        Returns:
            The calibration, which is the gallery's from now on.

        Raises:
            GalleryError: The gallery is empty.
            CalibrationError: Too few people or pairs.
        """
        if self.spec is None or not len(self):
            raise GalleryError('the gallery is empty: add images first')
        blocks = [(items, features.cpu()) for items, features in self.engine.blocks()]
        self.calibration = Calibration.fit(
            torch.cat([features for _, features in blocks]),
            torch.tensor([person for items, _ in blocks for person in items.person_ids]),
            torch.tensor([camera for items, _ in blocks for camera in items.camera_ids]),
            spec=self.spec,
            data=data,
            remove_same_camera=remove_same_camera,
            progress=progress,
        )
        return self.calibration

    def measure_recall(self, k: int = 10, sample: int = 1000, seed: int = 0) -> float:
        """Compare the engine with an exact search.

        Items of the gallery serve as queries. An answer is right if it is no farther away than the
        exact k-th one, so that it does not matter which of equal items is found.

        Args:
            k: Answers for each query besides itself.
            sample: Number of queries, all items if there are fewer.
            seed: Seed of their choice.

        Returns:
            Mean share of right answers, in [0, 1].

        Raises:
            GalleryError: If the gallery has no k items besides the query, or the sample none.
        """
        return measure_recall(self.engine, k, sample, seed)

    def save(self, place: Place | None = None, *, overwrite: bool = False) -> None:
        """Save the gallery; an interrupted save leaves an earlier one in the folder whole.

        The folder holds a JSON file about the model and the engine, and beside it safetensors and
        CSV files; no pickles. Images and weights stay where they are. PostgreSQL keeps all of that
        itself; there, saving keeps the calibration, and builds and measures the index.

        Args:
            place: The folder, or the address of the gallery's own table; None for that.
            overwrite: Replace whatever index is there. Otherwise only the one that this gallery
                was loaded from or saved as is replaced, so that no other's images are lost.

        Raises:
            GalleryError: If the gallery is empty, or the folder cannot be written or holds
                something else, such as an index that another process saved meanwhile, or the table
                is another one.
        """
        if self.spec is None or not len(self):
            raise GalleryError('the gallery is empty: there is nothing to save')
        storage.save(self, place, self._generations, overwrite)

    @classmethod
    def load(
        cls,
        place: Place,
        extractor: ReIDInferencer | FeatureExtractor | None = None,
        *,
        device: str | torch.device = 'cpu',
        verify: bool = True,
    ) -> Gallery:
        """Load a gallery that was saved.

        Every byte of a folder is compared with the checksums that were saved, which reads all files
        once; of a large index a line on stderr shows the time left.

        Args:
            place: The folder, or a table as ``postgresql://user@host/database#table``.
            extractor: The model, if it is loaded already. Otherwise it is loaded when an image
                comes, from where it was.
            device: Where the model runs, and the engine if it is ``'exact'``.
            verify: False takes the files as they are, for example because they were edited. They
                must still be readable and fit together, but FAISS may end the process over a
                damaged ``.faiss`` file.

        Returns:
            The gallery.

        Raises:
            GalleryError: If there is no index, it is damaged, or its features are not those of
                ``extractor``.
        """
        model = _extractor_of(extractor)

        def build(settings: dict[str, Any], saved: storage.Saved | None) -> Gallery:
            if settings.get('type') == 'exact':
                settings['device'] = device
            gallery = cls(engine=settings)
            if gallery.engine.place is None and saved is not None:
                gallery.spec, gallery._calibration = saved.spec, saved.calibration
                gallery.person_names, gallery.camera_names = saved.person_names, saved.camera_names
            if saved is not None:
                gallery._generations.add(saved.generation)
            gallery._extractor, gallery._device = model, device
            if model is not None and gallery.spec is not None:
                gallery.spec.check_same(model.spec)
                gallery._calibration = gallery._calibration or find_calibration(model.spec)
            return gallery

        return storage.load(place, build, verify)

    def _check_new(self, ids: Sequence[str]) -> None:
        known = self.known(ids)
        for name in ids:
            if name in known:
                raise GalleryError(
                    f'the id {name!r} is in the gallery already: remove it first, or leave it out'
                )


def _extractor_of(
    extractor: ReIDInferencer | FeatureExtractor | None,
) -> FeatureExtractor | None:
    return extractor.extractor if isinstance(extractor, ReIDInferencer) else extractor
