"""Holes that others had, tried from outside, on every process of the cluster."""

import json
import urllib.error
import urllib.request

from botocore.exceptions import ClientError

from keystone import Keystone


def run(cluster):
    info = cluster.info["keystone"]
    first = Keystone(info)
    admin = first.admin()
    tenant = first.tenant(admin, "holes", "holes-password")
    foreign = first.tenant(admin, "foreign", "foreign-password")
    everywhere = [Keystone(info, endpoint) for endpoint in info["endpoints"]]
    token = first.login("holes", "holes-password", tenant[0])[1]
    for one in everywhere:
        signatures_need_a_service(one, cluster, token)
        keys_for_foreign_projects(one, tenant, foreign, token)
        tokens_are_not_prolonged(one, first, tenant, token)
    keys_for_users_without_a_role(first, admin, tenant, foreign)
    credentials_make_no_credentials(first, everywhere, tenant, token)
    keys_give_no_tokens_that_go_on(first, admin, cluster, tenant, token)
    what_is_disabled_is_shut(first, admin, everywhere, cluster, tenant)
    return {}


def signatures_need_a_service(one, cluster, token):
    """ec2tokens and s3tokens judge signatures for services only: else secrets can be guessed there, and tokens had."""
    signed = {"credentials": {"access": cluster.s3["access_key"], "signature": "x", "token": "eA=="}}
    for path in ("/ec2tokens", "/s3tokens"):
        assert one.ask("POST", path, signed)[0] == 401
        assert one.ask("POST", path, signed, token)[0] == 403


def keys_for_foreign_projects(one, tenant, foreign, token):
    """Nobody gets an EC2 credential for a project they have no role in, by either API, for whomever."""
    (_, user), (project, other) = tenant, foreign
    assert one.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project}, token)[0] == 403
    assert one.ask("POST", f"/users/{other}/credentials/OS-EC2", {"tenant_id": project}, token)[0] == 403
    blob = json.dumps({"access": "brought-along", "secret": "long-enough-a-secret"})
    for owner in (user, other):
        body = {"credential": {"type": "ec2", "blob": blob, "project_id": project, "user_id": owner}}
        assert one.ask("POST", "/credentials", body, token)[0] == 403
    # Nor is one made of a credential of another kind afterwards.
    body = {"credential": {"type": "cert", "blob": blob, "project_id": tenant[0], "user_id": user}}
    made = one.must("POST", "/credentials", body, token)["credential"]["id"]
    for change in ({"type": "ec2"}, {"user_id": other}, {"type": "ec2", "project_id": project}):
        assert one.ask("PATCH", f"/credentials/{made}", {"credential": change}, token)[0] in (400, 403)
    one.must("DELETE", f"/credentials/{made}", None, token)
    assert one.ask("GET", "/users", None, token)[0] == 403


def tokens_are_not_prolonged(one, first, tenant, token):
    """A token made on one process is judged by every other one, tampered with by none, and prolonged nowhere."""
    assert one.ask("GET", "/auth/projects", None, token)[0] == 200
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert one.ask("GET", "/auth/projects", None, flipped)[0] == 401
    shown = first.ask("GET", "/auth/tokens", None, token, [("X-Subject-Token", token)])[2]
    for scope in ({"project": {"id": tenant[0]}}, "unscoped", None):
        status, _, document = one.ask("POST", "/auth/tokens", rescope(token, scope))
        assert status == 201 and document["token"]["expires_at"] == shown["token"]["expires_at"]


def keys_for_users_without_a_role(first, admin, tenant, foreign):
    """Not even an administrator makes a key for a user in a project where that user has no role."""
    body = {"tenant_id": foreign[0]}
    assert first.ask("POST", f"/users/{tenant[1]}/credentials/OS-EC2", body, admin)[0] == 403


