from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from mmpretrain.models.backbones.mixmim import MixMIMBlock
from torch import Tensor, nn
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import ExportError
from fusionreid.export import ExportSettings, export_model
from fusionreid.export.formats import onnx as onnx_format
from fusionreid.export.formats.base import export_program
from fusionreid.export.free_batch import free_batch_size
from fusionreid.export.parity import BATCHES
from fusionreid.runtimes import open_export, read_export
from fusionreid.runtimes.export_manifest import MANIFEST

# One export to ONNX takes some twenty seconds.
pytestmark = pytest.mark.slow


def test_onnx_gives_what_the_extractor_gives(
    exported: Path, extractor: FeatureExtractor, images: list[str]
) -> None:
    session = onnxruntime.InferenceSession(str(exported / 'model.onnx'))
    assert [each.name for each in session.get_inputs()] == ['images', 'cameras']
    assert session.get_inputs()[0].shape == ['batch', 3, 64, 32]
    taken = images[:5]
    (batch,) = extractor.prepare(taken, batch_size=5)
    pixels = torch.stack([sample['inputs'] for sample in batch.samples]).numpy()
    for cameras in ([0, 1, 2, 3, 4], [-1] * 5, [0, -1, 3, -9, 2]):
        expected = extractor.extract(taken, cameras)
        (found,) = session.run(
            ['embedding'], dict(images=pixels, cameras=torch.tensor(cameras).numpy())
        )
        assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5)
        one = session.run(
            ['embedding'], dict(images=pixels[:1], cameras=torch.tensor(cameras[:1]).numpy())
        )[0]
        assert torch.allclose(torch.from_numpy(one), expected[:1], atol=1e-5)
    assert F.cosine_similarity(expected, extractor.extract(taken, [-1] * 5)).min() < 1 - 1e-6


def test_the_manifest_says_what_the_model_is(exported: Path, extractor: FeatureExtractor) -> None:
    manifest = read_export(exported)
    assert manifest.features == extractor.model.feature_widths
    assert manifest.width == extractor.spec.width
    assert manifest.cameras == extractor.known_cameras > 0
    assert manifest.input_size == (64, 32)
    assert manifest.resize['interpolation'] == 'bilinear'
    assert manifest.spec['sha256'] == extractor.spec.sha256
    assert manifest.spec['checkpoint'] == 'tiny.pth'
    assert [row['batch'] for row in manifest.parity['rows']] == [b for b in BATCHES for _ in '123']
    assert {row['cameras'] for row in manifest.parity['rows']} == {'known', 'unknown', 'mixed'}
    assert 0 < manifest.parity['worst'] < 1e-4
    inside = {p.key: p.value for p in onnx.load(exported / 'model.onnx').metadata_props}
    own: dict[str, Any] = json.loads((exported / MANIFEST).read_text())
    del own['files'], own['sha256']
    assert json.loads(inside['fusionreid']) == own


@pytest.mark.parametrize('name', ['model.onnx', MANIFEST])
def test_a_changed_file_is_refused(name: str, exported: Path, tmp_path: Path) -> None:
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=f'{name} is damaged'):
        read_export(tmp_path)


def test_weights_that_do_not_fit_into_one_file_go_into_two(
    exported: Path,
    extractor: FeatureExtractor,
    images: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_format, 'LARGEST_FILE', 10_000)
    folder = tmp_path / 'out'
    manifest, _ = export_model(extractor, folder, ExportSettings(), images)
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert set(files) == {'model.onnx', 'model.onnx.data', MANIFEST}
    assert files['model.onnx'] < files['model.onnx.data']
    # Written twice, but not appended.
    whole = (exported / 'model.onnx').stat().st_size
    assert sum(files.values()) - files[MANIFEST] < 1.1 * whole
    expected = extractor.extract(images[:3])
    for runtime in ('onnxruntime', 'openvino'):
        found = FeatureExtractor(folder, runtime=runtime).extract(images[:3])
        assert torch.allclose(found, expected, atol=1e-5)
    export_model(extractor, tmp_path / 'ir', ExportSettings('openvino'), images)
    assert torch.allclose(
        FeatureExtractor(tmp_path / 'ir').extract(images[:3]), expected, atol=1e-5
    )
    content = bytearray((folder / 'model.onnx.data').read_bytes())
    content[len(content) // 2] ^= 1
    (folder / 'model.onnx.data').write_bytes(content)
    with pytest.raises(ExportError, match=r'model\.onnx\.data is damaged'):
        open_export(folder)
    assert manifest.model_file == 'model.onnx'


class ByNumber(nn.Module):
    """Makes a number of the batch size."""

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), -1)


class WindowBlock(nn.Module):
    """A block of MixMIM, which computes the batch size in floating point."""

    def __init__(self) -> None:
        super().__init__()
        self.block = MixMIMBlock(8, (4, 4), num_heads=2, window_size=2)
        free_batch_size(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.block(images.flatten(2).transpose(1, 2))


@pytest.mark.parametrize('kind', [ByNumber, WindowBlock])
def test_the_batch_size_stays_free(kind: type[nn.Module]) -> None:
    graph = kind().eval()
    program = export_program(graph, torch.rand(2, 8, 4, 4), None).module()
    # The block as its library has it.
    own = copy.deepcopy(graph)
    for module in own.modules():
        vars(module).pop('window_reverse', None)
    for count in (1, 3):
        images = torch.rand(count, 8, 4, 4)
        assert torch.allclose(program(images), own(images), atol=1e-6)
