"""The spread of scores over random choices of queries, against closed forms."""

import math

import pytest
import torch

from fusionreid.evaluation.functional import (
    QueryScores,
    RankingResult,
    ScoringInputError,
    bootstrap_gain,
    bootstrap_scores,
    subset_scores,
)


def ranking(average_precision, first_match_rank, inverse_negative_penalty=None):
    average_precision = torch.as_tensor(average_precision, dtype=torch.float64)
    if inverse_negative_penalty is None:
        inverse_negative_penalty = average_precision / 2
    scores = QueryScores.unmeasured(len(average_precision), torch.device('cpu'))
    first_match_rank = torch.as_tensor(first_match_rank)
    scores = scores._replace(
        average_precision=average_precision,
        inverse_negative_penalty=inverse_negative_penalty,
        first_match_rank=first_match_rank,
        num_matches=(first_match_rank > 0).long(),
    )
    return RankingResult.from_queries(scores, 10)


def random_ranking(count=400, seed=0):
    random = torch.Generator().manual_seed(seed)
    first = torch.randint(1, 8, (count,), generator=random)
    first[::9] = 0
    precision = torch.rand(count, generator=random, dtype=torch.float64)
    precision[::9] = float('nan')
    return ranking(precision, first)


def test_scores_are_those_of_the_ranking():
    result = random_ranking()
    for spread in (bootstrap_scores(result, ranks=(1, 5)), subset_scores(result, 50, ranks=(1, 5))):
        assert list(spread) == ['mAP', 'rank1', 'rank5', 'mINP']
        assert spread['mAP'].score == pytest.approx(result.mAP, abs=1e-12)
        assert spread['mINP'].score == pytest.approx(result.mINP, abs=1e-12)
        for rank in (1, 5):
            expected = float(result.cmc[rank - 1])
            assert spread[f'rank{rank}'].score == pytest.approx(expected, abs=1e-12)
        for own in spread.values():
            assert own.low < own.score < own.high
            assert own.deviation > 0


def test_deviation_of_a_share():
    """Rank-1 of queries, a share p of which is right, has the deviation sqrt(p (1 - p) / n)."""
    count, share = 500, 0.3
    right = torch.arange(count) < share * count
    result = ranking(torch.full((count,), 0.5), torch.where(right, 1, 2))
    spread = bootstrap_scores(result, num_samples=20_000)['rank1']
    expected = math.sqrt(share * (1 - share) / count)
    # The estimate from 20000 choices is off by expected / sqrt(40000), and rarely four times that.
    assert spread.deviation == pytest.approx(expected, rel=0.02)
    assert spread.mean == pytest.approx(share, abs=4 * expected / math.sqrt(20_000))
    # The share of choices in the interval is that of the binomial distribution.
    assert spread.low == pytest.approx(share - 1.96 * expected, abs=2 / count)
    assert spread.high == pytest.approx(share + 1.96 * expected, abs=2 / count)
    narrow = bootstrap_scores(result, num_samples=20_000, confidence=0.5)['rank1']
    assert narrow.high - narrow.low < 0.4 * (spread.high - spread.low)


def test_deviation_over_subsets():
    """Without replacement the variance shrinks by (N - n) / (N - 1)."""
    result = random_ranking()
    values = result.average_precision[result.first_match_rank > 0]
    size = 200
    spread = subset_scores(result, size, num_subsets=5000)['mAP']
    remaining = (len(values) - size) / (len(values) - 1)
    expected = float(values.std(correction=0)) * math.sqrt(remaining / size)
    assert spread.deviation == pytest.approx(expected, rel=0.05)
    assert spread.mean == pytest.approx(result.mAP, abs=4 * expected / math.sqrt(5000))


def test_the_subset_of_all_queries_is_the_score():
    result = random_ranking()
    for name, spread in subset_scores(result, result.num_valid_queries, num_subsets=7).items():
        assert spread.mean == pytest.approx(spread.score, abs=1e-15), name
        assert spread.deviation == pytest.approx(0, abs=1e-15)
        assert spread.low == spread.high == spread.score


def test_seeds():
    result = random_ranking()
    for function in (bootstrap_scores, lambda *args, **kwargs: subset_scores(*args, 9, **kwargs)):
        assert function(result, seed=3) == function(result, seed=3)
        assert function(result, seed=3) != function(result, seed=4)
    state = torch.get_rng_state()
    bootstrap_scores(result)
    assert torch.equal(state, torch.get_rng_state()), 'the global generator was used'


def test_queries_without_a_match_are_never_drawn():
    result = ranking([float('nan'), 0.25, 0.25], [0, 3, 3])
    for spread in (bootstrap_scores(result), subset_scores(result, 2)):
        assert spread['mAP'].low == spread['mAP'].high == 0.25
        assert spread['rank1'].high == 0


