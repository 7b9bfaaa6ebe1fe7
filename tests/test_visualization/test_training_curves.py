"""Histories of training runs, their chart, and the command that draws it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fusionreid.cli.main import run_command
from fusionreid.errors import UserError
from fusionreid.visualization import draw_training_curves, read_training_history


def train_record(epoch, iteration, loss=1.0, lr=0.01):
    return {
        'lr': lr,
        'loss': 4 * loss,
        'cnn.loss_id': loss,
        'transformer.loss_id': 3 * loss,
        'cnn.loss_triplet': loss / 2,
        'epoch': epoch,
        'iter': iteration,
        'step': iteration,
    }


def val_record(epoch, mean_ap=50.0):
    return {'reid/mAP': mean_ap, 'reid/rank1': 75.0, 'reid/cnn.mAP': 1.0, 'step': epoch}


def write_start(work_dir, timestamp, records, tail=''):
    file = work_dir / timestamp / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text(''.join(json.dumps(record) + '\n' for record in records) + tail)


@pytest.fixture
def work_dir(tmp_path):
    """A run of three epochs that was stopped in the third and resumed."""
    run = tmp_path / 'run'
    first = [val_record(0, 10.0)]
    first += [train_record(1, 10, loss=4.0), train_record(1, 20, loss=2.0), val_record(1, 20.0)]
    first += [train_record(2, 30, loss=1.0), val_record(2, 30.0), train_record(3, 50, loss=99.0)]
    write_start(run, '20260101_000000', first, tail='{"lr": 0.0')
    second = [train_record(3, 60, loss=0.5), val_record(3, 40.0)]
    write_start(run, '20260102_000000', second)
    return run


def panel_lines(figure):
    """Title of each panel to the (x, y) of its lines."""
    return {
        ax.get_title(loc='left'): [
            (line.get_xdata().tolist(), np.asarray(line.get_ydata()).tolist())
            for line in ax.get_lines()
        ]
        for ax in figure.axes
    }


def test_history_averages_an_epoch_and_joins_a_resumed_run(work_dir):
    history = read_training_history(work_dir)
    assert {epoch: row['loss'] for epoch, row in history.train.items()} == {1: 12.0, 2: 4.0, 3: 2.0}
    assert {epoch: row['reid/mAP'] for epoch, row in history.val.items()} == {
        0: 10.0,
        1: 20.0,
        2: 30.0,
        3: 40.0,
    }


def test_history_forgets_epochs_that_were_repeated(work_dir):
    write_start(work_dir, '20260103_000000', [train_record(2, 25, loss=0.25)])
    history = read_training_history(work_dir)
    assert {epoch: row['loss'] for epoch, row in history.train.items()} == {1: 12.0, 2: 1.0}
    assert sorted(history.val) == [0, 1]


def test_validation_alone_does_not_count_as_a_new_start(work_dir):
    write_start(work_dir, '20260103_000000', [val_record(0, 90.0)])
    history = read_training_history(work_dir)
    assert sorted(history.train) == [1, 2, 3]
    assert history.val[0]['reid/mAP'] == 10.0


def test_panels_show_the_logged_numbers(work_dir):
    figure = draw_training_curves({'run': read_training_history(work_dir)}, 'Title')
    panels = panel_lines(figure)
    assert panels['ID loss'] == [([1, 2, 3], [6.0, 2.0, 1.0])]  # mean of the two heads
    assert panels['Triplet loss'] == [([1, 2, 3], [1.5, 0.5, 0.25])]
    assert panels['Learning rate'] == [([1, 2, 3], [0.01] * 3)]
    mean_ap, rank1 = panels['mAP and Rank-1']
    assert mean_ap[0] == [0, 1, 2, 3]
    assert np.allclose(mean_ap[1], [10, 20, 30, 40])
    assert np.allclose(rank1[1], 75)
    assert 'Title' in {text.get_text() for text in figure.texts}


def test_plain_rate_is_preferred_to_a_multiplied_one(tmp_path):
    write_start(tmp_path, 'start', [train_record(1, 1, lr=0.02) | {'base_lr': 0.01}])
    figure = draw_training_curves({'run': read_training_history(tmp_path)})
    assert panel_lines(figure)['Learning rate'] == [([1], [0.01])]


def test_runs_have_their_own_colors_and_a_legend(work_dir):
    history = read_training_history(work_dir)
    figure = draw_training_curves({f'run {i}': history for i in range(9)})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f'run {i}' for i in range(9)]
    styles = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(styles) == 9


def test_lines_keep_off_the_edges(tmp_path):
    """Also where a loss or a rate is 0, and a score 0 or 100."""
    records = [val_record(0, 0.0), train_record(1, 1), val_record(1, 100.0)]
    write_start(tmp_path, 'start', [*records, train_record(2, 2, loss=0.0, lr=0.0)])
    figure = draw_training_curves({'run': read_training_history(tmp_path)})
    for ax in figure.axes:
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        for line in ax.get_lines():
            assert left < min(line.get_xdata())
            assert max(line.get_xdata()) < right
            assert low < min(line.get_ydata())
            assert max(line.get_ydata()) < high


def test_close_ends_are_written_apart(work_dir):
    history = read_training_history(work_dir)
    figure = draw_training_curves({f'run {i}': history for i in range(3)})
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[3].texts if text.get_text() == '40.0']
    assert len(boxes) == 3
    for below, above in zip(boxes, boxes[1:], strict=False):
        assert below.y1 < above.y0


def test_run_without_validation_is_drawn(tmp_path):
    write_start(tmp_path, 'start', [train_record(1, 1), train_record(2, 2)])
    figure = draw_training_curves({'run': read_training_history(tmp_path)})
    assert panel_lines(figure)['mAP and Rank-1'] == [([], []), ([], [])]
    assert 'no validation was logged' in {text.get_text() for text in figure.axes[3].texts}


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(UserError, match='scalars.json'):
        read_training_history(tmp_path)
    with pytest.raises(ValueError, match='at least one run'):
        draw_training_curves({})
    write_start(tmp_path / 'val', 'start', [val_record(0)])
    with pytest.raises(UserError, match='no epoch of training'):
        read_training_history(tmp_path / 'val')
    broken = tmp_path / 'broken' / 'start' / 'vis_data' / 'scalars.json'
    broken.parent.mkdir(parents=True)
    broken.write_text('{"epoch": 1\n' + json.dumps(train_record(1, 1)) + '\n')
    with pytest.raises(UserError, match=r'scalars.json, line 1 is not JSON'):
        read_training_history(broken.parents[2])


def curves(*arguments) -> int:
    return run_command('curves', [*map(str, arguments)])


def test_command_writes_a_picture(work_dir, tmp_path, capsys):
    out = tmp_path / 'pictures' / 'curves.png'
    assert curves(work_dir, '-o', out) == 0
    assert out.read_bytes().startswith(b'\x89PNG')
    assert 'run' in capsys.readouterr().out


def test_command_states_what_is_wrong(work_dir, tmp_path, capsys):
    out = tmp_path / 'out.png'
    with pytest.raises(SystemExit, match=r'^error: .*missing holds no'):
        curves(tmp_path / 'missing', '-o', out)
    for arguments, message in (
        ([work_dir], 'must differ'),
        (['--names', 'a', 'b'], '1 work dirs need as many names'),
    ):
        with pytest.raises(SystemExit) as stop:
            curves(work_dir, *arguments, '-o', out)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r'^error: .*out\.xyz cannot be drawn'):
        curves(work_dir, '-o', tmp_path / 'out.xyz')
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize('number', [1, 6, 21])
def test_the_legend_stays_clear_of_the_panels(work_dir, number):
    history = read_training_history(work_dir)
    figure = draw_training_curves({f'run {i}': history for i in range(number)})
    figure.canvas.draw()
    legend = figure.legends[0].get_window_extent()
    assert legend.y1 < figure.texts[0].get_window_extent().y0
    assert legend.y0 > max(ax.get_tightbbox().y1 for ax in figure.axes)
