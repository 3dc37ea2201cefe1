"""The error that the command line shows as one line."""


class UserError(ValueError):
    """What the user gave cannot be used; the message says what, where and what would do."""
