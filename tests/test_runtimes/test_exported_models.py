"""Exported models in the place of the models that they were made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from exported_models import onnx_export, tiny_model
from gallery_commands import call, failure
from manifests import change_manifest

from fusionreid import Gallery, ReIDInferencer
from fusionreid.apis import FeatureExtractor
from fusionreid.cli.main import run_command
from fusionreid.errors import ConfigError, ExportError, GalleryError, InferenceError
from fusionreid.export import ExportSettings, export_model
from fusionreid.runtimes import open_export
from fusionreid.runtimes.export_manifest import MANIFEST

pytestmark = pytest.mark.slow  # exports

CAMERAS = [0, 1, -1, 2, 0, -1, 3]


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_model(tmp_path_factory).images[:7]


@pytest.fixture(scope='module')
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory).config


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory).checkpoint


@pytest.fixture(scope='module')
def extractor(checkpoint: Path) -> FeatureExtractor:
    return FeatureExtractor(checkpoint)


@pytest.fixture(scope='module')
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_export(tmp_path_factory)


@pytest.fixture(scope='module')
def script(
    extractor: FeatureExtractor, images: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A TorchScript model that takes normalized images and names two features."""
    folder = tmp_path_factory.mktemp('exported') / 'script'
    settings = ExportSettings(
        'torchscript', features=('cnn', 'cnn_fused'), raw_input='float', named_outputs=True
    )
    export_model(extractor, folder, settings, images)
    return folder


@pytest.mark.parametrize(
    'runtime',
    [
        None,
        'openvino',
        dict(type='openvino', threads=2, hint='throughput'),
        # Five images: a part, and one that is filled up.
        dict(type='openvino', batch_size=4),
        dict(type='openvino', batch_size=8, hint='throughput'),
        dict(type='onnxruntime', threads=1),
    ],
)
def test_any_runtime_gives_what_the_checkpoint_gives(runtime, onnx, extractor, images):
    inferencer = ReIDInferencer(onnx, runtime=runtime)
    found = inferencer.extractor.extract(images, CAMERAS)
    torch.testing.assert_close(found, extractor.extract(images, CAMERAS), atol=1e-5, rtol=0)
    inferencer.spec.check_same(extractor.spec)
    for image, camera, result in zip(
        images, CAMERAS, inferencer(images, camera_ids=CAMERAS, batch_size=3), strict=True
    ):
        (expected,) = _inferencer(extractor)(image, camera_ids=[camera])
        for name, feature in expected.features.items():
            cosine = torch.cosine_similarity(
                torch.from_numpy(feature), torch.from_numpy(result.features[name]), dim=0
            )
            assert cosine > 1 - 1e-6


def _inferencer(extractor: FeatureExtractor) -> ReIDInferencer:
    """An inferencer around a model that is loaded already."""
    inferencer = ReIDInferencer.__new__(ReIDInferencer)
    inferencer.extractor, inferencer.model = extractor, extractor.model
    inferencer.show_progress, inferencer.calibration = False, None
    return inferencer


def test_named_outputs_are_the_features_themselves(script, extractor, images):
    (result,) = ReIDInferencer(script)(images[0])
    (expected,) = _inferencer(extractor)(images[0])
    assert list(result.features) == ['cnn', 'cnn_fused']
    for name, feature in result.features.items():
        torch.testing.assert_close(
            torch.from_numpy(feature),
            torch.from_numpy(expected.features[name]),
            atol=1e-4,
            rtol=1e-4,
        )


def test_one_feature_of_an_exported_model_searches_an_index_of_the_checkpoint(
    onnx, extractor, checkpoint, images
):
    gallery = Gallery(FeatureExtractor(checkpoint, feature='cnn_fused'))
    gallery.add(images, camera_ids=CAMERAS)
    exported = FeatureExtractor(onnx, feature='cnn_fused')
    exported.spec.check_same(gallery.spec)
    gallery._extractor = exported
    found = gallery.search(images, k=1, query_camera_ids=CAMERAS)
    assert found.paths[:, 0].tolist() == images
    assert found.distances.max() < 1e-2
    with pytest.raises(GalleryError, match='of width'):
        gallery.spec.check_same(FeatureExtractor(onnx).spec)


def test_an_index_finds_its_exported_model_again(onnx, images, tmp_path):
    gallery = Gallery(ReIDInferencer(onnx))
    gallery.add(images)
    gallery.save(tmp_path / 'index')
    found = Gallery.load(tmp_path / 'index').search(images[3], k=1)
    assert found.paths.tolist() == [[images[3]]]


