"""Numbers of identities and cameras that a config leaves to the training set."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from fusionreid.registry import DATASETS


def open_counts(model: dict[str, Any]) -> list[str]:
    """Find the counts that the config of a model leaves open (None).

    Args:
        model: Config of :class:`~fusionreid.models.FusionReID`.

    Returns:
        Their dotted names in a whole config.

    Example:
        >>> open_counts(dict(head=dict(num_classes=None), branches=dict()))
        ['model.head.num_classes']
    """
    found = []
    if (model.get('head') or {}).get('num_classes', 0) is None:
        found.append('model.head.num_classes')
    for name, branch in (model.get('branches') or {}).items():
        if branch and branch['backbone'].get('num_cameras', 0) is None:
            found.append(f'model.branches.{name}.backbone.num_cameras')
    return found


def take_counts(cfg: Config, model: dict[str, Any]) -> None:
    """Take counts that a config leaves open from the config of the same model, trained.

    Args:
        cfg: Config to change.
        model: Config of the trained model; what it does not say stays open.

    Example:
        >>> cfg = Config(dict(model=dict(head=dict(num_classes=None))))
        >>> take_counts(cfg, dict(head=dict(num_classes=751)))
        >>> cfg.model.head.num_classes
        751
    """
    for name in open_counts(cfg.model):
        known: Any = dict(model=model)
        for part in name.split('.'):
            known = known.get(part) if isinstance(known, dict) else None
        if isinstance(known, int):
            cfg.merge_from_dict({name: known})


def fill_in_counts(cfg: Config) -> dict[str, int]:
    """Take counts that a config leaves open from its training set.

    The configs for custom data leave them open; the config that is saved in the work dir has them.

    Args:
        cfg: Config to change.

    Returns:
        The counts that were filled in, by dotted name.

    Raises:
        DatasetError: If the training set cannot be read.
    """
    names = open_counts(cfg.model)
    if not names:
        return {}
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[]))
    dataset.full_init()
    counts = {
        name: dataset.metainfo['num_ids' if name.endswith('num_classes') else 'num_cameras']
        for name in names
    }
    cfg.merge_from_dict(counts)
    return counts
