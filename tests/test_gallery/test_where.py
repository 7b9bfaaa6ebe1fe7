"""Conditions on metadata as they are typed, and the columns of a table that they are about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery, read_where


@pytest.mark.parametrize(
    ('where', 'record', 'passes'),
    [
        (['place=gate 3'], {'place': 'gate 3'}, True),
        (['place=gate 3'], {'place': 'gate 33'}, False),
        (['place=gate 3'], {}, False),
        (['place=gate 3', 'place=yard'], {'place': 'yard'}, True),
        (['place=gate 3', 'age>=30'], {'place': 'gate 3', 'age': 29}, False),
        ([' place  =  gate 3 '], {'place': 'gate 3'}, True),
        (['place='], {'place': ''}, True),
        (['gro\u0308ße=u\u0308'], {'größe': 'ü'}, True),
        (['größe=ü=1;DROP'], {'größe': 'ü=1;DROP'}, True),
        (['age=30'], {'age': 30.0}, True),
        (['age=30'], {'age': '30'}, True),
        (['age=030'], {'age': 30}, True),
        (['age=1'], {'age': True}, False),
        (['age>=30'], {'age': 30}, True),
        (['age>=30', 'age<=40'], {'age': 41}, False),
        (['age>=-1.5'], {'age': -1}, True),
        (['age>=30'], {'age': '9'}, False),
        (['name>=m'], {'name': 'nora'}, True),
        (['sure=true'], {'sure': True}, True),
        (['sure=true'], {'sure': 1}, False),
        ([f'code={"1" * 5000}'], {'code': '1' * 5000}, True),
        (['time>=2024-05-01T08:00+02:00'], {'time': '2024-05-01T06:00:00.000000+00:00'}, True),
        (['time<=2024-05-01'], {'time': '2024-05-01T00:00:00.000001+00:00'}, False),
    ],
)
def test_conditions_mean_what_they_say(where, record, passes):
    assert all(condition.passes(record) for condition in read_where(where)) is passes


@pytest.mark.parametrize(
    'text',
    [
        '',
        'place',
        '=x',
        'age>30',
        'age<30',
        'age!=30',
        'age==30',
        'age=>30',
        'age>=',
        '>=3',
        'a\0=x',
    ],
)
def test_what_is_no_condition_is_one_line(text):
    with pytest.raises(GalleryError, match='no condition on metadata|without zero bytes') as error:
        read_where([text])
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['sure>=true', 'time>=yesterday'])
def test_ends_that_are_none(text):
    with pytest.raises(GalleryError, match='needs an end|expected a time such as'):
        read_where([text])


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    """A table with further columns."""
    folder = tmp_path_factory.mktemp('photos')
    rows = ['path,person_id,camera_id,role,place,age, code ,time,']
    for number, rest in enumerate(
        (
            'gate 3,29,007,2024-05-01T08:00,',
            '"gate ""3""",30,A1,2024-05-01T10:00+02:00,',
            "'=yard,31.5,8,,",
            ',,,2024-05-02,',
        )
    ):
        write_image(folder / f'{number}.jpg', number)
        rows.append(f'{number}.jpg,{number},{number % 2},gallery,{rest}')
    (folder / 'people.csv').write_text('\n'.join(rows))
    return folder


@pytest.mark.parametrize('engine', ['exact', 'pgvector'])
def test_an_index_of_a_table_is_searched_by_its_columns(
    engine, photos, tmp_path, capsys, monkeypatch, request
):
    place = tmp_path / 'index'
    if engine == 'pgvector':
        url, table = request.getfixturevalue('postgres'), request.getfixturevalue('table')
        place = f'{url}#{table}'
    where = ('--url' if engine == 'pgvector' else '-o', place)
    call('index', photos / 'people.csv', *where, '--config', HISTOGRAM)
    query = write_image(tmp_path / 'query.jpg', 9)

    def found(*conditions: str, more: tuple[object, ...] = ()) -> str:
        out = tmp_path / 'found.json'
        call('search', place, query, '--json', out, '--where', *conditions, *more)
        (answers,) = json.loads(out.read_text())['queries']
        return ''.join(sorted(Path(answer['path']).stem for answer in answers['answers']))

    assert found('place=gate 3') == '0'
    assert found('place=gate "3"', 'place= =yard') == '12'
    assert found('age>=30', 'age<=31.5') == '12'
    assert found('age=30', more=('--where', 'age=29', '--camera', 1)) == '0'
    assert found('code=007') == '0'
    assert found('time>=2024-05-01T08:00', 'time<=2024-05-01T08:00') == '01'
    assert found('age<=30', more=('--seen-after', '2024-05-01T08:00:00.000001')) == ''
    assert 'no image passes the filters' in capsys.readouterr().out
    message = failure('search', place, query, '--where', 'plcae=gate 3')
    assert message.endswith(
        "column 'plcae' in its metadata; the columns are: age, code, place, time"
    )
    message = failure('search', place, query, '--where', 'age!=3')
    assert "'age!=3' is no condition on metadata" in message
    records = {
        Path(path).stem: record
        for items in Gallery.load(place).item_blocks()
        for path, record in zip(items.paths, items.metadata, strict=True)
    }
    assert records['0']['age'] == 29
    assert records['2'] == {'place': '=yard', 'age': 31.5, 'code': '8'}


def test_a_column_of_times_that_are_none_is_left_out(photos, tmp_path, capsys):
    text = (photos / 'people.csv').read_text().replace('2024-05-02', 's1_0004')
    (photos / 'odd.csv').write_text(text)
    call('index', photos / 'odd.csv', '-o', tmp_path / 'index', '--config', HISTOGRAM)
    assert "the column time is left out: a row has the time 's1_0004'" in capsys.readouterr().err
    (items,) = Gallery.load(tmp_path / 'index').item_blocks()
    assert [sorted(record) for record in items.metadata] == [['age', 'code', 'place']] * 3 + [[]]
