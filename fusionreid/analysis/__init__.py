from .complexity import Complexity, build_on_meta, count_parameters, measure_complexity

__all__ = ['Complexity', 'build_on_meta', 'count_parameters', 'measure_complexity']
