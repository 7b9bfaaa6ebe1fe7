"""The interface that every engine has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Arguments that build the engine again, as JSON can hold them."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

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

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None:
        """Remove items."""

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

    @abstractmethod
    def item_blocks(self) -> Iterator[Items]:
        """All items, some at a time: those of :meth:`feature_blocks`, in the same order."""

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
