"""What the machine refuses, told from what a person or a program got wrong."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Iterator

from ldm_core.errors import MachineError, TooLittleMemory, cause_of, is_raised_by_us, notes_of

REFUSALS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EBADF,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
    }
)
"""Errors of the system that are never a person's: disk, quota, memory, open files."""
OF_PLACES = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EAGAIN})
"""Those that are the machine's only where nobody has said more of it."""
MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|out of memory|not enough memory|std::bad_alloc|"
    r"failed to map segment|can't start new thread|could not create a (?:primitive|memory)|"
    r"CU(?:BLAS|DNN|SOLVER)_STATUS_\w*ALLOC\w*|Invalid buffer size",
    re.IGNORECASE,
)
"""How libraries say it that have no error of their own for it (torch, oneDNN, CUDA's, MPS, the
loader of libraries)."""
OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers, being written in Rust, name an error of the system."""
TORCH_ERROR = re.compile(r": ([^:]+) \((\d+)\)")
"""How torch does, in an error without a number: in the system's own words, by which it is known."""

SLOTS = vars(OSError)
"""Where such an error has its number and its file, whatever a class of another's makes of those."""
MET_BY = "that was met by"
"""How a note on an error begins that says in whose code it was."""
LONGEST = 200
"""Letters of a file's name in a message."""


def machine_error(error: BaseException) -> MachineError | None:
    """What the machine refused where an error says so, itself or by what it came from; else None.

    An error that says in words of its own what was wrong, such as an `LdmError`, is one of the
    machine's only where it came from one that can be nothing else.
    """
    if isinstance(error, MachineError):
        return error
    for cause in _causes(error):
        if isinstance(cause, BaseExceptionGroup):  # of tasks, each of which the machine refused
            faults = [_refusal(one, itself=cause is error) for one in _members(cause)]
            fault = faults[0] if all(faults) else None
        else:
            fault = _refusal(cause, itself=cause is error)
        if fault is not None:
            return fault
    return None


def _refusal(error: BaseException, *, itself: bool) -> MachineError | None:
    """What the machine refused where an error says so, whatever it came from.

    Args:
        itself: nobody has said more of it.
    """
    if isinstance(error, MachineError):
        return error
    number = _number(error)
    if _is_memory(error) or number == errno.ENOMEM:
        return TooLittleMemory(
            f"the memory does not suffice: {_line(error)}.",
            "smaller pictures or a smaller batch size need less.",
        )
    unread = number == errno.EPIPE and _is_unread()
    if number in REFUSALS or (number in OF_PLACES and itself) or unread:
        return MachineError(f"the machine refuses: {os_words(error, number)}.")
    return None


def _members(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The errors in a group, and in groups in it."""
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _members(one)
        else:
            yield one


def _is_unread() -> bool:
    """Whether who read the standard output or the standard error stream has gone: a broken pipe of
    another kind is that of who wrote to it."""
    import select

    if sys.platform == "win32":
        return True
    outputs = select.poll()
    for number in (1, 2):
        outputs.register(number, 0)  # what is wrong is told unasked
    return any(said & select.POLLERR for _, said in outputs.poll(0))


def asked_to_stop(error: BaseException) -> bool:
    """Whether an error is an interrupt that a person sent, and not one that other code raised by
    itself: the command line's own, or Python's where that hears of Ctrl-C."""
    if isinstance(error, BaseExceptionGroup):  # of tasks, of which one heard it
        return any(asked_to_stop(one) for one in error.exceptions)
    if not isinstance(error, KeyboardInterrupt):
        return False
    if type(error) is KeyboardInterrupt:
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return is_raised_by_us(error)


def memory_refusal(error: BaseException) -> str | None:
    """What was said when memory did not suffice, in one line, where that is what an error says or
    came from; else None."""
    for cause in _causes(error):
        several = [*_members(cause)] if isinstance(cause, BaseExceptionGroup) else [cause]
        if all(_is_memory(one) or _number(one) == errno.ENOMEM for one in several):
            cause = several[0]
            line = _line(cause)
            line = f"{line[:LONGEST]}…" if len(line) > LONGEST else f"{line}."
            notes = [note for note in notes_of(error) if note.startswith(MET_BY)]
            return " ".join([line, *(f"{note[0].upper()}{note[1:]}." for note in notes)])
    return None


def refused(what: str, error: BaseException) -> MachineError:
    """That something could not be done, such as ``"'a.png' cannot be written"``, and why."""
    number = _number(error)
    if number is None:
        return MachineError(f"{what}: {_line(error)}.")
    return MachineError(f"{what}: {os.strerror(number)}.")


def os_words(error: BaseException, number: int | None) -> str:
    """What the system says, and of which file."""
    said = os.strerror(number) if number is not None else _line(error)
    file = SLOTS["filename"].__get__(error) if isinstance(error, OSError) else None
    if not isinstance(file, str | bytes | os.PathLike):
        return said
    name = os.fsdecode(file)
    return f"{said}: '{name}'" if len(name) <= LONGEST else f"{said}: '{name[:LONGEST]}…'"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while they were handled."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause_of(cause, hidden=True)


def _number(error: BaseException) -> int | None:
    """The system's number of an error."""
    if isinstance(error, OSError):
        number = SLOTS["errno"].__get__(error)
        return number if type(number) is int else None
    text = _text(error)
    match = OS_ERROR.search(text)
    if match or not isinstance(error, RuntimeError):
        return int(match[1]) if match else None
    pairs = ((words, int(number)) for words, number in TORCH_ERROR.findall(text))
    return next((number for words, number in pairs if os.strerror(number) == words), None)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or _is_torchs(error):
        return True
    return isinstance(error, RuntimeError | ImportError) and bool(MEMORY.search(_text(error)))


def _is_torchs(error: BaseException) -> bool:
    """Whether an error is torch's own of memory, and not one that another calls so."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _text(error: BaseException) -> str:
    """What an error says; nothing where it cannot."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # even an end of the program
        return ""


def _line(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(_text(error).split()).rstrip(".")
    return text if text else type(error).__name__
