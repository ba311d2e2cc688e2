"""What a user of the commands of training/ can mend."""


class InputError(ValueError):
    """Names the file, what was found in it, what was wanted and what to do."""
