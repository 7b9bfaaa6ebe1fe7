"""What can be wrong with a data set on disk."""

from fusionreid.errors import UserError


class DatasetError(UserError):
    """Base of the errors below, for those who want to catch them all."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """A data set's root, one of its folders, its lists or a listed image does not exist."""


class DatasetFormatError(DatasetError, ValueError):
    """A data set is there, but a file name, a list or a table in it does not say what it must."""


class ImageDecodeError(DatasetError, ValueError):
    """A file that should be an image cannot be decoded completely."""
