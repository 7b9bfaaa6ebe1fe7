"""Principal components, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionreid.evaluation.functional import (
    ScoringInputError,
    fit_principal_components,
    principal_coordinates,
)


def features(count: int = 300, width: int = 24, seed: int = 0) -> torch.Tensor:
    """Correlated features, far from zero."""
    random = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, -2, width)
    turned = torch.linalg.qr(torch.randn(width, width, generator=random)).Q
    return torch.randn(count, width, generator=random) * scales @ turned + 5


@pytest.mark.parametrize('whiten', [False, True])
@pytest.mark.parametrize('blocks', [1, 7, 300])
@pytest.mark.parametrize(('count', 'width', 'dims'), [(300, 24, 6), (300, 24, 24), (20, 24, 19)])
def test_the_same_as_scikit_learn(blocks, whiten, count, width, dims):
    from sklearn.decomposition import PCA

    rows = features(count, width)
    found = fit_principal_components(rows.chunk(blocks), dims)
    expected = PCA(dims, whiten=whiten, svd_solver='full').fit(rows.double().numpy())
    np.testing.assert_allclose(found.mean, expected.mean_, rtol=1e-9)
    np.testing.assert_allclose(found.variances, expected.explained_variance_, rtol=1e-6)
    assert found.explained == pytest.approx(expected.explained_variance_ratio_.sum(), rel=1e-9)
    ours = principal_coordinates(rows, found, whiten).numpy()
    theirs = expected.transform(rows.double().numpy())
    signs = np.sign((ours * theirs).sum(0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-6 * np.abs(theirs).max())


def test_the_order_of_blocks_and_a_repetition_change_nothing():
    rows = features()
    first = fit_principal_components([rows], 4)
    again = fit_principal_components([rows.flip(0)[:100], rows.flip(0)[100:]], 4)
    torch.testing.assert_close(first.directions, again.directions, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ('blocks', 'dims', 'message'),
    [
        ([], 1, 'there are no features'),
        ([torch.ones(1, 3)], 1, 'take more features'),
        ([torch.eye(4)[:3]], 3, '3 dimensions cannot be fitted to 3 features of width 4'),
        ([torch.randn(9, 4)], 5, '5 dimensions cannot be fitted'),
        ([torch.randn(9, 4)], 0, '0 dimensions cannot be fitted'),
        ([torch.ones(9, 4)], 1, 'differ in 0 directions'),
        ([torch.randn(9, 1) * torch.ones(4)], 2, 'differ in 1 directions alone, 2 are wanted'),
        ([torch.randn(9, 4), torch.randn(9, 5)], 2, 'width 5 among those of width 4'),
        ([torch.full((9, 4), torch.nan)], 2, 'NaN'),
    ],
)
def test_what_cannot_be_fitted_is_refused(blocks, dims, message):
    with pytest.raises(ScoringInputError, match=message):
        fit_principal_components(blocks, dims)


def test_features_of_another_width_are_not_projected():
    found = fit_principal_components([features()], 4)
    with pytest.raises(ScoringInputError, match='takes width 24'):
        principal_coordinates(torch.ones(2, 25), found)
