"""A search for settings in one picture: its scores by trial, and against each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes, title_axes

# Inches.
LEFT, PANEL_WIDTH, GAP, RIGHT = 0.66, 3.6, 0.8, 0.4
FOOT, PANEL_HEIGHT, ROW_GAP, LEGEND = 0.62, 2.6, 1.2, 0.27
PANELS_PER_ROW = 3
LETTERS = 26  # of a name that fits on a panel
DONE, PRUNED = SERIES_COLORS[0], SERIES_COLORS[1]


@dataclass(frozen=True)
class TrialPoint:
    """A trial that has a score.

    Args:
        number: Its number, from 0.
        score: Best of its validations, in percent.
        pruned: Whether it was given up before its end.
        settings: Dotted name to value; a number, or a text.
    """

    number: int
    score: float
    pruned: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def draw_study(
    points: Sequence[TrialPoint],
    metric: str,
    title: str,
    protocol: str = '',
    logarithmic: Sequence[str] = (),
) -> Figure:
    """Draw the score of each trial, the best so far, and the scores against each setting.

    Args:
        points: The trials, in the order of their numbers.
        metric: Name of the score.
        title: First line.
        protocol: Second line.
        logarithmic: Names of settings whose axis is logarithmic.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If there is no trial.

    Example:
        >>> points = [TrialPoint(0, 61.0, settings={'lr': 1e-3})]
        >>> [ax.get_title(loc='left') for ax in draw_study(points, 'mAP', 'Search').axes]
        ['trials', 'lr']
    """
    if not points:
        raise ValueError('there is no trial to draw')
    names = list(dict.fromkeys(name for point in points for name in point.settings))
    panels = 1 + len(names)
    columns = min(panels, PANELS_PER_ROW)
    rows = -(-panels // columns)
    width = LEFT + columns * (PANEL_WIDTH + GAP) - GAP + RIGHT
    body = FOOT + rows * (PANEL_HEIGHT + ROW_GAP) - ROW_GAP
    chart = Chart(width, body, title, protocol, margins=(LEFT, RIGHT), extra_head=LEGEND)
    axes = []
    for number in range(panels):
        row, column = divmod(number, columns)
        left = LEFT + column * (PANEL_WIDTH + GAP)
        bottom = FOOT + (rows - 1 - row) * (PANEL_HEIGHT + ROW_GAP)
        ax = chart.add_axes(left, bottom, PANEL_WIDTH, PANEL_HEIGHT)
        style_axes(ax, grid='y')
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.append(ax)
    title_axes(axes[0], 'trials', f'{metric} in percent')
    _draw_points(axes[0], points, [point.number for point in points])
    best = np.maximum.accumulate([point.score for point in points])
    axes[0].step([p.number for p in points], best, where='post', color=FAINT_COLOR, linewidth=1.4)
    axes[0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    for ax, name in zip(axes[1:], names, strict=True):
        title_axes(ax, _shorten(name), f'{metric} in percent')
        _draw_setting(ax, [p for p in points if name in p.settings], name, name in logarithmic)
    _add_legend(chart, body)
    return chart.figure


def _draw_setting(ax: Axes, points: Sequence[TrialPoint], name: str, logarithmic: bool) -> None:
    values = [point.settings[name] for point in points]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        if logarithmic:
            ax.set_xscale('log')
        elif all(isinstance(value, int) for value in values):
            ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        _draw_points(ax, points, values)
        return
    texts = [str(value) for value in values]
    known = sorted(set(texts))
    _draw_points(ax, points, [known.index(text) for text in texts])
    ax.set_xticks(range(len(known)), [_shorten(text) for text in known])
    ax.margins(x=0.2)


def _draw_points(ax: Axes, points: Sequence[TrialPoint], values: Sequence[float]) -> None:
    for pruned, color, marker in ((False, DONE, 'o'), (True, PRUNED, 'X')):
        kept = [
            (value, point.score)
            for value, point in zip(values, points, strict=True)
            if point.pruned == pruned
        ]
        if kept:
            places, scores = zip(*kept, strict=True)
            ax.scatter(places, scores, s=36, color=color, marker=marker, zorder=3)
    ax.margins(x=0.08, y=0.12)


def _add_legend(chart: Chart, body: float) -> None:
    entries: dict[str, dict[str, Any]] = {
        'trained to the end': dict(color=DONE, marker='o', linestyle=''),
        'pruned': dict(color=PRUNED, marker='X', linestyle=''),
        'best so far': dict(color=FAINT_COLOR, linewidth=1.4),
    }
    chart.figure.legend(
        [Line2D([], [], **style) for style in entries.values()],
        list(entries),
        loc='lower left',
        bbox_to_anchor=(LEFT / chart.width, (body + 0.64) / chart.height),
        borderaxespad=0,
        borderpad=0,
        ncols=len(entries),
        frameon=False,
        fontsize=10.5,
        labelcolor=TEXT_COLOR,
    )


def _shorten(text: str) -> str:
    return text if len(text) <= LETTERS else f'...{text[3 - LETTERS :]}'
