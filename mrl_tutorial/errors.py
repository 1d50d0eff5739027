"""The one error that is the reader's to mend: it names the value and the remedy."""


class InputError(ValueError):
    """Bad input. The message is one line: what was wrong, and what to give instead."""
