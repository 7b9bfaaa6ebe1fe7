"""The features of a test set as one object that can be saved, scored and drawn."""

from __future__ import annotations

import dataclasses
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionreid.errors import FeaturesNotFoundError, ScoringError, UnknownFeatureError
from fusionreid.utils.feature_files import (
    check_text,
    read_features,
    read_table,
    write_features,
    write_table,
)
from fusionreid.utils.files import open_atomic
from fusionreid.utils.manifest import (
    read_manifest,
    record_files,
    recorded_size,
    seal,
    verify_files,
)
from fusionreid.utils.progress import report_bytes

from .functional import mean_of_tracklets
from .functional.unit_rows import unit_rows_
from .scoring_errors import scoring_errors

ALL = 'all'
ROLES = ('query', 'gallery')
MANIFEST = 'features.json'
FORMAT = 'fusionreid-features-2'
ADVICE = 'copy the features again from where they are whole, or extract them again'
COLUMNS = dict(path=str, person_id=int, camera_id=int, role=str)
CLOTHES = 'clothes_id'  # a further column, where clothes are known
# The names differ from save to save, so that one never touches the files of an earlier one.
OWN_NAME = re.compile(r'(features-[0-9a-f]{12}\.safetensors|samples-[0-9a-f]{12}\.csv)')
OLD_FILE = 'features.safetensors'


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
        clothes_ids: (N,) int64, negative when unknown; None where the data set tells no clothes.
        camera_names: Names of cameras by number; empty where cameras have numbers alone.

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
    clothes_ids: Tensor | None = None
    camera_names: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles, self.img_paths = list(self.roles), list(self.img_paths)
        if not isinstance(self.protocol, dict):
            raise ScoringError(f'the protocol must be a dict, got {self.protocol!r:.80}')
        if self.features.dim() != 2 or self.features.dtype != torch.float32:
            raise ScoringError(
                'features must be float32 of shape (N, D), got '
                f'{self.features.dtype} of shape {tuple(self.features.shape)}'
            )
        count, width = self.features.shape
        if ALL in self.widths:
            raise ScoringError(f'{ALL!r} means all features together and cannot be the name of one')
        if _sum_widths(self.widths) != width:
            raise ScoringError(f'the widths {self.widths} do not sum up to {width} columns')
        names = ['person_ids', 'camera_ids', 'roles', 'img_paths']
        for name in names + ['clothes_ids'] * (self.clothes_ids is not None):
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

    def title(self, folder: str | os.PathLike[str]) -> str:
        """Name the set in the title of a picture.

        Args:
            folder: Where it was saved, for a set without a known data set.

        Returns:
            The data set's name, else the folder's.
        """
        return str(self.protocol.get('dataset_name') or Path(folder).resolve().name)

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

    def divide(self, query: Tensor, gallery: Tensor) -> FeatureSet:
        """Make the set of one of several splits of a test set.

        Args:
            query: Rows of the photos that are the queries, (q,) int64.
            gallery: Rows of the photos that are the gallery, (g,) int64.

        Returns:
            The queries, then the gallery.
        """
        part = self._take(torch.cat([query, gallery]))
        part.roles = ['query'] * len(query) + ['gallery'] * len(gallery)
        return part

    def average_tracklets(self, tracklets: Tensor) -> FeatureSet:
        """Make the set of tracklets, each with the mean of its photos' features.

        Args:
            tracklets: (N,) int64, the tracklet of each photo.

        Returns:
            One row for each tracklet, with the labels and the path of its first photo.

        Raises:
            ScoringError: Photos of one tracklet differ in person, camera or role.
        """
        features, first = mean_of_tracklets(self.features, tracklets)
        part = self._take(first)
        _, group = tracklets.unique(return_inverse=True)
        own = torch.empty(len(first), dtype=torch.int64)
        own[group[first]] = first
        roles = torch.tensor([ROLES.index(role) for role in self.roles])
        labels = torch.stack([self.person_ids, self.camera_ids, roles])
        differs = (labels != labels[:, own[group]]).any(0).nonzero().flatten().tolist()
        if differs:
            row = differs[0]
            raise ScoringError(
                f'{self.img_paths[row]} is of another person, camera or role than '
                f'{self.img_paths[int(own[group[row]])]}, which is in the same tracklet'
            )
        return dataclasses.replace(part, features=features)

    def _take(self, rows: Tensor) -> FeatureSet:
        return FeatureSet(
            features=self.features[rows.to(self.features.device)],
            widths=dict(self.widths),
            person_ids=self.person_ids[rows],
            camera_ids=self.camera_ids[rows],
            roles=[self.roles[row] for row in rows.tolist()],
            img_paths=[self.img_paths[row] for row in rows.tolist()],
            protocol=dict(self.protocol),
            clothes_ids=None if self.clothes_ids is None else self.clothes_ids[rows],
            camera_names=dict(self.camera_names),
        )

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write the features, a CSV of ``path,person_id,camera_id,role``, and ``features.json``.

        The CSV has a further column, ``clothes_id``, where clothes are known.
        ``features.json`` holds names, widths and protocol, names of cameras, and the checksums of
        all. It is put in place last: a save that is interrupted leaves an earlier one whole.

        Args:
            directory: Folder to write to; it is made if it is missing.

        Returns:
            The directory.

        Raises:
            OSError: A file cannot be written; what was saved before is still there.
            ScoringError: A path cannot be saved in a CSV file.
        """
        directory = Path(directory)
        for image in self.img_paths:
            check_text(image, ScoringError)
        directory.mkdir(parents=True, exist_ok=True)
        token = uuid.uuid4().hex[:12]
        features, samples = f'features-{token}.safetensors', f'samples-{token}.csv'
        people, cameras = self.person_ids.tolist(), self.camera_ids.tolist()
        columns = dict(zip(COLUMNS, (self.img_paths, people, cameras, self.roles), strict=True))
        if self.clothes_ids is not None:
            columns[CLOTHES] = self.clothes_ids.tolist()
        manifest = directory / MANIFEST
        try:
            write_features(directory / features, self.features)
            write_table(directory / samples, columns)
            content = dict(
                format=FORMAT,
                widths=self.widths,
                protocol=self.protocol,
                camera_names=self.camera_names,
                features=features,
                samples=samples,
                clothes=self.clothes_ids is not None,
                files=record_files(directory, (features, samples)),
            )
            with open_atomic(manifest) as file:
                file.write(seal(content))
        finally:
            # The switch may have been made before an error.
            is_new = manifest.is_file() and token.encode() in manifest.read_bytes()
            for path in directory.iterdir():
                if OWN_NAME.fullmatch(path.name) and (token in path.name) != is_new:
                    path.unlink(missing_ok=True)
        return directory

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> FeatureSet:
        """Read what :meth:`save` wrote, and compare every byte with the checksums.

        Of many features a line on stderr shows the time left. To change saved features, load them,
        make a new set of what is to be kept, and save that.

        Args:
            directory: Folder that was saved to.

        Returns:
            The set.

        Raises:
            FeaturesNotFoundError: The directory holds no saved features.
            ScoringError: A file is damaged or was changed.
        """
        directory = Path(directory)
        manifest = verify_saved(directory)
        path = directory / MANIFEST
        widths, protocol = manifest.get('widths'), manifest.get('protocol')
        names = [manifest.get('features'), manifest.get('samples')]
        if not isinstance(widths, dict) or names != [*manifest['files']]:
            raise ScoringError(f'{path} was not written by FeatureSet.save: {ADVICE}')
        if not isinstance(protocol, dict):
            raise ScoringError(f'{path}: the protocol must be an object, got {protocol!r:.80}')
        named = manifest.get('camera_names', {})  # older ones have none
        try:
            camera_names = {int(number): str(name) for number, name in named.items()}
        except (AttributeError, ValueError) as error:
            raise ScoringError(f'{path}: camera_names are no names by number: {error}') from error
        try:
            width = _sum_widths(widths)
            features, samples = (directory / name for name in manifest['files'])
            clothes = {CLOTHES: int} if manifest.get('clothes') is True else {}
            columns = read_table(samples, COLUMNS | clothes, ScoringError)
            return cls(
                features=read_features(features, len(columns['path']), width, ScoringError),
                widths=widths,
                person_ids=torch.tensor(columns['person_id']).long(),
                camera_ids=torch.tensor(columns['camera_id']).long(),
                roles=columns['role'],
                img_paths=columns['path'],
                protocol=protocol,
                clothes_ids=torch.tensor(columns[CLOTHES]).long() if clothes else None,
                camera_names=camera_names,
            )
        except ScoringError as error:
            raise ScoringError(f'{directory}: {error}') from error


def _sum_widths(widths: dict[str, int]) -> int:
    for name, width in widths.items():
        if type(width) is not int or width < 1:
            raise ScoringError(
                f'the width of {name!r} must be a whole number from 1 on, got {width!r:.80}'
            )
    return sum(widths.values())


def verify_saved(directory: Path) -> dict[str, Any]:
    """Compare saved features with their checksums.

    Args:
        directory: Folder that was saved to.

    Returns:
        What ``features.json`` holds.

    Raises:
        FeaturesNotFoundError: The directory holds no saved features.
        ScoringError: A file is damaged or was changed.
    """
    path = directory / MANIFEST
    if not path.is_file():
        if (directory / OLD_FILE).is_file():
            raise FeaturesNotFoundError(
                f'{directory} holds features of an older version, without checksums: extract them '
                f'again'
            )
        raise FeaturesNotFoundError(f'no saved features: {path} does not exist')
    try:
        manifest = read_manifest(path, FORMAT, ScoringError, ADVICE)
        total = recorded_size(manifest, path, ScoringError)
        report = report_bytes(f'verifying {directory}', total)
        verify_files(directory, manifest, ScoringError, ADVICE, report)
    except OSError as error:
        raise ScoringError(f'{directory} cannot be read: {error}') from error
    return manifest
