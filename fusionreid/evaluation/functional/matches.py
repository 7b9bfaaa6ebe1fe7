"""Decides which gallery images are matches of a query, and which the protocol removes.

Matches are looked up by identity, without a mask of queries x gallery.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .validation import label_pair


class SameIdentity(NamedTuple):
    """The gallery entries that show the identity of each of R queries, padded to W entries.

    Attributes:
        columns: Gallery indices, (R, W) int64; 0 in the padding.
        exists: True where ``columns`` holds an entry, (R, W).
        match: True where the entry counts as a match; existing entries that do not match are
            junk, (R, W).
    """

    columns: Tensor
    exists: Tensor
    match: Tensor


def same_known(query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """Tell where a gallery image was taken by the query's camera, or shows the query's clothes.

    Args:
        query_labels: Cameras or clothes, integers of a shape that broadcasts with
            ``gallery_labels``; a negative one is unknown, and never the same.
        gallery_labels: Integers.

    Returns:
        Mask of the broadcast shape.

    Example:
        >>> same_known(torch.tensor([[0], [-1]]), torch.tensor([0, 1, -1]))
        tensor([[ True, False, False],
                [False, False, False]])
    """
    return (query_labels == gallery_labels).logical_and_(query_labels >= 0)


class MatchTable:
    """Looks up the gallery entries of a query's identity.

    An entry of the query's identity is *junk* when it was taken by the query's camera and
    same-camera removal is on, or when it shows the query's clothes and same-clothes removal is on;
    it is a *match* otherwise. A negative number means that the camera, or the clothes, are unknown:
    they are never the same.

    Args:
        query_ids: (q,) int64.
        gallery_ids: (g,) int64.
        query_cameras: (q,) int64, or None to keep entries of the same camera.
        gallery_cameras: (g,) int64, or None likewise.
        query_clothes: (q,) int64, or None to keep entries in the same clothes.
        gallery_clothes: (g,) int64, or None likewise.
    """

    def __init__(
        self,
        query_ids: Tensor,
        gallery_ids: Tensor,
        query_cameras: Tensor | None,
        gallery_cameras: Tensor | None,
        query_clothes: Tensor | None = None,
        gallery_clothes: Tensor | None = None,
    ) -> None:
        self.query_ids = query_ids
        self.gallery_ids = gallery_ids
        self.query_cameras = query_cameras
        self.gallery_cameras = gallery_cameras
        self.query_clothes = query_clothes
        self.gallery_clothes = gallery_clothes
        sorted_ids, self._order = gallery_ids.sort(stable=True)
        self._start = torch.searchsorted(sorted_ids, query_ids)
        self._length = torch.searchsorted(sorted_ids, query_ids, right=True) - self._start
        # The widest query decides how much memory the padded tables take.
        self.width = int(self._length.max()) if len(query_ids) else 0

    def lookup(self, rows: slice) -> SameIdentity:
        """Look up the gallery entries of some queries' identities.

        Args:
            rows: The R queries.

        Returns:
            The entries, and which of them are matches.
        """
        start, length = self._start[rows], self._length[rows]
        width = max(int(length.max()), 1)
        offset = torch.arange(width, device=start.device)
        exists = offset < length[:, None]
        position = torch.where(exists, start[:, None] + offset, 0)
        columns = torch.where(exists, self._order[position], 0)
        match = exists
        if self.query_cameras is not None and self.gallery_cameras is not None:
            cameras = self.query_cameras[rows, None]
            match = exists & ~same_known(cameras, self.gallery_cameras[columns])
        if self.query_clothes is not None and self.gallery_clothes is not None:
            clothes = self.query_clothes[rows, None]
            match = match & ~same_known(clothes, self.gallery_clothes[columns])
        return SameIdentity(columns, exists, match)

    def entries(self, queries: Tensor) -> Tensor:
        """List the gallery entries of a few queries' identities.

        Args:
            queries: Query indices, (S,).

        Returns:
            Gallery indices of all of them, (P,) int64.
        """
        spans = zip(self._start[queries].tolist(), self._length[queries].tolist(), strict=True)
        return torch.cat([self._order[start : start + length] for start, length in spans])


def match_table(
    query_ids: Any,
    gallery_ids: Any,
    query_cameras: Any,
    gallery_cameras: Any,
    counts: tuple[int, int],
    device: torch.device,
    remove_same_camera: bool,
    query_clothes: Any = None,
    gallery_clothes: Any = None,
) -> MatchTable:
    """Check labels, and make the table of who matches whom.

    Args:
        query_ids: (q,) integers.
        gallery_ids: (g,) integers.
        query_cameras: (q,) integers.
        gallery_cameras: (g,) integers.
        counts: q and g.
        device: Where the table lives.
        remove_same_camera: Whether entries of the query's identity and camera are junk.
        query_clothes: (q,) integers; None to keep entries of the query's identity and clothes.
        gallery_clothes: (g,) integers, or None likewise.

    Returns:
        The table.

    Raises:
        TypeError: The labels are not integers.
        ScoringInputError: They are missing, or of the wrong length.
    """
    ids = label_pair(query_ids, gallery_ids, counts, 'ids', device)
    junk: list[Tensor | None] = [None] * 4
    if remove_same_camera:
        junk[:2] = label_pair(query_cameras, gallery_cameras, counts, 'cameras', device)
    if query_clothes is not None or gallery_clothes is not None:
        junk[2:] = label_pair(query_clothes, gallery_clothes, counts, 'clothes', device)
    return MatchTable(*ids, *junk)
