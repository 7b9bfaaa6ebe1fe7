"""Scores of an ablation against what its models cost."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from ablation_folders import score, write_runs
from tiny_runs import refused

from fusionreid.cli import ablation_pareto as tool
from fusionreid.cli.complexity import measure_config
from fusionreid.cli.main import run_command
from fusionreid.config import read_config
from fusionreid.visualization.pareto import draw_pareto, pareto_front

VARIANTS = ['cnn', 'fusion_l2', 'lite_patch_mlp', 'lite_pooled_once']


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return write_runs(tmp_path_factory.mktemp('pareto') / 'runs', VARIANTS, [0, 1], [])


@pytest.mark.slow
def test_scores_against_multiply_adds_and_time(folder, tmp_path, monkeypatch, capsys):
    figures: list = []
    monkeypatch.setattr(tool, 'save_picture', lambda figure, _: figures.append(figure))
    options = ['-o', 'a.png', '--latency', '--rounds', '2']
    assert run_command('ablation-pareto', [str(folder), *options]) == 0
    by_macs, by_time = figures[0].axes
    assert (by_macs.get_xlabel(), by_time.get_xlabel()) == (tool.MACS, tool.LATENCY)
    totals = [
        measure_config(read_config(folder / name / 'config.py'))['total'].macs / 1e9
        for name in VARIANTS
    ]
    dots = [container.lines[0] for container in by_macs.containers]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx(totals)
    widths = dict.fromkeys(VARIANTS, 128) | {'cnn': 0}
    means = [
        statistics.fmean(score(name, seed, widths[name]) for seed in (0, 1)) for name in VARIANTS
    ]
    assert [dot.get_ydata()[0] for dot in dots] == pytest.approx(means)
    assert all(container.lines[0].get_xdata()[0] > 0 for container in by_time.containers)
    title, protocol, *names = (text.get_text() for text in figures[0].texts)
    assert title == 'mAP against cost'
    assert protocol.startswith('Synthetic; feature all; seeds 0, 1; ')
    assert 'batches of one' in protocol
    titles = ['CNN alone', 'fusion, L = 2', 'no MLP on patches', 'pooled 2x2, once']
    assert names == [f'{place}  {title}' for place, title in enumerate(titles, 1)]
    rows = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith('|')
    ]
    assert rows[0] == ['', 'model', 'mAP', 'GMACs', 'of the fusion', 'computed', 'ms']
    fusion = [float(row[4]) for row in rows[2:]]
    assert fusion[0] == 0 < fusion[3] < fusion[2] < fusion[1]
    assert all(float(row[5]) < 1.1 * float(row[3]) for row in rows[2:])


def test_folders_that_do_not_fit_end_in_one_line(folder, tmp_path):
    missing = refused('ablation-pareto', [str(tmp_path / 'none'), '-o', 'a.png'])
    assert 'holds no results of fusionreid ablate' in missing
    other = write_runs(
        tmp_path / 'other', ['cnn'], [0], ['test_dataloader.dataset.dataset_name=Yard']
    )
    mixed = refused('ablation-pareto', [str(folder), str(other), '-o', 'a.png'])
    assert mixed == (
        'error: scores of different data sets belong in different pictures: Synthetic, Yard'
    )


def test_the_front_against_all_pairs():
    costs, scores = [3, 1, 2, 2, 5, 4, 1], [60.0, 50.0, 55.0, 58.0, 61.0, 60.0, 50.0]
    expected = {
        place
        for place in range(7)
        if not any(
            costs[other] <= costs[place]
            and scores[other] >= scores[place]
            and (costs[other], scores[other]) != (costs[place], scores[place])
            for other in range(7)
        )
    }
    front = pareto_front(costs, scores)
    assert set(front) == expected - {6}  # one of two equal models
    assert [costs[place] for place in front] == sorted(costs[place] for place in front)


def test_names_stay_inside_the_figure():
    names = [f'a long name of model number {place}' for place in range(16)]
    scores = {name: [50.0 + place, 52.0] for place, name in enumerate(names)}
    costs = {'GMACs': {name: float(place) for place, name in enumerate(names)}}
    figure = draw_pareto(scores, costs, 'Title', 'protocol')
    figure.canvas.draw()
    width, _ = figure.canvas.get_width_height()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert max(box.x1 for box in boxes) <= width
    assert min(box.y0 for box in boxes) >= 0
    for upper, lower in zip(boxes[2:], boxes[3:], strict=False):
        assert lower.y1 <= upper.y0
    with pytest.raises(ValueError, match='got 0 models'):
        draw_pareto({}, costs, 'Title')
