"""The client: asks a server over gRPC or REST, with a deadline, and again where that may help.

In: columns or rows, by name. Out: outputs as arrays, and the version that answered.
"""

from carrara.serving.client.client import Answered, Client

__all__ = ["Answered", "Client"]
