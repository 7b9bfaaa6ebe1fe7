from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from manifests import change_manifest

from fusionreid.apis import FeatureSpec
from fusionreid.errors import ExportError
from fusionreid.gallery import Gallery
from fusionreid.runtimes import ExportManifest, TorchRuntime, read_export
from fusionreid.runtimes.export_manifest import MANIFEST

SAID = ExportManifest(
    model_format='torchscript',
    model_file='model.ts',
    precision='fp32',
    layout='fusionreid',
    raw_input='uint8',
    input_size=(256, 128),
    color_order='rgb',
    mean=[127.5] * 3,
    std=[127.5] * 3,
    resize=dict(interpolation='bilinear', antialias=True),
    pipeline=[dict(type='LoadReIDImage')],
    features=dict(cnn=512),
    outputs=['embedding'],
    cameras=0,
    spec=dict(width=512, feature='cnn'),
    versions=dict(torch='2'),
    parity=dict(worst=1e-6),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'model.ts').write_bytes(bytes(range(256)))
    SAID.write(tmp_path)
    assert read_export(tmp_path) == SAID
    return tmp_path


@pytest.mark.parametrize('name', ['model.ts', MANIFEST])
def test_every_changed_byte_of_an_exported_model_is_refused(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        (folder / name).write_bytes(changed)
        with pytest.raises(ExportError):
            read_export(folder)
    for cut in (content[:-1], content + b' ', b''):
        (folder / name).write_bytes(cut)
        with pytest.raises(ExportError):
            read_export(folder)
    (folder / name).unlink()
    with pytest.raises(ExportError):
        read_export(folder)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ('model_file', '../model.ts'),
        ('model_file', MANIFEST),
        ('features', {}),
        ('features', dict(cnn=-1)),
        ('features', dict(cnn=True)),
        ('input_size', [256]),
        ('input_size', [256, 'x']),
        ('raw_input', 'pixels'),
        ('cameras', '3'),
        ('outputs', [1]),
        ('spec', None),
        ('mean', 'zero'),
    ],
)
def test_hand_edited_exports_are_named_in_one_line(
    setting: str, value: object, folder: Path
) -> None:
    change_manifest(folder / MANIFEST, lambda content: content.update({setting: value}))
    with pytest.raises(ExportError, match='export.json is damaged') as refused:
        read_export(folder)
    assert '\n' not in str(refused.value)
    change_manifest(folder / MANIFEST, lambda content: content.pop(setting))
    with pytest.raises(ExportError, match='is damaged'):
        read_export(folder)


def test_programs_are_not_loaded_before_the_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr('torch.jit.load', lambda path, **_: loaded.append(path))
    manifest = copy.copy(SAID)
    (folder / 'model.ts').write_bytes(b'a program')
    with pytest.raises(ExportError, match=r'model\.ts is damaged'):
        TorchRuntime(folder, read_export(folder))
    assert loaded == []
    manifest.write(folder)
    TorchRuntime(folder, read_export(folder))
    assert loaded == [str(folder / 'model.ts')]


def test_an_index_does_not_choose_a_program(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr('torch.jit.load', lambda path, **_: loaded.append(path))
    gallery = Gallery()
    gallery.add(features=torch.eye(512)[:2], ids=['a', 'b'])
    gallery.spec = FeatureSpec(512, 'cnn', 'features', str(folder), '0' * 64, 'model = dict()\n')
    gallery.save(tmp_path / 'index')
    with pytest.raises(ExportError, match=r'is a program .* name it yourself'):
        Gallery.load(tmp_path / 'index').use_model()
    assert loaded == []
