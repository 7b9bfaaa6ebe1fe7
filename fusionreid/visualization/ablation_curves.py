"""Scores against a setting: mean and deviation over seeds, as the ablation plots of papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes, title_axes

# Inches.
LEFT, PANEL_WIDTH, GAP, RIGHT = 0.66, 4.6, 0.8, 0.4
FOOT, PANEL_HEIGHT, LEGEND_ROW = 0.62, 3.2, 0.27
# Width of an entry of the legend: of a letter, and of the line before it.
LETTER, HANDLE = 0.095, 0.65
MARKERS = 'osD^vPX'
DASHES = ('--', ':', '-.')

# By score's name, of each value of the setting: one number for each seed.
Curve = Mapping[float, Mapping[str, Sequence[float]]]


def draw_ablation_curves(
    curves: Mapping[str, Curve],
    setting: str,
    title: str,
    protocol: str = '',
    references: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Figure:
    """Draw scores against a setting, a panel for each score.

    The values of the setting stand at equal distances. A line goes through the means over the
    seeds; the bars are the sample standard deviation, where there are two seeds or more.

    Args:
        curves: Name of each line to its scores in percent by value and name of the score; all
            have the same scores.
        setting: What the horizontal axis is.
        title: First line.
        protocol: Second line: data set, features, seeds.
        references: Name to scores in percent of what has no such setting, drawn as level lines.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If there is no curve, or more than can be told apart.

    Example:
        >>> curve = {1: {'mAP': [78.0, 80.0]}, 2: {'mAP': [83.0, 84.0]}}
        >>> figure = draw_ablation_curves({'fusion': curve}, 'L', 'mAP against L')
        >>> [ax.get_title(loc='left') for ax in figure.axes]
        ['mAP']
    """
    references = references or {}
    if not curves or len(curves) > len(SERIES_COLORS) or len(references) > len(DASHES):
        raise ValueError(
            f'1 to {len(SERIES_COLORS)} curves and up to {len(DASHES)} references can be told '
            f'apart, got {len(curves)} and {len(references)}'
        )
    metrics = list(next(iter(next(iter(curves.values())).values())))
    values = sorted({value for curve in curves.values() for value in curve})
    width = LEFT + len(metrics) * (PANEL_WIDTH + GAP) - GAP + RIGHT
    entries = [*curves, *references]
    entry_width = max(map(len, entries)) * LETTER + HANDLE
    columns = min(len(entries), max(1, int((width - LEFT - RIGHT) / entry_width)))
    rows = -(-len(entries) // columns)
    several = any(len(s) > 1 for c in curves.values() for v in c.values() for s in v.values())
    unit = 'percent; mean and standard deviation over seeds' if several else 'percent'
    chart = Chart(
        width,
        FOOT + PANEL_HEIGHT,
        title,
        protocol,
        margins=(LEFT, RIGHT),
        extra_head=LEGEND_ROW * rows,
    )
    for number, metric in enumerate(metrics):
        left = LEFT + number * (PANEL_WIDTH + GAP)
        ax = chart.add_axes(left, FOOT, PANEL_WIDTH, PANEL_HEIGHT)
        style_axes(ax, grid='y')
        title_axes(ax, metric, unit)
        for place, (name, curve) in enumerate(curves.items()):
            own = sorted(curve)
            means = [float(np.mean(curve[value][metric])) for value in own]
            spreads = [_deviation(curve[value][metric]) for value in own] if several else None
            ax.errorbar(
                [values.index(value) for value in own],
                means,
                yerr=spreads,
                color=SERIES_COLORS[place],
                marker=MARKERS[place],
                markersize=6,
                linewidth=2,
                elinewidth=1.4,
                capsize=4,
                label=name,
            )
        for dash, (name, scores) in zip(DASHES, references.items(), strict=False):
            mean = float(np.mean(scores[metric]))
            ax.axhline(mean, color=FAINT_COLOR, linestyle=dash, linewidth=1.4, label=name)
        ax.margins(x=0.08, y=0.12)
        ax.set_xticks(range(len(values)), [f'{value:g}' for value in values])
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.set_xlabel(setting, fontsize=11, color=TEXT_COLOR)
    styles: list[dict[str, Any]] = [
        {'color': color, 'marker': marker, 'markersize': 6, 'linewidth': 2}
        for color, marker, _ in zip(SERIES_COLORS, MARKERS, curves, strict=False)
    ]
    styles += [
        {'color': FAINT_COLOR, 'linestyle': dash, 'linewidth': 1.4}
        for dash, _ in zip(DASHES, references, strict=False)
    ]
    chart.figure.legend(
        [Line2D([], [], **style) for style in styles],
        entries,
        loc='lower left',
        bbox_to_anchor=(LEFT / width, (FOOT + PANEL_HEIGHT + 0.64) / chart.height),
        borderaxespad=0,
        borderpad=0,
        ncols=columns,
        frameon=False,
        fontsize=10.5,
        labelcolor=TEXT_COLOR,
    )
    return chart.figure


def _deviation(scores: Sequence[float]) -> float:
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
