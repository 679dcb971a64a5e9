"""The one error of this package."""


class GeneratorError(Exception):
    """A portrait, a recording, a control or a checkpoint can't be used; the message says what to change."""
