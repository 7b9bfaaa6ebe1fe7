"""Computes the keys that a gallery is ranked by, in blocks, and decides what counts as a tie."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from .errors import ScoringInputError
from .validation import check_pair, feature_norms

# Squared distances that agree to this fraction of their scale are a tie. It is far above the
# rounding of float64 and far below that of float32, so that ties come out the same whatever the
# order of summation.
TIE_RESOLUTION = 2.0**-40
# Squared distances below this share of their scale lose digits when they are expanded into norms
# and a product.
NEAR_SHARE = 2.0**-12
CENTER_ROWS = 1024
# Factor between the largest rounding error found on a sample of a block and the one allowed for.
ERROR_MARGIN = 8.0
SAMPLE_ROWS = 16
SAMPLE_COLUMNS = 512
TILE_BYTES = 8 << 20


def sample_bytes(width: int) -> int:
    """Estimate the memory for measuring a block's accuracy.

    Args:
        width: Near columns of each query in the sample.

    Returns:
        Bytes.
    """
    return (SAMPLE_COLUMNS + SAMPLE_ROWS * width) * SAMPLE_ROWS * 40


class GalleryKeys:
    """What ranking keys take from the gallery alone: made once for many searches.

    ``norms`` are those of the features, (g,) float64, and ``largest`` is the largest of them.

    Args:
        features: Features of shape (g, d); they must not change afterwards.

    Raises:
        TypeError: Not a floating point tensor.
        ScoringInputError: Empty, zero, or with a NaN or infinite value.
    """

    def __init__(self, features: Tensor) -> None:
        self.norms = feature_norms(features, 'gallery')
        self.features = features.detach()
        self.largest = float(self.norms.max())
        self._half: dict[torch.dtype, Tensor] = {}

    def half(self, dtype: torch.dtype) -> Tensor:
        """Compute half the squared norms, once for each type.

        Args:
            dtype: The type.

        Returns:
            (g,) of the type.
        """
        if dtype not in self._half:
            self._half[dtype] = (self.norms.square() / 2).to(dtype)
        return self._half[dtype]

    @cached_property
    def center(self) -> Tensor:
        """A point amid the gallery, (d,) float64: the median of each column over some rows.

        Distances do not change when it is subtracted, but lose no digits where all features are
        nearly the same. A median is one of the values, so that the differences are exact, and an
        outlier does not move it.
        """
        stride = max(1, len(self.features) // CENTER_ROWS)
        some = self.features[::stride]
        wide = some.dtype == torch.float64
        return some.to(torch.float64 if wide else torch.float32).median(dim=0).values.double()


class FeatureKeys:
    """Ranking keys ``|g|^2 / 2 - q.g``, which order a gallery as Euclidean distances to q do.

    A block of keys comes from one matrix product in the precision of the features (float32 for
    16-bit ones). Its rounding depends on the shape of the block, the device and the number of
    threads; :meth:`tolerance` measures it, and :meth:`precise` gives squared distances in float64
    for whatever is too close to call.

    Args:
        query: Features of shape (q, d).
        gallery: Features of shape (g, d), same device; or what was made of them before.

    Raises:
        TypeError: Not floating point tensors.
        ScoringInputError: Empty, of different width or device, zero, or with a NaN or infinite
            value.
    """

    def __init__(self, query: Tensor, gallery: Tensor | GalleryKeys) -> None:
        self.query_norms = feature_norms(query, 'query')
        known = gallery if isinstance(gallery, GalleryKeys) else GalleryKeys(gallery)
        self.gallery, self.gallery_norms = known.features, known.norms
        check_pair(query, self.gallery)
        self.query = query.detach()
        wide = torch.float64 in (query.dtype, self.gallery.dtype)
        self.dtype = torch.float64 if wide else torch.float32
        self.largest = known.largest
        ceiling = math.sqrt(torch.finfo(self.dtype).max) / 16
        largest = max(self.largest, float(self.query_norms.max()))
        if largest > ceiling:
            raise ScoringInputError(
                f'features have norms up to {largest:.3g}, '
                f'beyond what {self.dtype} can square: L2-normalize them first'
            )
        self.half = known.half(self.dtype)
        self._known = known
        self.tile_rows = max(1, TILE_BYTES // (12 * query.shape[1]))

    @property
    def tile_bytes(self) -> int:
        """Bytes of the temporaries of one tile of converted gallery features."""
        return min(self.tile_rows, len(self.gallery)) * 12 * self.query.shape[1]

    def block(self, rows: slice, out: Tensor) -> Tensor:
        """Compute the products ``q.g`` of some queries, for :meth:`finish`.

        Args:
            rows: The R queries.
            out: Where the products are written, (R, g).

        Returns:
            ``out``.
        """
        query = self.query[rows].to(self.dtype)
        if self.gallery.dtype == self.dtype:
            return torch.mm(query, self.gallery.T, out=out)
        for start in range(0, len(self.gallery), self.tile_rows):
            tile = self.gallery[start : start + self.tile_rows].to(self.dtype)
            out[:, start : start + self.tile_rows] = query @ tile.T
        return out

    def finish(self, products: Tensor) -> Tensor:
        """Turn rows of a block of products into keys, in place.

        Args:
            products: (R, g), from :meth:`block`.

        Returns:
            The keys, in the memory of ``products``.
        """
        return torch.sub(self.half, products, out=products)

    @property
    def center(self) -> Tensor:
        """A point amid the gallery, see :attr:`GalleryKeys.center`."""
        return self._known.center

    def precise(self, rows: Tensor, columns: Tensor, keys: Tensor) -> Tensor:
        """Compute squared distances in float64.

        They are rounded to ``TIE_RESOLUTION``, relative to ``(|q| + distance)^2``, or to
        themselves where they are much smaller, so that equal distances are equal numbers.

        Args:
            rows: Query indices, (S,).
            columns: Gallery indices, (C,).
            keys: The rows' keys in working precision; not needed here, see :class:`MatrixKeys`.

        Returns:
            (S, C) float64.
        """
        query = self.query[rows].double() - self.center
        squares = torch.empty(len(rows), len(columns), dtype=torch.float64, device=query.device)
        norms = torch.linalg.vector_norm(query, dim=1, keepdim=True)
        for start in range(0, len(columns), self.tile_rows):
            tile = self.gallery[columns[start : start + self.tile_rows]].double().sub_(self.center)
            part = squares[:, start : start + len(tile)]
            torch.mm(query, tile.T, out=part)
            part.mul_(-2).add_(torch.linalg.vector_norm(tile, dim=1).square_())
        squares.add_(norms.square()).clamp_min_(0)
        scale = (norms + squares.sqrt()).square_()
        round_squares(squares, scale)
        # Where the scale is 0, query and entry are both the center.
        near = torch.nonzero((squares < NEAR_SHARE * scale) & (scale > 0))
        # Half a tile each of entries and of queries.
        for row, column in (part.T for part in near.split(max(1, self.tile_rows // 2))):
            difference = self.gallery[columns[column]].double()
            exact = difference.sub_(self.query[rows[row]].double()).square_().sum(1)
            squares[row, column] = round_squares(exact, exact.clone())
        return squares

    def sample(self, rows: slice) -> Tensor:
        """Choose a few queries that stand for the accuracy of a block.

        Args:
            rows: The queries of the block.

        Returns:
            Query indices spread over ``rows``, (S,).
        """
        step = max(1, (rows.stop - rows.start) // SAMPLE_ROWS)
        return torch.arange(rows.start, rows.stop, step, device=self.query.device)[:SAMPLE_ROWS]

    def relative_error(
        self, rows: slice, products: Tensor, sample: Tensor, columns: Tensor
    ) -> float:
        """Measure the rounding error to allow for in a block.

        Args:
            rows: The queries of the block.
            products: The block as :meth:`block` left it, (R, g).
            sample: Query indices from :meth:`sample`.
            columns: Gallery indices that should be in the sample, such as near ones; others are
                added.

        Returns:
            The error relative to ``|q||g| + |g|^2 / 2``.
        """
        stride = max(1, len(self.gallery) // SAMPLE_COLUMNS)
        spread = torch.arange(0, len(self.gallery), stride, device=columns.device)
        columns = torch.cat([columns, spread[:SAMPLE_COLUMNS]]).unique()
        keys = self.half[columns] - products[sample - rows.start][:, columns]
        own = self.query_norms[sample, None]
        exact = (self.precise(sample, columns, keys) - own.square()) / 2
        error = (keys.double() - exact).abs()
        norms = self.gallery_norms[columns]
        scale = norms * (own + norms / 2)
        # A feature of zeros has exact products, and no scale.
        error = torch.where(norms > 0, error / scale.clamp_min(torch.finfo(self.dtype).tiny), 0)
        found = float(error.max())
        floor = 2 * torch.finfo(self.dtype).eps
        return min(max(ERROR_MARGIN * found, floor), 1.0)

    def tolerance(self, rows: slice, keys: Tensor, relative_error: float) -> Tensor:
        """Compute the half width of the band around each key outside which the order is certain.

        Whoever is as near to the query as an entry with key ``k`` has a norm of at most ``|q|``
        plus the distance (triangle inequality); so one entry of huge norm does not widen the
        bands of all others.

        Args:
            rows: The R queries.
            keys: Their keys to some entries, (R, W).
            relative_error: From :meth:`relative_error`.

        Returns:
            (R, W) float64.
        """
        norms = self.query_norms[rows, None]
        reach = norms + (norms.square() + 2 * keys.double()).clamp_min(0).sqrt()
        reach = (reach * 1.001).clamp_max(self.largest)
        width = 2 * relative_error * reach * (norms + reach / 2)
        # Products below the smallest normal number may be flushed to zero.
        return width + 4 * self.query.shape[1] * torch.finfo(self.dtype).tiny


def round_squares(squares: Tensor, scale: Tensor) -> Tensor:
    """Round squared distances to ``TIE_RESOLUTION`` of a scale, in place.

    Args:
        squares: Squared distances, float64.
        scale: What they are compared with, of the same shape and type.

    Returns:
        ``squares``.
    """
    scale = scale.clamp_min(torch.finfo(torch.float64).tiny)
    # A power of two, so that dividing and multiplying by it is exact. Older torch computes that of
    # torch.ldexp in float32, where it may be 0.
    quantum = scale / torch.frexp(scale).mantissa * TIE_RESOLUTION
    return squares.div_(quantum).round_().mul_(quantum)


class MatrixKeys:
    """Ranking keys that are given: rows of a distance matrix. They are exact, ties included.

    Args:
        dtype: Their type.
    """

    dtype: torch.dtype

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def precise(self, rows: Tensor, columns: Tensor, keys: Tensor) -> Tensor:
        """Take the given distances as float64.

        Args:
            rows: Query indices, (S,).
            columns: Gallery indices, (C,).
            keys: The rows of the matrix, (S, g).

        Returns:
            (S, C) float64.
        """
        return keys[:, columns].double()

    def tolerance(self, rows: slice, keys: Tensor, relative_error: float) -> Tensor:
        """Allow for no error.

        Args:
            rows: The R queries.
            keys: Their keys to some entries, (R, W).
            relative_error: Not used.

        Returns:
            Zeros like ``keys``.
        """
        return torch.zeros_like(keys)
