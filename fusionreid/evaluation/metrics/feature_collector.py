"""Features of a test set, batch by batch, in every process; then together as a FeatureSet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather, all_gather_object, get_rank, get_world_size
from torch import Tensor

from fusionreid.errors import ScoringError
from fusionreid.utils.names import camera_names

from ..feature_set import ROLES, FeatureSet
from ..functional.validation import unusable_feature

REQUIRED = ('img_path', 'person_id', 'camera_id', 'role', 'sample_idx')
# Numbers of a photo that go with its feature; the last two are -1 where the data set tells none.
LABELS = ('sample_idx', 'person_id', 'camera_id', 'role', 'clothes_id', 'tracklet_id')
PROTOCOL_KEYS = ('dataset_name', 'release', 'split', 'train_split')
# Bytes of features that each process sends at once.
GATHER_BYTES = 64 << 20


class FeatureCollector:
    """Checks and keeps the features that one process computes, and gathers those of all.

    Args:
        on_device: Leave features on the model's device; otherwise they go to the host's memory,
            page-locked where they come from a GPU.
    """

    def __init__(self, on_device: bool = False) -> None:
        self.on_device = on_device
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._features: deque[Tensor] = deque()
        self._labels: list[Tensor] = []
        self._paths: list[str] = []
        self._widths: dict[str, int] | None = None
        self._feature_protocol: str | None = None
        self._problem: str | None = None

    def add(self, samples: Sequence[dict[str, Any]]) -> None:
        """Keep the features of one batch as float32.

        Args:
            samples: For each image a dict with ``img_path``, ``person_id``, ``camera_id``,
                ``role``, ``sample_idx``, ``features`` (``dict[str, Tensor]`` of shape (D,) each)
                and, if they are known, ``clothes_id``, ``tracklet_id`` and
                ``feature_protocol`` (str).

        Raises:
            ScoringError: A sample lacks a field, has other features than the first one, or a zero
                feature, a NaN or an infinite value. In several processes it is raised by
                :meth:`gather`, in all of them.
        """
        if not samples or self._problem:
            return
        try:
            self._keep(samples)
        except ScoringError as error:
            # Alone, stop at once. Among others, who would wait for this process, stop together.
            if get_world_size() == 1:
                raise
            self._problem = str(error)

    def _keep(self, samples: Sequence[dict[str, Any]]) -> None:
        for sample in samples:
            self._check(sample)
        blocks = [
            torch.stack([sample['features'][name].detach() for sample in samples]).float()
            for name in samples[0]['features']
        ]
        features = torch.cat(blocks, dim=1)
        sizes = features.abs().amax(dim=1)
        if problem := unusable_feature(
            sizes, lambda row: f'the feature of {samples[row]["img_path"]}'
        ):
            raise ScoringError(problem)
        if features.is_cuda and not self.on_device:
            host = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            features = host.copy_(features)
        labels = [
            [
                int(sample['sample_idx']),
                int(sample['person_id']),
                int(sample['camera_id']),
                ROLES.index(sample['role']),
                int(sample.get('clothes_id', -1)),
                int(sample.get('tracklet_id', -1)),
            ]
            for sample in samples
        ]
        self._features.append(features)
        self._labels.append(torch.tensor(labels))
        self._paths += [sample['img_path'] for sample in samples]

    def _check(self, sample: dict[str, Any]) -> None:
        path = sample.get('img_path', '<no img_path>')
        missing = [key for key in (*REQUIRED, 'features') if sample.get(key) is None]
        if missing:
            raise ScoringError(
                f'{path}: the sample lacks {", ".join(missing)}; the pipeline must pack the labels '
                'and the model must set `features`'
            )
        if sample['role'] not in ROLES:
            raise ScoringError(
                f'{path}: role {sample["role"]!r} cannot be scored; evaluate queries and gallery'
            )
        features = sample['features']
        for name, feature in features.items():
            if feature.dim() != 1:
                raise ScoringError(
                    f'{path}: feature {name!r} has shape {tuple(feature.shape)}, expected (D,)'
                )
        widths = {name: len(feature) for name, feature in features.items()}
        if self._widths is None:
            if not widths:
                raise ScoringError(f'{path}: the model gave no feature')
            self._widths = widths
            self._feature_protocol = sample.get('feature_protocol')
        elif list(widths.items()) != list(self._widths.items()):
            raise ScoringError(
                f'{path}: features {widths} differ from those of the images before, {self._widths}'
            )

    def gather(self, size: int, meta: Mapping[str, Any] | None = None) -> FeatureSet:
        """Put the features of all processes together, and forget them here.

        Args:
            size: Images of the data set; each of the samples 0..size-1 must have been added by
                some process, once or more.
            meta: The data set's metainfo.

        Returns:
            The features in the order of the data set, without repetitions; the same in every
            process. Where samples belong to tracklets, the mean feature of each tracklet.

        Raises:
            ScoringError: In all processes, if samples are missing or outside the data set, or
                processes have different features.
        """
        try:
            return self._gather(size, meta or {})
        finally:
            self.clear()

    def gather_kept(self, meta: Mapping[str, Any] | None = None) -> FeatureSet:
        """Put the features of all processes together, and keep them here.

        The samples of each process are numbered from 0; they follow those of the processes before.

        Args:
            meta: Metainfo of the data set, if there is one.

        Returns:
            The features, process by process; the same in every process.

        Raises:
            ScoringError: As :meth:`gather` does.
        """
        counts = all_gather_object(len(self._paths))
        kept, numbers = list(self._features), torch.zeros(len(LABELS), dtype=torch.int64)
        numbers[LABELS.index('sample_idx')] = sum(counts[: get_rank()])
        self._labels = [labels + numbers for labels in self._labels]
        try:
            return self._gather(sum(counts), meta or {})
        finally:
            self._features = deque(kept)
            self._labels = [labels - numbers for labels in self._labels]

    def _gather(self, size: int, meta: Mapping[str, Any]) -> FeatureSet:
        labels = torch.cat(self._labels or [torch.empty(0, len(LABELS), dtype=torch.int64)])
        problem = self._problem
        for index, path in zip(labels[:, 0].tolist(), self._paths, strict=True):
            if not 0 <= index < size:
                problem = problem or f'{path}: sample_idx {index} is outside a data set of {size}'
        raise_together(problem)
        widths, longest, feature_protocol = self._agree()
        total = sum(widths.values())
        device = self._features[0].device if self._features else torch.device('cpu')
        gathered = torch.empty(size, total, dtype=torch.float32, device=device)
        table = torch.full((size, len(LABELS)), -1, dtype=torch.int64)
        paths = [''] * size

        step = min(longest, max(1, GATHER_BYTES // (4 * total)))
        blocks = _blocks_of(self._features, step)
        empty = torch.empty(0, total, device=device)
        for start in range(0, longest, step):
            part, part_labels = next(blocks, empty), labels[start : start + step]
            short = step - len(part)
            if get_world_size() > 1 and short:
                part = torch.cat([part, part.new_zeros(short, total)])
                part_labels = torch.cat(
                    [part_labels, part_labels.new_full((short, len(LABELS)), -1)]
                )
            parts, parts_labels = all_gather(part), all_gather(part_labels)
            # Backwards, so that a repeated sample keeps the features of the lowest rank.
            for rows, row_labels in zip(parts[::-1], parts_labels[::-1], strict=True):
                real = row_labels[:, 0] >= 0
                index = row_labels[real, 0]
                gathered[index.to(device)] = rows[real.to(device)]
                table[index] = row_labels[real]
        text = '\0'.join(self._paths).encode('utf-8', 'surrogateescape')
        own = torch.frombuffer(bytearray(text or b'\0'), dtype=torch.uint8)
        for indices, joined in zip(_gather(labels[:, 0]), _gather(own), strict=True):
            names = joined.numpy().tobytes().decode('utf-8', 'surrogateescape').split('\0')
            # Not strict: a process without images has one empty name.
            for index, path in zip(indices.tolist(), names, strict=False):
                paths[index] = path
        absent = (table[:, 0] < 0).nonzero().flatten().tolist()
        if absent:
            raise ScoringError(
                f'{len(absent)} of {size} samples were not processed, the first with sample_idx '
                f'{absent[0]}: the data loader must visit the whole test set'
            )
        protocol = {key: meta[key] for key in PROTOCOL_KEYS if meta.get(key) is not None}
        if feature_protocol:
            protocol['feature_protocol'] = feature_protocol
        clothes, tracklets = table[:, 4].clone(), table[:, 5]
        feature_set = FeatureSet(
            features=gathered,
            widths=widths,
            person_ids=table[:, 1].clone(),
            camera_ids=table[:, 2].clone(),
            roles=[ROLES[role] for role in table[:, 3].tolist()],
            img_paths=paths,
            protocol=protocol,
            clothes_ids=clothes if (clothes >= 0).any() else None,
            camera_names=camera_names(meta),
        )
        if (tracklets < 0).all():
            return feature_set
        if (tracklets < 0).any():
            row = int((tracklets < 0).nonzero()[0])
            raise ScoringError(f'{paths[row]} is in no tracklet, but other images are')
        feature_set.protocol['images_in_tracklets'] = size
        return feature_set.average_tracklets(tracklets)

    def _agree(self) -> tuple[dict[str, int], int, str | None]:
        """The features' widths, the largest number of images of a process, and the protocol."""
        heads = all_gather_object((self._widths, len(self._paths), self._feature_protocol))
        known = [head for head in heads if head[1]]
        if not known:
            raise ScoringError('no sample was processed: the test set is empty')
        widths = known[0][0]
        for other, _, _ in known:
            if list(other.items()) != list(widths.items()):
                raise ScoringError(f'processes have different features: {widths} and {other}')
        return widths, max(count for _, count, _ in known), known[0][2]


def _gather(rows: Tensor) -> list[Tensor]:
    """Rows of all processes, which may differ in number, as tensors on the CPU."""
    counts = [int(count) for count in all_gather(torch.tensor([len(rows)]))]
    padded = torch.cat([rows, rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])])
    return [part[:count].cpu() for part, count in zip(all_gather(padded), counts, strict=True)]


def raise_together(problem: str | None) -> None:
    """Raise the first problem of any process in all of them, so that none waits for another.

    Args:
        problem: What is wrong in this process; None for nothing.

    Raises:
        ScoringError: Something is wrong in some process.
    """
    for found in all_gather_object(problem):
        if found:
            raise ScoringError(found)


def _blocks_of(features: deque[Tensor], step: int) -> Iterator[Tensor]:
    """Blocks of ``step`` rows; what was taken out of ``features`` can be freed."""
    rows: list[Tensor] = []
    count = 0
    while features:
        rows.append(features.popleft())
        count += len(rows[-1])
        while count >= step:
            block = torch.cat(rows)
            yield block[:step]
            rows, count = [block[step:]], count - step
    if count:
        yield torch.cat(rows)
