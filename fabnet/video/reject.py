"""Why a clip gives no crops."""


class Rejected(Exception):
    """A clip, not the run, is at fault: it becomes a row of the table of rejects.

    Attributes:
        reason: one of `fabnet.tables.REJECT_REASONS`.
        detail: one short line for people, without the clip's place on this machine.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
