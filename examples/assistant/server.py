"""Serve an example assistant that is right most of the time, and wrong, slow or broken in a repeatable way.

    python examples/assistant/server.py --port 0 --seed 7 [--ready-file PATH] [--token-env NAME]

It listens on 127.0.0.1 only, prints the address it is bound to and stops on SIGTERM. What it does with a question
depends on the seed and the question alone, so two runs with one seed judge alike; the only memory is which questions it
has already turned away once with 429.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

KNOWLEDGE_FILE = Path(__file__).with_name("knowledge.json")
MODEL = "example-assistant"
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_REMEMBERED_QUESTIONS = 100_000
CONNECTION_BACKLOG = 1_024


class Behaviour(StrEnum):
    """What the assistant does with a question."""

    RIGHT = "right"
    WRONG = "wrong"
    SLOW = "slow"
    THROTTLED = "throttled"
    FAILING = "failing"
    MALFORMED = "malformed"


SHARES_PER_THOUSAND: Mapping[Behaviour, int] = {
    Behaviour.WRONG: 125,
    Behaviour.SLOW: 40,
    Behaviour.THROTTLED: 20,
    Behaviour.FAILING: 30,
    Behaviour.MALFORMED: 20,
}


@dataclass(frozen=True)
class Fact:
    """One thing the assistant knows, and what it says when it is wrong."""

    questions: tuple[str, ...]
    answer: str
    wrong: str


@dataclass(frozen=True)
class Decision:
    """What happens to one question; only a slow one waits."""

    behaviour: Behaviour
    delay_seconds: float = 0.0


@dataclass
class Assistant:
    """A small knowledge base with a repeatable temper."""

    facts: tuple[Fact, ...]
    unknown: str
    seed: int
    turned_away: set[bytes] = field(default_factory=set)

    @classmethod
    def load(cls, seed: int) -> "Assistant":
        """Read the knowledge base that lies beside this file."""
        stored = json.loads(KNOWLEDGE_FILE.read_text(encoding="utf-8"))
        facts = tuple(
            Fact(tuple(question.casefold() for question in fact["questions"]), fact["answer"], fact["wrong"])
            for fact in stored["facts"]
        )
        return cls(facts, stored["unknown"], seed)

    def decide(self, prompt: str) -> Decision:
        """Choose the behaviour for `prompt` from the seed and the prompt alone."""
        digest = self._digest(prompt)
        roll = int.from_bytes(digest[:8], "big") % 1_000
        for behaviour, share in SHARES_PER_THOUSAND.items():
            if roll < share:
                delay = 0.3 + 1.7 * digest[8] / 255 if behaviour is Behaviour.SLOW else 0.0
                return Decision(behaviour, delay)
            roll -= share
        return Decision(Behaviour.RIGHT)

    def answer(self, prompt: str, *, right: bool) -> str:
        """Return what the assistant says to `prompt`."""
        asked = prompt.casefold()
        fact = next((fact for fact in self.facts if any(question in asked for question in fact.questions)), None)
        if fact is None:
            return self.unknown
        return fact.answer if right else fact.wrong

    def turn_away_once(self, prompt: str) -> bool:
        """Say whether this is the first time that `prompt` is turned away."""
        digest = self._digest(prompt)
        if digest in self.turned_away or len(self.turned_away) >= MAX_REMEMBERED_QUESTIONS:
            return False
        self.turned_away.add(digest)
        return True

    def _digest(self, prompt: str) -> bytes:
        return hashlib.sha256(f"{self.seed}:{prompt}".encode(errors="surrogatepass")).digest()


async def reply(assistant: Assistant, prompt: str) -> Response:
    """Answer one question the way the assistant has decided to."""
    decision = assistant.decide(prompt)
    if decision.behaviour is Behaviour.FAILING:
        return JSONResponse({"error": "internal error"}, status_code=500)
    if decision.behaviour is Behaviour.THROTTLED and assistant.turn_away_once(prompt):
        return JSONResponse({"error": "too many requests"}, status_code=429, headers={"Retry-After": "1"})
    await asyncio.sleep(decision.delay_seconds)
    output = assistant.answer(prompt, right=decision.behaviour is not Behaviour.WRONG)
    tokens = {"input_tokens": len(prompt.split()), "output_tokens": len(output.split())}
    answer = {"output": output, "model": MODEL, "usage": tokens}
    if decision.behaviour is Behaviour.MALFORMED:
        return Response(json.dumps(answer)[:-10], media_type="application/json")
    return JSONResponse(answer)


def create_application(assistant: Assistant, *, token: str | None, ready_file: Path | None, address: str) -> Starlette:
    """Return the ASGI application; `ready_file` is written when it can answer and removed when it stops."""

    async def chat(request: Request) -> Response:
        if token is not None and not _is_authorized(request, token):
            return JSONResponse(
                {"error": "a bearer token is needed"}, status_code=401, headers={"WWW-Authenticate": "Bearer"}
            )
        body = await _read_body(request)
        if body is None:
            return JSONResponse({"error": f"at most {MAX_BODY_BYTES} bytes are accepted"}, status_code=413)
        prompt = _prompt_of(body)
        if prompt is None:
            return JSONResponse({"error": 'send {"input": "your question"}'}, status_code=422)
        return await reply(assistant, prompt)

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [Route("/chat", chat, methods=["POST"]), Route("/health", health)]
    return Starlette(routes=routes, lifespan=lambda _application: _announced(ready_file, address))


@asynccontextmanager
async def _announced(ready_file: Path | None, address: str) -> AsyncIterator[None]:
    if ready_file is not None:
        _write_at_once(ready_file, address)
    yield
    if ready_file is not None:
        _remove(ready_file)


def _is_authorized(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


async def _read_body(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _prompt_of(body: bytes) -> str | None:
    try:
        sent: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    prompt = sent.get("input") if isinstance(sent, dict) else None
    return prompt if isinstance(prompt, str) else None


def _write_at_once(path: Path, text: str) -> None:
    # A reader that waits for the file must never see it half written.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(f"{text}\n", encoding="utf-8")
    temporary.replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _ignore(_signal_number: int, _frame: FrameType | None) -> None:
    """Let the server stop by itself: it raises the signal once more when it has finished, which must not kill it."""


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve an example assistant on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose a free port (default)")
    parser.add_argument("--seed", type=int, default=7, help="decides which questions go wrong (default 7)")
    parser.add_argument("--ready-file", type=Path, help="written with the address when the server can answer")
    parser.add_argument("--token-env", metavar="NAME", help="environment variable with the bearer token to ask for")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 when the token's variable is empty."""
    arguments = _arguments(argv)
    token = os.environ.get(arguments.token_env, "") if arguments.token_env else None
    if token == "":
        print(f"the environment variable {arguments.token_env} holds no token: set it first", file=sys.stderr)
        return 2
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=CONNECTION_BACKLOG)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    application = create_application(
        Assistant.load(arguments.seed), token=token, ready_file=arguments.ready_file, address=address
    )
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, _ignore)
    print(address, flush=True)
    config = uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
