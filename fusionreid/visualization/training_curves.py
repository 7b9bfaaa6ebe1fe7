from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .training_history import TrainingHistory

# Okabe-Ito colors, distinct for color-blind readers too; runs beyond them also change the dashes.
RUN_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
TEXT_COLOR = '#222222'
FAINT_COLOR = '#6E6E6E'
GRID_COLOR = '#E3E3E3'

Row = dict[str, float]


def draw_training_curves(
    histories: Mapping[str, TrainingHistory], title: str = 'Training curves'
) -> Figure:
    """Draws ID loss, triplet loss, learning rate, and mAP with Rank-1, over epochs.

    Losses are means over the epoch and over a model's heads, so that models with different numbers
    of heads can be compared.

    Args:
        histories: Name of each run to its history.
        title: Title of the figure.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        ValueError: If there is no run.
    """
    if not histories:
        raise ValueError('histories must hold at least one run, got none')
    figure = Figure(figsize=(12, 8), dpi=150, facecolor='white')
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(
        left=0.055, right=0.955, top=0.815, bottom=0.07, wspace=0.18, hspace=0.46
    )
    figure.text(0.055, 0.945, title, fontsize=17, fontweight='bold', color=TEXT_COLOR)

    panels: list[tuple[str, str, Callable[[TrainingHistory], dict[int, float]]]] = [
        ('ID loss', 'cross-entropy, mean over heads', lambda h: _mean_loss(h, 'loss_id')),
        ('Triplet loss', 'batch-hard, mean over heads', lambda h: _mean_loss(h, 'loss_triplet')),
        ('Learning rate', 'at the optimizer, mean over the epoch', _learning_rate),
    ]
    styles = dict(zip(histories, _styles(len(histories)), strict=True))
    for ax, (name, unit, select) in zip(axes.flat, panels, strict=False):
        _prepare(ax, name, unit)
        for run, history in histories.items():
            _plot(ax, select(history), **styles[run])
        ax.set_ylim(bottom=0)
    axes[1, 0].yaxis.set_major_formatter('{x:g}')

    scores = axes[1, 1]
    _prepare(scores, 'mAP and Rank-1', 'percent; mAP thick with its last value, Rank-1 thin')
    for run, history in histories.items():
        _plot(scores, _metric(history, 'mAP'), **styles[run])
        _plot(scores, _metric(history, 'rank1'), **styles[run] | {'linewidth': 1.0, 'alpha': 0.75})
    scores.set_ylim(0, 100)
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
    for ax in axes.flat:
        ax.set_xlim(0, max(last_epoch, 1) * 1.02)

    figure.legend(
        [Line2D([], [], **style) for style in styles.values()],
        list(styles),
        loc='upper left',
        bbox_to_anchor=(0.048, 0.935),
        ncols=min(len(styles), 5),
        frameon=False,
        fontsize=11,
        handlelength=1.8,
    )
    return figure


def _styles(number: int) -> list[dict]:
    dashes = ('-', '--', ':')
    return [
        {
            'color': RUN_COLORS[index % len(RUN_COLORS)],
            'linestyle': dashes[index // len(RUN_COLORS) % len(dashes)],
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
    ax.set_title(name, loc='left', fontsize=13, fontweight='bold', color=TEXT_COLOR, pad=22)
    ax.text(0, 1.03, unit, transform=ax.transAxes, fontsize=10, color=FAINT_COLOR)
    ax.set_xlabel('epoch', fontsize=10, color=FAINT_COLOR)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=9, min_n_ticks=1))
    ax.tick_params(labelsize=10, colors=FAINT_COLOR, length=0)
    ax.grid(axis='y', color=GRID_COLOR, linewidth=0.8)
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side == 'bottom')
        spine.set_color(FAINT_COLOR)


def _plot(ax: Axes, values: dict[int, float], **style) -> None:
    epochs = sorted(values)
    # A single epoch is no line, so it gets a dot.
    marker = {'marker': 'o', 'markersize': 4} if len(epochs) == 1 else {}
    ax.plot(epochs, [values[epoch] for epoch in epochs], **style, **marker)


def _label_ends(
    ax: Axes, histories: Mapping[str, TrainingHistory], styles: Mapping[str, dict]
) -> None:
    """Writes the last mAP of every run at the right, moved apart where they would overlap."""
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
        lowest = height + 5
