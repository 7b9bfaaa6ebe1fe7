"""Who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import pytest

from fusionreid.serving.access import COOKIE, Access, check_token, is_loopback, new_token

TOKEN = 'a-token-of-this-test'
CLOSED = ('/api/gallery', '/api/items/0/image', '/metrics', '/openapi.json', '/api/people')


def test_a_token_is_needed_for_everything_but_the_page(serve):
    client = serve(Access(TOKEN))
    for path in ('/', '/static/app.js', '/static/style.css', '/health'):
        assert client.get(path).status_code == 200, path
    for path in CLOSED:
        for headers in (
            {},
            {'Authorization': f'Bearer {TOKEN}x'},
            {'Authorization': f'Bearer {TOKEN[:-1]}'},
            {'Authorization': f'Basic {TOKEN}'},
            {'Authorization': 'Bearer'},
            {'Authorization': 'Bearer \u00e9'.encode('latin-1')},
            {'Cookie': f'{COOKIE}=wrong'},
            {'Cookie': ';;=;'},
        ):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401, (path, headers)
            assert TOKEN not in answer.text
        right = client.get(path, headers={'Authorization': f'Bearer {TOKEN}'})
        assert right.status_code == 200, path
    assert client.post('/api/search').status_code == 401
    assert client.get(f'/api/gallery?token={TOKEN}').status_code == 401


def test_a_session_keeps_the_token_in_a_cookie_that_scripts_and_sites_cannot_use(serve):
    client = serve(Access(TOKEN))
    answer = client.post('/api/session', headers={'Authorization': f'Bearer {TOKEN}'})
    assert answer.status_code == 204
    cookie = answer.headers['set-cookie'].lower()
    assert 'httponly' in cookie
    assert 'samesite=strict' in cookie
    assert client.get('/api/items/0/image').status_code == 200


@pytest.mark.parametrize(
    ('host', 'loopback', 'elsewhere'),
    [
        ('localhost:8000', 200, 200),
        ('127.0.0.1', 200, 200),
        ('127.0.0.1:9', 200, 200),
        ('[::1]:8000', 200, 200),
        ('reid.example', 200, 200),
        ('REID.example:80', 200, 200),
        ('192.0.2.7:8000', 421, 200),
        ('evil.example', 421, 421),
        ('localhost.evil.example', 421, 421),
        ('127.0.0.1.evil.example', 421, 421),
        ('evil.example@localhost', 421, 421),
        ('[::1', 421, 421),
        ('', 421, 421),
    ],
)
def test_other_host_names_are_refused(serve, host, loopback, elsewhere):
    names = frozenset(['reid.example'])
    for access, status in (
        (Access(names=names), loopback),
        (Access(loopback=False, names=names), elsewhere),
    ):
        assert serve(access).get('/api/gallery', headers={'Host': host}).status_code == status
        assert serve(access).get('/', headers={'Host': host}).status_code == status


@pytest.mark.parametrize('origin', ['http://evil.example', 'null', 'http://127.0.0.1:9999', 'x'])
def test_pages_of_other_sites_may_not_ask(serve, origin):
    client = serve()
    answer = client.post('/api/search', headers={'Origin': origin})
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith('access-control')]
    own = client.get('/api/gallery', headers={'Origin': 'http://127.0.0.1:8000'})
    assert own.status_code == 200
    asked = client.options(
        '/api/search', headers={'Origin': origin, 'Access-Control-Request-Method': 'POST'}
    )
    assert asked.status_code == 403


@pytest.mark.parametrize('path', ['/', '/api/gallery', '/api/items/0/image', '/nowhere'])
def test_every_answer_is_guarded(serve, path):
    headers = serve().get(path).headers
    policy = headers['content-security-policy']
    assert "default-src 'none'" in policy
    assert 'unsafe' not in policy
    assert headers['x-content-type-options'] == 'nosniff'
    assert headers['cross-origin-resource-policy'] == 'same-origin'
    assert 'cache-control' in headers


def test_tokens():
    assert new_token() != new_token()
    check_token(new_token())
    for token in ('short', 'x' * 15, 'with a space in it', 'naïve-token-of-letters', 'a"' * 10):
        with pytest.raises(ValueError, match='at least 16'):
            check_token(token)
    assert TOKEN not in repr(Access(TOKEN))


def test_loopback():
    assert all(map(is_loopback, ['localhost', '127.0.0.1', '127.1.2.3', '::1', 'LOCALHOST.']))
    assert not any(map(is_loopback, ['0.0.0.0', '::', '10.0.0.1', 'example', '', 'localhost.x']))
