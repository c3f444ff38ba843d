"""The tables of `make bench` that are part of the project: committed under figures/demo, shown by the notebooks."""

import pandas as pd

from ..run import files, paths

__all__ = ["simulation"]


def simulation() -> pd.DataFrame | None:
    """How the primary test did on simulated studies (columns of stats.simulation.row); None where it was not run."""
    file = paths.project_root() / "figures" / "demo" / "09_benchmarks-simulation.csv"
    files.log_access("read", file)
    return pd.read_csv(file) if file.exists() else None
