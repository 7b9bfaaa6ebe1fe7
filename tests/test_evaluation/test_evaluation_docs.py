"""The code in docs/evaluation.md runs, and the benchmark prints what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/evaluation.md').read_text(), re.S)


@pytest.mark.parametrize('number', range(len(BLOCKS)))
def test_documented_code_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f'docs/evaluation.md block {number}', 'exec'), {})


def test_benchmark_prints_one_json_line():
    finished = subprocess.run(
        [sys.executable, ROOT / 'tools/benchmarks/ranking.py', '--scale', 'tiny', '--repeats', '1'],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (line,) = finished.stdout.splitlines()
    record = json.loads(line)
    assert record['queries'] == 200
    assert record['gallery'] == 1000
    assert record['seconds'] > 0
    assert record['product_seconds'] > 0
    assert 0 < record['mAP'] < 1
    assert record['rank1'] >= record['mAP'] / 2
