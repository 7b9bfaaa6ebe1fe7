"""Protocols beside that of Market-1501: clothes change, several test splits, tracklets."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

from fusionreid.errors import ScoringError
from fusionreid.evaluation.feature_set import FeatureSet
from fusionreid.evaluation.functional import (
    RepeatedResult,
    ScoringInputError,
    evaluate_distances,
    evaluate_ranking,
    mean_of_tracklets,
)
from fusionreid.evaluation.metrics import ReIDMetric, reid_metric


def wardrobe(count: int = 150, seed: int = 0) -> FeatureSet:
    """Features of people in three sets of clothes, some of which are unknown (-1)."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, (count,), generator=random)
    clothes = 3 * ids + torch.randint(3, (count,), generator=random)
    clothes[torch.rand(count, generator=random) < 0.1] = -1
    return FeatureSet(
        features=torch.randn(count, 5, generator=random) + ids[:, None],
        widths={'cnn': 5},
        person_ids=ids,
        camera_ids=torch.randint(-1, 3, (count,), generator=random),
        roles=['query' if row % 5 == 0 else 'gallery' for row in range(count)],
        img_paths=[f'{row}.jpg' for row in range(count)],
        clothes_ids=clothes,
    )


def slow_scores(data: FeatureSet, clothes_too: bool, cameras_too: bool = True) -> tuple:
    """Mean AP, mean first hit and number of scored queries, one gallery image at a time."""
    features = data.unit_rows('cnn').double()
    gallery = [row for row, role in enumerate(data.roles) if role == 'gallery']
    precisions, firsts = [], []
    for query in (row for row, role in enumerate(data.roles) if role == 'query'):
        distance = {row: float((features[row] - features[query]).norm()) for row in gallery}
        place, found = 0, []
        for row in sorted(gallery, key=distance.__getitem__):
            mine = data.person_ids[row] == data.person_ids[query]
            camera, clothes = int(data.camera_ids[query]), int(data.clothes_ids[query])
            if mine and cameras_too and camera >= 0 and data.camera_ids[row] == camera:
                continue
            if mine and clothes_too and clothes >= 0 and data.clothes_ids[row] == clothes:
                continue
            place += 1
            if mine:
                found.append(place)
        if found:
            precisions.append(statistics.fmean(hit / at for hit, at in enumerate(found, 1)))
            firsts.append(found[0] == 1)
    return statistics.fmean(precisions), statistics.fmean(firsts), len(precisions)


@pytest.mark.parametrize('cameras', [True, False])
@pytest.mark.parametrize('clothes', [True, False])
def test_clothes_change_against_a_loop(clothes: bool, cameras: bool) -> None:
    data = wardrobe()
    metric = ReIDMetric(remove_same_camera=cameras, remove_same_clothes=clothes)
    scores = metric.compute_metrics(data)
    mean_precision, rank1, _ = slow_scores(data, clothes, cameras)
    assert scores['mAP'] == pytest.approx(100 * mean_precision)
    assert scores['rank1'] == pytest.approx(100 * rank1)


def test_clothes_leave_queries_without_a_match_out_and_go_through_given_distances() -> None:
    distances = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    labels = ([1, 2], [1, 9, 1], [0, 0], [1, 1, 1])
    result = evaluate_distances(distances, *labels, query_clothes=[5, 6], gallery_clothes=[5, 5, 4])
    assert result.num_valid_queries == 1
    assert result.mAP == pytest.approx(1 / 2)  # the first is in the same clothes
    kept = evaluate_distances(distances, *labels)
    assert kept.mAP == pytest.approx((1 + 2 / 3) / 2)
    with pytest.raises(ScoringInputError, match='gallery_clothes are needed'):
        evaluate_distances(distances, *labels, query_clothes=[5, 6])


def test_a_set_that_tells_no_clothes_is_refused() -> None:
    data = wardrobe()
    data.clothes_ids = None
    with pytest.raises(ScoringError, match='the data set tells none'):
        ReIDMetric(remove_same_clothes=True).compute_metrics(data)
    with pytest.raises(ValueError, match='remove_same_clothes must be True or False'):
        ReIDMetric(remove_same_clothes='yes')


def test_clothes_are_saved_with_the_features(tmp_path) -> None:
    data = wardrobe(20)
    loaded = FeatureSet.load(data.save(tmp_path))
    assert loaded.clothes_ids.tolist() == data.clothes_ids.tolist()
    _, gallery = loaded.split()
    assert gallery.clothes_ids.tolist() == data.clothes_ids[data.rows('gallery')].tolist()


def samples_of(data: FeatureSet, **labels) -> list[dict]:
    return [
        dict(
            img_path=data.img_paths[row],
            person_id=int(data.person_ids[row]),
            camera_id=int(data.camera_ids[row]),
            role=data.roles[row],
            sample_idx=row,
            features={'cnn': data.features[row]},
            **{name: int(values[row]) for name, values in labels.items()},
        )
        for row in range(len(data))
    ]


