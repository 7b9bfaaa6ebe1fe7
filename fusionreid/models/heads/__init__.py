from .bnneck_head import BNNeck, BNNeckHead

__all__ = ['BNNeck', 'BNNeckHead']
