"""``--cluster ADDRESS``: the hosts of a Ray cluster besides this one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine import RayCluster, Settings


def add_to(parser: argparse.ArgumentParser, **more: object) -> None:
    """Declare the option."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run models on the hosts of this Ray cluster too; auto finds the one this host is in",
        **more,  # type: ignore[arg-type]
    )


def cluster_of(settings: "Settings", options: argparse.Namespace) -> "RayCluster | None":
    """The cluster that was named; it is joined when the engine starts. Raises ClusterTrouble."""
    if not options.cluster:
        return None
    from engine import RayCluster

    return RayCluster(options.cluster, settings)
