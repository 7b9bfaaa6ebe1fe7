"""When items were seen: filters, a fading similarity and retention."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from gallery_commands import HISTOGRAM, call, failure
from image_trees import write_image
from torch.nn import functional as F

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.gallery.times import TIME, find_older, order_by_age, time_of
from fusionreid.utils.durations import read_duration

NOW = datetime(2024, 5, 31, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def seen(days: float) -> dict:
    """Metadata of an item that was seen so many days ago."""
    return {TIME: NOW - days * DAY}


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('2024-05-31T12:00:00+00:00', NOW),
        ('2024-05-31T14:00:00+02:00', NOW),
        ('2024-05-31T12:00:00Z', NOW),
        ('2024-05-31T12:00:00', NOW),
        ('2024-05-31', NOW.replace(hour=0)),
        (NOW.timestamp(), NOW),
        (int(NOW.timestamp()), NOW),
        (None, None),
    ],
)
def test_times_are_read(value, expected):
    assert time_of({TIME: value} if value is not None else {}) == expected


@pytest.mark.parametrize('value', ['yesterday', '', True, 1e300])
def test_other_times_are_refused(value):
    with pytest.raises(GalleryError, match='a.jpg has the time .*, expected a time such as'):
        time_of({TIME: value}, 'a.jpg')


def test_similarity_fades_with_age():
    query = torch.tensor([[1.0, 0.0]])
    turned = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])
    rows = torch.stack([turned.cos(), turned.sin()], dim=1)
    ages = [20, 10, None, 0, -5]
    gallery = Gallery()
    gallery.add(
        features=rows,
        ids=list('abcde'),
        metadata=[{} if age is None else seen(age) for age in ages],
    )
    found = gallery.search(query, 5)
    assert found.ids[0].tolist() == list('abcde')
    faded = order_by_age(found, 10 * DAY, 5, NOW)
    scores = {
        name: (1 - float(distance) ** 2 / 4) * 0.5 ** (max(0, age) / 10)
        for name, distance, age in zip('abcde', found.distances[0], ages, strict=True)
        if age is not None
    }
    expected = [*sorted(scores, key=scores.get, reverse=True), 'c']
    assert faded.ids[0].tolist() == expected
    assert expected != list('abcde')
    by_name = dict(zip(found.ids[0], found.distances[0], strict=True))
    assert faded.distances[0].tolist() == [by_name[name] for name in expected]
    # With endless patience, the order stays; of two, two are kept.
    assert order_by_age(found, 100_000 * DAY, 5, NOW).ids[0].tolist() == list('abdec')
    short = order_by_age(found, 10 * DAY, 2, NOW)
    assert (short.ids.shape, short.counts.tolist()) == ((1, 2), [2])
    with pytest.raises(GalleryError, match='must be longer than 0'):
        order_by_age(found, timedelta(0), 2, NOW)


def test_rates_and_empty_places_move_along():
    gallery = Gallery()
    rows = F.normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)))
    gallery.add(
        features=rows,
        ids=[str(row) for row in range(60)],
        person_ids=[row % 12 for row in range(60)],
        camera_ids=[row % 5 for row in range(60)],
        metadata=[seen(row) for row in range(60)],
    )
    gallery.calibrate()
    found = gallery.search(rows[:3], 20, cameras=[0])
    assert found.counts.tolist() == [12] * 3
    faded = order_by_age(found, DAY, 20, NOW)
    assert faded.counts.tolist() == [12] * 3
    assert (faded.ids[:, 12:] == '').all()
    for row in range(3):
        before = dict(zip(found.ids[row], found.false_match_rates[row], strict=True))
        after = [before[name] for name in faded.ids[row, :12]]
        np.testing.assert_array_equal(faded.false_match_rates[row, :12], after)


@pytest.mark.parametrize('text', ['', '30', 'd', '-3d', '0d', '3 months', '1e3d', '9999999999d'])
def test_spans_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match='expected a span of time'):
        read_duration(text)


def test_an_index_is_searched_by_time_and_pruned(tmp_path, capsys):
    images, index = tmp_path / 'images', tmp_path / 'index'
    for number in range(4):
        path = write_image(images / f'000{number}_c1s1_00000{number}.jpg', number)
        age = [0.5, 3, 40, 400][number] * 86_400
        os.utime(path, (time.time() - age, time.time() - age))
    call('index', images, '-o', index, '--config', HISTOGRAM, '--times-from-files')
    query = write_image(tmp_path / 'query.jpg', 9)

    def found(*options: object) -> set[str]:
        capsys.readouterr()
        call('search', index, query, *options)
        printed = capsys.readouterr().out
        return {str(number) for number in range(4) if f'000{number}_c1' in printed}

    assert found() == {'0', '1', '2', '3'}
    assert found('--seen-after', '7d') == {'0', '1'}
    assert found('--seen-before', '2d', '--seen-after', '10w') == {'1', '2'}
    assert found('--seen-after', '2999-01-01') == set()
    assert found('--half-life', '1d', '-k', 1) == {'0'}
    call('gallery prune', index, '--older-than', '30d', '--dry-run')
    assert '2 of 4 images are older than 30 d' in capsys.readouterr().out
    call('gallery prune', index, '--older-than', '30d')
    printed = capsys.readouterr().out
    assert '2 images removed, 2 left' in printed
    assert 'recorded in' in printed
    assert 'older than 30 d' in (index / 'deletions.jsonl').read_text()
    assert found() == {'0', '1'}
    extra = write_image(images / '0009_c1s1_000009.jpg', 5)
    call('index add', index, extra)
    call('gallery prune', index, '--older-than', '30d')
    assert '1 images have no time, and stay' in capsys.readouterr().out
    call('gallery prune', index, '--older-than', '12.5h')
    older, without = find_older(Gallery.load(index), datetime.now(timezone.utc))
    assert (older, without) == ([str(images / '0000_c1s1_000000.jpg')], 1)
    call('index remove', index, extra)
    message = failure('gallery prune', index, '--older-than', '11h')
    assert 'these are all 1 images' in message
    for command, option, expected in (
        (['gallery prune', index], '--older-than', 'expected a span of time'),
        (['search', index, query], '--seen-after', 'expected a time such as'),
    ):
        with pytest.raises(SystemExit):
            call(*command, option, 'x')
        assert expected in capsys.readouterr().err
