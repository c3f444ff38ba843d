"""A shard that was cut short, damaged or robbed of its manifest is made again, byte for byte; also where a worker
died."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from skinsyn import images
from skinsyn.diffusion import generation
from skinsyn.diffusion.settings import ShardTask
from skinsyn.run import compute, files, paths, store

SLURM = paths.project_root().parent / "shared" / "tools" / "local-slurm.sh"


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["in the tar", "before the manifest", "before the rename"])
def test_killed_while_a_shard_is_written_it_is_made_again(study, monkeypatch, tmp_path, killed, moment):
    task = study.draw("in-then-outpaint", seed=11)[0]
    key = generation.generate(task)
    whole = study.digest("shard", key)
    store.unit_dir("shard", key).rename(tmp_path / "whole")
    encode, calls = images.encode, []

    def dies_at_the_second(array):
        calls.append(1)
        return kill() if len(calls) == 2 else encode(array)

    def dies_after(path, content):
        files_written(path, content)
        kill()

    files_written = files.write_json
    with monkeypatch.context() as patch:
        if moment == "in the tar":
            patch.setattr(images, "encode", dies_at_the_second)
        else:
            patch.setattr(files, "write_json", (lambda *_: kill()) if moment == "before the manifest" else dies_after)
        killed(lambda: generation.generate(task))
    assert not store.unit_dir("shard", key).exists()
    assert generation.generate(task) == key and study.digest("shard", key) == whole


DAMAGE = {
    "truncated": lambda folder: os.truncate(folder / "images.tar", (folder / "images.tar").stat().st_size // 2),
    "a flipped bit": lambda folder: flip(folder / "images.tar"),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no rows": lambda folder: (folder / "rows.parquet").unlink(),
}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 16
    file.write_bytes(content)


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended(study, what, capsys):
    task = study.draw("in-then-outpaint", seed=12)[1]
    for key in generation.keys_of([task]):  # the first stage, then what is made of it
        generation.generate(task)
        whole = study.digest("shard", key)
        DAMAGE[what](store.unit_dir("shard", key))
        assert store.faults("shard", key)
        generation.generate(task)
        assert study.digest("shard", key) == whole and store.faults("shard", key) == []
    assert capsys.readouterr().out.count("is damaged") == 2


def shards_begun() -> list[Path]:
    """Units that somebody is making, or has left half made."""
    return [p for p in (paths.store_dir() / "shard").glob(".*") if p.is_dir()]


def generate_once_told(task: ShardTask, told: Path) -> str:
    """Generate, but not before the file `told` exists."""
    while not told.exists():
        time.sleep(0.1)
    return generation.generate(task)


def watch(tasks: list[ShardTask], spec: str, meddle, told: Path, before=lambda: None) -> list[str]:
    """Make tasks on an engine, begun once `before` returns, while `meddle` interferes with a shard being made; the
    keys."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            compute.fan_out(spec, generate_once_told, [(task, told) for task in tasks], "test")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)  # must not outlive a failed test
    thread.start()
    before()
    told.touch()
    until = time.monotonic() + 240
    while not shards_begun() and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.005)
    meddle()
    thread.join(timeout=300)
    assert not thread.is_alive() and not failed, failed
    return generation.keys_of(tasks)


def many(study, seed: int) -> list[ShardTask]:
    """Enough work that somebody is at it when a worker dies: both conditions, four seeds."""
    return [task for s in range(4) for task in study.draw("in-then-outpaint", sampling_steps=20, seed=seed + s)]


def expected(study, tasks: list[ShardTask], tmp_path: Path) -> dict[str, dict]:
    """Digests of what one process makes, which is then set aside."""
    keys = study.make(tasks)
    found = {key: study.digest("shard", key) for key in keys}
    (tmp_path / "serial").mkdir()
    for key in found:
        store.unit_dir("shard", key).rename(tmp_path / "serial" / key)
    for left in shards_begun():
        shutil.rmtree(left)
    return found


