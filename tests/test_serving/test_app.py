"""The interface over HTTP: answers, limits, and what is refused."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import CRUEL, HOME

from fusionreid.errors import GalleryError
from fusionreid.gallery import Gallery
from fusionreid.serving.finder import Finder
from fusionreid.serving.limits import Limits
from fusionreid.video.passage_folder import Passage

SECONDS = 60


def send(client, *paths: object, route: str = '/api/search', **fields: object):
    files = [('images', (Path(str(path)).name, Path(str(path)).read_bytes())) for path in paths]
    return client.post(route, files=files, data=fields)


def send_bytes(client, content: bytes, name: str = 'photo.jpg', **fields: object):
    return client.post('/api/search', files=[('images', (name, content))], data=fields)


def huge_png(width: int, height: int) -> bytes:
    """A file of a few bytes that calls itself a huge image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b'IDAT', zlib.compress(b'\0' * 100))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + pixels + chunk(b'IEND', b'')


def real(photos) -> list[str]:
    return [path for path in photos if Path(path).name[0] == '0']


# ---- answers


def test_answers_are_those_of_the_gallery(client, finder, photos):
    chosen = real(photos)[:2]
    answer = send(client, *chosen, k=5)
    assert answer.status_code == 200
    found = finder.gallery.search(chosen, k=5)
    for row, query in enumerate(answer.json()['queries']):
        assert query['name'] == Path(chosen[row]).name
        assert [finder.ids[one['item']] for one in query['answers']] == found.ids[row].tolist()
        distances = [one['distance'] for one in query['answers']]
        np.testing.assert_allclose(distances, found.distances[row], atol=1e-5)
        assert [one['rank'] for one in query['answers']] == [1, 2, 3, 4, 5]
        rates = [one['false_match_rate'] for one in query['answers']]
        np.testing.assert_allclose(rates, found.false_match_rates[row])


def test_filter_by_camera(client, photos, finder):
    cameras = [one['camera'] for one in client.get('/api/gallery').json()['cameras']]
    assert {'yard', '<b>door</b>', '3'} <= set(cameras)
    for camera in ('yard', '<b>door</b>', '3', '0'):
        (query,) = send(client, photos[-1], k=100, camera=camera).json()['queries']
        assert {one['camera'] for one in query['answers']} == {camera}
    own = send(client, real(photos)[0], k=100, query_camera='yard', other_cameras='true').json()
    assert 'yard' not in {one['camera'] for one in own['queries'][0]['answers']}
    counts = {one['camera']: one['images'] for one in client.get('/api/gallery').json()['cameras']}
    assert sum(counts.values()) == len(finder)
    nothing = send(client, photos[-1], camera='99').json()['queries'][0]
    assert nothing['answers'] == []
    assert nothing['nobody'] is False


def test_filter_by_time(client, photos, finder, monkeypatch):
    assert client.get('/api/gallery').json()['times'] is None
    first, second, third = (real(photos)[row] for row in (0, 1, 2))
    seen = {
        first: Passage('', 1.5, 4.0),
        second: Passage('', 10.0, 12.0),
        third: Passage('', 4.0, 9),
    }
    monkeypatch.setattr(finder, '_passages', seen)

    def names(**fields: float) -> dict[str, list[float]]:
        (query,) = send(client, photos[-1], k=100, **fields).json()['queries']
        return {one['name']: one['seconds'] for one in query['answers']}

    a, b, c = (Path(path).name for path in (first, second, third))
    assert names(from_second=4, to_second=9.5) == {a: [1.5, 4.0], c: [4.0, 9.0]}
    assert set(names(from_second=9.5)) == {b}
    assert set(names(to_second=3)) == {a}
    assert names(from_second=100) == {}
    assert len(names()) == len(finder)
    assert send(client, photos[-1], from_second='noon').status_code == 422


def test_filter_by_metadata(client, photos, finder):
    answer = send(client, photos[-1], k=100, where=['floor>=1', 'floor<=2'])
    (query,) = answer.json()['queries']
    assert {photos.index(finder.ids[one['item']]) % 4 for one in query['answers']} == {1, 2}


def test_nobody(client, photos, finder):
    near = real(photos)[0]
    (found,) = send(client, near, k=3, max_distance=1e-3).json()['queries']
    assert not found['nobody']
    content = io.BytesIO()
    Image.new('RGB', (64, 128), (255, 0, 255)).save(content, 'PNG')
    answer = send_bytes(client, content.getvalue(), max_distance=0.05).json()
    (stranger,) = answer['queries']
    assert stranger['nobody']
    assert stranger['answers'] == []
    assert stranger['nearest'] > 0.05


