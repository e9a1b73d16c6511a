"""Log lines are JSON of one form, and safe to print."""

import json
import logging

import pytest

from earful.service.core.request_log import JsonFormatter


@pytest.mark.parametrize("bytes_sent", [8_600, 2**70])
@pytest.mark.parametrize("text", ["a b", "\u00fc", "\x1b[2J", "\x9b2J", "\x7f", "\u202e", "\ud800"])
def test_line_is_printable_json_whatever_a_request_holds(text: str, bytes_sent: int) -> None:
    record = logging.LogRecord("earful", logging.INFO, "", 0, "request", None, None)
    record.log_fields = {"path": text, "status": 200, "bytes": bytes_sent}
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert '"event":"request"' in line
    values = json.loads(line)
    assert (values["path"], values["status"], values["bytes"]) == (text, 200, bytes_sent)
