"""A pager for tests: a real HTTP server that takes, refuses, or hangs, and keeps what it got."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG = 0  # in place of a status: no answer comes


class Pager:
    """`answers` are the statuses of the next requests; after them, `otherwise`."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.otherwise = 200
        self.got: list[tuple[str, str]] = []
        self.closing = threading.Event()
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                pager.got.append((self.path, self.rfile.read(length).decode()))
                status = pager.answers.pop(0) if pager.answers else pager.otherwise
                if status == HANG:
                    pager.closing.wait(60)
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    @property
    def paths(self) -> list[str]:
        """Where the requests went, without what is behind the `?`."""
        return [path.partition("?")[0] for path, _ in self.got]

    @property
    def titles(self) -> list[str]:
        """Of what came by apprise's json://."""
        return [json.loads(body)["title"] for _, body in self.got]


@contextmanager
def pager() -> Iterator[Pager]:
    made = Pager()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        made.closing.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()
