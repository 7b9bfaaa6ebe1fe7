"""What the engines share that keep everything in the memory of this process."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionreid.errors import GalleryError
from fusionreid.utils.device import find_device
from fusionreid.utils.feature_files import (
    check_regular,
    read_features,
    read_table,
    write_features,
    write_table,
)
from fusionreid.utils.files import write_durably

from ..filter import GalleryFilter
from ..items import Items, ItemTable
from ..metadata import Metadata, check_metadata
from .base import Hits, SearchEngine
from .feature_rows import BLOCK_ROWS, FeatureRows

FEATURES_FILE = 'features.safetensors'
ITEMS_FILE = 'items.csv'
# Of items that have metadata; otherwise there is no such file.
METADATA_FILE = 'metadata.jsonl'
COLUMNS = dict(item_id=str, path=str, person_id=int, camera_id=int)


class LocalEngine(SearchEngine):
    """Items and features in the memory of this process.

    The features of a gallery that was read from disk are mapped, not read: they take memory only
    where they are used.

    Args:
        device: Where the features are kept.
    """

    def __init__(self, device: str | torch.device = 'cpu') -> None:
        self.device = find_device(device)
        self.table = ItemTable()
        self._rows = FeatureRows(0)

    def open(self, width: int, label: str) -> None:
        """Begin an empty storage; the label is not kept."""
        self._rows = FeatureRows(width, device=self.device)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def width(self) -> int:
        """Width D of the features."""
        return self._rows.width

    @property
    def features(self) -> Tensor:
        """The features (N, D), in the order of their arrival."""
        return self._rows.first(len(self.table))

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are in memory."""
        return {item_id for item_id in ids if item_id in self.table}

    def add(self, items: Items, features: Tensor) -> None:
        """Append items and features, which are copied to the device of the engine."""
        self._rows.put(len(self.table), features)
        self.table.append(items)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items and close the gaps that they leave."""
        keep = np.ones(len(self.table), dtype=bool)
        keep[self.table.rows(ids)] = False
        self._keep(keep)
        self.table.keep(keep)

    def _keep(self, keep: np.ndarray) -> None:
        """Close the gaps where the mask ``keep`` (N,) is False."""
        self._rows.keep(keep)

    def search(self, queries: Tensor, k: int, wanted: GalleryFilter) -> Hits:
        """Find the nearest items among those that pass the filter, as many for every query."""
        mask = self.table.mask(wanted)
        k = min(k, len(self.table) if mask is None else int(mask.sum()))
        if k == 0:
            empty = Items([], [], [], [])
            return Hits(empty, np.zeros(len(queries), np.int64), np.zeros(0, np.float32))
        rows, distances = self._nearest(queries.to(self.device), k, mask)
        items = self.table.items.take(rows.flatten().tolist())
        counts = np.full(len(queries), k, dtype=np.int64)
        return Hits(items, counts, distances.flatten().cpu().numpy())

    @abstractmethod
    def _nearest(self, queries: Tensor, k: int, mask: np.ndarray | None) -> tuple[Tensor, Tensor]:
        """Find rows.

        Args:
            queries: Queries (Q, D).
            k: Rows wanted, at most as many as pass.
            mask: Which rows pass, (N,) bool; None for all.

        Returns:
            Rows and distances, (Q, k) each, nearest first.
        """

    def feature_blocks(self) -> Iterator[Tensor]:
        """All features, (rows, D) at a time, in the order of their arrival."""
        yield from self.features.split(BLOCK_ROWS)

    def item_blocks(self) -> Iterator[Items]:
        """All items, in the order of their arrival."""
        for start in range(0, len(self.table), BLOCK_ROWS):
            yield self.table.items.take(range(start, min(start + BLOCK_ROWS, len(self.table))))

    def find(self, ids: Sequence[str]) -> Items:
        """Those items that have one of the ids."""
        return self.table.items.take(self.table.rows(ids))

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Identities and cameras of all items, in the order of their arrival."""
        return self.table.person_ids, self.table.camera_ids

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features of some items."""
        rows = torch.tensor(self.table.rows(ids), dtype=torch.int64)
        return self.features[rows.to(self.device)]

    def write(self, folder: Path) -> None:
        """Write features and items as files."""
        items = self.table.items
        columns = (items.ids, items.paths, items.person_ids, items.camera_ids)
        write_table(folder / ITEMS_FILE, dict(zip(COLUMNS, columns, strict=True)))
        if any(items.metadata):
            lines = (json.dumps(metadata, ensure_ascii=False) for metadata in items.metadata)
            write_durably(folder / METADATA_FILE, ''.join(f'{line}\n' for line in lines).encode())
        self._write_features(folder)

    def _write_features(self, folder: Path) -> None:
        write_features(folder / FEATURES_FILE, self.features)

    def read(self, folder: Path, width: int, label: str) -> None:
        """Map the features of a folder and read its items; the label is not kept."""
        columns = read_table(folder / ITEMS_FILE, COLUMNS, GalleryError)
        items = Items(*columns.values())
        if (folder / METADATA_FILE).exists():
            items = replace(items, metadata=_read_metadata(folder / METADATA_FILE, len(items)))
        if len(set(items.ids)) < len(items):
            raise GalleryError(f'{folder / ITEMS_FILE} holds an item_id twice')
        self._read_features(folder, len(items), width)
        self.table.append(items)

    def _read_features(self, folder: Path, count: int, width: int) -> None:
        """Map the features of ``count`` items."""
        path = folder / FEATURES_FILE
        features = read_features(path, count, width, GalleryError, normalized=True)
        self._rows = FeatureRows(width, device=self.device, stored=features)


def _read_metadata(path: Path, count: int) -> list[Metadata]:
    """Read the metadata of ``count`` items, an object of JSON on each line."""
    check_regular(path, GalleryError)
    try:
        # Not splitlines, which also parts at U+2028.
        lines = path.read_text('utf-8').split('\n')[:-1]
        return check_metadata([json.loads(line) for line in lines], count)
    except (ValueError, RecursionError) as error:
        raise GalleryError(f'{path} is damaged: {error}') from error
