from __future__ import annotations

import pytest
from tiny_runs import ROOT

from fusionreid.cli.main import run_command
from fusionreid.config import packaged_configs


def listed(capsys, *words: str) -> list[str]:
    assert run_command('configs', list(words)) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f'in {ROOT / "configs"}'
    return lines


def test_all_configs_the_published_rows_first(capsys):
    lines = listed(capsys)
    folders = [line for line in lines if line.endswith('/')]
    assert folders == sorted(folders)
    assert 'baselines/' in folders
    assert '_base_/' not in folders
    at_the_top = lines[: lines.index(folders[0])]
    assert at_the_top == sorted(path.stem for path in (ROOT / 'configs').glob('*.py'))
    names = [line.strip() for line in lines if not line.endswith('/')]
    assert len(names) == len(set(names))
    assert set(names) == set(packaged_configs())


def test_those_with_all_of_the_words(capsys):
    assert listed(capsys, 'r50', 'market') == [
        'fusionreid_vitb_r50_market1501',
        'fusionreid_vitb_r50_market1501_384x128',
        'fusionreid_vitb_r50_market1501_s16',
        'fusionreid_vitb_r50_market1501_s16_384x128',
        'baselines/',
        '  r50_market1501',
        'custom/',
        '  fusionreid_vitb_r50_custom_market',
        'domain_generalization/',
        '  fusionreid_vitb_r50_protocol2-market1501',
        '  fusionreid_vitb_r50_protocol3-market1501',
        'lite/',
        '  fusionreid_lite_vitb_r50_market1501',
        '  fusionreid_lite_vitb_r50_market1501_tome',
        'recipes/',
        '  fusionreid_vitb_r50_market1501_personvit',
    ]


def test_words_that_no_name_has(capsys):
    with pytest.raises(SystemExit, match='^error: no config has r50 and imagenet in its name$'):
        run_command('configs', ['r50', 'imagenet'])
    assert capsys.readouterr().out == ''
