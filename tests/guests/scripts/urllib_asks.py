# SPDX-License-Identifier: Apache-2.0
"""Asks the metadata service by urllib: urllib_asks.py V1|V2. Ends with status 1 where an answer is
another one."""
import json
import sys
import urllib.error
import urllib.request

ROOT = "http://169.254.169.254/"


def ask(path, method="GET", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(ROOT + path, method=method, headers=names)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def expect(got, wanted):
    if got != wanted:
        sys.exit(f"urllib got {got!r}, not {wanted!r}")


token = ask("latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
expect(ask("latest/meta-data/ami-id", X_aws_ec2_metadata_token=token), "ami-1")
if sys.argv[1] == "V2":
    expect(json.loads(ask("latest/meta-data/tags", X_metadata_token=token,
                          Accept="application/json")), {"role": "web"})
for path, status in [("latest/nothing", 404)] + [("latest", 401)] * (sys.argv[1] == "V2"):
    try:
        headers = {} if status == 401 else {"X_metadata_token": token}
        sys.exit(f"urllib got {ask(path, **headers)!r}, not {status}")
    except urllib.error.HTTPError as error:
        expect(error.code, status)
