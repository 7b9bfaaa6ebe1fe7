"""The directions in which features differ most: principal component analysis, and whitening."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import ScoringInputError
from .validation import feature_norms

# Features whose products are summed at once.
SUMMED_ROWS = 8192
# Variance below this share of the largest is rounding, which whitening would blow up.
SMALLEST_SHARE = 1e-9


@dataclass(frozen=True)
class PrincipalComponents:
    """Directions in which features differ, the one in which they differ most first.

    Attributes:
        mean: Mean of the features, (d,) float64.
        directions: Orthonormal rows, (k, d) float64. The largest entry of each is positive.
        variances: Variance of the features along each of them, (k,) float64, descending.
        total_variance: Variance along all d directions together.
        count: Number of features.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    total_variance: float
    count: int

    @property
    def explained(self) -> float:
        """Share of the variance that the directions keep, in [0, 1]."""
        return float(self.variances.sum()) / self.total_variance


@torch.no_grad()
def fit_principal_components(blocks: Iterable[Tensor], dims: int) -> PrincipalComponents:
    """Find the directions in which features differ most, exactly and without their labels.

    Products are summed block after block in float64, so that memory for a few (d, d) matrices is
    needed, however many features there are.

    Args:
        blocks: Features, (n, d) at a time.
        dims: Number k of directions.

    Returns:
        Mean, directions and variances.

    Raises:
        TypeError: Features that are not floating point tensors.
        ScoringInputError: Features that are zero, not finite or of several widths; more directions
            than the features have, or than they differ in.

    Example:
        >>> points = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.1]])
        >>> found = fit_principal_components([points], dims=1)
        >>> found.directions.round(decimals=2).tolist(), round(found.explained, 3)
        ([[0.69, 0.72]], 1.0)
    """
    count, origin, total, products = 0, None, None, None
    for block in blocks:
        feature_norms(block, 'fitted')
        for part in block.split(SUMMED_ROWS):
            rows = part.double()
            if origin is None or total is None or products is None:
                # Products of what is far from zero would lose the digits that tell it apart.
                origin = rows.mean(dim=0)
                total = torch.zeros_like(origin)
                products = total.new_zeros(len(total), len(total))
            if rows.shape[1] != len(origin):
                raise ScoringInputError(
                    f'features of width {rows.shape[1]} among those of width {len(origin)}'
                )
            rows = rows - origin
            products.addmm_(rows.T, rows)
            total += rows.sum(dim=0)
            count += len(rows)
    if origin is None or total is None or products is None:
        raise ScoringInputError('there are no features to fit directions to')
    width, largest = len(origin), min(len(origin), count - 1)
    if not 1 <= dims <= largest:
        raise ScoringInputError(
            f'{dims} dimensions cannot be fitted to {count} features of width {width}: '
            f'take 1 to {largest}, or more features'
            if largest
            else 'one feature does not differ from itself: take more features'
        )
    shift = total / count
    covariance = products.addr_(total, shift, alpha=-1).div_(count - 1)
    values, vectors = torch.linalg.eigh(covariance)
    variances = values[-dims:].flip(0).clamp_min_(0)
    directions = vectors[:, -dims:].T.flip(0)
    whole = float(values.clamp_min(0).sum())
    if not whole or variances[-1] <= SMALLEST_SHARE * variances[0]:
        distinct = int((variances > SMALLEST_SHARE * variances[0]).sum()) if whole else 0
        raise ScoringInputError(
            f'the features differ in {distinct} directions alone, {dims} are wanted: take fewer '
            'dimensions, or other features'
        )
    place = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, place).sign()
    return PrincipalComponents(origin + shift, directions.contiguous(), variances, whole, count)


@torch.no_grad()
def principal_coordinates(
    features: Tensor, components: PrincipalComponents, whiten: bool = False
) -> Tensor:
    """Coordinates of features along principal components.

    Args:
        features: (n, d), any float type.
        components: From :func:`fit_principal_components`, on the device of the features.
        whiten: Divide each coordinate by its standard deviation, so that all count the same.

    Returns:
        (n, k) float64, not normalized.

    Raises:
        ScoringInputError: Features of another width.

    Example:
        >>> points = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.1]])
        >>> found = fit_principal_components([points], dims=1)
        >>> principal_coordinates(points, found, whiten=True).flatten().round(decimals=2).tolist()
        [-0.99, -0.02, 1.01]
    """
    if features.dim() != 2 or features.shape[1] != len(components.mean):
        raise ScoringInputError(
            f'features of shape {tuple(features.shape)} cannot be projected: the projection takes '
            f'width {len(components.mean)}'
        )
    placed = (features.double() - components.mean) @ components.directions.T
    return placed / components.variances.sqrt() if whiten else placed
