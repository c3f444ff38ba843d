"""Power: components found again, power equal to a closed form and to simulated tests, what is needed, what is
refused."""

import numpy as np
import pytest
from scipy import stats

from skinsyn.stats import mrmc, power


def table(rng, runs, clusters, gain=0.0, sd=(0.05, 0.2, 0.4), sets=None):
    """Normal differences with known standard deviations of runs, clusters and residual."""
    lead = () if sets is None else (sets,)
    made = gain + sd[0] * rng.standard_normal((*lead, runs, 1)) + sd[1] * rng.standard_normal((*lead, 1, clusters))
    return made + sd[2] * rng.standard_normal((*lead, runs, clusters))


def test_components_are_found_again():
    found = power.components([table(np.random.default_rng(0), 10, 80, sets=400)])
    assert np.sqrt([found.run, found.cluster[0], found.residual[0]]) == pytest.approx([0.05, 0.2, 0.4], rel=0.05)
    sd = power.summary(found)
    assert sd == pytest.approx({"run": 5.0, "cluster": 20.0, "residual": 40.0}, rel=0.05)


def test_components_give_the_standard_error_of_the_run_in_hand():
    """SE^2 = (run + residual/n + R cluster/n)/R, group by group: the same as paired_gain's where nothing was cut to
    0."""
    rng = np.random.default_rng(3)
    tables, weights = [table(rng, 6, 50), table(rng, 6, 30)], [1.0, -0.5]
    found, gain = power.components(tables, weights), mrmc.paired_gain(tables, weights)
    assert found.flags == ()
    each = found.weights**2 / found.sizes
    total = found.run + (each * found.residual).sum() + 6 * (each * found.cluster).sum()
    assert np.sqrt(total / 6) == pytest.approx(gain.se)


def test_power_without_clusters_is_that_of_a_t_test_over_runs():
    """No variance between clusters and hardly any residual: the test is Student's over runs, its power noncentral t."""
    given = power.Components(0.05**2, np.zeros(1), np.full(1, 1e-8), np.array([100]), np.ones(1), 6)
    gain = 0.07
    critical, shift = stats.t.ppf(0.975, 5), gain / 0.05 * np.sqrt(6)
    exact = stats.nct.sf(critical, 5, shift) + stats.nct.cdf(-critical, 5, shift)
    assert float(power.power(given, gain)) == pytest.approx(exact, abs=0.012)
    assert power.power(given, 0.0) == pytest.approx(0.05, abs=0.006)


def test_power_agrees_with_the_test_itself():
    rng, truth = np.random.default_rng(1), 0.12
    sets = table(rng, 5, 40, truth, sets=1500)
    rejected = (mrmc.paired_gains([sets], [1.0]).p <= 0.05).mean()
    assert float(power.power(power.components([sets]), truth)) == pytest.approx(rejected, abs=0.04)


def test_other_sizes_and_what_is_needed():
    given = power.components([table(np.random.default_rng(2), 5, 60, sets=200)])._replace(runs=5)
    grid = power.plan(given, 0.08, runs=(5, 10, 20), factors=(0.5, 1, 4), draws=4000)
    assert len(grid) == 9 and grid.query("in_hand")[["runs", "clusters"]].to_numpy().tolist() == [[5, 60]]
    by_size = grid.pivot(index="runs", columns="clusters", values="power").to_numpy()
    assert (np.diff(by_size, axis=0) > -0.02).all() and (np.diff(by_size, axis=1) > -0.02).all()
    row = grid.iloc[4]
    size = {"runs": int(row["runs"]), "clusters": int(row["clusters"])}
    assert float(power.power(given, row["detectable"] / 100, draws=4000, **size)) == pytest.approx(0.8, abs=0.01)
    found = power.needed(given, 0.12, draws=4000)
    assert float(power.power(given, 0.12, clusters=int(found["clusters"]), draws=4000)) >= 0.8
    assert float(power.power(given, 0.12, clusters=int(found["clusters"]) - 5, draws=4000)) < 0.82


def test_no_number_of_images_replaces_runs():
    given = power.Components(0.1**2, np.full(1, 1e-4), np.full(1, 1e-2), np.array([50]), np.ones(1), 3)
    assert power.needed(given, 0.05, draws=2000)["clusters"] == np.inf
    assert np.isfinite(power.needed(given, 0.05, draws=2000)["runs"])


@pytest.mark.parametrize("bad", [np.zeros((1, 9)), np.zeros((4, 1))])
def test_one_run_or_cluster_is_not_estimable(bad):
    given = power.components([bad])
    assert not given.estimable and "only" in given.flags[0]
    assert np.isnan(power.power(given, 0.1)) and np.isnan(power.detectable_gain(given))
    assert np.isnan(power.needed(given, 0.1)["runs"]) and power.plan(given, 0.1, [5])["power"].isna().all()


def test_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        power.components([np.full((3, 4), np.nan)])
    good = power.components([table(np.random.default_rng(0), 4, 20)])
    with pytest.raises(ValueError, match="target must lie"):
        power.detectable_gain(good, target=80)
    with pytest.raises(ValueError, match="two runs"):
        power.power(good, 0.1, runs=1)
    nothing = power.components([np.zeros((4, 20))])
    assert nothing.estimable and float(power.power(nothing, 0.1)) == 0.0
