from __future__ import annotations

import argparse
import functools
import http.server
import os
import pickle
import subprocess
import threading
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file
from torch import nn

from fusionreid.checkpoints import (
    Pretrained,
    downloads,
    read_state_dict,
    read_weight_file,
    write_weight_file,
)
from fusionreid.checkpoints.torch_file import SkippedObject
from fusionreid.checkpoints.weight_file import find_state_dict
from fusionreid.errors import WeightsError

WEIGHTS = {'conv1.weight': torch.arange(6.0).reshape(2, 3)}


class Harmful:
    """Makes a folder when it is unpickled without protection."""

    def __init__(self, folder) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def harmful_files(folder) -> dict[str, str]:
    harmful = Harmful(folder / 'ran')
    (folder / 'raw2.pth').write_bytes(pickle.dumps(harmful, protocol=2))
    (folder / 'raw4.pth').write_bytes(pickle.dumps(harmful, protocol=4))
    torch.save({'state_dict': WEIGHTS, 'log': harmful}, folder / 'zip.pth')
    return {name: str(folder / f'{name}.pth') for name in ('raw2', 'raw4', 'zip')}


def test_nothing_in_a_file_is_executed(tmp_path):
    for name, path in harmful_files(tmp_path).items():
        with pytest.raises(WeightsError, match='refused, since it') as error:
            read_weight_file(path)
        assert name == 'raw4' or 'loading it would run posix.mkdir' in str(error.value)
    assert not (tmp_path / 'ran').exists()


def test_a_real_getattr_would_be_a_way_around(tmp_path):
    class Getter:
        def __reduce__(self):
            return getattr, ('text', 'upper')

    torch.save({'a': Getter()}, tmp_path / 'getter.pth')
    assert isinstance(read_weight_file(tmp_path / 'getter.pth')['a'], SkippedObject)


def test_logs_of_trainings_are_read_and_options_are_skipped(tmp_path):
    content = dict(
        state_dict=WEIGHTS,
        args=argparse.Namespace(lr=0.1),
        message_hub=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1]), best=np.float64(3)),
        meta=dict(classes=np.arange(3), epoch=3),
    )
    torch.save(content, tmp_path / 'run.pth')
    found = read_weight_file(tmp_path / 'run.pth')
    assert isinstance(found['args'], SkippedObject)
    assert found['message_hub']['loss'].mean() == 1.5
    assert found['message_hub']['best'] == np.float64(3)
    assert found['meta']['classes'].tolist() == [0, 1, 2]
    assert found['meta']['epoch'] == 3
    assert torch.equal(find_state_dict(found)[0]['conv1.weight'], WEIGHTS['conv1.weight'])


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('none.pth', None, 'there is no such file'),
        ('empty.pth', b'', 'not a weight file, or damaged'),
        ('text.pth', b'hello', 'not a weight file, or damaged'),
        ('text.safetensors', b'hello there, this is a text', 'not a weight file, or damaged'),
        ('empty.safetensors', b'', 'not a weight file, or damaged'),
        ('number.pth', 3, 'holds a int, not a dict of weights'),
        ('list.pth', [1], 'holds a list, not a dict of weights'),
        ('nothing.pth', {}, 'holds no weights'),
        ('hollow.pth', {'state_dict': {}}, 'holds no weights'),
        ('mixed.pth', {'a': torch.ones(1), 'b': 'text'}, "entry 'b' is a str, expected a tensor"),
        ('keys.pth', {3: torch.ones(1)}, 'entry 3 is a Tensor|entry 3'),
    ],
)
def test_bad_files_end_in_one_line(name, content, message, tmp_path):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message) as error:
        read_state_dict(path)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.99])
def test_truncated_files(share, tmp_path):
    torch.save(WEIGHTS, tmp_path / 'whole.pth')
    save_file(WEIGHTS, tmp_path / 'whole.safetensors')
    for suffix in ('pth', 'safetensors'):
        content = (tmp_path / f'whole.{suffix}').read_bytes()
        path = tmp_path / f'part.{suffix}'
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(WeightsError, match='damaged'):
            read_weight_file(path)


@pytest.mark.parametrize('wrapper', ['', 'state_dict', 'model', 'state_dict_ema', 'teacher'])
def test_state_dicts_are_found(wrapper):
    content = {wrapper: WEIGHTS, 'student': {'other': torch.ones(1)}} if wrapper else WEIGHTS
    state, where = find_state_dict(content)
    assert list(state) == ['conv1.weight']
    assert where == wrapper


