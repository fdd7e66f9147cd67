"""The one exception that is meant for people."""


class SSegError(Exception):
    """One sentence for the user: what is wrong, with what, and what to do about it.

    The command line prints it and exits with code 2, the app shows it as it is; any other exception is a bug.
    """
