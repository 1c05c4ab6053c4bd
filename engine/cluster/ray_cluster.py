"""A Ray cluster as a source of hosts. Which nodes there are, and that one died, is Ray's word."""

import asyncio
import importlib.util
from collections.abc import Mapping
from typing import Any

from engine.cluster import silence
from engine.cluster.distant import DistantPlacement
from engine.cluster.distant_quarters import DistantQuarters
from engine.cluster.letters import Report, release
from engine.cluster.line import LineDown
from engine.cluster.link import Link
from engine.cluster.ray_line import RayLine
from engine.fleet.member import Audience, ClusterTrouble, Member
from engine.ledger.archive import host_name
from engine.machine import Place, processor
from engine.settings import Settings
from engine.text import clean_line

LOOK_S = 1.0
"""How often Ray is asked which nodes there are."""
JOIN_S = 60.0
"""How long an agent may take to report: a Python process and the look at its runtimes."""
AGAIN_S = 30.0
"""After so long a node that could not be used is tried again; one that was lost, at once."""
_ACCELERATOR = "accelerator_type:"
Node = Mapping[str, Any]


class RayCluster:
    """Implements :class:`engine.fleet.member.Cluster`.

    Args:
        address: As Ray takes it: ``auto`` or ``HOST:PORT``.

    Raises:
        ClusterTrouble: Ray is not installed.
    """

    def __init__(self, address: str, settings: Settings) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ClusterTrouble(
                "Ray is not installed; `uv sync --extra cluster` or "
                "`pip install 'opta-lmx[cluster]'` installs it"
            )
        self._address = address
        self._settings = settings
        self._own_node = ""
        self._own_kind = ""
        self._joined = False
        self._links: dict[str, Link] = {}
        self._joining: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    async def open(self) -> None:
        """Join the cluster. Raises ClusterTrouble."""
        # Off the event loop, and off the main thread: there Ray would take SIGTERM for itself.
        await asyncio.to_thread(self._join)
        silence.take_back_signals()

    def _join(self) -> None:
        silence.before_import()
        import ray

        silence.after_import()
        try:
            ray.init(
                address=self._address,
                namespace="opta-lmx",
                log_to_driver=False,
                configure_logging=False,
            )
        except Exception as error:  # whatever it is, its last line is what a person can use
            why = clean_line(str(error).strip().partition("\n")[0], limit=300)
            raise ClusterTrouble(
                f"the Ray cluster {self._address} was not joined: {why}"
            ) from error
        self._joined = True
        self._own_node = ray.get_runtime_context().get_node_id()

    async def close(self) -> None:
        """End every agent and leave; safe to call twice."""
        for task in tuple(self._joining.values()):
            task.cancel()
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links))
        if self._joined:
            self._joined = False
            import ray

            await asyncio.to_thread(ray.shutdown)

    async def watch(self, audience: Audience) -> None:
        """Start an agent on every node that is there, until cancelled."""
        import ray

        while True:
            nodes = await asyncio.to_thread(ray.nodes)
            for node in nodes:
                if node["NodeID"] == self._own_node:
                    self._own_kind = _kind(node, processor())
                if node["Alive"] and self._is_new(node["NodeID"]):
                    self._begin(node, audience)
            await asyncio.sleep(LOOK_S)

    def _is_new(self, node_id: str) -> bool:
        now = asyncio.get_running_loop().time()
        known = node_id in self._links or node_id in self._joining or node_id == self._own_node
        return not known and now >= self._not_before.get(node_id, 0.0)

    def _begin(self, node: Node, audience: Audience) -> None:
        node_id = node["NodeID"]
        task = asyncio.create_task(self._admit(node, self._name(node), audience))
        self._joining[node_id] = task
        task.add_done_callback(lambda _: self._joining.pop(node_id, None))

    def _name(self, node: Node) -> str:
        """What a node is called: as its operator named it, else by its machine; one word, so that
        ``host:NAME`` finds it, and unique."""
        plain = node["NodeName"]
        if plain == node["NodeManagerAddress"]:  # Ray's own default
            plain = node["NodeManagerHostname"].partition(".")[0]
        plain = clean_line(plain, limit=40).replace("/", "-").replace("@", "-")
        plain = "-".join(plain.split()) or "unnamed"
        taken = {host_name()} | {link.name for link in self._links.values()}
        taken |= {task.get_name() for task in self._joining.values()}
        return plain if plain not in taken else f"{plain}-{node['NodeID'][:6]}"

    async def _admit(self, node: Node, name: str, audience: Audience) -> None:
        if (task := asyncio.current_task()) is not None:
            task.set_name(name)
        node_id = node["NodeID"]
        settings = self._settings_of(name)
        silence_s = 2 * settings.deadlines.host_s
        try:
            line = await asyncio.to_thread(RayLine.start, node_id, name, settings, silence_s)
            async with asyncio.timeout(JOIN_S):
                report: Report = await line.ask("report")
        except (LineDown, TimeoutError) as error:
            why = str(error) or f"its agent did not report in {JOIN_S:g} s"
        else:
            why = f"it has {report.release}, this engine {release()}"
            if report.release == release():
                why = ""
            else:
                line.end()
        if why:
            self._not_before[node_id] = asyncio.get_running_loop().time() + AGAIN_S
            audience.useless(name, why)
            return
        await audience.joined(self._member(node, name, settings, report, line, audience))

    def _settings_of(self, name: str) -> Settings:
        own = self._settings.hosts.get(name)
        changed: dict[str, object] = {"memory_gb": own.memory_gb if own else None}
        if own is not None and own.folders is not None:
            changed["folders"] = own.folders
        return self._settings.model_copy(update=changed)

    def _member(
        self,
        node: Node,
        name: str,
        settings: Settings,
        report: Report,
        line: RayLine,
        audience: Audience,
    ) -> Member:
        node_id = node["NodeID"]

        def lost(why: str) -> None:
            self._links.pop(node_id, None)
            audience.lost(name, why)

        link = self._links[node_id] = Link(
            name,
            line,
            report.memory,
            deadline_s=settings.deadlines.host_s,
            on_stale=lambda heard_at: audience.stale(name, heard_at),
            on_heard=lambda: audience.heard(name),
            on_lost=lost,
        )
        accelerators = _accelerators(node)
        own = self._settings.hosts.get(name)
        kind = own.device if own and own.device else _kind(node, report.processor)
        return Member(
            place=Place(name, "" if kind == self._own_kind else kind, away=True),
            address=node["NodeManagerAddress"],
            devices=(report.processor, *accelerators),
            quarters=DistantQuarters(link, settings, report),
            placement=DistantPlacement(link),
            budget=report.budget,
            memory=lambda: link.memory,
        )


def _accelerators(node: Node) -> tuple[str, ...]:
    names = (name for name in node["Resources"] if name.startswith(_ACCELERATOR))
    return tuple(clean_line(name.removeprefix(_ACCELERATOR), limit=40) for name in sorted(names))


def _kind(node: Node, made_of: str) -> str:
    """The class of a host, which its verdicts are about: processor and accelerators."""
    return ", ".join(part for part in (made_of, *_accelerators(node)) if part)
