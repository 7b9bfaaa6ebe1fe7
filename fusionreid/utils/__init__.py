"""Small and general helpers, with nothing of re-identification in them."""

from .register_all import register_all_modules

__all__ = ['register_all_modules']
