"""A gallery: images, or their features, that can be searched by a query image.

Whether features of two models may be compared is decided by ``FeatureSpec`` in
``apis/feature_spec.py``, who may be found by ``GalleryFilter`` in ``filter.py``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

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
from fusionreid.evaluation.functional import top_k
from fusionreid.evaluation.functional.progress import Progress
from fusionreid.evaluation.functional.validation import unusable_feature
from fusionreid.runtimes import is_export
from fusionreid.utils.feature_files import check_text
from fusionreid.utils.files import file_sha256
from fusionreid.utils.integers import UNKNOWN, as_integer

from .acceptance import add_rates, choose_acceptance
from .engines import SearchEngine, build_engine
from .filter import GalleryFilter
from .items import Items
from .merging import check_mergeable, common_calibration
from .names import Label, add_names, number_labels, read_names
from .rescoring import Rescoring
from .search_result import GallerySearchResult
from .versioned_folder import load_generation, save_generation

Features = Tensor | np.ndarray
# Distances that agree to this are the same when recall is measured; Milvus computes in float32.
RECALL_TOLERANCE = 1e-4
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
            ``'milvus'`` or another one registered in ``SEARCH_ENGINES``, or a config such as
            ``dict(type='faiss_ivfpq', probes=64)``. What Milvus holds in the collection is in the
            gallery from the start.

    Raises:
        GalleryError: If there is no such engine, or it cannot work here.
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
        self.camera_names: dict[int, str] = {}
        self.person_names: dict[int, str] = {}
        self._calibration: Calibration | None = None
        # States of index folders that hold nothing that is not in this gallery.
        self._generations: set[str] = set()
        self.engine: SearchEngine = build_engine(engine)
        if extractor is not None:
            self._open(extractor.spec)
            self._calibration = find_calibration(extractor.spec)
        elif (width := self.engine.attach()) is not None:
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
        self.spec = spec

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
    ) -> None:
        """Load the model that the gallery was made with.

        Args:
            checkpoint: Its weights, or the folder of an exported model, if they are not where they
                were.
            config: Its config; the one saved with the gallery otherwise.
            device: Where it runs; otherwise where :meth:`load` was told.

        Raises:
            GalleryError: If the gallery was made without a model, the checkpoint is missing, or it
                is another one.
        """
        spec = self.spec
        if spec is None or spec.config is None:
            raise GalleryError(
                'the gallery has no model, so it takes features, not images: build it with '
                'Gallery(ReIDInferencer(pretrained=checkpoint))'
            )
        is_named = checkpoint is not None
        checkpoint = checkpoint or spec.checkpoint
        if checkpoint is not None and not is_export(checkpoint):
            if not Path(checkpoint).is_file():
                raise GalleryError(
                    f'the gallery was made with {spec.weights}, which is not at {checkpoint}: name '
                    f'it (--checkpoint)'
                )
            if spec.sha256 not in (None, checksum := file_sha256(checkpoint)):
                raise GalleryError(
                    f'the gallery was made with {spec.weights}, but {checkpoint} has sha256 '
                    f'{checksum[:12]}: name the right checkpoint, or index the images again'
                )
        extractor = FeatureExtractor(
            checkpoint,
            config or (None if is_export(checkpoint) else spec.config),
            feature=spec.feature,
            device=self._device if device is None else device,
            # The path of a program in an index is nobody's choice.
            trusts_programs=is_named,
        )
        spec.check_same(extractor.spec)
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
            rows = self._check_features(features, 'features')
            count = len(rows)
        else:
            given = list_inputs(images)
            for number, image in enumerate(given):
                check_image(image, number)
            count = len(given)
            if paths is None:
                paths = [image if isinstance(image, (str, Path)) else '' for image in given]
        items, person_names, camera_names = self._check_items(
            count, ids, paths, person_ids, camera_ids
        )
        # Before the ids are compared: the engine may hold items already.
        if self.spec is None and features is not None:
            self._open(FeatureSpec(width=rows.shape[1]))
        self._check_new(items.ids)
        report = AddReport()
        names = (person_names, camera_names)
        if features is not None:
            for start in range(0, count, ADDED_ROWS):
                block = range(start, min(start + ADDED_ROWS, count))
                self._take(items.take(block), _normalized(rows[start : block.stop]), *names)
                report.added += len(block)
            return report
        meter = Progress('indexing', count, progress)
        done = 0
        cameras = [camera_names.get(camera, camera) for camera in items.camera_ids]
        for batch in self.extractor.batches(given, cameras, channel_order):
            if batch.positions:
                self._take(items.take(batch.positions), batch.features, *names)
            report.added += len(batch.positions)
            report.failed.update({items.ids[row]: why for row, why in batch.failed.items()})
            done += len(batch.positions) + len(batch.failed)
            meter.update(done)
        return report

    def _take(
        self,
        items: Items,
        features: Tensor,
        person_names: Mapping[int, str],
        camera_names: Mapping[int, str],
    ) -> None:
        """Add items to the engine, and the names that they have to those of the gallery."""
        self.engine.add(items, features)
        people, cameras = set(items.person_ids), set(items.camera_ids)
        add_names(self.person_names, {n: person_names[n] for n in people & person_names.keys()})
        add_names(self.camera_names, {n: camera_names[n] for n in cameras & camera_names.keys()})

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
        add_names(dict(self.person_names), other.person_names)
        add_names(dict(self.camera_names), other.camera_names)
        added = 0
        blocks = zip(other.item_blocks(), other.engine.feature_blocks(), strict=True)
        for items, features in blocks:
            rows = [row for row, item_id in enumerate(items.ids) if item_id not in both]
            if rows:
                self._take(items.take(rows), features[rows], other.person_names, other.camera_names)
            added += len(rows)
        self._calibration = common_calibration(self.calibration, other.calibration)
        return added

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
        # Names that no image has any more cannot be searched for.
        people, cameras = set[int](), set[int]()
        for items in self.engine.item_blocks() if self.person_names or self.camera_names else ():
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
        size = len(self)
        if not size:
            raise GalleryError('the gallery is empty: add images first')
        if not 1 <= as_integer(k, 'k', GalleryError) <= size:
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
        )
        if _are_features(queries):
            rows = self._check_features(queries, 'queries')
            wanted = self._combine(filters, shared, len(rows))
            seen = _query_cameras(query_camera_ids, len(rows))
            rows = _normalized(rows)
        else:
            images = list_inputs(queries)
            if not images:
                raise GalleryError('there is no query: give at least one image or feature')
            wanted = self._combine(filters, shared, len(images))
            seen = _query_cameras(query_camera_ids, len(images))
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
            GalleryError: The gallery is empty, or its engine does not give the items' features.
            CalibrationError: Too few people or pairs.
        """
        if self.spec is None or not len(self):
            raise GalleryError('the gallery is empty: add images first')
        people, cameras = self.engine.labels()
        self.calibration = Calibration.fit(
            torch.cat([block.cpu() for block in self.engine.feature_blocks()]),
            torch.from_numpy(people),
            torch.from_numpy(cameras),
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
        size = len(self)
        if not 1 <= as_integer(k, 'k', GalleryError) < size:
            raise GalleryError(f'k={k} is outside 1..{size - 1}, the size of the gallery less one')
        if as_integer(sample, 'sample', GalleryError) < 1:
            raise GalleryError(f'sample must be at least 1, got {sample}')
        rows = np.sort(np.random.default_rng(seed).choice(size, min(sample, size), replace=False))
        queries = self._features_of(rows)
        kth = self._exact_kth(queries, k + 1)
        hits = self.engine.search(queries, k + 1, GalleryFilter())
        found = torch.from_numpy(GallerySearchResult.from_hits(hits, k + 1).distances)
        right = (found <= kth[:, None] + RECALL_TOLERANCE).sum(dim=1)
        # The query itself is one of the k + 1 nearest, and always found when anything is.
        return float(((right - 1).clamp_min(0) / k).mean())

    def _features_of(self, rows: np.ndarray) -> Tensor:
        parts, start = [], 0
        for block in self.engine.feature_blocks():
            inside = rows[(rows >= start) & (rows < start + len(block))] - start
            parts.append(block[torch.from_numpy(inside).to(block.device)].cpu())
            start += len(block)
        return torch.cat(parts)

    def _exact_kth(self, queries: Tensor, k: int) -> Tensor:
        """Exact distance of the k-th nearest item of each query, (Q,)."""
        nearest = torch.full((len(queries), k), torch.inf)
        for block in self.engine.feature_blocks():
            part = top_k(queries.to(block.device), block, min(k, len(block))).distances.cpu()
            nearest = torch.cat((nearest, part), 1).topk(k, largest=False, sorted=True).values
        return nearest[:, -1]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Save the gallery; an interrupted save leaves an earlier one in the folder whole.

        The folder holds a JSON file about the model and the engine, and beside it safetensors and
        CSV files; no pickles. Images and weights stay where they are.

        Args:
            folder: The folder.
            overwrite: Replace whatever index is there. Otherwise only the one that this gallery
                was loaded from or saved as is replaced, so that no other's images are lost.

        Raises:
            GalleryError: If the gallery is empty, or the folder cannot be written or holds
                something else, such as an index that another process saved meanwhile.
        """
        if self.spec is None or not len(self):
            raise GalleryError('the gallery is empty: there is nothing to save')
        manifest = dict(
            items=len(self),
            features=asdict(self.spec),
            engine=self.engine.settings,
            person_names=sorted(self.person_names.values()),
            camera_names=sorted(self.camera_names.values()),
        )
        if self.calibration is not None:
            manifest['calibration'] = self.calibration.as_dict()
        save_generation(folder, manifest, self.engine.write, self._generations, overwrite)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        extractor: ReIDInferencer | FeatureExtractor | None = None,
        *,
        device: str | torch.device = 'cpu',
        verify: bool = True,
    ) -> Gallery:
        """Load a gallery that was saved.

        Every byte is compared with the checksums that were saved, which reads all files once; of a
        large index a line on stderr shows the time left.

        Args:
            folder: The folder.
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

        def read(manifest: dict[str, Any], generation: Path) -> Gallery:
            try:
                spec = FeatureSpec(**manifest['features'])
                settings = dict(manifest['engine'])
                person_names = read_names(manifest['person_names'])
                camera_names = read_names(manifest['camera_names'])
            except (KeyError, TypeError, ValueError) as error:
                raise GalleryError(
                    f'{folder} is damaged: its manifest is wrong: {error}'
                ) from error
            if model is not None:
                spec.check_same(model.spec)
            calibration = None
            if (record := manifest.get('calibration')) is not None:
                calibration = Calibration.from_dict(record, folder, spec)
            elif model is not None:
                calibration = find_calibration(model.spec)
            if settings.get('type') == 'milvus':
                _check_milvus_is_there(settings.get('uri'), folder)
            if settings.get('type') == 'exact':
                settings['device'] = device
            gallery = cls(engine=settings)
            gallery._extractor, gallery._device, gallery.spec = model, device, spec
            gallery.person_names, gallery.camera_names = person_names, camera_names
            gallery._calibration = calibration
            gallery._generations.add(generation.name)
            gallery.engine.read(generation, spec.width, spec.fingerprint)
            return gallery

        return load_generation(folder, read, verify)

    def _check_features(self, features: Features, name: str) -> Tensor:
        """Check features; returns them as (N, D)."""
        try:
            rows = torch.as_tensor(features).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise GalleryError(f'{name} must be floats of shape (N, D): {error}') from error
        if rows.dim() == 1:
            rows = rows[None]
        if rows.dim() != 2 or not rows.is_floating_point() or 0 in rows.shape:
            raise GalleryError(
                f'{name} must be floats of shape (N, D), got {rows.dtype} of shape '
                f'{tuple(rows.shape)}'
            )
        if self.spec is not None and rows.shape[1] != self.spec.width:
            raise GalleryError(
                f'{name} have width {rows.shape[1]}, the gallery has features of width '
                f'{self.spec.width} ({self.spec.feature}): they are of different models'
            )
        largest = torch.cat([part.abs().amax(dim=1) for part in rows.split(ADDED_ROWS)])
        if problem := unusable_feature(largest, lambda row: f'row {row} of the {name}'):
            raise GalleryError(problem)
        return rows

    def _check_items(
        self,
        count: int,
        ids: Sequence[str | int] | None,
        paths: Sequence[str | Path] | None,
        person_ids: Sequence[Label] | None,
        camera_ids: Sequence[Label] | None,
    ) -> tuple[Items, dict[int, str], dict[int, str]]:
        given = dict(ids=ids, paths=paths, person_ids=person_ids, camera_ids=camera_ids)
        for name, column in given.items():
            if column is None:
                continue
            if isinstance(column, str) or not hasattr(column, '__len__'):
                raise GalleryError(f'{name} must be a sequence, got {type(column).__name__}')
            if len(column) != count:
                raise GalleryError(f'got {len(column)} {name} for {count} items')
        texts = [''] * count if paths is None else [_as_path(path) for path in paths]
        names = texts if ids is None else [str(item_id) for item_id in ids]
        unknown = [UNKNOWN] * count
        for text in [*texts, *names]:
            check_text(text, GalleryError)
        people, person_names = number_labels(
            unknown if person_ids is None else person_ids, 'person_ids'
        )
        cameras, camera_names = number_labels(
            unknown if camera_ids is None else camera_ids, 'camera_ids'
        )
        add_names(dict(self.person_names), person_names)
        add_names(dict(self.camera_names), camera_names)
        seen: set[str] = set()
        for row, name in enumerate(names):
            if not name:
                raise GalleryError(
                    f'item {row} has neither an id nor a path: give ids of arrays and features'
                )
            if name in seen:
                raise GalleryError(f'the id {name!r} is given twice: leave one out')
            seen.add(name)
        return Items(names, texts, people, cameras), person_names, camera_names

    def _check_new(self, ids: Sequence[str]) -> None:
        known = self.known(ids)
        for name in ids:
            if name in known:
                raise GalleryError(
                    f'the id {name!r} is in the gallery already: remove it first, or leave it out'
                )


def _check_milvus_is_there(uri: Any, folder: str | Path) -> None:
    """Refuse to load from an embedded Milvus that would be made at the path that an index names."""
    if isinstance(uri, str) and '://' not in uri and not Path(uri).exists():
        raise GalleryError(f'{folder} is in Milvus at {uri}, which does not exist: move it back')


def _query_cameras(query_camera_ids: Sequence[Label] | None, count: int) -> np.ndarray:
    """Cameras of the queries (Q,) as numbers, -1 where unknown."""
    if query_camera_ids is None:
        return np.full(count, UNKNOWN, dtype=np.int64)
    cameras, _ = number_labels(query_camera_ids, 'query_camera_ids')
    if len(cameras) != count:
        raise GalleryError(f'got {len(cameras)} query_camera_ids for {count} queries')
    return np.array(cameras, dtype=np.int64)


def _normalized(rows: Tensor) -> Tensor:
    """Normalize features (N, D) of any size that a float can have; returns float32."""
    rows = rows.double()
    # The square of a large or small number is infinite or zero.
    rows = rows / rows.abs().amax(dim=1, keepdim=True)
    return (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)).float()


def _as_path(path: Any) -> str:
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise GalleryError(f'paths must be text or paths, got {path!r}') from error


def _extractor_of(
    extractor: ReIDInferencer | FeatureExtractor | None,
) -> FeatureExtractor | None:
    return extractor.extractor if isinstance(extractor, ReIDInferencer) else extractor


def _are_features(queries: Any) -> TypeGuard[Features]:
    if isinstance(queries, Tensor):
        return True
    return isinstance(queries, np.ndarray) and queries.dtype != np.uint8
