from __future__ import annotations

import copy
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gallery_commands import call, failure
from mmengine.config import Config
from PIL import Image
from tiny_runs import ROOT, shrink_model
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import ExportError
from fusionreid.export import ExportSettings, export_model
from fusionreid.export.parity import ParityReport, ParityRow
from fusionreid.registry import MODELS, RUNTIMES
from fusionreid.runtimes import TorchRuntime, read_export

# Every kind of backbone of the published table, the adapters, and transformers alone. Made small,
# DeiT-B is ViT-B and all ResNets are one.
FAMILIES = [
    'fusionreid_vitb_r50_msmt17',
    'fusionreid_t2t14_r50_msmt17',
    'fusionreid_swint_r50_msmt17',
    'fusionreid_vits_convnextt_msmt17',
    'vitb_msmt17',
    't2t14_msmt17',
]


def small_extractor(name: str, folder: Path) -> FeatureExtractor:
    """A small model of a published config, with random weights, on images of the full size."""
    cfg = Config.fromfile(next((ROOT / 'configs').rglob(f'{name}.py')))
    shrink_model(cfg.model)
    cfg.model.head.num_classes = 3
    model = MODELS.build(copy.deepcopy(cfg.model))
    path = folder / 'small.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), path)
    return FeatureExtractor(path)


def run(folder: Path, runtime: str, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return RUNTIMES.get(runtime)(folder, read_export(folder))(images)


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_every_family_is_right_at_every_batch_size(
    name: str, images: list[str], tmp_path: Path
) -> None:
    extractor = small_extractor(name, tmp_path)
    manifest, report = export_model(extractor, tmp_path / 'out', ExportSettings(), images)
    assert manifest.input_size == (256, 128)
    assert bool(manifest.cameras) == ('swin' not in name and 'convnext' not in name)
    assert {row.batch for row in report.rows} == {1, 2, 3, 17}
    assert report.worst < 1e-4
    assert report.rank_gap < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'precision', 'runtime', 'largest'),
    [
        ('openvino', 'fp32', 'openvino', 1e-4),
        ('torch_export', 'bf16', 'torch', 1e-1),
        ('torchscript', 'fp32', 'torch', 1e-4),
        ('onnx', 'fp16', 'onnxruntime', 2e-2),
    ],
)
def test_formats_are_read_back(
    kind: str,
    precision: str,
    runtime: str,
    largest: float,
    extractor: FeatureExtractor,
    images: list[str],
    tmp_path: Path,
) -> None:
    features = ('cnn_fused', 'transformer')
    settings = ExportSettings(kind, precision, features, named_outputs=True)
    _, report = export_model(extractor, tmp_path / 'out', settings, images)
    assert 0 <= report.worst < largest
    outputs = run(tmp_path / 'out', runtime, torch.zeros(3, 3, 64, 32, dtype=torch.uint8))
    assert list(outputs) == ['embedding', *features]
    joined = torch.cat([outputs[name] for name in features], 1)
    assert torch.allclose(outputs['embedding'], F.normalize(joined), atol=1e-5)
    assert outputs['cnn_fused'].norm(dim=1).min() > 0
    assert read_export(tmp_path / 'out').spec['feature'] == 'cnn_fused,transformer'


