"""The pages of the app by their addresses."""

WITH_FIGURES = (
    "", "watch", "embeddings", "decompositions", "routing", "attention", "compare-methods", "transfer",
    "survey?colour=by+accuracy", "method", "findings", "checkpoint", "peft-benchmark",
    "runs?pick=recorded-trec6-minilm-l6-prompt-tuning-0",
)  # fmt: skip
"""Pages that show a figure of recorded runs on a home without any run, as they are opened or by the link given here."""
PAGES = (
    *(address.partition("?")[0] for address in WITH_FIGURES),
    "lessons", "glossary", "teaching", "new-run", "sweep",
)  # fmt: skip
"""All pages; ``test_every_page_is_listed`` finds one that is missing."""
