"""``fusionreid fit-projection``, and the commands that use what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure
from safetensors import safe_open
from safetensors.torch import save_file

from fusionreid.apis import FeatureExtractor, Projection, ReIDInferencer, load_calibration
from fusionreid.errors import UserError
from fusionreid.gallery import Gallery

DIMS = 8


@pytest.fixture(scope='module')
def features(data, checkpoint, tmp_path_factory) -> Path:
    """Features of the training images."""
    path = tmp_path_factory.mktemp('features') / 'features.safetensors'
    call('extract', data / 'bounding_box_train', checkpoint, '-o', path)
    return path


@pytest.fixture(scope='module')
def projection(features, checkpoint) -> Path:
    path = features.parent / 'narrow.safetensors'
    call('fit-projection', features, checkpoint, '-o', path, '--dims', DIMS)
    return path


@pytest.fixture(scope='module')
def index(data, checkpoint, projection) -> Path:
    path = projection.parent / 'index'
    call('index', data / 'bounding_box_test', checkpoint, '-o', path, '--projection', projection)
    return path


def read(path: Path, name: str = 'features') -> torch.Tensor:
    with safe_open(path, framework='pt') as file:
        return file.get_tensor(name)


def test_queries_are_projected_as_the_index_is(data, checkpoint, projection, index, tmp_path):
    query = min((data / 'query').glob('*.jpg'))
    answers = tmp_path / 'answers.json'
    call('search', index, query, '-k', 3, '--json', answers, '--query-camera', 1)
    found = json.loads(answers.read_text())['queries'][0]['answers']
    gallery = Gallery.load(index)
    assert gallery.spec.width == DIMS
    assert f'projected by {projection.name} (sha256' in gallery.spec.label
    camera = int(query.name.split('_c')[1][0]) - 1
    wide = FeatureExtractor(checkpoint).extract([query], [camera])
    narrow = Projection.load(projection).apply(wide)
    expected = gallery.search(narrow, 3)
    assert [answer['path'] for answer in found] == expected.paths[0].tolist()
    assert [answer['distance'] for answer in found] == pytest.approx(
        expected.distances[0].tolist(), abs=1e-5
    )
    inferencer = ReIDInferencer(pretrained=checkpoint, device='cpu', projection=projection)
    (result,) = inferencer(query, camera_ids=[camera])
    assert result.embedding.shape[-1] == DIMS


def test_extract_writes_what_the_projection_gives(data, checkpoint, projection, tmp_path):
    out = tmp_path / 'q.safetensors'
    call('extract', data / 'bounding_box_train', checkpoint, '-o', out, '--projection', projection)
    wide = read(projection.parent / 'features.safetensors')
    torch.testing.assert_close(
        read(out), Projection.load(projection).apply(wide), atol=1e-5, rtol=0
    )


@pytest.mark.slow
def test_a_moved_projection_is_named_and_another_refused(
    data, features, checkpoint, projection, index, tmp_path, capsys
):
    query = min((data / 'query').glob('*.jpg'))
    other, moved = tmp_path / 'other.safetensors', tmp_path / 'moved.safetensors'
    call('fit-projection', features, checkpoint, '-o', other, '--dims', DIMS, '--whiten')
    assert 'whitened principal components' in capsys.readouterr().out
    message = failure('search', index, query, '-k', 1, '--projection', other)
    assert 'made narrower by narrow.safetensors' in message
    assert 'other.safetensors' in message
    message = failure('index', data / 'query', checkpoint, '-o', index)
    assert 'the model gives them with no projection' in message
    message = failure('index', data / 'query', checkpoint, '-o', index, '--projection', other)
    assert 'name the projection of the gallery (--projection)' in message
    projection.rename(moved)
    try:
        assert f'there is no projection {projection}' in failure('search', index, query, '-k', 1)
        call('search', index, query, '-k', 1, '--projection', moved)
        call('index add', index, query, '--projection', moved)
    finally:
        moved.rename(projection)


def test_a_projection_takes_features_of_its_model_alone(data, checkpoint, projection, tmp_path):
    images = data / 'query'
    out = ['-o', tmp_path / 'x.safetensors', '--projection', projection]
    message = failure('extract', images, checkpoint, '--feature', 'cnn', *out)
    assert 'takes features of all' in message
    assert 'not cnn, width' in message
    assert 'takes features of' in failure('extract', images, checkpoint, '--mean-camera', *out)
    assert 'takes features of' in failure('extract', images, '--config', HISTOGRAM, *out)
    assert not (tmp_path / 'x.safetensors').exists()


@pytest.mark.slow
def test_projected_features_are_calibrated_apart(
    data, checkpoint, features, projection, index, tmp_path
):
    own = Path(shutil.copy(checkpoint, tmp_path / 'epoch_2.pth'))
    call('calibrate', features, own, '--projection', projection)
    (written,) = tmp_path.glob('*.calibration.json')
    sha256 = Projection.load(projection).sha256
    assert written.name == f'epoch_2.pth.all.{sha256[:12]}.calibration.json'
    assert load_calibration(written).spec.projection_sha256 == sha256
    narrow = tmp_path / 'narrow.safetensors'
    call('extract', data / 'bounding_box_train', own, '-o', narrow, '--projection', projection)
    call('calibrate', narrow, own, '--projection', projection, '-o', tmp_path / 'again.json')
    again, first = load_calibration(tmp_path / 'again.json'), load_calibration(written)
    assert again.pairs.num_different == first.pairs.num_different
    assert again.distance_at(0.1) == pytest.approx(first.distance_at(0.1), abs=1e-4)
    assert 'name the right checkpoint' in failure('calibrate', narrow, own)
    call('index', data / 'query', own, '-o', tmp_path / 'index', '--projection', projection)
    assert Gallery.load(tmp_path / 'index').calibration is not None
    call('index', data / 'query', own, '-o', tmp_path / 'wide')
    assert Gallery.load(tmp_path / 'wide').calibration is None


def test_an_index_is_a_source_too_but_not_a_projected_one(data, checkpoint, index, tmp_path):
    wide, out = tmp_path / 'wide', tmp_path / 'narrow.safetensors'
    call('index', data / 'bounding_box_test', checkpoint, '-o', wide, '--feature', 'cnn')
    call('fit-projection', wide, '-o', out, '--dims', 4)
    assert Projection.load(out).source.feature == 'cnn'
    group = ['group', data / 'query', checkpoint, '-o', tmp_path / 'people']
    call(*group, '--feature', 'cnn', '--projection', out, '--sheets', 0, '--max-distance', 0.5)
    assert 'holds projected features' in failure('fit-projection', index, '-o', out, '--dims', 2)
    message = failure('fit-projection', wide, checkpoint, '-o', out, '--dims', 2)
    assert 'leave out the checkpoint' in message
    message = failure('fit-projection', wide, '-o', out, '--dims', 100_000)
    assert '--dims 100000 is not narrower' in message
    assert 'ends in .safetensors' in failure('fit-projection', wide, '-o', tmp_path / 'x.pt')


def test_any_changed_byte_is_found(projection, tmp_path, capsys):
    capsys.readouterr()
    call('verify', projection)
    said = capsys.readouterr().out
    assert f'projection {projection}, ' in said
    assert f'to {DIMS} numbers' in said
    assert 'epoch_2.pth' in said
    content = projection.read_bytes()
    path = tmp_path / 'narrow.safetensors'
    for place in range(0, len(content), max(1, len(content) // 60)):
        changed = bytearray(content)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(UserError):
            Projection.load(path)
        failure('verify', path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match='no projection, or damaged'):
        Projection.load(path)


def test_other_files_are_no_projections(features, checkpoint, data, tmp_path):
    images, out = data / 'query', tmp_path / 'x.safetensors'
    strange = tmp_path / 'strange.safetensors'
    save_file(dict(mean=torch.ones(3)), strange)
    for path, message in (
        (tmp_path, 'is no file'),
        (features, 'is no projection'),
        (strange, 'is no projection'),
        (checkpoint, 'is no projection, or damaged'),
    ):
        assert message in failure('extract', images, checkpoint, '-o', out, '--projection', path)
