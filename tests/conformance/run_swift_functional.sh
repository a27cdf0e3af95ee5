#!/bin/sh
# Runs OpenStack Swift's own functional tests against a cluster of this machine and compares the outcome with the list of
# expected differences:
#
#   tests/conformance/run_swift_functional.sh HALO SWIFT_CHECKOUT PYTHON [pytest options]
#
# HALO is the executable, SWIFT_CHECKOUT a checkout of openstack/swift, PYTHON an interpreter that has its requirements,
# pytest and python-swiftclient. With UPDATE=1 the list is written anew.
set -eu
halo=$1 checkout=$2 python=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap '"$halo" down --data "$work/data" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

cat >"$work/users" <<'USERS'
test tester testing .admin
test2 tester2 testing2 .admin
test tester3 testing3
test5 tester5 testing5 service
test tester6 testing6 .reseller_reader
admin admin admin .admin .reseller_admin
USERS
chmod 600 "$work/users"
HALO_PROXY__SWIFT__V1_USERS_FILE="$work/users" "$halo" up --detach --json --nodes 1 --port-base 0 --data "$work/data" >"$work/up.json"
endpoint=$("$python" -c "import json,sys; print(json.load(open(sys.argv[1]))['swift']['endpoint'])" "$work/up.json")

cat >"$work/test.conf" <<CONF
[func_test]
auth_uri = $endpoint/auth/v1.0
auth_version = 1
account = test
username = tester
password = testing
account2 = test2
username2 = tester2
password2 = testing2
username3 = tester3
password3 = testing3
account5 = test5
username5 = tester5
password5 = testing5
account6 = admin
username6 = admin
password6 = admin
collate = C
CONF

outcomes="$work/outcomes.txt"
(cd "$checkout" && HALO_OUTCOMES="$outcomes" PYTHONPATH="$here:$checkout" SWIFT_TEST_CONFIG_FILE="$work/test.conf" \
    "$python" -m pytest -q -p outcomes -p no:cacheprovider -W ignore --no-header --no-summary \
    --ignore test/functional/s3api "$@" test/functional >"$work/pytest.log" 2>&1) || true
tail -1 "$work/pytest.log"
[ -z "${KEEP:-}" ] || cp "$outcomes" "$work/pytest.log" "$KEEP"
cut -f1 "$outcomes" | sort | uniq -c

grep '^failed' "$outcomes" | cut -f2 | sort >"$work/failed"
expected="$here/swift-functional-expected.txt"
if [ -n "${UPDATE:-}" ]; then
    # Lines that stay keep their reasons; a new one has none until somebody finds it.
    awk -F '\t' 'NR == FNR { if (/^#/) print; else why[$1] = $0; next } { print ($1 in why) ? why[$1] : $1 }' \
        "$expected" "$work/failed" >"$work/new" && cp "$work/new" "$expected"
    exit 0
fi
grep -v '^#' "$expected" | cut -f1 | sed '/^$/d' | sort >"$work/expected"
if ! diff "$work/expected" "$work/failed"; then
    echo "the outcome differs from $expected (<: passes now, >: fails now)" >&2
    exit 1
fi
