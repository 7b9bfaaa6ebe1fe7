"""Links and pipes in folders from elsewhere, under the names of files that are written there."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from fusionreid.checkpoints.weight_file import write_weight_file
from fusionreid.cli.main import run_command
from fusionreid.cli.run_folder import take_folder
from fusionreid.errors import GalleryError, WeightsError
from fusionreid.evaluation import FeatureSet
from fusionreid.gallery import Gallery


@pytest.fixture
def precious(tmp_path) -> Path:
    path = tmp_path / 'precious.txt'
    path.write_text('precious')
    return path


@pytest.mark.parametrize('resume', [True, False])
def test_no_link_in_a_run_folder_is_written_through(resume, precious, tmp_path):
    config, work_dir = tmp_path / 'model.py', tmp_path / 'run'
    config.write_text('a = 1\n')
    work_dir.mkdir()
    for name in ('last_checkpoint', 'model.py'):
        (work_dir / name).symlink_to(precious)
    (work_dir / 'notes.txt').symlink_to(precious)
    cfg = Config.fromfile(config)
    cfg.work_dir = str(work_dir)
    with ExitStack() as stack:
        take_folder(cfg, None, resume=resume, overwrite=not resume, stack=stack)
        # As MMEngine's Runner and its hook write them.
        cfg.dump(work_dir / 'model.py')
        (work_dir / 'last_checkpoint').write_text('epoch_1.pth')
    assert precious.read_text() == 'precious'
    assert (work_dir / 'notes.txt').is_symlink()


def test_no_pipe_in_a_run_folder_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'last_checkpoint')
    with ExitStack() as stack:
        take_folder(Config(dict(work_dir=str(tmp_path))), None, True, False, stack)
    assert not (tmp_path / 'last_checkpoint').exists()


@pytest.mark.parametrize('name', ['.lock', 'gallery.json.7.part', 'generation-000000000000'])
def test_no_link_in_an_index_is_written_through(name, precious, tmp_path):
    gallery = Gallery()
    gallery.add(features=torch.eye(2), ids=['a', 'b'])
    gallery.save(tmp_path / 'index')
    link = tmp_path / 'index' / name
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    gallery.add(features=torch.eye(2)[:1], ids=['c'])
    if name == '.lock':
        with pytest.raises(GalleryError, match='cannot be saved: .*symbolic links'):
            gallery.save(tmp_path / 'index')
    else:
        gallery.save(tmp_path / 'index')
        assert len(Gallery.load(tmp_path / 'index')) == 3
    assert precious.read_text() == 'precious'


def test_no_pipe_in_an_index_is_waited_for(tmp_path):
    gallery = Gallery()
    gallery.add(features=torch.eye(2), ids=['a', 'b'])
    (tmp_path / 'index').mkdir()
    os.mkfifo(tmp_path / 'index' / '.lock')
    gallery.save(tmp_path / 'index')
    assert len(Gallery.load(tmp_path / 'index')) == 2


@pytest.mark.parametrize(
    'argv',
    [
        ['analyze', '--samples', '2'],
        ['compare'],
        ['test', '--out', '{folder}', '--from'],
    ],
    ids=lambda argv: argv[0],
)
def test_no_link_in_saved_features_is_written_through(argv, precious, tmp_path):
    folder = tmp_path / 'features'
    FeatureSet(
        features=torch.eye(8) + 0.1,
        widths={'cnn': 8},
        person_ids=torch.arange(8) // 4,
        camera_ids=torch.arange(8) % 2,
        roles=['query', 'gallery', 'gallery', 'gallery'] * 2,
        img_paths=[f'{number}.jpg' for number in range(8)],
        protocol=dict(dataset_name='A'),
    ).save(folder)
    names = ['verification.png', 'camera_pairs.png', 'analysis.json', 'metrics.json']
    names += ['feature_scores.md', 'feature_scores.png']
    for name in names:
        (folder / name).symlink_to(precious)
    run_command(argv[0], [part.format(folder=folder) for part in argv[1:]] + [str(folder)])
    assert precious.read_text() == 'precious'
    assert any((folder / name).is_file() and not (folder / name).is_symlink() for name in names)


def test_a_pipe_or_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(WeightsError, match='device'):
        write_weight_file({}, tmp_path / 'pipe')
    assert (tmp_path / 'pipe').is_fifo()
