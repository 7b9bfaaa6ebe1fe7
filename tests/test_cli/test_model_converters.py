from __future__ import annotations

import json
import os

import pytest
import torch
from mmengine.config import Config
from small_models import SMALL_CNN, assert_same, build_random, fusion_model
from tiny_runs import ROOT
from warm_processes import run

from fusionreid.checkpoints.release import export_original_state
from fusionreid.cli.main import run_command
from fusionreid.registry import MODELS


@pytest.fixture
def folder(tmp_path):
    """A folder with a released state dict, ``released.pth``."""
    model = build_random(fusion_model(shared=()))
    original = export_original_state(model.state_dict())
    original['transformer.base.fc.weight'] = torch.randn(10, 64)
    torch.save(original, tmp_path / 'released.pth')
    return tmp_path


def convert(*arguments) -> None:
    run_command('convert', [str(argument) for argument in arguments])


def export(*arguments) -> None:
    run_command('convert-to-release', [str(argument) for argument in arguments])


def test_there_and_back_through_files(folder, capsys):
    original = torch.load(folder / 'released.pth', weights_only=True)
    wrapped = {f'module.{name}': value for name, value in original.items()}
    torch.save({'state_dict': wrapped, 'epoch': 180}, folder / 'wrapped.pth')
    convert(folder / 'wrapped.pth', folder / 'ours.pth', '--config', folder / 'ours.py')
    out = capsys.readouterr().out
    assert 'branches.cnn' in out
    assert 'res_LRU, former_LRU' in out
    assert 'total' in out
    assert 'without use, kept aside: transformer.base.fc.weight' in out

    cfg = Config.fromfile(folder / 'ours.py')
    assert cfg.default_scope == 'fusionreid'
    assert '_base_' not in (folder / 'ours.py').read_text()
    checkpoint = torch.load(folder / 'ours.pth', weights_only=True)
    model = MODELS.build(cfg.model)
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    assert model.num_classes == 5
    assert model.num_cameras == 3

    export(folder / 'ours.pth', folder / 'back.pth')
    assert 'not checked' not in capsys.readouterr().out
    assert_same(torch.load(folder / 'back.pth', weights_only=True), original)


def test_a_trained_model_is_exported_by_its_config(folder, capsys):
    cfg = Config(dict(model=fusion_model()))
    torch.save(dict(state_dict=build_random(cfg.model).state_dict()), folder / 'trained.pth')
    cfg.dump(str(folder / 'good.py'))
    export(folder / 'trained.pth', folder / 'out.pth', '--config', folder / 'good.py')
    assert 'not checked' not in capsys.readouterr().out
    export(folder / 'trained.pth', folder / 'unchecked.pth')
    assert 'not checked, for lack of a config' in capsys.readouterr().out
    assert (folder / 'out.pth').stat().st_size == (folder / 'unchecked.pth').stat().st_size
    Config(dict(model=fusion_model(cnn={**SMALL_CNN, 'stem': 'standard'}))).dump(
        str(folder / 'stem.py')
    )
    with pytest.raises(SystemExit, match="cnn: stem is 'standard', there 'release'"):
        export(folder / 'trained.pth', folder / 'no.pth', '--config', folder / 'stem.py')
    Config(dict(model=fusion_model(num_layers=3))).dump(str(folder / 'deep.py'))
    with pytest.raises(SystemExit, match='missing: HTM.blocks.2'):
        export(folder / 'trained.pth', folder / 'no.pth', '--config', folder / 'deep.py')
    with pytest.raises(SystemExit, match='there is no config file .*none.py'):
        export(folder / 'trained.pth', folder / 'no.pth', '--config', folder / 'none.py')
    (folder / 'none.py').write_text('x = 1')
    with pytest.raises(SystemExit, match='none.py has no model with branches'):
        export(folder / 'trained.pth', folder / 'no.pth', '--config', folder / 'none.py')
    with pytest.raises(SystemExit, match='different files'):
        export(folder / 'trained.pth', folder / 'trained.pth')
    assert not (folder / 'no.pth').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--stride', 12), '128 patches, but 256x128 at stride 12 has 21x10'),
        (('--input-size', 384, 128), '128 patches, but 384x128 at stride 12'),
        (('--num-cameras', 15), 'of 3 cameras, --num-cameras says 15'),
    ],
)
def test_options_that_contradict_the_weights(folder, options, message):
    with pytest.raises(SystemExit, match=message):
        convert(folder / 'released.pth', folder / 'ours.pth', *options)
    assert not (folder / 'ours.pth').exists()


