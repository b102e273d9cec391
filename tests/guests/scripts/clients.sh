#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The metadata service, asked by clients that know nothing of it: clients.sh V1|V2. The data are those of clients.json.
#
# shellcheck shell=dash disable=SC1091
. /tests/lib.sh

root=http://169.254.169.254
# An emulated machine takes its time: no client is to give up, or to ask again.
export AWS_METADATA_SERVICE_TIMEOUT=60 AWS_METADATA_SERVICE_NUM_ATTEMPTS=1 AWS_EC2_METADATA_V1_DISABLED=
export HOME=/tmp PYTHONPATH=/aws PYTHONDONTWRITEBYTECODE=1

# is GOT EXPECTED WHO
is() { [ "$1" = "$2" ] || wrong "$3 got \"$1\", not \"$2\""; }

must ip link set lo up
must ip link set eth0 up
must ip addr add 10.1.0.2/24 dev eth0
must ip route add 169.254.169.254 dev eth0

list="ami-id
iam/
instance-id
placement/
tags/"
token=$(curl -sS -m 60 -X PUT $root/latest/api/token -H 'X-metadata-token-ttl-seconds: 600') || wrong "curl got no token"
header="X-metadata-token: $token"
is "$(curl -sS -m 60 -H "$header" $root/latest/meta-data/)" "$list" curl
# Two by one connection, and what is as on EC2 for any name of the header.
is "$(curl -sS -m 60 -H "X-aws-ec2-metadata-token: $token" $root/latest/meta-data/ami-id $root/latest/user-data)" \
	"ami-1#!/bin/sh" "curl by one connection"
is "$(curl -sS -m 60 --http1.0 -H "$header" $root/latest/meta-data/ami-id)" ami-1 "curl with HTTP/1.0"
is "$(curl -sS -m 60 -o /dev/null -w '%{http_code}' -H "$header" $root/latest/none)" 404 curl
[ "$1" = V1 ] || is "$(curl -sS -m 60 -o /dev/null -w '%{http_code}' $root/latest)" 401 "curl without a token"
[ "$1" = V2 ] || is "$(curl -sS -m 60 $root/latest/meta-data/ami-id)" ami-1 "curl without a token"
ok curl

token=$(/bin/wget -q -T 60 -t 1 -O - --method=PUT --header='X-metadata-token-ttl-seconds: 600' $root/latest/api/token) ||
	wrong "wget got no token"
is "$(/bin/wget -q -T 60 -t 1 -O - --header="X-metadata-token: $token" $root/latest/meta-data/tags/role)" web wget
/bin/wget -q -T 60 -t 1 -O - --header="X-metadata-token: $token" $root/latest/none
is $? 8 "wget of what is not there"
ok wget

must /usr/bin/python3 /tests/urllib_asks.py "$1"
ok urllib

if [ -e /aws/chain.py ]; then
	is "$(/usr/bin/python3 /aws/chain.py)" "credentials key-id secret token
method iam-role
region eu-west-1" "AWS's SDK for Python"
	ok "AWS's SDK for Python"
fi
if [ -e /aws/aws_chain ]; then
	is "$(/aws/aws_chain)" "instance-id i-0123456789abcdef0
user-data #!/bin/sh
region eu-west-1
credentials key-id secret token" "AWS's SDK for Go"
	ok "AWS's SDK for Go"
fi
echo "clients: done"
