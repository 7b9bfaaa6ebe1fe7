"""Who may import whom: what is made to be lifted out needs torch alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'fusionreid'
LIFTED_OUT = [
    *sorted((PACKAGE / 'evaluation' / 'functional').glob('*.py')),
    PACKAGE / 'models' / 'losses' / 'batch_hard.py',
]


def imported(file: Path) -> set[str]:
    """Packages that a file imports; ``.`` for its own folder, ``..`` and so on for those above."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add('.' * node.level or node.module.split('.')[0])
    return names


@pytest.mark.parametrize('file', LIFTED_OUT, ids=lambda file: file.stem)
def test_the_functional_core_needs_torch_alone(file):
    assert imported(file) - set(sys.stdlib_module_names) <= {'torch', '.'}
    assert 'fusionreid' in imported(PACKAGE / 'models' / 'losses' / 'triplet_loss.py')
