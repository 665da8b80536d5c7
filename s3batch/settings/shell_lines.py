"""Lines for people to type: each word is quoted so that the console prints it as it is, and a shell reads it back.

A word that holds what the console escapes is written as ``$'...'``, with its bytes in octal. POSIX.1-2024 has that form
(XCU 2.2.4), as bash, zsh, ksh and busybox have long had it. No other form can hold a line break on one line.
"""

from __future__ import annotations

import os
import shlex

_CI_COMMAND = "##"
"""How a command of some CI services begins, which the console escapes."""


def format_shell_line(*words: str) -> str:
    """Return the words as one line for a shell."""
    return " ".join(map(_quote_word, words))


def _quote_word(word: str) -> str:
    if word.isprintable() and _CI_COMMAND not in word:
        return shlex.quote(word)
    return f"$'{''.join(map(_escape_letter, word))}'"


def _escape_letter(letter: str) -> str:
    if letter.isprintable() and letter not in "\\'#":
        return letter
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))  # octal: a digit behind \x.. would count in ksh
