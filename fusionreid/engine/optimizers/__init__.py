from .amp_optim_wrapper import ReIDAmpOptimWrapper

__all__ = ['ReIDAmpOptimWrapper']