def test_writing_replaces_a_file_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'new' / 'weights.pth'
    write_weight_file(dict(state_dict=WEIGHTS), path)
    assert torch.load(path, weights_only=True)['state_dict'].keys() == WEIGHTS.keys()
    before = path.read_bytes()
    with pytest.raises(Exception, match='.'):
        write_weight_file(dict(state_dict=WEIGHTS, log=lambda: None), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(WeightsError, match='cannot be written'):
        write_weight_file({}, path / 'below_a_file.pth')


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Address of a server of ``tmp_path / 'www'``, and an empty cache of downloads."""
    (tmp_path / 'www').mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / 'www'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


def test_downloads_are_no_more_trusted_than_files(server, tmp_path):
    harmful_files(tmp_path / 'www')
    torch.save(WEIGHTS, tmp_path / 'www' / 'good.pth')
    save_file(WEIGHTS, tmp_path / 'www' / 'good.safetensors')
    for name in ('good.pth', 'good.safetensors'):
        assert torch.equal(
            read_state_dict(f'{server}/{name}')['conv1.weight'], WEIGHTS['conv1.weight']
        )
    for name in ('raw2', 'zip'):
        with pytest.raises(WeightsError, match='loading it would run'):
            read_weight_file(f'{server}/{name}.pth')
    with pytest.raises(WeightsError, match='the download failed'):
        read_weight_file(f'{server}/missing.pth')
    assert not (tmp_path / 'www' / 'ran').exists()


def test_other_addresses_are_refused():
    with pytest.raises(WeightsError, match='ftp://host/resnet50: expected a file, an http'):
        read_weight_file('ftp://host/resnet50')


@pytest.mark.parametrize(
    ('name', 'address'),
    [
        ('torchvision://resnet50', 'pytorch.org/models/resnet50-0676ba61.pth'),
        (
            'torchvision://ResNet50_Weights.IMAGENET1K_V2',
            'pytorch.org/models/resnet50-11ad3fa6.pth',
        ),
        ('open-mmlab://detectron/resnet50_caffe', 'third_party/resnet50_caffe-788b5fa3.pth'),
        ('open-mmlab://resnet50_caffe', 'third_party/resnet50_caffe-788b5fa3.pth'),
        ('mmcls://resnet50', 'resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
        ('mmpretrain::resnet/resnet50_8xb32_in1k.py', 'resnet50_8xb32_in1k_20210831-ea4938fc.pth'),
        ('hf-hub:me/net', 'me/net/resolve/main/model.safetensors'),
        ('hf-hub:me/net/weights/a.pth', 'me/net/resolve/main/weights/a.pth'),
    ],
)
def test_names_of_model_zoos_are_downloaded_where_openmmlab_looks(name, address, monkeypatch):
    """A server that cannot be reached is told in one line, with what to do."""
    asked = []

    def unreachable(url, **_):
        asked.append(url)
        raise URLError('no network')

    monkeypatch.setattr(downloads, 'urlopen', unreachable)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(Path('none')))
    with pytest.raises(WeightsError, match=r'no network.*give the path of a file') as error:
        read_weight_file(name)
    assert '\n' not in str(error.value)
    assert asked[0].endswith(address)
    for load in (CheckpointLoader.load_checkpoint, lambda one: Pretrained(one)(nn.Linear(1, 1))):
        with pytest.raises(WeightsError, match='no network'):
            load(name)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('torchvision://resnet5', 'no weights of this name; close to it: resnet50'),
        ('open-mmlab://nothing', 'no weights of this name'),
        ('mmpretrain::resnet/nothing', 'metafiles of mmpretrain have no weights'),
        ('mmnothing::a/b', 'mmnothing is not installed'),
        ('hf-hub:net', 'expected hf-hub:OWNER/NAME'),
        ('s3://bucket/net.pth', r'expected a file, an http\(s\):// address or a name'),
    ],
)
def test_unknown_names_of_model_zoos_are_told(name, message, monkeypatch):
    # MMEngine would install a package that is not there.
    monkeypatch.setattr(subprocess, 'Popen', None)
    with pytest.raises(WeightsError, match=message):
        read_weight_file(name)


def test_a_table_of_ones_own_may_name_files(tmp_path, monkeypatch):
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text('{"mine": "mine.pth"}')
    torch.save(dict(weight=torch.ones(1)), tmp_path / 'mine.pth')
    assert read_weight_file('open-mmlab://mine')['weight'] == 1
