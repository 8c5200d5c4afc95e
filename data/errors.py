"""What can be wrong with data, told to a person.

UserError          anything a user can mend: one sentence, no traceback
└── DataError      a shard, a dataset or its place on disk is not what it should be
"""


class UserError(Exception):
    """A mistake outside the program. The message says what was expected, what was found and what to do."""


class DataError(UserError):
    """A shard, a dataset or its place on disk is not what it should be."""