def test_stops_say_what_a_search_with_their_rate_finds(client, photos):
    stops = client.get('/api/gallery').json()['stops']
    assert len(stops) > 3
    assert [stop['rate'] for stop in stops] == sorted(stop['rate'] for stop in stops)
    query = real(photos)[3]
    (whole,) = send(client, query, k=20, query_camera='yard').json()['queries']
    for number, stop in enumerate(stops):
        (limited,) = send(client, query, k=20, query_camera='yard', max_fpr=stop['rate']).json()[
            'queries'
        ]
        kept = [
            one['item']
            for one in whole['answers']
            if one['stop'] is not None and one['stop'] <= number
        ]
        assert kept == [one['item'] for one in limited['answers']]


def test_without_a_calibration_there_is_no_stop_and_no_rate(index, serve, photos, finder):
    gallery = Gallery.load(index)
    gallery.calibration = None
    bare = Finder(gallery, 'people', Limits())
    assert bare.describe()['stops'] == []
    (query,) = bare.search([bare.as_query(0)], 3)
    assert 'stop' not in query['answers'][0]


def test_an_item_is_a_query_and_does_not_find_itself(client, finder):
    number = 5
    answer = client.post('/api/search', files=[], data={'items': number, 'k': 4})
    assert answer.status_code == 415  # no form with parts
    answer = client.post('/api/search', files={'items': (None, f'{number}'), 'k': (None, '4')})
    (query,) = answer.json()['queries']
    assert number not in [one['item'] for one in query['answers']]
    assert len(query['answers']) == 4


def test_photos_of_items_are_encoded_anew(client, finder):
    for number in (0, len(finder) - 1):
        answer = client.get(f'/api/items/{number}/image')
        assert answer.headers['content-type'] == 'image/jpeg'
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == 'JPEG'
            assert max(image.size) <= 320
        assert answer.content != Path(finder.ids[number]).read_bytes()


def test_people(client, finder):
    deadline = threading.Event()
    for _ in range(SECONDS * 10):
        page = client.get('/api/people').json()
        if page['ready']:
            break
        deadline.wait(0.1)
    assert page['ready']
    assert page['photos'] == len(finder)
    grouped = sum(person['photos'] for person in page['people'])
    assert page['unsure'] + grouped == len(finder) or len(page['people']) < page['total']
    person = client.get('/api/people/1').json()
    assert len(person['items']) == person['photos'] == page['people'][0]['photos']
    assert client.get(f'/api/people/{page["total"] + 1}').status_code == 404
    assert client.get('/api/people?count=1000').status_code == 422


def test_health_metrics_and_description(client, photos):
    assert client.get('/health').json()['status'] == 'ok'
    send(client, *real(photos)[:2])
    client.get('/nowhere/at/all')
    lines = client.get('/metrics').text.splitlines()
    assert 'fusionreid_images_total 2' in lines
    assert 'fusionreid_requests_total{route="/api/search",status="200"} 1' in lines
    assert 'fusionreid_request_seconds_count{route="/api/search"} 1' in lines
    assert 'fusionreid_waiting 0' in lines
    assert not any('nowhere' in line for line in lines)
    pattern = re.compile(r'(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [0-9.e+-]+)')
    assert [line for line in lines if not pattern.fullmatch(line)] == []
    description = client.get('/openapi.json').json()
    assert {'/api/search', '/api/why/{number}', '/health', '/metrics'} <= set(description['paths'])
    for page in ('/docs', '/redoc'):  # they would load scripts from elsewhere
        assert client.get(page).status_code == 404


def test_the_page_loads_nothing_from_elsewhere(client):
    for path in ('/', '/static/app.js', '/static/style.css'):
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r'(https?:)?//(?!www\.w3\.org)[a-z]', answer.text.replace(HOME, ''))
    assert 'innerHTML' not in client.get('/static/app.js').text


# ---- what is refused


@pytest.mark.parametrize(
    'content',
    [b'no image', b'%!PS-Adobe-3.0 EPSF-3.0\n', b'<svg xmlns="http://www.w3.org/2000/svg"/>', b''],
)
def test_no_image(client, content):
    answer = send_bytes(client, content, 'a.jpg')
    assert answer.status_code == 422
    assert re.match(r'a\.jpg is (no image|empty)', answer.json()['detail'])


