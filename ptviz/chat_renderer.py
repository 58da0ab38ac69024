"""Render a tokenizer's chat template in a process of its own: ``python -m ptviz.chat_renderer``.

The template is a program that came with a model. transformers renders it in jinja2's sandbox, which has no limit of
time or memory; this process has one. It reads a JSON object from stdin and writes a JSON list of texts to stdout.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, tzinfo

from ptviz.process_limits import limit_resources

MEMORY_BYTES, CPU_SECONDS = 200_000_000, 2
MAX_CHARACTERS = 100_000
"""Of all rendered texts together."""


class _FixedDate(datetime):
    """A clock that stands still: some templates write today's date, and a run would then differ from day to day."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _FixedDate:
        """Return the date that Llama's templates write where there is no clock."""
        return cls(2024, 7, 26, tzinfo=tz)


def main() -> int:
    """Render every conversation of the request; return the exit code."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = _FixedDate
    request = json.load(sys.stdin)
    limit_resources(MEMORY_BYTES, CPU_SECONDS)
    try:
        texts = [
            chat_template_utils.render_jinja_template(
                [messages],
                chat_template=request["template"],
                add_generation_prompt=messages[-1]["role"] == "user",
                **request["special_tokens"],
            )[0][0]
            for messages in request["conversations"]
        ]
        if sum(map(len, texts)) > MAX_CHARACTERS:
            raise ValueError(f"it writes more than {MAX_CHARACTERS:,} characters")
    except MemoryError:
        print("it takes too much memory", file=sys.stderr)
        return 1
    except Exception as error:  # a template may fail in any way
        print(f"{type(error).__name__}: {error}"[:1000], file=sys.stderr)
        return 1
    json.dump(texts, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
