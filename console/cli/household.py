"""An engine of this process and the API in front of it, as every command builds them."""

import argparse
from typing import TYPE_CHECKING

from console.cli import cluster
from console.cli.release import program_version

if TYPE_CHECKING:
    from console.outlet import ApiOutlet
    from engine import Engine, Settings


def own_engine(settings: "Settings", options: argparse.Namespace) -> "Engine":
    """Build the engine, with the cluster that was named; it starts later.

    Raises:
        ClusterTrouble: a cluster was named, and Ray is not installed.
    """
    from engine import Engine

    # Who only looks does not load either.
    chosen = settings.without_preload() if options.readonly else settings
    return Engine(chosen, cluster=cluster.cluster_of(settings, options))


def api_of(
    engine: "Engine", settings: "Settings", options: argparse.Namespace, where: str
) -> "ApiOutlet":
    """Build its API; it opens later."""
    from console.outlet import ApiOutlet

    version = program_version()
    return ApiOutlet(engine, settings, where, readonly=options.readonly, version=version)