def test_an_animation(client):
    content = io.BytesIO()
    frames = [Image.new('RGB', (32, 64), (60 * n, 0, 0)) for n in range(3)]
    frames[0].save(content, 'WEBP', save_all=True, append_images=frames[1:])
    answer = send_bytes(client, content.getvalue(), 'a.webp')
    assert answer.status_code == 422
    assert answer.json()['detail'].startswith('a.webp is an animation')


def test_a_broken_image(client, photos):
    content = Path(photos[-1]).read_bytes()
    answer = send_bytes(client, content[:-100])
    assert answer.status_code == 422
    assert 'cannot be decoded' in answer.json()['detail']


def test_too_many_bytes(serve, photos):
    client = serve(image_bytes=1000, request_bytes=5000)
    answer = send_bytes(client, b'x' * 1001, 'a.jpg')
    assert answer.status_code == 413
    assert answer.json()['detail'] == 'a.jpg has 1,001 bytes, 1,000 are allowed'
    answer = send_bytes(client, b'x' * 6000)
    assert answer.status_code == 413
    assert '5,000 bytes' in answer.json()['detail']


def test_too_many_bytes_that_no_head_announces(serve):
    client = serve(request_bytes=5000)
    sent = []

    def body():
        yield b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(100):
            sent.append(1)
            yield b'x' * 1000

    answer = client.post(
        '/api/search', content=body(), headers={'content-type': 'multipart/form-data; boundary=b'}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize('size', [(30000, 30000), (100_000_000, 1), (60000, 1000)])
def test_too_many_pixels_are_seen_before_they_are_decoded(client, size, monkeypatch):
    monkeypatch.setattr(
        'fusionreid.serving.images.decode_image', lambda _: pytest.fail('it was decoded')
    )
    answer = send_bytes(client, huge_png(*size))
    assert answer.status_code == 413
    assert 'pixels' in answer.json()['detail']


def test_too_many_pixels_together(serve, photos):
    with Image.open(real(photos)[0]) as image:
        width, height = image.size
    client = serve(request_pixels=3 * width * height)
    assert send(client, *real(photos)[:3]).status_code == 200
    answer = send(client, *real(photos)[:4])
    assert answer.status_code == 413
    assert 'together' in answer.json()['detail']


def test_too_many_images(serve, photos):
    client = serve(images=2)
    assert send(client, *photos[:2]).status_code == 200
    answer = send(client, *photos[:3])
    assert answer.status_code == 413
    assert '2 images at once' in answer.json()['detail']


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        (dict(k='0'), 'k must be in 1..100'),
        (dict(k='101'), 'k must be in 1..100'),
        (dict(k='x'), 'k must be a whole number'),
        (dict(k='\u0663'), 'k must be a whole number'),
        (dict(max_distance='nan'), 'max_distance must be a number'),
        (dict(max_fpr='0'), 'rate'),
        (dict(max_fpr='1e-12'), 'cannot be told'),
        (dict(max_fpr='0.1', max_distance='1'), 'contradict'),
        (dict(camera='cellar'), 'cellar'),
        (dict(camera='-2'), 'counted from 1'),
        (dict(camera=''), 'got nothing'),
        (dict(other_cameras='maybe'), 'true or false'),
        (dict(other_cameras='true'), 'unknown'),
        (dict(items='99999'), 'there is no item'),
        (dict(items='-1'), 'whole number'),
        (dict(where='floor!=1'), 'no condition on metadata'),
    ],
)
def test_fields_that_cannot_be(client, photos, fields, reason):
    answer = send(client, real(photos)[0], **fields)
    assert answer.status_code in (404, 422)
    assert reason in answer.json()['detail']


def test_forms_that_are_none(client, photos):
    assert client.post('/api/search').status_code == 415
    assert client.post('/api/search', json={}).status_code == 415
    for boundary in ('', '; boundary=b'):
        answer = client.post(
            '/api/search',
            content=b'--b\r\nnonsense',
            headers={'content-type': f'multipart/form-data{boundary}'},
        )
        assert answer.status_code == 422, boundary
    file = ('a.jpg', Path(photos[-1]).read_bytes())
    assert 'images' in client.post('/api/search', files={'other': file}).json()['detail']
    assert client.get('/api/search').status_code == 405


