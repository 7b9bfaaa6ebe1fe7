"""The linear scaling rule of the learning rate, and what counts as the batch of one update."""

from __future__ import annotations

from mmengine.runner import Runner

from fusionreid.errors import ConfigError


def scale_learning_rate(runner: Runner) -> None:
    """Scale the learning rate to the images behind one update, if ``auto_scale_lr.enable`` is set.

    The linear rule ("Accurate, Large Minibatch SGD", arXiv 1706.02677). It changes the ``lr`` of
    the optimizer's config, and all that is derived from it scales by the same factor: the rates of
    all parameter groups, and where ``WarmupCosineLR`` starts its warm-up and ends its cosine.
    mmengine's own scaling leaves out accumulated batches and scales the groups alone; this one
    replaces it.

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
    runner.auto_scale_lr = dict(rule, enable=False)
    total = images_of_an_update(runner)
    optimizer = runner.optim_wrapper['optimizer']
    base = optimizer['lr']
    optimizer['lr'] = base * total / rule['base_batch_size']
    if runner._resume:
        return  # that of the checkpoint is kept; this one is for the comparison
    runner.logger.info(
        f'learning rate {base:g} x {total} / {rule["base_batch_size"]} = {optimizer["lr"]:g}, for '
        f'{total} images an update'
    )


def images_of_an_update(runner: Runner) -> int:
    """Count the images behind one update: processes x batch x accumulated batches.

    Args:
        runner: The runner, for its config and its number of processes.

    Returns:
        Number of images.
    """
    config = runner.cfg
    accumulated = config.optim_wrapper.get('accumulative_counts', 1)
    return runner.world_size * config.train_dataloader.batch_size * accumulated
