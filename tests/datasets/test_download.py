"""Downloading against a real server on this machine that is slow, drops, redirects, lies and sends bombs.

Nothing leaves the machine: a test that opens a connection to another address fails.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from local_server import picture, serve

from skinsyn.__main__ import main
from skinsyn.datasets import download, fitzpatrick17k_images, table

QUICK = download.Limits(pause=0, attempts=3, backoff=0, timeout=10, deadline=30, max_bytes=2_000_000, allow_http=True)


@pytest.fixture(autouse=True)
def stay_here(monkeypatch):
    """No proxy, and no connection to anywhere else."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.endswith("CA_BUNDLE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "*")
    connect = socket.socket.connect

    def only_here(self, address):
        assert address[0] == "127.0.0.1", f"a test tried to reach {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)


@pytest.fixture
def server():
    with serve() as running:
        yield running


def rows(server, *names: str) -> pd.DataFrame:
    """One row per path, with an image_id of 32 hex digits."""
    ids = [hashlib.md5(name.encode()).hexdigest() for name in names]
    urls = [f"{server.address}/{name}" if name and ":" not in name else name for name in names]
    return pd.DataFrame({"image_id": ids, "file": [f"{i}.jpg" for i in ids], "url": urls, "condition": "c", "fst": 1})


def one(server, folder, name: str, limits: download.Limits = QUICK) -> dict:
    [record] = download.fetch(rows(server, name), folder, limits).values()
    return record


@pytest.mark.parametrize(
    ("name", "asked"),
    [("ok.jpg", 1), ("slow.jpg", 1), ("drops.jpg", 2), ("drops-nolength.jpg", 2), ("redirect.jpg", 2), ("busy.jpg", 2),
     ("busy-date.jpg", 2), ("typed.jpg", 1)],
)  # fmt: skip
def test_an_image_is_fetched_in_the_end(server, tmp_path, name, asked):
    record = one(server, tmp_path, name)
    [file] = (tmp_path / "images").iterdir()
    content = file.read_bytes()
    assert record["outcome"] == "fetched" and file.stem == record["image_id"] and len(server.asked) == asked
    assert content == picture("PNG" if name == "typed.jpg" else "JPEG", 3 if "redirect" in name else 0)
    assert record["md5"] == hashlib.md5(content).hexdigest() and record["bytes"] == len(content)
    assert record["came_from"] == f"{server.address}{server.asked[-1]}"
    assert all(agent.startswith("skinsyn/") for agent in server.agents)


@pytest.mark.parametrize(
    ("name", "outcome", "reason", "asked"),
    [
        ("missing.jpg", "dead", "HTTP 404", 1),
        ("page.jpg", "dead", "not an image", 1),
        ("bomb.jpg", "dead", "too many pixels", 1),
        ("packed.jpg", "dead", "not an image", 1),
        ("large.jpg", "dead", "larger than max_bytes", 1),
        ("endless.jpg", "dead", "larger than max_bytes", 1),
        ("loop.jpg", "dead", "too many redirections", 6),
        ("leaves.jpg", "dead", "not an https address", 1),
        ("local.jpg", "dead", "not an https address", 1),
        ("drip.jpg", "failed", "too slow", 3),
        ("drops-always.jpg", "failed", "the connection broke off", 3),
        ("drops-always-nolength.jpg", "failed", "truncated or damaged", 3),
        ("silent.jpg", "failed", "the host does not answer", 3),
        ("broken.jpg", "failed", "HTTP 503", 1),  # its Retry-After is no time: not asked again
        ("http://[", "dead", "not an address", 0),
        ("file:///etc/passwd", "dead", "not an https address", 0),
    ],
)
def test_what_gives_no_image_leaves_no_file_and_a_reason(server, tmp_path, name, outcome, reason, asked):
    record = one(server, tmp_path, name, QUICK._replace(deadline=0.3) if name == "drip.jpg" else QUICK)
    assert (record["outcome"], record["reason"]) == (outcome, reason)
    assert not list((tmp_path / "images").iterdir()) and len(server.asked) == asked


def test_https_only_unless_told_otherwise(server, tmp_path):
    record = one(server, tmp_path, "ok.jpg", QUICK._replace(allow_http=False))
    assert record["outcome"] == "failed" and record["reason"] in ("no trusted encryption", "the host does not answer")
    assert server.asked == [], "no request may go out unencrypted"


