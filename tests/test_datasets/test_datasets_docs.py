from __future__ import annotations

import re
from pathlib import Path

import pytest
from image_trees import write_csv

from fusionreid.datasets import MSMT17, CsvDataset, DukeMTMCReID, Market1501, split_table

TEXT = (Path(__file__).parents[2] / 'docs' / 'datasets.md').read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', TEXT, flags=re.DOTALL)


def test_worked_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    header, *rows = blocks('csv')[0].splitlines()
    write_csv(Path('data/custom'), rows, header)
    table = split_table(CsvDataset('data/custom', 'people.csv').metainfo)
    assert table in TEXT
    capsys.readouterr()

    code = next(block for block in blocks('python') if 'import CsvDataset' in block)
    exec(code, {})
    printed = capsys.readouterr().out.split(table)[1].splitlines()
    assert [line for line in printed if line] == re.findall(r'print\(.*\)  # (.*)', code)


@pytest.mark.parametrize('dataset', [Market1501, DukeMTMCReID, MSMT17])
def test_folder_names(dataset: type) -> None:
    assert ', '.join(f'`{name}`' for name in dataset.FOLDER_NAMES) in TEXT
