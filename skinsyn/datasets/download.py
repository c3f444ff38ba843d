"""Photographs from a table of addresses: paced per host, limited in size, each one verified, resumable.

The outcome of each row is in `downloads.jsonl`, one line per try, of which the last counts: fetched, dead (the address
gives no image: tried again on demand only) or failed (it may answer another day: tried again by the next call).
"""

import collections
import hashlib
import importlib.metadata
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import pandas as pd
import requests
import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.util import Retry

from .. import images
from ..run import compute, files, paths

__all__ = ["OUTCOMES", "RECORD", "Limits", "fetch", "read_record"]

RECORD = "downloads.jsonl"
OUTCOMES = ("fetched", "no url", "dead", "failed", "waiting")
RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one a minute later
GIVE_UP = 5  # images in a row for which a host does not answer at all
HOPS = 5  # redirections that are followed
CHUNK = 1 << 16


class Limits(NamedTuple):
    """How politely and how much; times in seconds."""

    pause: float = 1.0  # least time between two requests to one host
    attempts: int = 4  # tries of one image
    backoff: float = 2.0  # waits of 0, 2, 4, 8 … times this and a random part, or what the host's Retry-After says
    timeout: float = 30.0  # for a connection, and between two pieces of an answer
    deadline: float = 120.0  # for one whole image
    max_bytes: int = 20_000_000
    max_pixels: int = images.MAX_PIXELS
    allow_http: bool = False  # also without encryption, where https is not offered


@dataclass(eq=False)
class NoImage(Exception):
    """An address gave no image."""

    reason: str
    outcome: str = "dead"  # dead | failed
    retry: bool = False  # try again now
    silent: bool = False  # the host gave no answer
    response: BaseHTTPResponse | None = None  # which may say when to retry


class Way(NamedTuple):
    """How one thread asks: its session, what paces it, its limits, and the event that ends it."""

    session: requests.Session
    wait: Callable[[str], None]
    limits: Limits
    stop: threading.Event


def pacer(pause: float) -> Callable[[str], None]:
    """A function that waits until `pause` seconds have passed since the last request to a host; for all threads."""
    free_at: dict[str, float] = collections.defaultdict(float)
    lock = threading.Lock()

    def wait(host: str) -> None:
        with lock:
            begin = max(time.monotonic(), free_at[host])
            free_at[host] = begin + pause
        time.sleep(max(0.0, begin - time.monotonic()))

    return wait


def new_session() -> requests.Session:
    """A session without retries of its own (they are counted here) that takes bytes as they are: no unpacking."""
    session = requests.Session()
    name = f"skinsyn/{importlib.metadata.version('skinsyn')} (research; one request at a time)"
    session.headers.update({"User-Agent": name, "Accept": "image/*", "Accept-Encoding": "identity"})
    return session


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # e.g. http://[ without its bracket
        return ""


def _ask(way: Way, url: str) -> requests.Response:
    """The answer to a GET after redirections, its body unread. Every hop is paced, and checked for its scheme."""
    for _ in range(HOPS + 1):
        if not url.startswith(("https://", "http://") if way.limits.allow_http else "https://"):
            raise NoImage("not an https address")
        way.wait(_host_of(url))
        try:
            response = way.session.get(url, stream=True, allow_redirects=False, timeout=way.limits.timeout)
        except requests.exceptions.SSLError as error:
            raise NoImage("no trusted encryption", "failed", silent=True) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise NoImage("the host does not answer", "failed", retry=True, silent=True) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise NoImage("not an address") from error
        if not response.is_redirect:
            return response
        url = urljoin(url, response.headers["location"])
        response.close()
    raise NoImage("too many redirections")


def _body(response: requests.Response, limits: Limits, begun: float) -> bytes:
    """The bytes of an answer, as they were sent; stops at the cap and at the deadline."""
    status, length, content = response.status_code, response.headers.get("content-length", ""), bytearray()
    if status in RETRY_STATUS:
        raise NoImage(f"HTTP {status}", "failed", retry=True, response=response.raw)
    if status != 200:
        raise NoImage(f"HTTP {status}")
    try:
        while len(content) <= limits.max_bytes and not (length.isdigit() and int(length) > limits.max_bytes):
            if time.monotonic() > begun + limits.deadline:
                raise NoImage("too slow", "failed", retry=True)
            piece = response.raw.read1(CHUNK, decode_content=False)
            if not piece:
                return bytes(content)
            content += piece
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise NoImage("the connection broke off", "failed", retry=True) from error
    raise NoImage("larger than max_bytes")


def _try(way: Way, url: str, target: Path) -> dict:
    """Fetch one image once and put it in its place, if it is one: came_from (the last address), bytes, md5."""
    begun = time.monotonic()
    with _ask(way, url) as response:
        content = _body(response, way.limits, begun)
        came_from = response.url
    with files.atomic(target) as temporary:
        temporary.write_bytes(content)
        try:
            images.decode(temporary, target.parent, way.limits.max_pixels)
        except images.ImageError as error:
            # Without a length in its header, an answer that broke off looks whole until it is decoded.
            damaged = error.reason == "truncated or damaged"
            raise NoImage(error.reason, "failed" if damaged else "dead", retry=damaged) from error
    return _facts(content, came_from)


def _facts(content: bytes, came_from: str) -> dict:
    return {"came_from": came_from, "bytes": len(content), "md5": hashlib.md5(content).hexdigest()}


