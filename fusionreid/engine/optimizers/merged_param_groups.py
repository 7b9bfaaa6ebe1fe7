"""How parameters are grouped for the optimizer, and which saved states of it are accepted."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn
from torch.optim import Optimizer

from fusionreid.errors import ConfigError
from fusionreid.registry import OPTIM_WRAPPER_CONSTRUCTORS

# Multiples of the base values that a group's own `lr` and `weight_decay` already contain.
MULTIPLES = ('lr_mult', 'decay_mult')
FUSED_DEVICES = ('cuda', 'cpu')


def merge_param_groups(
    groups: Iterable[dict[str, Any]], defaults: dict[str, Any]
) -> list[dict[str, Any]]:
    """Join parameter groups whose options are all equal.

    An optimizer updates every parameter by the options of its group alone, so the update is that of
    the separate groups. The order is that of the first member of each group, and within a group
    that of the input.

    Args:
        groups: Groups in torch's form: ``params`` and options.
        defaults: Options of the optimizer; a group without one of them has the default.

    Returns:
        The joined groups, each with all of its options.

    Raises:
        ConfigError: If a parameter comes twice.

    Example:
        >>> weights = [torch.zeros(size) for size in (2, 3, 4)]
        >>> groups = [dict(params=[weight], lr=lr) for weight, lr in zip(weights, (0.1, 0.2, 0.1))]
        >>> merged = merge_param_groups(groups, dict(lr=0.1, weight_decay=0.0))
        >>> [(len(group['params']), group['lr']) for group in merged]
        [(2, 0.1), (1, 0.2)]
    """
    merged: list[tuple[dict[str, Any], list[Tensor]]] = []
    seen: set[Tensor] = set()
    for group in groups:
        options = defaults | {
            name: value
            for name, value in group.items()
            if name != 'params' and name not in MULTIPLES
        }
        members = next((params for known, params in merged if known == options), None)
        if members is None:
            members = []
            merged.append((options, members))
        if not seen.isdisjoint(group['params']):
            raise ConfigError(
                'a parameter that two modules share would be updated twice: set '
                'optim_wrapper.paramwise_cfg.bypass_duplicate=True'
            )
        seen.update(group['params'])
        members.extend(group['params'])
    return [dict(params=members, **options) for options, members in merged]


def fused_option(optimizer: type[Optimizer], parameters: Iterable[Tensor]) -> dict[str, bool]:
    """Return ``fused=True`` where one kernel can update all parameters.

    Where it cannot, torch's own choice stays: ``foreach`` on a GPU, a loop on a CPU (where
    ``foreach`` is slower than the loop).

    Args:
        optimizer: Class of the optimizer.
        parameters: What it will update.

    Returns:
        Arguments to add to the optimizer's own.

    Example:
        >>> fused_option(torch.optim.SGD, [torch.zeros(2)])
        {'fused': True}
        >>> fused_option(torch.optim.Adadelta, [torch.zeros(2)])
        {}
    """
    fits = all(
        parameter.device.type in FUSED_DEVICES and parameter.is_floating_point()
        for parameter in parameters
    )
    return dict(fused=True) if fits and 'fused' in inspect.signature(optimizer).parameters else {}


def refuse_other_groups(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Refuse the saved state of an optimizer whose parameters are grouped in another way.

    Args:
        optimizer: Optimizer of this run.
        state: State dict that is to be loaded into it.

    Raises:
        ConfigError: If number or sizes of the groups differ.
    """
    ours = [len(group['params']) for group in optimizer.param_groups]
    saved = [len(group['params']) for group in state['param_groups']]
    if ours == saved:
        return
    message = (
        f'the checkpoint groups the parameters of its optimizer as {_sizes(saved)}, this config '
        f'as {_sizes(ours)}'
    )
    if sum(ours) == sum(saved) == len(saved):
        message += (
            ': it was written with a group for each parameter; resume it with --cfg-options '
            'optim_wrapper.constructor=DefaultOptimWrapperConstructor'
        )
    else:
        message += (
            ': resume it with the optim_wrapper that it was trained with, or start from its '
            'weights alone with --cfg-options load_from=CHECKPOINT and without --resume'
        )
    raise ConfigError(message)


def _sizes(groups: list[int]) -> str:
    shown = ' + '.join(map(str, groups[:4])) + (' + ...' if len(groups) > 4 else '')
    return f'{len(groups)} group(s) of {shown}'


