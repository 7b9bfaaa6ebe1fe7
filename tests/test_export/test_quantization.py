"""Models in int8: exported, scored, refused, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from gallery_commands import call, failure

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.main import run_command
from fusionreid.export.quantization import QuantizationLoss
from fusionreid.runtimes import read_export


@pytest.mark.slow
def test_int8_is_scored_and_near_to_the_checkpoint(
    config: Path,
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'int8'
    options = ['--precision', 'int8', '--max-drop', '100', '--data-root', data]
    call('export', config, checkpoint, '-o', out, '--format', 'openvino', *options)
    printed = capsys.readouterr().out
    manifest = read_export(out)
    assert manifest.precision == 'int8'
    loss = manifest.parity['quantization']
    assert loss['decides'] == 'all'
    assert set(loss['before']) == {*manifest.features, 'all'}
    assert f'{loss["before"]["all"]:.2f}' in printed
    assert loss['calibration_images'] > 16
    assert 0.9 < loss['cosine'] < 1
    # It takes the place of its checkpoint, nearly.
    images = sorted((data / 'query').glob('*.jpg'))[:5]
    cameras = [0, -1, 2, 1, 0]
    found = FeatureExtractor(out).extract(images, cameras)
    expected = FeatureExtractor(checkpoint).extract(images, cameras)
    assert (found * expected).sum(1).min() > 0.9
    assert (found - expected).abs().max() > 1e-6
    assert sorted(path.name for path in tmp_path.iterdir()) == ['int8']


def make_loss(before: float, after: float, max_drop: float) -> QuantizationLoss:
    return QuantizationLoss(
        labeled='9 images of X',
        images=9,
        calibration='20 images',
        calibration_images=20,
        max_drop=max_drop,
        decides='all',
        before=dict(cnn=10.0, all=before),
        after=dict(cnn=0.0, all=after),
        cosine=0.99,
    )


def test_the_loss_of_the_whole_embedding_decides() -> None:
    assert make_loss(80, 79.75, 0.25).find_failure() is None
    assert make_loss(80, 81, 0).find_failure() is None
    assert 'loses 1.25 points of mAP (all: 80.00 to 78.75)' in str(
        make_loss(80, 78.75, 0.5).find_failure()
    )
    # What cannot be scored is not accepted.
    assert make_loss(80, float('nan'), 0.5).find_failure() is not None


@pytest.mark.slow
def test_what_loses_too_much_leaves_nothing_behind(
    config: Path,
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[QuantizationLoss] = []

    def drop(self: QuantizationLoss) -> float:
        found.append(self)
        return 3.0

    monkeypatch.setattr(QuantizationLoss, 'drop', property(drop))
    options = ['--precision', 'int8', '--calibration', data / 'bounding_box_train']
    line = failure(
        'export', config, checkpoint, '-o', tmp_path / 'out', '--format', 'onnx', *options
    )
    assert 'int8 loses 3.00 points of mAP' in line
    assert 'at most 0.5 are accepted, nothing is kept' in line
    assert not list(tmp_path.iterdir())
    assert 0.9 < found[0].cosine < 1


def test_what_cannot_be_quantized_is_said_in_a_line_before_the_work(
    config: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ['-o', tmp_path / 'out', '--precision', 'int8']
    assert 'onnx and openvino' in failure(
        'export', config, checkpoint, *out, '--format', 'torchscript'
    )
    assert 'from 0 to 100' in failure('export', config, checkpoint, *out, '--max-drop', '-1')
    assert 'from 0 to 100' in failure('export', config, checkpoint, *out, '--max-drop', 'nan')
    assert 'absent' in failure(
        'export', config, checkpoint, *out, '--data-root', tmp_path / 'absent'
    )
    without = tmp_path / 'without.py'
    without.write_text(config.read_text() + '\ntest_dataloader = None\n')
    assert 'has no test_dataloader' in failure('export', without, checkpoint, *out)
    for arguments, said in (
        (['-', checkpoint, *out], 'name the config'),
        ([config, checkpoint, '-o', tmp_path / 'out', '--max-drop', '1'], 'needs --precision int8'),
    ):
        with pytest.raises(SystemExit):
            run_command('export', [str(argument) for argument in arguments])
        assert said in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
