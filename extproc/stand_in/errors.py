"""What is raised for a request that gets an error for an answer, in no dialect."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """Raised anywhere, rendered once, by the dialect of the request.

    What a dialect calls the error follows from the status, so that no two places disagree about
    it. `code` and `param` are for those that have them, `wait_s` for those that say it in the body.
    """

    def __init__(  # noqa: PLR0913  each dialect tells some of these
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        self.wait_s = wait_s
