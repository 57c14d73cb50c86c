"""A server that answers as an object store with one empty bucket does: enough to plan a study, not to run one."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LISTING = b'<?xml version="1.0"?><ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>'


class EmptyBucket(BaseHTTPRequestHandler):
    """The bucket is there, and nothing is in it."""

    def do_HEAD(self) -> None:
        self.answer(200 if "/" not in self.path.split("?")[0].strip("/") else 404, b"")

    def do_GET(self) -> None:
        found = "/" not in self.path.split("?")[0].strip("/")
        self.answer(200 if found else 404, LISTING if found else b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not worth a line each."""


def serve() -> ThreadingHTTPServer:
    """A server on a free port; the caller runs it and shuts it down."""
    return ThreadingHTTPServer(("127.0.0.1", 0), EmptyBucket)
