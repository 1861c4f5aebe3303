"""The Spark session of this process: where it is, how it is started, and what went wrong in it, in one line."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from carrara.core.errors import ConfigurationError

_RAISED = re.compile(r"[\w.]+(Error|Exception): ")

_LOCAL = "local[*]"


def is_spark(address: str) -> bool:
    """Whether the address of an engine is one of Spark.

    >>> is_spark("spark:local[4]"), is_spark("spark://host:7077"), is_spark("ray:local")
    (True, True, False)
    """
    return address.partition(":")[0] == "spark"


def spark_master(address: str) -> str:
    """The master that an engine's address names: `spark:local[4]`, `spark://HOST:7077`, or `spark:` and any other.

    >>> spark_master("spark:local[4]"), spark_master("spark://host:7077")
    ('local[4]', 'spark://host:7077')
    """
    master = address if address.startswith("spark://") else address.removeprefix("spark:")
    if not master:
        raise ConfigurationError(
            f"'{address}' names no master of Spark",
            hint='Write "spark:local[4]" or "spark://HOST:7077" under [engine].',
        )
    return master


def spark_session(master: str, *, purpose: str) -> Any:
    """The session at a master; without one the session that runs, or Spark in this machine.

    Raises MissingExtra without pyspark; ConfigurationError where Spark cannot be started, and where this process has
    a session at another master, since there is one of them in a process.
    """
    # The configuration, which every command reads, asks this file for no more than a master.
    import logging
    import warnings

    from carrara.core.plugins import require

    require("pyspark", extra="spark", purpose=purpose)
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        found = running.sparkContext.master
        if master and found != master:
            raise ConfigurationError(
                f"{purpose} is to run on Spark at {master}, and this process has a session at {found}",
                hint="There is one session in a process: name the same master everywhere, or stop that session.",
            )
        return running
    # Workers must run this very Python: another one need not have carrara.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("carrara")
    for name, value in _settings(master or _LOCAL).items():
        builder = builder.config(name, value)
    try:
        # What is wrong is raised and need not be logged as well, and nothing goes through pandas.
        logging.getLogger("DataFrameQueryContextLogger").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas")
        return builder.getOrCreate()
    except PySparkException as error:
        raise ConfigurationError(
            f"Spark could not be started at {master or _LOCAL}: {said_by(error)}",
            hint="Spark needs Java 17 or later: install it, and see that `java -version` answers.",
        ) from error


def _settings(master: str) -> dict[str, str]:
    settings = {
        "spark.master": master,
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return settings


def said_by(error: BaseException) -> str:
    """What an error says: of Spark's the first line, of one in a worker the end of its traceback, and of one of the JVM
    what was at the bottom of it."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    if isinstance(error, Py4JJavaError):
        thrown = error.java_exception
        while (cause := thrown.getCause()) is not None:
            thrown = cause
        error_lines = str(thrown.toString()).strip().splitlines()
        return error_lines[0] if error_lines else type(error).__name__
    if not isinstance(error, PySparkException):
        return f"{type(error).__name__}: {error}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in reversed(lines) if _RAISED.match(line)), lines[0])
