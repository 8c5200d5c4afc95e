"""What can be wrong with data, told to a person.

UserError          anything a user can mend: one sentence, no traceback
└── DataError      a shard, a dataset or its place on disk is not what it should be
"""

from .printing import one_line

MAX_SENTENCE = 600


class UserError(Exception):
    """A mistake outside the program. The message says what was expected, what was found and what to do.

    It may quote what a stranger wrote, so it is made one printable line: no newline, no escape sequence for a
    terminal, no lone surrogate that JSON could not hold.
    """

    def __init__(self, sentence: str) -> None:
        self.sentence = one_line(sentence, MAX_SENTENCE)
        super().__init__(self.sentence)


class DataError(UserError):
    """A shard, a dataset or its place on disk is not what it should be."""
