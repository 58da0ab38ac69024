"""The error of a backbone."""


class BackboneError(ValueError):
    """A backbone that is not available or cannot be used: what was expected, what came, what to do."""
