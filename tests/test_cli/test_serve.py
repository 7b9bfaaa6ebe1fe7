"""The command's arguments, and what it refuses before it serves anything."""

from __future__ import annotations

import socket
import sys

import pytest
from gallery_commands import HISTOGRAM, call, failure

from fusionreid.cli import serve
from fusionreid.cli.main import run_command
from fusionreid.serving.access import Access


@pytest.fixture(scope='module')
def index(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('index') / 'people'
    call('index', data / 'query', '--config', HISTOGRAM, '-o', folder)
    return folder


@pytest.fixture
def served(monkeypatch):
    """Collects what would be served, and serves nothing."""
    found = []
    monkeypatch.setattr('fusionreid.serving.server.serve', lambda app, opened: found.append(app))
    return found


@pytest.mark.parametrize('name', ['fastapi', 'uvicorn', 'python_multipart'])
def test_what_is_not_installed_is_named(index, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    message = failure('serve', index)
    assert message.startswith(f'error: fusionreid serve needs {name}')
    assert message.endswith(f'pip install {name.replace("_", "-")}')


def test_a_port_that_is_taken(index):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        message = failure('serve', index, '--port', port)
    assert f'127.0.0.1 port {port} cannot be taken' in message


@pytest.mark.parametrize('host', ['no.such.host.invalid', 'x' * 300, '192.0.2.1'])
def test_a_host_that_is_not_this_machine(index, host):
    assert 'cannot be taken' in failure('serve', index, '--host', host, '--port', 0)


def test_no_index(tmp_path):
    assert 'error: ' in failure('serve', tmp_path / 'nothing', '--port', 0)


@pytest.mark.parametrize(
    'arguments',
    [
        ('--port', '65536'),
        ('--port', '-1'),
        ('--token', 'short'),
        ('--queue', '0'),
        ('--max-bytes', '-5'),
    ],
)
def test_arguments_that_cannot_be(index, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command('serve', [str(index), *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_only_others_need_a_token(index, served, capsys, monkeypatch):
    call('serve', index, '--port', 0)
    assert served[-1].access == Access()
    assert 'page: http://127.0.0.1:' in capsys.readouterr().out
    call('serve', index, '--port', 0, '--host', '0.0.0.0', '--allow-host', 'Reid.Example')
    access = served[-1].access
    assert len(access.token) > 30
    assert not access.loopback
    assert {'reid.example', socket.gethostname().lower()} <= access.names
    assert f'#token={access.token}' in capsys.readouterr().out
    monkeypatch.setenv(serve.TOKEN_VARIABLE, 'the-token-of-the-variable')
    call('serve', index, '--port', 0)
    assert served[-1].access == Access('the-token-of-the-variable')


def test_a_calibration_of_other_features(index, served, tmp_path):
    file = tmp_path / 'calibration.json'
    file.write_text('{}')
    assert 'calibration' in failure('serve', index, '--port', 0, '--calibration', file)
    assert not served
