import numpy as np
import pytest

from fusionreid.visualization import draw_feature_chart

SCORES = {
    'cnn': {'mAP': 54.3, 'Rank-1': 78.1, 'mINP': 10.0},
    'transformer_refined': {'mAP': 64.6, 'Rank-1': 83.2, 'mINP': 0.0},
    'all': {'mAP': 69.5, 'Rank-1': 100.0, 'mINP': 20.0},
}


def texts(figure):
    return [text.get_text() for text in figure.texts]


def test_a_bar_for_every_score_of_every_feature():
    figure = draw_feature_chart(SCORES, 'R50 + ViT-B', 'MSMT17')
    (ax,) = figure.axes
    bars = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    assert bars == {
        metric: [row[metric] for row in SCORES.values()] for metric in ('mAP', 'Rank-1', 'mINP')
    }
    labels = [tick.get_text() for tick in ax.get_xticklabels()]
    assert labels == ['cnn', 'transformer\nrefined', 'all']
    assert {'54.3', '78.1', '0.0', '100.0'} <= {text.get_text() for text in ax.texts}
    assert texts(figure) == ['R50 + ViT-B', 'MSMT17']
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['mAP', 'Rank-1', 'mINP']


def test_groups_stand_apart_over_their_names():
    (ax,) = draw_feature_chart(SCORES, '').axes
    by_feature = zip(*ax.containers, strict=True)
    spans = [(group[0].get_x(), group[-1].get_x() + group[-1].get_width()) for group in by_feature]
    assert all(end < start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    assert np.allclose([sum(span) / 2 for span in spans], ax.get_xticks())


@pytest.mark.parametrize('number', [1, 12])
def test_everything_stays_inside_the_picture(number):
    scores = {f'transformer_refined_{index}': SCORES['cnn'] for index in range(number)}
    figure = draw_feature_chart(scores, 'title', 'a protocol of many words, ' * 12)
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for text in [*figure.texts, *figure.axes[0].get_xticklabels()]:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    # The legend stands between the protocol and the bars.
    legend = figure.legends[0].get_window_extent()
    assert legend.y1 < figure.texts[1].get_window_extent().y0
    assert legend.y0 > figure.axes[0].get_window_extent().y1


@pytest.mark.parametrize(
    ('scores', 'message'),
    [
        ({}, 'at least one feature'),
        ({'cnn': {}}, 'at least one feature'),
        ({'cnn': {'mAP': 1.0}, 'all': {'mINP': 1.0}}, "'all' has the scores"),
        ({'cnn': {'mAP': 101.0}}, "mAP of 'cnn' must be in percent, got 101.0"),
        ({'cnn': {'mAP': float('nan')}}, 'got nan'),
        ({'cnn': {f'm{index}': 1.0 for index in range(8)}}, 'at most 7 scores'),
    ],
)
def test_bad_scores_are_named(scores, message):
    with pytest.raises(ValueError, match=message):
        draw_feature_chart(scores, 'title')
