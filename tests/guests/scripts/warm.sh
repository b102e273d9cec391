#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program that is ready to serve: it answers each connection over vsock with a random number. The example of docs/forks.md.
exec gt answer vsock:7000
