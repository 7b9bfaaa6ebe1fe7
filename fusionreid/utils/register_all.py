"""All parts in their registries at once, as OpenMMLab's tools ask for them."""

from __future__ import annotations

from mmengine.registry import DefaultScope, Registry

from fusionreid import registry


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import all parts, so that ``module_dict`` of each registry lists them.

    A config needs no call of it: registries import their parts at the first lookup. MMEngine's hub
    calls it by this name.

    Args:
        init_default_scope: Whether types without a scope are looked up here from now on.

    Example:
        >>> register_all_modules(init_default_scope=False)
        >>> 'BNNeckHead' in registry.MODELS.module_dict
        True
    """
    for each in vars(registry).values():
        if isinstance(each, Registry):
            each.import_from_location()
    if init_default_scope:
        DefaultScope.get_instance(
            f'{registry.SCOPE}-{len(DefaultScope._instance_dict)}', scope_name=registry.SCOPE
        )
