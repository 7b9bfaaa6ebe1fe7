"""A sheet of what the class and summary tokens of a model attend to in a photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from fusionreid.explain import AttentionMap
from fusionreid.utils.batched import batched

from .color_scale import DEFAULT_COLORMAP
from .map_grid import MapPanel, MapRow, draw_map_grid

UNIT = 'attention (1: spread evenly over the patches)'
MOST_COLUMNS = 12


def draw_attention_sheet(
    photo: np.ndarray,
    attentions: Sequence[AttentionMap],
    title: str,
    protocol: str = '',
    *,
    image: int = 0,
    heads: bool = False,
    colormap: str = DEFAULT_COLORMAP,
) -> Figure:
    r"""Draw what each token attends to.

    The class token of a transformer has a row with a column for each layer; the summary tokens of
    the fusion have a row for each layer with a column for each unit. A map shows weights on patches
    in multiples of what each patch has if attention is spread evenly. What is on no patch is
    written below it.

    Args:
        photo: uint8 of shape (H, W, 3), RGB.
        attentions: What is drawn, in order.
        title: First line.
        protocol: Second line: photo and model.
        image: Position of the photo in the batch of the maps.
        heads: A row for each unit of each layer with a column for each head, instead of their
            average.
        colormap: Name of a colormap of matplotlib.

    Returns:
        The figure, ready for ``savefig``.

    Raises:
        UserError: If there is no such colormap.

    Example:
        >>> import torch
        >>> maps, own = {'cnn': torch.full((1, 4, 4, 2), 0.1)}, torch.full((1, 4), 0.2)
        >>> layers = [AttentionMap('seu', layer, 'cnn', maps, own) for layer in range(2)]
        >>> figure = draw_attention_sheet(np.zeros((8, 4, 3), np.uint8), layers, 'Attention')
        >>> [text.get_text() for text in figure.texts][-2:]
        ['fusion\nlayer 1', 'SEU\ncnn\nown 20%']
    """
    panels: dict[str, list[MapPanel]] = {}
    for attention in attentions:
        shown = attention if heads else attention.average_heads()
        cells = sum(map_[0, 0].numel() for map_ in shown.maps.values())
        for source, map_ in shown.maps.items():
            for head, weights in enumerate(map_[image]):
                if heads:
                    row = f'{_reader(shown, source)}\n{_place(shown)}'
                    # Rollout is made of averages.
                    caption = 'all heads' if shown.unit == 'rollout' else f'head {head}'
                else:
                    row, caption = _row(shown), _caption(shown, source)
                if shown.unit != 'mfu':
                    caption += f'\nown {shown.own[image, head]:.0%}'
                panel = MapPanel(photo, weights.cpu().numpy() * cells, caption)
                panels.setdefault(row, []).append(panel)
    rows: list[MapRow] = []
    for label, found in panels.items():
        for number, part in enumerate(batched(found, MOST_COLUMNS)):
            start = None if rows else MapPanel(photo, caption='photo')
            rows.append(MapRow('' if number else label, [start, *part]))
    return draw_map_grid(rows, title, protocol, unit=UNIT, colormap=colormap)


def _in_fusion(attention: AttentionMap) -> bool:
    return attention.unit in ('seu', 'mfu')


def _place(attention: AttentionMap) -> str:
    return 'rollout' if attention.unit == 'rollout' else f'layer {attention.layer}'


def _reader(attention: AttentionMap, source: str) -> str:
    """Who attends, to what."""
    if attention.unit == 'mfu':
        return f'MFU {attention.branch}\nreads {source}'
    unit = 'SEU' if attention.unit == 'seu' else 'class token'
    return f'{unit}\n{attention.branch}'


def _row(attention: AttentionMap) -> str:
    """Label of the row in which the average of the heads is shown."""
    return f'fusion\n{_place(attention)}' if _in_fusion(attention) else _reader(attention, '')


def _caption(attention: AttentionMap, source: str) -> str:
    """Caption of the average of the heads."""
    return _reader(attention, source) if _in_fusion(attention) else _place(attention)
