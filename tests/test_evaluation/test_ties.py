"""Scores of tied rankings, against all orders of the ties, one by one."""

from __future__ import annotations

import itertools
import json
import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from fusionreid.cli.main import run_command
from fusionreid.errors import ScoringError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import (
    bootstrap_scores,
    evaluate_distances,
    evaluate_ranking,
    ranking,
)
from fusionreid.evaluation.functional.collapse import are_alike
from fusionreid.evaluation.functional.ties import (
    expected_precision,
    expected_reciprocal_last,
    hit_probability,
)
from fusionreid.evaluation.metrics import ReIDMetric

MAX_RANK = 6


def score_order(matches: list[bool]) -> tuple[float, float, list[bool]]:
    """AP, INP and hits at each rank of one ranked list, which holds a match."""
    places = [place for place, match in enumerate(matches, 1) if match]
    precisions = [hit / place for hit, place in enumerate(places, 1)]
    hits = [places[0] <= rank for rank in range(1, MAX_RANK + 1)]
    return sum(precisions) / len(places), len(places) / places[-1], hits


def all_orders(row, identity, camera, ids, cameras, remove=True):
    """Mean scores of a query over all orders of its ties, and how many matches are tied."""
    kept = [
        column
        for column in range(len(row))
        if not (remove and ids[column] == identity and camera == cameras[column] >= 0)
    ]
    if not any(ids[column] == identity for column in kept):
        return None
    groups = [
        [ids[column] == identity for column in kept if row[column] == distance]
        for distance in sorted({row[column] for column in kept})
    ]
    tied = sum(sum(group) for group in groups if not all(group))
    scores = [
        score_order(list(itertools.chain(*order)))
        for order in itertools.product(*(itertools.permutations(group) for group in groups))
    ]
    mean_ap, mean_inp = (math.fsum(score[k] for score in scores) / len(scores) for k in (0, 1))
    hits = [sum(column) / len(scores) for column in zip(*(s[2] for s in scores), strict=True)]
    return mean_ap, mean_inp, hits, tied, sum(ids[column] == identity for column in kept)


def check(result, expected):
    """Compare a result with the scores of each query."""
    valid = [scores for scores in expected if scores is not None]
    for row, scores in enumerate(expected):
        if scores is None:
            assert math.isnan(result.average_precision[row])
            continue
        assert float(result.average_precision[row]) == pytest.approx(scores[0], abs=1e-9)
        assert float(result.inverse_negative_penalty[row]) == pytest.approx(scores[1], abs=1e-9)
        for rank, hit in enumerate(scores[2], 1):
            assert float(result.queries.hits(rank)[row]) == pytest.approx(hit, abs=1e-9)
    cmc = [sum(column) / len(valid) for column in zip(*(s[2] for s in valid), strict=True)]
    assert result.cmc.tolist() == pytest.approx(cmc, abs=1e-9)
    share = sum(scores[3] for scores in valid) / sum(scores[4] for scores in valid)
    assert result.tied == pytest.approx(share, abs=1e-12)


@st.composite
def tied_cases(draw):
    num_query, num_gallery = draw(st.integers(1, 3)), draw(st.integers(1, 7))
    rows = st.lists(st.integers(1, 3), min_size=num_gallery, max_size=num_gallery)
    distances = draw(st.lists(rows, min_size=num_query, max_size=num_query))
    labels = []
    for values in (st.integers(0, 1), st.integers(-1, 1)):
        for count in (num_query, num_gallery):
            labels.append(draw(st.lists(values, min_size=count, max_size=count)))
    return distances, *labels


@settings(max_examples=60, deadline=None)
@given(tied_cases(), st.booleans(), st.sampled_from([0, 64]))
def test_expected_scores_are_the_mean_over_all_orders(case, remove, sort_from):
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras = case
    expected = [
        all_orders(row, identity, camera, gallery_ids, gallery_cameras, remove)
        for row, identity, camera in zip(distances, query_ids, query_cameras, strict=True)
    ]
    options = {'remove_same_camera': remove, 'max_rank': MAX_RANK, 'ties': 'expected'}
    labels = (query_ids, gallery_ids, query_cameras, gallery_cameras)
    table = torch.tensor(distances).float()
    if not any(expected):
        with pytest.raises(ValueError, match='has a match'):
            evaluate_distances(table, *labels, **options)
        return
    before, ranking.SORT_FROM = ranking.SORT_FROM, sort_from
    try:
        check(evaluate_distances(table, *labels, **options), expected)
    finally:
        ranking.SORT_FROM = before


