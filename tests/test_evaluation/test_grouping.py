"""Photos are grouped as SciPy and scikit-learn group them, and never against what is known."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from fusionreid.errors import ScoringError
from fusionreid.evaluation.grouping import METHODS, group_features, score_groups
from fusionreid.evaluation.grouping.density import MIN_PHOTOS

each_method = pytest.mark.parametrize('method', METHODS)


def make_people(
    num_people: int, photos: int, spread: float, seed: int = 0, width: int = 16
) -> tuple[torch.Tensor, np.ndarray]:
    """Features of length 1 around a random center for each person."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.nn.functional.normalize(torch.randn(num_people, width, generator=generator))
    people = torch.arange(num_people).repeat_interleave(photos)
    noise = torch.randn(len(people), width, generator=generator) * spread / width**0.5
    order = torch.randperm(len(people), generator=generator)
    features = torch.nn.functional.normalize(centers[people] + noise)
    return features[order], people[order].numpy()


def same_groups(found: np.ndarray, expected: np.ndarray) -> bool:
    from sklearn.metrics import rand_score

    return rand_score(found, expected) == 1.0


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize(('method', 'power'), [('average', 2), ('connected', 1)])
def test_linkage_is_that_of_scipy(method, power, seed):
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    features, _ = make_people(12, 6, spread=0.9, seed=seed)
    kind = 'average' if method == 'average' else 'single'
    tree = linkage(pdist(features.double().numpy()) ** power, kind)
    for merges in (20, 45, 62, 68):
        between = tree[merges - 1 : merges + 1, 2].mean()
        found = group_features(
            features, method=method, max_distance=between ** (1 / power), neighbors=71, min_photos=1
        )
        assert found.num_people == len(features) - merges
        assert same_groups(found.people, fcluster(tree, between, 'distance'))


def test_hdbscan_is_that_of_scikit_learn():
    from scipy.spatial.distance import pdist, squareform
    from sklearn.cluster import HDBSCAN

    features, _ = make_people(10, 8, spread=0.6)
    distances = squareform(pdist(features.double().numpy()))
    expected = HDBSCAN(
        min_cluster_size=MIN_PHOTOS, min_samples=MIN_PHOTOS, metric='precomputed', copy=True
    ).fit(distances)
    found = group_features(features, method='hdbscan', neighbors=79)
    noise = expected.labels_ < 0
    assert np.array_equal(found.people < 0, noise)
    assert same_groups(found.people[~noise], expected.labels_[~noise])


@pytest.mark.parametrize('seed', range(5))
def test_scores_are_those_of_scikit_learn(seed):
    from sklearn.metrics import homogeneity_completeness_v_measure
    from sklearn.metrics.cluster import pair_confusion_matrix

    generator = np.random.default_rng(seed)
    people = generator.integers(-1, 9, 200)
    groups = np.where(generator.random(200) < 0.6, people, generator.integers(-1, 12, 200))
    scores = score_groups(groups, people)
    known = people >= 0
    alone = groups.copy()
    alone[groups < 0] = 100 + np.arange((groups < 0).sum())
    expected = homogeneity_completeness_v_measure(people[known], alone[known])
    assert (scores.homogeneity, scores.completeness, scores.v_measure) == pytest.approx(expected)
    (_, wrong), (missed, right) = pair_confusion_matrix(people[known], alone[known])
    assert scores.precision == pytest.approx(right / (right + wrong))
    assert scores.recall == pytest.approx(right / (right + missed))
    assert scores.f1 == pytest.approx(2 * right / (2 * right + wrong + missed))
    assert (scores.num_photos, scores.num_people) == (known.sum(), 9)


def test_scores_without_pairs_or_identities():
    perfect = score_groups(np.array([0, 1]), np.array([4, 5]))
    assert (perfect.v_measure, perfect.f1) == (1, 1)
    assert score_groups(np.array([0, 0]), np.array([4, 5])).f1 == 0
    with pytest.raises(ValueError, match='no identity is known'):
        score_groups(np.array([0, 1]), np.array([-1, -1]))


@each_method
def test_clear_people_are_found_without_a_distance(method):
    features, people = make_people(30, 8, spread=0.2)
    found = group_features(features, method=method)
    assert found.num_people == 30
    assert same_groups(found.people, people)
    own = torch.stack([features[found.people == each].mean(0) for each in range(30)])
    expected = (features - torch.nn.functional.normalize(own)[found.people]).norm(dim=1)
    assert np.allclose(found.distances, expected, atol=1e-6)


