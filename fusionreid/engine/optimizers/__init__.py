from .amp_optim_wrapper import ReIDAmpOptimWrapper
from .layer_decay import LayerDecayParamGroups
from .lr_scaling import scale_learning_rate
from .merged_param_groups import MergedParamGroups, merge_param_groups

__all__ = [
    'LayerDecayParamGroups',
    'MergedParamGroups',
    'ReIDAmpOptimWrapper',
    'merge_param_groups',
    'scale_learning_rate',
]
