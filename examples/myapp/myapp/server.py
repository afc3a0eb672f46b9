"""Serves the guest book: GET / shows it, POST / adds the body as a line."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from myapp.book import Book

BOOK = Book()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        self._answer(BOOK.page())

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(errors="replace")
        BOOK.add(text)
        self._answer(BOOK.page())

    def _answer(self, page: str) -> None:
        data = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Until it is interrupted."""
    try:
        ThreadingHTTPServer(("", 8000), Handler).serve_forever()
    except KeyboardInterrupt:
        pass