def follow_memory_layout(optimizer: Optimizer) -> None:
    """Lay the optimizer's state out in memory as its parameters are.

    Torch's fused kernels walk through memory without looking at strides: a momentum that was saved
    by a model in the usual layout would update the wrong weights of one in channels-last layout.

    Args:
        optimizer: Optimizer whose state was loaded.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if (
                torch.is_tensor(value)
                and value.shape == parameter.shape
                and value.stride() != parameter.stride()
            ):
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def keep_implementation(optimizer: Optimizer) -> None:
    """Take the implementation that this run asks for, not that of the run that was saved.

    Args:
        optimizer: Optimizer whose state was loaded.
    """
    for group in optimizer.param_groups:
        for name in ('fused', 'foreach'):
            if name in group and name in optimizer.defaults:
                group[name] = optimizer.defaults[name]


def describe_groups(optimizer: Optimizer) -> str:
    """Summarize the parameter groups of an optimizer in one line.

    Args:
        optimizer: The optimizer.

    Returns:
        Learning rate, weight decay and size of each group.

    Example:
        >>> weight = torch.zeros(3, 4, requires_grad=True)
        >>> describe_groups(torch.optim.SGD([weight], lr=0.1))
        '1 parameter group: lr 0.1, weight decay 0 (12 parameters in 1 tensors)'
    """
    groups = [
        f'lr {group["lr"]:g}, weight decay {group.get("weight_decay", 0):g} '
        f'({sum(tensor.numel() for tensor in group["params"]):,} parameters in '
        f'{len(group["params"])} tensors)'
        for group in optimizer.param_groups
    ]
    return f'{len(groups)} parameter group{"s" * (len(groups) > 1)}: {"; ".join(groups)}'


@contextmanager
def _single_options_unlogged() -> Iterator[None]:
    """Leave mmengine's line for each option of each parameter out of the log."""
    logger = MMLogger.get_current_instance()

    def is_wanted(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith('paramwise_options -- ')

    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedParamGroups(DefaultOptimWrapperConstructor):
    """mmengine's constructor with one group for all parameters of equal options, and fused updates.

    mmengine gives each parameter a group of its own as soon as there is a ``paramwise_cfg``. Here
    all rules of ``paramwise_cfg`` are kept and the groups joined, see :func:`merge_param_groups`.
    Of the options of all parameters, which mmengine logs in a line each, the log has a summary.
    Unless the optimizer's config has ``fused`` or ``foreach``, torch's fused implementation is
    taken where there is one. State that does not fit the groups is refused.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper, with ``optimizer``.
        paramwise_cfg: As in mmengine.
    """

    optimizer_cfg: dict[str, Any]

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add a module's parameters to the groups; called for every submodule, the whole last.

        Args:
            params: Groups so far; changed in place.
            module: The module.
            prefix: Its name in the model; empty for the whole.
            **kwargs: What mmengine's method takes besides.
        """
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:
            self.finish_groups(params, module)
            defaults = {key: value for key, value in self.optimizer_cfg.items() if key != 'type'}
            params[:] = merge_param_groups(params, defaults)

    def finish_groups(self, groups: list[dict[str, Any]], model: nn.Module) -> None:
        """Change the groups of the single parameters before they are joined; does nothing here.

        Args:
            groups: A group for each parameter; changed in place.
            model: The model.
        """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of a model.

        Args:
            model: The model, wrapped for several processes or not.

        Returns:
            The optimizer wrapper.

        Raises:
            ConfigError: If there is no such optimizer.
        """
        if not self.optimizer_cfg.keys() & {'fused', 'foreach'}:
            with OPTIMIZERS.switch_scope_and_registry(None) as registry:
                kind = self.optimizer_cfg['type']
                kind = registry.get(kind) if isinstance(kind, str) else kind
            if kind is None:
                raise ConfigError(
                    f'optim_wrapper.optimizer.type={self.optimizer_cfg["type"]!r}: there is no '
                    'such optimizer'
                )
            option = fused_option(kind, model.parameters())
            self.optimizer_cfg = dict(self.optimizer_cfg, **option)
        with _single_options_unlogged():
            wrapper = super().__call__(model)
        if self.paramwise_cfg:
            print_log(describe_groups(wrapper.optimizer), logger='current')
        wrapper.optimizer.register_load_state_dict_pre_hook(refuse_other_groups)
        wrapper.optimizer.register_load_state_dict_post_hook(keep_implementation)
        wrapper.optimizer.register_load_state_dict_post_hook(follow_memory_layout)
        return wrapper
