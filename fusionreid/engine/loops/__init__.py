from .cross_domain_test_loop import CrossDomainTestLoop
from .interruptible import make_interruptible
from .interruptible_iter_train_loop import InterruptibleIterTrainLoop
from .interruptible_train_loop import InterruptibleTrainLoop

__all__ = [
    'CrossDomainTestLoop',
    'InterruptibleIterTrainLoop',
    'InterruptibleTrainLoop',
    'make_interruptible',
]