def test_https_is_preferred_and_its_certificate_is_checked(tmp_path, monkeypatch):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here to make a certificate with")
    both = tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", both, "-out", tmp_path / "c.pem"], check=True, capture_output=True)
    both.write_text(both.read_text() + (tmp_path / "c.pem").read_text())
    with serve(both) as server:
        named = rows(server, "ok.jpg").assign(url=f"http://127.0.0.1:{server.server_port}/ok.jpg")
        strict = QUICK._replace(allow_http=False)
        [stranger] = download.fetch(named, tmp_path / "a", strict).values()
        assert (stranger["outcome"], stranger["reason"]) == ("failed", "no trusted encryption") and not server.asked
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "c.pem"))
        [known] = download.fetch(named, tmp_path / "b", strict).values()
        assert known["outcome"] == "fetched" and known["came_from"].startswith("https://127.0.0.1")
        leaving = rows(server, "leaves.jpg")
        assert list(download.fetch(leaving, tmp_path / "c", strict).values())[0]["reason"] == "not an https address"


def test_a_second_call_asks_only_what_may_have_changed(server, tmp_path):
    table = rows(server, "ok-1.jpg", "ok-2.jpg", "missing.jpg", "drops-always.jpg", "")
    first = download.fetch(table, tmp_path, QUICK)
    assert [first[i]["outcome"] for i in table["image_id"][:4]] == ["fetched", "fetched", "dead", "failed"]
    (tmp_path / "images" / table["file"][1]).unlink()
    server.asked.clear()
    again = download.fetch(table, tmp_path, QUICK)
    assert server.asked == ["/ok-2.jpg"] + ["/drops-always.jpg"] * 3
    assert again == first == download.read_record(tmp_path)
    server.asked.clear()
    download.fetch(table[2:3], tmp_path, QUICK, again=True)
    assert server.asked == ["/missing.jpg"]


def test_images_that_are_there_are_taken_without_a_request(server, tmp_path):
    table = rows(server, "ok-1.jpg", "ok-2.jpg")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / table["file"][0]).write_bytes(picture(seed=9))
    (tmp_path / "images" / table["file"][1]).write_bytes(picture(seed=2)[:100])  # half of one, from elsewhere
    record = download.fetch(table, tmp_path, QUICK)
    assert server.asked == ["/ok-2.jpg"] and record[table["image_id"][0]]["came_from"] == "was there"
    assert (tmp_path / "images" / table["file"][1]).read_bytes() == picture(seed=2)


def test_a_record_that_was_cut_off_is_mended(server, tmp_path, capsys):
    table = rows(server, "missing-1.jpg", "missing-2.jpg")
    download.fetch(table, tmp_path, QUICK)
    file = tmp_path / download.RECORD
    file.write_text(file.read_text()[:-20])
    server.asked.clear()
    download.fetch(table, tmp_path, QUICK)
    assert len(server.asked) == 1 and "line 2 is not whole" in capsys.readouterr().out
    assert set(download.read_record(tmp_path)) == set(table["image_id"])