def _insist(way: Way, url: str, target: Path) -> dict:
    """`_try` until it is done or the attempts are used up; between two, as long as the host or the backoff says."""
    retry = Retry(way.limits.attempts - 1, backoff_factor=way.limits.backoff, retry_after_max=600)
    while True:
        try:
            return _try(way, url, target)
        except NoImage as error:
            if not error.retry:
                raise
            try:
                retry = retry.increment("GET", url, response=error.response)
                seconds = retry.get_retry_after(error.response) if error.response is not None else None
            except (urllib3.exceptions.MaxRetryError, urllib3.exceptions.InvalidHeader):
                raise error from None
            if way.stop.wait(retry.get_backoff_time() if seconds is None else seconds):
                raise


def _record(row: dict, outcome: str, reason: str = "", **facts: object) -> dict:
    """One line of downloads.jsonl."""
    return {"image_id": row["image_id"], "url": row["url"], "outcome": outcome, "reason": reason, **facts}


def _fetch_one(way: Way, row: dict, addresses: Sequence[str], folder: Path) -> tuple[dict, bool]:
    """The record of one row, with came_from, bytes and md5 where it is fetched; whether the host was silent."""
    target, record, silent = paths.inside(folder, row["file"]), {}, False
    for address in addresses:
        try:
            return _record(row, "fetched", **_insist(way, address, target)), False
        except NoImage as error:
            record, silent = _record(row, error.outcome, error.reason), error.silent
    return record, silent


def _host(way: Way, rows: list[dict], folder: Path, done: queue.Queue[dict | Exception]) -> None:
    """Fetch the images of one host in turn; by http only where that is allowed and https is not offered."""
    silent_rows, plain = 0, False
    for row in rows:
        if way.stop.is_set():
            return
        if silent_rows >= GIVE_UP:
            done.put(_record(row, "failed", f"not asked: the host did not answer for {GIVE_UP} images in a row"))
            continue
        safe = row["url"].replace("http://", "https://", 1)
        either = [row["url"]] if plain else list(dict.fromkeys([safe, row["url"]]))
        try:
            record, silent = _fetch_one(way, row, either if way.limits.allow_http else [safe], folder)
        except Exception as error:  # e.g. a full disk: handed to the caller, who stops
            done.put(error)
            return
        plain = plain or record.get("came_from", "").startswith("http://")
        silent_rows = silent_rows + 1 if silent else 0
        done.put(record)


def _results(rows: Sequence[dict], folder: Path, limits: Limits) -> Iterator[dict]:
    """Records as they come, one thread a host. Left early (also by an interruption), no further request begins."""
    by_host: dict[str, list[dict]] = collections.defaultdict(list)
    for row in rows:
        by_host[_host_of(row["url"])].append(row)
    wait, stop = pacer(limits.pause), threading.Event()
    done: queue.Queue[dict | Exception] = queue.Queue()
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(by_host)))) as pool:
        try:
            for mine in by_host.values():
                pool.submit(_host, Way(new_session(), wait, limits, stop), mine, folder, done)
            for _ in rows:
                record = done.get()
                if isinstance(record, Exception):
                    raise record
                yield record
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def read_record(folder: Path) -> dict[str, dict]:
    """image_id → its last record. A last line that was cut off by a kill is left out: that row is asked again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lines = '{"image_id": "a", "outcome": "failed"}', '{"image_id": "a", "outcome": "fetched"}'
    ...     _ = Path(folder, RECORD).write_text("\\n".join(lines))
    ...     read_record(Path(folder))["a"]["outcome"]
    'fetched'
    """
    file, records = folder / RECORD, {}
    for number, line in enumerate(file.read_text().splitlines() if file.exists() else [], 1):
        try:
            record = json.loads(line)
            records[record["image_id"]] = record
        except (ValueError, KeyError, TypeError):
            print(f"{file}: line {number} is not whole and is left out", flush=True)
    return records


def _on_disk(row: dict, folder: Path, max_pixels: int) -> dict | None:
    """The record of an image that has none (put there by hand, or before a kill); None where there is no image."""
    file = paths.inside(folder, row["file"])
    try:
        images.decode(file, folder, max_pixels)
    except images.ImageError:
        return None
    return _record(row, "fetched", **_facts(file.read_bytes(), "was there"))


def fetch(rows: pd.DataFrame, folder: Path, limits: Limits, again: bool = False) -> dict[str, dict]:
    """Fetch the images of all rows that have an address and no image yet; returns the whole record, by image_id.

    rows: image_id, file (name below folder/images), url ('' for none). again: ask also the addresses that are dead.
    Every result is written to folder/downloads.jsonl as it comes; after a kill the next call goes on from there.
    """
    known, target = read_record(folder), folder / "images"
    target.mkdir(parents=True, exist_ok=True)
    with (folder / RECORD).open("a+") as record:
        if record.tell() and (folder / RECORD).read_bytes()[-1:] != b"\n":
            record.write("\n")

        def keep(line: dict) -> None:
            known[line["image_id"]] = line
            record.write(json.dumps(line, sort_keys=True) + "\n")
            record.flush()
            os.fsync(record.fileno())

        wanted = []
        for row in rows[["image_id", "file", "url"]].to_dict("records"):
            outcome = known.get(row["image_id"], {}).get("outcome")
            if outcome == "fetched" and (target / row["file"]).is_file():
                continue
            if there := _on_disk(row, target, limits.max_pixels):
                keep(there)
            elif row["url"] and (outcome != "dead" or again):
                wanted.append(row)
        for line in compute.progress(_results(wanted, target, limits), total=len(wanted), label="download"):
            keep(line)
    return known
