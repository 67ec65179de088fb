"""Write docs/reference/configuration.md from the settings class.

    python scripts/write_configuration_reference.py           # write the page
    python scripts/write_configuration_reference.py --check   # exit 1 if the page is not what would be written

The page has no second source: names, defaults, limits and descriptions are those of `rhesis.backend.settings`.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from rhesis.backend.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "configuration.md"

# Every field stands in one section; `render` refuses a field that stands in none.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Databases and queue": ("database_url", "owner_url", "queue_url", "broker_url", "result_backend"),
    "Embedded database": ("home", "runtime_directory"),
    "Secrets and access": ("secret_keys", "allowed_networks", "token"),
    "Runs": ("run_deadline_seconds", "test_timeout_seconds", "execution_concurrency", "response_max_bytes"),
    "Input": ("prompt_max_bytes", "max_body_bytes", "import_max_bytes", "import_max_rows"),
    "API and log": ("api_url", "docs_enabled", "log_level"),
    "Worker": (
        "worker_concurrency",
        "worker_prefetch_multiplier",
        "worker_max_tasks_per_child",
        "worker_log_level",
        "worker_options",
        "worker_log_file",
        "health_port",
        "health_host",
        "enable_flower",
    ),
}

INTRODUCTION = """\
# Configuration

<!-- Written by scripts/write_configuration_reference.py. Do not edit: change the descriptions in settings.py. -->

Everything is set by environment variables. They are read once, when a process starts. A variable that is set to
nothing counts as not set. A value that cannot be used stops the process with one line that names the variable and does
not show the value.

Variables may also stand in a file `.env` in the root of the checkout. The environment wins over the file. Tests never
read the file.

Where two names are given, the first one wins. Set only one of `BROKER_URL` and `CELERY_BROKER_URL`: Celery reads the
second one by itself.
"""

_UNITS = ((1024 * 1024, "MiB"), (1024, "KiB"))


class UndocumentedSetting(Exception):
    """A setting stands in no section of the page."""


def render(settings: type[Settings] = Settings) -> str:
    """Return the page."""
    fields = settings.model_fields
    listed = [name for names in SECTIONS.values() for name in names]
    if sorted(listed) != sorted(fields):
        difference = sorted(set(fields) ^ set(listed)) or "a name twice"
        raise UndocumentedSetting(f"SECTIONS and the settings differ: {difference}")
    parts = [INTRODUCTION]
    for title, names in SECTIONS.items():
        rows = [_row(fields[name]) for name in names]
        parts.append(f"## {title}\n\n" + "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def variables_of(field: FieldInfo) -> tuple[str, ...]:
    """Return the environment variables a field is read from, the first one first."""
    alias = field.validation_alias
    return tuple(str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else ()


def _row(field: FieldInfo) -> str:
    names = ", ".join(f"`{name}`" for name in variables_of(field))
    meaning = " ".join(part for part in (field.description, _limits(field.metadata)) if part)
    return f"| {names} | {_default(field.default)} | {meaning.replace('|', chr(92) + '|')} |"


def _default(value: Any) -> str:
    if value is None or value == ():
        return "not set"
    if isinstance(value, bool):
        return "`1`" if value else "`0`"
    if isinstance(value, int):
        amount = next(
            (f" ({value // size} {unit})" for size, unit in _UNITS if value >= size and value % size == 0), ""
        )
        return f"`{value}`{amount}"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _limits(metadata: Iterable[Any]) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    found = [
        f"{word} {getattr(limit, attribute)}"
        for limit in metadata
        for attribute, word in words.items()
        if getattr(limit, attribute, None) is not None
    ]
    return f"({', '.join(found)})" if found else ""


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    text = render()
    if arguments == ["--check"]:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("configuration.md is up to date" if same else "configuration.md differs: run this script without --check")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
