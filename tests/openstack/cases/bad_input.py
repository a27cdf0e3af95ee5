"""What is malformed, too much, or about something else: Keystone's status, never a 5xx, and nothing is stored."""

import json

from keystone import Keystone


def run(cluster):
    one = Keystone(cluster.info["keystone"])
    admin = one.admin()
    before = counts(one, admin)
    tried = 0
    for method, path, body, wanted in cases(one, admin):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        status = one.send(method, path, data, admin)
        assert status in wanted, f"{method} {path} {str(body)[:120]}: {status} instead of {wanted}"
        tried += 1
    for body, wanted in logins(cluster.info["keystone"]):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status = one.send("POST", "/auth/tokens", data)
        assert status == wanted, f"login {str(body)[:160]}: {status} instead of {wanted}"
        tried += 1
    for token in ("", "x", "gAAAAA", "A" * 4000, "%00", one.admin()[:-8], one.admin() + "AAAA"):
        status = one.send("GET", "/auth/projects", None, token or "?")
        assert status == 401, f"token {token[:20]}: {status}"
        tried += 1
    assert counts(one, admin) == before, "something was stored"
    return {"tried": tried}


def counts(one, admin):
    kinds = ("users", "projects", "groups", "roles", "domains", "services", "endpoints", "regions", "credentials")
    return {kind: len(one.must("GET", f"/{kind}", None, admin)[kind]) for kind in kinds}


def cases(one, admin):
    deep = b"[" * 5000 + b"]" * 5000
    for path in ("/users", "/projects", "/groups", "/roles", "/domains", "/services", "/endpoints", "/credentials"):
        kind = path.strip("/")[:-1]
        for body in (b"", b"{", b"null", b"[]", b"\"x\"", b"\xff\xfe", deep, {}, {kind: None}, {kind: []}, {kind: {"name": 5}}):
            yield "POST", path, body, (400,)
        yield "POST", path, {kind: {"name": "x" * 70_000}}, (400,)
        yield "POST", path, {kind: {"name": "x"}, "pad": "x" * 200_000}, (413,)
    for name in ("", "   ", "x" * 256, None, True, {}):
        for path, kind in (("/users", "user"), ("/projects", "project"), ("/roles", "role")):
            yield "POST", path, {kind: {"name": name}}, (400,)
    for field, value in (("enabled", "yes"), ("domain_id", "a/b"), ("domain_id", "../x"), ("_password_hash", "x"), ("options", 5)):
        yield "POST", "/users", {"user": {"name": "n", field: value}}, (400,)
    yield "POST", "/users", {"user": {"name": "n", "domain_id": "nowhere"}}, (400, 404)
    yield "POST", "/users", {"user": {"name": "n", "password": "p" * 5000}}, (400,)
    yield "POST", "/projects", {"project": {"name": "n", "parent_id": "nowhere"}}, (400, 404)
    yield "POST", "/projects", {"project": {"name": "n", "tags": ["a,b"]}}, (400,)
    yield "POST", "/endpoints", {"endpoint": {"interface": "secret", "url": "http://x", "service_id": "y"}}, (400,)
    yield "POST", "/endpoints", {"endpoint": {"interface": "public", "url": "javascript:x", "service_id": "y"}}, (400,)
    yield "POST", "/credentials", {"credential": {"type": "totp", "blob": "x" * 100_000}}, (400,)
    yield "POST", "/credentials", {"credential": {"type": "ec2", "blob": "no json"}}, (400,)
    yield "POST", "/registered_limits", {"registered_limits": [{"service_id": "x", "resource_name": "r", "default_limit": -2}]}, (400,)
    yield "POST", "/limits", {"limits": [{"resource_limit": "many"}]}, (400,)
    for path in ("/users/..%2f..%2fprojects", "/users/%00", "/users/%ff", "/users/" + "x" * 2000, "/projects/%2e%2e", "/nothing", "/users/x/y/z"):
        yield "GET", path, None, (400, 404)
    yield "PUT", "/users", {}, (405,)
    yield "PATCH", "/auth/tokens", {}, (405,)
    yield "DELETE", "/users/nobody", None, (404,)
    yield "PATCH", "/users/nobody", {"user": {"name": "n"}}, (404,)
    yield "GET", "/users?name=%ff&limit=-1&marker=%00", None, (200, 400)
    yield "POST", "/OS-TRUST/trusts", {"trust": {}}, (400, 403)


def logins(info):
    by_name = {"name": info["user"], "domain": {"id": "default"}, "password": info["password"]}

    def password(user, scope=None):
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if scope is not None:
            auth["scope"] = scope
        return {"auth": auth}

    for body in (b"", b"{", b"[]", b"{}", {"auth": {}}, {"auth": []}, {"auth": {"identity": {}}}, {"auth": {"identity": {"methods": "password"}}}):
        yield body, 400
    yield {"auth": {"identity": {"methods": ["password"]}}}, 400
    yield password({"name": info["user"], "password": "x"}), 400
    yield password(by_name | {"password": 5}), 400
    yield password(by_name | {"password": "wrong"}), 401
    yield password(by_name | {"password": "p" * 100_000}), 401
    yield password(by_name | {"name": "nobody"}), 401
    yield password(by_name | {"name": "*"}), 401
    yield password(by_name | {"domain": {"id": "nowhere"}}), 401
    yield password(by_name, {"project": {"id": "nowhere"}}), 401
    yield password(by_name, {"domain": {"id": "nowhere"}}), 401
    yield password(by_name, {"system": {"all": False}}), 400
    yield password(by_name, {"project": {}}), 400
    yield password(by_name, {"OS-TRUST:trust": {"id": "nowhere"}}), 401
    yield {"auth": {"identity": {"methods": ["token"], "token": {"id": "forged"}}}}, 401
    yield {"auth": {"identity": {"methods": ["telepathy"], "telepathy": {}}}}, 401
    yield {"auth": {"identity": {"methods": ["ec2credential"]}}}, 401
    yield {"auth": {"identity": {"methods": []}}}, 400
    yield {"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "x", "secret": "y"}}}}, 401
    yield {"auth": {"identity": {"methods": ["totp"], "totp": {"user": {"id": "x", "passcode": "123456"}}}}}, 401