@pytest.mark.slow
def test_a_dask_worker_is_killed_and_the_bytes_are_the_same(study, tmp_path):
    psutil = pytest.importorskip("psutil")
    tasks = many(study, 100)
    whole = expected(study, tasks, tmp_path)

    def meddle() -> None:
        workers = [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        busy = max(workers, key=lambda p: sum(p.cpu_times()[:2]))
        busy.send_signal(signal.SIGKILL)

    keys = watch(tasks, "dask:2", meddle, tmp_path / "told")
    assert {key: study.digest("shard", key) for key in keys} == whole
    assert len(shards_begun()) <= 1, "one worker died, and it lost one shard"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A real SLURM of one node on this machine, as dask-jobqueue's own configuration would name it."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue")
    needed = ("slurmctld", "slurmd", "munged", "sbatch")
    lacking = [name for name in needed if not shutil.which(name, path="/usr/sbin:/usr/bin")]
    if lacking or not SLURM.exists() or os.geteuid() != 0:
        pytest.skip(f"a local SLURM needs root, {SLURM}, and Debian's slurm-wlm and munge; lacking: {lacking}")
    monkeypatch.setenv("SLURM_HOME", str(tmp_path / "slurm"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm" / "slurm.conf"))
    monkeypatch.setenv("PYTHONPATH", f"{paths.project_root()}{os.pathsep}{Path(__file__).parent}")  # as workers see it
    started = subprocess.run(["bash", str(SLURM), "start"], capture_output=True, text=True)
    if started.returncode or "idle" not in started.stdout:
        subprocess.run(["bash", str(SLURM), "stop"], capture_output=True)
        pytest.skip(f"the local SLURM did not start: {started.stdout[-300:]} {started.stderr[-300:]}")
    logs = tmp_path / "logs"
    asked = {"cores": 1, "processes": 1, "memory": "1500MB", "python": sys.executable, "log-directory": str(logs)}
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in asked.items()}):
        yield
    subprocess.run(["bash", str(SLURM), "stop"], capture_output=True)


@pytest.mark.slow
def test_a_slurm_job_is_cancelled_a_worker_killed_and_the_bytes_are_the_same(study, slurm, tmp_path):
    psutil = pytest.importorskip("psutil")
    tasks = many(study, 200)
    whole = expected(study, tasks, tmp_path)

    def jobs() -> list[str]:
        asked = ["squeue", "-h", "-t", "R", "-o", "%A"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()

    def one_runs() -> None:
        until = time.monotonic() + 180
        while not jobs() and time.monotonic() < until:
            time.sleep(0.2)

    def others(first: str) -> list:
        """Worker processes of another job. Where the node has one core, SLURM starts that one when the first is
        gone."""
        every = psutil.process_iter(["environ", "cmdline"])
        inside = [p for p in every if (p.info["environ"] or {}).get("SLURM_JOB_ID") in set(jobs()) - {first}]
        return [p for p in inside if "spawn_main" in " ".join(p.info["cmdline"] or [])]

    def meddle() -> None:
        first = jobs()[0]
        subprocess.run(["scancel", first], check=True)
        workers, until = others(first), time.monotonic() + 180
        while not workers and time.monotonic() < until:
            time.sleep(0.1)
            workers = others(first)
        for process in workers:
            process.send_signal(signal.SIGKILL)
        queue = subprocess.run(["squeue", "-a", "-o", "%A %T %r"], capture_output=True, text=True).stdout
        assert workers, f"no worker of another job was found: {queue}"

    keys = watch(tasks, "slurm:2", meddle, tmp_path / "told", one_runs)
    assert {key: study.digest("shard", key) for key in keys} == whole
    assert len(shards_begun()) <= 2, "a job and a worker died, and each lost one shard"


@pytest.mark.slow
def test_slurm_jobs_that_end_before_their_worker_comes_are_told_of(slurm, monkeypatch):
    dask = pytest.importorskip("dask")
    monkeypatch.setattr(compute, "SLURM_EVERY", 1.0)
    with dask.config.set({"jobqueue.slurm.job-script-prologue": ["exit 3"]}):
        with pytest.raises(RuntimeError, match="ended before their worker came.*\n#!/"):
            compute.fan_out("slurm:1", os.getpid, [()], "test")
