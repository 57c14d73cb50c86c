"""What profiles ask before Snakemake starts anything.

Imported by the profiles: standard library only.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

PLUGINS = ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_s3")
KEYS = ("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "SNAKEMAKE_STORAGE_S3_SECRET_KEY")


class PodsError(ValueError):
    """The profile for Kubernetes cannot be used from here; the message says what is missing and how to get it."""


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Print what is wrong and end Snakemake with exit code 2; it would itself print all of its options before."""
    try:
        yield
    except ValueError as error:  # all errors of headwise itself
        print(error, file=sys.stderr)
        raise SystemExit(2) from error


def check_pods() -> None:
    """Raise PodsError where Snakemake's plugins or keys of the object store are missing."""
    if missing := [name.replace("_", "-") for name in PLUGINS if find_spec(name) is None]:
        raise PodsError(
            f"kubernetes/config.yaml needs {' and '.join(missing)}, not installed here: `pip install --editable "
            "'.[kubernetes]'` in the checkout, in an environment of its own (docs/cluster.md)"
        )
    if missing := [name for name in KEYS if not os.environ.get(name)]:
        # On the command line, or where Amazon's own tools look for them.
        given = any(argument.startswith("--storage-s3-access-key") for argument in sys.argv)
        if not given and import_module("botocore.session").get_session().get_credentials() is None:
            raise PodsError(
                f"kubernetes/config.yaml keeps results in an object store, and {' and '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not set: export the keys of your bucket (docs/cluster.md)"
            )
