"""What is checked is what is loaded, and MMEngine loads by the same reader."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from tiny_runs import parse_command
from torch import nn

from fusionreid.apis.feature_extractor import FeatureExtractor
from fusionreid.checkpoints import locate_weight_file, read_state_dict
from fusionreid.cli.runner_config import check_checkpoint
from fusionreid.cli.test import build_config
from fusionreid.errors import WeightsError

ROOT = Path(__file__).parents[2]


class Harmful:
    """Makes a folder when it is unpickled without protection."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def saved(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def weights(value: float) -> bytes:
    return saved(dict(state_dict={'weight': torch.full((2, 3), value)}))


@pytest.fixture
def flag(tmp_path):
    yield tmp_path / 'ran'
    assert not (tmp_path / 'ran').exists()


def test_a_good_first_answer_does_not_let_a_bad_second_one_in(server, flag):
    server.answers['/a.pth'] = [weights(1), saved(Harmful(flag))]
    path = check_checkpoint(f'{server.address}/a.pth')
    content = CheckpointLoader.load_checkpoint(path)
    assert content['state_dict']['weight'].tolist() == [[1] * 3] * 2
    again = CheckpointLoader.load_checkpoint(f'{server.address}/a.pth')
    assert again['state_dict']['weight'].tolist() == [[1] * 3] * 2
    assert server.requests == ['/a.pth']


def test_the_runner_gets_the_file_that_was_checked(server, tmp_path):
    server.answers['/a.pth'] = [weights(1)]
    url = f'{server.address}/a.pth'
    args = parse_command('test', ['color_histogram_synthetic', url, '--work-dir', str(tmp_path)])
    cfg = build_config(args)
    assert cfg.load_from == str(locate_weight_file(url))
    assert Path(cfg.load_from).read_bytes() == server.answers['/a.pth'][0]


@pytest.mark.parametrize('fragment', ['/b.pth', 'b.pth', 'sha256=', 'sha256=12', 'md5=0', '#'])
def test_fragments_that_name_something_else_are_refused(fragment, server, flag):
    server.answers['/a.pth'] = [saved(Harmful(flag))]
    server.answers['/b.pth'] = [weights(1)]
    with pytest.raises(WeightsError, match='expected #sha256'):
        check_checkpoint(f'{server.address}/a.pth#{fragment}')
    with pytest.raises(WeightsError, match='expected #sha256'):
        CheckpointLoader.load_checkpoint(f'{server.address}/a.pth#{fragment}')
    assert server.requests == []


def test_files_of_one_name_from_two_places_do_not_meet(server):
    server.answers = {
        '/one/always.pth': [weights(1)],
        '/two/always.pth': [weights(2)],
        '/two/always.pth?version=3': [weights(3)],
    }
    for number, path in enumerate(list(server.answers), 1):
        state = read_state_dict(f'{server.address}{path}')
        assert state['weight'].unique().tolist() == [number]
    assert server.requests == list(server.answers)


def test_checksums_are_compared(server):
    content = weights(1)
    digest = hashlib.sha256(content).hexdigest()
    server.answers = {'/a.pth': [content], '/bad.pth': [weights(2), content]}
    assert read_state_dict(f'{server.address}/a.pth#sha256={digest}')['weight'].sum() == 6
    with pytest.raises(WeightsError, match='downloaded before, has the sha256'):
        read_state_dict(f'{server.address}/a.pth#sha256={"0" * 64}')
    with pytest.raises(WeightsError, match='what was downloaded has the sha256'):
        read_state_dict(f'{server.address}/bad.pth#sha256={digest}')
    # What was wrong was not kept.
    assert read_state_dict(f'{server.address}/bad.pth#sha256={digest}')['weight'].sum() == 6


@pytest.mark.parametrize('path', ['short.pth', 'missing.pth'])
def test_what_arrives_in_part_is_not_kept(path, server, tmp_path):
    server.answers['/short.pth'] = [weights(1)]
    with pytest.raises(WeightsError, match='the download failed'):
        locate_weight_file(f'{server.address}/{path}')
    assert not [file for file in (tmp_path / 'cache').rglob('*') if file.is_file()]


@pytest.mark.parametrize(
    'url', ['http://', 'http://[', 'https://:x/a.pth', 'ftp://a/b.pth', 'file:///etc/passwd']
)
def test_addresses_that_are_none_end_in_one_line(url):
    with pytest.raises(WeightsError) as error:
        locate_weight_file(url)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('is_remote', [False, True])
