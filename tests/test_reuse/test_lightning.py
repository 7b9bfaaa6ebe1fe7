"""The Lightning example of the documents; skipped where Lightning is not installed."""

from __future__ import annotations

import sys

import pytest
from documents import blocks
from tiny_runs import ROOT

from fusionreid.evaluation.metrics import ReIDMetric

pytest.importorskip('lightning')


def test_the_example_of_the_documents_trains_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    scores = []
    compute = ReIDMetric.compute
    monkeypatch.setattr(
        ReIDMetric, 'compute', lambda self: scores.append(compute(self)) or scores[-1]
    )
    names = {'__name__': 'docs'}
    try:
        for block in blocks(ROOT / 'docs' / 'pytorch.md'):
            if block.kind == 'file':
                (tmp_path / block.value.rpartition('/')[2]).write_text(block.text)
            elif block.language == 'python':
                exec(block.text, names)
    finally:
        sys.modules.pop('reid_module', None)
    # One of the loop, and one of each epoch of Lightning.
    assert len(scores) == 6
    assert scores[-1]['reid/mAP'] > 50
    assert names['trainer'].callback_metrics['loss_id'] < 2
