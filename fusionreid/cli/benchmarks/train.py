"""Measure how fast a model trains.

    fusionreid benchmark train CONFIG

Prints one JSON line; see docs/speed.md. The steps are those of training, without logs, hooks and
checkpoints. Weights are random.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator

import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper

from fusionreid.errors import ConfigError

from ..runner_config import set_precision
from .instruments import PhaseTimer
from .model_speed import SpeedRun, add_speed_arguments, prepare
from .records import Record, print_records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_speed_arguments(parser)


def build_optimizer(run: SpeedRun, plain: bool) -> OptimWrapper:
    """Build the config's optimizer, or its plain form.

    The plain form has a group for each parameter, updated one after the other.

    Args:
        run: Config and model.
        plain: Whether to build the plain form.

    Returns:
        The optimizer in its wrapper.
    """
    cfg = run.cfg.optim_wrapper.to_dict()
    if plain:
        cfg['constructor'] = 'DefaultOptimWrapperConstructor'
        # mmengine makes groups as soon as there are rules for them.
        cfg['paramwise_cfg'] = cfg.get('paramwise_cfg') or dict(custom_keys={})
        known = inspect.signature(getattr(torch.optim, cfg['optimizer']['type'])).parameters
        loops = {name: False for name in ('foreach', 'fused') if name in known}
        cfg['optimizer'] = {**cfg['optimizer'], **loops}
    return build_optim_wrapper(run.model, cfg)


def build_step(run: SpeedRun, plain: bool) -> Callable[[PhaseTimer], None]:
    """Make a training step, split into its phases.

    Args:
        run: Config, model and batches.
        plain: Whether the step updates by the plain form of the optimizer.

    Returns:
        Function that does one step and tells the timer its phases: data, forward, backward and
        optimizer.
    """
    model = run.model.train()
    optimizer = build_optimizer(run, plain)
    # What another form of the step has accumulated is not this one's.
    optimizer.zero_grad()

    def step(timer: PhaseTimer) -> None:
        with optimizer.optim_context(model):
            with timer.phase('data'):
                data = model.data_preprocessor(run.next_batch(), True)
            with timer.phase('forward'):
                loss, _ = model.parse_losses(model(**data, mode='loss'))
        with timer.phase('backward'):
            optimizer.backward(optimizer.scale_loss(loss))
        with timer.phase('optimizer'):
            if optimizer.should_update():
                optimizer.step()
                optimizer.zero_grad()

    return step


def measure(args: argparse.Namespace) -> Iterator[Record]:
    """Measure as the arguments say.

    Yields:
        The figures.

    Raises:
        ConfigError: If the config trains nothing.
    """
    speed = prepare(args, 'train_dataloader')
    if 'optim_wrapper' not in speed.cfg:
        raise ConfigError(f'{args.config} trains nothing')
    set_precision(speed.cfg, args.precision)
    # A backward pass multiplies twice as much as the forward pass.
    yield speed.report(3, lambda plain: build_step(speed, plain))


def run(args: argparse.Namespace) -> None:
    """Print the figures."""
    print_records(measure(args))
