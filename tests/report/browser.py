"""Headless Chromium over its debugging pipe: no driver and no package between the test and the browser."""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Page:
    """One page, and what was said in its console."""

    def __init__(self, process: subprocess.Popen[bytes], reader: int, writer: int) -> None:
        self.process, self.reader, self.writer = process, reader, writer
        self.number, self.pending = 0, b""
        self.console: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        target = self._call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, session=None)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> Any:
        return self._call(method, parameters or {}, session=self.session)

    def _call(self, method: str, parameters: dict[str, Any], session: str | None) -> Any:
        self.number += 1
        number = self.number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(60.0)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.reader], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self.reader, 1 << 20) if ready else b""
            if not data:
                raise TimeoutError("the browser does not answer")
            self.pending += data
        text, self.pending = self.pending.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params") or {})
        return message

    def _note(self, method: str | None, said: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            words = " ".join(str(part.get("value", part.get("description"))) for part in said["args"])
            self.console.append(f"{said['type']}: {words}")
        elif method == "Runtime.exceptionThrown":
            details = said["exceptionDetails"]
            self.console.append(f"exception: {(details.get('exception') or {}).get('description', details['text'])}")
        elif method == "Log.entryAdded":
            self.console.append(f"{said['entry']['level']}: {said['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, path: pathlib.Path, width: int, *, height: int = 900, dark: bool = False) -> None:
        """Open a file in a window of some width, and wait until its figures are drawn."""
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.loaded = False
        self.call("Page.navigate", {"url": path.resolve().as_uri()})
        end = time.monotonic() + 60
        while not self.loaded or self.evaluate("document.documentElement.dataset.figures") is None:
            if time.monotonic() > end:
                raise TimeoutError("the figures were not drawn within a minute")
            time.sleep(0.05)
            self.call("Runtime.evaluate", {"expression": "0"})

    def resize(self, width: int, height: int = 900) -> None:
        self.call("Emulation.setDeviceMetricsOverride",
                  {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})  # fmt: skip

    def evaluate(self, expression: str) -> Any:
        """Value of an expression in the page."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self, path: pathlib.Path, *, whole: bool = True) -> None:
        options = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", options)["data"]))


@contextlib.contextmanager
def browse(profile: pathlib.Path) -> Iterator[Page]:
    """Run a browser with a profile of its own and no network of its own choosing."""
    program = find_browser()
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(PROGRAMS)} is on the PATH")
    from_browser, to_parent = os.pipe()
    from_parent, to_browser = os.pipe()

    def place_pipes() -> None:
        # The browser reads from descriptor 3 and writes to 4; first out of the way, lest one overwrites the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (from_parent, to_parent)]
        for end, number in zip(ends, (3, 4), strict=True):
            os.dup2(end, number)

    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
               "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
               "--remote-debugging-pipe", f"--user-data-dir={profile}"]  # fmt: skip
    process = subprocess.Popen(
        [program, *options, "about:blank"], preexec_fn=place_pipes, close_fds=False,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(from_parent)
    os.close(to_parent)
    try:
        yield Page(process, from_browser, to_browser)
    finally:
        os.close(to_browser)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_browser)
