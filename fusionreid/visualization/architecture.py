"""A drawing of a model, made from the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import nn

from fusionreid.models.complexity import count_layer_parameters
from fusionreid.models.necks.branch_units import SHARED, BranchUnits
from fusionreid.models.retrievers import FusionReID

from .style import FAINT_COLOR, SERIES_COLORS, TEXT_COLOR, Chart

# Inches.
MARGIN = 0.35
ROW = 1.7
FOOT = 0.35
PHOTO = 0.9
GAP = 0.6
BACKBONE = 2.1
REFINE = 1.15
UNIT = 1.15
UNIT_GAP = 0.75
INSET = 0.45
FUSED = 2.45
RESULT = 2.55
BOX = 0.62
PILL = 0.3
UNIT_NAMES = {'seu': 'SEU', 'mfu': 'MFU'}
LineStyle = str | tuple[int, tuple[int, int]]
PHOTO_COLOR = '#C9D3DA'
PERSON_COLOR = '#51606B'
FRAME_COLOR = '#F6F6F6'


@dataclass
class _Row:
    """The lane of one branch: its place, color, and the x up to which it has been drawn."""

    name: str
    y: float
    color: str
    x: float


def draw_architecture(model: FusionReID, input_size: tuple[int, int], title: str) -> Figure:
    """Draw a model: its branches, its neck, its features and what becomes of them.

    All names, widths and grids are read from the model, which is run once for its shapes.

    Args:
        model: The model; one on the meta device will do, see
            :func:`~fusionreid.models.build_on_meta`.
        input_size: Height and width of the image in pixels.
        title: First line.

    Returns:
        The figure, ready for ``savefig``; its width follows from the neck.
    """
    names = list(model.branches)
    units = {} if model.neck is None else _units_of(model.neck)
    width = 2 * MARGIN + PHOTO + GAP + BACKBONE + RESULT
    width += (REFINE + GAP if model.neck is not None else 0) + (
        _htm_width(tuple(units)) + FUSED if units else GAP
    )
    subtitle = f'{_millions(model):.1f} million parameters of layers, without classifiers'
    if units:
        features = len(model.feature_widths)
        subtitle += f'; {features} features with their widths; gray: shared weights'
    chart = Chart(width, ROW * len(names) + FOOT, title, subtitle, margins=(MARGIN, MARGIN))
    ax = chart.add_axes(0, 0, width, chart.height)
    ax.set(xlim=(0, width), ylim=(0, chart.height))
    ax.set_axis_off()

    rows = [
        _Row(name, FOOT + ROW * (len(names) - index - 0.5), SERIES_COLORS[index], MARGIN + PHOTO)
        for index, name in enumerate(names)
    ]
    middle = sum(row.y for row in rows) / len(rows)
    _draw_photo(ax, MARGIN, middle, input_size)
    for row in rows:
        _draw_backbone(ax, row, middle, model, input_size)
    if model.neck is not None:
        for row in rows:
            _draw_stage(ax, row, REFINE, 'LRU', 'refines the map')
            _draw_feature(ax, f'{row.name}_refined', model, row.x - REFINE / 2, row.y, row.color)
    if units:
        _draw_htm(ax, rows, units, _htm_title(model.neck))
        for row in rows:
            _draw_pill(ax, f'{row.name}_fused', model, row.x + 0.37, row.y, row.color, 'left')
    _draw_results(ax, rows, model)
    return chart.figure


def _millions(module: nn.Module) -> float:
    return count_layer_parameters(module, without='classifier') / 1e6


def _units_of(neck: Any) -> dict[str, BranchUnits]:
    """The units of the first HTM, in their order."""
    encoded = {} if neck.encoder is None else {'seu': neck.encoder}
    layers = list(neck.layers)[:1]
    return encoded | {unit: getattr(layer, unit) for layer in layers for unit in layer.units}


def _htm_title(neck: Any) -> str:
    """How often the units of the HTM run."""
    times = f' x {count}' if (count := len(neck.steps)) > 1 else ''
    return f'SEU, then MFU{times}' if neck.encoder is not None else f'HTM{times}'


def _htm_width(units: tuple[str, ...]) -> float:
    return len(units) * UNIT + (len(units) - 1) * UNIT_GAP + INSET + _first_inset(units) + GAP


def _first_inset(units: tuple[str, ...]) -> float:
    """Room before the first unit: an MFU reads what enters the HTM."""
    return UNIT_GAP if units[0] == 'mfu' else INSET


def _box(
    ax: Axes, x: float, y: float, width: float, height: float, color: str, fill: float = 0.12
) -> None:
    """Draw a rounded box whose left edge is at x and whose middle is at y."""
    patch = FancyBboxPatch(
        (x, y - height / 2),
        width,
        height,
        boxstyle='round,pad=0,rounding_size=0.08',
        facecolor=(color, fill),
        edgecolor=color,
        linewidth=1.4,
    )
    ax.add_patch(patch)


def _text(ax: Axes, x: float, y: float, head: str, line: str = '', color: str = TEXT_COLOR) -> None:
    """Write a bold line, and a small one below it, in the middle of (x, y)."""
    place: dict[str, Any] = dict(ha='center', va='center')
    ax.text(
        x, y + (0.11 if line else 0), head, fontsize=11, fontweight='bold', color=color, **place
    )
    if line:
        ax.text(x, y - 0.13, line, fontsize=8.5, color=FAINT_COLOR, **place)


def _arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    color: str,
    style: LineStyle = '-',
) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle='-|>',
            mutation_scale=11,
            linewidth=1.4,
            linestyle=style,
            color=color,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _draw_photo(ax: Axes, x: float, y: float, input_size: tuple[int, int]) -> None:
    """Draw a person in a frame of the input's proportions."""
    height = PHOTO * input_size[0] / input_size[1]
    ax.add_patch(Rectangle((x, y - height / 2), PHOTO, height, color=PHOTO_COLOR))
    center, scale = x + PHOTO / 2, height / 1.8
    ax.add_patch(Circle((center, y + 0.56 * scale), 0.13 * scale, color=PERSON_COLOR))
    for left, bottom, wide, high in (
        (-0.19, -0.12, 0.38, 0.52),
        (-0.17, -0.74, 0.14, 0.64),
        (0.03, -0.74, 0.14, 0.64),
    ):
        ax.add_patch(
            FancyBboxPatch(
                (center + left * scale, y + bottom * scale),
                wide * scale,
                high * scale,
                boxstyle=f'round,pad=0,rounding_size={0.06 * scale}',
                color=PERSON_COLOR,
            )
        )
    label = f'photo\n3 x {input_size[0]} x {input_size[1]}'
    ax.text(
        center, y - height / 2 - 0.1, label, ha='center', va='top', fontsize=9, color=TEXT_COLOR
    )


