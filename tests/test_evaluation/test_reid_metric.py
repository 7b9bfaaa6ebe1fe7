"""ReIDMetric fed as MMEngine's evaluator feeds it, in one process and in two."""

import json
import textwrap

import pytest
import torch
from full_disk import full_disk
from mmengine.evaluator import Evaluator
from torch.nn.functional import normalize
from warm_processes import run_ranks

from fusionreid.errors import ScoringError
from fusionreid.evaluation import FeatureSet
from fusionreid.evaluation.functional import (
    evaluate_distances,
    evaluate_open_set,
    evaluate_ranking,
    k_reciprocal_rerank,
)
from fusionreid.evaluation.metrics import ReIDMetric, reid_metric
from fusionreid.registry import METRICS
from fusionreid.structures import ReIDDataSample

NAMES = ('mAP', 'rank1', 'rank5', 'rank10', 'mINP')


def make_samples(count=60, widths=(('cnn', 8), ('transformer', 6)), num_query=15, seed=0):
    """Data samples as a model's ``predict`` returns them."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, (count,), generator=random)
    cameras = torch.randint(3, (count,), generator=random)
    samples = []
    centers = {name: torch.randn(5, width, generator=random) for name, width in widths}
    for index in range(count):
        sample = ReIDDataSample(
            metainfo={
                'img_path': f'photos/{index:04d}.jpg',
                'person_id': int(ids[index]),
                'camera_id': int(cameras[index]),
                'role': 'query' if index < num_query else 'gallery',
                'sample_idx': index,
            }
        )
        sample.features = {
            name: centers[name][ids[index]] + 1.5 * torch.randn(width, generator=random)
            for name, width in widths
        }
        samples.append(sample)
    return samples


def score(metric, samples, size=None, batch=7):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {
        'dataset_name': 'Market-1501', 'release': 'V1', 'split': 'test', 'num_ids': 5,
    }  # fmt: skip
    for start in range(0, len(samples), batch):
        evaluator.process(samples[start : start + batch])
    return evaluator.evaluate(len(samples) if size is None else size)


def expected_scores(samples, names, remove_same_camera=True):
    features = torch.stack([torch.cat([s.features[name] for name in names]) for s in samples])
    features = normalize(features.float())
    is_query = torch.tensor([sample.role == 'query' for sample in samples])
    ids = torch.tensor([sample.person_id for sample in samples])
    cameras = torch.tensor([sample.camera_id for sample in samples])
    result = evaluate_ranking(
        features[is_query], features[~is_query], ids[is_query], ids[~is_query],
        cameras[is_query], cameras[~is_query], remove_same_camera=remove_same_camera,
    )  # fmt: skip
    cmc = [float(result.cmc[rank - 1]) for rank in (1, 5, 10)]
    values = (result.mAP, *cmc, result.mINP)
    return [100 * value for value in values]


def test_scores_all_and_each_feature():
    samples = make_samples()
    scores = score(METRICS.build({'type': 'ReIDMetric'}), samples)
    for prefix, names in (
        ('reid/', ('cnn', 'transformer')),
        ('reid/cnn.', ('cnn',)),
        ('reid/transformer.', ('transformer',)),
    ):
        found = [scores.pop(prefix + name) for name in NAMES]
        assert found == pytest.approx(expected_scores(samples, names), abs=1e-6)
    assert not scores


def test_one_feature_is_not_scored_twice():
    samples = make_samples(widths=(('cnn', 8),))
    scores = score(ReIDMetric(), samples)
    assert list(scores) == [f'reid/{name}' for name in NAMES]
    assert list(scores.values()) == pytest.approx(expected_scores(samples, ('cnn',)), abs=1e-6)


def test_chosen_features_and_ranks():
    samples = make_samples()
    metric = ReIDMetric(features='transformer', topk=(1, 3), remove_same_camera=False)
    scores = score(metric, samples)
    expected = expected_scores(samples, ('transformer',), remove_same_camera=False)
    assert set(scores) == {'reid/mAP', 'reid/rank1', 'reid/rank3', 'reid/mINP'}
    assert scores['reid/mAP'] == pytest.approx(expected[0], abs=1e-6)
    scores = score(ReIDMetric(features=['transformer', 'all'], prefix='night'), samples)
    assert scores['night/transformer.mAP'] != scores['night/mAP']
    assert 'night/cnn.mAP' not in scores
    assert 'night/all.mAP' not in scores
    scores = score(ReIDMetric(features=['cnn', 'transformer']), samples)
    assert scores['reid/mAP'] == scores['reid/cnn.mAP']


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype):
    samples = make_samples()
    for sample in samples:
        sample.features = {name: value.to(dtype) for name, value in sample.features.items()}
    expected = expected_scores(samples, ('cnn', 'transformer'))
    assert score(ReIDMetric(), samples)['reid/mAP'] == pytest.approx(expected[0], abs=1e-6)


def test_order_and_repetition_do_not_matter():
    samples = make_samples()
    expected = score(ReIDMetric(), samples)
    shuffled = [samples[i] for i in torch.randperm(len(samples)).tolist()] + samples[:5]
    assert score(ReIDMetric(), shuffled, size=len(samples)) == expected


def test_can_be_used_again():
    metric, samples = ReIDMetric(), make_samples()
    first = score(metric, samples)
    other = make_samples(30, widths=(('cnn', 4),), num_query=10, seed=3)
    assert score(metric, other) != first
    assert score(metric, samples) == first


def test_states_the_protocol():
    samples = make_samples()
    for sample in samples:
        sample.set_metainfo({'feature_protocol': 'features before the BNNeck, SIE on'})
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
        score(ReIDMetric(), samples)
    (text,) = logged
    for part in (
        'Market-1501', 'release V1', 'split test', 'query 15 images of 5 ids', 'gallery 45 images',
        'same-camera matches removed', 'Euclidean', 'before the BNNeck, SIE on', 'rank-10', 'mINP',
        '15 of 15 queries',
    ):  # fmt: skip
        assert part in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ['cnn', 'transformer', 'all']


def test_saved_features_score_the_same(tmp_path):
    samples = make_samples()
    scores = score(ReIDMetric(out_dir=str(tmp_path)), samples)
    saved = FeatureSet.load(tmp_path)
    assert saved.img_paths[3] == 'photos/0003.jpg'
    assert saved.protocol['release'] == 'V1'
    again = ReIDMetric().compute_metrics(saved)
    assert {f'reid/{name}': value for name, value in again.items()} == scores


def test_only_what_is_scored_is_saved(tmp_path):
    score(ReIDMetric(features=['transformer'], out_dir=str(tmp_path)), make_samples())
    assert FeatureSet.load(tmp_path).widths == {'transformer': 6}
    score(ReIDMetric(features=['all', 'cnn'], out_dir=str(tmp_path)), make_samples())
    assert FeatureSet.load(tmp_path).widths == {'cnn': 8, 'transformer': 6}


def test_a_feature_that_is_unknown_loses_nothing(tmp_path):
    with pytest.raises(ScoringError, match="features .'text'. are to be scored"):
        score(ReIDMetric(features=['cnn', 'text'], out_dir=str(tmp_path)), make_samples())
    assert FeatureSet.load(tmp_path).widths == {'cnn': 8, 'transformer': 6}


def test_reranked_scores_stand_beside_the_plain_ones():
    samples = make_samples()
    plain = score(ReIDMetric(), samples)
    numbers = dict(k1=6, k2=3, lambda_value=0.4)
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
        both = score(ReIDMetric(rerank=numbers), samples)
    assert {name: value for name, value in both.items() if 'rerank' not in name} == plain
    features = normalize(torch.stack([sample.features['cnn'] for sample in samples]))
    ids = torch.tensor([sample.person_id for sample in samples])
    cameras = torch.tensor([sample.camera_id for sample in samples])
    distances = k_reciprocal_rerank(features[:15], features[15:], **numbers)
    expected = evaluate_distances(distances, ids[:15], ids[15:], cameras[:15], cameras[15:])
    assert both['reid/cnn.rerank.mAP'] == pytest.approx(100 * expected.mAP, abs=1e-6)
    assert both['reid/rerank.rank1'] >= 0
    assert len(both) == 2 * len(plain)
    assert 'After k-reciprocal re-ranking (k1=6, k2=3, lambda=0.4)' in logged[1]
    assert len(logged) == 2


def test_searches_for_strangers_are_scored_feature_by_feature():
    samples = make_samples()
    plain = score(ReIDMetric(), samples)
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
        both = score(ReIDMetric(open_set=[0.2, 1]), samples)
    assert {name: value for name, value in both.items() if 'open_set' not in name} == plain
    features = normalize(torch.stack([sample.features['cnn'] for sample in samples]))
    ids = torch.tensor([sample.person_id for sample in samples])
    cameras = torch.tensor([sample.camera_id for sample in samples])
    searches = evaluate_open_set(
        features[:15], features[15:], ids[:15], ids[15:], cameras[:15], cameras[15:]
    )
    point = searches.at_fpir(0.2)
    assert both['reid/cnn.open_set.tpir_at_0.2'] == pytest.approx(100 * point.tpir)
    assert both['reid/cnn.open_set.threshold_at_0.2'] == pytest.approx(point.threshold, abs=1e-6)
    assert both['reid/cnn.open_set.fpir_at_0.2'] <= 20
    # With everybody let in, the person is found wherever it is the first.
    assert both['reid/open_set.tpir_at_1'] == pytest.approx(both['reid/rank1'])
    assert both['reid/open_set.num_strangers'] == 15
    assert 'reid/open_set.threshold_at_1' not in both  # infinite, which JSON has no word for
    rows = [line for line in logged[1].splitlines() if line.startswith('| ')]
    assert [row.split()[1] for row in rows] == ['feature', 'cnn', 'transformer', 'all']


def test_features_that_cannot_be_saved_are_scored_all_the_same(tmp_path):
    (tmp_path / 'taken').write_text('')
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reid_metric, 'print_log', lambda text, **_: logged.append(text))
        with pytest.raises(ScoringError, match='cannot be saved in .*taken'):
            score(ReIDMetric(out_dir=str(tmp_path / 'taken')), make_samples())
        with full_disk(100), pytest.raises(ScoringError, match='cannot be saved in .*large'):
            score(ReIDMetric(out_dir=str(tmp_path / 'full')), make_samples())
    assert sum('Scores in percent' in text for text in logged) == 2
    assert list((tmp_path / 'full').iterdir()) == []


@pytest.mark.parametrize('features', [None, 'cnn', ['all', 'cnn'], ['transformer', 'cnn']])
@pytest.mark.parametrize('more', [{}, dict(rerank=dict(k1=6, k2=3), open_set=(0.1, 1))])
def test_the_names_of_the_scores_are_known_before(features, more):
    for widths in ((('cnn', 8), ('transformer', 6)), (('cnn', 8),)):
        if features in (None, 'cnn') or len(widths) == 2:
            metric = ReIDMetric(features=features, topk=(1, 3), prefix='street', **more)
            scores = score(metric, make_samples(widths=widths))
            assert metric.score_names([name for name, _ in widths]) == list(scores)


def test_scoring_copies_the_features_only_once():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(400, 4096, generator=random)
    roles = ['query'] * 20 + ['gallery'] * 380
    labels = torch.zeros(400, dtype=torch.int64)
    feature_set = FeatureSet(features, {'cnn': 4096}, labels, labels, roles, ['a.jpg'] * 400)
    expected = normalize(features[20:])
    assert torch.equal(feature_set.unit_rows('cnn', feature_set.rows('gallery')), expected)
    assert features.norm(dim=1).min() > 2  # the original is as it was


# ---- bad input


def test_bad_samples_are_named():
    samples = make_samples()
    samples[9].features['cnn'][2] = float('nan')
    with pytest.raises(ValueError, match='the feature of photos/0009.jpg .*NaN'):
        score(ReIDMetric(), samples)
    samples = make_samples()
    del samples[9].features['transformer']
    with pytest.raises(ValueError, match='photos/0009.jpg: features .* differ'):
        score(ReIDMetric(), samples)
    samples = make_samples()
    samples[9].features['cnn'] = torch.zeros(3)
    with pytest.raises(ValueError, match="photos/0009.jpg: features .*'cnn': 3.* differ"):
        score(ReIDMetric(), samples)
    samples = make_samples()
    samples[9].features['cnn'] = torch.zeros(1, 8)
    with pytest.raises(ValueError, match=r'photos/0009.jpg: .* shape \(1, 8\)'):
        score(ReIDMetric(), samples)
    samples = make_samples()
    samples[9].set_metainfo({'role': 'train'})
    with pytest.raises(ValueError, match="photos/0009.jpg: role 'train'"):
        score(ReIDMetric(), samples)
    samples = make_samples()
    del samples[9].features
    with pytest.raises(ValueError, match='photos/0009.jpg: the sample lacks features'):
        score(ReIDMetric(), samples)
    samples = make_samples()
    samples[0].features = {}
    with pytest.raises(ValueError, match='photos/0000.jpg: the model gave no feature'):
        score(ReIDMetric(), samples)


def test_bad_sets_are_named():
    with pytest.raises(ValueError, match='has no gallery image among its 15'):
        score(ReIDMetric(), make_samples()[:15])
    with pytest.raises(ValueError, match='has no query image among its 60'):
        score(ReIDMetric(), make_samples(num_query=0))
    with pytest.raises(ValueError, match='2 of 62 samples were not processed.*sample_idx 60'):
        score(ReIDMetric(), make_samples(), size=62)
    with pytest.raises(ValueError, match='photos/0050.jpg: sample_idx 50 is outside'):
        score(ReIDMetric(), make_samples(), size=50)
    with pytest.raises(ValueError, match='no sample was processed'):
        score(ReIDMetric(), [], size=0)
    samples = make_samples()
    for sample in samples[:15]:
        sample.set_metainfo({'person_id': 77})
    with pytest.raises(ValueError, match='none of the 15 queries has a match'):
        score(ReIDMetric(), samples)
    with pytest.raises(ValueError, match=r"\['text'\].*cnn, transformer"):
        score(ReIDMetric(features=['text']), make_samples())
    with pytest.raises(ValueError, match='too small'):
        score(ReIDMetric(memory_limit=100), make_samples())


@pytest.mark.parametrize(
    'options',
    [
        {'topk': ()},
        {'topk': (0,)},
        {'features': []},
        {'collect_device': 'tpu'},
        {'rerank': True},
        {'rerank': {'k3': 1}},
        {'rerank': {'k1': 0}},
        {'rerank': {'lambda_value': 2}},
        {'open_set': ()},
        {'open_set': 0.1},
        {'open_set': [0.1, 0.1]},
        {'open_set': [1.5]},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ReIDMetric(**options)


def test_a_failed_evaluation_leaves_the_metric_clean():
    metric = ReIDMetric()
    with pytest.raises(ValueError, match='not processed'):
        score(metric, make_samples(), size=99)
    assert score(metric, make_samples()) == score(ReIDMetric(), make_samples())


# ---- two processes

WORKER = """
    import datetime, importlib.util, json, os, sys
    import torch
    from mmengine.registry import DefaultScope

    rank, store, test_file, out = int(os.environ['RANK']), *sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2,
        timeout=datetime.timedelta(seconds=60),
    )
    spec = importlib.util.spec_from_file_location('samples', test_file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from fusionreid.evaluation.metrics import ReIDMetric, feature_collector

    feature_collector.GATHER_BYTES = 600  # several rounds
    samples = module.make_samples(61)
    results = {}
    # Rank 0 has a third. Rank 1 repeats a few of rank 0's samples, as a padding sampler does.
    share = samples[::3]
    if rank == 1:
        share = [sample for i, sample in enumerate(samples) if i % 3] + samples[:4]
    results['scores'] = module.score(ReIDMetric(), share, size=61)
    # Three features for two processes.
    more = dict(rerank=dict(k1=6, k2=3), open_set=(0.1,))
    results['reranked'] = module.score(ReIDMetric(**more), share, size=61)
    # Everything on one process.
    results['lopsided'] = module.score(ReIDMetric(), samples if rank == 0 else [], size=61)
    # Given by hand, all in turn.
    own, metric = samples[rank::2], ReIDMetric()
    metric.update(
        {name: torch.stack([each.features[name] for each in own]) for name in own[0].features},
        [each.person_id for each in own],
        [each.camera_id for each in own],
        [each.role for each in own],
    )
    results['by hand'] = metric.compute()
    # A NaN on rank 1 alone: both stop.
    if rank == 1:
        share[5].features['cnn'][0] = float('nan')
    for case, kwargs, size in (
        ('nan', {}, 61), ('limit', {'memory_limit': 100}, 61), ('missing', {}, 70),
        ('k1', {'rerank': {'k1': 99}}, 61),
    ):
        try:
            used = samples if case in ('limit', 'k1') else share
            module.score(ReIDMetric(**kwargs), used, size=size)
        except ValueError as error:
            results[case] = str(error)
        if rank == 1:
            share[5].features['cnn'][0] = 0.5
    with open(f'{out}/{rank}.json', 'w') as file:
        json.dump(results, file)
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(tmp_path):
    script = tmp_path / 'worker.py'
    script.write_text(textwrap.dedent(WORKER))
    logs = [tmp_path / f'printed{rank}.txt' for rank in range(2)]
    assert run_ranks([script, tmp_path / 'store', __file__, tmp_path], logs) == [0, 0], [
        log.read_text()[-3000:] for log in logs
    ]
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    expected = score(ReIDMetric(), make_samples(61))
    for found in (first['scores'], first['lopsided'], first['by hand']):
        assert list(found) == list(expected)
        assert list(found.values()) == pytest.approx(list(expected.values()), abs=1e-6)
    reranked = score(ReIDMetric(rerank=dict(k1=6, k2=3), open_set=(0.1,)), make_samples(61))
    assert list(first['reranked']) == list(reranked)
    assert list(first['reranked'].values()) == pytest.approx(list(reranked.values()), abs=1e-6)
    assert first == second
    assert 'NaN' in first['nan']
    assert 'photos/' in first['nan']
    assert 'too small' in first['limit']
    assert '9 of 70 samples' in first['missing']
    assert 'k1=99' in first['k1']


def test_update_compute_and_reset():
    """As in torchmetrics: what is given adds up, is kept by compute, and forgotten by reset."""
    people, cameras = torch.arange(12) % 4, torch.arange(12) // 4
    roles = ['query'] * 4 + ['gallery'] * 8
    features = torch.randn(12, 6)
    samples = [
        dict(
            img_path=f'{row}.jpg',
            person_id=int(people[row]),
            camera_id=int(cameras[row]),
            role=roles[row],
            sample_idx=row,
            features=dict(feature=features[row]),
        )
        for row in range(12)
    ]
    runner_metric, metric = ReIDMetric(), ReIDMetric()
    runner_metric.process(None, samples)
    expected = runner_metric.evaluate(12)
    for rows in (slice(0, 4), slice(4, 5), slice(5, 12)):
        metric.update(features[rows], people[rows], cameras[rows].tolist(), roles[rows])
    assert metric.compute() == expected
    assert metric.compute() == expected
    metric.update(features[:1], [0], [9], 'gallery')
    assert metric.compute() != expected
    metric.reset()
    with pytest.raises(ScoringError, match='no sample was processed'):
        metric.compute()
    named = dict(a=features, b=features.flip(1))
    metric.update(named, people, role=roles)
    scores = metric.compute()
    assert {'reid/a.mAP', 'reid/b.mAP', 'reid/mAP'} <= set(scores)
    # Without cameras nothing is removed.
    assert (
        scores['reid/a.mAP']
        == ReIDMetric(remove_same_camera=False).compute_metrics(metric._collector.gather_kept())[
            'a.mAP'
        ]
    )
    with pytest.raises(ScoringError, match='11 camera_ids for 12 person_ids'):
        metric.update(features, people, cameras[:11], roles)
    with pytest.raises(ScoringError, match='11 a for 12 person_ids'):
        metric.update(dict(a=features[:11]), people, cameras, roles)
