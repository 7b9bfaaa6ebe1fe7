"""Checks the features and labels that enter the scoring functions; each fault has one error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import ScoringInputError
from .ties import TIES

# Rows whose norm is computed at once; bounds the float64 temporaries.
NORM_ROWS = 512
FLOAT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def feature_norms(features: Tensor, owner: str) -> Tensor:
    """Euclidean norm of every feature, in float64, after checking the features.

    Args:
        features: Shape (n, d), float16, bfloat16, float32 or float64.
        owner: What the features belong to (``'query'``, ``'gallery'``), named in errors.

    Returns:
        Norms of shape (n,), float64.

    Raises:
        TypeError: ``features`` is not a floating point tensor.
        ScoringInputError: Wrong number of dimensions, no feature at all, or one that is zero or
            holds a NaN or infinite value.
    """
    if not isinstance(features, Tensor) or features.dtype not in FLOAT_DTYPES:
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f'{owner} features must be a floating point tensor, got {kind}')
    if features.dim() != 2:
        raise ScoringInputError(
            f'{owner} features must have shape (n, d), got {tuple(features.shape)}; '
            'flatten each feature to one row'
        )
    if features.shape[0] == 0:
        raise ScoringInputError(f'there are no {owner} features: nothing can be ranked')
    if features.shape[1] == 0:
        raise ScoringInputError(f'{owner} features have width 0')
    parts = [torch.linalg.vector_norm(part.double(), dim=1) for part in features.split(NORM_ROWS)]
    norms = torch.cat(parts)
    if problem := unusable_feature(norms, lambda row: f'{owner} feature {row}'):
        raise ScoringInputError(problem)
    return norms


def unusable_feature(sizes: Tensor, name: Callable[[int], str]) -> str | None:
    """Find a feature that cannot be compared: a zero has no direction, a NaN no distance.

    Args:
        sizes: Norm, or largest absolute value, of each feature, (n,).
        name: Names a feature by its row.

    Returns:
        What is wrong with the first one, None if all are usable.

    Example:
        >>> print(unusable_feature(torch.tensor([1.0, 0.0]), 'the feature of {}.jpg'.format))
        the feature of 1.jpg is zero (1 of 2 are): the model has collapsed or diverged, or its \
weights or a saved file are damaged; take other weights, or leave the photo out
    """
    zero, broken = sizes == 0, ~sizes.isfinite()
    bad = (zero | broken).nonzero().flatten()
    if not len(bad):
        return None
    row = int(bad[0])
    alike, fault, verb = (zero, 'is zero', 'are')
    if broken[row]:
        alike, fault, verb = (broken, 'holds a NaN or infinite value', 'do')
    return (
        f'{name(row)} {fault} ({int(alike.sum())} of {len(sizes)} {verb}): the model has collapsed '
        'or diverged, or its weights or a saved file are damaged; take other weights, or leave the '
        'photo out'
    )


def check_pair(query_features: Tensor, gallery_features: Tensor) -> None:
    """Check that query and gallery features can be compared.

    Args:
        query_features: (q, d).
        gallery_features: (g, d).

    Raises:
        ScoringInputError: Widths or devices differ.
    """
    if query_features.shape[1] != gallery_features.shape[1]:
        raise ScoringInputError(
            f'query features have width {query_features.shape[1]} but gallery features have '
            f'{gallery_features.shape[1]}: they come from different models or feature lists'
        )
    if query_features.device != gallery_features.device:
        raise ScoringInputError(
            f'query features are on {query_features.device} but gallery features on '
            f'{gallery_features.device}: move one of them'
        )


def check_max_rank(max_rank: int) -> None:
    """Check the length of a CMC curve.

    Args:
        max_rank: The length.

    Raises:
        ScoringInputError: It is no whole number from 1 on.
    """
    if not isinstance(max_rank, int) or max_rank < 1:
        raise ScoringInputError(f'max_rank must be a whole number from 1 on, got {max_rank!r}')


def check_ties(ties: str) -> None:
    """Check how ties are scored.

    Args:
        ties: ``'order'`` or ``'expected'``.

    Raises:
        ScoringInputError: Something else.
    """
    if ties not in TIES:
        raise ScoringInputError(f"ties must be 'order' or 'expected', got {ties!r}")


def as_labels(
    labels: Tensor | Sequence[int] | Any, count: int, name: str, device: torch.device
) -> Tensor:
    """Turn identity or camera numbers into an int64 tensor of the expected length.

    Args:
        labels: Integers; a tensor, a sequence or a NumPy array.
        count: Expected length.
        name: Argument name for errors.
        device: Where the result lives.

    Returns:
        Tensor of shape (count,), int64.

    Raises:
        TypeError: The labels are not integers.
        ScoringInputError: Wrong length or number of dimensions.
    """
    if labels is None:
        hint = (
            ' to remove same-camera matches; for a data set without cameras pass '
            'remove_same_camera=False'
        )
        raise ScoringInputError(f'{name} are needed{hint if "camera" in name else ""}')
    try:
        labels = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f'{name} must be integers, got {labels!r:.60}') from error
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f'{name} must be integers, got {labels.dtype}')
    if labels.shape != (count,):
        raise ScoringInputError(f'{name} have shape {tuple(labels.shape)}, expected ({count},)')
    return labels.to(device=device, dtype=torch.int64).contiguous()


def label_pair(
    query_labels: Any, gallery_labels: Any, counts: tuple[int, int], kind: str, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Turn the labels of queries and of the gallery into int64 tensors of the expected lengths.

    Args:
        query_labels: Integers, as for :func:`as_labels`.
        gallery_labels: Integers likewise.
        counts: Number of queries and of gallery entries.
        kind: What they are, ``'ids'``, ``'cameras'`` or ``'clothes'``, named in errors.
        device: Where the results live.

    Returns:
        Tensors of shapes (q,) and (g,), int64.

    Raises:
        TypeError: The labels are not integers.
        ScoringInputError: They are missing, or of the wrong length.

    Example:
        >>> label_pair([7], [7, 8], (1, 2), 'ids', torch.device('cpu'))
        (tensor([7]), tensor([7, 8]))
    """
    return (
        as_labels(query_labels, counts[0], f'query_{kind}', device),
        as_labels(gallery_labels, counts[1], f'gallery_{kind}', device),
    )
