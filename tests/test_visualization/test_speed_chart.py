from __future__ import annotations

import pytest

from fusionreid.visualization import SpeedBar, draw_speed_chart, figure_pixels


def test_bars_are_as_long_as_their_phases_and_stand_in_order():
    bars = [
        SpeedBar('fp32', dict(forward=100.0, backward=200.0), '3 images/s'),
        SpeedBar('bf16', dict(forward=40.0, backward=60.0)),
    ]
    figure = draw_speed_chart({'Training': bars, 'Extraction': []}, 'A model', 'a machine')
    (ax,) = figure.axes  # a panel without bars is left out
    pieces = [
        (bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in ax.patches
    ]
    assert [tuple(map(round, piece)) for piece in pieces] == [
        (1, 0, 100),
        (1, 100, 200),
        (0, 0, 40),
        (0, 40, 60),
    ]
    assert ax.get_xlim()[1] == 300
    assert '3 images/s' in [text.get_text() for text in ax.texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['forward', 'backward']
    assert figure_pixels(figure).std() > 10


@pytest.mark.parametrize(
    'times', [{}, {f'phase {number}': 1.0 for number in range(8)}], ids=['none', 'too many']
)
def test_phases_that_cannot_be_drawn(times):
    with pytest.raises(ValueError, match='expected one to 7 phases'):
        draw_speed_chart({'Training': [SpeedBar('x', times)]}, 'A model')
