"""The results that a method's paper reports, and our small replications of them."""

from __future__ import annotations

import streamlit as st

from ptviz.experiments.replication import STUDIES, ReplicationStudy, StudyRecord, StudyResult
from ptviz.experiments.replication.comparison_text import comparison_row, describe_comparison
from ptviz.methods import list_methods
from ptviz.methods.card import ReportedResult
from ptviz.plots.method_style import method_title

VERDICT_BADGES = {
    "holds": ("holds here", ":material/check_circle:", "green"),
    "does not hold": ("does not hold here", ":material/cancel:", "red"),
    "unclear": ("unclear here", ":material/help:", "orange"),
}
CLAIM_SOURCES = {"paper": "", "code": "in the authors' repository", "summary": "from a summary of the paper"}


def render_paper_claims(name: str) -> None:
    """Show the paper's own claims, then our replications with verdict, difference and interval."""
    card = list_methods()[name].card
    st.header("What the paper found")
    st.markdown(
        "\n".join(f"- {claim.text} {_claim_source(claim, card.citation, card.url)}" for claim in card.reported_results)
    )
    st.caption(
        "Paraphrased. Numbers are the paper's own, on its backbones and data: compare them within the paper, not "
        "across papers."
    )
    found = replications_of_method(name)
    if not found:
        return
    st.subheader("Replicated here")
    record = StudyRecord()
    results = [record.evaluate(study) for study in found]
    for result in results:
        if result.verdict != "not run":
            with st.container(border=True):
                render_replication(result)
    if waiting := [result.study for result in results if result.verdict == "not run"]:
        lines = [f"- {f.claim} {_citation_link(f.citation, f.url)} `ptviz findings --run {f.id}`" for f in waiting]
        st.markdown("Not run yet:\n" + "\n".join(lines))
    st.caption(
        "Small experiments: a frozen sentence encoder and a few hundred updates. A claim that does not hold here may "
        "well hold where its paper looked. Differences are paired over seeds; a claim holds if the whole interval "
        "lies on its side. The same in the shell: `ptviz findings`."
    )


def replications_of_method(name: str) -> list[ReplicationStudy]:
    """Return the studies of the method's own paper, then those of other papers that train it."""
    card = list_methods()[name].card
    own = [study for study in STUDIES if study.url == card.url]
    return own + [f for f in STUDIES if f not in own and any(arm.method == name for arm in f.arms)]


def _claim_source(claim: ReportedResult, citation: str, url: str) -> str:
    notes = ", ".join(filter(None, (claim.where, CLAIM_SOURCES[claim.read])))
    return f":small[:gray[({claim.by})]]" if claim.by else _citation_link(citation, url, notes)


def _citation_link(citation: str, url: str, notes: str = "") -> str:
    return f":small[:gray[([{citation}]({url}){', ' + notes if notes else ''})]]"


def render_replication(result: StudyResult) -> None:
    """Show a claim with its verdict, its comparisons as a table once there are values, and the experiment."""
    study = result.study
    words, icon, colour = VERDICT_BADGES.get(result.verdict, ("not run yet", ":material/hourglass_empty:", "gray"))
    st.markdown(f":{colour}-badge[{icon} {words}] {study.claim} {_citation_link(study.citation, study.url)}")
    rows = []
    for difference in result.differences if any(one.differences for one in result.differences) else ():
        what, first, second, mean, limits = comparison_row(difference)
        rows.append(
            {
                "claim": what,
                "measured": f"{first} and {second}",
                "difference (95% interval)": f"{mean} ({limits})",
                "seeds": len(difference.differences),
                "verdict": difference.verdict,
            }
        )
    if rows:
        st.table(rows, hide_index=True)  # A table and not a grid, because it breaks its lines on a phone.
    else:
        st.markdown("It holds if " + ", and ".join(f"*{describe_comparison(one)}*" for one in study.comparisons) + ".")
    methods = ", ".join(sorted({method_title(arm.method) for arm in study.arms}))
    note = f" {study.note}" if study.note else ""
    st.caption(f"{methods}: {study.task} on {study.backbone}, {study.steps} steps; accuracies in percent.{note}")
