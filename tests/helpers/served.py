"""A small index that a server is asked about."""

from __future__ import annotations

# Where it is asked, in the process of the tests.
HOME = 'http://127.0.0.1:8000'
# A name that would be markup, if somebody took it for that.
CRUEL = '<img src=x onerror=alert(1)>.jpg'
