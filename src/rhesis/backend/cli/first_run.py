"""What a new embedded database needs before anybody can use it: an organization, a superuser and his token."""

from pathlib import Path

from rhesis.backend import runtime
from rhesis.backend.app.repositories.listing import ListParameters
from rhesis.backend.app.services import identity
from rhesis.backend.cli.api_client import TOKEN_FILE
from rhesis.backend.cli.terminal import say
from rhesis.backend.embedded.files import write_private

ORGANIZATION = "Default"
EMAIL = "admin@localhost"


def make_first_user() -> None:
    """Make the first organization, its superuser and `token` in the home; do nothing where there is a user."""
    if (runtime.home() / TOKEN_FILE).is_file():
        return
    if identity.list_users(ListParameters(limit=1)).total:
        say(f"no token in {runtime.home()}: rhesis token create --user EMAIL --save makes one")
        return
    organization = identity.create_organization(ORGANIZATION)
    user = identity.create_user(organization.id, EMAIL, name="Administrator", is_superuser=True)
    created = identity.create_token(user.id, name="first", days=identity.MAX_TOKEN_DAYS)
    path = save_token(created.plain)
    say(f"made organization {ORGANIZATION}, superuser {EMAIL} and his token in {path}")


def save_token(plain: str) -> Path:
    """Write the token where the commands that speak HTTP look for it, for its owner alone."""
    path = runtime.home() / TOKEN_FILE
    write_private(path, f"{plain}\n")
    return path
