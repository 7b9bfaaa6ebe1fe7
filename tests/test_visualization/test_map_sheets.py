"""Sheets of maps, drawn from planted maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from fusionreid.errors import UserError
from fusionreid.explain import AttentionMap
from fusionreid.visualization import (
    MapPanel,
    MapRow,
    PhotoPair,
    draw_attention_sheet,
    draw_map_grid,
    draw_pair_sheet,
    draw_relevance_sheet,
    figure_pixels,
)
from fusionreid.visualization.color_scale import DEFAULT_COLORMAP, ColorScale
from fusionreid.visualization.map_grid import wrap_label

FEATURES = ['cnn', 'transformer', 'cnn_refined', 'transformer_refined', 'cnn_fused']
PHOTO = np.full((64, 32, 3), 120, np.uint8)


def planted(top: int, left: int) -> np.ndarray:
    """A map with all of its relevance in one square of 16 x 16 pixels."""
    map_ = np.zeros((64, 32))
    map_[top : top + 16, left : left + 16] = 1 / 256
    return map_


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def panels(figure: Figure) -> list[np.ndarray]:
    """Pixels of the panels, without the bar."""
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


def bars(figure: Figure) -> list[object]:
    return [ax for ax in figure.axes if not ax.images]


def test_a_relevance_sheet_has_a_row_for_each_photo_and_a_column_for_each_feature():
    maps = {name: [planted(0, 0), planted(32, 16)] for name in FEATURES}
    figure = draw_relevance_sheet([PHOTO, PHOTO], ['a.jpg', 'b.jpg'], maps, 'Title', 'protocol')
    shown = texts(figure)
    assert shown[:2] == ['Title', 'protocol']
    for title in ('photo', 'transformer\nrefined', 'cnn\nfused', 'a.jpg', 'b.jpg'):
        assert title in shown
    assert len(panels(figure)) == 2 * (1 + len(FEATURES))
    (bar,) = bars(figure)
    assert bar.get_ylabel().startswith('relevance')


def test_the_colors_are_strong_where_the_map_is_and_gray_elsewhere():
    figure = draw_relevance_sheet([PHOTO], ['a.jpg'], {'cnn': [planted(32, 16)]}, 'Title')
    photo, drawn = panels(figure)
    assert (photo == PHOTO).all()
    size = drawn.shape[0] // 64
    inside = drawn[36 * size : 44 * size, 20 * size : 28 * size].reshape(-1, 3)
    outside = drawn[: 28 * size].reshape(-1, 3)
    most = 255 * np.array(colormaps[DEFAULT_COLORMAP](1.0)[:3])
    assert np.abs(inside - (0.8 * most + 0.2 * 120)).max() <= 1
    assert np.ptp(outside, axis=1).max() <= 3  # gray
    assert outside.max() < 120  # darker than the photo


def test_all_maps_of_a_figure_share_one_scale():
    flat = np.full((64, 32), 1 / 2048)
    figure = draw_relevance_sheet([PHOTO], ['a'], {'cnn': [planted(0, 0)], 'x': [flat]}, 'Title')
    _, strong, weak = panels(figure)
    (bar,) = bars(figure)
    # A square of an eighth of the photo has eight times the mean; the flat map has the mean.
    assert bar.get_ylim() == pytest.approx((0, 8))
    scale = ColorScale(8.0)
    assert (weak == scale.lay_over(PHOTO, np.ones((64, 32)))).all()
    assert (strong == scale.lay_over(PHOTO, planted(0, 0) * 2048)).all()
    alone = draw_relevance_sheet([PHOTO], ['a'], {'x': [flat]}, 'Title')
    assert (panels(alone)[1] != weak).any()


def test_a_single_peak_does_not_leave_the_rest_dark():
    map_ = np.ones((64, 32))
    map_[0, 0] = 1000
    scale = ColorScale.for_maps([map_])
    assert (scale.top, scale.clipped) == (1.0, True)
    even = ColorScale.for_maps([np.ones((64, 32))])
    assert (even.top, even.clipped) == (1.0, False)


def test_maps_of_zeros_are_marked_and_drawn():
    figure = draw_relevance_sheet([PHOTO], ['a'], {'cnn': [np.zeros((64, 32))]}, 'Title')
    assert 'nothing relevant' in texts(figure)
    assert figure_pixels(figure).shape[2] == 3


def test_a_pair_sheet_shows_both_photos_and_each_distance():
    other = np.full((64, 32, 3), 200, np.uint8)
    maps = {name: (planted(0, 0), planted(32, 16)) for name in FEATURES}
    distances = {name: 0.1 * place for place, name in enumerate(FEATURES)}
    pair = PhotoPair((PHOTO, other), ('a.jpg', 'b.jpg'), maps, distances)
    figure = draw_pair_sheet([pair, pair], 'Alike')
    shown = texts(figure)
    for place in range(len(FEATURES)):
        assert shown.count(f'distance 0.{place}0') == 2
    drawn = panels(figure)
    columns = 1 + len(FEATURES)
    assert len(drawn) == 4 * columns
    assert (drawn[0] == PHOTO).all()
    assert (drawn[columns] == other).all()
    size = drawn[1].shape[0] // 64
    assert drawn[1][4 * size, 4 * size].sum() > drawn[1][44 * size, 24 * size].sum()
    below = drawn[columns + 1]
    assert below[44 * size, 24 * size].sum() > below[4 * size, 4 * size].sum()
    assert len(bars(figure)) == 1


def attention(unit: str, layer: int, branch: str, source: str, own: float) -> AttentionMap:
    """Two images and three heads, each head with all of its weight on a patch of its own."""
    maps = torch.zeros(2, 3, 4, 2)
    for head in range(3):
        maps[:, head, head, 0] = 1 - own
    return AttentionMap(unit, layer, branch, {source: maps}, torch.full((2, 3), own))


def fusion(layers: int) -> list[AttentionMap]:
    return [
        attention(unit, layer, branch, source, 0.2 if unit == 'seu' else 0.0)
        for layer in range(layers)
        for unit, branch, source in (
            ('seu', 'cnn', 'cnn'),
            ('seu', 'transformer', 'transformer'),
            ('mfu', 'cnn', 'transformer'),
            ('mfu', 'transformer', 'cnn'),
        )
    ]


def test_an_attention_sheet_shows_all_units_of_all_layers():
    class_token = [attention('class_token', i, 'transformer', 'transformer', 0.1) for i in range(3)]
    maps = [*class_token, attention('rollout', 2, 'transformer', 'transformer', 0.5), *fusion(2)]
    figure = draw_attention_sheet(PHOTO, maps, 'Attention', image=1)
    shown = texts(figure)
    assert len(panels(figure)) == 1 + 4 + 8
    assert len(bars(figure)) == 1
    for text in ('class token\ntransformer', 'layer 2\nown 10%', 'rollout\nown 50%'):
        assert text in shown
    for text in ('fusion\nlayer 0', 'fusion\nlayer 1'):
        assert text in shown
    assert shown.count('SEU\ncnn\nown 20%') == 2
    assert shown.count('MFU cnn\nreads transformer') == 2
    assert shown.count('MFU transformer\nreads cnn') == 2


def test_attention_is_shown_by_head_or_averaged():
    maps = fusion(1)[:1]
    averaged = panels(draw_attention_sheet(PHOTO, maps, 'Attention'))
    heads = draw_attention_sheet(PHOTO, maps, 'Attention', heads=True)
    assert len(averaged) == 2
    assert len(panels(heads)) == 4
    assert {f'head {head}\nown 20%' for head in range(3)} <= set(texts(heads))
    # Each head looks at a cell of its own, 8 of 10 parts on one of 8 cells.
    scale = ColorScale.for_maps([8 * maps[0].maps['cnn'][0].numpy()])
    for head, drawn in enumerate(panels(heads)[1:]):
        cells = 8 * maps[0].maps['cnn'][0, head].numpy()
        assert (drawn == scale.lay_over(PHOTO, cells)).all()
        cell = drawn.shape[0] // 4
        lit = drawn[cell // 2 :: cell, cell // 2].sum(1)
        assert lit.argmax() == head


def test_the_cells_of_a_grid_have_edges():
    map_ = np.zeros((4, 2))
    map_[1, 1] = 1
    drawn = ColorScale(1.0).lay_over(PHOTO, map_)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 2


def test_many_layers_are_broken_into_rows():
    maps = [attention('class_token', i, 'transformer', 'transformer', 0.0) for i in range(24)]
    figure = draw_attention_sheet(PHOTO, maps, 'Attention')
    assert len(panels(figure)) == 25
    assert figure.get_size_inches()[0] < 18
    assert texts(figure).count('class token\ntransformer') == 1


@pytest.mark.slow
def test_nothing_is_cut_off_or_overlaps():
    """Texts stay on the figure, and titles of columns and captions apart from each other."""
    maps = {name: [planted(0, 0)] * 2 for name in [*FEATURES, 'transformer_alone']}
    sheet = draw_relevance_sheet([PHOTO] * 2, ['0304_c4s4_030018_00.jpg', 'x' * 90], maps, 'Title')
    for figure in (sheet, draw_attention_sheet(PHOTO, fusion(2), 'Attention')):
        figure_pixels(figure)
        width, height = figure.canvas.get_width_height()
        found = [text for text in figure.texts if text.get_text()]
        boxes = [text.get_window_extent() for text in found]
        boxes += [ax.get_tightbbox() for ax in figure.axes]
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= width
            assert 0 <= box.y0 < box.y1 <= height
        for number, box in enumerate(boxes):
            for text, other in zip(found[:number], boxes[:number], strict=False):
                assert not box.overlaps(other), text


def test_the_colormap_can_be_chosen_and_an_unknown_one_is_refused():
    row = MapRow('a', [MapPanel(PHOTO, np.ones((4, 2)))])
    drawn = [
        panels(draw_map_grid([row], 'T', unit='u', colormap=name))[0]
        for name in (DEFAULT_COLORMAP, 'viridis')
    ]
    assert (drawn[0] != drawn[1]).any()
    with pytest.raises(UserError, match="no colormap 'rainbows': take inferno, "):
        draw_map_grid([row], 'T', unit='u', colormap='rainbows')


def test_the_default_colormap_is_perceptually_uniform():
    """From dark to light: the gray of each color is above that of the one before."""
    colors = colormaps[DEFAULT_COLORMAP](np.linspace(0, 1, 64))[:, :3]
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_no_panel_is_refused():
    with pytest.raises(ValueError, match='no panel'):
        draw_map_grid([MapRow('a', [None])], 'T', unit='u')


def test_a_long_name_keeps_its_end():
    wrapped = wrap_label('a' * 100 + '_0304.jpg')
    assert wrapped.endswith('0304.jpg')
    assert '…' in wrapped
    assert max(map(len, wrapped.splitlines())) <= 16