@pytest.mark.parametrize('sort_from', [0, 64])
def test_features_that_are_tied(monkeypatch, sort_from):
    """Photos on a circle around the query, in few directions; junk among them."""
    monkeypatch.setattr(ranking, 'SORT_FROM', sort_from)
    gallery = torch.tensor([[3, 0], [0, 3], [-3, 0], [0, 3], [0, 5], [5, 0], [0, -5], [9, 0]])
    gallery = torch.nn.functional.pad(gallery.float(), (0, 1), value=1.0)
    query = torch.tensor([[0.0, 0.0, 1.0]])
    ids, cameras = [1, 2, 1, 1, 2, 1, 2, 1], [1, 1, 0, 2, 1, 1, 1, 1]
    row = torch.cdist(query, gallery)[0].tolist()
    result = evaluate_ranking(
        query, gallery, [1], ids, [0], cameras, max_rank=MAX_RANK, ties='expected'
    )
    check(result, [all_orders(row, 1, 0, ids, cameras)])
    assert result.tied == 3 / 4


def test_the_order_of_the_files_is_the_default():
    distances = torch.ones(1, 4)
    first = evaluate_distances(distances, [1], [1, 2, 2, 2], remove_same_camera=False)
    last = evaluate_distances(distances, [1], [2, 2, 2, 1], remove_same_camera=False)
    assert (first.mAP, last.mAP) == (1, 0.25)
    assert first.tied == last.tied == 1
    for ids in ([1, 2, 2, 2], [2, 2, 2, 1]):
        result = evaluate_distances(
            distances, [1], ids, remove_same_camera=False, ties='expected', max_rank=4
        )
        assert result.mAP == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
        assert result.cmc.tolist() == pytest.approx([0.25, 0.5, 0.75, 1])


def people(spread=0.5, count=300, num_ids=12, seed=0):
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(num_ids, (count,), generator=random)
    centers = torch.randn(num_ids, 16, generator=random)
    features = centers[ids] + spread * torch.randn(count, 16, generator=random)
    cameras = torch.randint(4, (count,), generator=random)
    return features[:40], features[40:], ids[:40], ids[40:], cameras[:40], cameras[40:]


def test_without_ties_the_scores_are_the_same_to_the_bit():
    for spread in (0.5, 3.0):
        data = people(spread)
        order, expected = (evaluate_ranking(*data, ties=ties) for ties in ('order', 'expected'))
        assert order.tied == expected.tied == 0
        assert torch.equal(order.average_precision, expected.average_precision)
        assert torch.equal(order.inverse_negative_penalty, expected.inverse_negative_penalty)
        assert torch.equal(order.cmc, expected.cmc)


def test_matches_at_one_distance_are_no_tie():
    """Only another identity makes the order count."""
    result = evaluate_distances(
        torch.tensor([[1.0, 1.0, 2.0]]), [1], [1, 1, 2], remove_same_camera=False
    )
    assert result.tied == 0


@pytest.mark.slow
def test_a_collapsed_model_is_scored_as_chance():
    query, gallery, *labels = people(count=100)
    query, gallery = torch.ones_like(query), torch.ones_like(gallery)
    result = evaluate_ranking(query, gallery, *labels, ties='expected')
    again = evaluate_ranking(query, gallery.flip(0), *(part.flip(0) for part in labels))
    assert result.tied == 1
    assert again.tied == 1
    order = torch.randperm(len(gallery), generator=torch.Generator().manual_seed(1))
    query_ids, gallery_ids, query_cameras, gallery_cameras = labels
    shuffled = evaluate_ranking(
        query, gallery, query_ids, gallery_ids[order], query_cameras, gallery_cameras[order],
        ties='expected',
    )  # fmt: skip
    torch.testing.assert_close(
        shuffled.average_precision, result.average_precision, atol=1e-12, rtol=0, equal_nan=True
    )
    assert shuffled.mINP == pytest.approx(result.mINP, abs=1e-12)
    # The mean over random orders of the files approaches it.
    scores = []
    for _ in range(100):
        order = order[
            torch.randperm(len(order), generator=torch.Generator().manual_seed(len(scores)))
        ]
        one = evaluate_ranking(
            query, gallery, query_ids, gallery_ids[order], query_cameras, gallery_cameras[order]
        )
        scores.append([one.mAP, one.mINP, float(one.cmc[4])])
    scores = torch.tensor(scores).double()
    error = 5 * scores.std(0) / len(scores) ** 0.5
    expected = torch.tensor([result.mAP, result.mINP, float(result.cmc[4])]).double()
    assert ((scores.mean(0) - expected).abs() < error).all()


