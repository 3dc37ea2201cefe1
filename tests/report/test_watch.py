"""`autowu report --watch` answers this machine alone, tells what is new, and stops on Ctrl-C."""

import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

import limits
from autowu.errors import UserError
from autowu.report import watch


@pytest.fixture
def server(autowu_run: Path) -> Iterator[watch.Server]:
    with watch.Server(watch.Source([autowu_run]), "var Plotly = {};", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: watch.Server, path: str, host: str | None = None) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(watch.LOOPBACK, server.server_port, timeout=limits.HANG)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_only_the_loopback_is_listened_on(server: watch.Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_the_page_may_ask_its_own_server_and_nobody_else(server: watch.Server) -> None:
    answer, content = ask(server, "/")
    assert answer.status == 200
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert b"default-src 'none'" in content
    assert b"connect-src 'self'" in content
    assert b'id="live"' in content


def test_data_come_only_when_they_are_new(server: watch.Server, autowu_run: Path) -> None:
    _, content = ask(server, "/data.json")
    news = json.loads(content)
    assert len(news["figures"]) == len(news["headings"].split("\n")) == 6
    assert ask(server, f"/data.json?seen={news['revision']}")[0].status == 204
    with (autowu_run / "log.jsonl").open("a") as log:
        log.write('{"event": "step", "step": 1001, "loss": 1.0, "lr": 0.1}\n')
    answer, content = ask(server, f"/data.json?seen={news['revision']}")
    assert answer.status == 200
    assert json.loads(content)["revision"] != news["revision"]


def test_a_csv_file_that_is_being_written_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "losses.csv"
    file.write_text("step,loss\n" + "".join(f"{i},{3 - i / 100}\n" for i in range(100)))
    source = watch.Source([file])
    revisions = [source.news()["revision"]]
    for more in ("100,1.5\n10", "1,1.7\n102,1."):  # files are written in blocks, which end anywhere
        with file.open("a") as log:
            log.write(more)
        revisions.append(source.news()["revision"])
    assert len(set(revisions)) == 3


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", ""])
def test_another_name_is_refused(server: watch.Server, host: str) -> None:
    answer, content = ask(server, "/data.json", host)
    assert answer.status == 403
    assert b"autowu" not in content


@pytest.mark.parametrize("path", ["/run.json", "/../../etc/passwd", "/data.json/x", "/%2e%2e/"])
def test_no_file_is_served(server: watch.Server, path: str) -> None:
    assert ask(server, path)[0].status == 404


def test_a_run_that_is_gone_is_told(server: watch.Server, autowu_run: Path) -> None:
    (autowu_run / "log.jsonl").unlink()
    answer, content = ask(server, "/data.json")
    assert answer.status == 503
    assert b"log.jsonl: no such file" in content


@pytest.mark.parametrize("path", ["/", "/data.json", None])
def test_a_browser_that_leaves_is_no_error(
    server: watch.Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    answering, left = threading.Event(), threading.Event()

    def large(*_: object) -> str:
        answering.set()
        assert left.wait(limits.HANG)
        return "x" * 10_000_000  # more than a connection holds

    monkeypatch.setattr(server.source, "html", large)
    monkeypatch.setattr(server.source, "news", lambda: {"revision": large()})
    done = finished(server, monkeypatch)
    browser = socket.create_connection((watch.LOOPBACK, server.server_port), timeout=limits.HANG)
    if path is None:  # it leaves in the middle of its request
        browser.sendall(b"GET ")
    else:
        browser.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        assert answering.wait(limits.HANG)
    browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # with a reset
    browser.close()
    left.set()
    assert done.wait(limits.HANG)
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    assert ask(server, "/data.json")[0].status == 200


def test_another_error_is_told(
    server: watch.Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.source, "news", dict)
    done = finished(server, monkeypatch)
    with pytest.raises(RemoteDisconnected):
        ask(server, "/data.json?seen=1")
    assert done.wait(limits.HANG)
    assert "KeyError: 'revision'" in capfd.readouterr().err


def finished(server: watch.Server, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a request has been dealt with, whatever came of it."""
    done, close = threading.Event(), server.shutdown_request

    def closed(request: Any) -> None:
        close(request)
        done.set()

    monkeypatch.setattr(server, "shutdown_request", closed)
    return done


def test_a_port_that_is_taken_is_named(server: watch.Server, autowu_run: Path) -> None:
    pytest.importorskip("plotly")
    with pytest.raises(UserError, match=f"--port {server.server_port}: "):
        watch.watch([autowu_run], server.server_port)
    with pytest.raises(UserError, match="--port 99999: "):
        watch.watch([autowu_run], 99999)


def test_ctrl_c_stops_it_cleanly(autowu_run: Path) -> None:
    pytest.importorskip("plotly")
    command = [sys.executable, "-m", "autowu", "report", "--watch", str(autowu_run)]
    # Background jobs of a shell, and so these tests as one of them, ignore SIGINT, and hand that down.
    of_the_tests = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, of_the_tests)
        try:
            assert process.stdout is not None
            assert "http://127.0.0.1:" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=limits.HANG)
        finally:
            process.kill()  # nothing where it has ended
    assert (process.returncode, out, err) == (0, "\nStopped.\n", "")
