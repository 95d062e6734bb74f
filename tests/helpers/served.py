"""A web server on loopback that can stall, truncate and lie."""

import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves ``files``; ``faults[name]`` are what befalls the next requests for a file, one each.

    ``truncate`` and ``stall`` send half of what they announce, ``lie`` other bytes, ``fail`` an error; ``whole``
    ignores that a range was asked for.
    """

    def __init__(self, address):
        self.base = f"http://127.0.0.1:{address[1]}/"
        self.files = {}
        self.faults = defaultdict(list)
        self.requests = []
        self.released = threading.Event()


@contextmanager
def serve():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/")
            asked = self.headers.get("Range")
            server.requests.append((name, asked))
            fault = server.faults[name].pop(0) if server.faults[name] else ""
            if name not in server.files or fault == "fail":
                self.send_error(404 if fault != "fail" else 500)
                return
            content = server.files[name]
            if fault == "lie":
                content = bytes(255 - byte for byte in content)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and fault != "whole" else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            self.wfile.write(body[: len(body) // 2] if fault in ("truncate", "stall") else body)
            self.wfile.flush()
            if fault == "stall":
                server.released.wait(10)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    server = Server(web.server_address)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        web.shutdown()
        web.server_close()
        thread.join()
