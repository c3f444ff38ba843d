"""Every engine gives the same results in the order of the tasks, and a failure is told with its parameters."""

import os

import pytest

from skinsyn.run import compute, paths, seeds


def root_of(number: int, power: int) -> list:
    return [number, seeds.seed_of(number, power), os.getpid()]


def fails_on_two(number: int) -> int:
    if number == 2:
        raise ValueError("two is not wanted")
    return number


def test_serial_keeps_the_order():
    assert [r[0] for r in compute.fan_out("serial", root_of, [(3, 1), (1, 1), (2, 1)], "roots")] == [3, 1, 2]


def test_dask_gives_the_same_as_serial_in_other_processes():
    tasks = [(n, 2) for n in range(6)]
    serial = compute.fan_out("serial", root_of, tasks, "roots")
    dask = compute.fan_out("dask:2", root_of, tasks, "roots")
    assert [r[:2] for r in dask] == [r[:2] for r in serial]
    assert os.getpid() not in {r[2] for r in dask}


def test_a_failed_task_is_named_and_the_others_are_finished():
    with pytest.raises(compute.TaskError, match=r"1 of 3 tasks failed.*\n.*\(2,\): ValueError: two is not wanted"):
        compute.fan_out("serial", fails_on_two, [(1,), (2,), (3,)], "numbers")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="expected serial, dask"), compute.get_executor("spark"):
        pass


def test_progress_is_quiet_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.setenv("SKINSYN_HEADLESS", "1")
    assert list(compute.progress(range(5), label="work")) == list(range(5))
    assert capsys.readouterr() == ("", "")


def test_seeds_are_pinned():
    assert seeds.seed_of(0, "recipe", "inpaint", 1, "annular", "p1", 0) == 897226464348447570


def test_a_path_may_not_leave_its_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/link").symlink_to("/etc")
    assert paths.inside(tmp_path / "images", "a/b.png").name == "b.png"
    for name in ("../secret.png", "/etc/passwd", "link/passwd"):
        with pytest.raises(ValueError, match="outside its folder"):
            paths.inside(tmp_path / "images", name)


def test_missing_data_names_every_place(monkeypatch):
    monkeypatch.setenv("SKINSYN_DATA", "/nowhere")
    with pytest.raises(FileNotFoundError, match=r"/nowhere/absent_set[\s\S]*README"):
        paths.data_dir("absent_set")
