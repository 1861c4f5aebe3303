"""Whether the server of this container answers, for Docker: exit code 0 or 1.

Where it verifies clients this cannot ask it; start such a container with --no-healthcheck.
"""

import ssl
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

PATH = "127.0.0.1:8501/v2/health/ready"


def answers() -> bool:
    """By HTTP, or, where the port is encrypted, by HTTPS; the certificate is not of this address."""
    try:
        return urlopen(f"http://{PATH}", timeout=2).status == 200
    except HTTPError:
        return False
    except Exception:
        context = ssl._create_unverified_context()
        try:
            return urlopen(f"https://{PATH}", timeout=2, context=context).status == 200
        except Exception:
            return False


if __name__ == "__main__":
    sys.exit(0 if answers() else 1)
