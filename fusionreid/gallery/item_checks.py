"""What may come into a gallery or be searched for, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor

from fusionreid.apis.feature_spec import FeatureSpec
from fusionreid.errors import GalleryError
from fusionreid.evaluation.functional.validation import unusable_feature
from fusionreid.utils.feature_files import check_text
from fusionreid.utils.integers import UNKNOWN

from .items import Items
from .metadata import check_metadata
from .names import Label, number_labels

Features = Tensor | np.ndarray
# Features that are looked at once.
CHECKED_ROWS = 8192


class NamedItems(NamedTuple):
    """Items with names.

    Attributes:
        items: The items.
        person_names: What numbers of identities stand for.
        camera_names: What numbers of cameras stand for.
    """

    items: Items
    person_names: dict[int, str]
    camera_names: dict[int, str]


def check_features(features: Features, name: str, spec: FeatureSpec | None) -> Tensor:
    """Check features.

    Args:
        features: (N, D) or (D,), any float type.
        name: What a message calls them.
        spec: What the features of the gallery are; None if it has none.

    Returns:
        The features (N, D).

    Raises:
        GalleryError: If they are of another shape, type or width, or one is unusable.
    """
    try:
        rows = torch.as_tensor(features).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise GalleryError(f'{name} must be floats of shape (N, D): {error}') from error
    if rows.dim() == 1:
        rows = rows[None]
    if rows.dim() != 2 or not rows.is_floating_point() or 0 in rows.shape:
        raise GalleryError(
            f'{name} must be floats of shape (N, D), got {rows.dtype} of shape {tuple(rows.shape)}'
        )
    if spec is not None and rows.shape[1] != spec.width:
        raise GalleryError(
            f'{name} have width {rows.shape[1]}, the gallery has features of width '
            f'{spec.width} ({spec.feature}): they are of different models'
        )
    largest = torch.cat([part.abs().amax(dim=1) for part in rows.split(CHECKED_ROWS)])
    if problem := unusable_feature(largest, lambda row: f'row {row} of the {name}'):
        raise GalleryError(problem)
    return rows


def check_items(
    count: int,
    ids: Sequence[str | int] | None,
    paths: Sequence[str | Path] | None,
    person_ids: Sequence[Label] | None,
    camera_ids: Sequence[Label] | None,
    metadata: Sequence[Mapping[str, Any] | None] | None,
) -> NamedItems:
    """Check what is said about items that are to be added.

    Args:
        count: Number of items.
        ids: Their ids; None takes the paths.
        paths: Their image files; None for none.
        person_ids: Their identities; None for all unknown.
        camera_ids: Their cameras; None for all unknown.
        metadata: What else is known about each; None for nothing.

    Returns:
        The items, and the names that their numbers stand for.

    Raises:
        GalleryError: If the lengths differ, an id is missing or given twice, or something cannot
            be kept.
    """
    given = dict(ids=ids, paths=paths, person_ids=person_ids, camera_ids=camera_ids)
    for name, column in given.items():
        if column is None:
            continue
        if isinstance(column, str) or not hasattr(column, '__len__'):
            raise GalleryError(f'{name} must be a sequence, got {type(column).__name__}')
        if len(column) != count:
            raise GalleryError(f'got {len(column)} {name} for {count} items')
    texts = [''] * count if paths is None else [as_path(path) for path in paths]
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
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not name:
            raise GalleryError(
                f'item {row} has neither an id nor a path: give ids of arrays and features'
            )
        if name in seen:
            raise GalleryError(f'the id {name!r} is given twice: leave one out')
        seen.add(name)
    described = check_metadata(metadata, count)
    return NamedItems(Items(names, texts, people, cameras, described), person_names, camera_names)


def query_cameras(query_camera_ids: Sequence[Label] | None, count: int) -> np.ndarray:
    """Check the cameras of queries.

    Args:
        query_camera_ids: Numbers or names; None for all unknown.
        count: Number of queries Q.

    Returns:
        Numbers (Q,), -1 where unknown.

    Raises:
        GalleryError: If they are not as many, or one is neither.
    """
    if query_camera_ids is None:
        return np.full(count, UNKNOWN, dtype=np.int64)
    cameras, _ = number_labels(query_camera_ids, 'query_camera_ids')
    if len(cameras) != count:
        raise GalleryError(f'got {len(cameras)} query_camera_ids for {count} queries')
    return np.array(cameras, dtype=np.int64)


def normalized(rows: Tensor) -> Tensor:
    """Normalize features of any size that a float can have.

    Args:
        rows: (N, D), any float type.

    Returns:
        (N, D) float32, each of length 1.
    """
    rows = rows.double()
    # The square of a large or small number is infinite or zero.
    rows = rows / rows.abs().amax(dim=1, keepdim=True)
    return (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)).float()


def are_features(queries: Any) -> TypeGuard[Features]:
    """Tell features from images: arrays of bytes are images."""
    if isinstance(queries, Tensor):
        return True
    return isinstance(queries, np.ndarray) and queries.dtype != np.uint8


def as_path(path: Any) -> str:
    """The text of a path, whatever kind it is."""
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise GalleryError(f'paths must be text or paths, got {path!r}') from error
