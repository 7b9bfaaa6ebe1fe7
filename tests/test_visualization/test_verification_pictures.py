"""Pictures of pairs and of camera pairs show the numbers that they are drawn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle
from torch.nn.functional import normalize

from fusionreid.evaluation.functional import evaluate_camera_pairs, evaluate_verification
from fusionreid.visualization import draw_camera_pairs, draw_verification

LONG = 'a protocol of many words, ' * 12


def people(num_query=40, num_gallery=300, num_cameras=3, noise=0.8):
    random = torch.Generator().manual_seed(0)
    total, n = num_query + num_gallery, num_query
    ids = torch.randint(12, (total,), generator=random)
    cameras = torch.randint(num_cameras, (total,), generator=random)
    features = torch.randn(12, 16, generator=random)[ids]
    features = normalize(features + noise * torch.randn(total, 16, generator=random))
    return features[:n], features[n:], ids[:n], ids[n:], cameras[:n], cameras[n:]


def shown(ax):
    return [text.get_text() for text in ax.texts]


def assert_inside(figure):
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    texts = [*figure.texts]
    for ax in figure.axes:
        texts += [*ax.texts, ax.xaxis.label, ax.yaxis.label]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            # Ticks outside are not drawn.
            texts += [
                tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    # Panels, their titles included, stay below the protocol.
    head = min(text.get_window_extent().y0 for text in figure.texts)
    assert max(ax.get_tightbbox().y1 for ax in figure.axes) < head
    for text in texts:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text.get_text()
        assert box.x1 <= width, text.get_text()
        assert box.y1 <= height, text.get_text()


def test_histogram_and_roc():
    result = evaluate_verification(*people(), fprs=(0.05, 0.01))
    figure = draw_verification(result, 'R50 + ViT-B', 'MSMT17')
    assert [text.get_text() for text in figure.texts] == ['R50 + ViT-B', 'MSMT17']
    histogram, roc = figure.axes
    labels = [text.get_text() for text in histogram.get_legend().get_texts()]
    assert labels == [
        f'same person ({result.num_same:,} pairs)',
        f'different people ({result.num_different:,} pairs)',
    ]
    # Each kind sums up to 100%.
    for patch in histogram.patches:
        assert patch.get_data().values.sum() == pytest.approx(100)
    (line,) = histogram.lines
    assert line.get_xdata() == [result.eer_threshold] * 2
    assert any(f'equal errors at {result.eer_threshold:.3f}' in text for text in shown(histogram))
    for point in result.operating_points:
        assert f'{100 * point.tpr:.1f}%' in shown(roc)
    assert f'EER {100 * result.eer:.1f}%' in shown(roc)
    curve = roc.lines[0]
    assert (np.diff(curve.get_ydata()) >= 0).all()
    assert curve.get_ydata()[-1] == 100
    marked = [(mark.get_xdata()[0], mark.get_ydata()[0]) for mark in roc.lines[2:]]
    points = [(point.target_fpr, 100 * point.tpr) for point in result.operating_points]
    assert marked == [*points, (result.eer, 100 * (1 - result.eer))]


@pytest.mark.slow
@pytest.mark.parametrize('noise', [0.0, 0.1, 0.8, 50])
def test_everything_stays_inside_the_picture_of_pairs(noise):
    """From features that tell everybody apart (EER 0) to noise."""
    result = evaluate_verification(*people(noise=noise), fprs=(0, 1e-9, 0.01, 1))
    assert_inside(draw_verification(result, 'title', LONG))


def test_few_pairs_are_warned_of_and_rates_below_one_pair_are_not_offered():
    data = people(num_query=9, num_gallery=23)
    result = evaluate_verification(*data, fprs=(0.01, 0.001, 0.0001))
    assert 100 < result.num_different < 1000
    assert [point.target_fpr for point in result.measured_points] == [0.01]
    figure = draw_verification(result, 'title', 'MSMT17')
    assert_inside(figure)
    protocol = ' '.join(figure.texts[1].get_text().split())
    assert f'few pairs ({result.num_same} of the same person' in protocol
    assert 'and 0.1%, 0.01% wrongly accepted cannot be measured' in protocol
    # The operating point and the equal error rate.
    assert len(figure.axes[1].texts[1:]) == 2
    assert all(mark.get_xdata()[0] >= 0.009 for mark in figure.axes[1].lines[2:])


def test_pairs_enough_are_not_warned_of():
    result = evaluate_verification(*people(num_query=60), fprs=(0.01,))
    assert result.num_same >= 100
    assert result.num_different >= 1000
    assert result.measured_points == result.operating_points
    figure = draw_verification(result, 'title', 'MSMT17')
    assert figure.texts[1].get_text() == 'MSMT17'


def test_the_roc_keeps_off_the_edges():
    roc = draw_verification(evaluate_verification(*people(noise=0)), 'title').axes[1]
    (left, right), (low, high) = roc.get_xlim(), roc.get_ylim()
    for line in roc.lines:
        assert left < min(line.get_xdata())
        assert max(line.get_xdata()) < right
        assert low < min(line.get_ydata())
        assert max(line.get_ydata()) < high


def test_camera_maps():
    result = evaluate_camera_pairs(*people())
    figure = draw_camera_pairs(result, 'R50', 'MSMT17')
    assert [text.get_text() for text in figure.texts] == ['R50', 'MSMT17']
    for ax, name, scores in zip(
        figure.axes, ('Rank-1', 'mAP'), (result.cmc[..., 0], result.mAP), strict=True
    ):
        texts = shown(ax)
        assert ax.get_title(loc='left') == name
        cells = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert [bool(cell.get_hatch()) for cell in cells] == [
            row == column for row in range(3) for column in range(3)
        ]
        for row in range(3):
            for column in range(3):
                if row != column:
                    assert f'{100 * float(scores[row, column]):.1f}' in texts
                    assert f'n={result.num_valid_queries[row, column]}' in texts
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ['1', '2', '3']
        # The darkest cell is the best one.
        best = int(scores.nan_to_num(-1).argmax())
        darkness = [3 - sum(cell.get_facecolor()[:3]) for cell in cells]
        assert np.argmax(darkness) == best


def test_scores_that_are_all_the_same_and_unknown_cameras():
    result = evaluate_camera_pairs(*people())
    same = torch.where(result.mAP.isnan(), result.mAP, 0.5)
    result = replace(result, mAP=same, query_cameras=torch.tensor([-1, 0, 1]))
    figure = draw_camera_pairs(result, 'title')
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ['?', '1', '2']
    assert 'in percent, 50.0 to 50.0' in shown(figure.axes[1])


@pytest.mark.slow
@pytest.mark.parametrize('num_cameras', [1, 2, 15])
def test_everything_stays_inside_the_picture_of_cameras(num_cameras):
    data = people(num_cameras=num_cameras)
    result = evaluate_camera_pairs(*data, remove_same_camera=num_cameras > 1)
    assert_inside(draw_camera_pairs(result, 'title', LONG))
