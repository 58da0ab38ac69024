"""What a method's paper reports, and what came of it when it was tried again here."""

from __future__ import annotations

import streamlit as st

from ptviz.experiments.replication import FINDINGS, Finding, Judged, Record
from ptviz.experiments.replication.report import told
from ptviz.methods import REGISTRY, Claim
from ptviz.plots.method_style import title_of

VERDICTS = {
    "holds": ("holds here", ":material/check_circle:", "green"),
    "does not hold": ("does not hold here", ":material/cancel:", "red"),
    "unclear": ("unclear here", ":material/help:", "orange"),
}
READ = {"paper": "", "code": "in the authors' repository", "summary": "read in a summary of the paper"}


def claims(name: str) -> None:
    """The paper's own claims, then our small recreations with verdict, difference and interval."""
    card = REGISTRY[name].card
    st.header("What the paper found")
    st.markdown("\n".join(f"- {claim.text} {_source(claim, card.citation, card.url)}" for claim in card.claims))
    st.caption(
        "In our words. Numbers are the papers' own, on their backbones and data: compare each with what stands beside "
        "it, not with another paper's."
    )
    found = findings_of(name)
    if not found:
        return
    st.subheader("Tried again here")
    record = Record()
    judged = [record.judged(finding) for finding in found]
    for one in judged:
        if one.verdict != "not run":
            _finding(name, one)
    if waiting := [one.finding for one in judged if one.verdict == "not run"]:
        lines = [f"- {f.claim} {_cited(f.citation, f.url)} `ptviz findings --run {f.id}`" for f in waiting]
        st.markdown("Not run yet:\n" + "\n".join(lines))
    st.caption(
        "Small experiments: a frozen sentence encoder and a few hundred updates. A claim that does not hold here may "
        "well hold where its paper looked. Differences are paired over seeds; a claim holds if the whole interval "
        "lies on its side. The same in the shell: `ptviz findings`."
    )


def findings_of(name: str) -> list[Finding]:
    """The findings of the method's own paper, then those of others that train it."""
    card = REGISTRY[name].card
    own = [finding for finding in FINDINGS if finding.url == card.url]
    return own + [f for f in FINDINGS if f not in own and any(arm.method == name for arm in f.arms)]


def _source(claim: Claim, citation: str, url: str) -> str:
    notes = ", ".join(filter(None, (claim.where, READ[claim.read])))
    return f":small[:gray[({claim.by})]]" if claim.by else _cited(citation, url, notes)


def _cited(citation: str, url: str, notes: str = "") -> str:
    return f":small[:gray[([{citation}]({url}){', ' + notes if notes else ''})]]"


def _finding(name: str, judged: Judged) -> None:
    finding = judged.finding
    words, icon, colour = VERDICTS[judged.verdict]
    with st.container(border=True):
        st.markdown(f":{colour}-badge[{icon} {words}] {finding.claim} {_cited(finding.citation, finding.url)}")
        rows = []
        for difference in judged.differences:
            what, first, second, mean, limits = told(difference)
            rows.append(
                {"compared": what, "first": first, "second": second, "difference": mean, "95 % interval": limits,
                 "seeds": len(difference.differences), "verdict": difference.verdict}
            )  # fmt: skip
        st.dataframe(rows, hide_index=True, width="stretch")
        others = {title_of(arm.method) for arm in finding.arms if arm.method != name}
        beside = f" with {', '.join(sorted(others))}" if others else ""
        note = f" {finding.note}" if finding.note else ""
        st.caption(f"{finding.task} on {finding.backbone}, {finding.steps} steps{beside}; accuracies in percent.{note}")
