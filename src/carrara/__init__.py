"""Carrara: from raw tables to monitored predictions in one package.

The stub beside this file lists the names; each is imported when it is first used, so `import carrara` costs nothing.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