def credentials_make_no_credentials(first, everywhere, tenant, token):
    """An application credential makes no other, no EC2 credential, no trust, no further token; not even by its token."""
    project, user = tenant
    path = f"/users/{user}/application_credentials"
    made = first.must("POST", path, {"application_credential": {"name": "a"}}, token)["application_credential"]
    proof = {"methods": ["application_credential"]}
    proof["application_credential"] = {"id": made["id"], "secret": made["secret"]}
    trust = {"trustor_user_id": user, "trustee_user_id": user, "project_id": project, "impersonation": True}
    for one in everywhere:
        status, headers, _ = one.ask("POST", "/auth/tokens", {"auth": {"identity": proof}})
        delegated = {name.lower(): value for name, value in headers.items()}["x-subject-token"]
        assert status == 201
        for method, where, body in (
            ("POST", path, {"application_credential": {"name": "b"}}),
            ("DELETE", f"{path}/{made['id']}", None),
            ("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project}),
            ("POST", "/credentials", {"credential": {"type": "totp", "blob": "GEZDGNBVGY3TQOJQ", "user_id": user}}),
            ("POST", "/OS-TRUST/trusts", {"trust": trust | {"roles": [{"name": "member"}]}}),
            ("POST", "/auth/tokens", rescope(delegated, {"project": {"id": project}})),
        ):
            assert one.ask(method, where, body, delegated)[0] == 403, (method, where)
    first.must("DELETE", f"{path}/{made['id']}", None, token)
    for one in everywhere:
        assert one.ask("GET", "/auth/catalog", None, delegated)[0] == 401, "its credential is gone"


def keys_give_no_tokens_that_go_on(first, admin, cluster, tenant, token):
    """What a signature was turned into ends with its key, and makes no other token."""
    import base64
    import hashlib
    import hmac

    project, user = tenant
    path = f"/users/{user}/credentials/OS-EC2"
    key = first.must("POST", path, {"tenant_id": project}, token)["credential"]
    text = "GET\n\n\n0\n/bucket"
    signature = base64.b64encode(hmac.new(key["secret"].encode(), text.encode(), hashlib.sha1).digest()).decode()
    credentials = {"access": key["access"], "signature": signature, "token": base64.b64encode(text.encode()).decode()}
    status, headers, document = first.ask("POST", "/s3tokens", {"credentials": credentials}, admin)
    assert status == 200 and document["token"]["project"]["id"] == project, document
    judged = {name.lower(): value for name, value in headers.items()}["x-subject-token"]
    assert first.ask("POST", "/auth/tokens", rescope(judged, {"project": {"id": project}}))[0] == 403
    assert first.ask("POST", path, {"tenant_id": project}, judged)[0] == 403
    first.must("DELETE", f"{path}/{key['access']}", None, token)
    assert first.ask("GET", "/auth/catalog", None, judged)[0] == 401, "its key is gone"


def what_is_disabled_is_shut(first, admin, everywhere, cluster, tenant):
    """A disabled project, user or domain: tokens and keys made before open nothing, on no process, in no service."""
    project, user = tenant
    for path, kind in ((f"/projects/{project}", "project"), (f"/users/{user}", "user")):
        token = first.login("holes", "holes-password", project)[1]
        key = first.must("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": project}, token)["credential"]
        assert account(cluster, project, token) in (200, 204)
        first.must("PATCH", path, {kind: {"enabled": False}}, admin)
        for one in everywhere:
            assert one.ask("GET", "/auth/catalog", None, token)[0] == 401, f"the {kind} is disabled"
            assert one.ask("POST", "/auth/tokens", rescope(token, None))[0] == 401, f"the {kind} is disabled"
        assert account(cluster, project, token) == 401, f"the {kind} is disabled"
        for endpoint in cluster.s3["endpoints"]:
            try:
                cluster.boto_of(key, endpoint).list_buckets()
                raise AssertionError(f"the {kind} is disabled, its key works")
            except ClientError as error:
                assert error.response["Error"]["Code"] in ("InvalidAccessKeyId", "AccessDenied")
        # Enabled again, tokens from before stay void; a new one is good.
        first.must("PATCH", path, {kind: {"enabled": True}}, admin)
        for one in everywhere:
            assert one.ask("GET", "/auth/catalog", None, token)[0] == 401, f"the {kind} was disabled"
    assert first.login("holes", "holes-password", project)[0] == 201


def account(cluster, project, token):
    """The status of the project's account over Swift."""
    catalog = Keystone(cluster.info["keystone"]).must("GET", "/auth/catalog", None, token_of_admin(cluster))["catalog"]
    url = next(entry["endpoints"][0]["url"] for entry in catalog if entry["type"] == "object-store")
    request = urllib.request.Request(url.rsplit("/", 1)[0] + f"/AUTH_{project}", method="HEAD")
    request.add_header("X-Auth-Token", token)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def token_of_admin(cluster):
    return Keystone(cluster.info["keystone"]).admin()


def rescope(token, scope):
    auth = {"identity": {"methods": ["token"], "token": {"id": token}}}
    if scope:
        auth["scope"] = scope
    return {"auth": auth}