def test_killed_in_the_middle_it_goes_on(server, tmp_path):
    names = [f"ok-{n}.jpg" for n in range(8)]
    table = rows(server, *names)
    table.to_json(tmp_path / "rows.json")
    program = (
        "import sys, pandas as pd; from pathlib import Path; from skinsyn.datasets import download\n"
        "rows = pd.read_json(sys.argv[1] + '/rows.json', dtype=False)\n"
        f"download.fetch(rows, Path(sys.argv[1]), download.Limits(*{tuple(QUICK._replace(pause=0.2))!r}))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    while len(server.asked) < 3 and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = len(server.asked)
    assert 3 <= before < 8
    record = download.fetch(table, tmp_path, QUICK)
    assert {line["outcome"] for line in record.values()} == {"fetched"} and len(record) == 8
    assert len(server.asked) <= 8 + 1, "at most the image in flight is asked twice"
    for name, file in zip(names, table["file"], strict=True):
        assert (tmp_path / "images" / file).read_bytes() == picture(seed=int(name[3]))


def test_a_host_that_never_answers_is_left_in_peace(server, tmp_path):
    table = rows(server, *(f"silent-{n}.jpg" for n in range(9)))
    record = download.fetch(table, tmp_path, QUICK._replace(attempts=1))
    assert len(server.asked) == download.GIVE_UP
    assert sum(line["reason"].startswith("not asked") for line in record.values()) == 9 - download.GIVE_UP
    assert {line["outcome"] for line in record.values()} == {"failed"}


def test_requests_to_one_host_are_apart_and_hosts_do_not_wait_for_each_other(monkeypatch):
    clock = SimpleNamespace(now=100.0, slept=[])

    def sleep(seconds):
        clock.slept.append(round(seconds, 6))
        clock.now += seconds

    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    wait = download.pacer(2.0)
    for host in ("a", "a", "b", "a"):
        wait(host)
    assert clock.slept == [0, 2, 0, 2]
    clock.now += 5
    wait("a")
    assert clock.slept[-1] == 0


def test_a_full_disk_stops_the_download_and_is_told(server, tmp_path, monkeypatch):
    monkeypatch.setattr(
        download.files, "sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        download.fetch(rows(server, "ok-1.jpg", "ok-2.jpg"), tmp_path, QUICK)
    assert download.read_record(tmp_path) == {} and not list((tmp_path / "images").glob("*.jpg"))


HEAD = (
    "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc,url,url_alphanum"
)


@pytest.fixture
def fitzpatrick(server, tmp_path):
    """A table in the data set's own layout, whose addresses lie on the local server."""
    plan = [
        ("psoriasis", 1, "", "ok-1.jpg"), ("psoriasis", 1, "", "missing.jpg"), ("psoriasis", 6, "", "page.jpg"),
        ("psoriasis", -1, "", ""), ("sarcoidosis", 3, "", "ok-2.jpg"), ("sarcoidosis", 3, "3 Wrongly labelled",
        "ok-3.jpg"),
        ("acne", 2, "", "ok-4.jpg"),
    ]  # fmt: skip
    lines = [HEAD]
    for number, (label, fst, qc, name) in enumerate(plan):
        md5 = hashlib.md5(picture(seed=1)).hexdigest() if name == "ok-1.jpg" else f"{number:032x}"
        url = f"{server.address}/{name}" if name else ""
        lines.append(f"{md5},{fst},{fst},{label},inflammatory,non-neoplastic,{qc},{url},")
    (tmp_path / "fitzpatrick17k.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_fitzpatrick17k_from_the_command_to_the_table_of_images(server, fitzpatrick, capsys, monkeypatch):
    others = [
        n for n in fitzpatrick17k_images.fitzpatrick17k.PUBLISHED_TRAINING if n not in ("psoriasis", "sarcoidosis")
    ]
    with pytest.raises(ValueError, match=f"--conditions: unknown condition '{others[0]}'"):
        fitzpatrick17k_images.fetch(fitzpatrick, QUICK)
    words = ["download", "fitzpatrick17k", "--folder", str(fitzpatrick), "--pause", "0", "--allow-http"]
    assert main([*words, "--conditions", "psoriasis", "sarcoidosis"]) == 0
    out = capsys.readouterr().out
    assert "5 rows" in out and "1 of 2 images have the very bytes" in out
    counts = pd.read_csv(fitzpatrick / "download_attrition.csv").set_index(["condition", "fst"])
    assert counts.loc[("psoriasis", 1)].to_dict() == {
        "rows": 2, "fetched": 1, "no url": 0, "dead": 1, "failed": 0, "waiting": 0,
    }  # fmt: skip
    assert counts.loc[("psoriasis", -1), "no url"] == 1 and counts.loc[("psoriasis", 6), "dead"] == 1
    lost = pd.read_csv(fitzpatrick / "download_lost.csv")
    assert lost["reason"].fillna("").tolist() == ["", "HTTP 404", "not an image"]
    assert "/ok-3.jpg" not in server.asked and "/ok-4.jpg" not in server.asked, "rows that are not used are not fetched"
    found, left_out = table.load("fitzpatrick17k", fitzpatrick, ["psoriasis", "sarcoidosis"])
    assert len(found) == 2 and (left_out["stage"] == "images").sum() == 3


def test_the_command_says_what_it_needs(tmp_path, capsys):
    assert main(["download", "fitzpatrick17k", "--folder", str(tmp_path)]) == 1
    assert "no fitzpatrick17k.csv" in capsys.readouterr().err


def test_a_line_of_the_record_is_json_with_the_md5(server, tmp_path):
    one(server, tmp_path, "ok.jpg")
    [line] = (tmp_path / download.RECORD).read_text().splitlines()
    assert json.loads(line)["md5"] == hashlib.md5(picture()).hexdigest()
