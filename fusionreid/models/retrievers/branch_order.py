"""The order of a model's branches, in which their features are put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionreid.errors import ConfigError


def order_branches(branches: Mapping[str, Any], order: Sequence[str] | None) -> list[str]:
    """Put the names of branches in order.

    Args:
        branches: Configs of the branches by name.
        order: Names that come first, in this order; None for the order of ``branches``.

    Returns:
        All names.

    Raises:
        ConfigError: If a name in ``order`` is not that of a branch.

    Example:
        >>> order_branches(dict(cnn={}, third={}, transformer={}), ['transformer', 'cnn'])
        ['transformer', 'cnn', 'third']
    """
    for name in order or ():
        if name not in branches:
            raise ConfigError(
                f'branch_order names {name!r}, which is not among the branches {list(branches)}: '
                'leave it out'
            )
    return list(dict.fromkeys([*(order or ()), *branches]))


def keep_branch_order(model: dict[str, Any]) -> None:
    """Write the order of the branches into a config, where saving the config would lose it.

    MMEngine sorts the names in a config when it writes it into a checkpoint or a work dir. Lists
    stay as they are.

    Args:
        model: Config of a :class:`~fusionreid.models.FusionReID`, to change.

    Raises:
        ConfigError: If the config has an order that does not fit its branches.

    Example:
        >>> model = dict(branches=dict(transformer={}, cnn={}))
        >>> keep_branch_order(model)
        >>> model['branch_order']
        ['transformer', 'cnn']
    """
    order = order_branches(model['branches'], model.get('branch_order'))
    if order != sorted(order):
        model['branch_order'] = order
