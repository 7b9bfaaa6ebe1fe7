"""Errors that a user can mend: the command-line tools show their message without a traceback."""


class UserError(Exception):
    """Base of all of them; the message names the offending value and what to do."""


class ConfigError(UserError, ValueError):
    """Settings that contradict each other, the data or the checkpoint."""


class ScoringError(UserError, ValueError):
    """Features that cannot be scored, or scores that cannot be kept."""
