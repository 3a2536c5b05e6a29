"""Drives headless Chromium over the W3C WebDriver protocol, with nothing but the standard library.

    browser.py URL FOLDER [TOKEN]

Looks at the pages of a status server in light and dark, wide and on a phone, follows every link, saves a picture of each
page into FOLDER, and prints what it found as JSON. It judges nothing: the test does.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

BASE, FOLDER = sys.argv[1].rstrip("/"), sys.argv[2]
TOKEN = sys.argv[3] if len(sys.argv) > 3 else None

# Text whose contrast with what lies behind it is too low, what is wider than the window, and what should not be there.
LOOK = r"""
const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
const over = (top, under) => { const a = top[3]; return [0, 1, 2].map(i => top[i] * a + under[i] * (1 - a)).concat(1); };
const behind = el => {
  const layers = [];
  for (let e = el; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
const light = c => {
  const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const low = [], seen = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const el = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || seen.has(el)) continue;
  seen.add(el);
  const back = behind(el), [a, b] = [light(over(parse(getComputedStyle(el).color), back)), light(back)];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) low.push(`${contrast.toFixed(2)} ${el.tagName}.${el.className}: ${text.slice(0, 40)}`);
}
const width = document.documentElement.clientWidth;
const wide = [...document.body.querySelectorAll('*')]
  .filter(e => !e.closest('.skip, thead') && e.getBoundingClientRect().right > width + 1)
  .map(e => `${e.tagName}.${e.className}`).slice(0, 5);
return {
  width, scroll: document.documentElement.scrollWidth, low, wide, texts: seen.size,
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  active: document.querySelectorAll('script, img, iframe, object, embed, [onerror], [onload], [onclick], [style]').length,
  headings: [...document.querySelectorAll('h1, h2')].filter(e => e.getClientRects().length).map(e => e.textContent),
  landmarks: ['header', 'nav', 'main', 'footer'].filter(name => document.querySelector(name)),
  lang: document.documentElement.lang,
  unnamed: [...document.querySelectorAll('table')].filter(t => !t.getAttribute('aria-label') && !t.getAttribute('aria-labelledby')).length,
  untimed: [...document.querySelectorAll('time')].filter(t => !t.getAttribute('datetime')).length,
  text: document.body.innerText,
  links: [...document.querySelectorAll('a')].map(a => a.href),
};
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class Driver:
    """A session, and the two programs behind it."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="hakiri-browser-")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [shutil.which("chromedriver") or "/usr/bin/chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.call("GET", "/status")["ready"]:
                    break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("chromedriver is not ready after 30 s")
            time.sleep(0.1)
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
            "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
            f"--user-data-dir={self.profile}",
        ]
        options = {"args": arguments, "binary": shutil.which("chromium") or "/usr/bin/chromium"}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        self.session = "/session/" + self.call("POST", "/session", wanted)["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise RuntimeError(f"{method} {path}: {e.read().decode()[:500]}") from None

    def do(self, path, body):
        return self.call("POST", self.session + path, body)

    def cdp(self, command, **params):
        return self.do("/goog/cdp/execute", {"cmd": command, "params": params})

    def go(self, url):
        self.do("/url", {"url": url})

    def find(self, selector):
        found = self.do("/element", {"using": "css selector", "value": selector})
        return "/element/" + next(iter(found.values()))

    def look(self):
        return self.do("/execute/sync", {"script": LOOK, "args": []})

    def picture(self, name):
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(os.path.join(FOLDER, name + ".png"), "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def show_as(self, scheme, width):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )

    def end(self):
        try:
            self.call("DELETE", self.session)
        except (OSError, RuntimeError, AttributeError):
            pass
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.profile, ignore_errors=True)


def main():
    found = {"pages": [], "login": None}
    driver = Driver()
    try:
        if TOKEN:
            driver.go(BASE + "/")
            found["login"] = {"before": driver.look()["text"]}
            driver.picture("login")
            driver.do(driver.find("#token") + "/value", {"text": TOKEN})
            driver.do(driver.find("button") + "/click", {})
            found["login"]["after"] = driver.look()["text"]
            cookies = driver.call("GET", driver.session + "/cookie")
            found["login"]["cookies"] = [{key: c[key] for key in ("name", "httpOnly", "sameSite")} for c in cookies]
            return found
        driver.show_as("light", 1280)
        queue, pages = [BASE + "/"], []
        while queue and len(pages) < 250:
            url = queue.pop(0)
            if url in pages or not url.startswith(BASE):
                continue
            pages.append(url)
            with urllib.request.urlopen(url, timeout=30) as answer:
                if not answer.headers["content-type"].startswith("text/html"):
                    continue
            # Every run and code looks alike: two of a kind are looked at, all are fetched.
            kind = "/errors/code" if "/errors/" in url else "/".join(url[len(BASE):].split("?")[0].split("/")[:3])
            known = [p for p in found["pages"] if p["kind"] == kind]
            if len(known) >= 8:
                continue
            for scheme in ("light", "dark"):
                for width in (1280, 390):
                    driver.show_as(scheme, width)
                    driver.go(url)
                    name = f"{kind.strip('/').replace('/', '-') or 'index'}-{len(known) // 4}-{scheme}-{width}"
                    driver.picture(name)
                    seen = driver.look()
                    queue += [link.split("#")[0] for link in seen.pop("links")]
                    found["pages"].append({"kind": kind, "url": url[len(BASE):], "scheme": scheme, "asked": width, **seen})
        found["links"] = len(pages)
    finally:
        driver.end()
    return found


print(json.dumps(main()))
