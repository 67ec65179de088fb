"""What a command may end with, besides success and the service's own errors.

    RhesisError
    └── CommandFailed           1   the command cannot do what was asked
        ├── WaitTimedOut        3   it stopped waiting; what it waited for goes on
        └── ApiUnreachable      5   the API does not answer

Each prints one line; the number is the exit code.
"""

from rhesis.backend.errors import RhesisError


class CommandFailed(RhesisError):
    """The command cannot do what was asked."""

    code = "command_failed"
    exit_code = 1


class WaitTimedOut(CommandFailed):
    """Stopped waiting."""

    code = "wait_timed_out"
    exit_code = 3


class ApiUnreachable(CommandFailed):
    """The API does not answer."""

    code = "api_unreachable"
    exit_code = 5
