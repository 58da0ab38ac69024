"""The benchmark sets: where each is on the Hub, its columns, words, layout, metric and splits, and who used it.

Columns and labels are those of the sets' public cards. ``papers`` holds the methods (by the name of the registry here)
in whose papers or released code the set is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ptviz.tasks.benchmark_sets.cell_text import (
    Form,
    drop_markup,
    end_highlights,
    final_number,
    join_names,
    join_triples,
    join_written_triples,
    round_similarity,
)
from ptviz.tasks.builtin.labels import ClassLabel
from ptviz.tasks.task import TaskKind


class SplitNames(NamedTuple):
    """The set's splits that are read as training, validation and test rows.

    One split for validation and test is halved; where training and validation share one, rows are cut from it.
    """

    train: str = "train"
    validation: str = "validation"
    test: str = "test"


OWN_SPLITS = SplitNames()
# As ATTEMPT's released code does, https://github.com/AkariAsai/ATTEMPT
HALVED = SplitNames(test="validation")
"""For a set of fewer than 10,000 training rows whose test labels are withheld."""
CUT_FROM_TRAIN = SplitNames(validation="train", test="validation")
"""For a larger set whose test labels are withheld."""


@dataclass(frozen=True)
class BenchmarkSet:
    """One set: its place on the Hub, and how its rows become a task.

    ``fields`` maps each field to its column, ``forms`` a column to what makes a text of its cells. ``labels`` maps the
    set's label names, in the order of the classes, to their words. ``choices`` maps the values of the label column to
    the columns of the choices. ``target`` is the column of the target texts; a dot leads into a column of objects, as
    in ``answers.text``. ``subset`` is the value of the column "subset" that is read. ``together`` is a field
    whose texts repeat: rows with the same one stay in one split. ``rows`` counts the rows of the splits that are read,
    on the set's card.
    """

    title: str
    family: str
    hub_id: str
    config: str | None
    fields: Mapping[str, str]
    cue: str
    metric: str
    rows: int
    papers: tuple[str, ...] = ()
    labels: Mapping[str, ClassLabel] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    label: str = "label"
    target: str = ""
    forms: Mapping[str, Form] = field(default_factory=dict)
    template: str = ""
    cut_first: str = ""
    splits: SplitNames = OWN_SPLITS
    subset: str = ""
    notes: tuple[str, ...] = ()
    together: str = ""

    @property
    def kind(self) -> TaskKind:
        """What an answer is."""
        return "choice" if self.choices else "text" if self.target else "classification"

    @property
    def source(self) -> str:
        """The set's id on the Hub, and its configuration."""
        return f"{self.hub_id}, {self.config}" if self.config else self.hub_id

    @property
    def answer_column(self) -> str:
        """The column of the labels, or of the target texts."""
        return self.target or self.label


_GLUE, _SUPERGLUE, _MRQA = "nyu-mll/glue", "aps/super_glue", "mrqa-workshop/mrqa"
_GLUE_PAPERS = ("spot-multi", "attempt", "mpt", "dept")
_SUPERGLUE_PAPERS = ("prompt-tuning", "p-tuning", "xprompt", "residual", "smop", "spot-multi", "attempt")

_NOT_SAME = ClassLabel("different", "no", "the two say different things")
_SAME = ClassLabel("same", "yes", "the two say the same thing")
_FOLLOWS = ClassLabel("entailment", "yes", "the second follows from the first")
_OPEN = ClassLabel("neutral", "maybe", "the second may or may not be true")
_AGAINST = ClassLabel("contradiction", "no", "the second contradicts the first")
_NOT_FOLLOWS = ClassLabel("not entailment", "no", "the second does not follow from the first")
_FALSE = ClassLabel("false", "no", "no, that is wrong")
_TRUE = ClassLabel("true", "yes", "yes, that is right")

_FALSE_TRUE = {"False": _FALSE, "True": _TRUE}
_TWO_WAY = {"entailment": _FOLLOWS, "not_entailment": _NOT_FOLLOWS}
_SENTENCES = {"sentence1": "sentence1", "sentence2": "sentence2"}
_PREMISE = {"premise": "premise", "hypothesis": "hypothesis"}
_READING = {"question": "question", "context": "context"}
_READING_LAYOUT = "{prompt}{context}\nQuestion: {question}"


