"""A drawing of a model names what the model has."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.registry import init_default_scope
from tiny_runs import ROOT

from fusionreid.config import packaged_configs, read_config
from fusionreid.models import build_on_meta
from fusionreid.visualization import draw_architecture

PUBLISHED = 'fusionreid_vitb_r50_market1501'


def draw(model: dict, input_size: tuple[int, int] = (256, 128)):
    """Draw the model of a config; returns it and the texts of the drawing with their boxes."""
    init_default_scope('fusionreid')
    built = build_on_meta(model)
    figure = draw_architecture(built, input_size, 'A model')
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = {}
    for text in ax.texts:
        patch = text.get_bbox_patch()
        box = patch.get_window_extent() if patch else text.get_window_extent()
        boxes.setdefault(text.get_text(), []).append(box)
    return figure, built, boxes


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    [PUBLISHED, 'fusionreid_t2t14_r50_msmt17', 'fusionreid_vitb_r50_msmt17_mfu-seu', 'r50_msmt17'],
)
def test_every_feature_stands_once_with_its_width(name):
    figure, model, boxes = draw(read_config(name).model)
    for feature, width in model.feature_widths.items():
        (box,) = boxes[f'{feature}  {width}']
        assert figure.bbox.containsx(box.x0)
        assert figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y1)


def test_sizes_are_those_of_the_model():
    _, model, boxes = draw(read_config(PUBLISHED).model)
    assert 'HTM x 2' in boxes
    assert any('map 2048 x 16 x 8' in text for text in boxes)
    assert any('map 768 x 21 x 10' in text for text in boxes)
    total = sum(model.feature_widths.values())
    assert any(f'{total:,} numbers' in text for text in boxes)
    assert any('751 identities' in text for text in boxes)
    assert len(boxes['SEU']) == 1
    assert len(boxes['MFU']) == len(boxes['LRU']) == 2


def test_units_of_their_own_are_drawn_for_each_branch():
    _, _, boxes = draw(read_config('fusionreid_vitb_r50_msmt17_shared-none').model)
    assert len(boxes['SEU']) == 2


@pytest.mark.parametrize(
    ('options', 'title'),
    [(dict(encode_once=True), 'SEU, then MFU x 2'), (dict(share_layers=True), 'HTM x 2')],
)
def test_lighter_fusions_are_drawn_with_the_units_that_run(options, title):
    cfg = read_config('fusionreid_vittiny_r18_synthetic').model
    cfg.neck.update(options)
    _, _, boxes = draw(cfg, (128, 64))
    assert title in boxes
    assert (len(boxes['SEU']), len(boxes['MFU'])) == (1, 2)


def test_a_third_branch_gets_a_lane():
    cfg = read_config('fusionreid_vittiny_r18_synthetic').model
    cfg.branches.other = cfg.branches.cnn
    figure, model, boxes = draw(cfg, (128, 64))
    assert len(model.feature_widths) == 9
    heights = {round(boxes[f'{name}_fused  128'][0].y0) for name in model.branches}
    assert len(heights) == 3
    assert all(figure.bbox.containsy(height) for height in heights)


def test_names_do_not_cover_each_other():
    _, _, boxes = draw(read_config(PUBLISHED).model)
    placed = [(text, box) for text, found in boxes.items() for box in found]
    for index, (text, box) in enumerate(placed):
        for other, second in placed[index + 1 :]:
            assert not box.overlaps(second), f'{text!r} and {other!r}'


def test_drawing_leaves_the_model_as_it_was():
    init_default_scope('fusionreid')
    model = build_on_meta(read_config('fusionreid_vittiny_r18_synthetic').model).train()
    draw_architecture(model, (128, 64), '')
    assert all(module.training for module in model.modules())
    assert not any(value.grad_fn for value in model.parameters())
    assert torch.is_grad_enabled()


def test_the_documents_show_the_published_model():
    assert PUBLISHED in packaged_configs()
    path = ROOT / 'docs' / 'images' / 'architecture.svg'
    assert path.stat().st_size < 200_000
    names = build_on_meta(read_config(PUBLISHED).model).feature_widths
    # Text is drawn as outlines; Matplotlib keeps it in comments.
    shown = set(re.findall(r'<!-- (.*?) -->', path.read_text()))
    assert {f'{name}  {width}' for name, width in names.items()} <= shown
