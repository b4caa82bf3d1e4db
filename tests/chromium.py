"""A headless Chromium, driven over a pipe by its DevTools protocol. Needs nothing but Chromium itself."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TIMEOUT_S = 120  # generous: a loaded machine without a graphics card
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class ChromiumMissingError(Exception):
    pass


class Chromium:
    """A browser with one page at a time; a context manager."""

    def __init__(self) -> None:
        binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
        if binary is None:
            raise ChromiumMissingError("no Chromium on the path (apt-get install chromium), nor named by $CHROMIUM")
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        options = ["--headless", "--remote-debugging-pipe", f"--user-data-dir={self._profile.name}"]
        options += ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        # The protocol comes in at descriptor 3 and goes out at 4.
        self._process = subprocess.Popen(
            ["sh", "-c", 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null', binary, *options, "about:blank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._last_id = 0
        self._session: dict[str, str] = {}
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._profile.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while data := os.read(self._process.stdout.fileno(), 1 << 16):
            *texts, rest = (rest + data).split(b"\0")
            for text in texts:
                self._messages.put(json.loads(text))
        self._messages.put(None)

    def send(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and return its result; what happens meanwhile is kept in ``events``."""
        assert self._process.stdin is not None
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params, **self._session}
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while True:
            answer = self._messages.get(timeout=TIMEOUT_S)
            if answer is None:
                raise RuntimeError("Chromium has gone")
            if answer.get("id") != self._last_id:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light", scale: float = 1) -> None:
        """Open a page in a new tab, in place of the one before, and wait until it is loaded."""
        if self._session:
            self.send("Page.close")
        self._session = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of an expression in the page, awaited if it is a promise."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression in the page as soon as it is true; raise if the page's own code raises."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline or any(e.get("method") == "Runtime.exceptionThrown" for e in self.events):
                raise TimeoutError(f"{expression}; {self.complaints()[:3]}")
            time.sleep(0.02)
        return value

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Move, press, release or turn the wheel of the mouse, as in ``mouse("mouseWheel", 9, 9, deltaY=-100)``."""
        wheel = {"deltaX": 0, "deltaY": 0} if kind == "mouseWheel" else {}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **{**wheel, **more})

    def complaints(self) -> list[str]:
        """Return the errors and warnings on the console of the page."""
        found = []
        for event in self.events:
            kind, params = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            elif kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def screenshot(self, path: Path, whole_page: bool = False, **clip: float) -> None:
        """Write a PNG of the window, of the whole page, or of a part (x, y, width, height, scale)."""
        more: dict[str, Any] = {"captureBeyondViewport": True} if whole_page or clip else {}
        if clip:
            more["clip"] = {"scale": 1, **clip}
        elif whole_page:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            more["clip"] = {"x": 0, "y": 0, "scale": 1, "width": size["width"], "height": size["height"]}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **more)["data"]))
