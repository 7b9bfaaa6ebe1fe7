from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_runs import refused, render_tiny, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.cli.score_maps import choose_pairs
from fusionreid.explain.relevance import METHODS
from fusionreid.registry import MODELS


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return render_tiny(tmp_path_factory.mktemp('score_maps') / 'data')


@pytest.fixture(scope='module')
def checkpoint(data) -> Path:
    cfg = Config.fromfile(write_tiny_config(data.parent, data))
    init_default_scope('fusionreid')
    torch.manual_seed(0)
    state = MODELS.build(cfg.model).state_dict()
    path = data.parent / 'epoch_1.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=state), path)
    return path


@pytest.mark.slow
def test_the_table_has_a_row_for_each_feature_and_method(data, checkpoint, tmp_path, capsys):
    arguments = [str(checkpoint), str(data), '-n', '5', '--batch-size', '2']
    assert run_command('score-maps', [*arguments, '-o', str(tmp_path / 'maps.md')]) == 0
    text = (tmp_path / 'maps.md').read_text()
    assert capsys.readouterr().out == text
    head, *rows = [line for line in text.splitlines() if line.startswith('| ')]
    cells = [re.split(r'\s*\|\s*', row.strip('| ')) for row in rows]
    features = ['cnn', 'transformer', 'cnn_refined', 'transformer_refined']
    features += ['cnn_fused', 'transformer_fused', 'all']
    expected = [(name, method) for name in features for method in METHODS]
    assert [(row[0], row[1]) for row in cells] == expected
    assert re.match(r'5 pairs of photos; the person takes \d\d% of a photo', text)
    assert all(0 <= int(row[2].rstrip('%')) <= 100 for row in cells)
    # Hiding by chance does not depend on the method.
    assert all(first[4] == second[4] for first, second in zip(cells[::2], cells[1::2], strict=True))
    run_command('score-maps', [*arguments, '--method', 'gradcam'])
    only = [line for line in capsys.readouterr().out.splitlines() if '| gradcam' in line]
    assert [re.sub(' +', ' ', line) for line in only] == [
        re.sub(' +', ' ', line) for line in rows[::2]
    ]


def test_pairs_are_two_photos_of_a_person_by_two_cameras(data):
    pairs = choose_pairs(str(data), 9)
    assert len(pairs) == 9
    assert len({left.person for left, _ in pairs[:4]}) == 4  # nobody twice before all once
    for left, right in pairs:
        assert left.person == right.person
        assert left.camera != right.camera
        assert not left.path.startswith('bounding_box_train')
        assert (data / left.path).is_file()


def test_a_folder_that_was_not_rendered_is_named(checkpoint, tmp_path):
    line = refused('score-maps', [str(checkpoint), str(tmp_path)])
    assert 'is no rendered data set: it holds no synthetic.json' in line
