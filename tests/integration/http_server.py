#!/usr/bin/env python3
"""An HTTP server for the tests of checks. Usage: http_server.py PORT"""

import http.server
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/project/"):
            self.answer(200, b"hello " + self.path.rpartition("/")[2].encode())
        elif self.path == "/redirect":
            self.answer(302, Location="http://localhost/elsewhere")
        elif self.path == "/secret":
            self.answer(200 if self.headers["Authorization"] == "Bearer of-the-tests" else 401)
        elif self.path == "/endless":
            self.answer(200)
            while True:
                self.wfile.write(b"x" * 65536)
        elif self.path == "/slow":
            time.sleep(5)
            self.answer(200)
        else:
            self.answer(404)

    def log_message(self, format, *args):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
