"""Whatever fits the served OpenAPI description is answered as it says, and nothing is a 500.

The feeds of events and of snapshots are left out: they have no end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.end_to_end.served import Served, environment

pytestmark = pytest.mark.xdist_group("schema")

EXAMPLES = 12


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One engine for every example; a body may well name its model."""
    folder: Path = tmp_path_factory.mktemp("schema")
    model = folder / "models" / "m"
    model.mkdir(parents=True)
    (model / "simulated.json").write_text(
        '{"kind": "simulated", "weights_gb": 0.1, "load_seconds": 0.02}'
    )
    started = Served(environment(folder), ("--api", "127.0.0.1:0"))
    yield started.ready()
    assert started.process.poll() is None
    assert "api_failed" not in started.words
    started.close()


@pytest.fixture(scope="module")
def described(served: Served) -> Any:
    """The description the engine serves."""
    url = f"http://127.0.0.1:{served.port}/openapi.json"
    return schemathesis.openapi.from_url(url)


schema = schemathesis.pytest.from_fixture("described").include(
    path_regex="^/(admin/(?!events|watch)|healthz|livez|readyz)"
)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
def test_answers_are_as_described(case: Any) -> None:
    response = case.call(timeout=60)
    if response.status_code >= 500 and "json" in response.headers["content-type"][0]:
        # Room for a load that states a huge reservation: a refusal like any other.
        assert response.json()["error"]["code"] == "insufficient_memory"
    checks = [not_a_server_error, positive_data_acceptance]  # a model may be refused for its state
    case.validate_response(response, excluded_checks=checks)
