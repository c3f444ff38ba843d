"""The verbs of `python -m skinsyn`: each function below is one, with its arguments beside it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .run import params, paths, pipeline, profiles, tables
from .verbs import PARSER, VERBS
from .verbs import names as _names
from .verbs import option as _option
from .verbs import verb as _verb

ROLES = ("image", "condition", "malignant", "fst", "patient", "lesion")  # as datasets.folder explains them
CHANGED = _option("-p", text="change a parameter", action="append", default=[], dest="changed", metavar="key=value")
PROFILE = _option("--profile", text="a folder of params/ (default: demo)", default="demo")
NAMED = _option("profile_named", text="the same as --profile PROFILE", nargs="?", metavar="PROFILE")
OF_A_RUN = (PROFILE, CHANGED)
ONLY = _names("--only", "only these notebooks, by number", "NN")


@_verb(
    *OF_A_RUN,
    ONLY,
    _option("--force", text="run also what is fresh (kept units are used all the same)", action="store_true"),
    _option("--name", text="run the changes as a variant beside the profile: <profile>-<name>", default=""),
)
def _run(arguments: argparse.Namespace) -> None:
    """Run the stale notebooks of a profile, in order."""
    profile, changed = arguments.profile, params.overrides(arguments.changed)
    if arguments.name:
        profile, changed = params.save_variant(profile, arguments.name, changed), {}
    seconds = pipeline.run(profile, arguments.only, changed, arguments.force)
    if seconds:
        print(f"{len(seconds)} notebooks ran in {sum(seconds.values()):.0f} s")
    print(f"Tables: {paths.run_dir(profile) / 'tables'}\nFigures: {paths.figures_dir(profile)}")


@_verb(*OF_A_RUN)
def _status(arguments: argparse.Namespace) -> None:
    """Print for each notebook whether it is fresh, or why it is stale."""
    for stem, reason in pipeline.status(arguments.profile, params.overrides(arguments.changed)):
        print(f"{stem:20} {'stale: ' + reason if reason else 'fresh'}")


@_verb(
    *OF_A_RUN,
    NAMED,
    _option("--write", text="whole files for papermill's -f, instead of printing", type=Path, metavar="DIR"),
    _option("--rewrite", text="take out of params/PROFILE what repeats the notebooks' own values", action="store_true"),
    ONLY,
)
def _params(arguments: argparse.Namespace) -> None:
    """Print every parameter of a profile, with its type and meaning; or write them as whole files."""
    profile, changed = arguments.profile_named or arguments.profile, params.overrides(arguments.changed)
    if arguments.rewrite:
        before, after = profiles.rewrite(profile)
        print(f"params/{profile}: {after} of {before} values differ from the notebooks' own and stay")
    elif arguments.write:
        print("\n".join(map(str, profiles.write_whole(profile, arguments.write, changed))))
    else:
        every = params.of_profile(profile, changed)
        print(profiles.description({stem: every[stem] for stem in pipeline.choose(list(every), arguments.only)}))


@_verb(*OF_A_RUN)
def _figures(arguments: argparse.Namespace) -> None:
    """Draw every figure again from kept units, and list which notebook makes which file."""
    pipeline.run(arguments.profile, [], params.overrides(arguments.changed), force=True)
    listed = pipeline.figures(arguments.profile)
    for name, maker in listed:
        print(f"{name:50} {maker or 'NO NOTEBOOK MAKES THIS'}")
    orphans = [name for name, maker in listed if not maker and not name.startswith("09_")]
    if orphans:
        raise ValueError(f"{len(orphans)} files that no notebook of this run makes: {', '.join(orphans)}")


@_verb(
    _option("predictions", text="the table; skinsyn/stats/intake.py lists its columns", type=Path),
    _option("--params", text="parameters of 05 and 05b in YAML", nargs="+", type=Path, default=[], metavar="FILE"),
    _option(
        "--positive",
        text="of two classes, the one to be found (default: malignant, else 1)",
        default="",
        metavar="CLASS",
    ),
    CHANGED,
    _option("--name", text="of the run that is written (default: the file's name)", default=""),
)
def _stats(arguments: argparse.Namespace) -> None:
    """Analyse somebody's predictions (Parquet or CSV) as 05_fairness_stats and 05b_description do."""
    from .run import reanalysis

    name = arguments.name or arguments.predictions.stem
    values, lacking = reanalysis.parameters(name, arguments.params, params.overrides(arguments.changed))
    frame, remarks = reanalysis.read(arguments.predictions, arguments.positive)
    if "hypotheses" in lacking:
        file, about = reanalysis.hypotheses(frame, name)
        values["05_fairness_stats"]["hypotheses"] = str(file)
        remarks.append(f"no hypotheses declared; tested: {about}")
    print("\n".join(f"Remark: {remark}" for remark in remarks))
    if own := [key for key in lacking if key != "hypotheses"]:
        print(f"left to the notebooks' own values (those of the demo): {', '.join(own)}")
    print(f"Tables, figures and numbers: {reanalysis.analyse(frame, name, values)}")


