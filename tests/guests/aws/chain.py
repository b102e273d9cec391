# SPDX-License-Identifier: Apache-2.0
"""What AWS's SDK for Python gets from the metadata service, by the way it looks for credentials
when nothing is configured. Prints a line for each answer."""
import boto3
from botocore.utils import InstanceMetadataRegionFetcher

role = boto3.Session().get_credentials()
keys = role.get_frozen_credentials()
print("credentials", keys.access_key, keys.secret_key, keys.token)
print("method", role.method)
print("region", InstanceMetadataRegionFetcher().retrieve_region())