def test_drawing_people():
    """With four alike photos each, there is but a quarter as much to learn from."""
    random = torch.Generator().manual_seed(0)
    of_person = torch.rand(150, generator=random, dtype=torch.float64)
    precision = of_person.repeat_interleave(4)
    people = torch.arange(150).repeat_interleave(4) * 7 - 3
    result = ranking(precision, torch.ones(600).long())
    photos = bootstrap_scores(result, num_samples=4000)['mAP']
    grouped = bootstrap_scores(result, num_samples=4000, groups=people)['mAP']
    assert grouped.deviation == pytest.approx(2 * photos.deviation, rel=0.1)
    assert grouped.score == photos.score == pytest.approx(result.mAP)
    # Everyone their own group: single queries.
    single = bootstrap_scores(result, groups=torch.arange(600))
    assert single['mAP'].deviation == pytest.approx(bootstrap_scores(result)['mAP'].deviation)


def test_groups_of_different_sizes_weigh_by_their_queries():
    result = ranking([1.0, 0.0, 0.0, 0.0], [1, 2, 2, 2])
    spread = bootstrap_scores(result, num_samples=8000, groups=[5, 6, 6, 6], confidence=0.999)
    # Two groups drawn out of two: scores 1, 1/4 (twice as often) and 0.
    assert spread['mAP'].mean == pytest.approx((1 + 2 * 0.25 + 0) / 4, abs=0.02)
    assert (spread['mAP'].low, spread['mAP'].high) == (0, 1)
    with_invalid = ranking([float('nan'), 1.0, 0.0, 0.0, 0.0], [0, 1, 2, 2, 2])
    again = bootstrap_scores(with_invalid, num_samples=8000, groups=[9, 5, 6, 6, 6])
    assert again['mAP'].deviation == spread['mAP'].deviation


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch):
    result = random_ranking()
    expected = bootstrap_scores(result)['mAP']
    monkeypatch.setattr('fusionreid.evaluation.functional.bootstrap.DRAWN_AT_ONCE', 1000)
    assert bootstrap_scores(result)['mAP'].deviation == pytest.approx(expected.deviation, rel=1e-9)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_samples': 1}, 'at least 2 random choices, got 1'),
        ({'confidence': 1.0}, 'between 0 and 1, got 1.0'),
        ({'ranks': (0,)}, 'at least 1, got 0'),
        ({'groups': [1, 2]}, r'groups have shape \(2,\), expected \(400,\)'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_scores(random_ranking(), **options)


@pytest.mark.parametrize('size', [0, 401])
def test_bad_sizes_are_named(size):
    with pytest.raises(ValueError, match=rf'size={size} is outside 1..355'):
        subset_scores(random_ranking(), size)


def test_a_gain_is_the_mean_of_differences_with_their_spread():
    """Noise that both share cancels out: what is left has the deviation of the differences."""
    random = torch.Generator().manual_seed(1)
    easy = torch.rand(500, generator=random, dtype=torch.float64) / 2
    gains = 0.1 + 0.05 * torch.randn(2, 500, generator=random, dtype=torch.float64)
    first = torch.ones(500, dtype=torch.int64)
    results = [ranking(easy + own, first) for own in gains]
    gain = bootstrap_gain(results, [ranking(easy, first)], num_samples=20_000)['mAP']
    difference = gains.mean(0)
    assert gain.score == pytest.approx(float(difference.mean()), abs=1e-12)
    expected = float(difference.std(correction=0)) / math.sqrt(500)
    assert gain.deviation == pytest.approx(expected, rel=0.03)
    assert gain.deviation < 0.4 * bootstrap_scores(results[0])['mAP'].deviation
    # Pairs of equal queries, drawn together, are half as many.
    twice = [ranking(own.average_precision.repeat(2), first.repeat(2)) for own in results]
    groups = torch.arange(500).repeat(2)
    paired = bootstrap_gain(
        twice, [ranking(easy.repeat(2), first.repeat(2))], num_samples=20_000, groups=groups
    )['mAP']
    assert paired.deviation == pytest.approx(expected, rel=0.03)


def test_a_model_gains_nothing_over_itself_and_other_queries_are_refused():
    result = random_ranking()
    gain = bootstrap_gain([result, result], [result])
    assert {spread.low for spread in gain.values()} == {0.0}
    assert {spread.high for spread in gain.values()} == {0.0}
    for baseline, message in (
        ([random_ranking(count=399)], 'different queries'),
        ([], 'on both sides'),
    ):
        with pytest.raises(ScoringInputError, match=message):
            bootstrap_gain([result], baseline)
