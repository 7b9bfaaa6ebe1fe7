import pytest
import torch
from torch.nn.functional import normalize

from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.feature_comparison import (
    compare_features,
    headline_scores,
    weigh_features,
)
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.evaluation.metrics.score_table import describe_protocol


def make_set(features: dict[str, torch.Tensor], cameras: list[int] | None = None) -> FeatureSet:
    """Half queries, half gallery; the images of either half show persons 0, 1, 2, ..."""
    count = len(next(iter(features.values())))
    people = torch.arange(count) % (count // 2)
    return FeatureSet(
        features=torch.cat(list(features.values()), dim=1).float(),
        widths={name: block.shape[1] for name, block in features.items()},
        person_ids=people,
        camera_ids=torch.tensor(cameras or [0] * (count // 2) + [1] * (count // 2)),
        roles=['query'] * (count // 2) + ['gallery'] * (count // 2),
        img_paths=[f'{row}.jpg' for row in range(count)],
    )


def noisy_people(noise: float, people: int = 30, width: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    looks = torch.randn(people, width, generator=generator).repeat(2, 1)
    return looks + noise * torch.randn(2 * people, width, generator=generator)


def test_every_feature_and_all_score_as_in_the_metric():
    features = make_set({'cnn': noisy_people(0.8), 'transformer': noisy_people(1.5, seed=1)})
    results = compare_features(features)
    scores = ReIDMetric().compute_metrics(features)
    assert list(results) == ['cnn', 'transformer', 'all', 'all_each_normalized']
    for name, start in (('cnn', 'cnn.'), ('transformer', 'transformer.'), ('all', '')):
        ours = headline_scores(results[name])
        assert list(ours) == ['mAP', 'Rank-1', 'mINP']
        assert list(ours.values()) == pytest.approx(
            [scores[f'{start}{key}'] for key in ('mAP', 'rank1', 'mINP')]
        )


def test_normalized_one_by_one_is_the_metric_of_normalized_features():
    loud, quiet = 1000 * noisy_people(3.0), noisy_people(0.5, seed=1)
    results = compare_features(make_set({'loud': loud, 'quiet': quiet}))
    by_hand = compare_features(make_set({'loud': normalize(loud), 'quiet': normalize(quiet)}))
    assert results['all_each_normalized'].mAP == pytest.approx(by_hand['all'].mAP)
    # The louder one alone decides where the vector is normalized once.
    assert results['all'].mAP == pytest.approx(results['loud'].mAP, abs=1e-3)
    assert results['all_each_normalized'].mAP > results['all'].mAP + 0.1


def test_loudness_changes_the_concatenation_normalized_once_alone():
    blocks = {'a': noisy_people(2.0), 'b': noisy_people(0.7, seed=1)}
    before = compare_features(make_set(blocks))
    after = compare_features(make_set({'a': 50 * blocks['a'], 'b': blocks['b']}))
    for name in ('a', 'b', 'all_each_normalized'):
        assert after[name].mAP == pytest.approx(before[name].mAP, abs=1e-6)
    assert after['all'].mAP < before['all'].mAP


def test_weights_are_shares_of_the_squared_length():
    features = make_set({'a': 3 * torch.eye(4), 'b': 4 * torch.eye(4), 'c': torch.zeros(4, 2)})
    assert weigh_features(features) == pytest.approx({'a': 9 / 25, 'b': 16 / 25, 'c': 0})


def test_a_single_feature_has_no_concatenation():
    assert list(compare_features(make_set({'cnn': noisy_people(1.0)}))) == ['cnn']


def test_same_camera():
    features = make_set({'cnn': noisy_people(0.0)}, cameras=[0] * 60)
    with pytest.raises(ValueError, match='remove_same_camera'):
        compare_features(features)
    assert compare_features(features, remove_same_camera=False)['cnn'].mAP == 1


@pytest.mark.parametrize('role', ['query', 'gallery'])
def test_a_missing_role_is_named(role):
    features = make_set({'cnn': noisy_people(1.0)})
    features.roles = ['gallery' if role == 'query' else 'query'] * len(features)
    with pytest.raises(ValueError, match=f'no {role} image among its 60'):
        compare_features(features)


def test_distractors_are_named_only_where_there_are_some():
    features = make_set({'cnn': torch.rand(6, 2)})
    assert 'gallery 3 images of 3 ids, same-camera' in describe_protocol(features, True)
    features.person_ids[-1] = 9
    text = describe_protocol(features, True)
    assert 'gallery 3 images of 3 ids (distractors included), same-camera' in text
