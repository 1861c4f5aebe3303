"""How many files and connections a server may have open: as many as the system lets it."""

from __future__ import annotations

_MOST = 1 << 16
"""More serves nobody, and some systems let a process have a thousand million."""
_UNKNOWN = 1024


def raise_limit() -> None:
    """Raise this process's limit to what the system allows: by default it is often 1,024, for one that serves many."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a limit beside this one
            return


def limit() -> int:
    """The files that this process may have open at once."""
    try:
        import resource
    except ImportError:
        return _UNKNOWN
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft
