"""Clients race `If-None-Match: *` on one key while the shard's leader is killed: never two winners (CON-1)."""

import threading

from botocore.exceptions import BotoCoreError, ClientError

SMALL = {"clients": 50, "rounds": 4, "kills": (1, 3)}
FULL = {"clients": 50, "rounds": 20, "kills": (3, 7, 11, 15)}
REFUSED = {"PreconditionFailed", "ConditionalRequestConflict"}


def run(world):
    size = FULL if world.full else SMALL
    unanswered = 0
    with world.cluster("races") as cluster:
        s3 = cluster.boto(retries={"max_attempts": 1, "mode": "standard"})
        s3.create_bucket(Bucket="races")
        for number in range(size["rounds"]):
            key = f"round-{number}"
            answers = race(cluster, s3, key, size["clients"], kill=number in size["kills"])
            winners = [c for c, a in answers.items() if a == "won"]
            unknown = [c for c, a in answers.items() if a == "unanswered"]
            stored = s3.get_object(Bucket="races", Key=key)["Body"].read().decode()
            assert len(winners) <= 1, f"{key}: {len(winners)} winners: {winners}"
            if winners:
                assert stored == winners[0], f"{key}: {winners[0]} won and {stored} is stored"
            else:
                assert stored in unknown, f"{key}: nobody won, {stored} is stored, unanswered: {unknown}"
            unanswered += len(unknown)
            cluster.up()
        return {"rounds": size["rounds"], "clients": size["clients"], "unanswered requests": unanswered}


def race(cluster, s3, key, clients, kill):
    barrier = threading.Barrier(clients + (1 if kill else 0))
    answers = {}

    def one(name):
        barrier.wait()
        try:
            s3.put_object(Bucket="races", Key=key, Body=name.encode(), IfNoneMatch="*")
            answers[name] = "won"
        except ClientError as error:
            code = error.response["Error"]["Code"]
            answers[name] = "lost" if code in REFUSED else "unanswered"
        except BotoCoreError:
            answers[name] = "unanswered"

    leader = cluster.leader_of("races") if kill else None
    threads = [threading.Thread(target=one, args=(f"client-{i}",)) for i in range(clients)]
    for thread in threads:
        thread.start()
    if kill:
        barrier.wait()
        cluster.kill(leader)
    for thread in threads:
        thread.join()
    return answers
