from .cross_domain_test_loop import CrossDomainTestLoop

__all__ = ['CrossDomainTestLoop']
