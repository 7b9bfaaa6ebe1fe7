from __future__ import annotations

import pytest

from fusionreid.visualization.study_chart import TrialPoint, draw_study

POINTS = [
    TrialPoint(0, 50.0, False, {'lr': 1e-4, 'units': "['seu']"}),
    TrialPoint(2, 40.0, True, {'lr': 1e-2, 'units': "['seu', 'mfu']"}),
    TrialPoint(3, 60.0, False, {'lr': 1e-3, 'units': "['seu']"}),
]


def test_each_setting_has_a_panel_and_each_trial_a_point():
    figure = draw_study(POINTS, 'reid/mAP', 'Search', 'a protocol', ['lr'])
    trials, rate, units = figure.axes
    assert [ax.get_title(loc='left') for ax in figure.axes] == ['trials', 'lr', 'units']
    done, pruned = (each.get_offsets().tolist() for each in trials.collections)
    assert (done, pruned) == ([[0, 50], [3, 60]], [[2, 40]])
    (best,) = trials.lines
    assert list(best.get_ydata()) == [50, 50, 60]
    assert rate.get_xscale() == 'log'
    assert rate.collections[1].get_offsets().tolist() == [[1e-2, 40]]
    assert [label.get_text() for label in units.get_xticklabels()] == ["['seu', 'mfu']", "['seu']"]


def test_many_settings_take_several_rows_and_long_names_their_ends():
    name = 'model.branches.transformer.backbone.drop_path_rate'
    settings = {name: 0.1, **{f's{number}': number for number in range(4)}}
    figure = draw_study([TrialPoint(0, 50.0, False, settings)], 'mAP', 'Search')
    titles = [ax.get_title(loc='left') for ax in figure.axes]
    assert titles[1] == '...backbone.drop_path_rate'
    assert len({round(ax.get_position().y0, 3) for ax in figure.axes}) == 2


def test_without_trials_there_is_no_picture():
    with pytest.raises(ValueError, match='no trial'):
        draw_study([], 'mAP', 'Search')
