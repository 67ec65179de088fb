"""An endpoint to be tested: answers by what the prompt says, and counts who asked."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class HttpEndpoint:
    """`url` answers `{"output": "ok …"}`; a prompt that begins with `wrong`, `error` or `hang` gets what it says.

    `hold` answers nothing until `release` is set; `reached` is set when the first held call has arrived.
    """

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    release: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    answer_seconds: float = 0.0


@contextlib.contextmanager
def serve_endpoint(*, answer_seconds: float = 0.0) -> Iterator[HttpEndpoint]:
    """Serve an endpoint on a free port of this machine."""
    endpoint = HttpEndpoint(answer_seconds=answer_seconds)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            with lock:
                endpoint.calls[prompt] += 1
            if prompt.startswith(("hold", "hang")):
                endpoint.reached.set()
                endpoint.release.wait(60 if prompt.startswith("hang") else 30)
            if endpoint.answer_seconds:
                threading.Event().wait(endpoint.answer_seconds)
            self._answer(500 if prompt.startswith("error") else 200, "no" if prompt.startswith("wrong") else "ok")

        def _answer(self, status: int, word: str) -> None:
            body = json.dumps({"output": f"{word} at {time.time()}"}).encode()
            with contextlib.suppress(OSError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}/chat"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.release.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
