"""A thousand logins at once: they get a token or are told to come back, and who reads objects hardly notices."""

import concurrent.futures
import statistics
import threading
import time

from keystone import Keystone

LOGINS = 1000
CLIENTS = 200
GETS = 300
RATIO_MAX = 2.0


def run(cluster):
    info = cluster.info["keystone"]
    boto = cluster.boto(retries={"max_attempts": 1})
    boto.create_bucket(Bucket="logins")
    boto.put_object(Bucket="logins", Key="object", Body=b"x" * 100_000)
    calm = gets(boto, lambda count: count < GETS)
    outcomes, done = [], threading.Event()

    def storm():
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            outcomes.extend(pool.map(lambda _: login(info), range(LOGINS)))
        done.set()

    thread = threading.Thread(target=storm)
    begun = time.monotonic()
    thread.start()
    stormy = gets(boto, lambda count: not done.is_set() or count < 20)
    thread.join()
    seconds = time.monotonic() - begun
    assert set(outcomes) <= {201, 503}, set(outcomes)
    assert outcomes.count(201) > 0
    figures = {
        "logins_done": outcomes.count(201),
        "logins_told_to_wait": outcomes.count(503),
        "storm_seconds": round(seconds, 1),
        "get_p99_calm_ms": p99(calm),
        "get_p99_storm_ms": p99(stormy),
        "gets_in_storm": len(stormy),
        "ratio": round(p99(stormy) / p99(calm), 2),
        "ratio_aim": RATIO_MAX,
    }
    return figures


def login(info):
    return Keystone(info).login(project=info["project"])[0]


def gets(boto, go_on):
    times = []
    while go_on(len(times)):
        begun = time.perf_counter()
        boto.get_object(Bucket="logins", Key="object")["Body"].read()
        times.append(time.perf_counter() - begun)
    return times


def p99(times):
    return round(statistics.quantiles(times, n=100)[98] * 1000, 2)

