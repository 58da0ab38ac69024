"""What a method's paper reports, and what came of it when it was tried again here."""

from __future__ import annotations

import streamlit as st

from ptviz.experiments.replication import STUDIES, ReplicationStudy, StudyRecord, StudyResult
from ptviz.experiments.replication.report import comparison_row
from ptviz.methods import REGISTRY, ReportedResult
from ptviz.plots.method_style import method_title

VERDICT_BADGES = {
    "holds": ("holds here", ":material/check_circle:", "green"),
    "does not hold": ("does not hold here", ":material/cancel:", "red"),
    "unclear": ("unclear here", ":material/help:", "orange"),
}
CLAIM_SOURCES = {"paper": "", "code": "in the authors' repository", "summary": "read in a summary of the paper"}


def render_paper_claims(name: str) -> None:
    """The paper's own claims, then our small recreations with verdict, difference and interval."""
    card = REGISTRY[name].card
    st.header("What the paper found")
    st.markdown(
        "\n".join(f"- {claim.text} {_claim_source(claim, card.citation, card.url)}" for claim in card.reported_results)
    )
    st.caption(
        "In our words. Numbers are the papers' own, on their backbones and data: compare each with what stands beside "
        "it, not with another paper's."
    )
    found = replications_of_method(name)
    if not found:
        return
    st.subheader("Tried again here")
    record = StudyRecord()
    judged = [record.evaluate(finding) for finding in found]
    for one in judged:
        if one.verdict != "not run":
            _render_replication(name, one)
    if waiting := [one.study for one in judged if one.verdict == "not run"]:
        lines = [f"- {f.claim} {_citation_link(f.citation, f.url)} `ptviz findings --run {f.id}`" for f in waiting]
        st.markdown("Not run yet:\n" + "\n".join(lines))
    st.caption(
        "Small experiments: a frozen sentence encoder and a few hundred updates. A claim that does not hold here may "
        "well hold where its paper looked. Differences are paired over seeds; a claim holds if the whole interval "
        "lies on its side. The same in the shell: `ptviz findings`."
    )


def replications_of_method(name: str) -> list[ReplicationStudy]:
    """The findings of the method's own paper, then those of others that train it."""
    card = REGISTRY[name].card
    own = [finding for finding in STUDIES if finding.url == card.url]
    return own + [f for f in STUDIES if f not in own and any(arm.method == name for arm in f.arms)]


def _claim_source(claim: ReportedResult, citation: str, url: str) -> str:
    notes = ", ".join(filter(None, (claim.where, CLAIM_SOURCES[claim.read])))
    return f":small[:gray[({claim.by})]]" if claim.by else _citation_link(citation, url, notes)


def _citation_link(citation: str, url: str, notes: str = "") -> str:
    return f":small[:gray[([{citation}]({url}){', ' + notes if notes else ''})]]"


def _render_replication(name: str, judged: StudyResult) -> None:
    finding = judged.study
    words, icon, colour = VERDICT_BADGES[judged.verdict]
    with st.container(border=True):
        st.markdown(f":{colour}-badge[{icon} {words}] {finding.claim} {_citation_link(finding.citation, finding.url)}")
        rows = []
        for difference in judged.differences:
            what, first, second, mean, limits = comparison_row(difference)
            rows.append(
                {"compared": what, "first": first, "second": second, "difference": mean, "95 % interval": limits,
                 "seeds": len(difference.differences), "verdict": difference.verdict}
            )  # fmt: skip
        st.dataframe(rows, hide_index=True, width="stretch")
        others = {method_title(arm.method) for arm in finding.arms if arm.method != name}
        beside = f" with {', '.join(sorted(others))}" if others else ""
        note = f" {finding.note}" if finding.note else ""
        st.caption(f"{finding.task} on {finding.backbone}, {finding.steps} steps{beside}; accuracies in percent.{note}")
