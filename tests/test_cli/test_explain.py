"""The command that draws maps, on tiny models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure, write_checkpoint
from matplotlib.figure import Figure
from PIL import Image
from small_models import FEATURES
from tiny_runs import write_tiny_config

from fusionreid.cli import explain

FAST = ('--method', 'gradcam')


@pytest.fixture(scope='module')
def photos(data) -> list[Path]:
    return sorted((data / 'query').glob('*.jpg'))


@pytest.fixture(scope='module')
def models(data, tmp_path_factory) -> Callable[[str], Path]:
    """Untrained tiny models of configs, each built once."""
    folder = tmp_path_factory.mktemp('models')

    def build(config: str) -> Path:
        path = folder / config / 'epoch_1.pth'
        if not path.is_file():
            sized = "model['branches']['transformer']['backbone']['img_size'] = (64, 32)"
            extra = sized if 't2t' in config or 'swin' in config else ''
            write_checkpoint(write_tiny_config(folder, data, config, extra), path)
        return path

    return build


@pytest.fixture
def drawn(monkeypatch) -> dict[str, Figure]:
    """Collect the figures by the names of their files, and write none."""
    figures: dict[str, Figure] = {}
    monkeypatch.setattr(
        explain, 'save_picture', lambda figure, path: figures.update({Path(path).name: figure})
    )
    return figures


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def num_panels(figure: Figure) -> int:
    return sum(bool(ax.images) for ax in figure.axes)


@pytest.mark.slow
def test_png_files_of_all_maps_are_written_and_named(checkpoint, photos, tmp_path, capsys):
    out = tmp_path / 'new' / 'maps'
    call('explain', '-', checkpoint, *photos[:2], '-o', out, *FAST)
    names = ['relevance', *(f'attention_{path.stem}' for path in photos[:2]), 'pairs']
    assert capsys.readouterr().out.splitlines() == [str(out / f'{name}.png') for name in names]
    assert sorted(path.stem for path in out.iterdir()) == sorted(names)
    for path in out.iterdir():
        with Image.open(path) as picture:
            assert picture.format == 'PNG'
            assert min(picture.size) > 400


def test_the_config_may_be_named(checkpoint, photos, tmp_path, drawn, data):
    config = write_tiny_config(tmp_path, data)
    call('explain', config, checkpoint, photos[0], '-o', tmp_path, '--what', 'cam', *FAST)
    assert list(drawn) == ['relevance.png']


@pytest.mark.slow
def test_relevance_has_a_column_for_each_branch_alone_and_each_feature(
    models, checkpoint, photos, tmp_path, drawn
):
    alone = [models('r18_synthetic'), models('vittiny_synthetic')]
    arguments = ['-', checkpoint, *photos[:3], '-o', tmp_path, '--what', 'cam']
    call('explain', *arguments, *FAST, '--baseline', *alone)
    shown = texts(drawn['relevance.png'])
    titles = ['photo', 'cnn_alone', 'transformer_alone', *FEATURES]
    assert [text for text in shown if text in [title.replace('_', '\n') for title in titles]] == [
        title.replace('_', '\n') for title in titles
    ]
    assert num_panels(drawn['relevance.png']) == 3 * len(titles)
    assert 'Grad-CAM' in shown[1].replace('\n', ' ')
    call('explain', *arguments, *FAST, '--baseline', alone[0], alone[0])
    assert {'cnn\nalone\n1', 'cnn\nalone\n2'} <= set(texts(drawn['relevance.png']))


@pytest.mark.slow
def test_features_are_chosen_and_all_is_for_pairs(checkpoint, photos, tmp_path, drawn, capsys):
    chosen = ['--features', 'cnn_fused', 'all']
    call('explain', '-', checkpoint, *photos[:3], '-o', tmp_path, *FAST, *chosen)
    assert "no cam of 'all', which no classifier scores" in capsys.readouterr().err
    assert num_panels(drawn['relevance.png']) == 3 * 2
    # The first photo and each other one: two photos and four maps each.
    assert num_panels(drawn['pairs.png']) == 2 * 6
    shown = texts(drawn['pairs.png'])
    assert sum(text.startswith('distance ') for text in shown) == 4
    assert 'all' in shown


@pytest.mark.slow
def test_attention_shows_class_token_rollout_and_all_units(checkpoint, photos, tmp_path, drawn):
    arguments = ['-', checkpoint, photos[0], '-o', tmp_path, '--what', 'attention']
    call('explain', *arguments)
    (figure,) = drawn.values()
    # Two blocks and the rollout; two layers of four units.
    assert num_panels(figure) == 1 + 3 + 8
    call('explain', *arguments, '--heads')
    (figure,) = drawn.values()
    assert num_panels(figure) == 1 + 3 * 2 + 1 + 3 * 8


def test_integrated_gradients_is_the_default(checkpoint, photos, tmp_path, drawn):
    arguments = ['-o', tmp_path, '--what', 'pair', '--features', 'cnn']
    call('explain', '-', checkpoint, *photos[:2], *arguments)
    assert 'integrated gradients' in texts(drawn['pairs.png'])[1]


@pytest.mark.slow
def test_many_photos_go_into_several_sheets(checkpoint, photos, tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(explain, 'SHEET', 2)
    call('explain', '-', checkpoint, *photos[:3], '-o', tmp_path, *FAST, '--features', 'cnn')
    assert {'relevance_1.png', 'relevance_2.png', 'pairs_1.png', 'pairs_2.png'} <= set(drawn)
    assert num_panels(drawn['relevance_1.png']) == 4
    assert num_panels(drawn['relevance_2.png']) == 2


def test_a_folder_stands_for_its_photos_and_equal_names_get_numbers(
    checkpoint, photos, tmp_path, drawn
):
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        Image.open(photos[0]).save(tmp_path / name / 'same.png')
    folders = [tmp_path / 'a', tmp_path / 'b']
    call('explain', '-', checkpoint, *folders, '-o', tmp_path, '--what', 'attention')
    assert sorted(drawn) == ['attention_same_1.png', 'attention_same_2.png']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'said', 'num_maps', 'files'),
    [
        ('r18_synthetic', 'no attention: no branch of', None, ['relevance', 'pairs']),
        ('vittiny_synthetic', 'has no HTM', 2 + 1, ['relevance', 'attention', 'pairs']),
        ('t2t14_msmt17', 'has no HTM', 2 + 1, ['relevance', 'attention', 'pairs']),
        ('fusionreid_t2t14_r50_msmt17', '', 2 + 1 + 8, ['relevance', 'attention', 'pairs']),
        ('fusionreid_swint_r50_msmt17', 'no branch of', 8, ['relevance', 'attention', 'pairs']),
    ],
)
def test_other_models_give_what_they_can(
    models, photos, tmp_path, drawn, capsys, config, said, num_maps, files
):
    few = ['--features', 'cnn'] if 'r50' in config or 'r18' in config else []
    arguments = ['-', models(config), *photos[:2], '-o', tmp_path, '--mean-camera', *few]
    call('explain', *arguments, *FAST)
    shown = capsys.readouterr().err
    assert shown.count('\n') == bool(said)
    assert said in shown
    assert sorted({name.split('_')[0].split('.')[0] for name in drawn}) == sorted(files)
    if num_maps:
        assert num_panels(drawn[f'attention_{photos[0].stem}.png']) == 1 + num_maps


def test_one_photo_has_no_pair(checkpoint, photos, tmp_path, drawn, capsys):
    call('explain', '-', checkpoint, photos[0], '-o', tmp_path, *FAST, '--features', 'cnn')
    assert 'no pair: there is one photo only' in capsys.readouterr().err
    assert 'pairs.png' not in drawn
    line = failure('explain', '-', checkpoint, photos[0], '-o', tmp_path, '--what', 'pair')
    assert 'a pair needs two photos, got 1' in line


def test_a_model_without_maps_is_named(photos, tmp_path, capsys):
    """A model without weights: no gradient, no classifier, no attention."""
    state = tmp_path / 'none.pth'
    torch.save(dict(state_dict={}), state)
    line = failure('explain', HISTOGRAM, state, *photos[:2], '-o', tmp_path / 'out')
    assert line
    assert not list((tmp_path / 'out').glob('*.png'))


def test_bad_input_is_one_line(checkpoint, photos, tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file').write_text('in the way')
    cases = [
        ([tmp_path / 'broken.jpg'], 'broken.jpg'),
        ([photos[0], 'missing.jpg'], "'missing.jpg' does not exist"),
        ([tmp_path / 'empty'], 'there is no image in'),
        ([photos[0], '--features', 'cnn_fuzed'], "feature 'cnn_fuzed' is unknown: the model gives"),
        ([photos[0], '--colormap', 'jett'], "no colormap 'jett'"),
        ([photos[0], '--baseline', 'nothing.pth'], 'nothing.pth'),
        ([photos[0], '--device', 'abacus'], 'abacus'),
    ]
    for arguments, message in cases:
        assert message in failure('explain', '-', checkpoint, '-o', tmp_path / 'out', *arguments)
    assert not list(tmp_path.glob('out/*'))
    inside_a_file = tmp_path / 'file' / 'maps'
    line = failure('explain', '-', checkpoint, photos[0], '-o', inside_a_file)
    assert f'{inside_a_file}' in line
    assert 'cannot be written' in line
    line = failure('explain', 'nothing.py', checkpoint, photos[0], '-o', tmp_path)
    assert 'nothing' in line


@pytest.mark.skipif(os.geteuid() == 0, reason='the administrator may write everywhere')
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(checkpoint, photos, tmp_path):
    tmp_path.chmod(0o500)
    assert 'cannot be written' in failure('explain', '-', checkpoint, photos[0], '-o', tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--what', 'pair', '--baseline', 'a.pth'], '--baseline is for --what cam'),
        (['--what', 'cam', '--heads'], '--heads is for --what attention'),
        (['--what', 'attention', '--features', 'cnn'], '--features is for --what cam and pair'),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        call('explain', '-', 'a.pth', 'a.jpg', '-o', tmp_path, *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
