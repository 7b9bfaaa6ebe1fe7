"""Features as points of a plane."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from image_trees import write_image
from matplotlib.offsetbox import AnnotationBbox

from fusionreid.cli import project as cli
from fusionreid.cli.main import run_command
from fusionreid.errors import UserError
from fusionreid.evaluation import FeatureSet
from fusionreid.visualization import draw_projection, project_features, projection, tiles
from fusionreid.visualization.projection import COLORS, MARKERS, spread_out


def clusters(people: int = 4, each: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    ids = np.arange(people).repeat(each)
    looks = 10 * random.normal(size=(people, 16))
    return looks[ids] + random.normal(size=(people * each, 16)), ids


def nearest_is_of_the_same(points: np.ndarray, ids: np.ndarray) -> float:
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((ids[distances.argmin(1)] == ids).mean())


@pytest.mark.parametrize('method', ['tsne', 'umap', 'pca'])
def test_people_stay_together(method):
    if method in projection.PACKAGES:
        pytest.importorskip(projection.PACKAGES[method][0])
    features, ids = clusters()
    points, axes = project_features(features, method, seed=3)
    assert points.shape == (48, 2)
    assert nearest_is_of_the_same(points, ids) > 0.95
    assert bool(axes[0]) == (method == 'pca')
    again, _ = project_features(features, method, seed=3)
    assert np.array_equal(points, again)


def test_pca_against_the_eigenvectors_of_the_covariance():
    features, _ = clusters()
    points, axes = project_features(features, 'pca')
    values, vectors = np.linalg.eigh(np.cov(features.T))
    expected = (features - features.mean(0)) @ vectors[:, [-1, -2]]
    assert np.allclose(np.abs(points), np.abs(expected))
    assert axes[0].startswith(f'first component, {100 * values[-1] / values.sum():.0f}%')


def test_few_features_and_features_of_one_column():
    for method in ('tsne', 'pca'):
        points, _ = project_features(np.eye(3), method)
        assert np.isfinite(points).all()
        with pytest.raises(UserError, match='at least 3 images, got 2'):
            project_features(np.eye(2), method)
    points, axes = project_features(np.array([[1.0], [2.0], [4.0]]), 'pca')
    assert (points[:, 1] == 0).all()
    assert '0% of the variance' in axes[1]
    assert np.isfinite(project_features(np.ones((4, 3)), 'pca')[0]).all()


def test_a_missing_package_is_named(monkeypatch):
    for name in ('sklearn', 'umap'):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(projection.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='UMAP needs umap-learn: pip install umap-learn, or'):
        project_features(np.eye(4), 'umap')
    with pytest.raises(UserError, match='t-SNE needs scikit-learn'):
        project_features(np.eye(4), 'tsne')
    assert not projection.available('tsne')


def test_every_group_has_its_points_and_a_look_of_its_own():
    points, ids = clusters(people=9)
    figure = draw_projection(points[:, :2], [f'{each}' for each in ids], 'Title', 'protocol')
    (ax,) = figure.axes
    assert [len(line.get_xdata()) for line in ax.lines] == [12] * 9
    for person, line in enumerate(ax.lines):
        assert np.array_equal(line.get_xydata(), points[ids == person, :2])
    looks = [(line.get_color(), line.get_marker()) for line in ax.lines]
    assert len(set(looks)) == 9
    assert looks[6] == (COLORS[0], MARKERS[1])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [str(each) for each in range(9)]
    assert [text.get_text() for text in figure.texts] == ['Title', 'protocol']
    assert not len(ax.get_xticks())
    # A unit is as long across as up, and no point lies on the frame.
    figure.canvas.draw()
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
    dots = ax.transData.transform(points[:, :2])
    box = ax.get_window_extent()
    assert (dots > (box.x0, box.y0)).all()
    assert (dots < (box.x1, box.y1)).all()


@pytest.mark.parametrize('people', [1, 40, 60])
def test_the_legend_stays_inside_and_clear_of_the_axes(people):
    points, ids = clusters(people=people, each=2)
    figure = draw_projection(points[:, :2], [f'{each}' for each in ids], 'Title', legend='identity')
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    width, _ = figure.canvas.get_width_height()
    assert box.x0 > figure.axes[0].get_window_extent().x1
    assert box.x1 <= width
    assert box.y0 >= 0


def test_thumbnails_cover_neither_each_other_nor_the_frame(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(tiles, 'print_log', lambda text, **_: said.append(text))
    points, ids = clusters()
    chosen = spread_out(points[:, :2], 10)
    assert len(set(chosen)) == 10
    paths: list = [None] * len(points)
    for place in chosen:
        paths[place] = write_image(tmp_path / f'{place}.png', place, (128, 64))
    paths[chosen[0]].write_bytes(b'no image')
    groups = [str(each) for each in ids]
    figure = draw_projection(points[:, :2], groups, 'Title', thumbnails=paths)
    figure.canvas.draw()
    boxes = [
        artist.patch.get_window_extent()
        for artist in figure.axes[0].artists
        if isinstance(artist, AnnotationBbox)
    ]
    assert len(boxes) == 9
    assert len(said) == 1
    frame = figure.axes[0].get_window_extent()
    for place, box in enumerate(boxes):
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_spread_out_points():
    points = np.array([[0.0, 0], [0.1, 0], [5, 0], [5.1, 0], [0, 9]])
    assert set(spread_out(points, 3)[1:]) < {0, 1, 2, 3, 4}
    assert sorted(spread_out(points, 99)) == [0, 1, 2, 3, 4]
    assert spread_out(points, 0) == []


def test_bad_input_is_refused():
    for points, groups, thumbnails in (
        (np.empty((0, 2)), [], []),
        (np.eye(2), ['a'], []),
        (np.eye(2), ['a', 'b'], ['x']),
    ):
        with pytest.raises(ValueError, match='need as many groups'):
            draw_projection(points, groups, 'Title', thumbnails=thumbnails)


# ---- the command


@pytest.fixture
def features_dir(tmp_path):
    """Six people; 0 is seen by three cameras, all others by two; 5 has no query."""
    people = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 5, 5])
    cameras = torch.tensor([0] * 5 + [1] * 5 + [2, 3, 4])
    paths = [write_image(tmp_path / f'{row}.png', row, (64, 32)) for row in range(13)]
    FeatureSet(
        features=torch.randn(13, 6, generator=torch.Generator().manual_seed(0)),
        widths={'cnn': 4, 'transformer': 2},
        person_ids=people,
        camera_ids=cameras,
        roles=['query'] * 5 + ['gallery'] * 8,
        img_paths=[str(path) for path in paths],
        protocol={'dataset_name': 'Yard'},
    ).save(tmp_path / 'features')
    return tmp_path / 'features'


def project(*arguments) -> int:
    return run_command('project', [*map(str, arguments)])


def drawn(monkeypatch) -> list:
    figures = []
    monkeypatch.setattr(cli, 'save_picture', lambda figure, _: figures.append(figure))
    return figures


def test_the_command_writes_a_picture(features_dir, tmp_path, capsys):
    out = tmp_path / 'new' / 'pca.png'
    assert project(features_dir, '-o', out, '--method', 'pca', '--thumbnails', 4) == 0
    assert out.read_bytes().startswith(b'\x89PNG')
    assert 'PCA of 11 images of 5 people' in capsys.readouterr().out


def test_people_that_most_cameras_see_are_chosen(features_dir, monkeypatch):
    figures = drawn(monkeypatch)
    options = ['-o', 'a.png', '--method', 'pca', '--feature', 'cnn']
    assert project(features_dir, *options, '--num-ids', 2) == 0
    assert project(features_dir, *options, '--color', 'camera', '--title', 'Mine') == 0
    identity, camera = figures
    title, protocol = (text.get_text() for text in identity.texts)
    assert title == 'PCA by identity'
    assert protocol == 'Yard; feature cnn; 5 images of 2 people, L2-normalized'
    assert [text.get_text() for text in identity.legends[0].get_texts()] == ['0', '1']
    assert [len(line.get_xdata()) for line in identity.axes[0].lines] == [3, 2]
    assert camera.texts[0].get_text() == 'Mine'
    # Counted from 1.
    assert [text.get_text() for text in camera.legends[0].get_texts()] == ['1', '2', '3']
    assert [len(line.get_xdata()) for line in camera.axes[0].lines] == [5, 5, 1]


def test_without_scikit_learn_the_default_is_pca(features_dir, monkeypatch):
    figures = drawn(monkeypatch)
    monkeypatch.setattr(cli, 'available', lambda method: method == 'pca')
    assert project(features_dir, '-o', 'a.png') == 0
    assert figures[0].texts[0].get_text() == 'PCA by identity'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--feature', 'x'], "no feature 'x'; the set holds cnn, transformer"),
        (['--num-ids', '1', '--method', 'pca', '--out', 'a.xyz'], 'a.xyz cannot be drawn'),
    ],
)
def test_bad_options_end_in_one_line(features_dir, options, message):
    with pytest.raises(SystemExit, match=message):
        project(features_dir, '-o', 'a.png', *options)
    for options in (['--thumbnails', '-1'], ['--seed', '-1'], ['--num-ids', '0']):
        with pytest.raises(SystemExit) as stop:
            project(features_dir, '-o', 'a.png', *options)
        assert stop.value.code == 2
