from .headline_log_processor import HeadlineLogProcessor

__all__ = ['HeadlineLogProcessor']
