"""MMEngine's experiment trackers get the scores and losses of a training."""

from __future__ import annotations

import pytest
from tiny_runs import render_tiny, write_tiny_config

from fusionreid.cli.main import run_command


@pytest.mark.slow
def test_mlflow_keeps_losses_scores_and_the_config(tmp_path, monkeypatch):
    """The package mlflow, or mlflow-skinny, which has no server, has to be installed."""
    mlflow = pytest.importorskip('mlflow')
    # A folder is refused unless this is set.
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    backend = "visualizer['vis_backends'].append(dict(type='MLflowVisBackend', exp_name='reid'))"
    config = write_tiny_config(tmp_path, render_tiny(tmp_path / 'data'), extra=backend)
    run_command('train', [str(config), '--work-dir', str(tmp_path / 'run')])
    (folder,) = tmp_path.glob('run/*/vis_data')
    mlflow.set_tracking_uri(f'file://{folder}')
    (run,) = mlflow.search_runs(experiment_names=['reid'], output_format='list')
    assert run.info.status == 'FINISHED'
    assert 0 < run.data.metrics['reid/mAP'] <= 100
    assert run.data.metrics['cnn.loss_id'] > 0
    assert run.data.params['optim_wrapper.optimizer.type'] == 'AdamW'
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, 'reid/mAP')
    assert [point.step for point in history] == [1, 2]
