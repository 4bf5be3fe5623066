"""A headless browser of the Chrome family, driven over a pipe; needs no driver and no package.

It speaks the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) on the file descriptors 3 and 4,
and ends when they are closed, so it cannot outlive the tests. `python -m tests.admin.browser` prints which program it
would be.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"]
PROGRAMS += ["/snap/bin/chromium"]  # not on the PATH of every shell
ON_MACOS = ["Google Chrome", "Chromium", "Microsoft Edge"]
PATIENCE = 20.0  # seconds

# What Popen cannot do without running Python in a forked thread: the pipes as file descriptors 3 and 4.
_ON_3_AND_4 = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """The browser that CHROME_BIN names, or the first one here that can say its version."""
    candidates = [os.environ.get("CHROME_BIN", ""), *PROGRAMS]
    candidates += [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ON_MACOS]
    for candidate in filter(None, candidates):
        program = shutil.which(candidate)
        # Ubuntu puts a program on PATH that only says how to install the browser.
        if program and subprocess.run([program, "--version"], capture_output=True).returncode == 0:
            return program
    return None


class BrowserError(Exception):
    """The browser refused a command, ended, or did not do in time what was waited for."""


class Browser:
    """A running browser with an empty profile."""

    def __init__(self, program: str) -> None:
        self.failures: list[str] = []  # responses with an error status, and errors in the pages' scripts
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self.profile = self._profile.name
        its_input, self._to_browser = os.pipe()
        self._from_browser, its_output = os.pipe()
        arguments = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={self.profile}",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-breakpad",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--password-store=basic",
            "--use-mock-keychain",
            "--window-size=1400,1200",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # which root cannot have
            "about:blank",
        ]
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (close() does)
        self.process = subprocess.Popen(
            [sys.executable, "-ISc", _ON_3_AND_4, str(its_input), str(its_output), program, *arguments],
            pass_fds=(its_input, its_output),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        os.close(its_input)
        os.close(its_output)
        try:
            self.call("Target.setDiscoverTargets", discover=True)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the browser and every process of it."""
        if self._to_browser < 0:
            return
        os.close(self._to_browser)
        os.close(self._from_browser)
        self._to_browser = -1
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._output.close()
        self._profile.cleanup()

    def page(self) -> Page:
        """The first window."""
        return self._attach(_eventually(self._windows, "a window")[0])

    def window_opened_by(self, action: Callable[[], None]) -> Page:
        """The window that opens when something is done."""
        before = self._windows()
        action()
        opened = _eventually(lambda: [window for window in self._windows() if window not in before], "a new window")
        page = self._attach(opened[0])
        page.wait_for('location.href !== "about:blank" && document.readyState === "complete"')
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """The result of a command of the protocol. Raises BrowserError where it fails."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        try:
            os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise self._ended() from None
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _receive(self, deadline: float) -> Any:
        while b"\0" not in self._buffer:
            if not select.select([self._from_browser], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BrowserError("the browser does not answer")
            part = os.read(self._from_browser, 1 << 16)
            if not part:
                raise self._ended()
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _ended(self) -> BrowserError:
        self._output.seek(0)
        return BrowserError(f"the browser has ended: {self._output.read().decode(errors='replace')[-2000:]}")

    def _note(self, event: Any) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.failures.append(details.get("exception", {}).get("description") or details["text"])
        elif event.get("method") == "Network.responseReceived":
            response = params["response"]
            if response["status"] >= 400 and urlsplit(response["url"]).path != "/favicon.ico":
                self.failures.append(f"{response['status']} {response['url']}")

    def _windows(self) -> list[str]:
        targets = self.call("Target.getTargets")["targetInfos"]
        return [target["targetId"] for target in targets if target["type"] == "page"]

    def _attach(self, window: str) -> Page:
        session = self.call("Target.attachToTarget", targetId=window, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable", session)
        return Page(self, session)


class Page:
    """What a person does in one window: look, click, type. Elements are named by CSS selectors."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._browser.call("Runtime.evaluate", self._session, expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is true; a page that is changing is waited for."""
        try:
            return _eventually(lambda: self.evaluate(script), script)
        except BrowserError as error:
            raise BrowserError(f"{error} in {self._look()}") from None

    def go(self, url: str) -> None:
        with self._leaves():
            self._browser.call("Page.navigate", self._session, url=url)

    def click(self, selector: str) -> None:
        """Click on an element as soon as it is there and nothing covers it."""
        x, y = self.wait_for(
            f"""(() => {{
                const element = document.querySelector({json.dumps(selector)});
                if (!element) return null;
                element.scrollIntoView({{block: "center"}});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const top = document.elementFromPoint(x, y);
                return box.width && top && (element.contains(top) || top.contains(element)) ? [x, y] : null;
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._browser.call(
                "Input.dispatchMouseEvent", self._session, type=kind, x=x, y=y, button="left", clickCount=1
            )

    def follow(self, selector: str) -> None:
        """Click on what leads to another page, and wait for that."""
        with self._leaves():
            self.click(selector)

    def type(self, selector: str, text: str) -> None:
        """Write into a field, in the place of what is there."""
        self.click(selector)
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self._browser.call("Input.insertText", self._session, text=text)

    def choose(self, selector: str, label: str) -> None:
        """Choose from a <select>, which headless browsers do not draw."""
        self.evaluate(
            f"""(() => {{
                const list = document.querySelector({json.dumps(selector)});
                list.value = [...list.options].find(option => option.text === {json.dumps(label)}).value;
                list.dispatchEvent(new Event("change", {{bubbles: true}}));
            }})()"""
        )

    def text(self, selector: str = "body") -> str:
        """What can be read there."""
        return str(self.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText"))

    def _look(self) -> str:
        with contextlib.suppress(BrowserError):
            return f"{self.evaluate('location.href')}: {self.evaluate('document.body.innerText')!s:.500}"
        return "a page that is changing"

    @contextlib.contextmanager
    def _leaves(self) -> Iterator[None]:
        self.evaluate("window.isLeft = true")
        yield
        self.wait_for('!window.isLeft && document.readyState === "complete"')


def _eventually(ask: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(BrowserError):
            if value := ask():
                return value
        if time.monotonic() > deadline:
            raise BrowserError(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.03)


if __name__ == "__main__":
    found = find_browser()
    print(found or "no browser of the Chrome family here", file=sys.stdout if found else sys.stderr)
    sys.exit(found is None)
