"""Skin type in prose: what is unknown, what is recorded with error, and which source it comes from."""

import pandas as pd

from .words import _n, _signed

__all__ = ["error", "missing", "source"]


def missing(share: pd.DataFrame, bounds: pd.DataFrame) -> str:
    """How many types are unknown, and what that leaves open. share, bounds: of `stats.missing_skin_type`."""
    whole = share[share["condition"] == "all"].iloc[0]
    count, of = _n(int(whole["unknown"])), _n(int(whole["images"]))
    if not whole["unknown"]:
        return f"Skin type is known for all {of} test images."
    text = f"Skin type is unknown for {count} of {of} test images"
    parts = share[share["condition"] != "all"]
    if whole["flags"]:
        most, least = parts.loc[parts["share"].idxmax()], parts.loc[parts["share"].idxmin()]
        ends = [f"{_n(100 * row['share'])} % of {row['condition']}" for row in (most, least)]
        text += f", and depends on the condition ({ends[0]}, {ends[1]})"
    rows = bounds[(bounds["quantity"] == "gain") & bounds["lower"].notna()]
    rows = rows[rows["task"] == rows["task"].iloc[0]] if len(rows) else rows
    spans = [f"{_signed(row['lower'])} to {_signed(row['upper'])} points in {row['group']}" for row in _alone(rows)]
    if not spans:
        return f"{text}. No skin-type group has a gain to bound."
    open_ = f"Whoever they are, the gain in these images lies from {'; '.join(spans)}"
    return f"{text}. {open_} (worst case; intervals are in the table)."


def error(table: pd.DataFrame) -> str:
    """The gains by true skin type beside those by recorded type. table: of `stats.skin_type_error`."""
    rows = table[table["estimate"].notna() & table["errors"].eq(1) & table["method"].eq("predictive values")]
    rows = rows[rows["quantity"] == "gain"]
    if rows.empty:
        return f"Corrected for errors of the recorded skin type: {table['flags'].iloc[0]}."
    rows, texts = rows[rows["task"] == rows["task"].iloc[0]], []
    for annotator, part in rows.groupby("annotator", sort=False):
        gains = []
        for row in _alone(part):
            ends = f" ({_signed(row['low'])} to {_signed(row['high'])})" if pd.notna(row["low"]) else " (no interval)"
            gains.append(f"{_signed(row['estimate'])}{ends} in {row['group']}, as recorded {_signed(row['recorded'])}")
        read = _n(int(part["validated"].iloc[0]))
        by = f"Corrected by {read} images whose type experts read beside {str(annotator).capitalize()}'s"
        texts.append(f"{by}, the gain in points is {'; '.join(gains)}.")
    return f"{' '.join(texts)} Errors of the recorded type are taken to be the same in every condition."


def source(shares: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Whether skin types come from the same sources, and the gains at one mix. shares, gains: of `stats.source`."""
    if gains["flags"].str.startswith("one source only").all():
        return "All test images come from one source, so that there is nothing to hold fixed."
    apart = shares[shares["flags"] != ""].drop_duplicates("source")
    text = "No source's share differs by more than a tenth between skin-type groups. "
    if len(apart):
        named = [f"{row['source']} (by {_n(100 * row['difference'])} points)" for row in apart.to_dict("records")]
        text = f"Skin-type groups come from different sources: the share differs for {', '.join(named)}. "
    rows = gains[(gains["source"] == "standardised") & gains["estimate"].notna()]
    if rows.empty:
        return text + f"Gains with the source held fixed: {gains['flags'].iloc[-1]}."
    rows, found = rows[rows["task"] == rows["task"].iloc[0]], []
    for row in _alone(rows):
        ends = f" ({_signed(row['low'])} to {_signed(row['high'])})" if pd.notna(row["low"]) else " (no interval)"
        found.append(f"{_signed(row['estimate'])}{ends} in {row['group']}")
    return f"{text}With the source held fixed the gain in points is {'; '.join(found)}."


def _alone(rows: pd.DataFrame) -> list[dict]:
    """Rows of single groups, without the differences."""
    return rows[~rows["group"].str.contains(" minus ")].to_dict("records")
