"""Create the buckets of MLflow and DVC in the object store, where they are missing."""

from __future__ import annotations

import boto3

store = boto3.client("s3")
names = {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}
for name in {"mlflow", "dvc"} - names:
    store.create_bucket(Bucket=name)