def test_mmengine_runs_nothing_in_a_file(is_remote, server, flag, tmp_path):
    class Layer(BaseModule):
        def __init__(self, init_cfg):
            super().__init__(init_cfg)
            self.layer = nn.Linear(3, 2)

    for number, content in enumerate(
        (saved(Harmful(flag)), pickle.dumps(Harmful(flag)), saved(dict(a=Harmful(flag))))
    ):
        server.answers[f'/{number}.pth'] = [content]
        path = f'{server.address}/{number}.pth' if is_remote else tmp_path / f'{number}.pth'
        if not is_remote:
            path.write_bytes(content)
        with pytest.raises(WeightsError, match='refused'):
            load_checkpoint(nn.Linear(3, 2), str(path))
        for kind in ('Pretrained', 'mmengine.Pretrained'):
            with pytest.raises(WeightsError, match='refused'):
                Layer(dict(type=kind, checkpoint=str(path))).init_weights()


def test_addresses_of_model_zoos_go_the_same_way(server, flag, monkeypatch):
    from mmengine.runner import checkpoint

    server.answers['/a.pth'] = [saved(Harmful(flag))]
    found = dict(resnet50=f'{server.address}/a.pth')
    monkeypatch.setattr(checkpoint, 'get_torchvision_models', lambda: found)
    with pytest.raises(WeightsError, match='refused'):
        CheckpointLoader.load_checkpoint('torchvision://resnet50')
    assert server.requests == ['/a.pth']


SCRIPT = """
import sys
import fusionreid
from mmengine.runner import Runner
from mmengine.registry import MODELS
model = MODELS.build(dict(type='fusionreid.IDLoss'))
from mmengine.runner.checkpoint import CheckpointLoader
CheckpointLoader.load_checkpoint(sys.argv[1])
"""


@pytest.mark.slow
def test_a_part_of_ours_is_enough(server, flag, tmp_path):
    server.answers['/a.pth'] = [saved(Harmful(flag))]
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, f'{server.address}/a.pth'],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert 'WeightsError' in result.stderr
    assert 'loading it would run posix.mkdir' in result.stderr


def test_checkpoints_of_mmengine_are_loaded_as_they_were_written(tmp_path):
    content = dict(
        meta=dict(epoch=3, cfg='a = 1', dataset_meta=dict(ids=np.arange(3))),
        state_dict=nn.Linear(3, 2).state_dict(),
        message_hub=dict(
            log_scalars={'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])},
            runtime_info=dict(best_score=np.float64(0.5)),
            resumed_keys={},
        ),
    )
    torch.save(content, tmp_path / 'epoch_3.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_3.pth'), map_location='cpu')
    assert found['message_hub']['log_scalars']['train/loss'].statistics('mean') == 1.5
    assert found['message_hub']['runtime_info']['best_score'] == 0.5
    assert found['meta']['dataset_meta']['ids'].tolist() == [0, 1, 2]
    assert found['meta']['cfg'] == 'a = 1'


@pytest.mark.parametrize('says_its_size', [True, False])
def test_a_download_is_bounded(says_its_size, server, monkeypatch):
    monkeypatch.setenv('FUSIONREID_DOWNLOAD_LIMIT', str(1000 / 2**30))
    path = '/a.pth' if says_its_size else '/unsized.pth'
    server.answers[path] = [bytes(5000)]
    with pytest.raises(WeightsError, match='larger than .* raise FUSIONREID_DOWNLOAD_LIMIT'):
        locate_weight_file(server.address + path)
    server.answers['/b.pth'] = [bytes(1000)]
    assert locate_weight_file(f'{server.address}/b.pth').stat().st_size == 1000


def test_a_server_that_falls_silent_is_left(server, monkeypatch):
    monkeypatch.setenv('FUSIONREID_DOWNLOAD_TIMEOUT', '0.2')
    server.answers['/silent.pth'] = [bytes(5000)]
    with pytest.raises(WeightsError, match='the download failed .*timed out'):
        locate_weight_file(f'{server.address}/silent.pth')


@pytest.mark.parametrize('value', ['abc', '0', '-1', 'inf', 'nan'])
def test_bounds_of_downloads_are_numbers(value, server, monkeypatch):
    monkeypatch.setenv('FUSIONREID_DOWNLOAD_LIMIT', value)
    with pytest.raises(WeightsError, match='FUSIONREID_DOWNLOAD_LIMIT must be a number above 0'):
        locate_weight_file(f'{server.address}/a.pth')


def test_features_come_from_the_download(server, tmp_path):
    server.answers['/a.pth'] = [
        saved(dict(meta=dict(cfg='x = 1'), state_dict={'a': torch.ones(1)}))
    ]
    with pytest.raises(Exception, match='has no model'):
        FeatureExtractor(f'{server.address}/a.pth')
    assert server.requests == ['/a.pth']