def _draw_backbone(
    ax: Axes, row: _Row, middle: float, model: FusionReID, input_size: tuple[int, int]
) -> None:
    branch = model.branches[row.name]
    device = next((value.device for value in branch.parameters()), torch.device('cpu'))
    was_training = branch.training
    branch.eval()
    with torch.no_grad():
        token, map_ = branch.backbone(torch.zeros(1, 3, *input_size, device=device), None)
    branch.train(was_training)
    shape = ' x '.join(map(str, map_.shape[1:]))
    kind = type(branch.backbone).__name__.removeprefix('ReID')
    x = row.x + GAP
    _arrow(ax, (row.x + 0.08, middle), (x, row.y), FAINT_COLOR)
    _box(ax, x, row.y, BACKBONE, BOX, row.color)
    _text(ax, x + BACKBONE / 2, row.y, kind, f'{_millions(branch):.1f} M, map {shape}')
    pooled = branch.pooling is not None
    source = type(branch.pooling).__name__ if pooled else 'class token'
    row.x = x + BACKBONE
    _draw_feature(ax, row.name, model, row.x - BACKBONE / 2, row.y, row.color)
    ax.text(
        row.x - BACKBONE / 2 + 0.08,
        row.y + BOX / 2 + 0.09,
        source,
        fontsize=7.5,
        color=FAINT_COLOR,
        va='center',
    )


def _draw_stage(ax: Axes, row: _Row, width: float, head: str, line: str) -> None:
    _arrow(ax, (row.x, row.y), (row.x + GAP, row.y), row.color)
    _box(ax, row.x + GAP, row.y, width, BOX, row.color)
    _text(ax, row.x + GAP + width / 2, row.y, head, line)
    row.x += GAP + width


def _draw_feature(ax: Axes, name: str, model: FusionReID, x: float, y: float, color: str) -> None:
    """Draw a feature above the box at (x, y), with its width."""
    bottom = y + BOX / 2
    _arrow(ax, (x, bottom), (x, bottom + 0.18), color)
    _draw_pill(ax, name, model, x, bottom + 0.18 + PILL / 2, color)


def _draw_pill(
    ax: Axes, name: str, model: FusionReID, x: float, y: float, color: str, align: str = 'center'
) -> None:
    """Draw a feature with its width, at (x, y)."""
    ax.text(
        x,
        y,
        f'{name}  {model.feature_widths[name]}',
        ha=align,
        va='center',
        fontsize=9,
        fontweight='bold',
        color='white',
        bbox=dict(boxstyle='round,pad=0.32,rounding_size=0.6', color=color),
    )


