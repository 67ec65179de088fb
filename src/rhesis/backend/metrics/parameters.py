"""Read a metric's parameters and gather everything that is wrong with them."""

import math
from collections.abc import Mapping
from typing import Any

from rhesis.backend.domain.text import clean_text
from rhesis.backend.errors import InputProblem, InvalidInput

MAX_TEXT_CHARACTERS = 64 * 1024
MAX_TEXTS = 20


class ParameterReader:
    """Hand out one parameter after another, then refuse whatever was wrong or is left over.

    Each reading method returns a usable value even where the parameter is wrong, so that one `finish()` can report all
    problems at once.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._asked: set[str] = set()
        self._problems: list[InputProblem] = []

    def has(self, name: str) -> bool:
        """Say whether the parameter is given."""
        self._asked.add(name)
        return name in self._parameters

    def value(self, name: str) -> Any:
        """Return the parameter as it is, None when it is missing."""
        return self._parameters[name] if self.has(name) else None

    def text(self, name: str) -> str:
        """Return a required text that is not empty."""
        if not self.has(name):
            self.problem(name, "is required")
            return ""
        return self._checked_text(name, self._parameters[name])

    def one_or_more_texts(self, name: str, plural: str) -> tuple[str, ...]:
        """Return the text `name`, or the list of texts `plural`; neither given is an empty tuple."""
        both = self.has(name), self.has(plural)
        if all(both):
            self.problem(plural, f"cannot be given together with `{name}`")
        if both[0]:
            return (self._checked_text(name, self._parameters[name]),)
        if not both[1]:
            return ()
        texts = self._parameters[plural]
        if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
            self.problem(plural, f"must be a list of 1 to {MAX_TEXTS} texts")
            return ()
        return tuple(self._checked_text(f"{plural}[{index}]", text) for index, text in enumerate(texts))

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a true or false."""
        value = self._parameters[name] if self.has(name) else default
        if not isinstance(value, bool):
            self.problem(name, "must be true or false")
            return default
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of `choices`; the first is the default."""
        value = self._parameters[name] if self.has(name) else choices[0]
        if value not in choices:
            self.problem(name, f"must be one of {', '.join(choices)}")
            return choices[0]
        return str(value)

    def positive_number(self, name: str, *, highest: float) -> float:
        """Return a required number above 0 and at most `highest`."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problem(name, "is required and must be a number")
        elif not (math.isfinite(value) and 0 < value <= highest):
            self.problem(name, f"must be above 0 and at most {highest:g}")
        else:
            return float(value)
        return highest

    def problem(self, name: str, message: str) -> None:
        """Note that the parameter `name` cannot be used."""
        self._problems.append(InputProblem(f"parameters.{name}", f"`{name}` {message}."))

    def note(self, name: str, error: InvalidInput) -> None:
        """Note what another check said about the parameter `name`."""
        self._problems.append(InputProblem(f"parameters.{name}", str(error)))
        self._problems.extend(
            InputProblem(f"parameters.{name}.{problem.where}", problem.message) for problem in error.problems
        )

    def finish(self) -> None:
        """Raise `InvalidInput` with every problem, unknown parameters included."""
        known = ", ".join(sorted(self._asked)) or "none"
        for name in sorted(set(self._parameters) - self._asked):
            self.problem(clean_text(name[:100])[0], f"is not a parameter of this metric; it takes {known}")
        if self._problems:
            raise InvalidInput(self._problems[0].message, code="invalid_metric", problems=tuple(self._problems))

    def _checked_text(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARACTERS:
            self.problem(name, f"must be a text of 1 to {MAX_TEXT_CHARACTERS} characters")
            return ""
        return value
