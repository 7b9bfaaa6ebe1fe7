"""What the documents tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_runs import ROOT

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
OWN_FILE = re.compile(r'(?:configs|tools|tests|requirements)/[\w./-]+\.(?:py|sh|txt)')
LINK = re.compile(r'\]\((?!https?:|#)([^)#]+)')
COMMAND = re.compile(r'(?:python|bash) (tools/[\w/]+\.(?:py|sh))((?:.*\\\n)*.*)')
# Passed on to tools/train.py and tools/test.py.
LAUNCHERS = {'dist_train.sh': 'train.py', 'dist_test.sh': 'test.py', 'slurm_train.sh': 'train.py'}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_files_and_links_exist(page: Path):
    text = page.read_text()
    missing = [name for name in OWN_FILE.findall(text) if not (ROOT / name).exists()]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_options_exist(page: Path):
    for script, rest in COMMAND.findall(page.read_text()):
        path = ROOT / script
        sources = path.read_text()
        if path.name in LAUNCHERS:
            sources += (ROOT / 'tools' / LAUNCHERS[path.name]).read_text()
        if path.name == 'quickstart.sh':
            sources += (ROOT / 'tools' / 'quickstart.py').read_text()
        for shared in ('engine.launch', 'analysis.speed_runs'):
            if f'fusionreid.{shared} ' in sources:  # where a script's shared options are
                sources += (ROOT / 'fusionreid' / f'{shared.replace(".", "/")}.py').read_text()
        for option in re.findall(r'(?<=\s)--[a-z][\w-]*', rest.split('#')[0]):
            assert f"'{option}'" in sources, f'{script} has no {option}'


def test_the_readme_leaves_nothing_open():
    assert not re.search(
        r'\b(?:TODO|TBD|QUICKSTART_\w+|SEEDS_TABLE)\b', (ROOT / 'README.md').read_text()
    )


def test_python_of_the_reuse_page_runs():
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'reuse.md').read_text(), re.S)
    names: dict = {}
    exec(blocks[-1], names)
    assert names['loss'].item() > 0