def _draw_htm(ax: Axes, rows: list[_Row], owners: dict[str, BranchUnits], title: str) -> None:
    """Draw the stack of HTMs as one, with its units in their order."""
    units = tuple(owners)
    left, right = rows[0].x + GAP, rows[0].x + _htm_width(units)
    top, bottom = rows[0].y + ROW / 2 + 0.05, rows[-1].y - ROW / 2 + 0.12
    frame = FancyBboxPatch(
        (left, bottom),
        right - left,
        top - bottom,
        boxstyle='round,pad=0,rounding_size=0.12',
        facecolor=FRAME_COLOR,
        edgecolor=FAINT_COLOR,
        linewidth=1.2,
        linestyle=(0, (4, 2)),
        zorder=0,
    )
    ax.add_patch(frame)
    ax.text(
        left + 0.15,
        top - 0.22,
        title,
        fontsize=11,
        fontweight='bold',
        color=TEXT_COLOR,
        va='center',
    )
    inset = _first_inset(units)
    for row in rows:
        _arrow(ax, (row.x, row.y), (left + inset, row.y), row.color)
        row.x = left + inset
    for index, unit in enumerate(units):
        x = rows[0].x
        if index:
            for row in rows:
                _arrow(ax, (row.x, row.y), (row.x + UNIT_GAP, row.y), row.color)
            x += UNIT_GAP
        if unit == 'mfu':
            _draw_reads(ax, rows, x, from_units=index > 0)
        if SHARED in owners[unit]:
            middle = (rows[0].y + rows[-1].y) / 2
            _box(ax, x, middle, UNIT, rows[0].y - rows[-1].y + BOX, FAINT_COLOR)
            _text(ax, x + UNIT / 2, middle, UNIT_NAMES[unit], 'shared weights')
        else:
            for row in rows:
                _box(ax, x, row.y, UNIT, BOX, row.color)
                line = 'reads others' if unit == 'mfu' else 'own tokens'
                _text(ax, x + UNIT / 2, row.y, UNIT_NAMES[unit], line)
        for row in rows:
            row.x = x + UNIT
    for row in rows:
        _arrow(ax, (row.x, row.y), (right + 0.3, row.y), row.color)
        row.x = right


def _draw_reads(ax: Axes, rows: list[_Row], x: float, from_units: bool) -> None:
    """Draw that each summary token reads the patch tokens of the other branches."""
    start = x - UNIT_GAP + (0 if from_units else 0.05)
    for source in rows:
        for reader in rows:
            if source is not reader:
                toward = 0.17 if source.y > reader.y else -0.17
                _arrow(
                    ax,
                    (start, source.y - toward),
                    (x, reader.y + toward),
                    source.color,
                    (0, (3, 2)),
                )
    small: dict[str, Any] = dict(fontsize=7.5, ha='center', va='center', color=FAINT_COLOR)
    x -= UNIT_GAP / 2
    for upper, lower in pairwise(rows):
        ax.text(
            x,
            (upper.y + lower.y) / 2,
            'patch\ntokens',
            bbox=dict(boxstyle='square,pad=0.15', color=FRAME_COLOR),
            **small,
        )
    ax.text(x, rows[0].y + 0.13, 'summary', **small)


def _draw_results(ax: Axes, rows: list[_Row], model: FusionReID) -> None:
    """Draw what becomes of all features, on the right."""
    widths = list(model.feature_widths.values())
    x = ax.get_xlim()[1] - MARGIN - RESULT
    middle = (rows[0].y + rows[-1].y) / 2
    joined = f'{len(widths)} features side by side:\n' if len(widths) > 1 else ''
    length = f'{sum(widths):,} numbers, L2-normalized,\ncompared by Euclidean distance'
    parts = [('Search', joined + length)]
    if model.heads:
        classes = f'a classifier of {model.num_classes:,} identities;'
        losses = 'ID loss + triplet loss, summed'
        parts.append(('Training', f'each feature has its BNNeck and\n{classes}\n{losses}'))
    for index, (head, text) in enumerate(parts):
        y = middle + (len(parts) - 1 - 2 * index) * 0.68
        _box(ax, x, y, RESULT, 1.16, TEXT_COLOR, fill=0.04)
        ax.text(
            x + 0.15, y + 0.36, head, fontsize=11, fontweight='bold', color=TEXT_COLOR, va='center'
        )
        ax.text(
            x + 0.15, y - 0.14, text, fontsize=9, color=TEXT_COLOR, va='center', linespacing=1.35
        )
