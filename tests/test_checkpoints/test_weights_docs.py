from __future__ import annotations

import re

import pytest
import torch
from small_models import build_random, fusion_model
from tiny_runs import ROOT

from fusionreid.checkpoints.release import convert_original, export_original_state
from fusionreid.checkpoints.weight_file import WRAPPERS
from fusionreid.models import FusionReID
from fusionreid.registry import WEIGHT_INITIALIZERS

TEXT = (ROOT / 'docs' / 'weights.md').read_text()
CODE = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)


def test_the_snippet_that_loads_a_converted_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    original = export_original_state(build_random(fusion_model()).state_dict())
    conversion = convert_original(original)
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'msmt17.py').write_text(conversion.config_text)
    torch.save(conversion.checkpoint, tmp_path / 'weights' / 'msmt17.pth')
    names: dict = {}
    exec(next(code for code in CODE if "'weights/msmt17.pth'" in code), names)
    assert isinstance(names['model'], FusionReID)


@pytest.mark.parametrize('path', re.findall(r'(?:configs|tools)/[\w/-]+\.py', TEXT))
def test_files_that_are_named_exist(path):
    assert (ROOT / path).is_file()


def test_names_that_are_listed_are_those_of_the_code():
    for wrapper in WRAPPERS:
        assert f'`{wrapper}`' in TEXT
    assert 'Pretrained' in TEXT
    assert WEIGHT_INITIALIZERS.get('Pretrained').__module__.startswith('fusionreid.')