@pytest.mark.parametrize(
    'options', [('--stride', 0), ('--input-size', -1, 128), ('--units', 'lru'), ('--input-size', 1)]
)
def test_impossible_options(folder, options):
    with pytest.raises(SystemExit) as error:
        convert(folder / 'released.pth', folder / 'ours.pth', *options)
    assert error.value.code == 2


def test_units_may_be_told(folder):
    arguments = ('--units', 'mfu', 'seu', '--input-size', 256, 128, '--stride', 16)
    config = folder / 'ours.py'
    convert(folder / 'released.pth', folder / 'ours.pth', *arguments, '--config', config)
    assert Config.fromfile(config).model.neck.units == ('mfu', 'seu')


def test_files_are_not_overwritten_by_mistake(folder):
    for arguments in (
        (folder / 'released.pth', folder / 'released.pth'),
        (folder / 'released.pth', folder / 'a', '--config', folder / 'a'),
        (folder / 'released.pth', folder / 'a', '--config', folder / 'released.pth'),
    ):
        with pytest.raises(SystemExit, match='have to be different files'):
            convert(*arguments)
    with pytest.raises(SystemExit, match='cannot be written'):
        convert(folder / 'released.pth', folder / 'released.pth' / 'below.pth')


def test_bad_files_end_in_one_line_and_a_code(folder):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(folder / 'ran'),)

    whole = (folder / 'released.pth').read_bytes()
    (folder / 'truncated.pth').write_bytes(whole[: len(whole) // 2])
    torch.save({'state_dict': Harmful()}, folder / 'harmful.pth')
    torch.save({'backbone.conv1.weight': torch.ones(1)}, folder / 'detector.pth')
    torch.save({'meta': {}, 'state_dict': {'backbone.a': torch.ones(1)}}, folder / 'mm.pth')
    diverged = torch.load(folder / 'released.pth', weights_only=True)
    diverged['res_LRU.ptconv.weight'] = diverged['res_LRU.ptconv.weight'] * torch.inf
    torch.save(diverged, folder / 'nan.pth')
    for name, message in (
        ('truncated.pth', 'damaged'),
        ('harmful.pth', 'would run posix.mkdir'),
        ('detector.pth', 'not weights of the released FusionReID code: backbone.conv1.weight'),
        ('mm.pth', 'not weights of the released FusionReID code: backbone.a'),
        ('nan.pth', 'nan.pth: res_LRU.ptconv.weight holds a NaN or infinite value'),
    ):
        with pytest.raises(SystemExit, match=message) as error:
            convert(folder / name, folder / 'ours.pth')
        assert str(error.value).startswith('error: ')
        assert '\n' not in str(error.value)
    with pytest.raises(SystemExit, match='does not have: backbone.a'):
        export(folder / 'mm.pth', folder / 'out.pth')
    assert not {'ran', 'ours.pth', 'out.pth'} & {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--units', 'seu', 'mfu', 'seu'], '--units seu mfu seu names a unit twice'),
        (['--input-size', '0', '128'], 'sizes and strides are positive'),
        (['--stride', '0'], 'sizes and strides are positive'),
        (['--num-cameras', '-1'], 'a number of cameras is not negative'),
    ],
)
def test_options_that_cannot_be(options, message, folder, capsys):
    with pytest.raises(SystemExit):
        convert(folder / 'released.pth', folder / 'no.pth', *options)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_tools_take_the_config_of_a_conversion_or_say_what_it_lacks(folder, tmp_path, capsys):
    config, weights = folder / 'ours.py', folder / 'ours.pth'
    convert(folder / 'released.pth', weights, '--config', config)
    capsys.readouterr()
    assert run_command('complexity', [str(config)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures['input_size'] == [256, 128]
    with pytest.raises(SystemExit, match='ours.py has no test_dataloader'):
        run_command('test', [str(config), str(weights), '--work-dir', str(tmp_path)])


@pytest.mark.slow
def test_from_the_shell(folder):
    printed = folder / 'printed.txt'
    script = ROOT / 'tools/model_converters/inspect_weights.py'
    assert run([script, folder / 'none.pth'], printed) == 1
    text = printed.read_text()
    assert text.splitlines()[-1].startswith(f'error: {folder}/none.pth: there is no such')
    assert 'Traceback' not in text


def test_inspection(folder, capsys):
    run_command('inspect', [str(folder / 'released.pth')])
    rows = dict(line.split('  ', 1) for line in capsys.readouterr().out.splitlines())
    assert rows['model'].strip() == "FusionReID, the authors' released names"
    assert rows['identities'].strip() == '5'
    assert 'units seu mfu, nothing shared' in rows['neck']
