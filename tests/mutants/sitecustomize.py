"""Which lines of a tree run. A process that a test starts finds this file first and notes its own."""

import os
import sys
import threading

seen = set()


def start(tree, out=None):
    """Adds (file, line) to `seen`; with `out`, a descriptor, writes each once."""
    ours = f"{tree}/poz/"

    def line(frame, event, _):
        if event == "line":
            here = frame.f_code.co_filename, frame.f_lineno
            if here not in seen:
                seen.add(here)
                if out is not None:
                    os.write(out, f"{here[0]}\t{here[1]}\n".encode())
        return line

    def call(frame, event, _):
        return line if frame.f_code.co_filename.startswith(ours) else None

    threading.settrace(call)
    sys.settrace(call)


if "POZ_LINES" in os.environ:
    start(os.environ["POZ_TREE"], os.open(os.environ["POZ_LINES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT))
