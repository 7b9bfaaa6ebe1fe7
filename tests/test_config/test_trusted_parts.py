"""Which types a config in a file may name; tests/test_security tries the attacks."""

from __future__ import annotations

import pytest

from fusionreid.config import read_literals
from fusionreid.config.trusted_parts import clean_config
from fusionreid.errors import ConfigError
from fusionreid.registry import MODELS


def clean(text: str) -> dict:
    return clean_config(
        read_literals(f'model = {text}', ('model',), 'a file')['model'], MODELS, 'a file'
    )


@pytest.mark.parametrize(
    'kind', ['ReIDResNet', 'fusionreid.ReIDResNet', 'mmpretrain.SwinTransformer', 'IDLoss']
)
def test_registered_parts_of_models_are_kept(kind):
    inner = clean(f"dict(type='FusionReID', a=[dict(type={kind!r})])")['a'][0]
    assert inner['type'] == kind


@pytest.mark.parametrize(
    'kind',
    [
        'os.system',
        'mmengine.utils.misc',
        'mmengine.load',
        'mmcv..x',
        '.x',
        'mmpretrain.',
        'a b',
        '',
        'this',
        'timm.create',
        3,
    ],
)
@pytest.mark.parametrize(
    'form', ['dict(type={})', "dict(type='FusionReID', a=(dict(b=[dict(type={})]),))"]
)
def test_everything_else_is_refused(kind, form):
    with pytest.raises(ConfigError, match=r'a file (names the type|has|holds)'):
        clean(form.format(repr(kind)))
