"""A real server on 127.0.0.1 that misbehaves by path, for the tests of downloading. It records what it was asked."""

import contextlib
import gzip
import http.server
import io
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def picture(form: str = "JPEG", seed: int = 0) -> bytes:
    """A small real image file of noise; no photograph."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def bomb(side: int = 30000) -> bytes:
    """A PNG of a few kilobytes that says it is `side` pixels a side, and would be: black rows pack well."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (side + 1) * 20, 9)
    chunks = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class Handler(http.server.BaseHTTPRequestHandler):
    """What each path does; /ok-N.jpg is the N-th picture. The first part of a path's name says the behaviour."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        pass

    def send(self, content: bytes, kind: str = "image/jpeg", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def do_GET(self) -> None:
        asked: list[str] = self.server.asked
        asked.append(self.path)
        self.server.agents.add(self.headers["User-Agent"])
        what, times = self.path.strip("/").partition(".")[0].partition("-")[0], asked.count(self.path)
        with contextlib.suppress(OSError):
            getattr(self, f"do_{what}", self.do_missing)(times)

    def do_ok(self, times: int) -> None:
        self.send(picture(seed=int("0" + "".join(filter(str.isdigit, self.path)))))

    def do_missing(self, times: int) -> None:
        self.send(b"gone", "text/plain", 404)

    def do_slow(self, times: int) -> None:
        """The whole image, in four pieces."""
        content = picture()
        self.send(content[:50], Content_Length=str(len(content)))
        for start in range(50, len(content), 1 + len(content) // 3):
            time.sleep(0.05)
            self.wfile.write(content[start : start + 1 + len(content) // 3])

    def do_drip(self, times: int) -> None:
        """A byte now and then, for ever."""
        self.send(b"", Content_Length="100000")
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")

    def do_drops(self, times: int) -> None:
        """The connection breaks off in the middle the first time; -always in the name: each time."""
        content = picture()
        if times > 1 and "always" not in self.path:
            return self.send(content)
        length = "" if "nolength" in self.path else str(len(content))
        self.send(content[: len(content) // 2], Content_Length=length, Connection="" if length else "close")
        self.hang_up()

    def do_silent(self, times: int) -> None:
        self.hang_up()

    def do_redirect(self, times: int) -> None:
        self.send(b"", status=302, Location="/ok-3.jpg")

    def do_loop(self, times: int) -> None:
        self.send(b"", status=301, Location=self.path)

    def do_leaves(self, times: int) -> None:
        self.send(b"", status=302, Location="ftp://127.0.0.1/ok.jpg")

    def do_local(self, times: int) -> None:
        self.send(b"", status=302, Location="file:///etc/passwd")

    def do_page(self, times: int) -> None:
        """A page that says it is an image."""
        self.send(b"<html><body>Not found, but politely</body></html>", "image/jpeg")

    def do_typed(self, times: int) -> None:
        """An image that says it is a page, and is no JPEG."""
        self.send(picture("PNG"), "text/html")

    def do_bomb(self, times: int) -> None:
        self.send(bomb(), "image/png")

    def do_packed(self, times: int) -> None:
        """Far more than these bytes would come out if anybody unpacked them."""
        self.send(gzip.compress(b"\0" * 5_000_000), Content_Encoding="gzip")

    def do_large(self, times: int) -> None:
        self.send(b"\xff\xd8", Content_Length="900000000")

    def do_endless(self, times: int) -> None:
        self.send(b"\xff\xd8", Content_Length="", Connection="close")
        while not self.server.over.is_set():
            self.wfile.write(b"\0" * 100_000)

    def do_busy(self, times: int) -> None:
        """Asks to come back, once."""
        if times == 1:
            self.send(b"", status=429, Retry_After="0" if "date" not in self.path else "Wed, 21 Oct 2015 07:28:00 GMT")
        else:
            self.do_ok(times)

    def do_broken(self, times: int) -> None:
        self.send(b"", status=503, Retry_After="soon")


@contextlib.contextmanager
def serve(certificate: Path | None = None) -> Iterator[http.server.ThreadingHTTPServer]:
    """The server, with `address`, `asked` (paths in order) and `agents`; with a certificate and key (one file), by
    https."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.asked, server.agents, server.over = [], set(), threading.Event()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.address = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
