"""The features of a test set as one object that can be saved, scored and drawn."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fusionreid.errors import FeaturesNotFoundError, ScoringError, UnknownFeatureError
from fusionreid.utils.files import atomic_path, open_atomic, save_tensors

from .functional.unit_rows import unit_rows_
from .scoring_errors import scoring_errors

ALL = 'all'
ROLES = ('query', 'gallery')
FEATURES_FILE = 'features.safetensors'
COLUMNS = ('path', 'person_id', 'camera_id', 'role')
TABLE_NAME = re.compile(r'samples-[0-9a-f]{12}\.csv')


@dataclass
class FeatureSet:
    """Named features of N photos, and who and which camera they show.

    Args:
        features: (N, D) float32, not normalized; the named features side by side.
        widths: Width of each named feature, in column order; they sum up to D.
        person_ids: (N,) int64.
        camera_ids: (N,) int64; 0-based, negative when unknown.
        roles: ``'query'`` or ``'gallery'`` for each photo.
        img_paths: Image file of each photo.
        protocol: What a reader of the scores must know (``dataset_name``, ``release``, ``split``,
            ``feature_protocol``, ...); values that JSON can hold.

    Raises:
        ScoringError: Lengths that differ, an unknown role, or widths that do not fit.

    Example:
        >>> feature_set = FeatureSet(
        ...     features=torch.eye(3),
        ...     widths={'cnn': 2, 'transformer': 1},
        ...     person_ids=torch.tensor([7, 7, 8]),
        ...     camera_ids=torch.tensor([0, 1, 1]),
        ...     roles=['query', 'gallery', 'gallery'],
        ...     img_paths=['a.jpg', 'b.jpg', 'c.jpg'],
        ... )
        >>> feature_set.select('transformer').tolist()
        [[0.0], [0.0], [1.0]]
        >>> query, gallery = feature_set.split()
        >>> len(query), gallery.img_paths
        (1, ['b.jpg', 'c.jpg'])
    """

    features: Tensor
    widths: dict[str, int]
    person_ids: Tensor
    camera_ids: Tensor
    roles: Sequence[str]
    img_paths: Sequence[str]
    protocol: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles, self.img_paths = list(self.roles), list(self.img_paths)
        if self.features.dim() != 2 or self.features.dtype != torch.float32:
            raise ScoringError(
                'features must be float32 of shape (N, D), got '
                f'{self.features.dtype} of shape {tuple(self.features.shape)}'
            )
        count, width = self.features.shape
        if ALL in self.widths:
            raise ScoringError(f'{ALL!r} means all features together and cannot be the name of one')
        if sum(self.widths.values()) != width:
            raise ScoringError(f'the widths {self.widths} do not sum up to {width} columns')
        for name in ('person_ids', 'camera_ids', 'roles', 'img_paths'):
            if len(getattr(self, name)) != count:
                raise ScoringError(f'{len(getattr(self, name))} {name} for {count} features')
        for path, role in zip(self.img_paths, self.roles, strict=True):
            if role not in ROLES:
                raise ScoringError(f'{path}: role {role!r} is neither of {ROLES}')

    def __len__(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in column order."""
        return tuple(self.widths)

    def select(self, names: str | Sequence[str]) -> Tensor:
        """Select features by name, side by side.

        Args:
            names: Names of features in the order wanted; ``'all'`` means every column.

        Returns:
            (N, d) float32; a view for a single name or ``'all'``, else a copy.

        Raises:
            UnknownFeatureError: A name that the set does not hold.
        """
        if isinstance(names, str):
            names = [names]
        if list(names) in ([ALL], list(self.widths)):
            return self.features
        start, columns = 0, {}
        for name, width in self.widths.items():
            columns[name] = self.features[:, start : start + width]
            start += width
        for name in names:
            if name not in columns:
                raise UnknownFeatureError(
                    f'no feature {name!r}; the set holds {", ".join(columns)}'
                )
        picked = [columns[name] for name in names]
        return picked[0] if len(picked) == 1 else torch.cat(picked, dim=1)

    def only(self, names: Sequence[str]) -> FeatureSet:
        """Make a set of some of the features.

        Args:
            names: Names of features in the order wanted; with ``'all'`` among them, all are kept.

        Returns:
            The set of these features.

        Raises:
            UnknownFeatureError: A name that the set does not hold.
        """
        if ALL in names:
            return self
        widths = {name: self.widths.get(name, 0) for name in names}
        return dataclasses.replace(self, features=self.select(names), widths=widths)

    def rows(self, role: str) -> Tensor:
        """List the rows of the photos of one role.

        Args:
            role: ``'query'`` or ``'gallery'``.

        Returns:
            Row numbers, (n,) int64, ascending.

        Raises:
            ScoringError: Another role.
        """
        if role not in ROLES:
            raise ScoringError(f'role {role!r} is neither of {ROLES}')
        return torch.tensor([row for row, own in enumerate(self.roles) if own == role]).long()

    def query_and_gallery(self) -> tuple[Tensor, Tensor]:
        """List the rows of the queries and of the gallery, to be scored.

        Returns:
            Row numbers of both, ascending.

        Raises:
            ScoringError: One of them has no photo.
        """
        rows = {role: self.rows(role) for role in ROLES}
        for role, own in rows.items():
            if not len(own):
                raise ScoringError(
                    f'the test set has no {role} image among its {len(self)}: evaluate a split '
                    'of queries and gallery images'
                )
        return rows['query'], rows['gallery']

    def unit_rows(self, names: str | Sequence[str], rows: Tensor | None = None) -> Tensor:
        """Select features, and L2-normalize each once over the whole vector.

        Args:
            names: As for :meth:`select`.
            rows: Photos wanted, (n,) int64; None for all.

        Returns:
            (n, d) float32, a copy.

        Raises:
            UnknownFeatureError: A name that the set does not hold.
            ScoringError: A feature is zero, or holds a NaN or infinite value; the photo is named.
        """
        features = self.select(names)
        label = names if isinstance(names, str) else ' + '.join(names)
        if rows is None:
            rows = torch.arange(len(self))

        def name(row: int) -> str:
            return f'the feature {label!r} of {self.img_paths[int(rows[row])]}'

        with scoring_errors():
            return unit_rows_(features[rows.to(features.device)], name)

    def split(self) -> tuple[FeatureSet, FeatureSet]:
        """Split the set by role.

        Returns:
            The queries and the gallery as two sets, each in the order of this one.
        """
        return self._take(self.rows('query')), self._take(self.rows('gallery'))

    def _take(self, rows: Tensor) -> FeatureSet:
        return FeatureSet(
            features=self.features[rows],
            widths=dict(self.widths),
            person_ids=self.person_ids[rows],
            camera_ids=self.camera_ids[rows],
            roles=[self.roles[row] for row in rows.tolist()],
            img_paths=[self.img_paths[row] for row in rows.tolist()],
            protocol=dict(self.protocol),
        )

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write ``features.safetensors`` and a CSV of ``path,person_id,camera_id,role``.

        The CSV's name holds its checksum, and the features name the CSV they belong to. They are
        put in place last, at once: a save that is interrupted leaves an earlier one whole.

        Args:
            directory: Folder to write to; it is made if it is missing.

        Returns:
            The directory.

        Raises:
            OSError: A file cannot be written; what was saved before is still there.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        # Quoted, since a path may hold anything but a zero byte.
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator='\n')
        writer.writerow(COLUMNS)
        people, cameras = self.person_ids.tolist(), self.camera_ids.tolist()
        writer.writerows(zip(self.img_paths, people, cameras, self.roles, strict=True))
        content = text.getvalue().encode('utf-8', 'surrogateescape')
        table = f'samples-{hashlib.sha256(content).hexdigest()[:12]}.csv'
        metadata = {
            'format': 'fusionreid-features-1',
            'widths': json.dumps(self.widths),
            'protocol': json.dumps(self.protocol),
            'samples': table,
        }
        with atomic_path(directory / FEATURES_FILE) as partial:
            save_tensors(partial, {'features': self.features}, metadata)
            with open_atomic(directory / table) as file:
                file.write(content)
        for old in directory.iterdir():
            if TABLE_NAME.fullmatch(old.name) and old.name != table:
                old.unlink()
        return directory

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> FeatureSet:
        """Read what :meth:`save` wrote.

        Args:
            directory: Folder that was saved to.

        Returns:
            The set.

        Raises:
            FeaturesNotFoundError: The directory holds no saved features.
            ScoringError: A file is damaged, or not what :meth:`save` writes.
        """
        path = Path(directory) / FEATURES_FILE
        if not path.is_file():
            raise FeaturesNotFoundError(f'no saved features: {path} does not exist')
        try:
            with safe_open(path, framework='pt') as file:
                metadata = file.metadata() or {}
                features = file.get_tensor('features')
        except SafetensorError as error:
            raise ScoringError(f'{path} is damaged or not a safetensors file: {error}') from error
        known = metadata.get('format') == 'fusionreid-features-1'
        if not known or not TABLE_NAME.fullmatch(metadata.get('samples', '')):
            raise ScoringError(f'{path} was not written by FeatureSet.save')
        table = path.parent / metadata['samples']
        content = table.read_bytes()
        if hashlib.sha256(content).hexdigest()[:12] not in metadata['samples']:
            raise ScoringError(f'{table} was changed after it was saved: its checksum differs')
        text = io.StringIO(content.decode('utf-8', 'surrogateescape'), newline='')
        samples = list(csv.DictReader(text))
        return cls(
            features=features,
            widths=json.loads(metadata['widths']),
            person_ids=torch.tensor([int(row['person_id']) for row in samples]).long(),
            camera_ids=torch.tensor([int(row['camera_id']) for row in samples]).long(),
            roles=[row['role'] for row in samples],
            img_paths=[row['path'] for row in samples],
            protocol=json.loads(metadata['protocol']),
        )
