from fusionreid.errors import UserError


class GalleryError(UserError, ValueError):
    """Something that a gallery cannot take, find or read, and what to do about it."""