def test_an_index_takes_a_program_that_a_person_names(script, images, tmp_path):
    gallery = Gallery(ReIDInferencer(script))
    gallery.add(images)
    gallery.save(tmp_path / 'index')
    loaded = Gallery.load(tmp_path / 'index')
    with pytest.raises(ExportError, match=r'is a program .* name it yourself'):
        loaded.search(images[3], k=1)
    loaded.use_model(script)
    assert loaded.search(images[3], k=1).paths.tolist() == [[images[3]]]


def test_commands_take_an_exported_model(onnx, config, checkpoint, images, tmp_path, capsys):
    scores = []
    for name, source in (
        ('torch', [str(checkpoint)]),
        ('onnx', ['--runtime', str(onnx), '--runtime-options', 'threads=1']),
    ):
        out = str(tmp_path / name)
        run_command('test', [str(config), *source, '--work-dir', out, '--out', out])
        scores.append(json.loads((tmp_path / name / 'metrics.json').read_text()))
    assert scores[0].keys() == scores[1].keys()
    assert all(abs(scores[1][name] - value) < 0.2 for name, value in scores[0].items())
    call('index', Path(images[0]).parent, onnx, '-o', tmp_path / 'index')
    capsys.readouterr()
    call('search', tmp_path / 'index', images[2], '-k', 2)
    assert Path(images[2]).name in capsys.readouterr().out
    call('verify', onnx)
    assert 'exported model' in capsys.readouterr().out


def test_what_was_decided_at_export_is_not_asked_again(onnx, script, images):
    for settings, message in [
        (dict(use_cameras=False), 'export it with --mean-camera'),
        (dict(precision='bf16'), 'export it with --precision bf16'),
        (dict(config='fusionreid_vittiny_r18_synthetic'), 'takes no config'),
        (dict(feature='nose'), "feature 'nose' is unknown"),
    ]:
        with pytest.raises(ConfigError, match=message):
            FeatureExtractor(onnx, **settings)
    with pytest.raises(InferenceError, match='camera 7, counted from 1'):
        FeatureExtractor(onnx).extract(images[:1], [6])
    with pytest.raises(InferenceError, match='has no layers and gradients'):
        FeatureExtractor(onnx).torch_model  # noqa: B018


@pytest.mark.parametrize(
    ('runtime', 'message'),
    [
        ('tflite', "runtime 'tflite' is unknown, choose one of onnxruntime, openvino, torch"),
        ('torch', 'in the format onnx, which the runtime torch does not run'),
        (dict(threads='many'), 'threads of the runtime onnxruntime must be a whole number'),
        (dict(threads=0), 'threads must be at least 1, got 0'),
        (dict(streams=2), "has no setting 'streams', it has threads, device"),
        (dict(device='tpu'), "has no device 'tpu'"),
        (dict(type='openvino', device='tpu'), "openvino has no device 'tpu' here, it has cpu"),
        (dict(type='openvino', hint='haste'), "hint must be one of .*, got 'haste'"),
        (dict(type='openvino', batch_size=0), 'batch_size must be at least 1, got 0'),
    ],
)
def test_wrong_runtimes_are_refused(runtime, message, onnx):
    with pytest.raises(ExportError, match=message):
        open_export(onnx, runtime)


def test_a_runtime_needs_an_exported_model(checkpoint, onnx, config, images, tmp_path, capsys):
    with pytest.raises(ConfigError, match='is for the folder of an exported model'):
        FeatureExtractor(checkpoint, runtime='openvino')
    assert 'no exported model' in failure('test', config, '--runtime', checkpoint.parent)
    with pytest.raises(SystemExit):
        run_command('test', [str(config), str(checkpoint), '--runtime', str(onnx)])
    assert 'cannot be given with --runtime' in capsys.readouterr().err
    assert 'has no layers' in failure('explain', '-', onnx, images[0], '-o', tmp_path)


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_a_file_that_cannot_be_loaded_is_said_in_one_line(runtime, onnx, tmp_path):
    folder = shutil.copytree(onnx, tmp_path / 'damaged')
    (folder / 'model.onnx').write_bytes(b'nothing of a model')
    with pytest.raises(ExportError, match=f'cannot be loaded by the runtime {runtime}: ') as found:
        open_export(folder, runtime, verify=False)
    assert '\n' not in str(found.value)


def test_a_missing_library_is_named(onnx, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(ExportError, match='pip install onnxruntime'):
        open_export(onnx)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(features={'cnn': 3}), 'is damaged'),
        (dict(spec={'width': 'x'}), 'is damaged'),
        (dict(pipeline=[dict(type='mmengine.load', file='x')]), 'mmengine.load'),
    ],
)
def test_a_crafted_manifest_is_refused(change, message, onnx, tmp_path):
    folder = tmp_path / 'crafted'
    folder.mkdir()
    for path in onnx.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    change_manifest(folder / MANIFEST, lambda content: content.update(change))
    with pytest.raises((ExportError, ConfigError), match=message):
        FeatureExtractor(folder)
