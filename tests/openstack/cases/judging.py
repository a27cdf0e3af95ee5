"""How long a token takes to be judged, by every process, when it was not judged a moment ago.

Requests with a token against the same requests without one, over one connection kept open: the difference is what judging
costs. As many different tokens are used in turn as make each one's last judgement too old to be used again.
"""

import http.client
import statistics
import time
from urllib.parse import urlsplit

from keystone import Keystone

TOKENS = 400
ROUNDS = 3
# A judgement is used again for this long at most.
KEPT_SECONDS = 0.1
MEDIAN_MS_MAX = 1.0


def run(cluster):
    info = cluster.info["keystone"]
    first = Keystone(info)
    admin = first.admin()
    project, _ = first.tenant(admin, "judged", "judged-password", role="reader")
    source = first.login("judged", "judged-password", project)[1]
    tokens = [another(first, source, project) for _ in range(TOKENS)]
    figures = {}
    for number, endpoint in enumerate(info["endpoints"], 1):
        with_token, without = [], []
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
        for _ in range(ROUNDS):
            begun = time.monotonic()
            for token in tokens:
                with_token.append(ask(connection, "HEAD", "/v3/auth/tokens", token))
                without.append(ask(connection, "GET", "/v3", None))
            time.sleep(max(0.0, KEPT_SECONDS - (time.monotonic() - begun)))
        connection.close()
        figures[f"process_{number}"] = {
            "judging_median_ms": round(statistics.median(with_token) - statistics.median(without), 3),
            "request_with_a_token_ms": percentiles(with_token),
            "request_without_ms": percentiles(without),
        }
    worst = max(process["judging_median_ms"] for process in figures.values())
    assert worst < MEDIAN_MS_MAX, figures
    return figures


def another(keystone, source, project):
    auth = {"identity": {"methods": ["token"], "token": {"id": source}}, "scope": {"project": {"id": project}}}
    status, headers, document = keystone.ask("POST", "/auth/tokens?nocatalog", {"auth": auth})
    assert status == 201, document
    return {name.lower(): value for name, value in headers.items()}["x-subject-token"]


def ask(connection, method, path, token):
    """Milliseconds."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token} if token else {}
    begun = time.perf_counter()
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    took = (time.perf_counter() - begun) * 1000
    assert answer.status == 200, answer.status
    return took


def percentiles(times):
    cuts = statistics.quantiles(times, n=100)
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}