def _mrqa(
    title: str, subset: str, rows: int, papers: tuple[str, ...] = ("attempt", "mpt", "dept", "pt-moe")
) -> BenchmarkSet:
    return BenchmarkSet(
        title, "question answering", _MRQA, None, _READING, "Answer:", "token-f1", rows, papers,
        target="answers", template=_READING_LAYOUT, cut_first="context", splits=CUT_FROM_TRAIN, subset=subset,
        together="context",
        notes=("contexts are cut to 800 tokens by MRQA",),
    )  # fmt: skip


BENCHMARK_SETS: dict[str, BenchmarkSet] = {
    "glue:cola": BenchmarkSet(
        "CoLA: is it English?", "acceptability", _GLUE, "cola", {"sentence": "sentence"}, "Correct English:",
        "matthews", 9_594, _GLUE_PAPERS, splits=HALVED,
        labels={
            "unacceptable": ClassLabel("unacceptable", "no", "this is no correct English sentence"),
            "acceptable": ClassLabel("acceptable", "yes", "this is a correct English sentence"),
        },
    ),
    "glue:sst2": BenchmarkSet(
        "SST-2: film reviews", "sentiment", _GLUE, "sst2", {"sentence": "sentence"}, "Sentiment:", "accuracy", 68_221,
        ("prompt-tuning", *_GLUE_PAPERS, "transprompt"), splits=CUT_FROM_TRAIN,
        labels={
            "negative": ClassLabel("negative", "negative", "a bad review"),
            "positive": ClassLabel("positive", "positive", "a good review"),
        },
    ),
    "glue:mrpc": BenchmarkSet(
        "MRPC: paraphrases in the news", "pairs", _GLUE, "mrpc", _SENTENCES, "Same meaning:", "f1", 4_076,
        ("prompt-tuning", *_GLUE_PAPERS, "transprompt"), splits=HALVED,
        labels={"not_equivalent": _NOT_SAME, "equivalent": _SAME},
    ),
    "glue:qqp": BenchmarkSet(
        "QQP: duplicate questions", "pairs", _GLUE, "qqp", {"question1": "question1", "question2": "question2"},
        "Same question:", "f1", 404_276, ("prompt-tuning", *_GLUE_PAPERS, "transprompt"), splits=CUT_FROM_TRAIN,
        labels={"not_duplicate": _NOT_SAME, "duplicate": _SAME},
    ),
    "glue:stsb": BenchmarkSet(
        "STS-B: similarity of sentences", "similarity", _GLUE, "stsb", _SENTENCES, "Similarity from 0 to 5:", "pearson",
        7_249, _GLUE_PAPERS, target="label", forms={"label": round_similarity}, splits=HALVED,
        notes=("the number is written as text, rounded to the nearest 0.2",),
    ),
    "glue:mnli": BenchmarkSet(
        "MNLI: does it follow?", "entailment", _GLUE, "mnli", _PREMISE, "Does the second follow from the first:",
        "accuracy", 412_349, (*_GLUE_PAPERS, "transprompt"),
        splits=SplitNames("train", "validation_mismatched", "validation_matched"),
        labels={"entailment": _FOLLOWS, "neutral": _OPEN, "contradiction": _AGAINST},
    ),
    "glue:qnli": BenchmarkSet(
        "QNLI: is the question answered?", "entailment", _GLUE, "qnli",
        {"question": "question", "sentence": "sentence"}, "Does the sentence answer the question:",
        "accuracy", 110_206, _GLUE_PAPERS, splits=CUT_FROM_TRAIN,
        labels={
            "entailment": ClassLabel("answered", "yes", "the sentence answers the question"),
            "not_entailment": ClassLabel("not answered", "no", "the sentence does not answer the question"),
        },
    ),
    "glue:rte": BenchmarkSet(
        "RTE: does it follow?", "entailment", _GLUE, "rte", _SENTENCES, "Does the second follow from the first:",
        "accuracy", 2_767, ("prompt-tuning", *_GLUE_PAPERS), splits=HALVED, labels=_TWO_WAY,
    ),
    "glue:wnli": BenchmarkSet(
        "WNLI: pronouns", "entailment", _GLUE, "wnli", _SENTENCES, "Does the second follow from the first:",
        "accuracy", 706, splits=HALVED, labels={"not_entailment": _NOT_FOLLOWS, "entailment": _FOLLOWS},
    ),
    "superglue:boolq": BenchmarkSet(
        "BoolQ: yes or no questions", "question answering", _SUPERGLUE, "boolq",
        {"question": "question", "passage": "passage"}, "Answer:", "accuracy", 12_697,
        (*_SUPERGLUE_PAPERS, "p-tuning-v2", "mpt", "dept"), labels=_FALSE_TRUE, splits=HALVED, cut_first="passage",
        template="{prompt}{passage}\nQuestion: {question}?",
    ),
    "superglue:cb": BenchmarkSet(
        "CB: does it follow?", "entailment", _SUPERGLUE, "cb", _PREMISE, "Does the second follow from the first:",
        "macro-f1", 306, (*_SUPERGLUE_PAPERS, "mpt", "dept"), splits=HALVED,
        labels={"entailment": _FOLLOWS, "contradiction": _AGAINST, "neutral": _OPEN},
    ),
    "superglue:copa": BenchmarkSet(
        "COPA: cause or effect", "cause and effect", _SUPERGLUE, "copa",
        {"premise": "premise", "question": "question"}, "Answer:", "accuracy", 500,
        (*_SUPERGLUE_PAPERS, "p-tuning-v2"), choices={"choice1": "choice1", "choice2": "choice2"}, splits=HALVED,
        template="{prompt}{premise} What was the {question}?",
    ),
    "superglue:multirc": BenchmarkSet(
        "MultiRC: is the answer right?", "question answering", _SUPERGLUE, "multirc",
        {"paragraph": "paragraph", "question": "question", "answer": "answer"}, "Is the answer right:", "f1", 32_091,
        (*_SUPERGLUE_PAPERS, "mpt", "dept"), labels=_FALSE_TRUE, splits=HALVED, cut_first="paragraph",
        forms=dict.fromkeys(("paragraph", "question", "answer"), drop_markup),
        template="{prompt}{paragraph}\nQuestion: {question}\nAnswer: {answer}",
        notes=("F1 of the answers that are right, over all answers",), together="paragraph",
    ),
    "superglue:record": BenchmarkSet(
        "ReCoRD: which name fits?", "question answering", _SUPERGLUE, "record",
        {"passage": "passage", "entities": "entities", "query": "query"}, "@placeholder is:", "token-f1", 110_730,
        ("prompt-tuning", "spot-multi", "attempt"), target="answers", splits=CUT_FROM_TRAIN, cut_first="passage",
        forms={"passage": end_highlights, "entities": join_names}, together="passage",
        template="{prompt}{passage}\nNames: {entities}\n{query}",
    ),
    "superglue:rte": BenchmarkSet(
        "RTE: does it follow?", "entailment", _SUPERGLUE, "rte", _PREMISE, "Does the second follow from the first:",
        "accuracy", 2_767, (*_SUPERGLUE_PAPERS, "p-tuning-v2"), splits=HALVED, labels=_TWO_WAY,
    ),
    "superglue:wic": BenchmarkSet(
        "WiC: same sense of a word?", "word sense", _SUPERGLUE, "wic", {"word": "word", **_SENTENCES},
        "Same sense:", "accuracy", 6_066, (*_SUPERGLUE_PAPERS, "p-tuning-v2", "mpt", "dept"), splits=HALVED,
        template="{prompt}{sentence1}\n{sentence2}\nThe word {word}.",
        labels={
            "False": ClassLabel("different", "no", "the word means different things"),
            "True": ClassLabel("same", "yes", "the word means the same thing"),
        },
    ),
    "superglue:wsc": BenchmarkSet(
        "WSC: who is meant?", "coreference", _SUPERGLUE, "wsc.fixed",
        {"text": "text", "noun": "span1_text", "pronoun": "span2_text"}, "Answer:", "accuracy", 658,
        (*_SUPERGLUE_PAPERS, "p-tuning-v2", "mpt", "dept"), splits=HALVED,
        template='{prompt}{text}\nDoes "{pronoun}" mean {noun}?',
        labels={
            "False": ClassLabel("other", "no", "the pronoun means something else"),
            "True": ClassLabel("noun", "yes", "the pronoun means the noun"),
        },
    ),
    "squad": BenchmarkSet(
        "SQuAD: answers from Wikipedia", "question answering", "rajpurkar/squad", None, _READING, "Answer:",
        "token-f1", 98_169, ("prompt-tuning", "p-tuning-v2", "spot-multi", "attempt", "pt-moe"), target="answers.text",
        template=_READING_LAYOUT, cut_first="context", splits=CUT_FROM_TRAIN, together="context",
    ),
    "mrqa:newsqa": _mrqa("NewsQA: answers from the news", "NewsQA", 78_372),
    "mrqa:hotpotqa": _mrqa("HotpotQA: answers from two articles", "HotpotQA", 78_832),
    "mrqa:nq": _mrqa("Natural Questions", "NaturalQuestionsShort", 116_907),
    "mrqa:searchqa": _mrqa("SearchQA: answers from web pages", "SearchQA", 134_364),
    "winogrande": BenchmarkSet(
        "WinoGrande: who is meant?", "coreference", "allenai/winogrande", "winogrande_xl", {"sentence": "sentence"},
        "The blank stands for:", "accuracy", 41_665, ("spot-multi", "attempt"), label="answer",
        choices={"1": "option1", "2": "option2"}, splits=CUT_FROM_TRAIN,
    ),
    "yelp": BenchmarkSet(
        "Yelp: reviews", "sentiment", "fancyzhx/yelp_polarity", None, {"text": "text"}, "Sentiment:", "accuracy",
        598_000, ("spot-multi", "attempt"), splits=SplitNames(validation="train"),
        labels={
            "1": ClassLabel("negative", "negative", "a bad review"),
            "2": ClassLabel("positive", "positive", "a good review"),
        },
    ),
    "scitail": BenchmarkSet(
        "SciTail: does it follow?", "entailment", "allenai/scitail", "snli_format",
        {"premise": "sentence1", "hypothesis": "sentence2"}, "Does the second follow from the first:", "accuracy",
        27_026, ("attempt",), label="gold_label", labels={"entailment": _FOLLOWS, "neutral": _OPEN},
    ),
    "paws": BenchmarkSet(
        "PAWS: paraphrases of shuffled words", "pairs", "google-research-datasets/paws", "labeled_final", _SENTENCES,
        "Same meaning:", "accuracy", 65_401, ("attempt",), labels={"0": _NOT_SAME, "1": _SAME},
    ),
    "e2e-full": BenchmarkSet(
        "E2E: descriptions of restaurants", "table to text", "tuetschek/e2e_nlg", None,
        {"meaning": "meaning_representation"}, "Description:", "bleu", 51_426, ("prefix-tuning", "mpt"),
        target="human_reference",
    ),
    "webnlg-full": BenchmarkSet(
        "WebNLG: triples in words", "table to text", "webnlg-challenge/web_nlg", "webnlg_challenge_2017",
        {"triples": "modified_triple_sets.mtriple_set"}, "In words:", "bleu", 12_427, ("prefix-tuning", "mpt"),
        target="lex.text", forms={"modified_triple_sets.mtriple_set": join_written_triples},
        splits=SplitNames(validation="dev"),
    ),
    "dart": BenchmarkSet(
        "DART: triples in words", "table to text", "Yale-LILY/dart", None, {"triples": "tripleset"}, "In words:",
        "bleu", 40_253, ("prefix-tuning",), target="annotations.text", forms={"tripleset": join_triples},
    ),
    "xsum": BenchmarkSet(
        "XSum: the news in one sentence", "summary", "EdinburghNLP/xsum", None, {"document": "document"}, "Summary:",
        "rouge-l", 226_711, ("prefix-tuning",), target="summary",
    ),
    "gsm8k": BenchmarkSet(
        "GSM8K: school maths", "maths", "openai/gsm8k", "main", {"question": "question"}, "Answer:", "exact-match",
        8_792, ("pt-moe",), target="answer", forms={"answer": final_number}, splits=SplitNames(validation="train"),
        notes=("the target is the final number; the worked answer is left out",),
    ),
}  # fmt: skip
