"""A chart of training curves: losses, learning rate and scores over epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import FAINT_COLOR, SERIES_COLORS, Chart, style_axes, title_axes
from .training_history import TrainingHistory

# Inches.
LEFT, PANEL_WIDTH, COLUMN_GAP, RIGHT = 0.66, 4.955, 0.89, 0.54
FOOT, PANEL_HEIGHT, ROW_GAP = 0.56, 2.42, 1.12
LEGEND_TOP, LEGEND_ROW_HEIGHT, LEGEND_COLUMNS = 0.52, 0.26, 5
# Runs beyond the colors change the dashes.
DASHES = ('-', '--', ':')
# Part of a panel that lines stay away from its edges.
EDGE = 0.04


def draw_training_curves(
    histories: Mapping[str, TrainingHistory], title: str = 'Training curves'
) -> Figure:
    """Draw ID loss, triplet loss, learning rate, and mAP with Rank-1, over epochs.

    Losses are means over the epoch and over a model's heads, so that models with different numbers
    of heads can be compared.

    Args:
        histories: Name of each run to its history.
        title: Title of the figure.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If there is no run.

    Example:
        >>> history = TrainingHistory(
        ...     train={1: {'cnn.loss_id': 6.0, 'lr': 0.01}, 2: {'cnn.loss_id': 4.0, 'lr': 0.01}},
        ...     val={2: {'reid/mAP': 40.0, 'reid/rank1': 60.0}},
        ... )
        >>> figure = draw_training_curves({'first run': history})
        >>> [ax.get_title(loc='left') for ax in figure.axes]
        ['ID loss', 'Triplet loss', 'Learning rate', 'mAP and Rank-1']
    """
    if not histories:
        raise ValueError('histories must hold at least one run, got none')
    legend_rows = -(-len(histories) // LEGEND_COLUMNS)
    chart = Chart(
        LEFT + 2 * PANEL_WIDTH + COLUMN_GAP + RIGHT,
        FOOT + 2 * PANEL_HEIGHT + ROW_GAP,
        title,
        margins=(LEFT, RIGHT),
        extra_head=LEGEND_ROW_HEIGHT * (legend_rows - 1),
    )
    axes = [
        chart.add_axes(left, bottom, PANEL_WIDTH, PANEL_HEIGHT)
        for bottom in (FOOT + PANEL_HEIGHT + ROW_GAP, FOOT)
        for left in (LEFT, LEFT + PANEL_WIDTH + COLUMN_GAP)
    ]

    panels: list[tuple[str, str, Callable[[TrainingHistory], dict[int, float]]]] = [
        ('ID loss', 'cross-entropy, mean over heads', lambda h: _mean_loss(h, 'loss_id')),
        ('Triplet loss', 'batch-hard, mean over heads', lambda h: _mean_loss(h, 'loss_triplet')),
        ('Learning rate', 'at the optimizer, mean over the epoch', _learning_rate),
    ]
    styles = dict(zip(histories, _styles(len(histories)), strict=True))
    for ax, (name, unit, select) in zip(axes, panels, strict=False):
        _prepare(ax, name, unit)
        for run, history in histories.items():
            _plot(ax, select(history), **styles[run])
        _leave_room(ax)
    axes[2].yaxis.set_major_formatter('{x:g}')

    scores = axes[3]
    _prepare(scores, 'mAP and Rank-1', 'percent; mAP thick with its last value, Rank-1 thin')
    for run, history in histories.items():
        _plot(scores, _metric(history, 'mAP'), **styles[run])
        _plot(scores, _metric(history, 'rank1'), **styles[run] | {'linewidth': 1.0, 'alpha': 0.75})
    scores.set_ylim(-100 * EDGE, 100 * (1 + EDGE))
    scores.set_yticks(range(0, 101, 20))
    if not any(history.val for history in histories.values()):
        scores.text(
            0.5,
            0.5,
            'no validation was logged',
            transform=scores.transAxes,
            ha='center',
            color=FAINT_COLOR,
        )
    _label_ends(scores, histories, styles)

    last_epoch = max(max(history.train) for history in histories.values())
    for ax in axes:
        end = max(last_epoch, 1)
        ax.set_xlim(-EDGE * end, (1 + EDGE) * end)

    chart.figure.legend(
        [Line2D([], [], **style) for style in styles.values()],
        list(styles),
        loc='upper left',
        bbox_to_anchor=(0.048, 1 - LEGEND_TOP / chart.height),
        ncols=min(len(styles), LEGEND_COLUMNS),
        frameon=False,
        fontsize=11,
        handlelength=1.8,
    )
    return chart.figure


def _styles(number: int) -> list[dict[str, Any]]:
    return [
        {
            'color': SERIES_COLORS[index % len(SERIES_COLORS)],
            'linestyle': DASHES[index // len(SERIES_COLORS) % len(DASHES)],
            'linewidth': 2.0,
        }
        for index in range(number)
    ]


def _mean_loss(history: TrainingHistory, kind: str) -> dict[int, float]:
    """Mean over the heads of the scalars called ``<feature>.<kind>``."""
    return {
        epoch: float(np.mean([value for key, value in row.items() if key.endswith(kind)]))
        for epoch, row in history.train.items()
        if any(key.endswith(kind) for key in row)
    }


def _learning_rate(history: TrainingHistory) -> dict[int, float]:
    # With multipliers for some parameters, mmengine logs the plain rate as `base_lr`.
    rates = {epoch: row.get('base_lr', row.get('lr')) for epoch, row in history.train.items()}
    return {epoch: rate for epoch, rate in rates.items() if rate is not None}


def _metric(history: TrainingHistory, name: str) -> dict[int, float]:
    """Scores of all features together, in percent; those of one are called ``<feature>.<name>``."""
    return {
        epoch: value
        for epoch, row in history.val.items()
        for key, value in row.items()
        if key.split('/')[-1] == name
    }


def _prepare(ax: Axes, name: str, unit: str) -> None:
    style_axes(ax, grid='y')
    title_axes(ax, name, unit)
    ax.set_xlabel('epoch', fontsize=10, color=FAINT_COLOR)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, min_n_ticks=1))


def _leave_room(ax: Axes) -> None:
    """Start at 0, and keep lines off the edges."""
    highest = ax.dataLim.y1
    top = float(highest) if 0 < highest < np.inf else 1.0
    ax.set_ylim(-EDGE * top, (1 + EDGE) * top)


def _plot(ax: Axes, values: dict[int, float], **style: Any) -> None:
    epochs = sorted(values)
    # A single epoch is no line, so it gets a dot.
    marker: dict[str, Any] = {'marker': 'o', 'markersize': 4} if len(epochs) == 1 else {}
    ax.plot(epochs, [values[epoch] for epoch in epochs], **style, **marker)


def _label_ends(
    ax: Axes, histories: Mapping[str, TrainingHistory], styles: Mapping[str, dict[str, Any]]
) -> None:
    """Write the last mAP of every run at the right, moved apart where they would overlap."""
    ends = []
    for run, history in histories.items():
        values = _metric(history, 'mAP')
        if values and not np.isnan(values[max(values)]):
            ends.append((values[max(values)], max(values), run))
    lowest = 0.0
    for value, epoch, run in sorted(ends):
        height = max(value, lowest)
        ax.annotate(
            f'{value:.1f}',
            (epoch, height),
            xytext=(5, 0),
            textcoords='offset points',
            va='center',
            fontsize=10,
            fontweight='bold',
            color=styles[run]['color'],
        )
        lowest = height + 7
