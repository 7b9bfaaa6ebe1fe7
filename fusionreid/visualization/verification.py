"""A chart of pair distances: their histograms and the ROC curve."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fusionreid.evaluation.functional import VerificationResult

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart, style_axes, title_axes

SAME_COLOR, DIFFERENT_COLOR = SERIES_COLORS[:2]
NUM_BINS = 80
# Points of the ROC that are drawn: more cannot be told apart.
NUM_POINTS = 1000
# Part of the ROC's panel that lines stay away from its edges.
EDGE = 0.03
# Fewer are warned of: one pair is a percent of the same, or a per mille of the different ones.
FEW_SAME, FEW_DIFFERENT = 100, 1000
# Inches.
LEFT, HISTOGRAM_WIDTH, GAP, ROC_WIDTH, RIGHT = 0.72, 5.58, 0.8, 4.48, 0.42
FOOT, PLOT_HEIGHT = 0.62, 3.375


def draw_verification(result: VerificationResult, title: str, protocol: str = '') -> Figure:
    """Draw the distances of pairs of the same and of different people, and the ROC curve.

    Each histogram is scaled to its own number of pairs, as there are far more different ones. The
    ROC's false positive rate is on a logarithmic axis; the area of use lies far left. Rates that so
    many pairs cannot show are not marked, and few pairs are warned of below the protocol.

    Args:
        result: What was measured.
        title: First line.
        protocol: Second line: data set, features, what was left out.

    Returns:
        The figure, ready for ``savefig``.

    Example:
        >>> import torch
        >>> from fusionreid.evaluation.functional import evaluate_verification
        >>> query, gallery = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [2.1], [1.7]])
        >>> result = evaluate_verification(query, gallery, [1, 2], [1, 2, 1], [0, 0], [1, 1, 1])
        >>> figure = draw_verification(result, 'FusionReID', 'MSMT17')
        >>> [ax.get_title(loc='left') for ax in figure.axes]
        ['Distances', 'ROC']
    """
    width = LEFT + HISTOGRAM_WIDTH + GAP + ROC_WIDTH + RIGHT
    text = '; '.join(part for part in (protocol, describe_few_pairs(result)) if part)
    chart = Chart(width, FOOT + PLOT_HEIGHT, title, text, margins=(LEFT, RIGHT))
    _draw_histogram(chart.add_axes(LEFT, FOOT, HISTOGRAM_WIDTH, PLOT_HEIGHT), result)
    left = LEFT + HISTOGRAM_WIDTH + GAP
    _draw_roc(chart.add_axes(left, FOOT, ROC_WIDTH, PLOT_HEIGHT), result)
    return chart.figure


def describe_few_pairs(result: VerificationResult) -> str:
    """Warn of rates that rest on few pairs, or on none.

    Args:
        result: What was measured.

    Returns:
        What cannot be measured, in one line; empty where there are pairs enough.

    Example:
        >>> import torch
        >>> from fusionreid.evaluation.functional import evaluate_verification
        >>> features = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.1], [2.1]])
        >>> result = evaluate_verification(*features, [1, 2], [1, 2], [0, 0], [1, 1], fprs=[0.01])
        >>> describe_few_pairs(result).partition(', and ')[2]
        '1% wrongly accepted cannot be measured'
    """
    same, different = result.num_same, result.num_different
    left_out = [point for point in result.operating_points if point not in result.measured_points]
    if not left_out and same >= FEW_SAME and different >= FEW_DIFFERENT:
        return ''
    text = (
        f'few pairs ({same:,} of the same person, {different:,} of different people): their rates '
        f'come in steps of {100 / same:.2g}% and {100 / different:.2g}%'
    )
    if left_out:
        rates = ', '.join(f'{100 * point.target_fpr:g}%' for point in left_out)
        text += f', and {rates} wrongly accepted cannot be measured'
    return text


def _draw_histogram(ax: Axes, result: VerificationResult) -> None:
    style_axes(ax, grid='both')
    title_axes(ax, 'Distances', 'share of the pairs of each kind, in percent')
    edges, same, different = (part.numpy() for part in result.histogram(NUM_BINS))
    kinds = (
        (same, result.num_same, SAME_COLOR, 'same person'),
        (different, result.num_different, DIFFERENT_COLOR, 'different people'),
    )
    highest = 0.0
    for counts, total, color, name in kinds:
        share = 100 * counts / total
        highest = max(highest, share.max())
        ax.stairs(share, edges, fill=True, color=color, alpha=0.35)
        ax.stairs(share, edges, color=color, linewidth=1.6, label=f'{name} ({total:,} pairs)')
    top = 1.55 * highest  # leaves room for the legend and the threshold's name
    ax.axvline(result.eer_threshold, ymax=0.78, color=TEXT_COLOR, linewidth=1.4, linestyle='--')
    occupied = np.flatnonzero(same + different)
    left, right = edges[occupied[0]], edges[occupied[-1] + 1]
    margin = 0.03 * (right - left)
    ax.set_xlim(max(0, left - margin), right + margin)
    ax.set_ylim(0, top)
    # On the side with more room.
    on_right = result.eer_threshold < (left + right) / 2
    ax.annotate(
        f'equal errors at {result.eer_threshold:.3f}:\n{100 * result.eer:.1f}% wrong either way',
        (result.eer_threshold, 0.78 * top),
        xytext=(6 if on_right else -6, 0),
        textcoords='offset points',
        ha='left' if on_right else 'right',
        va='top',
        fontsize=9.5,
        color=TEXT_COLOR,
    )
    ax.set_xlabel('Euclidean distance', fontsize=10, color=FAINT_COLOR)
    ax.legend(loc='upper left', frameon=False, fontsize=10, labelcolor=TEXT_COLOR, borderpad=0.2)


def _draw_roc(ax: Axes, result: VerificationResult) -> None:
    style_axes(ax, grid='both')
    title_axes(ax, 'ROC', f'accepted of the same person, in percent; area {result.auc:.4f}')
    fpr, tpr, _ = (part.numpy() for part in result.roc())
    # To the left of a single accepted pair there is nothing to see; nor much below 1e-6.
    wanted = [point.target_fpr for point in result.measured_points if point.target_fpr > 0]
    lowest = max(1 / result.num_different, min([1e-6, *wanted]))
    lowest = min(10.0 ** np.floor(np.log10(lowest)), 0.1)
    # Many points lie at one rate; the last of them is the highest.
    places = np.unique(np.searchsorted(fpr, np.geomspace(lowest, 1, NUM_POINTS), side='right') - 1)
    at = np.maximum(fpr[places], lowest)
    ax.plot(at, 100 * tpr[places], color=SAME_COLOR, linewidth=2, drawstyle='steps-post')
    ax.set_xscale('log')
    ax.minorticks_off()
    ax.tick_params(axis='x', pad=7)
    room = lowest**EDGE  # on a logarithmic axis
    ax.set_xlim(lowest * room, 1 / room)
    ax.set_ylim(-100 * EDGE, 100 * (1 + EDGE))
    chance = np.geomspace(lowest, 1, 200)
    ax.plot(chance, 100 * chance, color=FAINT_COLOR, linewidth=1, linestyle=':')
    for point in result.measured_points:
        # A rate of 0 has no place on a logarithmic axis: it is drawn at the left end.
        _mark(ax, max(point.target_fpr, lowest), 100 * point.tpr, f'{100 * point.tpr:.1f}%')
    _mark(ax, max(result.eer, lowest), 100 * (1 - result.eer), f'EER {100 * result.eer:.1f}%')
    ax.xaxis.set_major_formatter(FuncFormatter(_percent))
    ax.set_xlabel('accepted of different people', fontsize=10, color=FAINT_COLOR)


def _percent(rate: float, _: int) -> str:
    """Write a rate in percent, without an exponent."""
    return f'{100 * rate:.8f}'.rstrip('0').rstrip('.') + '%'


def _mark(ax: Axes, x: float, y: float, text: str) -> None:
    """Draw a point with its name."""
    ax.plot([x], [y], 'o', color=DIFFERENT_COLOR, markersize=6, zorder=3)
    # Away from the curve, which rises to the right, and inside the axes.
    at_right_end = x > 0.2
    below = y > (90 if at_right_end else 50)
    on_right = (below and not at_right_end) or x < 10 * ax.get_xlim()[0]
    ax.annotate(
        text,
        (x, y),
        xytext=(5 if on_right else -5, -13 if below else 9),
        textcoords='offset points',
        ha='left' if on_right else 'right',
        fontsize=9.5,
        color=TEXT_COLOR,
    )
