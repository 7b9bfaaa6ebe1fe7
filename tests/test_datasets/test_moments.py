"""When a photo was taken, by its name or a table."""

from __future__ import annotations

import pytest

from fusionreid.datasets.moments import read_moment, read_times
from fusionreid.errors import DatasetFormatError, DatasetNotFoundError


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('-1_c3s2_000116_02.jpg', ('c3', 's2_000116')),
        ('0002_c1s1_000451_03.jpg.jpg', ('c1', 's1_000451')),
        ('0005_c12_f0051341.jpg', ('c12', 'f0051341')),
        ('0000_000_01_0303morning_0008_0.jpg', ('01', '0303morning_0008')),
        ('0000_001_14_0113noon_1025_1_ex.jpg', ('14', '0113noon_1025')),
        ('0002_c1.jpg', None),
        ('IMG_20240102_120000.jpg', None),
    ],
)
def test_names_of_the_data_sets_tell_camera_and_frame(name, expected):
    assert read_moment(f'some/folder/{name}') == expected


def test_a_table_gives_times_as_they_are_written(tmp_path):
    table = tmp_path / 'times.csv'
    table.write_text(
        "path,camera,time\na.jpg,1,12:00:01\n'=b.jpg,1,\nc.jpg,2, 7 \na.jpg,1,12:00:01\n"
    )
    assert read_times(table) == {'a.jpg': '12:00:01', '=b.jpg': '', 'c.jpg': '7'}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'must name each of the columns path, time once'),
        ('path;time\na;1\n', r"but is 'path;time'"),
        ('path,time,time\na,1,2\n', r'each of the columns'),
        ('path,time\n,1\n', r'line 2: no path'),
        ('path,time\na,1\na,2\n', r"line 3: a was taken at '2', but at '1' in an earlier line"),
        ('path,time\n"a,1\n', r'no valid CSV'),
    ],
)
def test_what_is_no_table_of_times_is_named(tmp_path, text, message):
    (tmp_path / 'times.csv').write_text(text)
    with pytest.raises(DatasetFormatError, match=message):
        read_times(tmp_path / 'times.csv')


def test_a_missing_table_and_a_folder(tmp_path):
    with pytest.raises(DatasetNotFoundError, match='does not exist'):
        read_times(tmp_path / 'times.csv')
    with pytest.raises(DatasetNotFoundError, match='is a folder'):
        read_times(tmp_path)