@_verb(
    _option("study", text="its name; the profile will be params/<name>/"),
    _option("--images", text="folder of the photographs, with its subfolders", type=Path, required=True),
    _option("--table", text="CSV, one row per photograph", type=Path, required=True),
    *(
        _option(f"--{role}-column", text=f"which column holds the {role}", default="", metavar="COLUMN")
        for role in ROLES
    ),
    _option("--rename", text="a condition's name in words", action="append", default=[], metavar="CODE=NAME"),
    _names("--malignant", "the malignant conditions"),
    _names("--conditions", "the classes (default: the frequent)"),
    _option("--at-least", text="photographs of a class (default: 20)", type=int, default=20, metavar="N"),
    _option("--like", text="its design is followed (default: pad_ufes_20 or demo)", default="", metavar="PROFILE"),
    _option("--encoding", text="of the table (default: utf-8)", default="utf-8-sig"),
)
def _init(arguments: argparse.Namespace) -> None:
    """From a folder of photographs and a table to a profile of your own."""
    from .datasets import new_study

    columns = {role: getattr(arguments, f"{role}_column") for role in ROLES if getattr(arguments, f"{role}_column")}
    made = new_study.init(
        arguments.study, arguments.images, arguments.table, columns, params.overrides(arguments.rename),
        arguments.malignant, arguments.like, arguments.conditions, arguments.at_least, arguments.encoding,
        input if sys.stdin.isatty() else None,
    )  # fmt: skip
    study = arguments.study
    print(f"The profile: {made}\nRead it, change what you like; then, before test predictions are read, put on record")
    print(f"what is tested: python -m skinsyn declare {study}\nThen: make paper PROFILE={study}")


@_verb(
    PROFILE,
    NAMED,
    _option("--by", text="who declares, not verified (default: the name that git has, else the login)", default=""),
    _option("--automatic", text="as the package's defaults, which are no pre-registration", action="store_true"),
    _option("--note", text="what else a reader should know", default=""),
)
def _declare(arguments: argparse.Namespace) -> None:
    """Put on record what a profile tests and by which rules; again after a change, to date it."""
    from .report import declarations

    profile = arguments.profile_named or arguments.profile
    for line in declarations.report(profile, arguments.by, arguments.automatic, arguments.note):
        print(line)


@_verb(
    *OF_A_RUN,
    _option("number", text="its id, as in the paper's last table and in numbers.json, e.g. F0.primary"),
    _option("--images", text="write every image behind it, with its seed", type=Path, metavar="FILE.csv"),
)
def _trace(arguments: argparse.Namespace) -> None:
    """From a number of the paper down to images and seeds, and the command that makes it again."""
    from . import trace

    found = trace.trace(arguments.profile, arguments.number)
    print(trace.in_words(found))
    if arguments.images:
        trace.save_images(found, arguments.images)


@_verb(_option("runs", text="profiles or variants that were run, e.g. demo demo-guidance7", nargs=2, metavar="run"))
def _compare(arguments: argparse.Namespace) -> None:
    """What differs between two runs: parameters, tables and ledger, side by side."""
    from .report import compare

    found = compare.compare(arguments.runs)
    name = compare.save(arguments.runs, found)
    print(compare.in_words(arguments.runs, found))
    print(f"All of it: {paths.figures_dir(name)}")


