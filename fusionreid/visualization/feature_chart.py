import textwrap
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .training_curves import FAINT_COLOR, GRID_COLOR, RUN_COLORS, TEXT_COLOR

# Inches.
BAR_WIDTH = 0.34
GROUP_GAP = 0.5
MARGIN = 0.75
MIN_WIDTH = 8.0
PLOT_HEIGHT = 3.2
HEAD = 1.45
FOOT = 0.95
LINE_HEIGHT = 0.2
LETTERS_PER_INCH = 13


def draw_feature_chart(
    scores: Mapping[str, Mapping[str, float]], title: str, protocol: str = ''
) -> Figure:
    """Draws the scores of features as bars, a group for each feature.

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
    """
    metrics = _check(scores)
    step = len(metrics) * BAR_WIDTH + GROUP_GAP
    width = max(MIN_WIDTH, len(scores) * step + 2 * MARGIN)
    lines = textwrap.wrap(protocol, int((width - 2 * MARGIN) * LETTERS_PER_INCH))
    head = HEAD + LINE_HEIGHT * max(0, len(lines) - 1)
    height = head + PLOT_HEIGHT + FOOT
    figure = Figure(figsize=(width, height), dpi=150, facecolor='white')
    FigureCanvasAgg(figure)
    left = MARGIN / width
    ax = figure.add_axes((left, FOOT / height, 1 - 2 * left, PLOT_HEIGHT / height))
    figure.text(left, 1 - 0.45 / height, title, fontsize=17, fontweight='bold', color=TEXT_COLOR)
    figure.text(left, 1 - 0.6 / height, '\n'.join(lines), fontsize=10, color=FAINT_COLOR, va='top')

    centers = [group * step for group in range(len(scores))]
    for place, metric in enumerate(metrics):
        offset = (place - (len(metrics) - 1) / 2) * BAR_WIDTH
        values = [row[metric] for row in scores.values()]
        bars = ax.bar(
            [center + offset for center in centers],
            values,
            width=0.9 * BAR_WIDTH,
            color=RUN_COLORS[place],
            label=metric,
        )
        ax.bar_label(bars, fmt='%.1f', padding=2, fontsize=7.5, color=TEXT_COLOR)
    ax.set_xticks(centers, [name.replace('_', '\n') for name in scores], fontsize=10)
    ax.set_xlim(-step / 2, -step / 2 + width - 2 * MARGIN)  # inches
    ax.set_ylim(0, 100)
    ax.set_ylabel('percent', fontsize=10, color=FAINT_COLOR)
    ax.tick_params(axis='x', colors=TEXT_COLOR, length=0)
    ax.tick_params(axis='y', labelsize=10, colors=FAINT_COLOR, length=0)
    ax.grid(axis='y', color=GRID_COLOR, linewidth=0.8)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side == 'bottom')
        spine.set_color(FAINT_COLOR)
    figure.legend(
        [Patch(color=color) for color in RUN_COLORS[: len(metrics)]],
        metrics,
        loc='upper left',
        bbox_to_anchor=(left, (FOOT + PLOT_HEIGHT + 0.48) / height),
        borderaxespad=0,
        borderpad=0,
        labelcolor=TEXT_COLOR,
        ncols=len(metrics),
        frameon=False,
        fontsize=11,
        handlelength=1.0,
    )
    return figure


def _check(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of the scores, which are the same for all features."""
    metrics = list(next(iter(scores.values()), {}))
    if not metrics:
        raise ValueError('scores must hold at least one feature with a score')
    if len(metrics) > len(RUN_COLORS):
        raise ValueError(f'at most {len(RUN_COLORS)} scores can be told apart, got {metrics}')
    for name, row in scores.items():
        if list(row) != metrics:
            raise ValueError(f'feature {name!r} has the scores {list(row)}, the first {metrics}')
        for metric, value in row.items():
            if not 0 <= value <= 100:
                raise ValueError(f'{metric} of {name!r} must be in percent, got {value}')
    return metrics