@pytest.mark.parametrize('limit', [1 << 21, 1 << 30])
def test_expected_scores_do_not_depend_on_memory(limit):
    query, gallery, *labels = people(3.0, num_ids=3)
    query, gallery = (2 * query[:, :3]).round() + 99, (2 * gallery[:, :3]).round() + 99
    first = evaluate_ranking(query, gallery, *labels, ties='expected')
    second = evaluate_ranking(query, gallery, *labels, ties='expected', memory_limit=limit)
    assert 0 < first.tied < 1
    assert first.tied == second.tied
    assert torch.allclose(first.cmc, second.cmc, atol=1e-12)
    assert first.mAP == pytest.approx(second.mAP, abs=1e-9)
    distances = torch.cdist(query.double(), gallery.double()).square().round()
    third = evaluate_distances(distances, *labels, ties='expected')
    assert third.tied == first.tied
    assert third.mAP == pytest.approx(first.mAP, abs=1e-6)
    assert third.mINP == pytest.approx(first.mINP, abs=1e-6)


def test_long_ties_lose_no_digits():
    """Against sums of exact fractions."""
    before, hits, matches, others = 3000, 7, 5, 4000
    total = matches + others
    numbers = (
        torch.tensor([value], dtype=torch.float64) for value in (before, hits, matches, others)
    )
    before_, hits_, matches_, others_ = numbers
    exact = math.fsum(
        (hits + 1 + (j - 1) * (matches - 1) / (total - 1)) / (before + j)
        for j in range(1, total + 1)
    )
    found = expected_precision(before_, hits_, matches_, others_)
    assert float(found) == pytest.approx(exact / total, rel=1e-10)
    ways = math.comb(total, matches)
    exact = math.fsum(
        math.comb(j - 1, matches - 1) / ways / (before + j) for j in range(matches, total + 1)
    )
    for limit in (1, 1 << 20):
        found = expected_reciprocal_last(before_, matches_, others_, limit)
        assert float(found) == pytest.approx(exact, rel=1e-12)
    for rank in (2999, 3000, 3001, 3400, 6999, 7001):
        drawn = max(rank - before, 0)
        exact = 1 - math.comb(total - drawn, matches) / ways
        found = hit_probability(before_, matches_, others_, rank)
        assert float(found) == pytest.approx(exact, abs=1e-9)


def test_the_bootstrap_takes_the_chance_of_a_hit():
    result = evaluate_distances(
        torch.ones(2, 4), [1, 1], [1, 2, 2, 2], remove_same_camera=False, ties='expected'
    )
    assert bootstrap_scores(result)['rank1'].score == pytest.approx(0.25)


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="ties must be 'order' or 'expected', got 'random'"):
        evaluate_distances(torch.ones(1, 1), [1], [1], remove_same_camera=False, ties='random')
    with pytest.raises(ValueError, match="got 'random'"):
        ReIDMetric(ties='random')


# ---- beside the score


def make_set(features, num_query=20, num_ids=5):
    count = len(features)
    return FeatureSet(
        features=features,
        widths={'cnn': features.shape[1] - 2, 'text': 2},
        person_ids=torch.arange(count) % num_ids,
        camera_ids=torch.arange(count) % 3,
        roles=['query'] * num_query + ['gallery'] * (count - num_query),
        img_paths=[f'photos/{row}.jpg' for row in range(count)],
        protocol={'dataset_name': 'Market-1501'},
    )


@pytest.fixture
def log(monkeypatch):
    """What the metric logs: text and level."""
    from fusionreid.evaluation.metrics import reid_metric

    records = []
    monkeypatch.setattr(
        reid_metric,
        'print_log',
        lambda text, logger=None, level=logging.INFO: records.append((text, level)),
    )
    return records


def test_a_healthy_model_has_no_ties(log):
    features = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
    scores = ReIDMetric().compute_metrics(make_set(features))
    assert not [name for name in scores if 'tied' in name]
    assert [level for _, level in log] == [logging.INFO]
    assert 'tied' not in log[0][0]


def test_a_collapsed_feature_is_named_beside_its_score(log):
    features = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
    features[:, -2:] = torch.tensor([3.0, 4.0])
    scores = ReIDMetric().compute_metrics(make_set(features))
    assert scores['text.tied'] == 100
    assert 'tied' not in scores
    (table, _), *warnings = log
    assert table.splitlines()[2].split()[-1] == 'tied'
    cells = {line.split()[0]: line.split()[-1] for line in table.splitlines()[4:]}
    assert cells == {'cnn': '0.00', 'text': '100.00', 'all': '0.00'}
    ((line, level),) = warnings
    assert level == logging.WARNING
    assert line.startswith('text: all gallery features are the same')
    assert 'collapsed' in line


