from __future__ import annotations

from mmengine.runner import Runner

from fusionreid.errors import ConfigError


def scale_learning_rate(runner: Runner) -> None:
    """Scale the learning rate to the images behind one update, if ``auto_scale_lr.enable`` is set.

    The linear rule ("Accurate, Large Minibatch SGD", arXiv 1706.02677). mmengine's own scaling
    leaves out the batches that are accumulated; this one replaces it.

    Args:
        runner: The runner, before its training starts.

    Raises:
        ConfigError: If the config does not say for which batch its learning rate is.
    """
    rule = runner.auto_scale_lr or {}
    if not rule.get('enable', False):
        return
    if not rule.get('base_batch_size'):
        raise ConfigError(
            'the config does not say for which batch its learning rate is: set '
            'auto_scale_lr.base_batch_size'
        )
    wrapper = runner.optim_wrapper
    batch_size = runner.cfg.train_dataloader.batch_size
    accumulated = wrapper.get('accumulative_counts', 1)
    total = runner.world_size * batch_size * accumulated
    base = wrapper['optimizer']['lr']
    wrapper['optimizer']['lr'] = base * total / rule['base_batch_size']
    runner.auto_scale_lr = dict(rule, enable=False)
    runner.logger.info(
        f'learning rate {base:g} x {total} / {rule["base_batch_size"]} = '
        f'{wrapper["optimizer"]["lr"]:g}, for {total} images an update: {runner.world_size} '
        f'process(es) x batches of {batch_size} x {accumulated} accumulated'
    )
