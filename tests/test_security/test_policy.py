"""SECURITY.md promises only what a test holds."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_tests_that_exist():
    rows = [
        line.strip('|').split('|')
        for line in (ROOT / 'docs' / 'SECURITY.md').read_text().splitlines()
        if line.startswith('| ') and not line.startswith('| Promise')
    ]
    assert len(rows) > 5
    sources = ''.join(path.read_text() for path in (ROOT / 'tests').rglob('test_*.py'))
    existing = set(re.findall(r'^def (test_\w+)', sources, re.M))
    for promise, tests in rows:
        named = re.findall(r'`(\w+)`', tests)
        assert named, promise
        assert set(named) <= existing, promise
