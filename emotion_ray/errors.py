"""The ways in which something that is not our bug goes wrong."""


class EmotionRayError(Exception):
    """The command cannot go on. The message is one line for the person: what is wrong, where, what to do.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class StorageError(EmotionRayError):
    """A disk or an object store does not take what is written. Another try may go well, once that is mended."""


class Reject(Exception):
    """One archive, member or take cannot be used; its neighbours can. It becomes a row of the rejects table.

    Args:
        stage: where it failed: "fetch", "archive", "decode", "detect" or "worker".
        reason: a short snake_case slug to count by, such as "md5_mismatch" or "no_face".
        message: one line for the person.
    """

    def __init__(self, stage: str, reason: str, message: str):
        super().__init__(stage, reason, message)
        self.stage = stage
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.stage}/{self.reason}: {self.message}"


class Stopped(EmotionRayError):
    """The person ended the command, by Ctrl-C; the message says how to go on."""

    exit_code = 130  # what a shell expects after Ctrl-C
