"""The interface that every engine has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..filter import GalleryFilter
from ..items import Items


@dataclass(frozen=True)
class Hits:
    """The items found for Q queries, nearest first, and how far away they are.

    Attributes:
        items: Found items of all queries, one after the other.
        counts: How many of them belong to each query, (Q,) int64.
        distances: Their Euclidean distances, (sum of counts,) float32.
    """

    items: Items
    counts: np.ndarray
    distances: np.ndarray


class SearchEngine(ABC):
    """Keeps features with their items and finds the nearest ones.

    Input is checked by :class:`~fusionreid.gallery.Gallery`: ids are new or known as the method
    needs, features are L2-normalized float32 of the right width, k is within the gallery.

    An engine of one's own is registered by ``@SEARCH_ENGINES.register_module(name)`` and then
    chosen by that name. The arguments of its constructor are its settings; those with a type are
    checked against it.

    Attributes:
        name: The name that the engine is registered by.
    """

    name: ClassVar[str]

    @abstractmethod
    def open(self, width: int, label: str) -> None:
        """Get ready for features.

        Args:
            width: Width D of the features.
            label: One line that says what the features are.

        Raises:
            GalleryError: If the engine already holds features of another width or kind.
        """

    def attach(self) -> int | None:
        """Take over what the engine kept from before, wherever it keeps it.

        Returns:
            Width of the features that are there, None if there are none.

        Raises:
            GalleryError: If there is something else.
        """
        return None

    @property
    def names(self) -> tuple[MutableMapping[int, str], MutableMapping[int, str]] | None:
        """Names of people and of cameras by number, of an engine that keeps them itself.

        They are entered before the items that have them are added. None leaves them to the gallery.
        """
        return None

    @property
    def place(self) -> object | None:
        """Where a gallery of this engine is loaded from, if the engine keeps all of it itself."""
        return None

    def record(self) -> dict[str, Any] | None:
        """What :meth:`keep` was given; None if there is nothing, or the engine keeps none of it."""
        return None

    def keep(self, record: dict[str, Any]) -> None:  # noqa: B027 most keep nothing themselves
        """Keep what the gallery knows besides its items, if the engine keeps all of it itself.

        Args:
            record: As JSON can hold it; what it lacks stays as it is.
        """

    def settle(self) -> None:  # noqa: B027 most leave nothing
        """Do what many additions at once leave for their end, such as building an index."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again, as JSON can hold them."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    def recent_size(self) -> int:
        """Number of items, where counting takes long a number of some seconds ago."""
        return len(self)

    @abstractmethod
    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that the engine holds."""

    @abstractmethod
    def add(self, items: Items, features: Tensor) -> None:
        """Add items with their features.

        Args:
            items: N items, whose ids the engine does not hold yet.
            features: Their features (N, D), L2-normalized float32, on any device.

        Raises:
            GalleryError: If the engine cannot hold them.
        """

    def replace(self, items: Items, features: Tensor) -> None:
        """Add items, in place of those that have the same ids.

        Args:
            items: N items.
            features: Their features (N, D), L2-normalized float32, on any device.

        Raises:
            GalleryError: If the engine cannot hold them.
        """
        if known := self.known(items.ids):
            self.remove(sorted(known))
        self.add(items, features)

    def as_stored(self, features: Tensor) -> Tensor:
        """What the engine gives back for features: others if it keeps them less precisely.

        Args:
            features: (N, D) float32.

        Returns:
            (N, D) float32.
        """
        return features

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None:
        """Remove items."""

    def purge(self) -> list[str]:
        """Leave nothing of removed items behind, in what was learned from them or in files.

        Returns:
            Where something may be left and what to do about it, a phrase each.

        Raises:
            GalleryError: If what must stay cannot be kept.
        """
        return []

    @abstractmethod
    def search(self, queries: Tensor, k: int, wanted: GalleryFilter) -> Hits:
        """Find the nearest items for each query.

        Args:
            queries: Features (Q, D), L2-normalized float32, on any device.
            k: Items wanted for each query, at least 1.
            wanted: Which items may be found.

        Returns:
            Up to k items for each query, nearest first; fewer only where no more pass the filter.

        Raises:
            GalleryError: If the engine cannot give so many.
        """

    @abstractmethod
    def feature_blocks(self) -> Iterator[Tensor]:
        """All features, (rows, D) at a time, in an order that stays the same."""

    def blocks(self) -> Iterator[tuple[Items, Tensor]]:
        """All items with their features, some at a time."""
        yield from zip(self.item_blocks(), self.feature_blocks(), strict=True)

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Identities and 0-based cameras of all items, in the order of the features.

        Returns:
            (N,) int64 each, -1 where unknown.
        """
        people: list[int] = []
        cameras: list[int] = []
        for items in self.item_blocks():
            people += items.person_ids
            cameras += items.camera_ids
        return np.array(people, dtype=np.int64), np.array(cameras, dtype=np.int64)

    def features_of(self, ids: Sequence[str]) -> Tensor:
        """Features of some items.

        Args:
            ids: Items that the engine holds.

        Returns:
            (len(ids), D) float32.
        """
        wanted = {item_id: place for place, item_id in enumerate(ids)}
        found: dict[int, Tensor] = {}
        for items, features in self.blocks():
            for row, item_id in enumerate(items.ids):
                if item_id in wanted:
                    found[wanted[item_id]] = features[row].cpu()
        return torch.stack([found[place] for place in range(len(ids))])

    @abstractmethod
    def item_blocks(self) -> Iterator[Items]:
        """All items, some at a time: those of :meth:`feature_blocks`, in the same order."""

    @abstractmethod
    def find(self, ids: Sequence[str]) -> Items:
        """Those items that have one of the ids, in any order."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write what must be kept into an empty folder; every file is on the disk afterwards."""

    @abstractmethod
    def read(self, folder: Path, width: int, label: str) -> None:
        """Read what :meth:`write` wrote, in place of :meth:`open`.

        Args:
            folder: The folder that was written.
            width: Width D of the features.
            label: One line that says what the features are.

        Raises:
            GalleryError: If something in the folder is damaged, or does not fit the arguments.
        """
