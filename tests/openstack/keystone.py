"""The identity service of a cluster, by plain HTTP: for what the clients do not say."""

import json
import urllib.error
import urllib.request


class Keystone:
    """One endpoint."""

    def __init__(self, info, endpoint=None):
        self.info = info
        self.url = (endpoint or info["endpoints"][0]) + "/v3"

    def ask(self, method, path, body=None, token=None, headers=()):
        """Status, headers, document."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("X-Auth-Token", token)
        for name, value in headers:
            request.add_header(name, value)
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urllib.request.urlopen(request, data, timeout=60) as answer:
                text = answer.read()
                return answer.status, dict(answer.headers), json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            return error.code, dict(error.headers), json.loads(text) if text else None

    def must(self, method, path, body=None, token=None):
        status, _, document = self.ask(method, path, body, token)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {document}")
        return document

    def send(self, method, path, data, token=None):
        """Status of a request with any bytes as its body."""
        request = urllib.request.Request(self.url + path, method=method, data=data)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("X-Auth-Token", token)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.read()
            return error.code

    def login(self, user=None, password=None, project=None):
        """Status, token, document."""
        user, password = user or self.info["user"], password or self.info["password"]
        proof = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
        auth = {"identity": {"methods": ["password"], "password": proof}}
        if project:
            auth["scope"] = {"project": {"id": project}}
        status, headers, document = self.ask("POST", "/auth/tokens", {"auth": auth})
        return status, {name.lower(): value for name, value in headers.items()}.get("x-subject-token"), document

    def admin(self):
        status, token, document = self.login(project=self.info["project"])
        assert status == 201, document
        return token

    def tenant(self, token, name, password, role="member"):
        """A project with a user who has a role in it: their ids."""
        project = self.must("POST", "/projects", {"project": {"name": name}}, token)["project"]["id"]
        user = self.must("POST", "/users", {"user": {"name": name, "password": password}}, token)["user"]["id"]
        role = self.must("GET", f"/roles?name={role}", None, token)["roles"][0]["id"]
        self.must("PUT", f"/projects/{project}/users/{user}/roles/{role}", None, token)
        return project, user
