"""``fusionreid render-video``, ``fusionreid video``, and a search in what it makes."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure, table_rows
from PIL import Image
from torchvision.models import get_model

from fusionreid.cli.main import run_command
from fusionreid.gallery import Gallery
from fusionreid.video import indexing
from fusionreid.video.box_file import read_boxes
from fusionreid.video.passage_folder import find_passages

FRAMES = 60


@pytest.fixture(scope='module')
def street(tmp_path_factory) -> Path:
    """Two short videos."""
    out = tmp_path_factory.mktemp('street') / 'street'
    call('render-video', out, '--frames', FRAMES, '--people', 3, '--height', 180)
    return out


@pytest.fixture(scope='module')
def index(street, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('index') / 'index'
    call('video', street, *using(street / 'truth', out))
    return out


def using(boxes: Path, out: Path) -> list[object]:
    return ['-o', out, '--boxes', boxes, '--config', HISTOGRAM]


def mean_color(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), float).mean(axis=(0, 1))


def test_truth_says_who_is_where(street):
    assert sorted(path.name for path in street.glob('*.mp4')) == ['camera_1.mp4', 'camera_2.mp4']
    assert len(list((street / 'query').glob('person_*.jpg'))) == 3
    truth, boxes = (read_boxes(street / kind / 'camera_1.txt') for kind in ('truth', 'boxes'))
    assert {int(track) for found in truth.values() for track in found.tracks} <= {1, 2, 3}
    assert all((found.tracks == -1).all() for found in boxes.values())
    assert sum(map(len, boxes.values())) <= sum(map(len, truth.values())) + 10
    assert max(truth) < FRAMES
    for found in truth.values():
        assert (found.corners >= 0).all()
        assert (found.corners[:, 2] <= 320).all()
        assert (found.corners[:, 3] <= 180).all()
    # The box holds somebody: with them, the place looks otherwise than without.
    capture = cv2.VideoCapture(str(street / 'camera_1.mp4'))
    frames = np.stack([capture.read()[1] for _ in range(FRAMES)]).astype(float)
    usual = np.median(frames, axis=0)
    rows = [line.split(',') for line in (street / 'truth/camera_1.txt').read_text().splitlines()]
    clear = [row for row in rows if float(row[8]) > 0.95][::20]
    assert clear
    for row in clear:
        left, top, width, height = (int(float(cell)) for cell in row[2:6])
        change = np.abs(frames[int(row[0]) - 1] - usual).mean(axis=2)
        inside = change[top : top + height, left : left + width].mean()
        assert inside > 3 * change.mean()


def test_render_video_refuses(street, tmp_path):
    assert 'not empty' in failure('render-video', street)
    assert 'people must be from 1 to 99' in failure('render-video', tmp_path / 'a', '--people', 0)
    assert 'height must be even' in failure('render-video', tmp_path / 'a', '--height', 181)
    assert not (tmp_path / 'a').exists()


def test_passages_have_time_and_place(street, index, tmp_path, capsys):
    gallery = Gallery.load(index)
    assert set(gallery.camera_names.values()) == {'camera_1', 'camera_2'}
    capsys.readouterr()
    (items,) = gallery.item_blocks()
    query = items.paths[0]
    out = [tmp_path / 'found.png', tmp_path / 'found.json']
    call('search', index, query, '-k', 2, '-o', out[0], '--json', out[1])
    rows = table_rows(capsys.readouterr().out)
    assert rows[0][2] in ('camera_1', 'camera_2')
    assert rows[0][4] == 'to'
    answers = json.loads(out[1].read_text())['queries'][0]['answers']
    assert 0 <= answers[0]['first_second'] < answers[0]['last_second'] < FRAMES / 10
    with Image.open(out[0]) as picture:
        height = picture.height
    call('search', index, query, '-k', 2, '-o', out[0], '--camera', 'camera_2')
    assert 'camera_1' not in ' '.join(map(str, table_rows(capsys.readouterr().out)))
    # Answers of a folder of photos have no strip, and the picture is smaller.
    photos = tmp_path / 'photos'
    shutil.copytree(street / 'query', photos)
    call('index', photos, '-o', tmp_path / 'other', '--config', HISTOGRAM)
    call('search', tmp_path / 'other', query, '-k', 2, '-o', out[0])
    with Image.open(out[0]) as picture:
        assert picture.height < height


def test_a_search_between_two_times(index, tmp_path, capsys):
    (items,) = Gallery.load(index).item_blocks()
    arguments = ['search', index, items.paths[0], '-k', len(items) - 1, '--json', tmp_path / 'a']

    def seen(*times: object) -> set[tuple[str, float, float]]:
        call(*arguments, *times)
        answers = json.loads((tmp_path / 'a').read_text())['queries'][0]['answers']
        return {(one['path'], one['first_second'], one['last_second']) for one in answers}

    everybody = seen()
    middle = sorted(last for _, _, last in everybody)[len(everybody) // 2]
    early = seen('--to-time', middle - 0.01)
    assert early == {one for one in everybody if one[1] < middle}
    late = seen('--from-time', f'00:{middle:05.2f}')
    assert late == {one for one in everybody if one[2] >= middle}
    assert 0 < len(late) < len(everybody)
    assert seen('--from-time', '10:00:00') == set()
    assert 'no image passes the filters' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call(*arguments, '--from-time', '2:00', '--to-time', '1:59')
    assert '--from-time 120 s is later than --to-time 119 s' in capsys.readouterr().err


def test_passages_have_the_time_of_their_video(street, tmp_path, capsys):
    index, start = tmp_path / 'index', datetime.now(timezone.utc) - timedelta(days=40)
    boxes = using(street / 'truth', index)
    call('video', street, *boxes, '--started', f'camera_1={start.isoformat()}')
    said = capsys.readouterr().out
    assert '1 videos have no start, so their passages have no time: camera_2.mp4' in said
    gallery = Gallery.load(index)
    (items,) = gallery.item_blocks()
    passages = find_passages(items.paths)
    timed = 0
    for path, record in zip(items.paths, items.metadata, strict=True):
        assert bool(record) is ('camera_1' in path)
        if record:
            seen = (datetime.fromisoformat(record['time']) - start).total_seconds()
            assert seen == pytest.approx(passages[path].last, abs=0.002)
            timed += 1
    assert 0 < timed < len(items)
    call('search', index, items.paths[0], '--seen-before', '39d', '--json', tmp_path / 'a')
    (query,) = json.loads((tmp_path / 'a').read_text())['queries']
    assert len(query['answers']) == timed - 1

    message = failure('video', street, *boxes, '--started', '2026-11-27T18:30')
    assert 'camera_1.mp4 is in' in message
    assert 'made with another start' in message
    gallery.remove(next(path for path in items.paths if 'camera_1' in path))
    gallery.save(index)
    call('video', street, *boxes)
    assert f'{timed - 1} passages, 1 removed' in capsys.readouterr().out
    call('gallery prune', index, '--older-than', '39d')
    said = capsys.readouterr().out
    assert f'{len(items) - timed} images have no time, and stay' in said
    assert f'{timed - 1} images removed' in said


@pytest.mark.parametrize(
    ('starts', 'message'),
    [
        (['yesterday'], 'expected a time such as'),
        (['camera_9=2026-11-27'], "there is no video 'camera_9'"),
        (['2026-11-27', 'camera_1=2026-11-27'], 'says twice when camera_1.mp4 began'),
    ],
)
def test_starts_that_are_none(starts, message, street, tmp_path):
    said = failure('video', street, *using(street / 'truth', tmp_path / 'i'), '--started', *starts)
    assert message in said


def test_passages_are_those_of_the_tracks(street, index):
    """Where a file tells who is who, nobody else is in a passage."""
    folder = index.parent / 'index-tracklets' / 'camera_1'
    lines = (folder / 'tracklets.csv').read_text().splitlines()[1:]
    truth = read_boxes(street / 'truth' / 'camera_1.txt')
    for line in lines:
        cells = line.replace('"', '').split(',')
        first, last, count = int(cells[2]), int(cells[3]), int(cells[6])
        there = [set(truth[n - 1].tracks) for n in range(first, last + 1) if n - 1 in truth]
        assert len(set.intersection(*there) if count == last - first + 1 else {1}) >= 1
        assert count >= 5
    call('verify', folder)


def test_it_goes_on_where_it_was(street, index, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'index'
    add = indexing.VideoIndexer.add

    def stop(self, video, *rest):
        if video.stem == 'camera_2':
            raise KeyboardInterrupt
        return add(self, video, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(indexing.VideoIndexer, 'add', stop)
        arguments = [street, *using(street / 'truth', out)]
        assert run_command('video', [str(argument) for argument in arguments]) == 130
    assert set(Gallery.load(out).camera_names.values()) == {'camera_1'}
    # A folder of pictures whose features were not saved.
    shutil.copytree(
        index.parent / 'index-tracklets/camera_2', tmp_path / 'index-tracklets/camera_2'
    )
    capsys.readouterr()
    call('video', street, *using(street / 'truth', out))
    said = capsys.readouterr().out
    assert 'camera_1.mp4: is in the index' in said
    assert f'camera_2.mp4: {FRAMES} frames' in said
    whole, parts = Gallery.load(index), Gallery.load(out)
    assert len(whole) == len(parts)
    message = failure('video', street, *using(street / 'boxes', out))
    assert 'made with another boxes: make another index' in message
    message = failure('video', street, *using(street / 'truth', out), '--every', 2)
    assert 'another every' in message


def test_broken_videos(street, tmp_path, capsys):
    videos, boxes = tmp_path / 'videos', tmp_path / 'boxes'
    videos.mkdir()
    boxes.mkdir()
    content = bytearray((street / 'camera_1.mp4').read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    (videos / '1.mp4').write_bytes(content)
    (videos / '2.mp4').touch()
    (videos / '3.avi').write_text('no video')
    for name in '123':
        shutil.copy(street / 'truth/camera_1.txt', boxes / f'{name}.txt')
    message = failure('video', videos, *using(boxes, tmp_path / 'index'))
    assert '2 of 3 videos' in message
    gallery = Gallery.load(tmp_path / 'index')
    (items,) = gallery.item_blocks()
    assert set(items.camera_ids) == {0}
    assert not list((tmp_path / 'index-tracklets').glob('.*'))


def test_broken_frames_are_counted(street, tmp_path, capsys):
    content = bytearray((street / 'camera_1.mp4').read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    (tmp_path / 'camera_1.mp4').write_bytes(content)
    call('video', tmp_path / 'camera_1.mp4', *using(street / 'truth', tmp_path / 'index'))
    (line,) = [row for row in capsys.readouterr().out.splitlines() if 'broken frames' in row]
    broken = int(line.split(' broken')[0].split()[-1])
    assert 0 < broken < FRAMES
    assert f'{FRAMES - broken} frames' in line


def test_nobody(street, tmp_path, capsys):
    video, boxes = street / 'camera_1.mp4', tmp_path / 'boxes.csv'
    head = 'frame,left,top,right,bottom\n'
    boxes.write_text(head + '1,2000,2000,3000,3000\n2,-90,-90,-10,-10\n')
    assert 'nobody was found' in failure('video', video, *using(boxes, tmp_path / 'index'))
    # With boxes that hold somebody the same command goes on.
    shutil.copy(street / 'truth' / 'camera_1.txt', boxes)
    call('video', video, *using(boxes, tmp_path / 'index'))
    assert len(Gallery.load(tmp_path / 'index')) > 0


def test_wrong_input(street, index, tmp_path):
    def fails(*arguments: object) -> str:
        return failure('video', *arguments)

    assert 'no video or folder' in fails(tmp_path / 'none', *using(street / 'boxes', index))
    assert 'there is no video in' in fails(street / 'query', *using(street / 'boxes', index))
    assert 'holds no boxes of' in fails(street, *using(street / 'query', index))
    assert 'min_boxes must be' in fails(street, *using(street / 'truth', index), '--min-boxes', 0)
    same = tmp_path / 'same'
    same.mkdir()
    for name in ('door.mp4', 'door.avi'):
        shutil.copy(street / 'camera_1.mp4', same / name)
    assert 'would be one camera' in fails(same, *using(street / 'boxes', index))
    table = index.parent / 'index-tracklets/camera_1/tracklets.csv'
    content = table.read_bytes()
    try:
        table.write_bytes(content.replace(b'"1"', b'"2"', 1) + b' ')
        (items,) = Gallery.load(index).item_blocks()
        assert 'damaged' in failure('search', index, items.paths[0], '-k', len(items))
    finally:
        table.write_bytes(content)


@pytest.mark.slow
def test_a_detector_of_torchvision(street, tmp_path):
    name = 'ssdlite320_mobilenet_v3_large'
    torch.manual_seed(0)
    weights = tmp_path / 'detector.pth'
    torch.save(get_model(name, weights=None, weights_backbone=None).state_dict(), weights)
    arguments = ['-o', tmp_path / 'index', '--config', HISTOGRAM, '--every', 20]
    arguments += ['--detector-weights', weights]
    message = failure('video', street / 'camera_1.mp4', *arguments, '--detector', name)
    assert 'nobody was found' in message
    message = failure('video', street / 'camera_1.mp4', *arguments)
    assert 'does not hold weights of the detector' in message
