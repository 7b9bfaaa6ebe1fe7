"""The command, in a process of its own: its page in a browser, its load, and its end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from served import CRUEL
from warm_processes import WarmProcess

from fusionreid.cli.benchmarks.serve import measure_load
from fusionreid.cli.main import run_command
from fusionreid.serving.app import STATIC

SECONDS = 60
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('chrome')


def start(index: Path, output: Path, *arguments: object) -> tuple[WarmProcess, str]:
    """Start the command on a free port; returns the process and the address of its page."""
    given = ['-m', 'fusionreid.cli', 'serve', index, '--port', 0, *arguments]
    process = WarmProcess(given, output, OMP_NUM_THREADS=1)
    process.wait_for('Ctrl-C stops it')
    return process, re.search(r'page: (\S+)', process.text())[1]


@pytest.fixture(scope='module')
def address(index, tmp_path_factory) -> Iterator[str]:
    output = tmp_path_factory.mktemp('served') / 'output'
    process, address = start(index, output, '--max-bytes', 300_000, '--queue', 4)
    with process:
        yield address.rstrip('/')
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, process.text()
        assert process.text().splitlines()[-1] == 'stopped'


@pytest.fixture
def page(address) -> Iterator:
    if CHROMIUM is None:
        pytest.skip('no Chromium is installed')
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1200, height=800))
        page.set_default_timeout(1000 * SECONDS)
        problems: list[str] = []
        page.on('pageerror', lambda error: problems.append(str(error)))
        page.on('dialog', lambda dialog: problems.append(f'dialog {dialog.message}'))
        page.on(
            'console',
            lambda message: problems.append(message.text) if 'Security' in message.text else None,
        )
        asked: list[str] = []
        page.on('request', lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector('.empty .thumb')
        yield page
        browser.close()
        assert problems == []
        assert all(url.startswith((address, 'data:', f'blob:{address}')) for url in asked)


def until(page, expression: str) -> None:
    """Wait until an expression is true; the page's own policy lets no text become a program."""
    end = time.monotonic() + SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)


@pytest.mark.slow
def test_in_a_browser(page, photos, tmp_path):
    query = next(path for path in photos if Path(path).name[0] == '0')
    page.set_input_files('#file', query)
    page.wait_for_selector('.card')
    assert 'near enough' in page.inner_text('#headline')
    # The image is in the index: it is its own nearest.
    assert page.inner_text('.card .distance').startswith('0.000')
    assert page.get_attribute('.card', 'title') == Path(query).name
    until(page, "document.querySelector('.card img').naturalWidth > 0")

    # The filter: one camera, whose name would be markup.
    page.click("#cameras button:text-is('<b>door</b>')")
    until(
        page,
        "[...document.querySelectorAll('.card .small:nth-of-type(3)')].length > 0 && "
        "[...document.querySelectorAll('.card')].every(each => "
        "each.innerText.includes('<b>door</b>'))",
    )
    assert page.locator('#cameras b, .card b').count() == 0
    page.click('#all-cameras')
    until(
        page,
        "[...document.querySelectorAll('.card')].some(each => !each.innerText.includes('<b>door'))",
    )

    # The slider: with no line everybody is an answer, with the strictest one nobody else is.
    near = page.locator('.card.near').count()
    page.focus('#line')
    page.keyboard.press('End')
    assert page.locator('.card.far').count() == 0
    assert page.locator('.card.near').count() > near
    stranger = tmp_path / f'{CRUEL[:-4]}.png'
    Image.new('RGB', (64, 128), (255, 0, 255)).save(stranger)
    page.set_input_files('#file', stranger)
    name = json.dumps(stranger.name)
    until(page, f'document.querySelector("#query-name").innerText === {name}')
    page.wait_for_selector('.card.near')
    page.focus('#line')
    page.keyboard.press('Home')
    page.wait_for_selector('.notice.nobody')
    assert 'Nobody' in page.inner_text('.notice')
    assert page.locator('.card.near').count() == 0

    # Files that are none, and too large ones.
    bad = tmp_path / 'bad.jpg'
    bad.write_text('no image')
    page.set_input_files('#file', bad)
    page.wait_for_selector('.notice.problem')
    assert 'bad.jpg is no image' in page.inner_text('.notice')
    large = tmp_path / 'large.jpg'
    large.write_bytes(b'\xff' * 300_001)
    page.set_input_files('#file', large)
    page.wait_for_selector('#error:not([hidden])')
    assert 'large.jpg has 300,001 bytes' in page.inner_text('#error')

    # Groups, from which a photo is searched for.
    page.click('#tab-people')
    page.wait_for_selector('.person .thumb')
    page.click('.person .thumb')
    page.wait_for_selector('#view-search .card')
    page.click('#tab-api')
    page.wait_for_selector(".route code:text-is('/api/search')")


@pytest.mark.slow
def test_a_token_opens_the_page(index, tmp_path, photos):
    if CHROMIUM is None:
        pytest.skip('no Chromium is installed')
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    process, address = start(index, tmp_path / 'output', '--host', '0.0.0.0')
    with process, api.sync_playwright() as playwright:
        host, token = re.fullmatch(r'http://([^/]+)/#token=(\S{16,})', address).groups()
        home = f'http://127.0.0.1:{host.rpartition(":")[2]}/'
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.goto(home)
        page.fill('#token', 'wrong-token-of-the-test')
        page.click('#token-form button')
        page.wait_for_selector('#token-error:not([hidden])')
        page.fill('#token', token)
        page.click('#token-form button')
        until(page, "document.querySelector('.empty img')?.naturalWidth > 0")
        other = browser.new_context().new_page()
        other.goto(f'{home}#token={token}')
        other.wait_for_selector('.empty .thumb')
        assert token not in other.url
        browser.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert process.text().splitlines()[-1] == 'stopped'


# ---- load


@pytest.mark.slow
def test_load(address, photos, capsys):
    host = address.removeprefix('http://')
    # As many clients as the queue has places: nobody is refused.
    load = measure_load(host, photos, clients=4, requests=25)
    with capsys.disabled():
        print(f'\n4 clients: {100 / load.duration:.0f} searches in a second, {load.statuses}')
    assert load.statuses == {200: 100}
    assert len(load.seconds) == 100
    # Four times as many: some are told to come later, and nothing else happens.
    load = measure_load(host, photos, clients=16, requests=10)
    assert set(load.statuses) == {200, 503}
    assert load.errors == 0
    assert len(load.retries) == load.statuses[503]
    assert all(int(seconds) >= 1 for seconds in load.retries)


def test_the_benchmark(address, photos, capsys):
    folder = Path(photos[0]).parent
    arguments = [address, str(folder), '--clients', '2', '--requests', '3']
    assert run_command('benchmark serve', arguments) == 0
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line[:5] == ['2', '6', '6', '0', '0']
    gone = ['http://127.0.0.1:1', *arguments[1:]]
    assert run_command('benchmark serve', gone) == 1
    assert capsys.readouterr().out.splitlines()[-1].split()[4] == '6'


def test_the_page_is_in_the_package():
    assert {path.name for path in STATIC.iterdir()} == {'index.html', 'app.js', 'style.css'}
