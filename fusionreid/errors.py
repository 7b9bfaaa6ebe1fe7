"""All errors that a user can mend: the command line shows their message without a traceback."""


class UserError(Exception):
    """Base of all of them; the message names the offending value and what to do.

    A data loader raises what happened in a worker once more, with the worker's traceback as its
    message; of that only the original message is kept.

    Args:
        message: What is wrong, in one line.
        *args: Further arguments, kept in ``args`` as every exception keeps them.

    Example:
        >>> try:
        ...     raise ConfigError('max_epochs must be at least 1, got 0')
        ... except UserError as error:
        ...     print(f'error: {error}')
        error: max_epochs must be at least 1, got 0
    """

    def __init__(self, message: str = '', *args: object) -> None:
        if str(message).startswith('Caught ') and 'Original Traceback' in message:
            message = message.rpartition(f'{type(self).__name__}: ')[2].strip()
        super().__init__(message, *args)


class ConfigError(UserError, ValueError):
    """Settings that contradict each other, the data or the checkpoint."""


class DatasetError(UserError):
    """Base of what can be wrong with a data set on disk."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """A data set's root, one of its folders, its lists or a listed image does not exist."""


class DatasetFormatError(DatasetError, ValueError):
    """A data set is there, but a file name, a list or a table in it does not say what it must."""


class DatasetExistsError(DatasetError, FileExistsError):
    """A folder that a data set is to be written to holds something else."""


class ImageDecodeError(DatasetError, ValueError):
    """A file that should be an image cannot be decoded completely."""


class WeightsError(UserError, ValueError):
    """A weight file that cannot be read, or does not fit, and what to do about it."""


class UnknownWeightsError(WeightsError, KeyError):
    """Weights whose names are not those expected; the message gives the first of them."""

    # A KeyError would print its message as a quoted key.
    __str__ = Exception.__str__


class InvalidLossError(UserError, ArithmeticError):
    """A loss is NaN or infinite: what is trained from here on is worthless."""


class ScoringError(UserError, ValueError):
    """Features that cannot be scored, or scores that cannot be kept."""


class FeaturesNotFoundError(ScoringError, FileNotFoundError):
    """A folder in which there are no saved features."""


class UnknownFeatureError(ScoringError, KeyError):
    """A name that no feature of the set or the model has."""

    __str__ = Exception.__str__


class ExplainError(UserError, ValueError):
    """A model, feature or image that no map can be made of, and why."""


class InferenceError(UserError, ValueError):
    """An input that is no image, or a model that gives it no usable feature."""


class ExportError(UserError, ValueError):
    """A model that cannot be exported, or an exported one that cannot be used, and why."""


class GalleryError(UserError, ValueError):
    """Something that a gallery cannot take, find or read, and what to do about it."""


class CalibrationError(UserError, ValueError):
    """Rates that cannot be measured, or are not of the features at hand."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training that was stopped from outside has saved where it stands; no error.

    The exit status of the process is ``status``, as a shell gives it: 128 + signal.

    Args:
        signal: Number of the signal that it received.
        message: Where it stopped and how to go on.
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + signal


class CommandError(UserError, RuntimeError):
    """A command that another command runs has failed, or was ended because another one did."""


class ProcessLostError(UserError, RuntimeError):
    """Another process of the same training was stopped, killed or cut off."""
