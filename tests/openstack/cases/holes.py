"""Holes that others had, tried from outside, on every process of the cluster."""

from keystone import Keystone


def run(cluster):
    info = cluster.info["keystone"]
    first = Keystone(info)
    admin = first.admin()
    project, user = first.tenant(admin, "holes", "holes-password")
    foreign, _ = first.tenant(admin, "foreign", "foreign-password")
    token = first.login("holes", "holes-password", project)[1]
    everywhere = [Keystone(info, endpoint) for endpoint in info["endpoints"]]
    signed = {"credentials": {"access": cluster.s3["access_key"], "signature": "x", "token": "eA=="}}
    for one in everywhere:
        for path in ("/ec2tokens", "/s3tokens"):
            assert one.ask("POST", path, signed)[0] == 401
            assert one.ask("POST", path, signed, token)[0] == 403
        assert one.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": foreign}, token)[0] == 403
        assert one.ask("GET", "/users", None, token)[0] == 403
        # A token made on one process is judged by every other one, and tampered with by none.
        assert one.ask("GET", "/auth/projects", None, token)[0] == 200
        flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
        assert one.ask("GET", "/auth/projects", None, flipped)[0] == 401
        status, _, document = one.ask("POST", "/auth/tokens", rescope(token, project))
        shown = first.ask("GET", "/auth/tokens", None, token, [("X-Subject-Token", token)])[2]
        assert status == 201 and document["token"]["expires_at"] == shown["token"]["expires_at"]
    first.must("PATCH", f"/projects/{project}", {"project": {"enabled": False}}, admin)
    for one in everywhere:
        assert one.ask("GET", "/auth/catalog", None, token)[0] == 401, "the project is disabled"
    first.must("PATCH", f"/projects/{project}", {"project": {"enabled": True}}, admin)
    token = first.login("holes", "holes-password", project)[1]
    first.must("PATCH", f"/users/{user}", {"user": {"enabled": False}}, admin)
    for one in everywhere:
        assert one.ask("GET", "/auth/catalog", None, token)[0] == 401, "the user is disabled"
    return {}


def rescope(token, project):
    identity = {"methods": ["token"], "token": {"id": token}}
    return {"auth": {"identity": identity, "scope": {"project": {"id": project}}}}
