"""The verbs of `python -m skinsyn`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .run import params, paths, pipeline, profiles, tables

MANY: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "NAME"}
ONLY: dict[str, Any] = MANY | {"metavar": "NN", "help": "only these notebooks, by number"}
PAIRS: dict[str, Any] = {"action": "append", "default": []}
CHANGED: dict[str, Any] = PAIRS | {"dest": "changed", "metavar": "key=value", "help": "change a parameter"}
ROLES = ("image", "condition", "malignant", "fst", "patient", "lesion")  # as datasets.folder explains them


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m skinsyn", description="Run the study's notebooks headlessly, and ask what they would do."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("--profile", default="demo", help="a folder of params/ (default: demo)")
        added.add_argument("-p", **CHANGED)
        return added

    runs = verb("run", "Run the stale notebooks of a profile, in order.")
    runs.add_argument("--only", **ONLY)
    runs.add_argument("--force", action="store_true", help="run also what is fresh (kept units are used all the same)")
    runs.add_argument("--name", default="", help="run the changes as a variant beside the profile: <profile>-<name>")
    verb("status", "Print for each notebook whether it is fresh, or why it is stale.")
    shown = verb(
        "params", "Print every parameter of a profile, with its type and meaning; or write them as whole files."
    )
    shown.add_argument("named", nargs="?", metavar="PROFILE", help="the same as --profile PROFILE")
    shown.add_argument("--write", type=Path, metavar="DIR", help="whole files for papermill's -f, instead of printing")
    shown.add_argument(
        "--rewrite", action="store_true", help="take out of params/PROFILE what repeats the notebooks' own values"
    )
    shown.add_argument("--only", **ONLY)
    verb("figures", "Draw every figure again from kept units, and list which notebook makes which file.")
    own = verbs.add_parser("stats", help="Analyse somebody's predictions (Parquet or CSV) as 05_fairness_stats does.")
    own.add_argument("predictions", type=Path, help="the table, by the contract of skinsyn/stats/predictions.py")
    own.add_argument("--params", nargs="+", type=Path, default=[], metavar="FILE", help="parameters of 05 in YAML")
    own.add_argument("-p", **CHANGED)
    own.add_argument("--name", default="", help="of the run that is written (default: the file's name)")
    started = verbs.add_parser("init", help="From a folder of photographs and a table to a profile of your own.")
    started.add_argument("study", help="its name; the profile will be params/<name>/")
    started.add_argument("--images", type=Path, required=True, help="folder of the photographs, with its subfolders")
    started.add_argument("--table", type=Path, required=True, help="CSV, one row a photograph")
    for role in ROLES:
        started.add_argument(f"--{role}-column", default="", metavar="COLUMN", help=f"which column holds the {role}")
    started.add_argument("--rename", **PAIRS, metavar="CODE=NAME", help="a condition's name in words")
    started.add_argument("--malignant", **MANY, help="the malignant conditions")
    started.add_argument("--conditions", **MANY, help="the classes (default: the frequent)")
    started.add_argument("--at-least", type=int, default=20, metavar="N", help="photographs of a class (default: 20)")
    started.add_argument(
        "--like", default="", metavar="PROFILE", help="its design is followed (default: pad_ufes_20 or demo)"
    )
    started.add_argument("--encoding", default="utf-8-sig", help="of the table (default: utf-8)")
    traced = verb("trace", "From a number of the paper down to images and seeds, and the command that makes it again.")
    traced.add_argument("number", help="its id, as in the paper's last table and in numbers.json, e.g. F0.primary")
    traced.add_argument("--images", type=Path, metavar="FILE.csv", help="write every image behind it, with its seed")
    both = verbs.add_parser(
        "compare", help="What differs between two runs: parameters, tables and ledger, side by side."
    )
    both.add_argument(
        "runs", nargs=2, metavar="run", help="profiles or variants that were run, e.g. demo demo-guidance7"
    )
    fetched = verbs.add_parser(
        "download", help="Fetch a data set's images from its table of addresses; goes on where it was."
    )
    fetched.add_argument("dataset", choices=["fitzpatrick17k"])
    fetched.add_argument("--folder", type=Path, help="that holds fitzpatrick17k.csv (default: data/fitzpatrick17k)")
    fetched.add_argument("--conditions", **MANY, help="which rows; all: every one (default: the study's nine)")
    fetched.add_argument("--first", type=int, metavar="N", help="only the first N rows, to try")
    fetched.add_argument(
        "--pause", type=float, default=1.0, help="seconds between two requests to one host (default: 1)"
    )
    fetched.add_argument("--max-megabytes", type=float, default=20.0, help="larger files are refused (default: 20)")
    fetched.add_argument("--again", action="store_true", help="ask also the addresses that gave no image before")
    fetched.add_argument("--allow-http", action="store_true", help="without encryption, where a host does not offer it")
    base = verbs.add_parser("base-model", help="Make the tiny base model's weights again (≤ 30 minutes on 2 cores).")
    base.add_argument("--output", type=Path, default=None, help="where to (default: runs/base_model)")
    again = verb("image", "Make one synthetic image again, with its batch and alone, and say whether it is the same.")
    again.add_argument("image_id", help="image_id of the table `synthetic`")
    out = verb("export", "Write the run's synthetic images as a Hugging Face dataset folder with a card.")
    out.add_argument("--output", type=Path, required=True, help="a new folder")
    out.add_argument(
        "--license", default="other", help="licence id for the card; the real images' own licence binds you"
    )
    verb("grid", "Print how many classifiers of the training grid are done, running, failed or missing.")
    asked = verb(
        "reader-study", "Write a page that asks people: real or synthetic? And its key, which they must not get."
    )
    asked.add_argument("--images", type=int, default=40, help="half real, half synthetic (default: 40)")
    asked.add_argument("--seed", type=int, default=0, help="of which images and in which order (default: 0)")
    cost = verb("plan", "Print what a profile's generators and images will cost, before anything is spent.")
    cost.add_argument("--gpu", default="A100", help="whose published rate to take where none can be measured")
    cost.add_argument("--price", type=float, default=0.0, help="of one GPU-hour")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    profile, changed = arguments.profile, params.overrides(arguments.changed)
    if arguments.name:
        profile, changed = params.save_variant(profile, arguments.name, changed), {}
    seconds = pipeline.run(profile, arguments.only, changed, arguments.force)
    if seconds:
        print(f"{len(seconds)} notebooks ran in {sum(seconds.values()):.0f} s")
    print(f"Tables: {paths.run_dir(profile) / 'tables'}\nFigures: {paths.figures_dir(profile)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    for stem, reason in pipeline.status(arguments.profile, params.overrides(arguments.changed)):
        print(f"{stem:20} {'stale: ' + reason if reason else 'fresh'}")
    return 0


def _params(arguments: argparse.Namespace) -> int:
    profile, changed = arguments.named or arguments.profile, params.overrides(arguments.changed)
    if arguments.rewrite:
        before, after = profiles.rewrite(profile)
        print(f"params/{profile}: {after} of {before} values differ from the notebooks' own and stay")
        return 0
    if arguments.write:
        print("\n".join(str(file) for file in profiles.write_whole(profile, arguments.write, changed)))
        return 0
    every = params.of_profile(profile, changed)
    for stem in pipeline.choose(list(every), arguments.only):
        print(f"\n{stem}")
        about = params.declared(paths.project_root() / "notebooks" / f"{stem}.ipynb")
        for name, value in every[stem].items():
            print(f"  {name}: {about[name]['type']} = {value!r}\n      {about[name]['help']}")
    return 0


def _figures(arguments: argparse.Namespace) -> int:
    pipeline.run(arguments.profile, [], params.overrides(arguments.changed), force=True)
    listed = pipeline.figures(arguments.profile)
    for name, maker in listed:
        print(f"{name:50} {maker or 'NO NOTEBOOK MAKES THIS'}")
    orphans = [name for name, maker in listed if not maker and not name.startswith("09_")]
    if orphans:
        print(f"error: {len(orphans)} files that no notebook of this run makes: {', '.join(orphans)}", file=sys.stderr)
    return 1 if orphans else 0


def _stats(arguments: argparse.Namespace) -> int:
    from .run import reanalysis
    from .stats.predictions import check_predictions

    name = arguments.name or arguments.predictions.stem
    values, lacking = reanalysis.parameters(name, arguments.params, params.overrides(arguments.changed))
    frame = reanalysis.read(arguments.predictions)
    try:
        check_predictions(frame)
    except ValueError as error:
        raise ValueError(f"{arguments.predictions}: {error}") from error
    if lacking:
        print(f"left to the notebook's own values (those of the demo): {', '.join(lacking)}")
    print(f"Tables, figures and numbers: {reanalysis.analyse(frame, values)}")
    return 0


def _init(arguments: argparse.Namespace) -> int:
    from .datasets import new_study

    columns = {role: getattr(arguments, f"{role}_column") for role in ROLES if getattr(arguments, f"{role}_column")}
    made = new_study.init(
        arguments.study, arguments.images, arguments.table, columns, params.overrides(arguments.rename),
        arguments.malignant, arguments.like, arguments.conditions, arguments.at_least, arguments.encoding,
        input if sys.stdin.isatty() else None,
    )  # fmt: skip
    print(f"The profile: {made}\nRead it, change what you like, then: make paper PROFILE={arguments.study}")
    return 0


def _trace(arguments: argparse.Namespace) -> int:
    from . import trace

    found = trace.trace(arguments.profile, arguments.number)
    print(trace.in_words(found))
    if arguments.images:
        trace.save_images(found, arguments.images)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from .report import compare

    found = compare.compare(arguments.runs)
    name = compare.save(arguments.runs, found)
    print(compare.in_words(arguments.runs, found))
    print(f"All of it: {paths.figures_dir(name)}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from .datasets import download, fitzpatrick17k_images

    folder = (arguments.folder or paths.project_root() / "data" / "fitzpatrick17k").expanduser().resolve()
    limits = download.Limits(
        arguments.pause, max_bytes=int(arguments.max_megabytes * 1e6), allow_http=arguments.allow_http
    )
    counts, _ = fitzpatrick17k_images.fetch(folder, limits, arguments.conditions, arguments.first, arguments.again)
    for key in ("condition", "fst"):
        sums = counts.groupby(key).sum(numeric_only=True).drop(columns="fst", errors="ignore")
        print(sums.rename(index={-1: "unknown"}).to_string())
    print(
        f"By condition and skin type: {folder / 'download_attrition.csv'}; each row without an image: download_lost.csv"
    )
    return 0


def _base_model(arguments: argparse.Namespace) -> int:
    from .diffusion import base_model

    made = base_model.make(arguments.output or paths.runs_dir() / "base_model")
    for name, value in made.items():
        print(f"{name}: {value}")
    return 0


def _image(arguments: argparse.Namespace) -> int:
    from .diffusion import remake

    made = remake.image(arguments.profile, arguments.image_id)
    print(f"{made.image_id}: seed {made.seed}, made again as {made.file}")
    print(f"with its batch of {made.batch}: {'byte-identical' if made.identical else 'NOT the same bytes'}")
    print(f"alone: {made.share:.2%} of values differ, by at most {made.largest} of 255 grey levels")
    return 0 if made.identical else 1


def _export(arguments: argparse.Namespace) -> int:
    from .diffusion import export

    table = tables.read(arguments.profile, "synthetic", made_by="03_generation")
    real = tables.read(arguments.profile, "images", made_by="01_data_prep")
    note = export.PHANTOMS if (real["source"] == "phantom").all() else ""
    for file in export.write(table, arguments.output, arguments.license, note):
        print(file)
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from .diffusion import cost

    changed = params.overrides(arguments.changed)
    print(f"plan ({arguments.profile})")
    for what, value in cost.estimate(arguments.profile, changed, arguments.gpu, arguments.price).items():
        print(f"  {what}: {value:,}" if isinstance(value, int) else f"  {what}: {value}")
    return 0


def _grid(arguments: argparse.Namespace) -> int:
    from .classifier import grid

    table, told = grid.progress(arguments.profile, params.overrides(arguments.changed))
    print(told)
    return 1 if (table["state"] == "failed").any() else 0


def _reader_study(arguments: argparse.Namespace) -> int:
    from .fidelity import reader_study

    made = reader_study.make(arguments.profile, arguments.images, arguments.seed)
    print(f"For readers: {made}\nKeep to yourself: {made.with_name('key.csv')}")
    print(f"Put the CSV files that readers send into {made.parent / 'answers'}; then: make paper PROFILE=…")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 a notebook or check failed, 2 the call was wrong."""
    arguments = _parser().parse_args(words)
    verbs = {"run": _run, "status": _status, "params": _params, "figures": _figures, "stats": _stats}
    verbs |= {"base-model": _base_model, "init": _init, "compare": _compare, "trace": _trace, "download": _download}
    verbs |= {"image": _image, "export": _export, "plan": _plan, "grid": _grid, "reader-study": _reader_study}
    try:
        return verbs[arguments.verb](arguments)
    except params.ParameterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (pipeline.NotebookFailed, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
