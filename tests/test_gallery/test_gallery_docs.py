"""The code in docs/gallery.md runs."""

import re

from tiny_runs import ROOT


def test_documented_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/gallery.md').read_text(), re.S)
    names: dict = {}
    exec(compile(block, 'docs/gallery.md', 'exec'), names)
    assert names['found'].ids.shape == (3, 5)
    assert 0 not in names['found'].camera_ids
    assert (tmp_path / 'index' / 'gallery.json').exists()