def test_people_are_numbered_by_their_photos_and_the_rest_is_nobody():
    angles = torch.tensor([0.0, 1.0, 1.01, 2.0, 2.01, 2.02, 3.0])
    features = torch.stack([angles.cos(), angles.sin()], dim=1) * 7
    found = group_features(features, max_distance=0.1)
    assert found.people.tolist() == [-1, 1, 1, 0, 0, 0, -1]
    assert np.isnan(found.distances).tolist() == [True, *[False] * 5, True]
    alone = group_features(features, max_distance=0.1, min_photos=1)
    assert alone.people.tolist() == [2, 1, 1, 0, 0, 0, 3]


def test_a_person_of_more_photos_than_neighbors_is_one():
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    # Each camera's photos are the nearest of each other, so that no neighbor is another camera's.
    features, tracks = make_people(2, 60, spread=0.01)
    features = torch.nn.functional.normalize(features + 4 * features[tracks == 0].mean(0))
    others, _ = make_people(20, 5, spread=0.05, seed=1)
    photos = torch.cat([features, others])
    found = group_features(photos, max_distance=0.6, neighbors=6)
    assert len(set(found.people[:120])) == 1
    assert found.people[0] not in found.people[120:]
    tree = linkage(pdist(photos.double().numpy()) ** 2, 'average')
    assert same_groups(found.people, fcluster(tree, 0.36, 'distance'))


@pytest.mark.parametrize(
    ('method', 'max_distance'),
    [
        ('average', None),
        ('average', 1.2),
        ('connected', None),
        ('connected', 1.2),
        ('hdbscan', None),
    ],
)
def test_photos_of_one_moment_are_never_one_person(method, max_distance):
    features, _ = make_people(8, 10, spread=0.8)
    generator = np.random.default_rng(0)
    moments = [None if each == 0 else f'moment {each}' for each in generator.integers(0, 30, 80)]
    found = group_features(features, method=method, max_distance=max_distance, moments=moments)
    seen = [pair for pair in zip(found.people, moments, strict=True) if None not in pair]
    seen = [pair for pair in seen if pair[0] >= 0]
    assert len(seen) == len(set(seen))
    counts = {moment: moments.count(moment) for moment in set(moments) - {None}}
    assert found.num_shared == sum(count for count in counts.values() if count > 1)
    free = group_features(features, method=method, max_distance=max_distance)
    assert free.num_shared == 0


def test_the_nearest_of_those_of_one_moment_is_taken():
    angles = torch.tensor([0.0, 0.1, 0.15])
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    for method in ('average', 'connected'):
        found = group_features(features, method=method, max_distance=1, moments=[1, 2, 1])
        assert found.people.tolist() == [-1, 0, 0]


@pytest.mark.parametrize('method', ['average', 'connected'])
def test_copies_and_few_photos(method):
    same = torch.ones(9, 4)
    assert group_features(same, method=method, max_distance=0).people.tolist() == [0] * 9
    two = group_features(torch.eye(2), method=method, max_distance=0.1, neighbors=500)
    assert two.people.tolist() == [-1, -1]
    with pytest.raises(ScoringError, match=r'9 photos are too few, or too much alike'):
        group_features(same, method=method)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'max_distance': float('nan')}, r'max_distance must be in 0\.\.2, .* got nan'),
        ({'max_distance': -1}, r'max_distance must be in 0\.\.2'),
        ({'neighbors': 0}, 'neighbors must be a whole number from 1 on, got 0'),
        ({'min_photos': 0}, 'min_photos must be a whole number from 1 on, got 0'),
        ({'method': 'kmeans'}, "method 'kmeans' is none of average, connected, hdbscan"),
        ({'moments': ['a']}, 'got 1 moments for 4 photos'),
        ({'memory_limit': 1000}, 'memory_limit=1000 bytes is too small for 3 neighbors of each'),
        ({'method': 'hdbscan', 'max_distance': 1}, 'leave max_distance out'),
        ({'method': 'hdbscan', 'neighbors': 2}, 'HDBSCAN needs at least 3 neighbors'),
    ],
)
def test_what_cannot_be_grouped_is_named(options, message):
    with pytest.raises(ScoringError, match=message):
        group_features(torch.eye(4), **options)


def test_bad_features_are_named():
    with pytest.raises(ScoringError, match='1 photo is no group'):
        group_features(torch.eye(1))
    with pytest.raises(ScoringError, match='photo feature 1 holds a NaN'):
        group_features(torch.tensor([[1.0], [float('nan')]]), max_distance=1)


def test_without_scikit_learn_the_other_methods_work(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    features, people = make_people(3, 4, spread=0.1)
    assert same_groups(group_features(features).people, people)
    with pytest.raises(ScoringError, match='HDBSCAN needs scikit-learn: pip install scikit-learn'):
        group_features(features, method='hdbscan')
