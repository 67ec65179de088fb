"""How long the parts of a test may be, whether they come over the API or in a file."""

from typing import Final

MAX_NAME_LENGTH: Final = 200
MAX_DESCRIPTION_LENGTH: Final = 10_000
MAX_EXTERNAL_ID_LENGTH: Final = 200
MAX_BEHAVIOUR_LENGTH: Final = 200
MAX_PRIORITY: Final = 1_000_000
MAX_REQUEST_IDS: Final = 10_000
MAX_ATTRIBUTES_BYTES: Final = 64 * 1024
LANGUAGE_CODE_PATTERN: Final = r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}"