@pytest.mark.parametrize('noise', [0.0, 1e-7])
def test_nearly_equal_features_are_a_collapsed_model_too(log, noise):
    features = torch.rand(120, 8, generator=torch.Generator().manual_seed(0))
    features = torch.ones(120, 1) * features[:1] * (1 + noise * features)
    ReIDMetric(features='all').compute_metrics(make_set(features))
    assert 'the model has collapsed' in log[-1][0]


def test_copies_under_several_identities_are_told(log):
    """Two points for all: ties, but the gallery is not all alike."""
    features = torch.ones(120, 8)
    features[::2, 0] = -1
    feature_set = make_set(features)
    # The first person's photos come first.
    feature_set.person_ids[20:] = feature_set.person_ids[20:].sort().values
    scores = ReIDMetric(features='all').compute_metrics(feature_set)
    assert scores['tied'] == 100
    assert log[-1][0].startswith('all: 100.00% of the matches are tied')
    assert '--ties expected' in log[-1][0]
    expected = ReIDMetric(features='all', ties='expected').compute_metrics(feature_set)
    assert expected['mAP'] != pytest.approx(scores['mAP'], abs=0.1)
    assert '--ties' not in log[-1][0]
    assert 'mean over all orders of ties' in log[-2][0]
    # Whatever the order of the files.
    order = torch.cat([torch.arange(20), 20 + torch.randperm(100)])
    shuffled = FeatureSet(
        features=features[order],
        widths=feature_set.widths,
        person_ids=feature_set.person_ids[order],
        camera_ids=feature_set.camera_ids[order],
        roles=feature_set.roles,
        img_paths=feature_set.img_paths,
    )
    again = ReIDMetric(features='all', ties='expected').compute_metrics(shuffled)
    assert again == pytest.approx(expected, abs=1e-9)


def test_alike_is_found_out_early():
    features = normalize(torch.randn(1000, 8))
    assert not are_alike(features, torch.arange(1000))
    features[:] = features[0]
    features[999] += 1
    assert not are_alike(features, torch.arange(1000))
    assert are_alike(features, torch.arange(999))
    assert not are_alike(features, torch.arange(1))


@pytest.mark.slow
def test_the_commands_say_it(tmp_path, capsys):
    make_set(torch.ones(60, 8)).save(tmp_path)
    out = tmp_path / 'out'
    run_command('test', ['--from', str(tmp_path), '--ties', 'expected', '--out', str(out)])
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['reid/tied'] == metrics['reid/cnn.tied'] == 100
    # The chance of a random order: about the share of matches.
    assert 15 < metrics['reid/mAP'] < 35
    for command in ('compare', 'analyze'):
        capsys.readouterr()
        run_command(command, [str(tmp_path), '-o', str(out)])
        assert 'the model has collapsed' in capsys.readouterr().out
    assert json.loads((out / 'analysis.json').read_text())['tied'] == 1
    assert '100.00 |' in (out / 'feature_scores.md').read_text()


# ---- zero features


def test_zero_features_are_refused_everywhere(tmp_path):
    features = torch.randn(60, 8)
    features[33, -2:] = features[50, -2:] = 0
    feature_set = make_set(features)
    message = r"the feature 'text' of photos/33.jpg is zero \(2 of 40 are\)"
    for metric in (ReIDMetric(), ReIDMetric(features='text', rerank={'k1': 4, 'k2': 2})):
        with pytest.raises(ScoringError, match=message):
            metric.compute_metrics(feature_set)
    # It is not compared: nothing is wrong.
    assert ReIDMetric(features='all').compute_metrics(feature_set)['mAP'] > 0
    feature_set.save(tmp_path)
    for command, *options in (
        ('test', '--from', tmp_path),
        ('compare', tmp_path),
        ('analyze', tmp_path, '--feature', 'text'),
        ('rank-lists', tmp_path, '--features', 'text', '-o', tmp_path / 'a.png'),
    ):
        with pytest.raises(SystemExit, match=r"error: the feature 'text' of photos/33.jpg is zero"):
            run_command(command, [str(option) for option in options])


def test_small_and_large_features_are_no_zeros():
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    expected = ReIDMetric(features='all').compute_metrics(make_set(features))
    for scale in (1e-30, 1e25):
        scores = ReIDMetric(features='all').compute_metrics(make_set(scale * features))
        assert scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('size', [1e-30, 1e-12, 1e30])
def test_the_size_of_features_makes_no_collapsed_model(size):
    features = torch.eye(4) * size
    assert not are_alike(features, torch.arange(4))
    assert are_alike(features[:1].repeat(3, 1), torch.arange(3))