def test_nothing_that_is_sent_is_written_to_disk(client, photos):
    written: list[object] = []
    is_watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if is_watching and event == 'open':
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                written.append(path)

    sys.addaudithook(watch)  # there is no way to remove it
    # Starlette's own parser would write what is larger than 1 MiB.
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))
    content = io.BytesIO()
    large.save(content, 'PNG')
    assert len(content.getvalue()) > 2 << 20
    status = send_bytes(client, content.getvalue()).status_code
    sent = list(written)
    with tempfile.TemporaryFile():
        pass
    is_watching = False
    assert status == 200
    assert sent == []
    assert written  # so it would have been seen


@pytest.mark.parametrize(
    'path',
    [
        '/api/items/../../etc/passwd/image',
        '/api/items/%2e%2e%2f%2e%2e%2fetc%2fpasswd/image',
        '/api/items/-1/image',
        '/api/items/99999/image',
        '/api/items/1e3/image',
        '/static/../app.py',
        '/static/%2e%2e%2fapp.py',
        '/static/..%2f..%2f__init__.py',
        '/static//etc/passwd',
        '//etc/passwd',
    ],
)
def test_nothing_but_items_and_the_page_is_served(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert 'root:' not in answer.text
    assert 'import' not in answer.text


def test_files_of_an_index_that_are_no_images_are_not_served(index, tmp_path, finder):
    secret = tmp_path / 'secret.jpg'
    secret.write_text('the secret')
    gallery = Gallery.load(index)
    number = len(gallery)
    gallery.add(
        features=np.eye(1, gallery.spec.width),
        ids=[
            'secret',
        ],
        paths=[secret],
    )
    own = Finder(gallery, 'people', Limits())
    for size in (320, 1024):
        with pytest.raises(Exception, match='is no image') as caught:
            own.thumbnail(number, size)
        assert str(secret) not in str(caught.value)


def test_names_are_text(client, finder, photos):
    names = [finder.item(number)['name'] for number in range(len(finder))]
    assert CRUEL in names
    answer = client.post('/api/search', files={'items': (None, f'{names.index(CRUEL)}')})
    assert answer.headers['content-type'] == 'application/json'
    assert answer.headers['x-content-type-options'] == 'nosniff'
    assert json.loads(answer.text)['queries'][0]['name'] == CRUEL


def test_a_gallery_without_a_model(tmp_path):
    gallery = Gallery()
    gallery.add(features=np.eye(3), ids=['a', 'b', 'c'])
    with pytest.raises(GalleryError, match='no model'):
        Finder(gallery, 'features', Limits())


def test_a_mistake_of_the_program_says_nothing_of_itself(client, finder, photos, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError('a secret path')

    monkeypatch.setattr(finder, 'search', fail)
    answer = send(client, real(photos)[0])
    assert answer.status_code == 500
    assert 'secret' not in answer.text
    assert answer.headers['x-content-type-options'] == 'nosniff'
    assert client.get('/health').status_code == 200


# ---- the queue


def test_requests_beyond_the_queue_are_told_to_come_later(serve, photos, monkeypatch):
    client = serve(queue=2)
    begun, go_on = threading.Event(), threading.Event()
    search = Finder.search

    def wait(self, *arguments, **options):
        begun.set()
        assert go_on.wait(SECONDS)
        return search(self, *arguments, **options)

    monkeypatch.setattr(Finder, 'search', wait)
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(send(client, real(photos)[0], k=1).status_code)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(SECONDS)
    for _ in range(SECONDS * 100):
        if 'fusionreid_waiting 2' in client.get('/metrics').text:
            break
    refused = send(client, real(photos)[0])
    assert refused.status_code == 503
    assert 1 <= int(refused.headers['retry-after']) < SECONDS
    assert client.get('/health').status_code == 200
    go_on.set()
    for thread in threads:
        thread.join(SECONDS)
    assert statuses == [200, 200]
    assert send(client, real(photos)[0]).status_code == 200


def test_requests_that_take_too_long_end(serve, photos, monkeypatch):
    client = serve(queue=2, seconds=0.3)
    go_on = threading.Event()
    search = Finder.search

    def wait(self, *arguments, **options):
        assert go_on.wait(SECONDS)
        return search(self, *arguments, **options)

    monkeypatch.setattr(Finder, 'search', wait)
    # The first one is at work, the others never come to it.
    for _ in range(4):
        answer = send(client, real(photos)[0])
        assert answer.status_code == 504
        assert '0.3 seconds' in answer.json()['detail']
    go_on.set()
    monkeypatch.setattr(Finder, 'search', search)
    assert any(send(client, real(photos)[0]).status_code == 200 for _ in range(20))
