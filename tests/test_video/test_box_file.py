"""Files of boxes."""

from __future__ import annotations

import pytest

from fusionreid.errors import DatasetFormatError, DatasetNotFoundError
from fusionreid.video.box_file import find_box_file, read_boxes


def test_all_kinds_say_the_same(tmp_path):
    texts = dict(
        mot='1,7,10,20,30,40,0.9,1,1\n3,-1,1,2,3,4,0.5\n',
        corners='Frame, left,top,right,bottom,score,id\n1,10,20,40,60,0.9,7\n3,1,2,4,6,0.5,-1\n',
        sizes='id,height,width,top,left,frame,score\n7,40,30,20,10,1,0.9\n-1,4,3,2,1,3,0.5\n',
        windows='\ufeffframe,left,top,right,bottom,score,id\r\n1,10,20,40,60,0.9,7\r\n\r\n'
        '3,1,2,4,6,0.5,-1\r\n',
    )
    for name, text in texts.items():
        (tmp_path / name).write_text(text, newline='')
        found = read_boxes(tmp_path / name)
        assert sorted(found) == [0, 2], name
        assert found[0].corners.tolist() == [[10, 20, 40, 60]]
        assert (found[0].scores.tolist(), found[0].tracks.tolist()) == ([0.9], [7])
        assert found[2].corners.tolist() == [[1, 2, 4, 6]]
        assert found[2].tracks.tolist() == [-1]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('frame,x,y\n1,2,3\n', 'no left and no top'),
        ('1,2,3\n', 'has 3 columns'),
        ('frame,left,top,right,bottom\n1,a,2,3,4\n', 'line 2'),
        ('frame,left,top,right,bottom\n1,2,3\n', 'line 2'),
        ('1,-1,nan,0,5,5\n', 'not finite'),
        ('0,-1,0,0,5,5\n', 'counted from 1'),
        ('1.5,-1,0,0,5,5\n', 'counted from 1'),
    ],
)
def test_wrong_files(tmp_path, text, expected):
    (tmp_path / 'boxes.csv').write_text(text)
    with pytest.raises(DatasetFormatError, match=expected) as caught:
        read_boxes(tmp_path / 'boxes.csv')
    assert str(tmp_path / 'boxes.csv') in str(caught.value)
    assert '\n' not in str(caught.value)


def test_no_table_at_all(tmp_path):
    (tmp_path / 'boxes.txt').write_bytes(b'\xff\xd8\xff\xe0')
    with pytest.raises(DatasetFormatError, match='no table of boxes'):
        read_boxes(tmp_path / 'boxes.txt')
    (tmp_path / 'boxes.txt').write_bytes(b'')
    assert read_boxes(tmp_path / 'boxes.txt') == {}


def test_the_file_of_a_video(tmp_path):
    (tmp_path / 'door.csv').touch()
    assert find_box_file(tmp_path, tmp_path / 'door.mp4') == tmp_path / 'door.csv'
    assert find_box_file(tmp_path / 'door.csv', tmp_path / 'x.mp4') == tmp_path / 'door.csv'
    with pytest.raises(DatasetNotFoundError, match=r'yard\.txt or yard\.csv'):
        find_box_file(tmp_path, tmp_path / 'yard.mp4')
    with pytest.raises(DatasetNotFoundError, match='no file or folder'):
        find_box_file(tmp_path / 'nothing', tmp_path / 'yard.mp4')