class WrongAtThree(TorchRuntime):
    """What a tracer makes that takes the batch size of its example for a constant."""

    def _run(self, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        outputs = super()._run(inputs)
        return [each.flip(0) for each in outputs] if len(outputs[0]) == 3 else outputs


@pytest.mark.slow
def test_a_model_that_is_wrong_at_one_batch_size_is_refused(
    extractor: FeatureExtractor,
    images: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RUNTIMES.module_dict, 'torch', WrongAtThree)
    with pytest.raises(ExportError) as refused:
        export_model(extractor, tmp_path / 'out', ExportSettings('torchscript'), images)
    assert re.fullmatch(
        r"the torchscript model \(fp32\) is not right, nothing is kept: feature '\w+', batch 3, "
        r'cameras \w+: the largest error is \S+ of the largest value, at most 0.0001 is accepted',
        str(refused.value),
    )
    assert list(tmp_path.iterdir()) == []


def test_ranks_that_change_are_refused() -> None:
    row = ParityRow(1, 'none', {'cnn': 1e-6})
    report = ParityReport('images', 1e-4, 1e-5, [row], 24, 0.01, 1.0)
    assert 'rank lists of 24 images differ' in report.find_failure()
    assert ParityReport('images', 1e-4, 1e-5, [row], 24, 1e-6, 1.0).find_failure() is None
    broken = ParityRow(2, 'known', {'cnn': math.nan})
    assert 'batch 2' in ParityReport('images', 1, 1, [broken], 24, 0, 1.0).find_failure()


@pytest.mark.slow
def test_the_boxmot_layout_takes_what_boxmot_gives(
    checkpoint: Path, images: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match='takes no cameras'):
        export_model(
            FeatureExtractor(checkpoint), tmp_path / 'no', ExportSettings(layout='boxmot'), images
        )
    # The embedding that docs/export.md takes.
    extractor = FeatureExtractor(checkpoint, use_cameras=False, feature='cnn_fused')
    settings = ExportSettings(layout='boxmot', features=('cnn_fused',))
    export_model(extractor, tmp_path / 'out', settings, images)
    session = onnxruntime.InferenceSession(str(tmp_path / 'out' / 'model.onnx'))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert taken.shape == ['batch', 3, 64, 32]
    assert taken.type == 'tensor(float)'
    assert given.shape == ['batch', extractor.spec.width]
    pixels = np.stack([np.asarray(Image.open(path).convert('RGB')) for path in images[:3]])
    scaled = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    scaled = scaled.transpose(0, 3, 1, 2).astype(np.float32)
    (found,) = session.run(None, {taken.name: scaled})
    assert np.allclose(found, extractor.extract(images[:3]).numpy(), atol=1e-5)


@pytest.mark.slow
def test_images_prepared_by_opencv_give_nearly_the_same(
    exported: Path, extractor: FeatureExtractor, images: list[str], tmp_path: Path
) -> None:
    """The recipe of docs/export.md, on photos that are larger than what the model takes."""
    size = read_export(exported).input_size
    paths = []
    for number, path in enumerate(images[:6]):
        photo = Image.open(path).resize((75, 150), Image.Resampling.BICUBIC)
        paths.append(str(tmp_path / f'{number}.png'))
        photo.save(paths[-1])
    pixels = [
        cv2.resize(
            cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB), size[::-1], interpolation=method
        )
        for method in (cv2.INTER_AREA, cv2.INTER_LINEAR)
        for path in paths
    ]
    taken = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
    area, linear = run(exported, 'onnxruntime', taken)['embedding'].split(len(paths))
    expected = extractor.extract(paths)
    by_area, by_linear = (
        F.cosine_similarity(each, expected).min().item() for each in (area, linear)
    )
    assert 0.99 < by_area < 1
    assert by_linear < by_area  # bilinear sampling skips pixels


@pytest.mark.slow
def test_wrong_use_is_one_line(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, out: str = 'out', config: object = '-') -> str:
        line = failure('export', config, checkpoint, '-o', tmp_path / out, *arguments)
        assert not (tmp_path / 'out').exists()
        return line

    assert "feature 'head' is unknown: the model gives all, cnn," in refuse('--features', 'head')
    assert 'different names' in refuse('--features', 'cnn,cnn')
    assert 'has the precisions fp32, fp16' in refuse('--precision', 'bf16')
    assert 'the formats onnx, openvino' in refuse('--layout', 'boxmot', '--format', 'torchscript')
    assert 'does not fit' in refuse(config='r18_synthetic')
    (tmp_path / 'empty').mkdir()
    assert 'no image' in refuse('--images', tmp_path / 'empty')
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'notes.txt').touch()
    assert 'used exists and is not empty' in refuse(out='used')
    assert 'is a file' in refuse(out='used/notes.txt')
    monkeypatch.setitem(sys.modules, 'openvino', None)
    assert 'pip install openvino' in refuse('--format', 'openvino')


@pytest.mark.slow
def test_the_command_exports_for_tensorrt(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    people = data / 'bounding_box_train'
    arguments = ('--format', 'tensorrt', '--images', people)
    call('export', '-', checkpoint, '-o', out, *arguments)
    printed = capsys.readouterr().out
    assert 'batch  cameras  cnn' in printed
    assert 'neither built nor compared here' in printed
    script = out / 'build_tensorrt.sh'
    assert 'images:$1x3x64x32,cameras:$1' in script.read_text()
    environment = dict(PATH='/nowhere')
    refused = subprocess.run(
        [shutil.which('bash'), script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    onnx.checker.check_model(out / 'model.onnx', full_check=True)
    call('verify', out)
    assert 'exported model' in capsys.readouterr().out
    script.write_text('rm -r /')
    assert 'build_tensorrt.sh is damaged' in failure('verify', out)
