from fusionreid.errors import UserError


class WeightsError(UserError, ValueError):
    """A weight file that cannot be read, or does not fit, and what to do about it."""


class UnknownWeightsError(WeightsError, KeyError):
    """Weights whose names are not those expected; the message gives the first of them."""

    # A KeyError would print its message as a quoted key.
    __str__ = Exception.__str__
