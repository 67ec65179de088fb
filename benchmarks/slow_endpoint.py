"""An endpoint that answers after a fixed time, for as many callers as there are: what a language model looks like.

    python benchmarks/slow_endpoint.py --seconds 2 --ready-file PATH

Plain asyncio, so that it costs next to nothing beside what is measured. Listens on 127.0.0.1 alone.
"""

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path

_BODY = json.dumps({"output": "ok"}).encode()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n"
    % len(_BODY)
) + _BODY


async def _serve(seconds: float, announce: Callable[[str], object]) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_content_length(head))
                await asyncio.sleep(seconds)
                writer.write(_ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    announce(f"http://{host}:{port}/chat")
    async with server:
        await server.serve_forever()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--ready-file", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(_serve(options.seconds, options.ready_file.write_text))


if __name__ == "__main__":
    main()