@_verb(
    _option("dataset", text="which data set", choices=["fitzpatrick17k"]),
    _option("--folder", text="that holds fitzpatrick17k.csv (default: data/fitzpatrick17k)", type=Path),
    _names("--conditions", "which rows; all: every one (default: the study's nine)"),
    _option("--first", text="only the first N rows, to try", type=int, metavar="N"),
    _option("--pause", text="seconds between two requests to one host (default: 1)", type=float, default=1.0),
    _option("--max-megabytes", text="larger files are refused (default: 20)", type=float, default=20.0),
    _option("--again", text="ask also the addresses that gave no image before", action="store_true"),
    _option("--allow-http", text="without encryption, where a host does not offer it", action="store_true"),
)
def _download(arguments: argparse.Namespace) -> None:
    """Fetch a data set's images from its table of addresses; goes on where it was."""
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


@_verb(_option("--output", text="where to (default: runs/base_model)", type=Path))
def _base_model(arguments: argparse.Namespace) -> None:
    """Make the tiny base model's weights again (≤ 30 minutes on 2 cores)."""
    from .diffusion import base_model

    for name, value in base_model.make(arguments.output or paths.runs_dir() / "base_model").items():
        print(f"{name}: {value}")


@_verb(*OF_A_RUN, _option("image_id", text="image_id of the table `synthetic`"))
def _image(arguments: argparse.Namespace) -> int:
    """Make one synthetic image again, with its batch and alone, and say whether it is the same."""
    from .diffusion import remake

    made = remake.image(arguments.profile, arguments.image_id)
    print(f"{made.image_id}: seed {made.seed}, made again as {made.file}")
    print(f"with its batch of {made.batch}: {'byte-identical' if made.identical else 'NOT the same bytes'}")
    print(f"alone: {made.share:.2%} of values differ, by at most {made.largest} of 255 grey levels")
    return 0 if made.identical else 1


@_verb(
    *OF_A_RUN,
    _option("--output", text="a new folder", type=Path, required=True),
    _option("--license", text="licence id for the card; the real images' own licence binds you", default="other"),
)
def _export(arguments: argparse.Namespace) -> None:
    """Write the run's synthetic images as a Hugging Face dataset folder with a card."""
    from .diffusion import export

    table = tables.read(arguments.profile, "synthetic", made_by="03_generation")
    real = tables.read(arguments.profile, "images", made_by="01_data_prep")
    note = export.PHANTOMS if (real["source"] == "phantom").all() else ""
    for file in export.write(table, arguments.output, arguments.license, note):
        print(file)


@_verb(
    *OF_A_RUN,
    _option("--gpu", text="whose published rate to take where none can be measured", default="A100"),
    _option("--price", text="of one GPU-hour", type=float, default=0.0),
)
def _plan(arguments: argparse.Namespace) -> None:
    """Print what a profile's generators and images will cost, before anything is spent."""
    from .diffusion import cost

    changed = params.overrides(arguments.changed)
    print(f"plan ({arguments.profile})")
    for what, value in cost.estimate(arguments.profile, changed, arguments.gpu, arguments.price).items():
        print(f"  {what}: {value:,}" if isinstance(value, int) else f"  {what}: {value}")


@_verb(*OF_A_RUN)
def _grid(arguments: argparse.Namespace) -> int:
    """Print how many classifiers of the training grid are done, running, failed or missing."""
    from .classifier import grid

    table, told = grid.progress(arguments.profile, params.overrides(arguments.changed))
    print(told)
    return 1 if (table["state"] == "failed").any() else 0


@_verb(
    *OF_A_RUN,
    _option("--images", text="half real, half synthetic (default: 40)", type=int, default=40),
    _option("--seed", text="of which images and in which order (default: 0)", type=int, default=0),
)
def _reader_study(arguments: argparse.Namespace) -> None:
    """Write a page that asks people: real or synthetic? And its key, which they must not get."""
    from .fidelity import reader_study

    made = reader_study.make(arguments.profile, arguments.images, arguments.seed)
    print(f"For readers: {made}\nKeep to yourself: {made.with_name('key.csv')}")
    print(f"Put the CSV files that readers send into {made.parent / 'answers'}; then: make paper PROFILE=…")


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 a notebook or check failed, 2 the call was wrong."""
    arguments = PARSER.parse_args(words)
    try:
        return VERBS[arguments.verb](arguments) or 0
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
