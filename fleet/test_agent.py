"""Tests fleet/agent against a server that answers as it is told: python3 fleet/test_agent.py FOLDER

They need curl, the right to record the whole machine, and our programs in PATH.
"""

import base64
import gzip
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

AGENT = Path(__file__).resolve().parent / "agent"


class Server:
    """Stands for Pyroscope's /ingest and Parca's /profiles/writeraw. Keeps the requests."""

    def __init__(self):
        self.requests = []
        # A status, or a status and what is said with it, or nothing: then it never answers.
        self.answers = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.path, body))
                status, text = server.answers.pop(0)
                if not status:
                    self.rfile.read(1)
                    return
                self.send_response(status)
                if status == 301:
                    self.send_header("Location", "https://elsewhere.invalid/")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


class Agent:
    """One turn after the other, with a spool whose name needs quotes."""

    def __init__(self, scratch):
        self.server = Server()
        self.spool = scratch / "the spool"
        self.idle = scratch / "idle"
        self.idle.mkdir(parents=True)
        (self.idle / "fg-record").write_text("#!/bin/sh\nexit 1\n")
        (self.idle / "fg-record").chmod(0o755)

    def run(self, settings):
        return subprocess.run(
            [AGENT, "--once"],
            env={
                **os.environ,
                "FLAMEPIPE_URL": self.server.url,
                "FLAMEPIPE_SPOOL": str(self.spool),
                "FLAMEPIPE_SECONDS": "1",
                "FLAMEPIPE_LABELS": "build=1.2",
                **settings,
            },
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    def turn(self, *answers, **settings):
        """What a turn says and leaves in the spool, and what the server got."""
        self.server.answers = [one if isinstance(one, tuple) else (one, "") for one in answers]
        self.server.requests = []
        run = self.run(settings)
        assert run.returncode == 0 and not self.server.answers, (run, self.server.answers)
        return run.stderr, self.waiting(), self.server.requests

    def idle_turn(self, *answers, **settings):
        """A turn whose recorder fails, so that only what waits is pushed."""
        path = f"{self.idle}:{os.environ['PATH']}"
        said, left, requests = self.turn(*answers, PATH=path, **settings)
        assert "nothing was recorded" in said, said
        return said, left, requests

    def waits(self, *names, content=gzip.compress(b"main;a 1\n")):
        for name in names:
            (self.spool / name).write_bytes(content)

    def waiting(self):
        return sorted(file.name for file in self.spool.iterdir())

    def refuses(self, status, words, **settings):
        run = self.run(settings)
        assert run.returncode == status and words in run.stderr, run


def number(message, field):
    """A number in a message of protocol buffers, read from its end, where our pprof has times."""
    at = message.rindex(bytes([field << 3]), 0, -1) + 1
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        if message[at] < 0x80:
            return value
        at, shift = at + 1, shift + 7


def check_pushes(agent):
    """A profile arrives with its labels and times."""
    said, left, [(path, body)] = agent.turn(200, FLAMEPIPE_URL=agent.server.url + "/")
    assert path.startswith("/ingest?"), path
    query = urllib.parse.parse_qs(urllib.parse.urlparse(path).query)
    assert query["name"] == [f"flamepipe{{host={socket.gethostname()},build=1.2}}"], query
    assert query["format"] == ["folded"] and query["sampleRate"] == ["97"], query
    assert int(query["from"][0]) <= int(query["until"][0]), query
    assert not left and not said, (left, said)
    # The stub reads it as Pyroscope does: stacks, a blank, a count.
    assert all(int(line.rsplit(b" ", 1)[1]) > 0 for line in body.splitlines()) and body, body
    _, _, [(path, _)] = agent.turn(200, FLAMEPIPE_LABELS="host=a,region=eu")
    assert "name=flamepipe{host=a,region=eu}&" in urllib.parse.unquote(path), path

    begun = time.time_ns()
    _, left, [(path, body)] = agent.turn(200, FLAMEPIPE_FORMAT="parca")
    assert path == "/profiles/writeraw" and not left, (path, left)
    [series] = json.loads(body)["series"]
    labels = {label["name"]: label["value"] for label in series["labels"]["labels"]}
    assert labels["__name__"] == "process_cpu" and labels["build"] == "1.2", labels
    profile = gzip.decompress(base64.b64decode(series["samples"][0]["rawProfile"]))
    # Parca files a profile under the time that it tells itself.
    assert begun <= number(profile, 9) <= time.time_ns(), number(profile, 9)
    assert number(profile, 10) > 0


def check_waits(agent):
    """What was not taken waits, the oldest first. What the server will never take is deleted."""
    two = ["1000-1010.folded.gz", "1060-1070.folded.gz"]
    agent.waits(*two)
    limit = "pyroscopeIngesterAdapter failed to push: resource_exhausted: 4 MB/s"
    for answer in [503, 500, 429, 408, 404, 401, 301, (422, limit)]:
        said, left, requests = agent.idle_turn(answer)
        status = answer[0] if isinstance(answer, tuple) else answer
        assert f"status {status}" in said and left == two and len(requests) == 1, (said, left)
    said, left, _ = agent.idle_turn(FLAMEPIPE_URL="http://127.0.0.1:1")
    assert "status 000" in said and left == two, said
    said, left, _ = agent.idle_turn((None, ""), FLAMEPIPE_CURL="--max-time 1")
    assert "status 000" in said and left == two, said
    _, left, requests = agent.idle_turn(200, 204)
    assert not left and "from=1000&until=1010&" in requests[0][0], (left, requests)

    for status in [400, 413, 422]:
        agent.waits(*two)
        said, left, _ = agent.idle_turn((status, "no\nsuch label"), 200)
        assert f"so it was deleted: status {status}: no such label" in said and not left, said

    agent.waits(two[0], content=b"half a prof")
    agent.waits(two[1])
    said, left, requests = agent.idle_turn(200)
    assert "damaged" in said and not left and "from=1060" in requests[0][0], (said, requests)


def check_bounds(agent):
    """The spool is bounded; what a killed turn left is deleted too."""
    agent.waits("1000-1010.folded.gz", "1060-1070.pb.gz", ".flamepipe-killed")
    said, left, _ = agent.idle_turn(FLAMEPIPE_URL="")
    assert len(left) == 2, left
    said, left, _ = agent.idle_turn(FLAMEPIPE_URL="", FLAMEPIPE_SPOOL_MB="0")
    assert not left and "2 profiles were deleted" in said, (left, said)


def check_settings(agent):
    """What would spoil every turn ends the agent."""
    for labels in ["build", "my-key=1", "1=a", "a=b=c", 'a="', "a=b c", "a="]:
        agent.refuses(2, labels.split()[-1] + "\n", FLAMEPIPE_LABELS=labels)
    agent.refuses(2, "pyroscope or parca", FLAMEPIPE_FORMAT="Parca")
    without_curl = agent.idle.parent / "without-curl"
    without_curl.mkdir()
    for name in ["fg-record", "fg-fold", "gzip", "od", "uname", "tr"]:
        (without_curl / name).symlink_to(shutil.which(name))
    agent.refuses(1, "there is no curl in PATH", PATH=str(without_curl))


def check_agent(scratch):
    agent = Agent(scratch / "agent")
    for check in [check_pushes, check_waits, check_bounds, check_settings]:
        check(agent)


if __name__ == "__main__":
    check_agent(Path(sys.argv[1]).resolve())
