"""What holds for every room's tests."""

import signal

# A shell that puts a job in the background has it ignore Ctrl-C, and its children inherit that: tests of interrupts
# would wait for an end that never comes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
