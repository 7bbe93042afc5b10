"""All that the loggers of the demo say, down to the last detail, and whether a secret is in it."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path


class Logs:
    """From ``with`` on, every record of every logger goes into the file, and none to the terminal.

    To be entered when Django is set up, since that configures loggers. ``packages`` counts records by their package.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packages: Counter[str] = Counter()

    def __enter__(self) -> Logs:
        self._handler = logging.FileHandler(self.path, encoding="utf-8", errors="backslashreplace")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self._handler.addFilter(self._count)
        for logger in [*logging.root.manager.loggerDict.values(), logging.root]:
            if isinstance(logger, logging.Logger):
                logger.handlers, logger.filters = [], []
                logger.propagate, logger.disabled = True, False
                logger.setLevel(logging.NOTSET)
        # Not NOTSET, which at the root would mean WARNING to some.
        logging.root.setLevel(1)
        logging.root.addHandler(self._handler)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.root.removeHandler(self._handler)
        self._handler.close()

    def times(self, secret: str) -> int:
        """How often it stands in what was logged up to now."""
        self._handler.flush()
        return self.path.read_text(encoding="utf-8").count(secret)

    def _count(self, record: logging.LogRecord) -> bool:
        self.packages[record.name.partition(".")[0]] += 1
        return True
