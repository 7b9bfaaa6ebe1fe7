"""Whether a run can be resumed from a checkpoint, what is kept of it, and what changes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from fusionreid.config.literals import read_literals
from fusionreid.errors import ConfigError
from fusionreid.registry import HOOKS
from fusionreid.utils.tables import format_table

from .. import resuming
from ..optimizers.lr_scaling import images_of_an_update
from ..resuming import CHANGES, KEPT, Difference
from .resumable_checkpoint_hook import validation_is_owed


@HOOKS.register_module()
class ResumeReportHook(Hook):
    """Says what a resumed run keeps of the checkpoint and what changes, or why it cannot resume.

    A run is continued exactly on as many processes as wrote the checkpoint, so their number is
    saved with it, and so are the parameters of the optimizer's groups. Nothing in the checkpoint
    is executed: its config is read as literal values.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the number of processes, and the names of the optimizer's parameters.

        Args:
            runner: The runner.
            checkpoint: What will be saved; changed in place.
        """
        checkpoint['meta']['world_size'] = runner.world_size
        if 'optimizer' in checkpoint and isinstance(runner.optim_wrapper, OptimWrapper):
            checkpoint['meta']['param_groups'] = _names_by_group(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Compare what is resumed with this run.

        Args:
            runner: The runner, with its optimizer and its schedule built.
            checkpoint: What was loaded.

        Raises:
            ConfigError: If the checkpoint holds weights, but not where the training stood, or what
                this config cannot go on with.
        """
        if not runner._resume:
            return
        _refuse_lacking(runner, checkpoint)
        way_out = (
            'start a new training with its weights: without --resume, with --cfg-options '
            f'load_from={runner._load_from}'
        )
        saved, current = _read_configs(runner, checkpoint['meta'])
        differences = _compare_optimizer(runner, checkpoint, saved, way_out)
        differences += _compare_runs(runner, checkpoint['meta'])
        if saved is not None:
            differences += resuming.compare_configs(saved, current)
            differences = _forget_other_best(checkpoint, saved, current, differences)
        if not differences:
            return
        text = format_table(
            [('setting', 'checkpoint', 'this config', 'what happens'), *differences]
        )
        kept = any(difference.effect == KEPT for difference in differences)
        runner.logger.warning(
            f'{runner._load_from} was written with other settings:\n{text}'
            + (f'\nTo train with the values of this config instead, {way_out}' if kept else '')
        )

    def before_train(self, runner: Runner) -> None:
        """Say so if the training is finished already.

        Args:
            runner: The runner, with its training loop built.
        """
        loop = runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        done, total = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if done >= total and not (runner._resume and validation_is_owed(runner)):
            runner.logger.warning(
                f'nothing to do: {runner._load_from} is at the end of training, '
                f'{"epoch" if by_epoch else "iteration"} {done} of {total}'
            )


def _names_by_group(runner: Runner) -> list[list[str]]:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = runner.optim_wrapper.optimizer.param_groups
    return [[names[id(parameter)] for parameter in group['params']] for group in groups]


def _refuse_lacking(runner: Runner, checkpoint: dict[str, Any]) -> None:
    needed = ['meta', 'optimizer', 'message_hub']
    if runner.param_schedulers:
        needed.append('param_schedulers')
    lacks = [key for key in needed if key not in checkpoint]
    if lacks:
        raise ConfigError(
            f'{runner._load_from} cannot be resumed, it lacks {", ".join(lacks)}: resume from '
            'an epoch_<n>.pth of the run, or start a new training with its weights, '
            f'--cfg-options load_from={runner._load_from}'
        )


def _read_configs(
    runner: Runner, meta: dict[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The settings of the checkpoint's config, None if they cannot be read, and of this run's."""
    texts = (str(meta.get('cfg', '')), runner.cfg.pretty_text)
    try:
        saved, current = (
            read_literals(text, resuming.SECTIONS, str(runner._load_from)) for text in texts
        )
    except ConfigError as error:
        runner.logger.warning(f'the settings of the two configs are not compared: {error}')
        return None, {}
    return saved or None, current


def _compare_optimizer(
    runner: Runner, checkpoint: dict[str, Any], saved: dict[str, Any] | None, way_out: str
) -> list[Difference]:
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapper):
        return []  # several optimizers
    settings = saved or {}
    kind = _find(settings, 'optim_wrapper', 'optimizer', 'type')
    kind = kind and str(kind).rpartition('.')[2]
    state = checkpoint['optimizer']
    # Gradients of the batches before the first update are accumulated alone.
    has_stepped = checkpoint['meta'].get('iter', 0) >= wrapper._accumulative_counts
    resuming.refuse_other_optimizer(wrapper.optimizer, state, kind, has_stepped, way_out)
    resuming.refuse_other_members(
        _names_by_group(runner), checkpoint['meta'].get('param_groups'), way_out
    )
    return resuming.compare_options(wrapper.optimizer, state) + resuming.compare_schedules(
        runner.param_schedulers or [],
        checkpoint.get('param_schedulers') or [],
        resuming.kinds_of(settings['param_scheduler']) if 'param_scheduler' in settings else None,
        way_out,
    )


def _compare_runs(runner: Runner, meta: dict[str, Any]) -> list[Difference]:
    """Compare the seed, which is kept here, and the number of processes."""
    found = []
    seed, wanted = meta.get('seed'), runner._randomness_cfg.get('seed')
    if seed is not None:
        # MMEngine restores the seed of the run alone; the sampler was built with the config's.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = seed
        if wanted not in (None, seed):
            found.append(Difference('randomness.seed', str(seed), str(wanted), KEPT))
    processes = meta.get('world_size')
    if processes not in (None, runner.world_size):
        images = images_of_an_update(runner)
        found.append(
            Difference(
                'number of processes',
                str(processes),
                str(runner.world_size),
                f'{CHANGES}: other batches and random draws, {images} images an update',
            )
        )
    return found


def _find(settings: Any, *names: str) -> Any:
    """A setting inside others; None if it is not there."""
    for name in names:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


def _forget_other_best(
    checkpoint: dict[str, Any],
    saved: dict[str, Any],
    current: dict[str, Any],
    differences: list[Difference],
) -> list[Difference]:
    """Forget the best score so far if another score is to be the best from here on."""
    name = 'default_hooks.checkpoint.save_best'
    before, now = (
        _find(part, 'default_hooks', 'checkpoint', 'save_best') for part in (saved, current)
    )
    if before == now or None in (before, now):
        return differences
    info = checkpoint['message_hub'].get('runtime_info', {})
    for key in [key for key in info if str(key).startswith(('best_score', 'best_ckpt'))]:
        del info[key]
    return [
        each._replace(effect=f'{CHANGES}: the best so far is forgotten')
        if each.setting == name
        else each
        for each in differences
    ]
