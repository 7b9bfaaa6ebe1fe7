"""Errors that a user can mend: the command-line tools show their message without a traceback."""


class UserError(Exception):
    """Base of all of them; the message names the offending value and what to do.

    A data loader raises what happened in a worker once more, with the worker's traceback as its
    message; of that only the message is kept.
    """

    def __init__(self, message: str = '', *args: object) -> None:
        if str(message).startswith('Caught ') and 'Original Traceback' in message:
            message = message.rpartition(f'{type(self).__name__}: ')[2].strip()
        super().__init__(message, *args)


class ConfigError(UserError, ValueError):
    """Settings that contradict each other, the data or the checkpoint."""


class ScoringError(UserError, ValueError):
    """Features that cannot be scored, or scores that cannot be kept."""
