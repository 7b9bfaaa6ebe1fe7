"""What is refused is one line; a bug keeps its traceback."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from fusionreid.cli.main import run_command
from fusionreid.errors import ScoringError, UserError
from fusionreid.evaluation import FeatureSet, functional
from fusionreid.evaluation.functional import ScoringInputError, evaluate_ranking, ranking
from fusionreid.evaluation.functional.nearest_neighbors import _Candidates
from fusionreid.evaluation.metrics import ReIDMetric
from fusionreid.evaluation.metrics.feature_collector import FeatureCollector
from fusionreid.evaluation.scoring_errors import scoring_errors


@pytest.fixture
def feature_set():
    random = torch.Generator().manual_seed(0)
    return FeatureSet(
        features=torch.randn(60, 8, generator=random),
        widths={'cnn': 8},
        person_ids=torch.arange(60) % 5,
        camera_ids=torch.arange(60) % 3,
        roles=['query'] * 20 + ['gallery'] * 40,
        img_paths=[f'photos/{row}.jpg' for row in range(60)],
    )


def test_only_what_is_refused_becomes_a_scoring_error():
    with pytest.raises(ScoringError, match='k=0'), scoring_errors():
        functional.top_k(torch.ones(1, 2), torch.ones(3, 2), 0)
    for bug in (ValueError('bug'), TypeError('bug'), UnicodeError('bug')):
        with pytest.raises(type(bug), match='bug') as raised, scoring_errors():
            raise bug
        assert not isinstance(raised.value, UserError)


@pytest.mark.parametrize('rerank', [None, {'k1': 4, 'k2': 2}])
def test_a_bug_in_scoring_keeps_its_traceback(feature_set, monkeypatch, rerank):
    def broken(*args, **kwargs):
        raise ValueError('a bug')

    if rerank is None:
        monkeypatch.setattr(ranking, 'count_around', broken)
    else:
        monkeypatch.setattr(_Candidates, 'collect', broken)
    with pytest.raises(ValueError, match='a bug') as raised:
        ReIDMetric(rerank=rerank).compute_metrics(feature_set)
    assert type(raised.value) is ValueError
    assert raised.traceback[-1].name == 'broken'


def test_a_bug_in_collecting_keeps_its_traceback(feature_set, monkeypatch):
    def broken(*args, **kwargs):
        raise ValueError('a bug')

    sample = {
        'img_path': 'a.jpg', 'person_id': 1, 'camera_id': 0, 'role': 'query', 'sample_idx': 0,
        'features': {'cnn': torch.ones(4)},
    }  # fmt: skip
    metric = ReIDMetric()
    monkeypatch.setattr(FeatureCollector, '_keep', broken)
    with pytest.raises(ValueError, match='a bug') as raised:
        metric.process(None, [sample])
    assert type(raised.value) is ValueError


@pytest.mark.parametrize('command', ['test', 'compare', 'analyze', 'rank-lists'])
def test_a_bug_passes_the_command_line(feature_set, monkeypatch, tmp_path, command):
    def broken(*args, **kwargs):
        raise ValueError('a bug')

    feature_set.save(tmp_path)
    monkeypatch.setattr(ranking, 'count_around', broken)
    options = {'test': ['--from', tmp_path], 'rank-lists': [tmp_path, '-o', tmp_path / 'a.png']}
    with pytest.raises(ValueError, match='a bug') as raised:
        run_command(command, [str(each) for each in options.get(command, [tmp_path])])
    assert type(raised.value) is ValueError


def test_refused_input_has_one_type():
    with pytest.raises(ScoringInputError, match='NaN'):
        evaluate_ranking(torch.full((1, 2), torch.nan), torch.ones(1, 2), [1], [1], [0], [1])
    # All that the functional core raises on purpose is of that type, or says that a type is wrong.
    for path in Path(functional.__file__).parent.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                assert node.exc.func.id in ('ScoringInputError', 'MemoryLimitError', 'TypeError')
