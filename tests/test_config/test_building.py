from __future__ import annotations

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import Registry
from mmengine.runner import Runner

from fusionreid.config import build_errors
from fusionreid.config.building import one_line
from fusionreid.errors import ConfigError, DatasetError, UserError

PARTS = Registry('part', scope='fusionreid')


@PARTS.register_module()
class Part:
    """Raises what it is told to, or builds a part inside."""

    def __init__(self, error: Exception | None = None, inner: dict | None = None) -> None:
        if error:
            raise error
        self.inner = PARTS.build(inner) if inner else None


@PARTS.register_module()
class Inner(Part):
    pass


def build(cfg: dict) -> Part:
    with build_errors():
        return PARTS.build(cfg)


def test_what_can_be_built_is_built():
    assert isinstance(build(dict(type='Part', inner=dict(type='Inner'))).inner, Inner)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='Part', wide=1), r"type='Part': .*unexpected keyword argument 'wide'"),
        (dict(type='Prat'), "type='Prat': Prat is not in the"),
        (dict(type=Part, error=ValueError('a\n b')), "type='Part': .*a b$"),
        (dict(type='Part', error=KeyError('width')), "type='Part': .*width"),
        (dict(type='Part', inner=dict(type='Inner', a=1)), "type='Inner': .*argument 'a'"),
    ],
)
def test_a_wrong_setting_names_the_innermost_part(cfg, message):
    with pytest.raises(ConfigError, match=f'^the config cannot be built, {message}') as error:
        build(cfg)
    assert '\n' not in str(error.value)
    assert error.value.__cause__ is not None


def test_a_part_of_the_runner_has_its_name():
    runner = Runner.__new__(Runner)  # it has nothing that an evaluator needs
    with pytest.raises(ConfigError, match='cannot be built, evaluator: ') as error, build_errors():
        runner.build_evaluator(3)
    assert isinstance(error.value.__cause__, TypeError)


@pytest.mark.parametrize('kind', [DatasetError, RuntimeError, ZeroDivisionError])
def test_other_errors_of_a_part_pass(kind):
    raised = kind('x')
    with pytest.raises(kind) as error:
        build(dict(type='Part', error=raised))
    assert not isinstance(error.value, ConfigError)


@pytest.mark.parametrize('kind', [KeyError, TypeError, ValueError])
def test_errors_outside_of_building_pass(kind):
    raised = kind('x')
    with pytest.raises(kind) as error, build_errors():
        raise raised
    assert error.value is raised


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (ValueError('a\n   b\tc'), 'a b c'),
        (KeyError('key'), 'key'),  # str() of it has quotes
        (ValueError(), ''),
        (OSError(2, 'No such file'), '2'),
    ],
)
def test_one_line(error, line):
    assert one_line(error) == line


@PARTS.register_module()
class Opening:
    """Reads a file."""

    def __init__(self, path: str) -> None:
        with open(path) as file:
            self.content = file.read()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(type='torch.nn.Linear', in_features=-1, out_features=2), 'RuntimeError: .*negative'),
        (dict(type='fractions.Fraction', numerator=1, denominator=0), 'ZeroDivisionError'),
        (dict(type='torch.nn.Conv2d', in_channels='a', out_channels=2, kernel_size=1), '.'),
    ],
)
def test_whatever_a_library_raises_about_its_settings_names_the_part(settings, message):
    with pytest.raises(ConfigError, match=f'cannot be built, type=.*{message}') as error:
        build(settings)
    assert error.value.__cause__ is not None


def test_what_the_system_refuses_while_building_passes(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        build(dict(type='Opening', path=str(tmp_path / 'missing')))
    assert not isinstance(error.value, UserError)


def test_a_transform_that_cannot_use_its_settings_is_named():
    with pytest.raises(ConfigError, match="^a transform fails, type='Resize'"), build_errors():
        Compose([dict(type='Resize', scale=(-4, 0))])(dict(img=np.zeros((8, 8, 3), np.uint8)))
