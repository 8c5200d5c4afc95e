"""What can become of a run, and the exit code that says so.

Every run that was started ends with exactly one of these in its `run.json`. `started` belongs to a run in
progress; a reader who finds it in a run whose referee is gone reads `abandoned`.
"""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What the command line returns; agents and shell scripts branch on these, so they never change."""

    OK = 0  # the run is complete, valid, and reached the target
    MISSED = 1  # complete, but the target is missed or an error-level finding stands (of a dry run: in the source)
    USAGE = 2  # the command line or an input is wrong; nothing was started
    SUBMISSION = 3  # the submission failed or broke its contract
    BUDGET = 4  # the submission went over a budget of the track
    MACHINE = 5  # this machine could not do it: disk, sandbox, another run in progress
    REFEREE = 6  # the referee itself failed; please report it
    INTERRUPTED = 130  # SIGINT
    TERMINATED = 143  # SIGTERM, and what else ends a process from outside


class Status(StrEnum):
    """What became of a run."""

    STARTED = "started"
    ABANDONED = "abandoned"
    COMPLETE = "complete"

    SYNTAX_ERROR = "syntax_error"
    NO_TRAIN = "no_train"
    NO_LOAD = "no_load"
    LAUNCH_FAILED = "launch_failed"
    PREPARE_FAILED = "prepare_failed"
    TRAIN_FAILED = "train_failed"
    RANK_DIED = "rank_died"
    GO_NOT_CALLED = "go_not_called"
    GO_CALLED_TWICE = "go_called_twice"
    STOP_NOT_CALLED = "stop_not_called"
    STOP_CALLED_TWICE = "stop_called_twice"
    PROTOCOL_BROKEN = "protocol_broken"
    WEIGHTS_MISMATCH = "weights_mismatch"
    WEIGHTS_NOT_FINITE = "weights_not_finite"
    LOGITS_INVALID = "logits_invalid"
    EVALUATOR_FAILED = "evaluator_failed"

    SOURCE_TOO_BIG = "source_too_big"
    WEIGHTS_TOO_BIG = "weights_too_big"
    MEMORY_LIMIT = "memory_limit"
    PROCESS_LIMIT = "process_limit"
    SCRATCH_LIMIT = "scratch_limit"
    PREPARE_TIMEOUT = "prepare_timeout"
    TRAIN_TIMEOUT = "train_timeout"
    SCORE_TIMEOUT = "score_timeout"

    DATA_INVALID = "data_invalid"
    DISK_FULL = "disk_full"
    MACHINE_BUSY = "machine_busy"
    SANDBOX_FAILED = "sandbox_failed"
    MACHINE_FAILED = "machine_failed"

    JUDGE_FAILED = "judge_failed"
    REFEREE_FAILED = "referee_failed"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a run that ended so (a complete run may still be MISSED)."""
        return _EXIT_CODES.get(self, ExitCode.SUBMISSION)


_EXIT_CODES = {
    Status.COMPLETE: ExitCode.OK,
    Status.SOURCE_TOO_BIG: ExitCode.BUDGET,
    Status.WEIGHTS_TOO_BIG: ExitCode.BUDGET,
    Status.MEMORY_LIMIT: ExitCode.BUDGET,
    Status.PROCESS_LIMIT: ExitCode.BUDGET,
    Status.SCRATCH_LIMIT: ExitCode.BUDGET,
    Status.PREPARE_TIMEOUT: ExitCode.BUDGET,
    Status.TRAIN_TIMEOUT: ExitCode.BUDGET,
    Status.SCORE_TIMEOUT: ExitCode.BUDGET,
    Status.DATA_INVALID: ExitCode.MACHINE,
    Status.DISK_FULL: ExitCode.MACHINE,
    Status.MACHINE_BUSY: ExitCode.MACHINE,
    Status.SANDBOX_FAILED: ExitCode.MACHINE,
    Status.MACHINE_FAILED: ExitCode.MACHINE,
    Status.JUDGE_FAILED: ExitCode.REFEREE,
    Status.REFEREE_FAILED: ExitCode.REFEREE,
    Status.STARTED: ExitCode.REFEREE,
    Status.ABANDONED: ExitCode.REFEREE,
    Status.INTERRUPTED: ExitCode.INTERRUPTED,
    Status.TERMINATED: ExitCode.TERMINATED,
}
