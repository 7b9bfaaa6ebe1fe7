"""The order of features, where it is not that of the alphabet."""

from __future__ import annotations

import pytest
import torch
from tiny_runs import put_transformer_first, write_tiny_config

from fusionreid.apis import FeatureExtractor
from fusionreid.cli.main import run_command


@pytest.mark.slow
def test_a_checkpoint_alone_has_the_order_that_was_trained(data, tmp_path):
    config = put_transformer_first(write_tiny_config(tmp_path, data))
    work_dir = tmp_path / 'run'
    arguments = ['--work-dir', str(work_dir), '--no-validate']
    run_command('train', [str(config), *arguments, '--cfg-options', 'train_cfg.max_epochs=1'])
    photos = [str(path) for path in sorted((data / 'query').glob('*.jpg'))[:2]]
    checkpoint = work_dir / 'epoch_1.pth'
    trained = FeatureExtractor(checkpoint, config)
    assert list(trained.model.feature_widths)[:3] == ['transformer', 'cnn', 'transformer_refined']
    expected = trained.extract(photos)
    # Of its own, of the copy in the work dir, and of an index that was made with it.
    for saved in (None, work_dir / config.name, trained.spec.config):
        read = FeatureExtractor(checkpoint, saved)
        assert list(read.model.feature_widths) == list(trained.model.feature_widths)
        assert torch.equal(read.extract(photos), expected)
