"""The command that draws rank lists from saved features."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from gallery_commands import write_checkpoint
from PIL import Image
from tiny_runs import refused, write_tiny_config

from fusionreid.cli.main import run_command
from fusionreid.evaluation import FeatureSet
from fusionreid.visualization import rank_list, tiles
from fusionreid.visualization.style import RIGHT_COLOR, UNKNOWN_COLOR, WRONG_COLOR


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """Collect what is logged while something is drawn."""
    lines: list[str] = []
    monkeypatch.setattr(tiles, 'print_log', lambda text, **_: lines.append(text))
    return lines


@pytest.fixture
def features_dir(tmp_path):
    """One query and three gallery images; `good` ranks the right person first, `bad` last."""
    paths = []
    for name in ('q', 'same_camera', 'right', 'wrong'):
        paths.append(str(tmp_path / f'{name}.png'))
        Image.new('RGB', (64, 128), (200, 200, 200)).save(paths[-1])
    good = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    bad = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    FeatureSet(
        features=torch.cat([good, bad], dim=1),
        widths={'good': 2, 'bad': 2},
        person_ids=torch.tensor([1, 1, 1, 2]),
        camera_ids=torch.tensor([0, 0, 1, 0]),
        roles=['query', 'gallery', 'gallery', 'gallery'],
        img_paths=paths,
        protocol={'dataset_name': 'Market-1501'},
    ).save(tmp_path / 'features')
    return tmp_path / 'features'


def rank_lists(*arguments) -> int:
    return run_command('rank-lists', [*map(str, arguments)])


@pytest.mark.parametrize(
    ('name', 'colors'), [('good', [RIGHT_COLOR, WRONG_COLOR]), ('bad', [WRONG_COLOR, RIGHT_COLOR])]
)
def test_answers_follow_the_chosen_feature(features_dir, tmp_path, name, colors):
    out = tmp_path / 'pictures' / 'out.png'
    assert rank_lists(features_dir, '-o', out, '--features', name) == 0
    picture = Image.open(out)
    middle = 146 + 134
    assert [picture.getpixel((222 + rank * 154, middle)) for rank in range(2)] == colors
    # The query's own image of the same camera is left out, so there is no third answer.
    assert picture.getpixel((222 + 2 * 154, middle)) == (255, 255, 255)


def test_all_features_is_the_default(features_dir, tmp_path, capsys):
    assert rank_lists(features_dir, '-o', tmp_path / 'a.png') == 0
    assert '1 of 1 queries' in capsys.readouterr().out
    assert rank_lists(features_dir, '-o', tmp_path / 'b.png', '--features', 'all') == 0
    assert (tmp_path / 'a.png').read_bytes() == (tmp_path / 'b.png').read_bytes()
    one = ['--features', 'good']
    assert rank_lists(features_dir, '-o', tmp_path / 'c.png', *one) == 0
    assert (tmp_path / 'a.png').read_bytes() != (tmp_path / 'c.png').read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--features', 'cnn'], "no feature 'cnn'; the set holds good, bad"),
        (['--num-queries', '0'], 'num_queries must be at least 1, got 0'),
        (['--topk', '0'], 'k=0 is outside 1..3'),
    ],
)
def test_bad_options_are_one_line_errors(features_dir, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as stop:
        rank_lists(features_dir, '-o', tmp_path / 'out.png', *arguments)
    error = stop.value.code
    assert error.startswith('error: ')
    assert message in error
    assert '\n' not in error
    assert not (tmp_path / 'out.png').exists()


def test_missing_features_and_images_are_named(features_dir, tmp_path, said):
    with pytest.raises(SystemExit, match=r'^error: .*nothing.* does not exist'):
        rank_lists(tmp_path / 'nothing', '-o', tmp_path / 'out.png')
    (tmp_path / 'right.png').unlink()
    assert rank_lists(features_dir, '-o', tmp_path / 'out.png') == 0
    assert Image.open(tmp_path / 'out.png').getpixel((222, 146 + 134)) == UNKNOWN_COLOR
    assert re.search(r'unreadable: image .*right\.png', said[0])


def test_an_unknown_picture_format_is_one_line(features_dir, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*out\.txt cannot be drawn'):
        rank_lists(features_dir, '-o', tmp_path / 'out.txt')


@pytest.fixture(scope='module')
def searched(data, checkpoint) -> Path:
    """Features that the tiny model has saved."""
    out = checkpoint.parent / 'searched'
    config = write_tiny_config(checkpoint.parent, data)
    run_command('test', [str(config), str(checkpoint), '--out', str(out)])
    return out


@pytest.mark.slow
def test_why_shows_query_and_answer_below_each_wrong_answer(searched, checkpoint, tmp_path):
    arguments = (searched, '--num-queries', 2, '--topk', 4, '--features', 'cnn')
    assert rank_lists(*arguments, '-o', tmp_path / 'lists.png') == 0
    assert rank_lists(*arguments, '-o', tmp_path / 'why.png', '--why', checkpoint) == 0
    lists, why = (Image.open(tmp_path / name) for name in ('lists.png', 'why.png'))
    assert why.width == lists.width
    wrong = [why.getpixel((222 + rank * 154, 146 + 134)) == WRONG_COLOR for rank in range(4)]
    assert any(wrong)
    assert why.height - lists.height in (rank_list.STRIP_HEIGHT, 2 * rank_list.STRIP_HEIGHT)
    middle = 146 + 268 + 52 + 64
    for rank, is_wrong in enumerate(wrong):
        left = 220 + rank * 154
        shown = [why.getpixel((left + x, middle)) != (255, 255, 255) for x in (32, 108)]
        assert shown == [is_wrong] * 2
        assert why.getpixel((left + 70, middle)) == (255, 255, 255)


@pytest.mark.slow
def test_why_refuses_features_of_another_model(searched, data, tmp_path):
    torch.manual_seed(1)
    config = write_tiny_config(tmp_path, data)
    other = write_checkpoint(config, tmp_path / 'run' / 'epoch_1.pth')
    arguments = [searched, '-o', tmp_path / 'a.png', '--num-queries', '1', '--why', other]
    line = refused('rank-lists', [*map(str, arguments)])
    assert re.search(r'the distance \d.\d+, the saved features \d.\d+: name the checkpoint', line)
    two = ['--features', 'cnn', 'cnn_fused']
    line = refused('rank-lists', [*map(str, arguments), *two])
    assert "for one feature or 'all', not for cnn + cnn_fused" in line
    line = refused('rank-lists', [*map(str, arguments), '--colormap', 'jett'])
    assert "no colormap 'jett'" in line
    line = refused('rank-lists', [*map(str, arguments), '--device', 'toaster'])
    assert 'toaster' in line
    assert not (tmp_path / 'a.png').exists()
