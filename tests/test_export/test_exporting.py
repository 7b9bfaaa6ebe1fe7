from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

from fusionreid.apis import FeatureExtractor
from fusionreid.errors import ExportError
from fusionreid.export.parity import BATCHES
from fusionreid.runtimes import read_export
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