def test_clothes_come_with_the_samples() -> None:
    data = wardrobe()
    metric = ReIDMetric(remove_same_clothes=True)
    metric.process({}, samples_of(data, clothes_id=data.clothes_ids))
    assert metric.evaluate(len(data))['reid/mAP'] == pytest.approx(100 * slow_scores(data, True)[0])


def test_mean_and_deviation_over_splits_against_a_loop(monkeypatch) -> None:
    data = wardrobe()
    random = np.random.default_rng(3)
    splits = [np.split(random.permutation(150)[:90], [20]) for _ in range(4)]
    metric = ReIDMetric(topk=(1,), rerank=dict(k1=5, k2=2))
    metric.dataset_meta = dict(
        test_splits=dict(description='4 random splits', size=150, splits=splits)
    )
    seen, logged = [], []
    monkeypatch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
    metric.observers.append(lambda part, rankings: seen.append((part.img_paths, [*rankings])))
    metric.process({}, samples_of(data))
    scores = metric.evaluate(150)
    slow = []
    for query, gallery in splits:
        part = data.divide(torch.tensor(query), torch.tensor(gallery))
        assert part.roles.count('query') == 20
        slow.append(100 * slow_scores(part, False)[0])
    assert scores['reid/mAP'] == pytest.approx(statistics.fmean(slow))
    assert scores['reid/mAP_std'] == pytest.approx(statistics.stdev(slow))
    assert {'reid/rank1_std', 'reid/mINP_std', 'reid/rerank.mAP', 'reid/rerank.mAP_std'} <= {
        *scores
    }
    # What draws pictures sees the first split.
    (seen,) = seen
    assert seen == ([f'{row}.jpg' for row in np.concatenate(splits[0])], ['cnn'])
    text = ' '.join(logged)
    assert 'mean ± standard deviation over 4 random splits' in text
    assert f'{statistics.fmean(slow):.2f} ± {statistics.stdev(slow):.2f}' in text


def test_splits_need_all_images_and_two_of_them() -> None:
    data = wardrobe()
    metric = ReIDMetric()
    metric.dataset_meta = dict(
        test_splits=dict(description='2 random splits', size=151, splits=[([0], [1])] * 2)
    )
    with pytest.raises(ScoringError, match='2 random splits are of 151 images, but 150 were'):
        metric.compute_metrics(data)
    with pytest.raises(ScoringInputError, match='at least 2 splits, got 0'):
        RepeatedResult.from_results([])


def test_tracklets_against_a_loop() -> None:
    data = wardrobe()
    # Images of one person, camera and role at a time, up to three in a tracklet.
    keys: dict = {}
    tracklets = []
    for row in range(150):
        label = (int(data.person_ids[row]), int(data.camera_ids[row]), data.roles[row])
        keys.setdefault(label, []).append(row)
        tracklets.append(1000 * list(keys).index(label) + (len(keys[label]) - 1) // 3)
    means = {
        tracklet: data.features[[r for r in range(150) if tracklets[r] == tracklet]].mean(0)
        for tracklet in tracklets
    }
    first = [tracklets.index(tracklet) for tracklet in means]
    slow = FeatureSet(
        torch.stack(list(means.values())),
        {'cnn': 5},
        data.person_ids[first],
        data.camera_ids[first],
        [data.roles[row] for row in first],
        [data.img_paths[row] for row in first],
        clothes_ids=data.clothes_ids[first],
    )
    metric = ReIDMetric()
    averaged = []
    metric.observers.append(lambda found, rankings: averaged.append(found))
    metric.process({}, samples_of(data, tracklet_id=tracklets))
    scores = metric.evaluate(150)
    (found,) = averaged
    torch.testing.assert_close(found.features, slow.features)
    assert found.img_paths == slow.img_paths
    assert scores['reid/mAP'] == pytest.approx(100 * slow_scores(slow, False)[0], abs=1e-4)


def test_tracklets_of_two_people_and_images_without_one_are_refused() -> None:
    data = wardrobe()
    with pytest.raises(ScoringError, match='of another person, camera or role than 0.jpg'):
        data.average_tracklets(torch.zeros(150).long())
    metric = ReIDMetric()
    metric.process({}, samples_of(data, tracklet_id=[-1] + [0] * 149))
    with pytest.raises(ScoringError, match='0.jpg is in no tracklet, but other images are'):
        metric.evaluate(150)
    with pytest.raises(ScoringInputError, match='tracklets have shape'):
        mean_of_tracklets(data.features, torch.zeros(3).long())


def test_unknown_clothes_are_never_the_same() -> None:
    result = evaluate_ranking(
        torch.eye(2)[:1],
        torch.eye(2),
        [7],
        [7, 8],
        remove_same_camera=False,
        query_clothes=[-1],
        gallery_clothes=[-1, -1],
    )
    assert result.mAP == 1
