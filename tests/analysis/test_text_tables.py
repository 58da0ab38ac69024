"""Tables as Markdown and LaTeX: no cell is markup."""

from __future__ import annotations

from ptviz.analysis.text_tables import latex_table, markdown_table

HOSTILE = "a_b & 50% $x^2$ #1 {y} ~ \\input{/etc/passwd}"


def test_latex_escapes_every_special_character() -> None:
    table = latex_table(["method_name", "p %"], [[HOSTILE, "two\nlines"], ["\x1b[31m", None]])
    assert r"method\_name & p \% \\" in table
    escaped = (
        r"a\_b \& 50\% \$x\textasciicircum 2\$ \#1 \{y\} \textasciitilde \space \textbackslash input\{/etc/passwd\}"
    )
    assert escaped in table
    assert r"& two lines \\" in table
    assert "\x1b" not in table
    assert table.startswith("% needs \\usepackage{booktabs}\n\\begin{tabular}{lr}\n\\toprule\n")
    assert table.endswith("\\bottomrule\n\\end{tabular}")


def test_a_caption_makes_a_table_of_it() -> None:
    table = latex_table(["a"], [[1]], caption="50% of a_b", label="tab:one")
    assert "\\caption{50\\% of a\\_b}\n\\label{tab:one}" in table
    assert table.endswith("\\end{table}")


def test_markdown_escapes_markup() -> None:
    assert markdown_table(["a"], [["<b>|x|*y*"]]).splitlines()[-1] == r"| \<b\>\|x\|\*y\* |"
