"""A chart of the scores of features."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes

# Inches.
BAR_WIDTH = 0.34
GROUP_GAP = 0.5
MARGIN = 0.75
MIN_WIDTH = 8.0
PLOT_HEIGHT = 3.2
FOOT = 0.95


def draw_feature_chart(
    scores: Mapping[str, Mapping[str, float]], title: str, protocol: str = ''
) -> Figure:
    """Draw the scores of features as bars, a group for each feature.

    Args:
        scores: Name of each feature to its scores in percent by name, e.g. ``{'cnn': {'mAP': 54.3,
            'Rank-1': 78.1}}``; all have the same scores, seven at most.
        title: First line.
        protocol: Second line: data set, what was left out.

    Returns:
        The figure, ready for ``savefig``; the more features, the wider it is.

    Raises:
        ValueError: If there is no feature or no score, features have different scores, or a score
            is outside 0..100.

    Example:
        >>> scores = {'cnn': {'mAP': 54.3, 'Rank-1': 78.1}, 'all': {'mAP': 69.5, 'Rank-1': 89.0}}
        >>> figure = draw_feature_chart(scores, 'FusionReID', 'MSMT17')
        >>> [text.get_text() for text in figure.axes[0].get_xticklabels()]
        ['cnn', 'all']
    """
    metrics = _check(scores)
    step = len(metrics) * BAR_WIDTH + GROUP_GAP
    width = max(MIN_WIDTH, len(scores) * step + 2 * MARGIN)
    chart = Chart(width, PLOT_HEIGHT + FOOT, title, protocol, margins=(MARGIN, MARGIN))
    ax = chart.add_axes(MARGIN, FOOT, width - 2 * MARGIN, PLOT_HEIGHT)
    style_axes(ax, grid='y')
    centers = [group * step for group in range(len(scores))]
    for place, metric in enumerate(metrics):
        offset = (place - (len(metrics) - 1) / 2) * BAR_WIDTH
        values = [row[metric] for row in scores.values()]
        bars = ax.bar(
            [center + offset for center in centers],
            values,
            width=0.9 * BAR_WIDTH,
            color=SERIES_COLORS[place],
            label=metric,
        )
        ax.bar_label(bars, fmt='%.1f', padding=2, fontsize=7.5, color=TEXT_COLOR)
    ax.set_xticks(centers, [name.replace('_', '\n') for name in scores], fontsize=10)
    ax.set_xlim(-step / 2, -step / 2 + width - 2 * MARGIN)  # inches
    ax.set_ylim(0, 100)
    ax.set_ylabel('percent', fontsize=10, color=FAINT_COLOR)
    ax.tick_params(axis='x', colors=TEXT_COLOR)
    chart.figure.legend(
        [Patch(color=color) for color in SERIES_COLORS[: len(metrics)]],
        metrics,
        loc='upper left',
        bbox_to_anchor=(MARGIN / width, (FOOT + PLOT_HEIGHT + 0.48) / chart.height),
        borderaxespad=0,
        borderpad=0,
        labelcolor=TEXT_COLOR,
        ncols=len(metrics),
        frameon=False,
        fontsize=11,
        handlelength=1.0,
    )
    return chart.figure


def _check(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of the scores, which are the same for all features."""
    metrics = list(next(iter(scores.values()), {}))
    if not metrics:
        raise ValueError('scores must hold at least one feature with a score')
    if len(metrics) > len(SERIES_COLORS):
        raise ValueError(f'at most {len(SERIES_COLORS)} scores can be told apart, got {metrics}')
    for name, row in scores.items():
        if list(row) != metrics:
            raise ValueError(f'feature {name!r} has the scores {list(row)}, the first {metrics}')
        for metric, value in row.items():
            if not 0 <= value <= 100:
                raise ValueError(f'{metric} of {name!r} must be in percent, got {value}')
    return metrics
